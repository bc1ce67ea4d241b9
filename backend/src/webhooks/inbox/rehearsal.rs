//! What events would change if an operator had them processed now: the same is done as would be, in a transaction that is
//! not committed.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde_json::{Map, Value};
use tokio::time::Instant;
use tollgate_db::{DbError, Draft, Lock, Tx, columns_of, record};
use tollgate_domain::apply::made;
use tollgate_domain::dead_letters;
use tollgate_shared::{RequestId, Timestamp};

use super::Inbox;
use super::batch::BatchWriter;
use super::job::{Answer, Job, Mode};

record! {
    /// What becomes of an event, without what it is.
    struct EventState in "webhook_events" {
        pub id: String,
        pub status: String,
        pub reason: Option<String>,
        pub attempts: i64,
        pub last_error: Option<String>,
        pub processed_at: Option<Timestamp>,
        pub next_attempt_at: Option<Timestamp>,
    }
}

/// What an event would come to.
#[derive(Debug)]
pub struct Rehearsed {
    /// `evt_…`
    pub event_id: String,
    /// What its sender would be answered.
    pub answer: Answer,
    /// The rows that it would change.
    pub changes: Vec<Draft>,
}

impl Inbox {
    /// Rehearses what [`Inbox::process`] would do with these events one after the other. Nothing of it is committed; the
    /// rows are held for as long as it takes.
    pub async fn rehearse(
        &self,
        payloads: Vec<Bytes>,
        mode: &Mode,
        request_id: &RequestId,
    ) -> Result<Vec<Rehearsed>, DbError> {
        let read = payloads.into_iter().map(|payload| self.read(payload, mode.clone(), request_id, Instant::now()));
        let jobs: Vec<Job> = read.filter_map(|read| Some(read.ok()?.1)).collect();
        let batch: Vec<&Job> = jobs.iter().collect();
        match self.try_rehearse(&batch).await {
            Err(DbError::Conflict { .. }) => self.try_rehearse(&batch).await,
            rehearsed => rehearsed,
        }
    }

    async fn try_rehearse(&self, batch: &[&Job]) -> Result<Vec<Rehearsed>, DbError> {
        let database_was_away = self.database_was_away.clone();
        let writer = BatchWriter { app: self.app.clone(), refetch: None, database_was_away };
        let ids: BTreeSet<String> = batch.iter().map(|job| job.event.id.clone()).collect();
        let mut drafts: Vec<Vec<Draft>> = vec![Vec::new(); batch.len()];
        let mut tx = self.app.begin_write().await?;
        let before = states(&mut tx, &ids).await?;
        let mut applied = writer.apply_in(&mut tx, batch, |index, work| drafts[index] = work.drafts()).await?;
        let after = states(&mut tx, &ids).await?;
        let mut rehearsed = Vec::with_capacity(batch.len());
        for (index, (job, answer)) in batch.iter().zip(applied.answers).enumerate() {
            let id = &job.event.id;
            let mut changes = changes_between(before.get(id), after.get(id));
            let mut made = applied.made.remove(&index).unwrap_or_default();
            for mut draft in std::mem::take(&mut drafts[index]) {
                // A row that was only made to be locked was not there before.
                if made.remove(&(draft.table, draft.key.clone())) {
                    draft.before = None;
                }
                changes.push(draft);
            }
            changes.extend(made::rows(&mut tx, &made).await?);
            rehearsed.push(Rehearsed { event_id: id.clone(), answer, changes });
        }
        // Nothing of it is committed.
        drop(tx);
        Ok(rehearsed)
    }
}

/// The row of an event and that of its dead letter, each by its table and key.
type States = BTreeMap<(&'static str, String), Map<String, Value>>;

async fn states(tx: &mut Tx, ids: &BTreeSet<String>) -> Result<BTreeMap<String, States>, DbError> {
    let mut states: BTreeMap<String, States> = BTreeMap::new();
    for event in tx.load::<EventState>("id", ids, Lock::None).await? {
        let of_event = states.entry(event.id.clone()).or_default();
        of_event.insert(("webhook_events", event.id.clone()), columns_of(&event));
    }
    for letter in dead_letters::of_events(tx, ids).await? {
        let of_event = states.entry(letter.event_id.clone()).or_default();
        of_event.insert(("dead_letters", letter.id.clone()), columns_of(&letter));
    }
    Ok(states)
}

fn changes_between(before: Option<&States>, after: Option<&States>) -> Vec<Draft> {
    let was = |key: &(&'static str, String)| before.and_then(|before| before.get(key));
    let changed = after.into_iter().flatten().filter(|(key, row)| was(key) != Some(*row));
    let change = |(key, row): (&(&'static str, String), &Map<String, Value>)| Draft {
        table: key.0,
        key: key.1.clone(),
        before: was(key).cloned(),
        after: row.clone(),
    };
    changed.map(change).collect()
}
