//! How well the apps of a licence take what they are told, as a number from 100 down.

use std::collections::{BTreeMap, BTreeSet};

use chrono::Duration;
use tollgate_db::page::Page;
use tollgate_db::{DbError, Lock, Tx, id_set};
use tollgate_shared::Timestamp;

use crate::licenses::machines::{self, Machine};

/// What was told and said within so long counts.
pub const WITHIN: Duration = Duration::hours(24);

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

/// Of the licences whose machines said of late that they failed: all that was said of what they were told.
const FAILED: &str = "SELECT a.license_id, count(*), count(*) FILTER (WHERE a.status = 'failed')
     FROM acknowledgements AS a
     JOIN license_events AS e ON e.id = a.event_id
     WHERE a.license_id IN (SELECT license_id FROM acknowledgements WHERE status = 'failed' AND acknowledged_at >= $1)
       AND a.acknowledged_at >= $1 AND e.created_at >= $1
     GROUP BY a.license_id";

const LETTERS: &str = "SELECT license_id, count(*)
     FROM dead_letters
     WHERE status = 'open' AND source IN ('delivery', 'desktop') AND license_id IS NOT NULL
     GROUP BY license_id";

/// What is amiss at all licences at which something is; `owed` says of each when the oldest event was made that a machine which
/// was there has said nothing of.
async fn amiss(
    tx: &mut Tx,
    owed: &BTreeMap<String, Timestamp>,
    now: Timestamp,
) -> Result<BTreeMap<String, Amiss>, DbError> {
    let mut amiss: BTreeMap<String, Amiss> = BTreeMap::new();
    let failed: Vec<(String, i64, i64)> = tx.sql(FAILED).bind(now - WITHIN).all().await?;
    for (license_id, acknowledged, failed) in failed {
        amiss.insert(license_id, Amiss { acknowledged, failed, ..Amiss::default() });
    }
    for (license_id, at) in owed {
        amiss.entry(license_id.clone()).or_default().oldest_owed_at = Some(*at);
    }
    let letters: Vec<(String, i64)> = tx.sql(LETTERS).all().await?;
    for (license_id, count) in letters {
        amiss.entry(license_id).or_default().open_letters = count;
    }
    Ok(amiss)
}

/// How many licences are looked at at once, of which only some may be wanted.
const LOOK: i64 = 1000;

/// All licences by how well their apps take what they are told, as of a moment.
#[derive(Debug, Default)]
pub struct Ranking {
    amiss: BTreeMap<String, Amiss>,
    /// Those whose score is not the best, the worst first.
    worst: Vec<(i64, String, Status)>,
    licenses: i64,
    in_use: i64,
}

impl Ranking {
    /// Counts it; `owed` as of [`undelivered::count`](crate::acknowledgements::undelivered::count).
    pub async fn count(tx: &mut Tx, owed: &BTreeMap<String, Timestamp>, now: Timestamp) -> Result<Self, DbError> {
        let amiss = amiss(tx, owed, now).await?;
        let scores = amiss.iter().map(|(id, amiss)| (amiss.score(now), id)).filter(|(score, _)| *score < BEST);
        let scores: Vec<_> = scores.collect();
        let ids = scores.iter().map(|(_, id)| (*id).clone()).collect();
        let last_seen = last_seen(&machines::in_seats_of(tx, &ids, Lock::None).await?);
        let rated =
            |(score, id): (i64, &String)| (score, id.clone(), Status::of(score, last_seen.get(id).copied(), now));
        let mut worst: Vec<_> = scores.into_iter().map(rated).collect();
        worst.sort_unstable();
        let (licenses, in_use) = count(tx, now).await?;
        Ok(Self { amiss, worst, licenses, in_use })
    }

    /// What is amiss at a licence.
    pub fn amiss_of(&self, license_id: &str) -> Amiss {
        self.amiss.get(license_id).copied().unwrap_or_default()
    }

