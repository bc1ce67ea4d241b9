//! What is known of one Stripe object at one moment.

use std::str;

use tollgate_shared::Timestamp;

use crate::charge::{Charge, ChargeJson};
use crate::checkout_session::{CheckoutSession, CheckoutSessionJson};
use crate::customer::{Customer, CustomerJson};
use crate::dispute::{Dispute, DisputeJson};
use crate::field::{Field, Read, view};
use crate::invoice::{Invoice, InvoiceJson};
use crate::invoice_payment::{InvoicePayment, InvoicePaymentJson};
use crate::normalize::{Normalize, Unreadable};
use crate::payment_intent::{PaymentIntent, PaymentIntentJson};
use crate::payment_method::{PaymentMethod, PaymentMethodJson};
use crate::refund::{Refund, RefundJson};
use crate::scalar::Flag;
use crate::subscription::{Subscription, SubscriptionJson};

/// A snapshot of a Stripe object, from an event, from the answer to a call of ours, or from a reconciliation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// The event's id, or another unique name of where it was seen.
    pub source: String,
    /// Whether this is the object's creation: nothing of the same second came before it.
    pub is_creation: bool,
    /// Whether it comes with a change that another event of the same second tells better (`trial_will_end`, `paused`,
    /// `resumed`): a snapshot that was taken no later than those of the changes.
    pub is_announcement: bool,
    /// When it was so: the event's `created`. Where an event has none, the object's own, which is no later; where that
    /// has none either, the beginning of 1970, so that it overrides nothing that has a date.
    pub seen_at: Timestamp,
    /// The connected account whose object it is; none for our own.
    pub account: Option<String>,
    /// Whether it is about real money.
    pub livemode: Option<bool>,
    /// The snapshot.
    pub object: Object,
}

/// The object, and what the event's type says of it beyond its fields.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// `payment_method.*`, and what happened to it.
    PaymentMethod(PaymentMethod, MethodChange),
    /// `charge.refunded`
    Charge(Charge),
    /// `refund.*`; one that failed says so in its status.
    Refund(Refund),
    /// `charge.dispute.closed`
    Dispute(Dispute),
}

/// What became of a Checkout session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionOutcome {
    /// The buyer is still at it.
    Open,
    /// The buyer went through it; whether it is paid is in `payment_status`.
    Completed,
    /// A payment that takes days arrived.
    AsyncSucceeded,
    /// A payment that takes days did not arrive.
    AsyncFailed,
    /// The buyer did not go through it in time.
    Expired,
}

/// What happened to a payment method. In the order in which they happen within one second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MethodChange {
    /// It became a customer's.
    Attached,
    /// Its details changed: by its owner, or by the card's network.
    Updated,
    /// It is nobody's any more, for good.
    Detached,
}

/// Which of Stripe's objects an answer of its API holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the object of that name")]
pub enum ObjectType {
    Customer,
    Subscription,
    CheckoutSession,
    Invoice,
    InvoicePayment,
    PaymentIntent,
    PaymentMethod,
    Charge,
    Refund,
    Dispute,
}

view! {
    /// What every object says of itself.
    struct Mode { livemode: Flag, }
}

impl Observation {
    /// An object as it was fetched at `at`, from `account` where it is not our own. `source` is unique to the answer.
    pub fn of_object(
        object_type: ObjectType,
        json: &[u8],
        at: Timestamp,
        account: Option<String>,
        source: String,
    ) -> Result<Self, Unreadable> {
        let object = match object_type {
            ObjectType::Customer => {
                let after = read::<CustomerJson>(json)?;
                Object::Customer { before: None, deleted: after.deleted, after }
            }
            ObjectType::Subscription => {
                let after = read::<SubscriptionJson>(json)?;
                Object::Subscription { before: None, after, ended: false }
            }
            ObjectType::CheckoutSession => {
                let session = read::<CheckoutSessionJson>(json)?;
                let outcome = match session.status.as_deref() {
                    Some("complete") => SessionOutcome::Completed,
                    Some("expired") => SessionOutcome::Expired,
                    _ => SessionOutcome::Open,
                };
                Object::CheckoutSession(session, outcome)
            }
            ObjectType::Invoice => Object::Invoice(read::<InvoiceJson>(json)?, false),
            ObjectType::InvoicePayment => Object::InvoicePayment(read::<InvoicePaymentJson>(json)?),
            ObjectType::PaymentIntent => Object::PaymentIntent(read::<PaymentIntentJson>(json)?),
            ObjectType::PaymentMethod => {
                let method = read::<PaymentMethodJson>(json)?;
                let change = if method.customer.is_some() { MethodChange::Updated } else { MethodChange::Detached };
                Object::PaymentMethod(method, change)
            }
            ObjectType::Charge => Object::Charge(read::<ChargeJson>(json)?),
            ObjectType::Refund => Object::Refund(read::<RefundJson>(json)?),
            ObjectType::Dispute => Object::Dispute(read::<DisputeJson>(json)?),
        };
        let livemode = parse::<Mode>(json)?.livemode.flag();
        Ok(Self { source, is_creation: false, is_announcement: false, seen_at: at, account, livemode, object })
    }

    /// The customer that the object names or is. Refunds and disputes name none.
    pub fn customer(&self) -> Option<&str> {
        match &self.object {
            Object::Customer { after, .. } => Some(&after.id),
            Object::Subscription { after, .. } => Some(&after.customer),
            Object::CheckoutSession(session, _) => session.customer.as_deref(),
            Object::Invoice(invoice, _) => invoice.customer.as_deref(),
            Object::PaymentIntent(intent) => intent.customer.as_deref(),
            Object::PaymentMethod(method, _) => method.customer.as_deref(),
            Object::Charge(charge) => charge.customer.as_deref(),
            Object::InvoicePayment(_) | Object::Refund(_) | Object::Dispute(_) => None,
        }
    }
}

/// The object that `json` is, as it is sent.
fn parse<'a, T: Read<'a>>(json: &'a [u8]) -> Result<T, Unreadable> {
    let unreadable = Unreadable { field: "the object" };
    let text = str::from_utf8(json).map_err(|_| unreadable)?;
    let object: Field<T> = serde_json::from_str(text).map_err(|_| unreadable)?;
    object.value().ok_or(unreadable)
}

/// The object that `json` is, in our form.
fn read<'a, T: Normalize + Read<'a>>(json: &'a [u8]) -> Result<T::Output, Unreadable> {
    parse::<T>(json)?.normalize()
}
