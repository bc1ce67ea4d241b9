//! How it is paid, and given back.

use super::{Coupon, Metadata, Price};
use crate::stripe::DAY;

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
    pub failure: Option<Failed>,
    /// With what.
    pub payment_method: Option<String>,
    /// The newest attempt, `ch_…`.
    pub latest_charge: Option<String>,
    /// When it was given up.
    pub canceled_at: Option<i64>,
}

/// Why an attempt failed, and by what it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// `last_payment_error.code`
    pub code: &'static str,
    /// `last_payment_error.decline_code`
    pub decline_code: Option<&'static str>,
    /// What was charged, and of which kind it is.
    pub method: Option<(String, &'static str)>,
}

impl Failed {
    /// A card without money.
    pub fn for_want_of_money() -> Self {
        Self { code: "card_declined", decline_code: Some("insufficient_funds"), method: None }
    }
}

/// A card, or a bank account that is debited.
#[derive(Clone, Debug, PartialEq)]
pub struct PaymentMethod {
    /// `pm_…`
    pub id: String,
    /// Whose; none once it is detached.
    pub customer: Option<String>,
    /// For example `visa`; of a bank account [`BANK_ACCOUNT`].
    pub brand: &'static str,
    /// The number's end.
    pub last4: String,
    /// When it was made.
    pub created: i64,
    /// May change on the same card.
    pub exp_year: i64,
}

/// What a bank account is in the place of a card's brand, and the type that it has at Stripe.
pub const BANK_ACCOUNT: &str = "us_bank_account";

impl PaymentMethod {
    /// `type`
    pub fn kind(&self) -> &'static str {
        if self.brand == BANK_ACCOUNT { BANK_ACCOUNT } else { "card" }
    }
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
    /// What its server asked for beside.
    pub opened: Opening,
}

/// What a session was opened with.
#[derive(Clone, Debug, PartialEq)]
pub struct Opening {
    /// Its page; `None` for one that no server has opened.
    pub url: Option<String>,
    /// Where the buyer goes from there; `{CHECKOUT_SESSION_ID}` stands for its id.
    pub success_url: String,
    /// Where the buyer goes who does not buy.
    pub cancel_url: Option<String>,
    /// When nobody can go through any more; `None`: after a day.
    pub expires_at: Option<i64>,
    /// Of the first price.
    pub quantity: i64,
    /// When the free days end that it begins with.
    pub trial_end: Option<i64>,
    /// For the subscription.
    pub subscription_metadata: Metadata,
    /// Whether a code may be typed in.
    pub allows_promotion_codes: bool,
    /// What is taken off.
    pub coupon: Option<&'static Coupon>,
    /// Of payment mode: whether whoever pays becomes a customer.
    pub makes_customer: bool,
    /// Of payment mode: whether an invoice is made of it.
    pub makes_invoice: bool,
    /// Whether a card is wanted even where nothing is due.
    pub always_wants_card: bool,
}

impl Default for Opening {
    fn default() -> Self {
        Self {
            url: None,
            success_url: "https://app.example.com/thanks?session={CHECKOUT_SESSION_ID}".to_owned(),
            cancel_url: Some("https://app.example.com/cancelled".to_owned()),
            expires_at: None,
            quantity: 1,
            trial_end: None,
            subscription_metadata: Metadata::new(),
            allows_promotion_codes: false,
            coupon: None,
            makes_customer: false,
            makes_invoice: false,
            always_wants_card: true,
        }
    }
}

impl CheckoutSession {
    /// What all of it costs, in minor units.
    pub fn amount_subtotal(&self) -> i64 {
        let amounts = self.prices.iter().enumerate().map(|(index, price)| price.unit_amount * self.quantity_of(index));
        amounts.sum()
    }

    /// How many of the price with this number.
    pub fn quantity_of(&self, index: usize) -> i64 {
        if index == 0 { self.opened.quantity } else { 1 }
    }

    /// What is to be paid now: nothing where it begins with free days.
    pub fn due(&self) -> i64 {
        let subtotal = if self.opened.trial_end.is_some() { 0 } else { self.amount_subtotal() };
        subtotal - self.opened.coupon.map_or(0, |coupon| coupon.off(subtotal))
    }

    /// When nobody can go through any more.
    pub fn expires_at(&self) -> i64 {
        self.opened.expires_at.unwrap_or(self.created + DAY)
    }
}

/// A visit to the customer portal.
#[derive(Clone, Debug, PartialEq)]
pub struct PortalSession {
    /// `bps_…`
    pub id: String,
    /// Whose.
    pub customer: String,
    /// Where its page leads back to.
    pub return_url: Option<String>,
    /// Its page.
    pub url: String,
    /// When it was made.
    pub created: i64,
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
