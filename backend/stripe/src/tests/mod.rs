//! One story in the four shapes that it is sent in today, and what becomes of damaged payloads.

mod before;
mod envelope;
mod fetched;
mod money;
mod objects;
mod robustness;
mod shapes;
mod texts;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::{Event, Object, Observation};

/// An event of `event_type` about `object`, made at the second 1,760,000,000.
fn event(event_type: &str, object: &Value) -> Value {
    json!({
        "id": "evt_1", "object": "event", "api_version": "2026-10-28.endive", "created": 1_760_000_000,
        "data": {"object": object}, "livemode": false, "pending_webhooks": 1,
        "request": {"id": "req_1", "idempotency_key": "k"}, "type": event_type,
    })
}

fn parse(event: &Value) -> Event {
    Event::parse(Bytes::from(event.to_string())).expect("an event of these tests is an event")
}

fn observation(event: &Value) -> Observation {
    parse(event).observation().expect("an event of these tests can be read").expect("it has an effect")
}

fn observed(event_type: &str, object: &Value) -> Object {
    observation(&event(event_type, object)).object
}
