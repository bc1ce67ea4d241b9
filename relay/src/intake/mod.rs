//! Handles one webhook: read, verify, persist and forward in parallel, respond.
//!
//! What is answered with 200 is on disk, or the backend has it. An event that was taken is seen to its end even when the
//! client hangs up before the answer.

mod reading;
mod spawn_on_drop;

use std::future::{Future, pending};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Request, Response, StatusCode};
use hyper::body::Incoming;
use serde::Serialize;
use tokio::time::{Instant, timeout_at};
use tollgate_journal::{Journal, NewEntry};
use tollgate_shared::request_id::TRACEPARENT_HEADER;
use tollgate_shared::signing::{SignatureError, TOLERANCE_SECONDS, Verifier};
use tollgate_shared::{Clock, ErrorBody, EventHead, RequestId, Timestamp, TraceParent};
use tracing::{info, warn};

use crate::backend::delivery::Outcome;
use crate::backend::event::{Event, LogSafe};
use crate::body::{Body, error_response, json_response};
use crate::config::Ack;
use crate::forwarder::{Forwarded, Forwarder, Handoff, Known, Persisted, Urgency};
use crate::metrics::Metrics;
use reading::{Reader, Unread};
use spawn_on_drop::SpawnOnDrop;

pub use reading::BodyWaits;

const SIGNATURE_HEADER: HeaderName = HeaderName::from_static("stripe-signature");

/// Stripe holds the buyer's redirect until these are answered, so the backend should have them by then.
const CHECKOUT_PREFIX: &str = "checkout.session.";

/// Everything that taking an event needs.
pub struct Means {
    /// Knows the webhook secrets.
    pub verifier: Verifier,
    /// Keeps events.
    pub journal: Journal,
    /// Brings them to the backend.
    pub forwarder: Forwarder,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// The present.
    pub clock: Clock,
    /// When to answer.
    pub ack: Ack,
    /// How long an answer waits for the disk and the backend.
    pub deadline: Duration,
    /// How long a body may be.
    pub body_bytes_max: usize,
    /// How long it may take to come.
    pub body_waits: BodyWaits,
}

/// Takes events.
pub struct Intake {
    means: Means,
    reader: Reader,
}

/// What a webhook is answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer {
    /// The event is durable.
    Received {
        event_id: String,
    },
    /// The backend failed, and Stripe is to send the event again.
    BackendFailed(StatusCode),
    /// Neither backend nor journal could take the event.
    NotDurable,
    Unsigned(SignatureError),
    /// The body is no event.
    Malformed,
    Unread(Unread),
}

/// The code of every answer, to be counted by.
pub const ANSWER_CODES: [&str; 11] = [
    "received",
    "backend_failed",
    "not_durable",
    "missing_signature",
    "malformed_signature",
    "signature_mismatch",
    "timestamp_out_of_tolerance",
    "malformed_event",
    "body_too_large",
    "request_timeout",
    "body_incomplete",
];

impl Intake {
    /// An intake that is ready to take events.
    pub fn new(means: Means) -> Self {
        Self { reader: Reader::new(means.body_bytes_max, means.body_waits), means }
    }

    /// Answers a webhook.
    pub async fn take(&self, request: Request<Incoming>, request_id: &RequestId) -> Response<Body> {
        let began = Instant::now();
        let answer = self.answer(request, request_id).await;
        self.means.metrics.webhook(answer.code(), began.elapsed());
        if let Answer::Unsigned(_) | Answer::Malformed | Answer::Unread(_) = answer {
            // Strangers can cause these at will.
            info!(%request_id, code = answer.code(), "Refused a webhook: {}", answer.message());
        }
        answer.into_response(request_id)
    }

    async fn answer(&self, request: Request<Incoming>, request_id: &RequestId) -> Answer {
        let signature = request.headers().get(SIGNATURE_HEADER).cloned();
        let trace = trace(request.headers());
        let read = match self.reader.read(request).await {
            Ok(read) => read,
            Err(unread) => return Answer::Unread(unread),
        };
        let now = self.means.clock.now();
        let signature = match &signature {
            None => Err(SignatureError::Missing),
            Some(value) => value.to_str().map_err(|_| SignatureError::Malformed),
        };
        match signature.and_then(|signature| self.means.verifier.verify(signature, &read.bytes, now)) {
            Ok(place) => self.means.metrics.secret_matched(place, now),
            Err(error) => return Answer::Unsigned(error),
        }
        match event(&read.bytes, request_id, trace) {
            Some(event) => self.persist_and_forward(event, now).await,
            None => Answer::Malformed,
        }
    }

