//! Events processed once more, at an operator's word: one, some, or all that were received within a time.
//!
//! They go the way of a delivery. What is in effect is applied once more, which finds what is missing and changes nothing
//! else: it is then a `duplicate`, and `processed` if it did change something.

pub mod routes;
mod store;
pub mod view;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use bytes::Bytes;
use chrono::Duration;
use tollgate_db::page::{List, Page, Position};
use tollgate_db::{DbError, Draft, Tx};
use tollgate_shared::{RequestId, Timestamp};

use self::store::Found;
use super::Status;
use super::inbox::{Delivery, Inbox, Mode, Order};
use crate::app::App;

/// The most events that are named at once, and of a range the most that are replayed together.
pub const EVENTS_MAX: usize = 100;

/// How far back a range may reach: as far as events are kept by default.
pub const REACH: Duration = Duration::days(90);

/// How often operators may ask, all of them together: six thousand events a minute, beside which deliveries have room.
pub const REQUESTS_PER_MINUTE: NonZeroU32 = NonZeroU32::new(60).expect("sixty is not zero");

/// Up to which number the events of a range are counted.
const MATCHED_MAX: i64 = 100_000;

/// How many bytes of payloads are in memory together, unless the first alone has more.
const TOGETHER_BYTES_MAX: i64 = 8 << 20;

/// What the audit trail calls it.
pub const ACTION: &str = "webhook_event.replay";

/// Which events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// Those with these ids.
    Named(Vec<String>),
    /// Those that were received within a time.
    Received(Received),
}

/// Events that were received within a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Not before.
    pub from: Timestamp,
    /// Before.
    pub to: Timestamp,
    /// Of this type alone.
    pub event_type: Option<String>,
}

/// Events to be replayed together.
#[derive(Clone, Debug, PartialEq)]
pub struct Selected {
    /// How many there are in all, counted up to a hundred thousand.
    pub matched: i64,
    /// Those of this page, in the order in which they were received, or named.
    events: List<Found>,
}

/// Why events cannot be selected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    /// One of those that are named is not known.
    #[error("there is no such event")]
    Unknown,
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
}

impl Selected {
    /// The position after which the next page begins, as a cursor.
    pub fn next_cursor(&self) -> Option<&str> {
        self.events.next_cursor.as_deref()
    }
}

/// The events of a selection that come after `after`, a page of them.
pub async fn select(app: &App, selection: &Selection, after: Option<Position>) -> Result<Selected, SelectError> {
    let mut tx = app.read_list().await?;
    match selection {
        Selection::Named(ids) => {
            let mut data = Vec::with_capacity(ids.len());
            for id in ids {
                data.push(store::find(&mut tx, id).await?.ok_or(SelectError::Unknown)?);
            }
            let events = List { data, has_more: false, next_cursor: None };
            Ok(Selected { matched: ids.len() as i64, events })
        }
        Selection::Received(received) => {
            let page = Page { limit: EVENTS_MAX, after };
            let events = received_within(&mut tx, received, &page).await?;
            let mut matched = 0;
            for status in Status::ALL {
                matched += store::count(&mut tx, status, received, MATCHED_MAX).await?;
            }
            Ok(Selected { matched: matched.min(MATCHED_MAX), events })
        }
    }
}

/// Each status is a range of an index, of which the oldest are taken.
async fn received_within(tx: &mut Tx, received: &Received, page: &Page) -> Result<List<Found>, DbError> {
    let mut found = Vec::new();
    for status in Status::ALL {
        found.extend(store::received(tx, status, received, page).await?);
    }
    found.sort_by(|a, b| (a.received_at, &a.id).cmp(&(b.received_at, &b.id)));
    found.truncate(page.limit + 1);
    Ok(page.list(found, |event| Position { at: event.received_at, id: event.id.clone() }))
}

/// What an event came to, or would come to.
#[derive(Debug)]
pub struct Replayed {
    /// What its sender would be answered.
    pub delivery: Delivery,
    /// What it would change, where that was asked for.
    pub changes: Option<Vec<Draft>>,
}

/// Replays events that were selected, each in the audit trail as an act of `order`; or says what would come of it.
pub async fn run(
    inbox: &Inbox,
    selected: &Selected,
    order: Order,
    dry_run: bool,
    request_id: &RequestId,
) -> Result<Vec<Replayed>, DbError> {
    let mode = Mode::Operator(Arc::new(order));
    let mut replayed = Vec::with_capacity(selected.events.data.len());
    let mut rest = &selected.events.data[..];
    while !rest.is_empty() {
        let (together, later) = rest.split_at(fitting(rest));
        rest = later;
        let payloads = payloads(&mut inbox.app().read_list().await?, together).await?;
        if dry_run {
            for event in inbox.rehearse(payloads, &mode, request_id).await? {
                let delivery = match event.answer {
                    Ok(outcome) => Ok((event.event_id, outcome)),
                    Err(error) => Err((Some(event.event_id), error)),
                };
                replayed.push(Replayed { delivery, changes: Some(event.changes) });
            }
        } else {
            let deliveries = inbox.process(payloads, mode.clone(), request_id).await;
            replayed.extend(deliveries.into_iter().map(|delivery| Replayed { delivery, changes: None }));
        }
    }
    Ok(replayed)
}

/// How many of the first events are taken together.
fn fitting(events: &[Found]) -> usize {
    let mut bytes = 0;
    let fits = events.iter().take_while(|event| {
        bytes += event.payload_bytes;
        bytes <= TOGETHER_BYTES_MAX
    });
    fits.count().max(1)
}

/// The payloads of those events that are still there.
async fn payloads(tx: &mut Tx, events: &[Found]) -> Result<Vec<Bytes>, DbError> {
    let ids = events.iter().map(|event| event.id.clone()).collect();
    let mut by_id: BTreeMap<_, _> = store::payloads(tx, &ids).await?.into_iter().collect();
    Ok(events.iter().filter_map(|event| by_id.remove(&event.id)).collect())
}
