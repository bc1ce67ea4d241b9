//! Stripe's objects as they are, before any API version gives them a shape. Times are Unix seconds, money is in minor units.

use std::collections::BTreeMap;

/// `metadata`: free text by name.
pub type Metadata = BTreeMap<String, String>;

/// Any object that an event can be about.
#[derive(Clone, Debug, PartialEq)]
pub enum Object {
    /// `cus_…`
    Customer(Customer),
    /// `sub_…`
    Subscription(Subscription),
    /// `in_…`
    Invoice(Invoice),
    /// `inpay_…`
    InvoicePayment(InvoicePayment),
    /// `pi_…`
    PaymentIntent(PaymentIntent),
    /// `pm_…`
    PaymentMethod(PaymentMethod),
    /// `cs_…`
    CheckoutSession(CheckoutSession),
    /// `ch_…`
    Charge(Charge),
    /// `re_…`
    Refund(Refund),
    /// `du_…`
    Dispute(Dispute),
}

macro_rules! objects {
    ($($kind:ident),*) => { $(
        impl From<$kind> for Object {
            fn from(object: $kind) -> Self {
                Self::$kind(object)
            }
        }
    )* };
}
objects!(
    Customer,
    Subscription,
    Invoice,
    InvoicePayment,
    PaymentIntent,
    PaymentMethod,
    CheckoutSession,
    Charge,
    Refund,
    Dispute
);

impl Object {
    /// Its id.
    pub fn id(&self) -> &str {
        match self {
            Self::Customer(object) => &object.id,
            Self::Subscription(object) => &object.id,
            Self::Invoice(object) => &object.id,
            Self::InvoicePayment(object) => &object.id,
            Self::PaymentIntent(object) => &object.id,
            Self::PaymentMethod(object) => &object.id,
            Self::CheckoutSession(object) => &object.id,
            Self::Charge(object) => &object.id,
            Self::Refund(object) => &object.id,
            Self::Dispute(object) => &object.id,
        }
    }

    /// The customer that its JSON names.
    pub fn customer(&self) -> Option<&str> {
        match self {
            Self::Customer(object) => Some(&object.id),
            Self::Subscription(object) => Some(&object.customer),
            Self::Invoice(object) => Some(&object.customer),
            Self::InvoicePayment(_) | Self::Refund(_) | Self::Dispute(_) => None,
            Self::PaymentIntent(object) => Some(&object.customer),
            Self::PaymentMethod(object) => object.customer.as_deref(),
            Self::CheckoutSession(object) => Some(&object.customer),
            Self::Charge(object) => Some(&object.customer),
        }
    }
}

/// How often a price is billed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interval {
    /// Every 30 days, in this Stripe.
    Month,
    /// Every 365 days.
    Year,
    /// Once, for good.
    Once,
}

impl Interval {
    /// Its length in seconds; none for what is billed once.
    pub fn seconds(self) -> i64 {
        match self {
            Self::Month => 30 * super::DAY,
            Self::Year => 365 * super::DAY,
            Self::Once => 0,
        }
    }
}

/// What can be bought.
#[derive(Debug, PartialEq)]
pub struct Price {
    /// `price_…`
    pub id: &'static str,
    /// `prod_…`
    pub product: &'static str,
    /// The name that it was made with; it can move to another price, see [`super::Stripe::move_lookup_key`].
    pub lookup_key: Option<&'static str>,
    /// Lower case.
    pub currency: &'static str,
    /// For one, for one interval.
    pub unit_amount: i64,
    /// How often.
    pub interval: Interval,
}

/// Someone who pays.
#[derive(Clone, Debug, PartialEq)]
pub struct Customer {
    /// `cus_…`
    pub id: String,
    /// When it was made.
    pub created: i64,
    /// Its e-mail address.
    pub email: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// Free text; `user_id` is ours.
    pub metadata: Metadata,
    /// `invoice_settings.default_payment_method`
    pub default_payment_method: Option<String>,
    /// A card from before there were payment methods.
    pub default_source: Option<String>,
    /// Set by its first invoice.
    pub currency: Option<String>,
    /// For good.
    pub deleted: bool,
}

