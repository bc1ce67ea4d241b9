//! One webhook, straight down: read, verify, keep and forward side by side, answer.
//!
//! What is answered with 200 is on disk, or the backend has it. An event that was taken is seen to its end even when the
//! client hangs up before the answer.

mod reading;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Request, Response, StatusCode};
use hyper::body::Incoming;
use serde::Serialize;
use tokio::time::{Instant, timeout_at};
use tollgate_shared::request_id::TRACEPARENT_HEADER;
use tollgate_shared::signing::{SignatureError, TOLERANCE_SECONDS, Verifier};
use tollgate_shared::{Clock, ErrorBody, EventHead, RequestId, Timestamp, TraceParent};
use tracing::{info, warn};

use crate::body::{Body, error_response, json_response};
use crate::config::Ack;
use crate::delivery::{Event, Outcome, Shown};
use crate::forwarder::{Forwarder, Handoff};
use tollgate_journal::{Journal, NewEntry};
use crate::metrics::Metrics;
use reading::{Reader, Unread};

pub use reading::BodyWaits;

const SIGNATURE_HEADER: HeaderName = HeaderName::from_static("stripe-signature");

/// Stripe holds the buyer's redirect until these are answered, so the backend should have them by then.
const HELD_BY_A_BUYER: &str = "checkout.session.";

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
            Some(event) => self.keep_and_forward(event, now).await,
            None => Answer::Malformed,
        }
    }

    async fn keep_and_forward(&self, event: Event, received_at: Timestamp) -> Answer {
        let means = &self.means;
        let event_id = event.id.clone();
        let holds_a_buyer = event.kind.starts_with(HELD_BY_A_BUYER);
        let waits_for_the_backend = means.ack == Ack::Backend || holds_a_buyer;
        let by = Instant::now() + means.deadline;

        let entry = NewEntry {
            event_id: event.id.clone(),
            kind: event.kind.clone(),
            received_at,
            request_id: event.request_id.clone(),
            body: event.body.clone(),
        };
        // With `backend` they all are waited for.
        let goes_ahead = holds_a_buyer && means.ack == Ack::Durable;
        let handoff = means.forwarder.forward(event, goes_ahead);
        let keeping = Seen::to_its_end(keep(means.journal.clone(), entry, Arc::clone(&handoff)));
        // An error means that it is not known: the disk may yet take it.
        let kept = timeout_at(by, keeping).await;
        let forwarded = if kept == Ok(true) && !waits_for_the_backend {
            None
        } else {
            timeout_at(by, self.forwarded(&handoff, kept == Ok(false))).await.ok().flatten()
        };
        decide(means.ack, kept == Ok(true), forwarded.as_ref(), event_id)
    }

    /// What came of an event's delivery. One that was not tried, and that will not be in the journal, is tried.
    async fn forwarded(&self, handoff: &Handoff, only_way: bool) -> Option<Outcome> {
        match handoff.outcome().await {
            None if only_way => self.means.forwarder.forward_unkept(handoff.event().clone()).outcome().await,
            outcome => outcome,
        }
    }
}

/// Keeps an event, and tells its handoff; whether it is kept.
async fn keep(journal: Journal, entry: NewEntry, handoff: Arc<Handoff>) -> bool {
    match journal.append(entry).await {
        Ok(position) => {
            handoff.kept(position);
            true
        }
        Err(error) => {
            handoff.not_kept();
            let Event { id, request_id, .. } = handoff.event();
            let id = Shown(id);
            warn!(event.id = %id, %request_id, "Could not keep event {id}: {error}");
            false
        }
    }
}

/// The answer to an event with a good signature: `forwarded` is what is known of its delivery by the deadline.
fn decide(ack: Ack, kept: bool, forwarded: Option<&Outcome>, event_id: String) -> Answer {
    match forwarded {
        Some(Outcome::Confirmed) => Answer::Received { event_id },
        Some(Outcome::Refused(status)) if ack == Ack::Backend && status.is_server_error() => {
            Answer::BackendFailed(*status)
        }
        _ if kept => Answer::Received { event_id },
        _ => Answer::NotDurable,
    }
}

fn event(body: &Bytes, request_id: &RequestId, trace: Option<TraceParent>) -> Option<Event> {
    let head = EventHead::parse(body).ok()?;
    let (id, kind) = (head.id.into_owned(), head.kind.into_owned());
    Some(Event { id, kind, request_id: request_id.clone(), trace, body: body.clone() })
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

/// A future that is seen to its end: when it is dropped before, because the client has hung up or the deadline has
/// passed, it goes on by itself.
struct Seen<F: Future<Output: Send> + Send + 'static>(Option<Pin<Box<F>>>);

impl<F: Future<Output: Send> + Send + 'static> Seen<F> {
    fn to_its_end(future: F) -> Self {
        Self(Some(Box::pin(future)))
    }
}

impl<F: Future<Output: Send> + Send + 'static> Future for Seen<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let future = self.0.as_mut().expect("a future is not polled after it was ready");
        let polled = future.as_mut().poll(cx);
        if polled.is_ready() {
            self.0 = None;
        }
        polled
    }
}

impl<F: Future<Output: Send> + Send + 'static> Drop for Seen<F> {
    fn drop(&mut self) {
        if let (Some(future), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(future);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::NoAnswer;

    fn decided(ack: Ack, kept: bool, forwarded: Option<Outcome>) -> (u16, &'static str) {
        let answer = decide(ack, kept, forwarded.as_ref(), "evt_1".into());
        (answer.status().as_u16(), answer.code())
    }

    fn refused(status: u16) -> Outcome {
        Outcome::Refused(StatusCode::from_u16(status).unwrap())
    }

    #[test]
    fn what_is_kept_is_received_whatever_the_backend_says() {
        for forwarded in [
            None,
            Some(Outcome::Confirmed),
            Some(refused(200)),
            Some(refused(302)),
            Some(refused(403)),
            Some(refused(500)),
            Some(Outcome::Unanswered(NoAnswer::NotConnected)),
        ] {
            assert_eq!(decided(Ack::Durable, true, forwarded), (200, "received"));
        }
    }

    #[test]
    fn when_the_backend_acknowledges_its_5xx_goes_back_to_stripe_and_nothing_else_does() {
        for status in [500, 502, 503] {
            assert_eq!(decided(Ack::Backend, true, Some(refused(status))), (status, "backend_failed"));
            assert_eq!(decided(Ack::Backend, false, Some(refused(status))), (status, "backend_failed"));
        }
        for forwarded in [Outcome::Confirmed, refused(200), refused(302), refused(403), refused(404)].map(Some) {
            assert_eq!(decided(Ack::Backend, true, forwarded), (200, "received"));
        }
        assert_eq!(decided(Ack::Backend, true, None), (200, "received"));
    }

    #[test]
    fn what_is_not_kept_is_received_only_if_the_backend_has_confirmed_it() {
        for ack in [Ack::Durable, Ack::Backend] {
            assert_eq!(decided(ack, false, Some(Outcome::Confirmed)), (200, "received"));
            for forwarded in
                [None, Some(refused(200)), Some(refused(403)), Some(Outcome::Unanswered(NoAnswer::TimedOut))]
            {
                assert_eq!(decided(ack, false, forwarded), (503, "not_durable"));
            }
        }
        assert_eq!(decided(Ack::Durable, false, Some(refused(500))), (503, "not_durable"));
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
