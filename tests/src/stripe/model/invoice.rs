//! What is billed.

use super::{Coupon, Metadata, Period, Price};

/// `invoice.status`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvoiceStatus {
    /// May still change.
    Draft,
    /// Owed.
    Open,
    /// Given up, may still be paid.
    Uncollectible,
    /// Paid.
    Paid,
    /// Never to be paid.
    Void,
}

impl InvoiceStatus {
    /// As Stripe writes it.
    pub fn text(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Open => "open",
            Self::Uncollectible => "uncollectible",
            Self::Paid => "paid",
            Self::Void => "void",
        }
    }
}

/// What an invoice's line is for. Newer versions say so by the line's `parent`, whose members depend on how the
/// subscription is billed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineOrigin {
    /// An item of the subscription, for its period.
    Item,
    /// A change of an item within its period: under `subscription_item_details`, as flexible billing has it.
    ProrationOfItem,
    /// The same under `invoice_item_details`, which name the item.
    ProrationNamingItem,
    /// The same under `invoice_item_details` as Stripe's typings have them: without the item.
    ProrationAlone,
    /// Something else that was put on the invoice: a fee, work by the hour, a thing.
    OneOff,
}

impl LineOrigin {
    /// The ways to say that a line makes up for a change.
    pub const PRORATIONS: [Self; 3] = [Self::ProrationOfItem, Self::ProrationNamingItem, Self::ProrationAlone];

    /// Whether it makes up for a change within a period.
    pub fn is_proration(self) -> bool {
        Self::PRORATIONS.contains(&self)
    }
}

/// A line of an invoice.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// `il_…`
    pub id: String,
    /// Of what.
    pub price: &'static Price,
    /// The name that the price has at this moment.
    pub lookup_key: Option<&'static str>,
    /// How many.
    pub quantity: i64,
    /// For when.
    pub period: Period,
    /// What for.
    pub origin: LineOrigin,
    /// The subscription's item; none for a one-off line.
    pub item: Option<String>,
    /// May be negative.
    pub amount: i64,
}

/// What is owed at one time.
#[derive(Clone, Debug, PartialEq)]
pub struct Invoice {
    /// `in_…`
    pub id: String,
    /// Who owes.
    pub customer: String,
    /// For which subscription, if for one.
    pub subscription: Option<String>,
    /// That subscription's metadata when the invoice was made.
    pub subscription_metadata: Metadata,
    /// Where it stands.
    pub status: InvoiceStatus,
    /// Lower case.
    pub currency: &'static str,
    /// What for.
    pub lines: Vec<Line>,
    /// What is taken off the lines' sum, and how much.
    pub discount: Option<(&'static Coupon, i64)>,
    /// The lines' sum less the discount; negative where more is credited than charged.
    pub total: i64,
    /// To pay.
    pub amount_due: i64,
    /// Paid.
    pub amount_paid: i64,
    /// The customer's address when it was made.
    pub customer_email: Option<String>,
    /// The customer's name when it was made.
    pub customer_name: Option<String>,
    /// How many times it was tried.
    pub attempt_count: i64,
    /// When it is tried next.
    pub next_payment_attempt: Option<i64>,
    /// When it was made.
    pub created: i64,
    /// When it became owed.
    pub finalized_at: Option<i64>,
    /// When it was paid.
    pub paid_at: Option<i64>,
    /// When it was voided.
    pub voided_at: Option<i64>,
    /// When it was given up.
    pub marked_uncollectible_at: Option<i64>,
    /// Given when it is finalized.
    pub number: Option<String>,
    /// `subscription_create`, `subscription_cycle`, `subscription_update`, `subscription_threshold`, `manual`
    pub billing_reason: &'static str,
    /// Whether a draft becomes owed by itself.
    pub auto_advance: bool,
    /// How it is paid; none for a zero amount.
    pub payment_intent: Option<String>,
    /// The bank account that is told to pay it, and when it is known whether it did.
    pub debit: Option<(String, i64)>,
}

/// What ties an intent to the invoice that it pays.
#[derive(Clone, Debug, PartialEq)]
pub struct InvoicePayment {
    /// `inpay_…`
    pub id: String,
    /// What is paid.
    pub invoice: String,
    /// With what.
    pub payment_intent: String,
    /// How much.
    pub amount: i64,
    /// Lower case.
    pub currency: String,
    /// When it was made.
    pub created: i64,
    /// When it was paid.
    pub paid_at: Option<i64>,
}