/// A span of time, from and to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    /// First second.
    pub start: i64,
    /// First second after it.
    pub end: i64,
}

/// A line of a subscription.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// `si_…`
    pub id: String,
    /// When it was added.
    pub created: i64,
    /// What.
    pub price: &'static Price,
    /// The name that the price has at this moment.
    pub lookup_key: Option<&'static str>,
    /// How many.
    pub quantity: i64,
    /// What is paid for.
    pub period: Period,
    /// Gone, and still listed.
    pub deleted: bool,
}

/// `subscription.status`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The first payment has not come.
    Incomplete,
    /// It did not come for 23 hours. Final.
    IncompleteExpired,
    /// Not paid for yet, and usable.
    Trialing,
    /// Paid for.
    Active,
    /// A renewal has failed.
    PastDue,
    /// Given up, but not ended.
    Unpaid,
    /// Without invoices until it is resumed.
    Paused,
    /// Ended. Final.
    Canceled,
}

impl Status {
    /// As Stripe writes it.
    pub fn text(self) -> &'static str {
        match self {
            Self::Incomplete => "incomplete",
            Self::IncompleteExpired => "incomplete_expired",
            Self::Trialing => "trialing",
            Self::Active => "active",
            Self::PastDue => "past_due",
            Self::Unpaid => "unpaid",
            Self::Paused => "paused",
            Self::Canceled => "canceled",
        }
    }

    /// Whether it has ended for good.
    pub fn is_final(self) -> bool {
        matches!(self, Self::IncompleteExpired | Self::Canceled)
    }
}

/// What a customer pays for again and again.
#[derive(Clone, Debug, PartialEq)]
pub struct Subscription {
    /// `sub_…`
    pub id: String,
    /// Whose.
    pub customer: String,
    /// When it was made.
    pub created: i64,
    /// Where it stands.
    pub status: Status,
    /// At least one.
    pub items: Vec<Item>,
    /// Ends with its period.
    pub cancel_at_period_end: bool,
    /// Ends then.
    pub cancel_at: Option<i64>,
    /// When the end was asked for.
    pub canceled_at: Option<i64>,
    /// When it ended.
    pub ended_at: Option<i64>,
    /// Its trial, over or not.
    pub trial: Option<Period>,
    /// `pause_collection.behavior`: invoices are made, money is not taken.
    pub pause_collection: Option<&'static str>,
    /// Free text; `user_id` is ours.
    pub metadata: Metadata,
    /// Above the customer's.
    pub default_payment_method: Option<String>,
    /// Its newest.
    pub latest_invoice: Option<String>,
}

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
    /// The lines' sum; negative where more is credited than charged.
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
    /// How it is paid; none for a zero amount.
    pub payment_intent: Option<String>,
}

/// `payment_intent.status`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IntentStatus {
    /// Waits for a card, or another one.
    RequiresPaymentMethod,
    /// Waits for the customer.
    RequiresAction,
    /// Waits for a bank.
    Processing,
    /// Authorised; waits for the merchant to take the money.
    RequiresCapture,
    /// Done.
    Succeeded,
    /// Never.
    Canceled,
}

impl IntentStatus {
    /// As Stripe writes it.
    pub fn text(self) -> &'static str {
        match self {
            Self::RequiresPaymentMethod => "requires_payment_method",
            Self::RequiresAction => "requires_action",
            Self::Processing => "processing",
            Self::RequiresCapture => "requires_capture",
            Self::Succeeded => "succeeded",
            Self::Canceled => "canceled",
        }
    }
}

/// One payment, over all its attempts.
#[derive(Clone, Debug, PartialEq)]
pub struct PaymentIntent {
    /// `pi_…`
    pub id: String,
    /// Who pays.
    pub customer: String,
    /// How much was asked for.
    pub amount: i64,
    /// How much has come.
    pub amount_received: i64,
    /// Lower case.
    pub currency: String,
    /// Where it stands.
    pub status: IntentStatus,
    /// When it was made.
    pub created: i64,
    /// What for. Newer versions do not say it here; those of today name it in `payment_details.order_reference`.
    pub invoice: Option<String>,
    /// Why the last attempt failed.
    pub declined: bool,
    /// With what.
    pub payment_method: Option<String>,
    /// When it was given up.
    pub canceled_at: Option<i64>,
}

