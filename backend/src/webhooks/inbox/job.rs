//! One event on its way to the writer.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;
use tollgate_domain::audit::acts::ActedBy;
use tollgate_shared::log_safe::LogSafe;
use tollgate_shared::{RequestId, Timestamp};
use tollgate_stripe::{Event, Observation};
use tracing::{error, info, warn};

use super::filter::EventFilter;
use super::outcome::{IntakeError, Outcome};
use crate::webhooks::{Status, WebhookEvent};

/// What is answered to whoever hands in an event.
pub(super) type Answer = Result<Outcome, IntakeError>;

/// One event on its way, with what it will do.
pub(super) struct Job {
    pub(super) event: Event,
    pub(super) intent: Intent,
    pub(super) mode: Mode,
    pub(super) request_id: RequestId,
    /// When a relay received it, as far as one says so.
    pub(super) received_at_relay: Option<Timestamp>,
    /// When it was handed in.
    pub(super) since: Instant,
    /// When it was put aside because somebody else holds its rows.
    pub(super) put_aside_at: Option<Instant>,
    pub(super) answer: oneshot::Sender<Answer>,
}

/// Which events a claim may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A delivery: a new event, or a failed one whose attempt is due.
    Delivery,
    /// The same of an event that never came, and that was fetched from Stripe.
    Fetched,
    /// The retry job's attempt: a failed event, due or not, since the job has taken it for itself.
    Retry,
    /// An operator's attempt: any event that is known. One that is in effect is applied once more, which changes nothing that
    /// is so; it finds what is missing (after a restore, or because of a fault that has been mended since).
    Operator(Arc<Order>),
}

/// What an operator wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// What the audit trail calls it.
    pub action: &'static str,
    /// Who wants it.
    pub by: ActedBy,
}

impl Mode {
    /// Whether it may bring an event that nobody has.
    pub(super) fn brings_new(&self) -> bool {
        matches!(self, Self::Delivery | Self::Fetched)
    }

    /// Whether a claim may take an event that has this status; `is_due` says whether a failed one's time has come.
    pub(super) fn may_take(&self, status: Status, is_due: bool) -> bool {
        match (self, status) {
            (Self::Delivery | Self::Fetched, Status::Failed) => is_due,
            (Self::Retry, Status::Failed) | (Self::Operator(_), _) => true,
            (_, Status::Processed | Status::Ignored | Status::DeadLettered) => false,
        }
    }

    /// What an operator wants, if it is one's attempt.
    pub(super) fn order(&self) -> Option<&Order> {
        if let Self::Operator(order) = self { Some(order) } else { None }
    }
}

/// What a delivery asks for.
pub(super) enum Intent {
    /// To apply this.
    Observe(Box<Observation>),
    /// To be stored without effect.
    Ignore { reason: Option<&'static str> },
    /// To be kept for a person to look at.
    DeadLetter { reason: String },
}

impl Intent {
    pub(super) fn of(event: &Event, filter: &EventFilter) -> Self {
        if let Some(reason) = filter.ignore_reason(event) {
            return Self::Ignore { reason: Some(reason) };
        }
        match event.observation() {
            Ok(Some(observation)) => Self::Observe(Box::new(observation)),
            Ok(None) => Self::Ignore { reason: None },
            Err(unreadable) => Self::DeadLetter { reason: unreadable.to_string() },
        }
    }

    pub(super) fn status(&self) -> Status {
        match self {
            Self::Observe(_) => Status::Processed,
            Self::Ignore { .. } => Status::Ignored,
            Self::DeadLetter { .. } => Status::DeadLettered,
        }
    }

