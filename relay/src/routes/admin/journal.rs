//! The journal, for whoever has the internal key: what it holds, the newest first, and some of that delivered again.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::{StreamExt as _, stream};
use http::{Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use reqwest::Url;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use tollgate_journal::Entry;
use tollgate_journal::reader::{Found, Reader, ReaderError, Selection};
use tollgate_shared::clock::rfc3339;
use tollgate_shared::log_safe::LogSafe;
use tollgate_shared::{RequestId, Timestamp};
use tracing::{error, info};

use super::{Admin, Refused};
use crate::backend::delivery::Outcome;
use crate::backend::event::Event;
use crate::body::{Body, json_response};

/// Rows of a page: where nothing is said, and at most.
const LIMIT_DEFAULT: usize = 25;
const LIMIT_MAX: usize = 100;
/// How many events may be asked for again in one request.
const EVENTS_MAX: usize = 100;
/// A request of that many ids of 255 characters has some 100 KB.
const BODY_BYTES_MAX: usize = 128 * 1024;
/// A request comes from the next machine.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Deliveries in flight at a time.
const DELIVERIES_MAX: usize = 16;

/// An entry.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct EntryView {
    event_id: String,
    #[serde(rename = "type")]
    event_type: String,
    received_at: String,
    confirmed: bool,
    attempts: u32,
    bytes: usize,
    request_id: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct List {
    relay: String,
    data: Vec<EntryView>,
    has_more: bool,
    next_cursor: Option<String>,
}

/// What is asked for.
#[derive(Debug, Default)]
struct Wanted {
    selection: Selection,
    unconfirmed: bool,
    limit: usize,
    /// Where the last entry that was seen stands.
    after: Option<u64>,
}

const TIME: &str = "`from` and `to` have to be times such as 2026-11-27T09:30:00Z";

impl Wanted {
    fn of(uri: &Uri) -> Result<Self, Refused> {
        let mut wanted = Self { limit: LIMIT_DEFAULT, ..Self::default() };
        let query = uri.query().unwrap_or_default();
        let url = Url::parse(&format!("http://relay/?{query}")).map_err(|_| Refused::parameter("the query is none"))?;
        for (name, value) in url.query_pairs() {
            match &*name {
                "eventId" => wanted.selection.event_ids = Some(HashSet::from([value.into_owned()])),
                "unconfirmed" => {
                    let no_switch = |_| Refused::parameter("`unconfirmed` has to be `true` or `false`");
                    wanted.unconfirmed = value.parse().map_err(no_switch)?;
                }
                "from" => wanted.selection.from = Some(time(&value)?),
                "to" => wanted.selection.to = Some(time(&value)?),
                "limit" => {
                    let limit = value.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
                    wanted.limit = limit.ok_or(Refused::parameter("`limit` has to be a number from 1 to 100"))?;
                }
                "cursor" => {
                    let no_cursor = |_| Refused::parameter("`cursor` has to be the `nextCursor` of the page before");
                    wanted.after = Some(value.parse().map_err(no_cursor)?);
                }
                _ => {}
            }
        }
        Ok(wanted)
    }
}

fn time(text: &str) -> Result<Timestamp, Refused> {
    let time = DateTime::parse_from_rfc3339(text).map_err(|_| Refused::parameter(TIME))?;
    Ok(time.with_timezone(&Utc))
}

/// A page of the entries that are asked for, the newest first.
pub(super) async fn list(admin: &Admin, uri: &Uri) -> Result<Response<Body>, Refused> {
    let Wanted { selection, unconfirmed, limit, after } = Wanted::of(uri)?;
    let relay = admin.id.clone();
    let list = looking(admin, move |reader| {
        let found = reader.select(&selection)?;
        let is_wanted =
            |found: &&Found| !(unconfirmed && found.confirmed) && after.is_none_or(|after| found.position.0 < after);
        let mut wanted: Vec<Found> = found.iter().rev().filter(is_wanted).take(limit + 1).copied().collect();
        let has_more = wanted.len() > limit;
        wanted.truncate(limit);
        let next_cursor = wanted.last().filter(|_| has_more).map(|last| last.position.0.to_string());
        let mut data = Vec::with_capacity(wanted.len());
        for found in &wanted {
            // One that was pruned since is not there any more.
            data.extend(reader.entry(found)?.map(|entry| EntryView::of(&entry)));
        }
        Ok(List { relay, data, has_more, next_cursor })
    });
    Ok(json(&list.await?))
}

/// Does what reads the journal's files, when it is its turn, on a thread that may block.
async fn looking<T: Send + 'static>(
    admin: &Admin,
    look: impl FnOnce(&mut Reader) -> Result<T, ReaderError> + Send + 'static,
) -> Result<T, Refused> {
    let permit = admin.looks.clone().acquire_owned().await.map_err(|_| Refused::unreadable())?;
    let mut reader = Reader::new(&admin.dir);
    let looked = tokio::task::spawn_blocking(move || {
        let looked = look(&mut reader);
        // Held also when whoever asked has gone away.
        drop(permit);
        looked
    });
    looked.await.map_err(|_| Refused::unreadable())?.map_err(|failure| {
        error!("could not look into the journal: {failure}");
        Refused::unreadable()
    })
}

