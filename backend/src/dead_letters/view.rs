//! Dead letters as operators see them: one, or the newest first by what is asked for, and in numbers.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Serialize;
use tollgate_db::page::{List, Page, Position};
use tollgate_db::{DbError, Tx, id_set, row};
use tollgate_domain::dead_letters::{self, Source, Status};
use tollgate_shared::Timestamp;
use tollgate_shared::clock::{from_unix, rfc3339};

row! {
    /// A row of `dead_letters`.
    pub(super) struct DeadLetter {
        pub(super) id: String,
        pub(super) source: String,
        /// `evt_…`, `sev_…` or `msg_…`
        pub(super) event_id: String,
        machine_id: Option<String>,
        pub(super) license_id: Option<String>,
        customer_id: Option<String>,
        r#type: String,
        reason: String,
        attempts: i64,
        pub(super) status: String,
        created_at: Timestamp,
        last_failed_at: Timestamp,
        resolved_at: Option<Timestamp>,
        resolved_by: Option<String>,
        note: Option<String>,
    }
}

impl DeadLetter {
    /// The status; the table's check allows no other names.
    pub(super) fn status(&self) -> Status {
        Status::of(&self.status).expect("the table takes only names of a status")
    }
}

/// A dead letter as operators see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "DeadLetter")]
pub struct DeadLetterView {
    id: String,
    event_id: String,
    machine_id: Option<String>,
    source: String,
    r#type: String,
    reason: String,
    attempts: i64,
    status: String,
    stripe_customer_id: Option<String>,
    license_id: Option<String>,
    created_at: String,
    last_failed_at: String,
    resolved_at: Option<String>,
    resolved_by: Option<String>,
    note: Option<String>,
}

/// Which dead letters are asked for; what is left out does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Filter {
    /// How far along they are.
    pub(super) status: Option<Status>,
    /// Where they come from.
    pub(super) source: Option<Source>,
    /// The type of their events.
    pub(super) event_type: Option<String>,
}

/// The letters that are open, in numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "DeadLetterStats")]
pub(super) struct StatsView {
    open: i64,
    /// The age of the oldest event of Stripe's: what an app says may not raise an alarm.
    oldest_open_seconds: Option<i64>,
    by_source: BTreeMap<String, i64>,
    by_reason: BTreeMap<String, i64>,
}

/// The columns of a [`DeadLetter`], and what follows.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, source, event_id, machine_id, license_id, customer_id, type, reason, attempts, status,
                    created_at, last_failed_at, resolved_at, resolved_by, note
             FROM dead_letters ",
            $rest
        )
    };
}

const BY_ID: &str = select!("WHERE id = $1");
const BY_EVENT: &str = select!("WHERE event_id = $1 AND machine_id IS NULL AND source = 'webhook'");

/// Those of what machines and channels did not take, as far as they are not resolved.
const OF_DELIVERIES: &str = select!(
    "WHERE event_id IN (SELECT key FROM json_each($1)) AND source <> 'webhook' AND status <> 'resolved'
     ORDER BY created_at, id"
);

const OF_CUSTOMER: &str = select!("WHERE customer_id = $1 ORDER BY created_at DESC, id DESC LIMIT $2");

/// The newest of one status and source, after a position and at most `$5`.
const NEWEST: &str = select!(
    "WHERE status = $1 AND source = $2 AND (created_at, id) < ($3, $4)
     ORDER BY created_at DESC, id DESC
     LIMIT $5"
);
/// The same of one type, `$6`.
const NEWEST_OF_TYPE: &str = select!(
    "WHERE status = $1 AND source = $2 AND (created_at, id) < ($3, $4) AND type = $6
     ORDER BY created_at DESC, id DESC
     LIMIT $5"
);

/// A letter by its id, or by that of its event of Stripe's.
pub(super) async fn find(tx: &mut Tx, id: &str) -> Result<Option<DeadLetter>, DbError> {
    match tx.sql(BY_ID).bind(id).optional().await? {
        None => tx.sql(BY_EVENT).bind(id).optional().await,
        letter => Ok(letter),
    }
}

/// The letter of this id, or of what has it, as a list.
pub(super) async fn one(tx: &mut Tx, id: &str) -> Result<List<DeadLetterView>, DbError> {
    let data = find(tx, id).await?.map(DeadLetterView::from).into_iter().collect();
    Ok(List { data, has_more: false, next_cursor: None })
}

