//! Which machines are removed: those that gave up their seats long ago. With a machine goes its session. What it said of
//! events goes with those; a dead letter that still waits for it is resolved.

use tollgate_db::{DbError, Tx};
use tollgate_domain::licenses::machines;
use tollgate_domain::{dead_letters, sessions};
use tollgate_shared::Timestamp;

/// Removes machines that gave up their seats before `before`, `limit` at most; gives how many.
pub async fn remove(tx: &mut Tx, now: Timestamp, before: Timestamp, limit: i64) -> Result<u64, DbError> {
    let ids = machines::lock_deactivated(tx, before, limit).await?;
    if ids.is_empty() {
        return Ok(0);
    }
    dead_letters::end_of_machines(tx, now, &ids).await?;
    sessions::forget_of(tx, &ids).await?;
    machines::forget(tx, &ids).await
}
