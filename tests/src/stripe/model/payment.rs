//! How it is paid, and given back.

use super::{Metadata, Price};

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