    /// Answers an event whose signature was good.
    #[cfg(test)]
    pub(crate) async fn take_event(&self, event: Event, received_at: Timestamp) -> Response<Body> {
        let request_id = event.request_id.clone();
        self.persist_and_forward(event, received_at).await.into_response(&request_id)
    }

    async fn persist_and_forward(&self, event: Event, received_at: Timestamp) -> Answer {
        let means = &self.means;
        let event_id = event.id.clone();
        let urgency = urgency(means.ack, &event.event_type);
        let by = Instant::now() + means.deadline;

        let entry = NewEntry {
            event_id: event.id.clone(),
            event_type: event.event_type.clone(),
            received_at,
            request_id: event.request_id.clone(),
            body: event.body.clone(),
        };
        let handoff = means.forwarder.forward(event, urgency);
        let persisting = SpawnOnDrop::new(persist(means.journal.clone(), entry, Arc::clone(&handoff)));
        let settled = handoff.wait_until(|known| settle(means.ack, urgency, known));
        let settled = timeout_at(by, while_running(persisting, settled)).await;
        let settled = match settled {
            Ok(Settled::OnlyByTheBackend) => {
                let handoff = means.forwarder.forward_unpersisted(handoff.event().clone());
                timeout_at(by, handoff.wait_until(|known| settle(means.ack, urgency, known))).await
            }
            settled => settled,
        };
        match settled {
            Ok(Settled::Durable) => Answer::Received { event_id },
            Ok(Settled::BackendFailed(status)) => Answer::BackendFailed(status),
            Ok(Settled::OnlyByTheBackend | Settled::NotDurable) => Answer::NotDurable,
            Err(_) if handoff.wait_until(|known| Some(is_persisted(known))).await => Answer::Received { event_id },
            // The disk may yet take it; that is not known.
            Err(_) => Answer::NotDurable,
        }
    }
}

/// With [`Ack::Backend`] every event is waited for.
fn urgency(ack: Ack, event_type: &str) -> Urgency {
    match ack {
        Ack::Backend => Urgency::Awaited,
        Ack::Durable if event_type.starts_with(CHECKOUT_PREFIX) => Urgency::Checkout,
        Ack::Durable => Urgency::None,
    }
}

/// Writes an event to the journal, and tells its handoff.
async fn persist(journal: Journal, entry: NewEntry, handoff: Arc<Handoff>) {
    match journal.append(entry).await {
        Ok(position) => handoff.set_persisted(Persisted::At(position)),
        Err(error) => {
            handoff.set_persisted(Persisted::Failed);
            let Event { id, request_id, .. } = handoff.event();
            let id = LogSafe(id);
            warn!(event.id = %id, %request_id, "could not write event {id} to the journal: {error}");
        }
    }
}

/// What `waiting` gives; `running` runs meanwhile.
async fn while_running<T>(running: impl Future<Output = ()>, waiting: impl Future<Output = T>) -> T {
    let running = async {
        running.await;
        pending().await
    };
    tokio::select! {
        biased;
        waited = waiting => waited,
        never = running => never,
    }
}

/// What an event with a good signature has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Settled {
    /// It is on disk, or the backend has confirmed it; and the backend was heard, where it is to be.
    Durable,
    /// The backend failed, and Stripe is to be told.
    BackendFailed(StatusCode),
    /// The journal could not take it, and it was not sent to the backend.
    OnlyByTheBackend,
    /// Neither could take it.
    NotDurable,
}

/// What an event has come to by what is `known`, if more would not change it. Whatever makes it durable first, the disk or
/// the backend, is enough.
fn settle(ack: Ack, urgency: Urgency, known: &Known<Persisted, Forwarded>) -> Option<Settled> {
    match (known.persisted, &known.forwarded) {
        (_, Some(Forwarded::Tried(Outcome::Confirmed, _))) => Some(Settled::Durable),
        (_, Some(Forwarded::Tried(Outcome::Refused(status, _), _)))
            if ack == Ack::Backend && status.is_server_error() =>
        {
            Some(Settled::BackendFailed(*status))
        }
        (Some(Persisted::At(_)), Some(_)) => Some(Settled::Durable),
        (Some(Persisted::At(_)), None) => (urgency == Urgency::None).then_some(Settled::Durable),
        (Some(Persisted::Failed), Some(Forwarded::Tried(..))) => Some(Settled::NotDurable),
        (Some(Persisted::Failed), Some(Forwarded::NotTried)) => Some(Settled::OnlyByTheBackend),
        (Some(Persisted::Failed), None) | (None, _) => None,
    }
}

