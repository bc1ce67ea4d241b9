//! How well the apps of a licence take what they are told, as a number from 100 down.

use std::collections::{BTreeMap, BTreeSet};

use chrono::Duration;
use tollgate_db::{DbError, Tx, id_set};
use tollgate_shared::Timestamp;

/// What was told and said within so long counts.
pub const WITHIN: Duration = Duration::hours(24);

/// A machine that was there is waited for so long: after that an event is a dead letter.
pub const OWED_WITHIN: Duration = Duration::days(7);

/// A licence of which no machine was heard of for so long is not in use.
pub const INACTIVE_AFTER: Duration = Duration::days(7);

/// The score of a licence at which nothing is amiss.
pub const BEST: i64 = 100;

/// How a licence is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// From 80 on.
    Healthy,
    /// From 60 on.
    Degraded,
    /// Less.
    Critical,
    /// No machine was heard of for a week.
    Inactive,
}

impl Status {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Healthy, Self::Degraded, Self::Critical, Self::Inactive];

    /// The status of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }

    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Critical => "critical",
            Self::Inactive => "inactive",
        }
    }

    /// That of a licence with this score, of which a machine was last heard at a time.
    pub fn of(score: i64, last_seen_at: Option<Timestamp>, now: Timestamp) -> Self {
        match score {
            _ if last_seen_at.is_none_or(|at| at < now - INACTIVE_AFTER) => Self::Inactive,
            80.. => Self::Healthy,
            60.. => Self::Degraded,
            _ => Self::Critical,
        }
    }
}

/// What is amiss at a licence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amiss {
    /// What its machines said of what they were told within [`WITHIN`], that they failed too.
    pub acknowledged: i64,
    /// How often they said that they failed.
    pub failed: i64,
    /// When the oldest event was made that a machine which was there has said nothing of.
    pub oldest_owed_at: Option<Timestamp>,
    /// Dead letters of its machines that are open.
    pub open_letters: i64,
}

impl Amiss {
    /// [`BEST`] less what is amiss, and never less than 0.
    pub fn score(&self, now: Timestamp) -> i64 {
        let failed = if self.acknowledged > 0 { 40.0 * self.failed as f64 / self.acknowledged as f64 } else { 0.0 };
        let silent = match self.oldest_owed_at.map(|at| now - at) {
            Some(age) if age >= Duration::hours(24) => 40.0,
            Some(age) if age >= Duration::hours(1) => 20.0,
            _ => 0.0,
        };
        let letters = (10 * self.open_letters).min(30) as f64;
        (BEST as f64 - failed - silent - letters).round().max(0.0) as i64
    }
}

const FAILED: &str = "SELECT e.license_id, count(*), count(*) FILTER (WHERE a.status = 'failed')
     FROM license_events AS e
     JOIN acknowledgements AS a ON a.event_id = e.id
     WHERE e.created_at >= $1
     GROUP BY e.license_id
     HAVING count(*) FILTER (WHERE a.status = 'failed') > 0";

const OWED: &str = "SELECT e.license_id, min(e.created_at)
     FROM license_events AS e
     JOIN machines AS m ON m.seat_of = e.license_id
     JOIN sessions AS s ON s.machine_id = m.id
     WHERE e.created_at >= $1 AND s.connected_at < e.created_at AND s.last_seen_at >= e.created_at
       AND NOT EXISTS (SELECT 1 FROM acknowledgements AS a WHERE a.id = e.id || '/' || m.id)
     GROUP BY e.license_id";

const LETTERS: &str = "SELECT license_id, count(*)
     FROM dead_letters
     WHERE status = 'open' AND source IN ('delivery', 'desktop') AND license_id IS NOT NULL
     GROUP BY license_id";

/// What is amiss at all licences at which something is.
pub async fn amiss(tx: &mut Tx, now: Timestamp) -> Result<BTreeMap<String, Amiss>, DbError> {
    let mut amiss: BTreeMap<String, Amiss> = BTreeMap::new();
    let failed: Vec<(String, i64, i64)> = tx.sql(FAILED).bind(now - WITHIN).all().await?;
    for (license_id, acknowledged, failed) in failed {
        amiss.insert(license_id, Amiss { acknowledged, failed, ..Amiss::default() });
    }
    let owed: Vec<(String, Timestamp)> = tx.sql(OWED).bind(now - OWED_WITHIN).all().await?;
    for (license_id, at) in owed {
        amiss.entry(license_id).or_default().oldest_owed_at = Some(at);
    }
    let letters: Vec<(String, i64)> = tx.sql(LETTERS).all().await?;
    for (license_id, count) in letters {
        amiss.entry(license_id).or_default().open_letters = count;
    }
    Ok(amiss)
}

const SENT: &str = "SELECT e.license_id, count(*)
     FROM json_each($1) AS wanted
     JOIN license_events AS e ON e.license_id = wanted.key
     WHERE e.created_at >= $2
     GROUP BY e.license_id";

const SAID: &str = "SELECT e.license_id, count(*)
     FROM json_each($1) AS wanted
     JOIN license_events AS e ON e.license_id = wanted.key
     JOIN acknowledgements AS a ON a.event_id = e.id
     WHERE e.created_at >= $2
     GROUP BY e.license_id";

