//! One event from end to end: each step that it went, and by what is missing where it did not get further.

use std::collections::{BTreeMap, BTreeSet};

use chrono::Duration;
use schemars::JsonSchema;
use serde::Serialize;
use tollgate_db::{DbError, Tx};
use tollgate_domain::acknowledgements::told::{self, ToldView};
use tollgate_domain::audit::history::{self, ChangeView};
use tollgate_domain::notifications::view::{self as messages, MessageView};
use tollgate_shared::clock::rfc3339;
use tollgate_shared::{RequestId, Timestamp};

use crate::app::App;
use crate::dead_letters::view::{self as dead_letters, DeadLetterView};
use crate::relays::{Asked, Journal};
use crate::webhooks::batches::{self, Attempt};
use crate::webhooks::view::{self as webhooks, EventRow, EventView};

/// How much earlier than by Stripe's clock a relay may have received an event by its own.
const CLOCKS_APART_MAX: Duration = Duration::hours(1);

/// Everything that is known of one event.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "WholeEvent")]
pub(super) struct WholeEvent {
    /// Null where it has not come here: then only relays know of it.
    event: Option<RequestedEvent>,
    /// Every relay that is known, those too that did not answer or have no such event.
    relays: Vec<RelayView>,
    /// The oldest first.
    attempts: Vec<AttemptView>,
    /// The rows that it changed, by name.
    effects: Vec<EffectView>,
    /// What it changed of its customer's tier, status and plan.
    changes: Vec<ChangeView>,
    /// What desktop apps were told of it, and what they said.
    license_events: Vec<ToldView>,
    /// What users are told of it.
    messages: Vec<MessageView>,
    dead_letter: Option<DeadLetterView>,
    /// What is not resolved of what machines and channels did not take of it.
    dead_letters: Vec<DeadLetterView>,
}

/// An event with the request that brought it.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "RequestedEvent")]
struct RequestedEvent {
    #[serde(flatten)]
    event: EventView,
    request_id: Option<String>,
}

/// What one relay has of an event.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "EventAtRelay")]
struct RelayView {
    /// What it is called; its address where it is silent.
    relay: String,
    reachable: bool,
    /// When it was received there; null where its journal has no such event.
    received_at: Option<String>,
    confirmed: Option<bool>,
    attempts: Option<i64>,
    request_id: Option<String>,
    bytes: Option<i64>,
}

/// One attempt to process an event.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "EventAttempt")]
struct AttemptView {
    at: String,
    /// `relay`, `retry` or `operator`.
    by: &'static str,
    outcome: String,
    error: Option<String>,
    duration_ms: i64,
    request_id: String,
}

/// A row that an event changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "EventEffect")]
struct EffectView {
    table: String,
    key: String,
    /// `created` or `changed`.
    change: &'static str,
}

/// What is known of the event `id`; none where nobody has it, and every relay has said so.
pub(super) async fn load(app: &App, id: &str, request_id: &RequestId) -> Result<Option<WholeEvent>, DbError> {
    let mut tx = app.read_list().await?;
    let known = webhooks::find(&mut tx, id).await?;
    drop(tx);
    let asked = app.relays.journals_of(id, received_from(known.as_ref()), request_id).await;
    let may_be_there = |asked: &Asked<Journal>| asked.said.as_ref().is_none_or(|said| !said.data.is_empty());
    if known.is_none() && !asked.iter().any(may_be_there) {
        return Ok(None);
    }
    let mut tx = app.read_list().await?;
    Ok(Some(of(&mut tx, id, known, asked).await?))
}

/// Not before when a relay can have received an event: a journal is looked through from there on.
pub(super) fn received_from(known: Option<&EventRow>) -> Option<Timestamp> {
    let known = known?;
    Some(known.created_at.unwrap_or(known.received_at).min(known.received_at) - CLOCKS_APART_MAX)
}

