//! What machines were told, and what they said of it: events of licences' logs with their acknowledgements, for operators.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Serialize;
use tollgate_db::{DbError, Tx};
use tollgate_shared::clock::rfc3339;

use super::{Acknowledgement, Told, store};
use crate::events::cursor::Cursor;
use crate::events::epoch;

/// An event of a licence's log, with what was said of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ToldEvent")]
pub struct ToldView {
    /// `sev_…`
    event_id: String,
    license_id: String,
    cursor: String,
    r#type: String,
    /// The event of Stripe's that it tells of, if it is one's.
    stripe_event_id: Option<String>,
    created_at: String,
    acknowledgements: Vec<SaidView>,
}

/// What a machine said of an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "SaidOfEvent")]
pub struct SaidView {
    machine_id: Option<String>,
    status: String,
    error: Option<String>,
    acknowledged_at: String,
}

/// The newest events of a licence's log, `limit` at most.
pub async fn newest_of(tx: &mut Tx, license_id: &str, limit: i64) -> Result<Vec<ToldView>, DbError> {
    let told = store::newest_told(tx, license_id, limit).await?;
    views(tx, told).await
}

/// Events of any logs by their ids, in order of making.
pub async fn of_ids(tx: &mut Tx, ids: &BTreeSet<String>) -> Result<Vec<ToldView>, DbError> {
    let told = store::told(tx, ids).await?;
    views(tx, told).await
}

async fn views(tx: &mut Tx, told: Vec<Told>) -> Result<Vec<ToldView>, DbError> {
    if told.is_empty() {
        return Ok(Vec::new());
    }
    let epoch = epoch::current(tx).await?;
    let mut said: BTreeMap<String, Vec<SaidView>> = BTreeMap::new();
    for row in store::said_of(tx, told.iter().map(|event| &*event.id)).await? {
        said.entry(row.event_id.clone()).or_default().push(SaidView::of(row));
    }
    let view = |row: Told| ToldView {
        acknowledgements: said.remove(&row.id).unwrap_or_default(),
        event_id: row.id,
        license_id: row.license_id,
        cursor: Cursor { epoch, seq: row.seq }.to_string(),
        r#type: row.r#type,
        stripe_event_id: row.stripe_event_id,
        created_at: rfc3339(row.created_at),
    };
    Ok(told.into_iter().map(view).collect())
}

impl SaidView {
    fn of(row: Acknowledgement) -> Self {
        Self {
            machine_id: row.machine_id,
            status: row.status,
            error: row.error,
            acknowledged_at: rfc3339(row.acknowledged_at),
        }
    }
}
