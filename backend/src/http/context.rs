//! What is known of a request while it is being answered: its ids, when it came, and that it counts as in flight.

use std::sync::{Mutex, PoisonError};

use rocket::Request;
use rocket::outcome::Outcome;
use rocket::request::{self, FromRequest};
use tollgate_shared::request_id::{REQUEST_ID_HEADER, TRACEPARENT_HEADER};
use tollgate_shared::{RequestId, Timestamp, TraceParent};

use super::in_flight::{Flight, InFlight};
use crate::app::App;

/// Lives as long as Rocket's request does, which is until the last byte of the answer is handed to the connection.
pub struct RequestContext {
    /// The caller's `X-Request-Id`, or one made here.
    pub request_id: RequestId,
    /// The caller's trace continued, or a new one.
    pub trace: TraceParent,
    /// When the request's head had been read.
    pub started_at: Timestamp,
    flight: Mutex<Option<Flight>>,
}

impl RequestContext {
    /// The context of `request`, made at the first call: for a request that Rocket finds unreadable no fairing runs.
    pub fn of<'r>(request: &'r Request<'_>) -> &'r Self {
        request.local_cache(|| {
            let app = App::of(request);
            let now = app.clock.now();
            Self {
                request_id: RequestId::adopt(request.headers().get_one(REQUEST_ID_HEADER), now, &app.rng),
                trace: TraceParent::adopt(request.headers().get_one(TRACEPARENT_HEADER), &app.rng),
                started_at: now,
                flight: Mutex::new(Some(InFlight::of(request).enter())),
            }
        })
    }

    /// Counts the request no longer: a stop does not wait for its answer.
    pub fn leave(&self) {
        self.flight.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

#[rocket::async_trait]
impl<'r> FromRequest<'r> for &'r RequestContext {
    type Error = std::convert::Infallible;

    async fn from_request(request: &'r Request<'_>) -> request::Outcome<Self, Self::Error> {
        Outcome::Success(RequestContext::of(request))
    }
}