/// How much each of these licences was told within [`WITHIN`], and how often its machines have said something of that.
pub async fn told(
    tx: &mut Tx,
    licenses: &BTreeSet<String>,
    now: Timestamp,
) -> Result<BTreeMap<String, (i64, i64)>, DbError> {
    let ids = || id_set(licenses.iter().map(String::as_str));
    let sent: Vec<(String, i64)> = tx.sql(SENT).bind(ids()).bind(now - WITHIN).all().await?;
    let said: Vec<(String, i64)> = tx.sql(SAID).bind(ids()).bind(now - WITHIN).all().await?;
    let mut told: BTreeMap<_, _> = sent.into_iter().map(|(id, sent)| (id, (sent, 0))).collect();
    for (id, said) in said {
        told.entry(id).or_default().1 = said;
    }
    Ok(told)
}

const ANY: &str = "SELECT id FROM licenses WHERE id > $1 ORDER BY id LIMIT $2";

const IN_USE: &str = "SELECT id
     FROM licenses
     WHERE id > $1 AND EXISTS (SELECT 1 FROM machines WHERE seat_of = licenses.id AND last_seen_at >= $3)
     ORDER BY id
     LIMIT $2";

const OUT_OF_USE: &str = "SELECT id
     FROM licenses
     WHERE id > $1 AND NOT EXISTS (SELECT 1 FROM machines WHERE seat_of = licenses.id AND last_seen_at >= $3)
     ORDER BY id
     LIMIT $2";

/// Licences by their ids, after one and at most so many: those that are in use, those that are not, or all.
pub async fn by_use(
    tx: &mut Tx,
    is_in_use: Option<bool>,
    after: &str,
    limit: i64,
    now: Timestamp,
) -> Result<Vec<String>, DbError> {
    let sql = match is_in_use {
        None => ANY,
        Some(true) => IN_USE,
        Some(false) => OUT_OF_USE,
    };
    let query = tx.sql(sql).bind(after).bind(limit);
    let rows: Vec<(String,)> = match is_in_use {
        None => query.all().await?,
        Some(_) => query.bind(now - INACTIVE_AFTER).all().await?,
    };
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

const LICENSES: &str = "SELECT count(*) FROM licenses WHERE status IN ('active', 'suspended', 'expired', 'revoked')";

const USED: &str = "SELECT count(DISTINCT seat_of) FROM machines WHERE seat_of > '' AND last_seen_at >= $1";

/// How many licences there are, and how many of them are in use.
pub async fn count(tx: &mut Tx, now: Timestamp) -> Result<(i64, i64), DbError> {
    let (all,) = tx.sql(LICENSES).one::<(i64,)>().await?;
    let (used,) = tx.sql(USED).bind(now - INACTIVE_AFTER).one::<(i64,)>().await?;
    Ok((all, used))
}

/// The statements that may read many rows.
pub const STATEMENTS: [&str; 10] = [FAILED, OWED, LETTERS, SENT, SAID, ANY, IN_USE, OUT_OF_USE, LICENSES, USED];

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2025-06-15T15:00:00Z".parse().unwrap()
    }

    #[test]
    fn of_what_failed_its_share_of_forty_is_taken_off() {
        let score = |acknowledged, failed| Amiss { acknowledged, failed, ..Amiss::default() }.score(now());
        assert_eq!([score(0, 0), score(10, 0), score(10, 1), score(3, 1), score(1, 1)], [100, 100, 96, 87, 60]);
    }

    #[test]
    fn an_event_that_nobody_speaks_of_costs_more_after_a_day() {
        let score = |minutes| {
            let oldest_owed_at = Some(now() - Duration::minutes(minutes));
            Amiss { oldest_owed_at, ..Amiss::default() }.score(now())
        };
        assert_eq!([score(0), score(59), score(60), score(1439), score(1440)], [100, 100, 80, 80, 60]);
    }

    #[test]
    fn dead_letters_cost_ten_each_and_no_more_than_thirty() {
        let score = |open_letters| Amiss { open_letters, ..Amiss::default() }.score(now());
        assert_eq!([score(0), score(1), score(3), score(4), score(500)], [100, 90, 70, 70, 70]);
        let oldest_owed_at = Some(now() - Duration::days(2));
        let worst = Amiss { acknowledged: 1, failed: 1, oldest_owed_at, open_letters: 9 };
        assert_eq!(worst.score(now()), 0);
    }

    #[test]
    fn a_licence_nobody_uses_is_inactive_whatever_its_score() {
        let status = |score, days: i64| Status::of(score, Some(now() - Duration::days(days)), now());
        assert_eq!([status(100, 0), status(80, 7)], [Status::Healthy; 2]);
        assert_eq!([status(79, 0), status(60, 0)], [Status::Degraded; 2]);
        assert_eq!([status(59, 0), status(0, 0)], [Status::Critical; 2]);
        assert_eq!([status(100, 8), status(0, 8), Status::of(100, None, now())], [Status::Inactive; 3]);
    }
}
