//! Which dead letters are removed when they are old: those that are resolved. With the letter goes its event, where that is
//! one of Stripe's that somebody resolved without its ever going into effect.

use std::collections::BTreeSet;

use tollgate_db::{DbError, Tx};
use tollgate_domain::dead_letters;
use tollgate_shared::Timestamp;

use crate::webhooks::retention as webhook_events;

/// Removes letters that were resolved before `before`, `limit` at most; gives how many.
///
/// Whoever opens a letter again holds its event. So the events are locked first, and what is not resolved any more by then
/// stays.
pub async fn remove(tx: &mut Tx, before: Timestamp, limit: i64) -> Result<u64, DbError> {
    let old = dead_letters::resolved_before(tx, before, limit).await?;
    let events: BTreeSet<_> = old.iter().map(|(_, event_id)| event_id.clone()).collect();
    webhook_events::lock(tx, &events).await?;
    let removed = dead_letters::forget(tx, old.iter().map(|(id, _)| &**id)).await?;
    let kept: BTreeSet<_> =
        dead_letters::of_events(tx, &events).await?.into_iter().map(|letter| letter.event_id).collect();
    webhook_events::remove_given_up(tx, events.difference(&kept).map(String::as_str)).await?;
    Ok(removed)
}