    /// How many licences are in each status.
    pub fn counts(&self) -> BTreeMap<&'static str, i64> {
        let of = |status| self.worst.iter().filter(|(.., is)| *is == status).count() as i64;
        let (degraded, critical) = (of(Status::Degraded), of(Status::Critical));
        let counts = [
            (Status::Healthy, self.in_use - degraded - critical),
            (Status::Degraded, degraded),
            (Status::Critical, critical),
            (Status::Inactive, self.licenses - self.in_use),
        ];
        counts.into_iter().map(|(status, count)| (status.name(), count)).collect()
    }

    /// The licences of a page, with their scores, and one more where there is one. A page's place is a score and an id.
    pub async fn page(
        &self,
        tx: &mut Tx,
        status: Option<Status>,
        page: &Page,
        now: Timestamp,
    ) -> Result<Vec<(String, i64)>, DbError> {
        let wanted = page.rows_wanted();
        let (after_score, after_id) =
            page.after.as_ref().map_or((-1, ""), |after| (after.at.timestamp(), after.id.as_str()));
        let is_wanted = |is: Status| status.is_none_or(|status| status == is);
        let is_after = |score: i64, id: &str| (score, id) > (after_score, after_id);
        let worst = self.worst.iter().filter(|(score, id, is)| is_wanted(*is) && is_after(*score, id));
        let mut rows: Vec<_> = worst.take(wanted as usize).map(|(score, id, _)| (id.clone(), *score)).collect();
        let is_in_use = match status {
            None => None,
            Some(Status::Healthy) => Some(true),
            Some(Status::Inactive) => Some(false),
            Some(Status::Degraded | Status::Critical) => return Ok(rows),
        };
        // All others have the best score, and stand by their ids.
        let others = self.worst.iter().map(|(_, id, _)| id).collect::<BTreeSet<_>>();
        let mut after = if after_score == BEST { after_id.to_owned() } else { String::new() };
        while (rows.len() as i64) < wanted {
            let ids = by_use(tx, is_in_use, &after, wanted.max(LOOK), now).await?;
            let Some(last) = ids.last() else { break };
            after.clone_from(last);
            rows.extend(ids.into_iter().filter(|id| !others.contains(&id)).map(|id| (id, BEST)));
        }
        rows.truncate(wanted as usize);
        Ok(rows)
    }
}

/// When a machine of each licence was last heard of.
pub fn last_seen(machines: &[Machine]) -> BTreeMap<String, Timestamp> {
    let mut last_seen = BTreeMap::new();
    for machine in machines {
        let Some(license_id) = &machine.seat_of else { continue };
        let at = last_seen.entry(license_id.clone()).or_insert(machine.last_seen_at);
        *at = machine.last_seen_at.max(*at);
    }
    last_seen
}

const SENT: &str = "SELECT e.license_id, count(*)
     FROM json_each($1) AS wanted
     JOIN license_events AS e ON e.license_id = wanted.key
     WHERE e.created_at >= $2
     GROUP BY e.license_id";

const SAID: &str = "SELECT a.license_id, count(*)
     FROM json_each($1) AS wanted
     JOIN acknowledgements AS a ON a.license_id = wanted.key
     JOIN license_events AS e ON e.id = a.event_id
     WHERE a.acknowledged_at >= $2 AND e.created_at >= $2
     GROUP BY a.license_id";

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
async fn by_use(
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
async fn count(tx: &mut Tx, now: Timestamp) -> Result<(i64, i64), DbError> {
    let (all,) = tx.sql(LICENSES).one::<(i64,)>().await?;
    let (used,) = tx.sql(USED).bind(now - INACTIVE_AFTER).one::<(i64,)>().await?;
    Ok((all, used))
}

/// The statements that may read many rows.
pub const STATEMENTS: [&str; 9] = [FAILED, LETTERS, SENT, SAID, ANY, IN_USE, OUT_OF_USE, LICENSES, USED];

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
