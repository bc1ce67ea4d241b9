//! Events that machines which were there have said nothing of: counted, and after a week dead letters.

use std::sync::Arc;

use tollgate_db::DbError;
use tollgate_domain::acknowledgements::undelivered::{self, Counts};
use tollgate_shared::Timestamp;

use crate::app::App;

/// Events judged in one transaction: on SQLite others wait for as long as it takes.
const JUDGED_AT_ONCE: i64 = 100;

/// Transactions of one run: a backlog is worked off by the next ones, a minute later each.
const RUN_TRANSACTIONS_MAX: usize = 200;

/// Events counted by one statement.
const COUNTED_AT_ONCE: i64 = 2000;

/// So many statements are many.
const MANY_PAGES: usize = 5;

/// Opens dead letters for events that a machine which was there has not acknowledged for a week; says how many events it
/// judged. On as many replicas at once as one likes: each event is judged by one of them, once.
pub async fn find_undelivered(app: &App) -> Result<usize, DbError> {
    let mut judged = 0;
    for _ in 0..RUN_TRANSACTIONS_MAX {
        let mut tx = app.begin_write().await?;
        let events = undelivered::judge(&mut tx, app.clock.now(), &app.rng, JUDGED_AT_ONCE).await?;
        tx.commit().await?;
        judged += events;
        if (events as i64) < JUDGED_AT_ONCE {
            break;
        }
    }
    Ok(judged)
}

/// Ends dead letters of machines that have given up their seats; says of how many machines. Nearly always there are none.
pub async fn end_of_who_left(app: &App) -> Result<usize, DbError> {
    let mut ended = 0;
    loop {
        let mut tx = app.begin_write().await?;
        let machines = undelivered::end_of_who_left(&mut tx, app.clock.now(), JUDGED_AT_ONCE).await?;
        tx.commit().await?;
        ended += machines;
        if (machines as i64) < JUDGED_AT_ONCE {
            return Ok(ended);
        }
    }
}

/// Counts them for the metrics.
pub async fn show(app: &App) -> Result<(), DbError> {
    let now = app.clock.now();
    let counts = count(app, now).await?;
    let by_age = [("hour", counts.within_an_hour), ("day", counts.within_a_day), ("week", counts.older)];
    for (age, count) in by_age {
        metrics::gauge!("tollgate_backend_events_unacknowledged", "age" => age).set(count as f64);
    }
    let age = counts.oldest_at().map_or(0.0, |at| (now - at).as_seconds_f64().max(0.0));
    metrics::gauge!("tollgate_backend_events_unacknowledged_oldest_seconds").set(age);
    Ok(())
}

/// How many events of the last week are owed an acknowledgement. Who has many, by apps that never say anything, gets the number
/// of the last minute.
pub async fn unacknowledged(app: &App, now: Timestamp) -> Result<Arc<Counts>, DbError> {
    if let Some(counts) = app.unacknowledged.known(now) {
        return Ok(counts);
    }
    let _turn = app.unacknowledged.turn().await;
    match app.unacknowledged.known(now) {
        Some(counts) => Ok(counts),
        None => count(app, now).await,
    }
}

/// The same, counted now, in pages: no statement takes long.
async fn count(app: &App, now: Timestamp) -> Result<Arc<Counts>, DbError> {
    let (mut counts, mut after, mut pages) = (Counts::default(), None, 0);
    loop {
        let mut tx = app.read_list().await?;
        after = undelivered::count(&mut tx, now, after, COUNTED_AT_ONCE, &mut counts).await?;
        pages += 1;
        if after.is_none() {
            break;
        }
    }
    let counts = Arc::new(counts);
    if pages >= MANY_PAGES {
        app.unacknowledged.keep(now, &counts);
    }
    Ok(counts)
}
