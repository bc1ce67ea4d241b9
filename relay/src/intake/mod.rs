//! Handles one webhook: read, verify, persist and forward in parallel, respond.
//!
//! What is answered with 200 is on disk, or the backend has it. An event that was taken is seen to its end even when the
//! client hangs up before the response.

mod memory;
mod reading;
mod response;
mod settle;
mod spawn_on_drop;

use std::future::{Future, pending};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};
use tollgate_journal::{Journal, NewEntry};
use tollgate_shared::log_safe::LogSafe;
use tollgate_shared::request_id::TRACEPARENT_HEADER;
use tollgate_shared::signing::{HeaderFault, SignatureError, SignatureHeader, Verifier};
use tollgate_shared::{Clock, EventHead, RequestId, Timestamp, TraceParent};
use tracing::warn;

use crate::backend::event::Event;
use crate::body::Body;
use crate::forwarder::{Forwarder, Handoff, Persisted};
use crate::metrics::Metrics;
use crate::public_proxy::Network;
use reading::{Reader, discard};
use response::WebhookResponse;
use settle::{Settled, is_persisted, settle, urgency};
use spawn_on_drop::SpawnOnDrop;

pub use memory::BodyMemory;
pub use reading::BodyTimeouts;
pub use response::RESPONSE_CODES;

const SIGNATURE_HEADER: HeaderName = HeaderName::from_static("stripe-signature");

/// When a webhook is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ack {
    /// As soon as the event is on disk; `checkout.session.*` also waits for the backend's response, up to the deadline.
    Durable,
    /// When the backend has responded too, up to the deadline.
    Backend,
}

/// Everything that taking an event needs.
pub struct Deps {
    /// Knows the webhook secrets.
    pub verifier: Verifier,
    /// Persists events.
    pub journal: Journal,
    /// Brings them to the backend.
    pub forwarder: Forwarder,
    /// Metrics.
    pub metrics: Arc<Metrics>,
    /// Source of the current time.
    pub clock: Clock,
    /// When to respond.
    pub ack: Ack,
    /// How long a response waits for the disk and the backend.
    pub deadline: Duration,
    /// How long a body may be.
    pub body_bytes_max: usize,
    /// How long it may take to come.
    pub body_timeouts: BodyTimeouts,
    /// How much memory all bodies may take.
    pub body_memory: BodyMemory,
}

/// Takes events.
pub struct Intake {
    deps: Deps,
    reader: Reader,
}

impl Intake {
    /// An intake that is ready to take events.
    pub fn new(deps: Deps) -> Self {
        let held = deps.metrics.body_bytes.clone();
        Self { reader: Reader::new(deps.body_bytes_max, deps.body_timeouts, deps.body_memory, held), deps }
    }

    /// Responds to a webhook that came from `network`.
    pub async fn take(&self, request: Request<Incoming>, network: Network, request_id: &RequestId) -> Response<Body> {
        let began = Instant::now();
        let response = self.respond(request, network, request_id).await;
        self.deps.metrics.webhook(response.code(), began.elapsed());
        if let Some(fault) = response.fault() {
            self.deps.metrics.refusals.refused(fault, response.code(), request_id, &response.message());
        }
        response.into_response(request_id)
    }

    async fn respond(&self, request: Request<Incoming>, network: Network, request_id: &RequestId) -> WebhookResponse {
        let trace = trace(request.headers());
        // Before the body: of those that no secret can have signed none is read.
        let signature = match signature_header(request.headers()) {
            Ok(signature) => signature,
            Err(error) => {
                let (head, body) = request.into_parts();
                discard(body, head.version, &head.headers);
                return WebhookResponse::Unsigned(error);
            }
        };
        let read = match self.reader.read(request, network).await {
            Ok(read) => read,
            Err(error) => return WebhookResponse::Unread(error),
        };
        let now = self.deps.clock.now();
        match self.deps.verifier.check(&signature, &read.bytes, now) {
            Ok(index) => self.deps.metrics.secret_matched(index, now),
            Err(error) => return WebhookResponse::Unsigned(error),
        }
        match event(&read.bytes, request_id, now, trace) {
            Some(event) => self.persist_and_forward(event).await,
            None => WebhookResponse::Malformed,
        }
    }

    /// Responds to an event whose signature was good.
    #[cfg(test)]
    pub(crate) async fn take_event(&self, event: Event) -> Response<Body> {
        let request_id = event.request_id.clone();
        self.persist_and_forward(event).await.into_response(&request_id)
    }

    async fn persist_and_forward(&self, event: Event) -> WebhookResponse {
        let deps = &self.deps;
        let event_id = event.id.clone();
        let urgency = urgency(deps.ack, &event.event_type);
        let by = Instant::now() + deps.deadline;

        let entry = NewEntry {
            event_id: event.id.clone(),
            event_type: event.event_type.clone(),
            received_at: event.received_at,
            request_id: event.request_id.clone(),
            body: event.body.clone(),
        };
        let handoff = deps.forwarder.forward(event, urgency);
        let persisting = SpawnOnDrop::new(persist(deps.journal.clone(), entry, Arc::clone(&handoff)));
        let settled = handoff.wait_until(|known| settle(deps.ack, urgency, known));
        let settled = timeout_at(by, while_running(persisting, settled)).await;
        let settled = match settled {
            Ok(Settled::OnlyByTheBackend) => {
                let handoff = deps.forwarder.forward_unpersisted(handoff.event().clone());
                timeout_at(by, handoff.wait_until(|known| settle(deps.ack, urgency, known))).await
            }
            settled => settled,
        };
        match settled {
            Ok(Settled::Durable) => WebhookResponse::Received { event_id },
            Ok(Settled::BackendFailed(status)) => WebhookResponse::BackendFailed(status),
            Err(_) if handoff.wait_until(|known| Some(is_persisted(known))).await => {
                WebhookResponse::Received { event_id }
            }
            // After a time-out the disk may yet take it; that is not known.
            Ok(Settled::OnlyByTheBackend | Settled::NotDurable) | Err(_) => WebhookResponse::NotDurable,
        }
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

fn signature_header(headers: &HeaderMap) -> Result<SignatureHeader, SignatureError> {
    let lines = headers.get_all(SIGNATURE_HEADER).iter().map(HeaderValue::to_str).collect::<Result<Vec<_>, _>>();
    SignatureHeader::parse(lines.map_err(|_| SignatureError::Malformed(HeaderFault::NotText))?)
}

fn event(body: &Bytes, request_id: &RequestId, received_at: Timestamp, trace: Option<TraceParent>) -> Option<Event> {
    let head = EventHead::parse(body).ok()?;
    let (id, event_type) = (head.id.into_owned(), head.event_type.into_owned());
    Some(Event { id, event_type, request_id: request_id.clone(), received_at, trace, body: body.clone() })
}

fn trace(headers: &HeaderMap) -> Option<TraceParent> {
    TraceParent::parse(headers.get(TRACEPARENT_HEADER)?.to_str().ok()?)
}
