//! What is out of the ordinary, and what is ordinary: when and on what the product is used.

use std::collections::BTreeMap;

use chrono::{Datelike as _, Duration, Timelike as _};
use tollgate_db::{DbError, Tx};
use tollgate_shared::Timestamp;
use tollgate_stripe::is_known_version;

use super::sources::hour_of;

/// What is out of the ordinary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// What it is.
    pub kind: Kind,
    /// Of what: a licence, a source with its reason, a code, a price, a version.
    pub subject: String,
    /// How often.
    pub count: i64,
    /// When first.
    pub first_at: Timestamp,
    /// When last.
    pub last_at: Timestamp,
}

/// How something is out of the ordinary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The machines of a licence failed five times within five minutes.
    Burst,
    /// For one reason three dead letters of a source were opened within an hour.
    RepeatedError,
    /// A code declined five payments within an hour, three times as many as in an hour of the week before.
    Declines,
    /// Subscriptions that run are of a price that no plan matches.
    UnknownPrice,
    /// Events are of a version that this release does not know.
    UnknownVersion,
}

impl Kind {
    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Burst => "burst",
            Self::RepeatedError => "repeated_error",
            Self::Declines => "declines",
            Self::UnknownPrice => "unknown_price",
            Self::UnknownVersion => "unknown_version",
        }
    }
}

/// How long declines are looked at to know what is ordinary.
const ORDINARY: Duration = Duration::days(7);
const ORDINARY_HOURS: usize = 168;

/// Things that happened, by what they are of.
pub type Times = BTreeMap<String, Vec<Timestamp>>;

/// Of each subject, what of it came together: `least` of it within `within`, and whatever overlaps.
fn dense(
    kind: Kind,
    times: Times,
    least: usize,
    within: Duration,
    is_more_than_usual: impl Fn(&[Timestamp], usize, usize) -> bool,
) -> Vec<Pattern> {
    let mut patterns: Vec<Pattern> = Vec::new();
    for (subject, mut times) in times {
        times.sort_unstable();
        // The last of what is told of already.
        let mut told = None;
        for first in 0..times.len() {
            let end = times.partition_point(|at| *at <= times[first] + within);
            if end - first < least || !is_more_than_usual(&times, first, end) {
                continue;
            }
            let (first_at, last_at) = (times[first], times[end - 1]);
            match patterns.last_mut() {
                Some(known) if told.is_some_and(|told| first < told) => {
                    known.count += (end - told.unwrap_or(end)) as i64;
                    known.last_at = last_at;
                }
                _ => {
                    let count = (end - first) as i64;
                    patterns.push(Pattern { kind, subject: subject.clone(), count, first_at, last_at });
                }
            }
            told = Some(end);
        }
    }
    patterns
}

/// Bursts, of what failed by licence.
pub fn bursts(failures: Times) -> Vec<Pattern> {
    dense(Kind::Burst, failures, 5, Duration::minutes(5), |_, _, _| true)
}

/// Errors that came again, of what failed by source and reason.
pub fn repeated_errors(failures: Times) -> Vec<Pattern> {
    dense(Kind::RepeatedError, failures, 3, Duration::hours(1), |_, _, _| true)
}

/// Codes that declined more than usual since a moment; `declines` reach back a week before that.
pub fn declines(declines: Times, since: Timestamp) -> Vec<Pattern> {
    dense(Kind::Declines, declines, 5, Duration::hours(1), |times, first, end| {
        let begin = times.partition_point(|at| *at < times[first] - ORDINARY);
        times[first] >= since && (end - first) * ORDINARY_HOURS >= 3 * (first - begin)
    })
}

/// The newest first.
pub fn sorted(mut patterns: Vec<Pattern>, most: usize) -> Vec<Pattern> {
    patterns.sort_by(|a, b| (b.last_at, a.kind, &a.subject).cmp(&(a.last_at, b.kind, &b.subject)));
    patterns.truncate(most);
    patterns
}

/// When machines were heard of, and what they run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// By hour of the day, in UTC.
    pub by_hour: [i64; 24],
    /// From Monday.
    pub by_weekday: [i64; 7],
    /// By platform.
    pub by_platform: BTreeMap<String, i64>,
    /// By the version of the app.
    pub by_app_version: BTreeMap<String, i64>,
}