/// A card.
#[derive(Clone, Debug, PartialEq)]
pub struct PaymentMethod {
    /// `pm_…`
    pub id: String,
    /// Whose; none once it is detached.
    pub customer: Option<String>,
    /// For example `visa`.
    pub brand: &'static str,
    /// The number's end.
    pub last4: String,
    /// When it was made.
    pub created: i64,
    /// May change on the same card.
    pub exp_year: i64,
}

/// What a session is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Starts a subscription.
    Subscription,
    /// Pays once.
    Payment,
}

/// A visit to the till.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckoutSession {
    /// `cs_test_…` or `cs_live_…`
    pub id: String,
    /// What for.
    pub mode: Mode,
    /// `open`, `complete`, `expired`
    pub status: &'static str,
    /// `paid`, `unpaid`, `no_payment_required`
    pub payment_status: &'static str,
    /// Whose.
    pub customer: String,
    /// What is bought.
    pub prices: Vec<&'static Price>,
    /// Of subscription mode.
    pub subscription: Option<String>,
    /// Of subscription mode, and of payment mode where it was asked for.
    pub invoice: Option<String>,
    /// Of payment mode.
    pub payment_intent: Option<String>,
    /// Our user.
    pub client_reference_id: Option<String>,
    /// Free text; `user_id` and `plan_id` are ours.
    pub metadata: Metadata,
    /// To pay now.
    pub amount_total: i64,
    /// Lower case.
    pub currency: String,
    /// When it was made.
    pub created: i64,
    /// Its customer's, as typed there.
    pub email: Option<String>,
    /// Its customer's, as typed there.
    pub name: Option<String>,
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

/// One attempt at a card.
#[derive(Clone, Debug, PartialEq)]
pub struct Charge {
    /// `ch_…`
    pub id: String,
    /// Whose.
    pub customer: String,
    /// How much.
    pub amount: i64,
    /// Lower case.
    pub currency: String,
    /// When.
    pub created: i64,
    /// Whether it worked.
    pub paid: bool,
    /// Of which payment.
    pub payment_intent: String,
    /// Of which invoice; newer versions do not say it.
    pub invoice: Option<String>,
    /// How much of it was given back.
    pub amount_refunded: i64,
}

/// `refund.status`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefundStatus {
    /// On its way.
    Pending,
    /// Done.
    Succeeded,
    /// The bank would not take it; the money is the merchant's again.
    Failed,
}

impl RefundStatus {
    /// As Stripe writes it.
    pub fn text(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
        }
    }
}

/// Money that is given back. It names no customer.
#[derive(Clone, Debug, PartialEq)]
pub struct Refund {
    /// `re_…`
    pub id: String,
    /// What was charged.
    pub charge: String,
    /// The payment that it undoes.
    pub payment_intent: String,
    /// How much.
    pub amount: i64,
    /// Lower case.
    pub currency: String,
    /// Where it stands.
    pub status: RefundStatus,
    /// When it was asked for.
    pub created: i64,
}

impl Refund {
    /// Whether nothing came of it.
    pub fn has_failed(&self) -> bool {
        self.status == RefundStatus::Failed
    }
}

/// A charge that the cardholder's bank takes back. It names no customer.
#[derive(Clone, Debug, PartialEq)]
pub struct Dispute {
    /// `du_…`
    pub id: String,
    /// What was charged.
    pub charge: String,
    /// The payment that is disputed.
    pub payment_intent: String,
    /// How much.
    pub amount: i64,
    /// Lower case.
    pub currency: String,
    /// `needs_response`, `lost`, `won`
    pub status: &'static str,
    /// When it was opened.
    pub created: i64,
}