/// One page of what `filter` asks for, the newest first. Each status and source is a range of one index, of which the newest
/// are taken: a dozen looks at most, whatever the table holds.
pub(super) async fn list(tx: &mut Tx, filter: &Filter, page: &Page) -> Result<List<DeadLetterView>, DbError> {
    let after = page.after.clone().unwrap_or_else(|| Position { at: end_of_time(), id: String::new() });
    let mut letters: Vec<DeadLetter> = Vec::new();
    for status in one_or_all(filter.status, &Status::ALL) {
        for source in one_or_all(filter.source, &Source::ALL) {
            let query = tx.sql(if filter.event_type.is_some() { NEWEST_OF_TYPE } else { NEWEST });
            let query = query.bind(status.name()).bind(source.name()).bind(after.at).bind(after.id.as_str());
            let query = query.bind(page.rows_wanted());
            letters.extend(match &filter.event_type {
                Some(event_type) => query.bind(event_type.as_str()).all::<DeadLetter>().await?,
                None => query.all().await?,
            });
        }
    }
    letters.sort_by(|a, b| (b.created_at, &b.id).cmp(&(a.created_at, &a.id)));
    letters.truncate(page.limit + 1);
    let position = |letter: &DeadLetter| Position { at: letter.created_at, id: letter.id.clone() };
    Ok(page.list(letters, position).map(DeadLetterView::from))
}

/// The newest of what concerns one customer, `limit` at most.
pub async fn of_customer(tx: &mut Tx, customer_id: &str, limit: i64) -> Result<Vec<DeadLetterView>, DbError> {
    let letters: Vec<DeadLetter> = tx.sql(OF_CUSTOMER).bind(customer_id).bind(limit).all().await?;
    Ok(letters.into_iter().map(DeadLetterView::from).collect())
}

/// The letter of an event of Stripe's, if there is one.
pub async fn of_event(tx: &mut Tx, event_id: &str) -> Result<Option<DeadLetterView>, DbError> {
    let letter: Option<DeadLetter> = tx.sql(BY_EVENT).bind(event_id).optional().await?;
    Ok(letter.map(DeadLetterView::from))
}

/// The letters that are not resolved of events of licences' logs and of messages. No ids, no statement.
pub async fn of_deliveries(tx: &mut Tx, ids: &BTreeSet<String>) -> Result<Vec<DeadLetterView>, DbError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let ids = id_set(ids.iter().map(String::as_str));
    let letters: Vec<DeadLetter> = tx.sql(OF_DELIVERIES).bind(ids).all().await?;
    Ok(letters.into_iter().map(DeadLetterView::from).collect())
}

fn one_or_all<T: Copy>(one: Option<T>, all: &[T]) -> Vec<T> {
    one.map_or_else(|| all.to_vec(), |one| vec![one])
}

/// Later than any letter: both engines' times end with the year 9999 or later.
fn end_of_time() -> Timestamp {
    from_unix(253_402_300_799).expect("the last second of 9999 is one that chrono knows")
}

/// What is open, at `now`.
pub(super) async fn stats(tx: &mut Tx, now: Timestamp) -> Result<StatsView, DbError> {
    let by_source: BTreeMap<_, _> = dead_letters::open_by_source(tx).await?.into_iter().collect();
    let oldest = dead_letters::oldest_open(tx, Source::Webhook).await?;
    Ok(StatsView {
        open: by_source.values().sum(),
        oldest_open_seconds: oldest.map(|at| (now - at).num_seconds().max(0)),
        by_reason: dead_letters::reasons_of_open(tx).await?.into_iter().collect(),
        by_source,
    })
}

impl From<DeadLetter> for DeadLetterView {
    fn from(row: DeadLetter) -> Self {
        Self {
            id: row.id,
            event_id: row.event_id,
            machine_id: row.machine_id,
            source: row.source,
            r#type: row.r#type,
            reason: row.reason,
            attempts: row.attempts,
            status: row.status,
            stripe_customer_id: row.customer_id,
            license_id: row.license_id,
            created_at: rfc3339(row.created_at),
            last_failed_at: rfc3339(row.last_failed_at),
            resolved_at: row.resolved_at.map(rfc3339),
            resolved_by: row.resolved_by,
            note: row.note,
        }
    }
}

/// The statements whose texts are put together, for the test that looks at how engines carry them out.
#[cfg(test)]
pub(super) const STATEMENTS: [&str; 6] = [BY_ID, BY_EVENT, OF_DELIVERIES, OF_CUSTOMER, NEWEST, NEWEST_OF_TYPE];
