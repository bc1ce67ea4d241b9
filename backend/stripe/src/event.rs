//! An event: its envelope, read once at the edge, and the observation that it carries.

use std::fmt;

use bytes::Bytes;
use chrono::DateTime;
use tollgate_shared::clock::from_unix;
use tollgate_shared::{EventHead, Timestamp};

use crate::charge::ChargeJson;
use crate::checkout_session::CheckoutSessionJson;
use crate::customer::CustomerJson;
use crate::dispute::DisputeJson;
use crate::field::{Field, Read, view};
use crate::invoice::InvoiceJson;
use crate::invoice_payment::InvoicePaymentJson;
use crate::normalize::{Envelope, Normalize, Unreadable, customer};
use crate::observation::{MethodChange, Object, Observation, SessionOutcome};
use crate::payment_intent::PaymentIntentJson;
use crate::payment_method::PaymentMethodJson;
use crate::refund::RefundJson;
use crate::scalar::{Flag, Id, Instant, Text, storable};
use crate::subscription::SubscriptionJson;

/// How many characters an event's id may have: Stripe promises no more.
const ID_CHARS_MAX: usize = 255;

/// Where an event carries its object.
const OBJECT: &str = "data.object";

/// Types of events whose snapshot comes with a change that an `.updated` of the same second tells better.
const ANNOUNCEMENTS: [&str; 3] =
    ["customer.subscription.trial_will_end", "customer.subscription.paused", "customer.subscription.resumed"];

/// What stands in `object` of an event that names its object and does not carry it.
const THIN: &str = "v2.core.event";

/// An event's envelope. Everything but `id` and `event_type` may be missing.
#[derive(Clone, PartialEq)]
pub struct Event {
    /// `evt_…`, 1 to 255 characters.
    pub id: String,
    /// For example `invoice.paid`.
    pub event_type: String,
    /// The version that its object has the shape of.
    pub api_version: Option<String>,
    /// When it happened; whole seconds but for thin events.
    pub created: Option<Timestamp>,
    /// Whether it is about real money.
    pub livemode: Option<bool>,
    /// The connected account that it is about.
    pub account: Option<String>,
    /// Whether it names its object and does not carry it.
    pub thin: bool,
    /// The object that it is about.
    pub object_id: Option<String>,
    /// The customer that its object names or is; for a detached payment method, whose it was.
    pub customer_id: Option<String>,
    /// The exact bytes.
    pub payload: Bytes,
}

/// The bytes are not an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a JSON object with a string id of 1 to 255 characters and a string type")]
pub struct Malformed;

view! {
    struct Head {
        id: Text, event_type "type": Text, object: Text, api_version: Text, created: Instant, livemode: Flag, account: Id,
        data: HeadData, related_object: Named,
    }
}
view! {
    struct HeadData { object: Named, previous_attributes: Named, }
}
view! {
    struct Named { id: Id, object: Text, object_type "type": Text, customer: Id, customer_account: Id, }
}

impl Head {
    /// What has to be there, of an envelope in which something cannot be read at all: `1e999` in place of an object,
    /// say. The edge takes such an event, and nobody would ever confirm it if it were refused here.
    fn least(payload: &[u8]) -> Result<Self, Malformed> {
        let EventHead { id, event_type } = EventHead::parse(payload).map_err(|_| Malformed)?;
        let [id, event_type] = [id, event_type].map(|text| Field::Set(Text(storable(text))));
        Ok(Self { id, event_type, ..Self::default() })
    }
}

impl Event {
    /// Reads the envelope of `payload`: JSON from its first byte to its last, of which everything but `id` and `type`
    /// may be missing or of an unexpected type.
    pub fn parse(payload: Bytes) -> Result<Self, Malformed> {
        let text = std::str::from_utf8(&payload).map_err(|_| Malformed)?;
        let head = match serde_json::from_str::<Field<Head>>(text) {
            Ok(head) => head.value().ok_or(Malformed)?,
            Err(_) => Head::least(&payload)?,
        };
        let Text(id) = head.id.value().ok_or(Malformed)?;
        if !(1..=ID_CHARS_MAX).contains(&id.chars().count()) {
            return Err(Malformed);
        }
        let Text(event_type) = head.event_type.value().ok_or(Malformed)?;
        let thin = is(&head.object, THIN);
        let HeadData { object, previous_attributes } = head.data.or_default();
        let (object_id, customer_id) = if thin {
            let object = head.related_object.or_default();
            let object_id = object.id.text();
            let customer_id = object_id.clone().filter(|_| is(&object.object_type, "customer"));
            (object_id, customer_id)
        } else {
            let object = object.or_default();
            let is_customer = is(&object.object, "customer");
            let object_id = object.id.text();
            let customer_id = match &*event_type {
                _ if is_customer => object_id.clone(),
                "customer.created" | "customer.updated" | "customer.deleted" => object_id.clone(),
                "payment_method.detached" => {
                    let previous = previous_attributes.or_default();
                    customer(object.customer, object.customer_account)
                        .or(customer(previous.customer, previous.customer_account))
                }
                _ => customer(object.customer, object.customer_account),
            };
            (object_id, customer_id)
        };
        Ok(Self {
            id,
            event_type,
            api_version: head.api_version.text(),
            created: head.created.value().map(|Instant(at)| at),
            livemode: head.livemode.flag(),
            account: head.account.text(),
            thin,
            object_id,
            customer_id,
            payload,
        })
    }

