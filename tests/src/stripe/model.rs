//! Stripe's objects as they are, before any API version gives them a shape. Times are Unix seconds, money is in minor
//! units.

mod invoice;
mod payment;
mod subscription;

use std::collections::BTreeMap;

pub use invoice::{Invoice, InvoicePayment, InvoiceStatus, Line, LineOrigin};
pub use payment::{
    BANK_ACCOUNT, Charge, CheckoutSession, Dispute, Failed, IntentStatus, Mode, Opening, PaymentIntent, PaymentMethod,
    PortalSession, Refund, RefundStatus,
};
pub use subscription::{Coupon, Interval, Item, Lasting, PendingUpdate, Period, Price, Status, Subscription};

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