    pub(super) fn reason(&self) -> Option<String> {
        match self {
            Self::Observe(_) => None,
            Self::Ignore { reason } => reason.map(str::to_owned),
            Self::DeadLetter { reason } => Some(reason.clone()),
        }
    }
}

impl Job {
    pub(super) fn row(&self, now: Timestamp, status: Status, batch_id: &str) -> WebhookEvent {
        let event = &self.event;
        WebhookEvent {
            id: event.id.clone(),
            r#type: self.event_type(),
            api_version: event.api_version.clone(),
            livemode: event.livemode,
            account: event.account.clone(),
            object_id: event.object_id.clone().filter(|id| is_id(id)),
            customer_id: self.customer_id().map(str::to_owned),
            status: status.name().to_owned(),
            reason: self.intent.reason().filter(|_| status != Status::Failed),
            attempts: 1,
            last_error: None,
            created_at: event.created,
            received_at: now,
            processed_at: (status != Status::Failed).then_some(now),
            next_attempt_at: None,
            batch_id: Some(batch_id.to_owned()),
            request_id: Some(self.request_id.to_string()),
            payload: event.payload.clone(),
        }
    }

    /// The event's type as it is stored.
    pub(super) fn event_type(&self) -> String {
        self.event.event_type.chars().take(INDEXED_CHARS_MAX).collect()
    }

    /// The customer whom its object names, as it is stored.
    pub(super) fn customer_id(&self) -> Option<&str> {
        self.event.customer_id.as_deref().filter(|id| is_id(id))
    }

    /// What its rows hang on: the customer, else the object that it is about. Events with the same key wait together.
    pub(super) fn lock_key(&self) -> &str {
        let event = &self.event;
        event.customer_id.as_ref().or(event.object_id.as_ref()).unwrap_or(&event.id)
    }

    /// How long ago it was handed in.
    pub(super) fn age(&self) -> Duration {
        self.since.elapsed()
    }

    /// How long ago it was put aside.
    pub(super) fn put_aside_for(&self) -> Duration {
        self.put_aside_at.map_or(Duration::ZERO, |at| at.elapsed())
    }

    pub(super) fn answer(self, answer: Answer) {
        let (id, event_type, request_id) = (LogSafe(&self.event.id), LogSafe(&self.event.event_type), &self.request_id);
        let outcome = answer.map_or_else(|_| "failed", Outcome::name);
        metrics::counter!("tollgate_backend_events_total", "outcome" => outcome, "class" => type_class(&self.event.event_type))
            .increment(1);
        match answer {
            Ok(Outcome::Processed) => {
                info!(event.id = %id, event.r#type = %event_type, %request_id, "Successfully processed event {id} ({event_type})");
            }
            Ok(Outcome::Duplicate) => {
                info!(event.id = %id, event.r#type = %event_type, %request_id, "duplicate event {id} ({event_type})");
            }
            Ok(Outcome::Ignored) => {
                info!(event.id = %id, event.r#type = %event_type, %request_id, "ignored event {id} ({event_type})");
            }
            Ok(Outcome::DeadLettered) => {
                error!(event.id = %id, event.r#type = %event_type, %request_id, "dead-lettered event {id} ({event_type}): a person should look at it");
            }
            Err(failure) => {
                warn!(event.id = %id, event.r#type = %event_type, %request_id, "did not process event {id} ({event_type}): {failure}");
            }
        }
        // The caller may have gone away; the event is stored all the same.
        let _ = self.answer.send(answer);
    }
}

/// What events are counted by: few classes, whatever types Stripe thinks of.
fn type_class(event_type: &str) -> &'static str {
    const CLASSES: [&str; 8] =
        ["charge", "checkout", "customer", "invoice", "invoice_payment", "payment_intent", "payment_method", "refund"];
    let class = event_type.split('.').next().unwrap_or_default();
    CLASSES.into_iter().find(|known| *known == class).unwrap_or("other")
}

/// The longest text of an event's that is looked for, in characters of up to four bytes. PostgreSQL takes some 2,700 bytes
/// into one entry of an index; Stripe's own are far shorter.
const INDEXED_CHARS_MAX: usize = 255;

fn is_id(text: &str) -> bool {
    text.chars().nth(INDEXED_CHARS_MAX).is_none()
}