fn is_persisted(known: &Known<Persisted, Forwarded>) -> bool {
    matches!(known.persisted, Some(Persisted::At(_)))
}

fn event(body: &Bytes, request_id: &RequestId, trace: Option<TraceParent>) -> Option<Event> {
    let head = EventHead::parse(body).ok()?;
    let (id, event_type) = (head.id.into_owned(), head.kind.into_owned());
    Some(Event { id, event_type, request_id: request_id.clone(), trace, body: body.clone() })
}

fn trace(headers: &HeaderMap) -> Option<TraceParent> {
    TraceParent::parse(headers.get(TRACEPARENT_HEADER)?.to_str().ok()?)
}

impl Answer {
    fn code(&self) -> &'static str {
        match self {
            Self::Received { .. } => "received",
            Self::BackendFailed(_) => "backend_failed",
            Self::NotDurable | Self::Unread(Unread::Crowded) => "not_durable",
            Self::Unsigned(SignatureError::Missing) => "missing_signature",
            Self::Unsigned(SignatureError::Malformed) => "malformed_signature",
            Self::Unsigned(SignatureError::Mismatch) => "signature_mismatch",
            Self::Unsigned(SignatureError::TooOld) => "timestamp_out_of_tolerance",
            Self::Malformed => "malformed_event",
            Self::Unread(Unread::TooLarge) => "body_too_large",
            Self::Unread(Unread::TooSlow) => "request_timeout",
            Self::Unread(Unread::Broken) => "body_incomplete",
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Received { .. } => StatusCode::OK,
            Self::BackendFailed(status) => *status,
            Self::NotDurable | Self::Unread(Unread::Crowded) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Unsigned(_) | Self::Malformed | Self::Unread(Unread::Broken) => StatusCode::BAD_REQUEST,
            Self::Unread(Unread::TooLarge) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Unread(Unread::TooSlow) => StatusCode::REQUEST_TIMEOUT,
        }
    }

    fn message(&self) -> String {
        match self {
            Self::Received { .. } => "received".into(),
            Self::BackendFailed(_) => "the backend failed; send the event again".into(),
            Self::NotDurable | Self::Unread(Unread::Crowded) => {
                "the event could not be kept and the backend has not confirmed it; send it again".into()
            }
            Self::Unsigned(SignatureError::Missing) => {
                "there is no Stripe-Signature header; only Stripe's signed webhooks are taken here".into()
            }
            Self::Unsigned(SignatureError::Malformed) => {
                "the Stripe-Signature header needs a timestamp `t` and at least one signature `v1`".into()
            }
            Self::Unsigned(SignatureError::Mismatch) => {
                "no signature is that of this body under a secret of ours; compare the endpoint's signing secret with \
                 STRIPE_WEBHOOK_SECRET"
                    .into()
            }
            Self::Unsigned(SignatureError::TooOld) => {
                format!(
                    "the signature was made more than {TOLERANCE_SECONDS} seconds ago; send the event again, signed anew"
                )
            }
            Self::Malformed => {
                "the body has to be a JSON object with a string `id` of 1 to 255 characters and a string `type`".into()
            }
            Self::Unread(Unread::TooLarge) => "the body is longer than RELAY_BODY_BYTES_MAX allows".into(),
            Self::Unread(Unread::TooSlow) => "the body did not come in time; send it again".into(),
            Self::Unread(Unread::Broken) => "the body broke off; send it again".into(),
        }
    }

    fn into_response(self, request_id: &RequestId) -> Response<Body> {
        let status = self.status();
        match self {
            Self::Received { event_id } => {
                let received = serde_json::to_vec(&Received { received: true, event_id: &event_id });
                json_response(status, received.expect("a text and a truth value are always JSON"))
            }
            refused => {
                let body = ErrorBody::new(refused.code(), &refused.message(), Some(request_id.as_str()));
                error_response(status, &body)
            }
        }
    }
}

/// The body of the answer to an event that was taken.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Received<'a> {
    received: bool,
    event_id: &'a str,
}

#[cfg(test)]
mod tests {
    use tollgate_journal::Position;

    use super::*;
    use crate::backend::delivery::NoAnswer;
    use crate::forwarder::{Cause, Failure};

    fn known(persisted: Option<bool>, forwarded: Option<Forwarded>) -> Known<Persisted, Forwarded> {
        let at = |is_persisted| if is_persisted { Persisted::At(Position(1)) } else { Persisted::Failed };
        Known { persisted: persisted.map(at), forwarded }
    }

