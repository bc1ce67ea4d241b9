//! What was tried with events: at whose word, what came of it, and which rows it changed, by name.
//!
//! A transaction leaves one row, whatever number of events it took: a row an event would cost as much as a tenth of the event
//! itself. An event names the transaction in which it was last tried, and what is written there of it the one before.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use tollgate_db::{DbError, Json, Lock, Tx, id_set, record};
use tollgate_shared::Timestamp;

record! {
    /// A row of `webhook_batches`.
    pub struct Batch in "webhook_batches" {
        /// `bat_…`, in the order of time.
        pub id: String,
        /// When it was written.
        pub at: Timestamp,
        /// What was tried, by the ids of events.
        pub attempts: Json<BTreeMap<String, Attempt>>,
    }
}

/// One attempt at an event. What it nearly always is, is left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// At whose word.
    #[serde(default, skip_serializing_if = "By::is_relay")]
    pub by: By,
    /// What came of it, as the intake says it; `failed` for one that is to be tried again.
    #[serde(default = "processed", skip_serializing_if = "is_processed")]
    pub outcome: String,
    /// Why it failed: a class, never a text of a database's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// From when it was handed in until its rows were written.
    #[serde(rename = "ms")]
    pub duration_ms: i64,
    /// How long before it was written a relay had received it, as far as one said so.
    #[serde(rename = "lag", default, skip_serializing_if = "Option::is_none")]
    pub lag_ms: Option<i64>,
    /// The request by which it came, to a relay where that said so.
    #[serde(rename = "request")]
    pub request_id: String,
    /// Rows that were not there before: keys by table.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub created: BTreeMap<String, Vec<String>>,
    /// Rows that changed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub changed: BTreeMap<String, Vec<String>>,
    /// The batch of the attempt before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
}

/// At whose word an event is tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// A relay handed it over.
    #[default]
    Relay,
    /// Nobody's but ours: its time had come, or it was fetched from Stripe.
    Retry,
    /// An operator wanted it.
    Operator,
}

impl By {
    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Relay => "relay",
            Self::Retry => "retry",
            Self::Operator => "operator",
        }
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
    fn is_relay(&self) -> bool {
        *self == Self::Relay
    }
}

fn processed() -> String {
    "processed".to_owned()
}

fn is_processed(outcome: &str) -> bool {
    outcome == "processed"
}

/// The most attempts that are looked up of one event: it is tried eight times by itself, and now and then by an operator.
const ATTEMPTS_MAX: usize = 50;

/// What was tried with the event `id`, the oldest first; `last` is the batch that its row names.
pub async fn of_event(tx: &mut Tx, id: &str, last: Option<&str>) -> Result<Vec<(Timestamp, Attempt)>, DbError> {
    let mut tried = Vec::new();
    let mut next = last.map(str::to_owned);
    while let Some(batch) = next.take() {
        let found: Option<Batch> = tx.load("id", &BTreeSet::from([batch]), Lock::None).await?.pop();
        let Some(Batch { at, attempts: Json(mut attempts), .. }) = found else { break };
        let Some(attempt) = attempts.remove(id) else { break };
        next = attempt.before.clone().filter(|_| tried.len() < ATTEMPTS_MAX);
        tried.push((at, attempt));
    }
    tried.reverse();
    Ok(tried)
}

/// How long the newest events that were processed since `since` had been on their way, in milliseconds; `limit` at most.
pub async fn newest_lags(tx: &mut Tx, since: Timestamp, limit: usize) -> Result<Vec<i64>, DbError> {
    let (mut lags, mut before) = (Vec::new(), LAST_ID.to_owned());
    // Where nearly none of them came by a relay that says when, all could be looked at for nothing.
    for _ in 0..LOOKS_MAX {
        let sql = "SELECT id FROM webhook_batches WHERE id < $1 ORDER BY id DESC LIMIT $2";
        let ids: Vec<(String,)> = tx.sql(sql).bind(&*before).bind(BATCHES).all().await?;
        let Some((last,)) = ids.last() else { return Ok(lags) };
        before.clone_from(last);
        let mut batches: Vec<Batch> = tx.load("id", &ids.into_iter().map(|(id,)| id).collect(), Lock::None).await?;
        batches.sort_by(|a, b| b.id.cmp(&a.id));
        for Batch { at, attempts, .. } in batches {
            if at < since || lags.len() >= limit {
                return Ok(lags);
            }
            lags.extend(attempts.values().filter(|attempt| is_processed(&attempt.outcome)).filter_map(|it| it.lag_ms));
        }
    }
    Ok(lags)
}

/// How many batches are read at a time, and how often.
const BATCHES: i64 = 100;
const LOOKS_MAX: usize = 20;

/// After every id of a batch.
const LAST_ID: &str = "bat_g";

/// Batches after one of that id that were written before `before`, the oldest first and at most `limit`, with the events that
/// each tells of.
pub async fn old(
    tx: &mut Tx,
    before: Timestamp,
    after: &str,
    limit: i64,
) -> Result<Vec<(String, BTreeSet<String>)>, DbError> {
    let sql = "SELECT id FROM webhook_batches WHERE id > $1 ORDER BY id LIMIT $2";
    let ids: Vec<(String,)> = tx.sql(sql).bind(after).bind(limit).all().await?;
    let mut batches: Vec<Batch> = tx.load("id", &ids.into_iter().map(|(id,)| id).collect(), Lock::None).await?;
    batches.sort_by(|a, b| a.id.cmp(&b.id));
    let old = batches.into_iter().take_while(|batch| batch.at < before);
    Ok(old.map(|Batch { id, attempts: Json(attempts), .. }| (id, attempts.into_keys().collect())).collect())
}

/// Removes batches; gives how many.
pub async fn remove<'i>(tx: &mut Tx, ids: impl IntoIterator<Item = &'i str>) -> Result<u64, DbError> {
    tx.sql("DELETE FROM webhook_batches WHERE id IN (SELECT key FROM json_each($1))").bind(id_set(ids)).run().await
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn of_an_attempt_only_what_is_out_of_the_ordinary_is_written() {
        let attempt = Attempt {
            by: By::Relay,
            outcome: "processed".to_owned(),
            error: None,
            duration_ms: 3,
            lag_ms: None,
            request_id: "req_1".to_owned(),
            created: BTreeMap::new(),
            changed: BTreeMap::from([("customers".to_owned(), vec!["cus_1".to_owned()])]),
            before: None,
        };
        let written = json!({ "ms": 3, "request": "req_1", "changed": { "customers": ["cus_1"] } });
        assert_eq!(serde_json::to_value(&attempt).unwrap(), written);
        assert_eq!(serde_json::from_value::<Attempt>(written).unwrap(), attempt);
        let failed =
            Attempt { by: By::Retry, outcome: "failed".to_owned(), error: Some("panicked".to_owned()), ..attempt };
        assert_eq!(serde_json::from_value::<Attempt>(serde_json::to_value(&failed).unwrap()).unwrap(), failed);
    }
}
