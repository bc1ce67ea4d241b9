//! What a replay has come to, as operators see it.

use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};
use tollgate_db::Draft;
use tollgate_shared::log_safe::LogSafe;

use super::Replayed;
use crate::webhooks::Status;
use crate::webhooks::inbox::IntakeError;

/// A page of a replay.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Replay")]
pub(super) struct ReplayView {
    pub(super) matched: i64,
    pub(super) results: Vec<ReplayedView>,
    pub(super) has_more: bool,
    pub(super) next_cursor: Option<String>,
}

/// One event of a replay.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ReplayedEvent")]
pub struct ReplayedView {
    event_id: Option<String>,
    pub(super) outcome: &'static str,
    /// What it would change; null where it was done.
    changes: Option<Vec<ChangeView>>,
}

/// A row that would change.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "RowChange")]
struct ChangeView {
    table: &'static str,
    key: String,
    before: Option<Map<String, Value>>,
    after: Map<String, Value>,
}

/// Columns that open something, or that somebody could be known again by. What is kept as bytes (what is sealed, and
/// payloads) is never here.
const SECRET: [(&str, &str); 3] = [("api_keys", "hash"), ("licenses", "key"), ("machines", "fingerprint_hash")];

impl From<Replayed> for ReplayedView {
    fn from(replayed: Replayed) -> Self {
        let (event_id, outcome) = match replayed.delivery {
            Ok((id, outcome)) => (Some(id), outcome.name()),
            Err((id, IntakeError::RetryScheduled)) => (id, Status::Failed.name()),
            Err((id, IntakeError::NotStored | IntakeError::Malformed)) => (id, NOT_DONE),
        };
        let changes = replayed.changes.map(|changes| changes.into_iter().map(ChangeView::from).collect());
        Self { event_id, outcome, changes }
    }
}

/// What is said of an event of which nothing could be written.
pub(super) const NOT_DONE: &str = "not_done";

impl ReplayedView {
    /// Whether it is not in effect, and should be.
    pub fn has_failed(&self) -> bool {
        [NOT_DONE, Status::Failed.name(), Status::DeadLettered.name()].contains(&self.outcome)
    }
}

/// A line for the event, and one for each row that would change, with the columns that would.
impl fmt::Display for ReplayedView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} {}", LogSafe(self.event_id.as_deref().unwrap_or("?")), self.outcome)?;
        for ChangeView { table, key, before, after } in self.changes.iter().flatten() {
            write!(f, "  {table} {}:", LogSafe(key))?;
            if before.is_none() {
                f.write_str(" new")?;
            }
            for (column, is) in after {
                let was = before.as_ref().and_then(|before| before.get(column));
                match was {
                    Some(was) if was == is => {}
                    Some(was) => write!(f, " {column} {was} -> {is},")?,
                    None => write!(f, " {column} {is},")?,
                }
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

impl From<Draft> for ChangeView {
    fn from(draft: Draft) -> Self {
        let Draft { table, key, before, after } = draft;
        Self { table, key, before: before.map(|row| shown(table, row)), after: shown(table, after) }
    }
}

fn shown(table: &str, row: Map<String, Value>) -> Map<String, Value> {
    let public = row.into_iter().filter(|(column, _)| !SECRET.contains(&(table, &**column)));
    public.map(|(column, value)| (camel_case(&column), value)).collect()
}

/// `customer_id` as `customerId`.
fn camel_case(column: &str) -> String {
    let mut words = column.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| {
        let mut letters = word.chars();
        name + &letters.next().map(|letter| letter.to_ascii_uppercase()).into_iter().collect::<String>()
            + letters.as_str()
    })
}