    fn tried(outcome: Outcome) -> Forwarded {
        let now = Instant::now();
        Forwarded::Tried(outcome, Failure { started: now, ended: now, cause: Cause::Event })
    }

    fn refused(status: u16) -> Forwarded {
        tried(Outcome::Refused(StatusCode::from_u16(status).unwrap(), None))
    }

    fn lost() -> Forwarded {
        tried(Outcome::Unanswered(NoAnswer::TimedOut))
    }

    const WAYS: [(Ack, Urgency); 3] =
        [(Ack::Durable, Urgency::None), (Ack::Durable, Urgency::Checkout), (Ack::Backend, Urgency::Awaited)];

    #[test]
    fn whatever_makes_an_event_durable_first_is_enough() {
        for (ack, urgency) in WAYS {
            for persisted in [None, Some(true), Some(false)] {
                let confirmed = known(persisted, Some(tried(Outcome::Confirmed)));
                assert_eq!(settle(ack, urgency, &confirmed), Some(Settled::Durable), "{ack:?} {persisted:?}");
            }
        }
        let on_disk = known(Some(true), None);
        assert_eq!(settle(Ack::Durable, Urgency::None, &on_disk), Some(Settled::Durable));
        assert_eq!(settle(Ack::Durable, Urgency::Checkout, &on_disk), None);
        assert_eq!(settle(Ack::Backend, Urgency::Awaited, &on_disk), None);
    }

    #[test]
    fn what_is_on_disk_is_received_whatever_the_backend_says() {
        for forwarded in [Forwarded::NotTried, refused(200), refused(302), refused(403), refused(500), lost()] {
            let known = known(Some(true), Some(forwarded));
            for urgency in [Urgency::None, Urgency::Checkout] {
                assert_eq!(settle(Ack::Durable, urgency, &known), Some(Settled::Durable), "{known:?}");
            }
        }
    }

    #[test]
    fn when_the_backend_acknowledges_its_5xx_goes_back_to_stripe_and_nothing_else_does() {
        for status in [500, 502, 503] {
            for persisted in [None, Some(true), Some(false)] {
                let settled = settle(Ack::Backend, Urgency::Awaited, &known(persisted, Some(refused(status))));
                assert_eq!(settled, Some(Settled::BackendFailed(StatusCode::from_u16(status).unwrap())));
            }
        }
        for forwarded in [Forwarded::NotTried, refused(200), refused(302), refused(403), refused(404), lost()] {
            let settled = settle(Ack::Backend, Urgency::Awaited, &known(Some(true), Some(forwarded)));
            assert_eq!(settled, Some(Settled::Durable));
        }
    }

    #[test]
    fn what_is_not_on_disk_is_received_only_if_the_backend_has_confirmed_it() {
        for (ack, urgency) in WAYS {
            for forwarded in [refused(200), refused(403), lost()] {
                let waits = known(None, Some(forwarded.clone()));
                assert_eq!(settle(ack, urgency, &waits), None, "the disk may yet take it");
                let settled = settle(ack, urgency, &known(Some(false), Some(forwarded)));
                assert_eq!(settled, Some(Settled::NotDurable));
            }
            let untried = known(Some(false), Some(Forwarded::NotTried));
            assert_eq!(settle(ack, urgency, &untried), Some(Settled::OnlyByTheBackend));
            for persisted in [None, Some(false)] {
                assert_eq!(settle(ack, urgency, &known(persisted, None)), None);
            }
        }
        let failed = known(Some(false), Some(refused(500)));
        assert_eq!(settle(Ack::Durable, Urgency::None, &failed), Some(Settled::NotDurable));
    }

    #[test]
    fn every_answer_is_counted() {
        let unread = [Unread::TooLarge, Unread::TooSlow, Unread::Broken, Unread::Crowded].map(Answer::Unread);
        let unsigned =
            [SignatureError::Missing, SignatureError::Malformed, SignatureError::Mismatch, SignatureError::TooOld]
                .map(Answer::Unsigned);
        let others = [
            Answer::Received { event_id: String::new() },
            Answer::BackendFailed(StatusCode::BAD_GATEWAY),
            Answer::NotDurable,
            Answer::Malformed,
        ];
        for answer in unread.into_iter().chain(unsigned).chain(others) {
            assert!(ANSWER_CODES.contains(&answer.code()), "{answer:?}");
        }
    }
}