async fn of(tx: &mut Tx, id: &str, known: Option<EventRow>, asked: Vec<Asked<Journal>>) -> Result<WholeEvent, DbError> {
    let last = known.as_ref().and_then(|row| row.batch_id.as_deref());
    let tried = batches::of_event(tx, id, last).await?;
    let effects = effects(tried.iter().map(|(_, attempt)| attempt));
    let keys_of = |table: &str| -> BTreeSet<String> {
        effects.iter().filter(|effect| effect.table == table).map(|effect| effect.key.clone()).collect()
    };
    let (changes, license_events) = (keys_of("changes"), keys_of("license_events"));
    let messages = messages::of_event(tx, id).await?;
    let mut deliveries = license_events.clone();
    deliveries.extend(messages.iter().map(|message| message.id().to_owned()));
    Ok(WholeEvent {
        relays: asked.into_iter().map(RelayView::of).collect(),
        attempts: tried.into_iter().map(AttemptView::of).collect(),
        changes: history::of_ids(tx, &changes).await?,
        license_events: told::of_ids(tx, &license_events).await?,
        messages,
        dead_letter: dead_letters::of_event(tx, id).await?,
        dead_letters: dead_letters::of_deliveries(tx, &deliveries).await?,
        effects,
        event: known.map(|row| RequestedEvent { request_id: row.request_id.clone(), event: EventView::from(row) }),
    })
}

/// The rows that any of the attempts changed, each once, in the order in which they were.
fn effects<'a>(attempts: impl Iterator<Item = &'a Attempt>) -> Vec<EffectView> {
    let (mut seen, mut effects) = (BTreeSet::new(), Vec::new());
    for attempt in attempts {
        for (change, names) in [("created", &attempt.created), ("changed", &attempt.changed)] {
            for (table, key) in pairs(names) {
                if seen.insert((table, key)) {
                    effects.push(EffectView { table: table.to_owned(), key: key.to_owned(), change });
                }
            }
        }
    }
    effects
}

fn pairs(names: &BTreeMap<String, Vec<String>>) -> impl Iterator<Item = (&str, &str)> {
    names.iter().flat_map(|(table, keys)| keys.iter().map(move |key| (&**table, &**key)))
}

impl WholeEvent {
    /// The same with what came, where it is still known.
    pub(super) fn with_payload(mut self, payload: Option<Vec<u8>>) -> Self {
        if let (Some(event), Some(payload)) = (&mut self.event, payload) {
            // Only UTF-8 is taken for an event, so nothing is lost.
            event.event.payload = Some(String::from_utf8_lossy(&payload).into_owned());
        }
        self
    }
}

impl RelayView {
    /// Of the entries of one event the oldest says when it came.
    fn of(asked: Asked<Journal>) -> Self {
        let Some(said) = asked.said else { return Self { relay: asked.url, ..Self::default() } };
        let confirmed = said.data.iter().any(|entry| entry.confirmed);
        let attempts = said.data.iter().map(|entry| entry.attempts).sum();
        let first = said.data.into_iter().next_back();
        Self {
            relay: said.relay,
            reachable: true,
            confirmed: first.as_ref().map(|_| confirmed),
            attempts: first.as_ref().map(|_| attempts),
            bytes: first.as_ref().map(|entry| entry.bytes),
            received_at: first.as_ref().map(|entry| entry.received_at.clone()),
            request_id: first.map(|entry| entry.request_id),
        }
    }
}

impl AttemptView {
    fn of((at, attempt): (Timestamp, Attempt)) -> Self {
        Self {
            at: rfc3339(at),
            by: attempt.by.name(),
            outcome: attempt.outcome,
            error: attempt.error,
            duration_ms: attempt.duration_ms,
            request_id: attempt.request_id,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relays::Entry;

    #[test]
    fn a_silent_relay_is_named_and_not_left_out() {
        let silent = RelayView::of(Asked { url: "http://relay:3001/".to_owned(), said: None });
        assert_eq!((&*silent.relay, silent.reachable, silent.confirmed), ("http://relay:3001/", false, None));
        let said = Journal { relay: "relay-a".to_owned(), data: Vec::new() };
        let without = RelayView::of(Asked { url: String::new(), said: Some(said) });
        assert_eq!((&*without.relay, without.reachable, without.confirmed), ("relay-a", true, None));
    }

    #[test]
    fn of_what_came_twice_the_first_says_when() {
        let entry = |received_at: &str, confirmed| Entry {
            received_at: received_at.to_owned(),
            confirmed,
            attempts: 2,
            request_id: format!("req_{received_at}"),
            bytes: 10,
        };
        let data = vec![entry("later", false), entry("first", true)];
        let view = RelayView::of(Asked { url: String::new(), said: Some(Journal { relay: "a".to_owned(), data }) });
        assert_eq!((view.received_at.as_deref(), view.confirmed, view.attempts), (Some("first"), Some(true), Some(4)));
        assert_eq!(view.request_id.as_deref(), Some("req_first"));
    }
}
