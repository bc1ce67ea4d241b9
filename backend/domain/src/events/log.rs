//! Reading logs: of many licences at once, each from where somebody has come to, by a seek in an index.

use std::collections::{BTreeMap, BTreeSet};

use tollgate_db::{DbError, Tx};

use super::cursor::{Epoch, Kept};
use super::{LoggedEvent, Look, epoch, store};

/// How many events of one log are read at a time.
pub const LOOK_EVENTS_MAX: usize = 16;

/// What follows from a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing is new.
    Nothing,
    /// So many events, none missing between; there may be more.
    Events(usize),
    /// What follows is not there: it is no longer kept, or the log is another one than it was.
    Lost,
}

impl Look {
    /// What somebody finds who has read up to `after`.
    pub fn found(&self, after: i64) -> Found {
        if self.newest < after {
            return Found::Lost;
        }
        let in_order = self.events.iter().zip(after + 1..).take_while(|(event, seq)| event.seq == *seq).count();
        match in_order {
            0 if self.newest == after => Found::Nothing,
            0 => Found::Lost,
            events => Found::Events(events),
        }
    }
}

/// Looks at several logs, each after the number that `read_to` has for its licence.
pub async fn look(tx: &mut Tx, read_to: &BTreeMap<String, i64>) -> Result<BTreeMap<String, Look>, DbError> {
    let mut looks = store::look(tx, read_to, LOOK_EVENTS_MAX as i64).await?;
    for look in looks.values_mut() {
        look.events.sort_by_key(|event| event.seq);
    }
    Ok(looks)
}

/// The licences whose logs have another newest number than `read_to` has for them.
pub async fn moved(tx: &mut Tx, read_to: &BTreeMap<String, i64>) -> Result<Vec<String>, DbError> {
    store::moved(tx, read_to).await
}

/// What of several logs is kept.
pub async fn kept(tx: &mut Tx, licenses: &BTreeSet<String>) -> Result<BTreeMap<String, Kept>, DbError> {
    let epoch = epoch::current(tx).await?;
    let read_to = licenses.iter().map(|license| (license.clone(), 0)).collect();
    let ends = store::ends(tx, &read_to).await?;
    Ok(ends.into_iter().map(|(license, oldest, newest)| (license, Kept { epoch, oldest, newest })).collect())
}

/// What of one log is kept after the number `after`.
pub async fn kept_after(tx: &mut Tx, license: &str, after: i64) -> Result<Kept, DbError> {
    let epoch = epoch::current(tx).await?;
    let ends = store::ends(tx, &BTreeMap::from([(license.to_owned(), after)])).await?;
    let (oldest, newest) = ends.into_iter().next().map_or((None, 0), |(_, oldest, newest)| (oldest, newest));
    Ok(Kept { epoch, oldest, newest })
}

/// The events of one log after a number, `limit` at most.
pub async fn page(tx: &mut Tx, license: &str, after: i64, limit: i64) -> Result<Vec<LoggedEvent>, DbError> {
    store::page(tx, license, after, limit).await
}

/// One event of a log, if it is kept.
pub async fn find(tx: &mut Tx, license: &str, id: &str) -> Result<Option<LoggedEvent>, DbError> {
    store::find(tx, license, id).await
}

/// The epoch as `tx` sees it.
pub async fn epoch(tx: &mut Tx) -> Result<Epoch, DbError> {
    epoch::current(tx).await
}

#[cfg(test)]
mod tests {
    use tollgate_shared::clock::from_unix;

    use super::*;

    fn look(newest: i64, events: impl IntoIterator<Item = i64>) -> Look {
        let event = |seq| LoggedEvent {
            seq,
            id: format!("sev_{seq}"),
            event_type: "plan_changed".to_owned(),
            data: "{}".to_owned(),
            created_at: from_unix(0).unwrap(),
        };
        Look { newest, events: events.into_iter().map(event).collect() }
    }

    #[test]
    fn events_are_found_up_to_the_first_that_is_missing() {
        assert_eq!(look(5, []).found(5), Found::Nothing);
        assert_eq!(look(5, [4, 5]).found(3), Found::Events(2));
        assert_eq!(look(9, [4, 5, 7, 8, 9]).found(3), Found::Events(2));
    }

    #[test]
    fn what_is_no_longer_kept_is_lost() {
        assert_eq!(look(5, [5]).found(3), Found::Lost);
        assert_eq!(look(5, []).found(3), Found::Lost);
    }

    #[test]
    fn a_log_that_has_less_than_was_read_is_another_one() {
        assert_eq!(look(2, []).found(3), Found::Lost);
        assert_eq!(look(0, []).found(1), Found::Lost);
    }
}
