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

use super::{Status, store};

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