/// What is not told.
const UNTOLD: &str = "unknown";

/// What all that is more than this comes to: apps make up versions of their own, of which there may be any number.
const OTHERS: &str = "other";
const KEYS_MAX: usize = 50;

impl Usage {
    /// Of what machines were heard of: `noted` are the numbers of hours that were noted when they had ended, `heard` the
    /// machines by platform, version and the hour in which they were last heard of.
    pub fn of(noted: &BTreeMap<Timestamp, i64>, heard: Vec<(Option<String>, Option<String>, Timestamp, i64)>) -> Self {
        let mut usage = Self::default();
        for (at, count) in noted {
            usage.add(*at, *count);
        }
        let (mut platforms, mut versions) = (BTreeMap::new(), BTreeMap::new());
        for (platform, version, at, count) in heard {
            if !noted.contains_key(&at) {
                usage.add(at, count);
            }
            *platforms.entry(platform.unwrap_or_else(|| UNTOLD.to_owned())).or_default() += count;
            *versions.entry(version.unwrap_or_else(|| UNTOLD.to_owned())).or_default() += count;
        }
        Self { by_platform: most_of(platforms), by_app_version: most_of(versions), ..usage }
    }

    fn add(&mut self, at: Timestamp, count: i64) {
        self.by_hour[at.hour() as usize] += count;
        self.by_weekday[at.weekday().num_days_from_monday() as usize] += count;
    }
}

fn most_of(numbers: BTreeMap<String, i64>) -> BTreeMap<String, i64> {
    let mut numbers: Vec<_> = numbers.into_iter().collect();
    numbers.sort_by(|(a, most), (b, least)| (least, a).cmp(&(most, b)));
    let rest = numbers.split_off(numbers.len().min(KEYS_MAX));
    let others: i64 = rest.iter().map(|(_, count)| count).sum();
    let mut most: BTreeMap<_, _> = numbers.into_iter().collect();
    if others > 0 {
        *most.entry(OTHERS.to_owned()).or_default() += others;
    }
    most
}

const FAILURES: &str = "SELECT license_id, acknowledged_at
     FROM acknowledgements
     WHERE status = 'failed' AND acknowledged_at >= $1
     ORDER BY acknowledged_at DESC, id DESC
     LIMIT $2";

const ERRORS: &str = "SELECT source || ': ' || reason, created_at
     FROM dead_letters
     WHERE status IN ('open', 'retrying', 'resolved') AND source IN ('webhook', 'delivery', 'desktop', 'notification')
       AND created_at >= $1";

const DECLINES: &str = "SELECT failure_code, seen_at FROM payments WHERE failure_code IS NOT NULL AND seen_at >= $1";

const UNKNOWN_PRICES: &str = "SELECT s.price_id, count(*), min(seen.seen_at), max(seen.seen_at)
     FROM sightings AS seen
     JOIN subscriptions AS s ON s.id = seen.name
     WHERE seen.kind = 'unmatched_subscription' AND seen.seen_at >= $1 AND s.plan_id IS NULL AND s.pod_id IS NULL
       AND s.price_id IS NOT NULL AND s.status IN ('trialing', 'active', 'past_due', 'unpaid', 'paused')
     GROUP BY s.price_id";

const UNKNOWN_VERSIONS: &str = "SELECT name, seen_at FROM sightings WHERE kind = 'unknown_version' AND seen_at >= $1";

/// The newest events of a status, `$2` at most: of a week there may be millions, and no index tells their versions.
macro_rules! newest {
    ($status:literal) => {
        concat!(
            "SELECT * FROM (SELECT api_version, received_at
              FROM webhook_events
              WHERE status = '",
            $status,
            "' AND received_at >= $1
              ORDER BY received_at DESC, id DESC
              LIMIT $2) AS ",
            $status
        )
    };
}