    /// The snapshot that the event carries, if its type has an effect.
    pub fn observation(&self) -> Result<Option<Observation>, Unreadable> {
        if self.thin {
            return Ok(None);
        }
        let (object, created) = match &*self.event_type {
            "customer.created" | "customer.updated" | "customer.deleted" => {
                let deleted = self.event_type == "customer.deleted";
                let (before, mut after) = self.change::<CustomerJson>()?;
                after.deleted |= deleted;
                let created = after.created;
                (Object::Customer { before, deleted: after.deleted, after }, created)
            }
            "customer.subscription.created"
            | "customer.subscription.updated"
            | "customer.subscription.deleted"
            | "customer.subscription.paused"
            | "customer.subscription.resumed"
            | "customer.subscription.trial_will_end" => {
                let ended = self.event_type == "customer.subscription.deleted";
                let (before, after) = self.change::<SubscriptionJson>()?;
                let created = after.created;
                (Object::Subscription { before, after, ended }, created)
            }
            "checkout.session.completed" => self.session(SessionOutcome::Completed)?,
            "checkout.session.async_payment_succeeded" => self.session(SessionOutcome::AsyncSucceeded)?,
            "checkout.session.async_payment_failed" => self.session(SessionOutcome::AsyncFailed)?,
            "checkout.session.expired" => self.session(SessionOutcome::Expired)?,
            "invoice.created"
            | "invoice.updated"
            | "invoice.finalized"
            | "invoice.paid"
            | "invoice.payment_succeeded"
            | "invoice.payment_failed"
            | "invoice.payment_action_required"
            | "invoice.voided"
            | "invoice.marked_uncollectible" => {
                let mut invoice = self.object::<InvoiceJson>()?;
                invoice.needs_action = self.event_type == "invoice.payment_action_required";
                let created = invoice.created;
                (Object::Invoice(invoice, self.event_type == "invoice.payment_failed"), created)
            }
            "invoice_payment.paid" => (Object::InvoicePayment(self.object::<InvoicePaymentJson>()?), None),
            "payment_intent.created"
            | "payment_intent.processing"
            | "payment_intent.requires_action"
            | "payment_intent.succeeded"
            | "payment_intent.payment_failed"
            | "payment_intent.canceled" => {
                let intent = self.object::<PaymentIntentJson>()?;
                let created = intent.created;
                (Object::PaymentIntent(intent), created)
            }
            "payment_method.attached" => self.method(MethodChange::Attached)?,
            "payment_method.updated" | "payment_method.automatically_updated" => self.method(MethodChange::Updated)?,
            "payment_method.detached" => self.method(MethodChange::Detached)?,
            "charge.refunded" => {
                let charge = self.object::<ChargeJson>()?;
                let created = charge.created;
                (Object::Charge(charge), created)
            }
            "refund.created" | "refund.updated" | "refund.failed" => {
                let mut refund = self.object::<RefundJson>()?;
                if self.event_type == "refund.failed" {
                    refund.status = Some("failed".to_owned());
                }
                let created = refund.created;
                (Object::Refund(refund), created)
            }
            "charge.dispute.closed" => {
                let dispute = self.object::<DisputeJson>()?;
                let created = dispute.created;
                (Object::Dispute(dispute), created)
            }
            _ => return Ok(None),
        };
        Ok(Some(Observation {
            source: self.id.clone(),
            is_creation: self.event_type.ends_with(".created"),
            is_announcement: ANNOUNCEMENTS.contains(&&*self.event_type),
            seen_at: self.created.or_else(|| from_unix(created?)).unwrap_or(DateTime::UNIX_EPOCH),
            account: self.account.clone(),
            livemode: self.livemode,
            object,
        }))
    }

    fn session(&self, outcome: SessionOutcome) -> Result<(Object, Option<i64>), Unreadable> {
        let session = self.object::<CheckoutSessionJson>()?;
        let created = session.created;
        Ok((Object::CheckoutSession(session, outcome), created))
    }

    fn method(&self, change: MethodChange) -> Result<(Object, Option<i64>), Unreadable> {
        let mut method = self.object::<PaymentMethodJson>()?;
        if change == MethodChange::Detached {
            method.customer.clone_from(&self.customer_id);
        }
        Ok((Object::PaymentMethod(method, change), None))
    }

    fn object<'a, T: Normalize + Read<'a>>(&'a self) -> Result<T::Output, Unreadable> {
        self.change::<T>().map(|(_, after)| after)
    }

    /// The object, and how it was before where the event says so.
    fn change<'a, T: Normalize + Read<'a>>(&'a self) -> Result<(Option<T::Output>, T::Output), Unreadable> {
        let unreadable = Unreadable { field: OBJECT };
        let text = std::str::from_utf8(&self.payload).map_err(|_| unreadable)?;
        let envelope: Field<Envelope<T>> = serde_json::from_str(text).map_err(|_| unreadable)?;
        let data = envelope.or_default().data.or_default();
        let object = data.object.value().ok_or(unreadable)?;
        // What changed is a hint for the order of events: one that makes no sense is none.
        let before =
            data.previous_attributes.value().and_then(|previous| object.clone().before(previous).normalize().ok());
        Ok((before, object.normalize()?))
    }
}

fn is(field: &Field<Text>, expected: &str) -> bool {
    field.as_ref().is_some_and(|Text(text)| text == expected)
}

impl fmt::Debug for Event {
    /// Everything but the payload, which no log may hold.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event").field("id", &self.id).field("event_type", &self.event_type).finish_non_exhaustive()
    }
}
