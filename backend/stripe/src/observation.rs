//! What is known of one Stripe object at one moment.

use tollgate_shared::Timestamp;

use crate::objects::{CheckoutSession, Customer, Invoice, InvoicePayment, PaymentIntent, PaymentMethod, Subscription};

/// A snapshot of a Stripe object, from an event, from the answer to a call of ours, or from a reconciliation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// The event's id, or another unique name of where it was seen.
    pub source: String,
    /// Whether this is the object's creation: nothing of the same second came before it.
    pub is_creation: bool,
    /// The event's type.
    pub kind: String,
    /// When it was so: the event's `created`. Where an event has none, the object's own, which is no later; where that
    /// has none either, the beginning of 1970, so that it overrides nothing that has a date.
    pub seen_at: Timestamp,
    /// Whether it is about real money.
    pub livemode: Option<bool>,
    /// The snapshot.
    pub object: Object,
}

/// The object, and what the event's type says of it beyond its fields.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "a batch holds a few at a time, and most are subscriptions")]
pub enum Object {
    /// `customer.created`, `.updated`, `.deleted`
    Customer {
        /// How it was before, where the event says what it changed.
        before: Option<Customer>,
        /// How it is.
        after: Customer,
        /// Whether it is gone, which is for good.
        deleted: bool,
    },
    /// `customer.subscription.*`
    Subscription {
        /// How it was before, where the event says what it changed.
        before: Option<Subscription>,
        /// How it is.
        after: Subscription,
        /// Whether it ended, which is for good.
        ended: bool,
    },
    /// `checkout.session.*`
    CheckoutSession(CheckoutSession, SessionOutcome),
    /// `invoice.*`, and whether an attempt to pay it failed.
    Invoice(Invoice, bool),
    /// `invoice_payment.paid`
    InvoicePayment(InvoicePayment),
    /// `payment_intent.*`
    PaymentIntent(PaymentIntent),
    /// `payment_method.*`, and whether it was detached.
    PaymentMethod(PaymentMethod, bool),
}

/// What became of a Checkout session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionOutcome {
    /// The buyer went through it; whether it is paid is in `payment_status`.
    Completed,
    /// A payment that takes days arrived.
    AsyncSucceeded,
    /// A payment that takes days did not arrive.
    AsyncFailed,
    /// The buyer did not go through it in time.
    Expired,
}
