//! Which events are removed when they are old: those that have ended well. What failed stays for as long as it does; what is
//! a dead letter goes with its letter, when somebody has resolved that and it is old.
//!
//! With its row an event's claim is gone: should it come again, it is taken anew. Stripe repeats for three days and sends
//! again at one's word for thirty; that changes nothing all the same, since each effect has a key of its own. What names an
//! event, such as the audit trail, names it by its id and does without the row.

use std::collections::BTreeSet;

use tollgate_db::page::Position;
use tollgate_db::{DbError, Tx};
use tollgate_shared::Timestamp;

use super::{Status, batches, store};

/// Up to where the next `limit` events stand that ended as `status` says and were taken before `before`, in the order in
/// which they were taken and after a position. None at the end.
pub async fn next(
    tx: &mut Tx,
    status: Status,
    before: Timestamp,
    after: &Position,
    limit: i64,
) -> Result<Option<Position>, DbError> {
    let mut ended = store::ended(tx, status, before, after, limit).await?;
    Ok(ended.pop().map(|(at, id)| Position { at, id }))
}

/// Removes what stands between two positions and still has that status; gives how many.
pub async fn remove(tx: &mut Tx, status: Status, after: &Position, up_to: &Position) -> Result<u64, DbError> {
    store::delete_ended(tx, status, after, up_to).await
}

/// Locks events.
pub async fn lock(tx: &mut Tx, ids: &BTreeSet<String>) -> Result<(), DbError> {
    store::lock_all(tx, ids).await.map(drop)
}

/// Removes those of these events that are dead letters: nobody wants them any more. Whoever calls it holds them.
pub async fn remove_given_up(tx: &mut Tx, ids: impl IntoIterator<Item = &str>) -> Result<u64, DbError> {
    store::delete_dead_lettered(tx, ids).await
}

/// How many batches are looked at together: each may tell of sixty events.
const BATCHES: i64 = 20;

/// Batches that are old.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OldBatches {
    /// Those of whose events none is kept any more.
    pub removable: Vec<String>,
    /// The last one that was looked at; none at the end.
    pub last: Option<String>,
}

/// The next batches after one of that id that were written before `before`. One stays for as long as one of its events does.
pub async fn batches(tx: &mut Tx, before: Timestamp, after: &str) -> Result<OldBatches, DbError> {
    let old = batches::old(tx, before, after, BATCHES).await?;
    let events = old.iter().flat_map(|(_, events)| events).cloned().collect();
    let kept = store::known_of(tx, &events).await?;
    let last = old.last().map(|(id, _)| id.clone());
    let removable = old.into_iter().filter(|(_, events)| events.is_disjoint(&kept)).map(|(id, _)| id).collect();
    Ok(OldBatches { removable, last })
}

/// Removes batches; gives how many.
pub async fn remove_batches(tx: &mut Tx, ids: &[String]) -> Result<u64, DbError> {
    batches::remove(tx, ids.iter().map(String::as_str)).await
}
