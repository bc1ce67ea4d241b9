//! The job that makes the rows of closed hours and days, and what each process adds to them.
//!
//! It has no memory but the rows. Each run makes those that are missing since the newest, however long ago that was, and makes
//! those of the last days again: what came late is then in them. Where nothing came it writes nothing. What is so only at the
//! moment is written once, for the hours and days that have ended since it was last written.

use chrono::Duration;
use serde::Serialize;
use tollgate_db::{DbError, Tx};
use tollgate_domain::analytics::points::{self, Point, changed};
use tollgate_domain::analytics::spans::{Span, Step};
use tollgate_domain::analytics::{
    Amount, ByKey, CLOSES_AFTER, DAYS_KEPT, HOURS_KEPT, Metric, Origin, Series, fold, numbers, samples,
};
use tollgate_shared::Timestamp;
use tracing::warn;

use super::sources::{current, held_since, made_of};
use crate::app::App;

/// How much is counted and written at once: what a statement counts in far less than it may take, of what each event of each
/// licence's log has said of it by each machine too.
const PORTION: Duration = Duration::days(28);
const PORTION_OF_LOGS: Duration = Duration::days(1);

/// Rows removed at once.
const REMOVED_AT_ONCE: i64 = 500;

/// How long what processes measured is kept; all of it that is left is made into rows again.
const SAMPLES_KEPT: Duration = Duration::days(8);

/// How long ago what was missed is filled in with what is so now.
const FILLED_IN_FOR: Duration = Duration::days(35);

/// What a run has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Made {
    /// Rows of hours and days that were written.
    points: usize,
    /// What was too old, and removed.
    removed: u64,
}

/// Makes all rows that are due. To be done twice is the same as once. What cannot be made holds up nothing else; the first
/// failure is given in the end.
pub async fn make(app: &App, say: impl Fn(&Made)) -> Result<(), DbError> {
    let now = app.clock.now();
    let (mut made, mut ended) = (Made::default(), Ok(()));
    let all = || Metric::ALL.into_iter().chain([Metric::MachinesSeen]);
    let is_of_now = |metric: &Metric| metric.origin() == Origin::Now;
    // First what can be known at no other time.
    for metric in all().filter(is_of_now).chain(all().filter(|metric| !is_of_now(metric))) {
        let points = match metric.origin() {
            Origin::Facts | Origin::Records => count(app, metric, now).await,
            Origin::Processes => add_up(app, metric, now).await,
            Origin::Now if metric == Metric::MachinesSeen => note_seen(app, now).await,
            Origin::Now => note(app, metric, now).await,
        };
        match points {
            Ok(points) => made.points += points,
            Err(failure) => {
                warn!(metric = metric.name(), "could not make the rows of {}: {failure}", metric.name());
                ended = ended.and(Err(failure));
            }
        }
        say(&made);
    }
    made.removed = remove(app, now).await?;
    say(&made);
    ended
}

/// The rows of what is counted from tables.
async fn count(app: &App, metric: Metric, now: Timestamp) -> Result<usize, DbError> {
    let closed = Step::Hour.floor(now - CLOSES_AFTER);
    let held_since = Step::Hour.ceil(held_since(app, metric, now));
    let mut tx = app.read_list().await?;
    let newest = [
        points::newest(&mut tx, metric, Step::Hour, now).await?,
        points::newest(&mut tx, metric, Step::Day, now).await?,
    ];
    drop(tx);
    let newest = newest.into_iter().flatten().min();
    let again = now - metric.made_again_for();
    let mut begin = Step::Day.floor(newest.map_or(now - DAYS_KEPT, |newest| newest.min(again)));
    let portion = if metric == Metric::AckRate { PORTION_OF_LOGS } else { PORTION };
    let mut written = 0;
    while begin < closed {
        let end = begin + portion;
        let span = Span { from: begin.max(held_since), to: end.min(closed) };
        begin = end;
        let mut tx = app.read_list().await?;
        let hours = made_of(&mut tx, metric, span, Step::Hour, now).await?;
        let days = fold(hours.clone(), Step::Day);
        written += write(app, tx, metric, span, [hours, days], now).await?;
    }
    Ok(written)
}

/// The rows of what processes measured.
async fn add_up(app: &App, metric: Metric, now: Timestamp) -> Result<usize, DbError> {
    let span = Span { from: Step::Day.ceil(now - SAMPLES_KEPT), to: Step::Hour.floor(now - CLOSES_AFTER) };
    let mut tx = app.read_list().await?;
    let hours = made_of(&mut tx, metric, span, Step::Hour, now).await?;
    let days = made_of(&mut tx, metric, span, Step::Day, now).await?;
    write(app, tx, metric, span, [hours, days], now).await
}

