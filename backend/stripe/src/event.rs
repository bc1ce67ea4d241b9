//! An event: its envelope, read once at the door, and the observation that it carries.

use std::fmt;

use bytes::Bytes;
use chrono::DateTime;
use tollgate_shared::clock::from_unix;
use tollgate_shared::{EventHead, Timestamp};

use crate::field::{Field, Flag, Id, Instant, Read, Text, view};
use crate::observation::{Object, Observation, SessionOutcome};
use crate::payload::{self, Envelope, Observed, Unreadable};

/// How many characters an event's id may have: Stripe promises no more.
const ID_CHARS_MAX: usize = 255;

/// Where an event carries its object.
const OBJECT: &str = "data.object";

/// What stands in `object` of an event that names its object and does not carry it.
const THIN: &str = "v2.core.event";

/// An event's envelope. Everything but `id` and `kind` may be missing.
#[derive(Clone, PartialEq)]
pub struct Event {
    /// `evt_…`, 1 to 255 characters.
    pub id: String,
    /// For example `invoice.paid`.
    pub kind: String,
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
    /// The very bytes.
    pub payload: Bytes,
}

/// The bytes are not an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a JSON object with a string id of 1 to 255 characters and a string type")]
pub struct Malformed;

view! {
    struct Head {
        id: Text, kind "type": Text, object: Text, api_version: Text, created: Instant, livemode: Flag, account: Id,
        data: HeadData, related_object: Named,
    }
}
view! {
    struct HeadData { object: Named, previous_attributes: Named, }
}
view! {
    struct Named { id: Id, object: Text, kind "type": Text, customer: Id, }
}

impl Head {
    /// What has to be there, of an envelope in which something cannot be read at all: `1e999` in place of an object,
    /// say. The edge takes such an event, and nobody would ever confirm it if it were refused here.
    fn least(payload: &[u8]) -> Result<Self, Malformed> {
        let EventHead { id, kind } = EventHead::parse(payload).map_err(|_| Malformed)?;
        let (id, kind) = (Text(id.into_owned()), Text(kind.into_owned()));
        Ok(Self { id: Field::Set(id), kind: Field::Set(kind), ..Self::default() })
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
        let Text(kind) = head.kind.value().ok_or(Malformed)?;
        let thin = is(&head.object, THIN);
        let HeadData { object, previous_attributes } = head.data.or_default();
        let (object_id, customer_id) = if thin {
            let object = head.related_object.or_default();
            let object_id = object.id.text();
            let customer_id = object_id.clone().filter(|_| is(&object.kind, "customer"));
            (object_id, customer_id)
        } else {
            let object = object.or_default();
            let is_customer = is(&object.object, "customer");
            let object_id = object.id.text();
            let customer_id = match &*kind {
                _ if is_customer => object_id.clone(),
                "customer.created" | "customer.updated" | "customer.deleted" => object_id.clone(),
                "payment_method.detached" => {
                    object.customer.text().or(previous_attributes.or_default().customer.text())
                }
                _ => object.customer.text(),
            };
            (object_id, customer_id)
        };
        Ok(Self {
            id,
            kind,
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

    /// The snapshot that the event carries, if its type has an effect (contract §4.1 lists those).
    pub fn observation(&self) -> Result<Option<Observation>, Unreadable> {
        if self.thin {
            return Ok(None);
        }
        let (object, created) = match &*self.kind {
            "customer.created" | "customer.updated" | "customer.deleted" => {
                let deleted = self.kind == "customer.deleted";
                let (before, mut after) = self.change::<payload::Customer>()?;
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
                let ended = self.kind == "customer.subscription.deleted";
                let (before, after) = self.change::<payload::Subscription>()?;
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
                let invoice = self.object::<payload::Invoice>()?;
                let created = invoice.created;
                (Object::Invoice(invoice, self.kind == "invoice.payment_failed"), created)
            }
            "invoice_payment.paid" => (Object::InvoicePayment(self.object::<payload::InvoicePayment>()?), None),
            "payment_intent.created"
            | "payment_intent.processing"
            | "payment_intent.requires_action"
            | "payment_intent.succeeded"
            | "payment_intent.payment_failed"
            | "payment_intent.canceled" => {
                let intent = self.object::<payload::PaymentIntent>()?;
                let created = intent.created;
                (Object::PaymentIntent(intent), created)
            }
            "payment_method.attached" | "payment_method.updated" => {
                (Object::PaymentMethod(self.object::<payload::PaymentMethod>()?, false), None)
            }
            "payment_method.detached" => {
                let mut method = self.object::<payload::PaymentMethod>()?;
                method.customer.clone_from(&self.customer_id);
                (Object::PaymentMethod(method, true), None)
            }
            _ => return Ok(None),
        };
        Ok(Some(Observation {
            source: self.id.clone(),
            is_creation: self.kind.ends_with(".created"),
            kind: self.kind.clone(),
            seen_at: self.created.or_else(|| from_unix(created?)).unwrap_or(DateTime::UNIX_EPOCH),
            livemode: self.livemode,
            object,
        }))
    }

    fn session(&self, outcome: SessionOutcome) -> Result<(Object, Option<i64>), Unreadable> {
        let session = self.object::<payload::CheckoutSession>()?;
        let created = session.created;
        Ok((Object::CheckoutSession(session, outcome), created))
    }

    fn object<'a, T: Observed + Read<'a>>(&'a self) -> Result<T::Form, Unreadable> {
        self.change::<T>().map(|(_, after)| after)
    }

    /// The object, and how it was before where the event says so.
    fn change<'a, T: Observed + Read<'a>>(&'a self) -> Result<(Option<T::Form>, T::Form), Unreadable> {
        let unreadable = Unreadable { field: OBJECT };
        let text = std::str::from_utf8(&self.payload).map_err(|_| unreadable)?;
        let envelope: Field<Envelope<T>> = serde_json::from_str(text).map_err(|_| unreadable)?;
        let data = envelope.or_default().data.or_default();
        let object = data.object.value().ok_or(unreadable)?;
        // What changed is a hint for the order of events: one that makes no sense is none.
        let before =
            data.previous_attributes.value().and_then(|previous| object.clone().before(previous).observed().ok());
        Ok((before, object.observed()?))
    }
}

fn is(field: &Field<Text>, expected: &str) -> bool {
    field.as_ref().is_some_and(|Text(text)| text == expected)
}

impl fmt::Debug for Event {
    /// Everything but the payload, which no log may hold.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event").field("id", &self.id).field("kind", &self.kind).finish_non_exhaustive()
    }
}