impl EntryView {
    fn of(entry: &Entry) -> Self {
        Self {
            event_id: entry.event_id.clone(),
            event_type: entry.event_type.clone(),
            received_at: rfc3339(entry.received_at),
            confirmed: entry.confirmed,
            attempts: entry.attempts,
            bytes: entry.body.len(),
            request_id: entry.request_id.clone(),
        }
    }
}

/// Which events are to be delivered again; `from` and `to` say when they were received, so that not all of the journal has to
/// be looked through.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Redeliver {
    event_ids: Vec<String>,
    #[serde(default)]
    from: Option<String>,
    #[serde(default)]
    to: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Redelivered {
    relay: String,
    redelivered: usize,
    results: Vec<ResultView>,
}

/// What came of one event.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ResultView {
    event_id: String,
    /// `confirmed`, `refused`, `unanswered`, or `unknown` where the journal has no such event.
    outcome: &'static str,
    /// What the backend answered, where it refused.
    status: Option<u16>,
}

/// Delivers events again, confirmed or not, each once; one that was not confirmed is, when the backend has it.
pub(super) async fn redeliver(admin: &Admin, request: Request<Incoming>) -> Result<Response<Body>, Refused> {
    let body = Limited::new(request.into_body(), BODY_BYTES_MAX).collect();
    let no_body = Refused { status: StatusCode::BAD_REQUEST, code: "invalid_json", message: "the body is not JSON" };
    let Ok(Ok(body)) = timeout(BODY_TIMEOUT, body).await else { return Err(no_body) };
    let Ok(asked) = serde_json::from_slice::<Redeliver>(&body.to_bytes()) else { return Err(no_body) };
    if !(1..=EVENTS_MAX).contains(&asked.event_ids.len()) {
        return Err(Refused::parameter("`eventIds` has to name 1 to 100 events"));
    }
    let selection = Selection {
        from: asked.from.as_deref().map(time).transpose()?,
        to: asked.to.as_deref().map(time).transpose()?,
        event_ids: Some(asked.event_ids.iter().cloned().collect()),
    };
    let found = looking(admin, move |reader| {
        let mut of_event: BTreeMap<String, (Option<Entry>, Vec<Found>)> = BTreeMap::new();
        for found in reader.select(&selection)? {
            if let Some(entry) = reader.entry(&found)? {
                let known = of_event.entry(entry.event_id.clone()).or_default();
                known.1.push(found);
                known.0.get_or_insert(entry);
            }
        }
        Ok(of_event)
    });
    let mut found = found.await?;
    let mut results: Vec<_> = asked
        .event_ids
        .iter()
        .filter(|id| !found.contains_key(*id))
        .map(|id| ResultView { event_id: id.clone(), outcome: "unknown", status: None })
        .collect();
    let entries: Vec<_> = found.values_mut().filter_map(|known| known.0.take()).collect();
    let delivered: Vec<_> =
        stream::iter(entries).map(|entry| deliver(admin, entry)).buffer_unordered(DELIVERIES_MAX).collect().await;
    for (event_id, outcome) in delivered {
        if outcome == Outcome::Confirmed {
            let known = found.get(&event_id).into_iter().flat_map(|known| &known.1);
            known.filter(|found| !found.confirmed).for_each(|found| admin.journal.confirm(found.position));
        }
        results.push(ResultView::of(event_id, &outcome));
    }
    if admin.journal.flush().await.is_err() {
        error!("could not write to the journal what was delivered again: it will be delivered once more");
    }
    let redelivered = results.iter().filter(|result| result.outcome == "confirmed").count();
    Ok(json(&Redelivered { relay: admin.id.clone(), redelivered, results }))
}

async fn deliver(admin: &Admin, entry: Entry) -> (String, Outcome) {
    let request_id = RequestId::adopt(Some(&entry.request_id), admin.clock.now(), &admin.rng);
    let Entry { event_id: id, event_type, received_at, body, .. } = entry;
    info!(event.id = %LogSafe(&id), %request_id, "redelivering event {} at an operator's word", LogSafe(&id));
    let event = Event { id: id.clone(), event_type, request_id, received_at, trace: None, body };
    (id, admin.backend.deliver(&event).await)
}

impl ResultView {
    fn of(event_id: String, outcome: &Outcome) -> Self {
        let (outcome, status) = match outcome {
            Outcome::Confirmed => ("confirmed", None),
            Outcome::Refused(status, _) => ("refused", Some(status.as_u16())),
            Outcome::Unanswered(_) => ("unanswered", None),
        };
        Self { event_id, outcome, status }
    }
}

fn json(body: &impl Serialize) -> Response<Body> {
    let text = serde_json::to_vec(body).expect("strings and numbers are always JSON");
    json_response(StatusCode::OK, Bytes::from(text))
}