const VERSIONS: &str = concat!(
    "SELECT api_version, count(*), min(received_at) FROM (",
    newest!("processed"),
    " UNION ALL ",
    newest!("ignored"),
    " UNION ALL ",
    newest!("failed"),
    " UNION ALL ",
    newest!("dead_lettered"),
    ") AS newest WHERE api_version IS NOT NULL GROUP BY api_version"
);

const HEARD: &str = "SELECT platform, app_version, substr(CAST(last_seen_at AS TEXT), 1, 13), count(*)
     FROM machines
     WHERE seat_of > '' AND last_seen_at >= $1
     GROUP BY 1, 2, 3";

/// The statements that may read many rows.
pub const STATEMENTS: [&str; 7] = [FAILURES, ERRORS, DECLINES, UNKNOWN_PRICES, UNKNOWN_VERSIONS, VERSIONS, HEARD];

/// How many failures are looked at, and events of each status, the newest: where an app fails at all that there is, and where
/// all events are of one version, these tell as much.
const LOOKED_AT_MAX: i64 = 10_000;

/// All that is out of the ordinary since a moment.
pub async fn since(tx: &mut Tx, since: Timestamp) -> Result<Vec<Pattern>, DbError> {
    let failures: Vec<(String, Timestamp)> = tx.sql(FAILURES).bind(since).bind(LOOKED_AT_MAX).all().await?;
    let errors: Vec<(String, Timestamp)> = tx.sql(ERRORS).bind(since).all().await?;
    let declined: Vec<(String, Timestamp)> = tx.sql(DECLINES).bind(since - ORDINARY).all().await?;
    let mut patterns = bursts(by_subject(failures));
    patterns.extend(repeated_errors(by_subject(errors)));
    patterns.extend(declines(by_subject(declined), since));
    let prices: Vec<(String, i64, Timestamp, Timestamp)> = tx.sql(UNKNOWN_PRICES).bind(since).all().await?;
    patterns.extend(prices.into_iter().map(|(subject, count, first_at, last_at)| Pattern {
        kind: Kind::UnknownPrice,
        subject,
        count,
        first_at,
        last_at,
    }));
    patterns.extend(unknown_versions(tx, since).await?);
    Ok(patterns)
}

/// Versions that are new to us. That one came is noted for alerts; how often is counted only where one did.
async fn unknown_versions(tx: &mut Tx, since: Timestamp) -> Result<Vec<Pattern>, DbError> {
    let mut seen: Vec<(String, Timestamp)> = tx.sql(UNKNOWN_VERSIONS).bind(since).all().await?;
    // A newer release may have come to know it since.
    seen.retain(|(version, _)| !is_known_version(version));
    if seen.is_empty() {
        return Ok(Vec::new());
    }
    let counted: Vec<(String, i64, Timestamp)> = tx.sql(VERSIONS).bind(since).bind(LOOKED_AT_MAX).all().await?;
    let counted: BTreeMap<_, _> = counted.into_iter().map(|(version, count, at)| (version, (count, at))).collect();
    let pattern = |(subject, last_at): (String, Timestamp)| {
        let (count, first_at) = counted.get(&subject).copied().unwrap_or((1, last_at));
        Pattern { kind: Kind::UnknownVersion, subject, count, first_at, last_at: last_at.max(first_at) }
    };
    Ok(seen.into_iter().map(pattern).collect())
}

fn by_subject(rows: Vec<(String, Timestamp)>) -> Times {
    let mut times = Times::new();
    for (subject, at) in rows {
        times.entry(subject).or_default().push(at);
    }
    times
}