/// Writes the rows of a span that are not there as they should be: of its hours, and of the days that are all in it. Before the
/// first of all there is nothing to be told of: of a span in which no row is and nothing happened none is made, but for its
/// last hour where that is the newest.
async fn write(
    app: &App,
    mut tx: Tx,
    metric: Metric,
    span: Span,
    [hours, days]: [Series; 2],
    now: Timestamp,
) -> Result<usize, DbError> {
    let known = points::within(&mut tx, metric, Step::Hour, span).await?;
    let known_days = points::within(&mut tx, metric, Step::Day, span).await?;
    drop(tx);
    let newest = span.to - Step::Hour.length();
    let newest = Some(newest).filter(|_| span.to == Step::Hour.floor(now - CLOSES_AFTER));
    let rows = known.iter().chain(&known_days).map(|point| point.at);
    let Some(first) = rows.chain(hours.keys().copied()).chain(newest).min() else { return Ok(0) };
    let from = span.from.max(Step::Day.floor(first));
    let of_hours = Span { from: from.max(Step::Hour.ceil(now - HOURS_KEPT)), to: span.to };
    let of_days = Span { from: Step::Day.ceil(from), to: Step::Day.floor(span.to) };
    let mut made = changed(metric, Step::Hour, of_hours, &hours, &known);
    made.extend(changed(metric, Step::Day, of_days, &days, &known_days));
    put(app, made).await
}

/// What is so now, for the hours and days that have ended since it was last written.
async fn note(app: &App, metric: Metric, now: Timestamp) -> Result<usize, DbError> {
    let mut tx = app.read_list().await?;
    let values = current(&mut tx, app, metric, now).await?;
    let mut rows = Vec::new();
    for step in [Step::Hour, Step::Day] {
        let span = ended_since(points::newest(&mut tx, metric, step, now).await?, step, now);
        let series = span.starts(step).map(|at| (at, values.clone())).collect();
        rows.extend(changed(metric, step, span, &series, &[]));
    }
    drop(tx);
    put(app, rows).await
}

/// The machines that were heard of in each hour that has ended. Of a machine only the last time is known: where the job was
/// late, those are missing that were heard of later as well.
async fn note_seen(app: &App, now: Timestamp) -> Result<usize, DbError> {
    let mut tx = app.read_list().await?;
    let newest = points::newest(&mut tx, Metric::MachinesSeen, Step::Hour, now).await?;
    let span = ended_since(newest, Step::Hour, now);
    let mut series = Series::new();
    for at in span.starts(Step::Hour) {
        let is_last = at + Step::Hour.length() >= span.to;
        let until = if is_last { None } else { Some(at + Step::Hour.length()) };
        let count = numbers::machines_seen(&mut tx, at, until).await?;
        series.insert(at, ByKey::from([(String::new(), Amount::of(count))]));
    }
    drop(tx);
    put(app, changed(Metric::MachinesSeen, Step::Hour, span, &series, &[])).await
}

/// The steps that have ended by now and begun after the newest that has a row; the last one where none has.
fn ended_since(newest: Option<Timestamp>, step: Step, now: Timestamp) -> Span {
    let to = step.floor(now);
    let last = to - step.length();
    let from = newest.map_or(last, |newest| newest + step.length());
    Span { from: from.max(step.floor(now - FILLED_IN_FOR)), to }
}

/// Writes rows, all or none of them.
async fn put(app: &App, rows: Vec<Point>) -> Result<usize, DbError> {
    if rows.is_empty() {
        return Ok(0);
    }
    let mut tx = app.begin_write().await?;
    tx.upsert(&rows.iter().collect::<Vec<_>>()).await?;
    tx.commit().await?;
    Ok(rows.len())
}

/// Removes what is too old, in portions.
async fn remove(app: &App, now: Timestamp) -> Result<u64, DbError> {
    let mut removed = 0;
    for (step, kept) in [(Step::Hour, HOURS_KEPT), (Step::Day, DAYS_KEPT)] {
        loop {
            let mut tx = app.db.upkeep().await?;
            let count = points::forget(&mut tx, step, now - kept, REMOVED_AT_ONCE).await?;
            tx.commit().await?;
            removed += count;
            if (count as i64) < REMOVED_AT_ONCE {
                break;
            }
        }
    }
    loop {
        let mut tx = app.db.upkeep().await?;
        let count = samples::forget(&mut tx, now - SAMPLES_KEPT - Step::Day.length(), REMOVED_AT_ONCE).await?;
        tx.commit().await?;
        removed += count;
        if (count as i64) < REMOVED_AT_ONCE {
            return Ok(removed);
        }
    }
}

/// Writes down what this process measured.
pub async fn write_measured(app: &App) -> Result<(), DbError> {
    app.measured.streams(app.clock.now(), app.bells.count());
    let waiting = app.measured.waiting();
    if waiting.is_empty() {
        return Ok(());
    }
    let mut tx = app.db.upkeep().await?;
    tx.upsert(&waiting.iter().collect::<Vec<_>>()).await?;
    tx.commit().await?;
    app.measured.forget(app.clock.now(), &waiting);
    Ok(())
}
