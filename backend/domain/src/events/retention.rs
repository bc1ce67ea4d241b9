//! Which events of logs may be removed.
//!
//! A log is cut from its front alone, so that what is left has no hole: whoever resumes before it is told of a gap. Who asks
//! for the oldest that there is (the cursor `0`) is told of none; so an event stays, however old, for as long as a machine
//! that was there when it was appended has not processed it and holds a seat.

use std::collections::{BTreeMap, BTreeSet};

use tollgate_db::page::Position;
use tollgate_db::{DbError, Tx};
use tollgate_shared::Timestamp;

use super::{OldEvent, store};

/// Events that were appended before `before`, the oldest first, after a position and at most `limit`.
pub async fn old(tx: &mut Tx, before: Timestamp, after: &Position, limit: i64) -> Result<Vec<OldEvent>, DbError> {
    store::old(tx, before, after, limit).await
}

/// The number of the oldest event in each log that has any.
pub async fn oldest(tx: &mut Tx, licenses: &BTreeSet<String>) -> Result<BTreeMap<String, i64>, DbError> {
    let read_to = licenses.iter().map(|license| (license.clone(), 0)).collect();
    let ends = store::ends(tx, &read_to).await?;
    Ok(ends.into_iter().filter_map(|(license, oldest, _)| Some((license, oldest?))).collect())
}

/// Up to which number each log may be cut, given the `old` events and the number of each log's `oldest`: up to the first
/// that somebody `awaits`. A log of which nothing may be removed is left out.
pub fn removable(
    mut old: Vec<OldEvent>,
    oldest: &BTreeMap<String, i64>,
    awaits: impl Fn(&OldEvent) -> bool,
) -> BTreeMap<String, i64> {
    old.sort_by(|a, b| (&a.license_id, a.seq).cmp(&(&b.license_id, b.seq)));
    let mut up_to = BTreeMap::new();
    for event in old {
        let next = up_to.get(&event.license_id).map(|last| last + 1).or(oldest.get(&event.license_id).copied());
        if next == Some(event.seq) && !awaits(&event) {
            up_to.insert(event.license_id, event.seq);
        }
    }
    up_to
}

/// Removes the events of logs up to these numbers; gives how many.
pub async fn remove(tx: &mut Tx, up_to: &BTreeMap<String, i64>) -> Result<u64, DbError> {
    let mut removed = 0;
    for (license_id, seq) in up_to {
        removed += store::delete_up_to(tx, license_id, *seq).await?;
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use tollgate_shared::clock::from_unix;

    use super::*;

    fn old(events: &[(&str, i64)]) -> Vec<OldEvent> {
        let event = |(license, seq): &(&str, i64)| OldEvent {
            license_id: (*license).to_owned(),
            seq: *seq,
            id: format!("{license}{seq}"),
            created_at: from_unix(*seq).unwrap(),
        };
        events.iter().map(event).collect()
    }

    fn cut(events: &[(&str, i64)], oldest: &[(&str, i64)], awaited: &[&str]) -> Vec<(String, i64)> {
        let oldest = oldest.iter().map(|(license, seq)| ((*license).to_owned(), *seq)).collect();
        removable(old(events), &oldest, |event| awaited.contains(&&*event.id)).into_iter().collect()
    }

    fn up_to(ends: &[(&str, i64)]) -> Vec<(String, i64)> {
        ends.iter().map(|(license, seq)| ((*license).to_owned(), *seq)).collect()
    }

    #[test]
    fn old_events_go_in_order_up_to_one_that_is_awaited() {
        let events = [("a", 3), ("b", 7), ("a", 4), ("a", 5), ("b", 8)];
        assert_eq!(cut(&events, &[("a", 3), ("b", 7)], &[]), up_to(&[("a", 5), ("b", 8)]));
        assert_eq!(cut(&events, &[("a", 3), ("b", 7)], &["a4"]), up_to(&[("a", 3), ("b", 8)]));
        assert_eq!(cut(&events, &[("a", 3), ("b", 7)], &["a3", "b7"]), []);
    }

    #[test]
    fn what_stands_behind_a_kept_event_is_kept() {
        // The older ones were kept when they were looked at.
        assert_eq!(cut(&[("a", 4), ("a", 5)], &[("a", 3)], &[]), []);
        // Clocks of two processes: the fifth seems younger than the sixth.
        assert_eq!(cut(&[("a", 4), ("a", 6)], &[("a", 4)], &[]), up_to(&[("a", 4)]));
        // Removed meanwhile.
        assert_eq!(cut(&[("a", 4)], &[], &[]), []);
    }
}