/// Machines that hold seats and were heard of since a moment, by platform, version, and the hour in which that was last.
pub async fn heard(
    tx: &mut Tx,
    since: Timestamp,
) -> Result<Vec<(Option<String>, Option<String>, Timestamp, i64)>, DbError> {
    let rows: Vec<(Option<String>, Option<String>, String, i64)> = tx.sql(HEARD).bind(since).all().await?;
    let read = |(platform, version, hour, count): (_, _, String, _)| Some((platform, version, hour_of(&hour)?, count));
    Ok(rows.into_iter().filter_map(read).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: i64) -> Timestamp {
        "2025-06-15T00:00:00Z".parse::<Timestamp>().unwrap() + Duration::minutes(minutes)
    }

    fn times(minutes: &[i64]) -> Times {
        Times::from([("it".to_owned(), minutes.iter().map(|minute| at(*minute)).collect())])
    }

    /// How often, from and to which minute.
    fn shown(patterns: Vec<Pattern>) -> Vec<(i64, i64, i64)> {
        let minute = |moment: Timestamp| (moment - at(0)).num_minutes();
        patterns.into_iter().map(|found| (found.count, minute(found.first_at), minute(found.last_at))).collect()
    }

    #[test]
    fn five_failures_within_five_minutes_are_a_burst() {
        assert_eq!(shown(bursts(times(&[0, 1, 2, 3, 6]))), []);
        assert_eq!(shown(bursts(times(&[5, 1, 2, 3, 0]))), [(5, 0, 5)]);
        assert_eq!(shown(bursts(Times::new())), []);
    }

    #[test]
    fn a_burst_that_goes_on_is_one_and_a_later_one_another() {
        assert_eq!(
            shown(bursts(times(&[0, 1, 2, 3, 4, 6, 7, 8, 9, 30, 60, 60, 60, 60, 60]))),
            [(9, 0, 9), (5, 60, 60)]
        );
    }

    #[test]
    fn the_same_error_three_times_within_an_hour_is_told_of() {
        assert_eq!(shown(repeated_errors(times(&[0, 30, 61]))), []);
        assert_eq!(shown(repeated_errors(times(&[0, 30, 60]))), [(3, 0, 60)]);
    }

    #[test]
    fn declines_are_told_of_where_they_are_more_than_usual() {
        let week = 7 * 24 * 60;
        let rare: Vec<_> = [0, 600].into_iter().chain(week..week + 5).collect();
        assert_eq!(shown(declines(times(&rare), at(week))), [(5, week, week + 4)]);
        // Two in each hour of the week before: five are fewer than three times as many.
        let usual: Vec<_> = (0..week).step_by(30).chain(week..week + 5).collect();
        assert_eq!(shown(declines(times(&usual), at(week))), []);
        let much: Vec<_> = (0..week).step_by(30).chain(week..week + 6).collect();
        assert_eq!(shown(declines(times(&much), at(week))), [(6, week, week + 5)]);
        assert_eq!(shown(declines(times(&rare), at(week + 1))), [], "what was before is not asked for");
    }

    #[test]
    fn the_newest_is_told_first() {
        let found = sorted(bursts(times(&[0, 1, 2, 3, 4, 60, 60, 60, 60, 60])), 10);
        assert_eq!(shown(found.clone()), [(5, 60, 60), (5, 0, 4)]);
        assert_eq!(sorted(found, 1).len(), 1);
    }

    #[test]
    fn machines_are_counted_by_hour_and_by_day_of_the_week() {
        // A Sunday at one, noted; at two, as machines were last heard of.
        let noted = BTreeMap::from([(at(60), 7)]);
        let text = |text: &str| Some(text.to_owned());
        let usage = Usage::of(&noted, vec![(text("linux"), text("1.0"), at(60), 3), (text("linux"), None, at(120), 2)]);
        assert_eq!((usage.by_hour[1], usage.by_hour[2], usage.by_weekday), (7, 2, [0, 0, 0, 0, 0, 0, 9]));
        assert_eq!(usage.by_platform, BTreeMap::from([("linux".to_owned(), 5)]));
        assert_eq!(usage.by_app_version, BTreeMap::from([("1.0".to_owned(), 3), ("unknown".to_owned(), 2)]));
    }

    #[test]
    fn of_many_versions_the_most_used_are_told_apart() {
        let versions = (0..60).map(|version| (None, Some(format!("1.{version}")), at(0), 1 + i64::from(version == 59)));
        let usage = Usage::of(&BTreeMap::new(), versions.collect());
        assert_eq!(usage.by_app_version.len(), KEYS_MAX + 1);
        assert_eq!((usage.by_app_version["1.59"], usage.by_app_version["other"]), (2, 10));
        assert_eq!(usage.by_app_version.values().sum::<i64>(), 61);
    }
}
