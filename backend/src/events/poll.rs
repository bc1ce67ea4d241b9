//! The look that makes every bell optional: which of the logs that somebody streams here have grown, and which of their
//! events an operator wants sent again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tollgate_db::DbError;
use tollgate_domain::dead_letters::{self, ToSendAgain};
use tollgate_domain::events::log;
use tracing::{debug, info, warn};

use super::epochs::Epochs;
use crate::app::App;

/// How many logs are looked at in one statement.
const LOGS_MAX: usize = 5000;

/// How long a client may take nothing of what it is handed.
const STUCK_AFTER: Duration = Duration::from_secs(5 * 60);

/// The name of the task.
const TASK: &str = "stream-poll";

pub(super) fn start(app: &App, epochs: &Arc<Epochs>, interval: Duration) {
    let (tasks, app, epochs) = (app.tasks.clone(), app.clone(), epochs.clone());
    tasks.keep(TASK, move || run(app.clone(), epochs.clone(), interval));
}

/// Looks again and again, at the same pace when that fails: when the database is back, it is needed most.
async fn run(app: App, epochs: Arc<Epochs>, interval: Duration) {
    let mut has_failed = false;
    let mut marked_at = None;
    let started_at = Instant::now();
    loop {
        if let Some(before) = Instant::now().checked_sub(STUCK_AFTER).filter(|before| *before > started_at) {
            app.bells.end_stuck(before);
        }
        match look(&app, &epochs, &mut marked_at).await {
            Ok(()) if has_failed => {
                has_failed = false;
                info!("streams of events can be read again");
            }
            Ok(()) => {}
            Err(failure) => {
                epochs.forget();
                let reason = failure.class();
                match failure {
                    // Whoever migrates logs why the tables are not there.
                    DbError::Schema(_) => debug!(reason, "streams of events have to wait: {failure}"),
                    _ if has_failed => debug!(reason, "still: {failure}"),
                    _ => {
                        has_failed = true;
                        warn!(reason, "could not look for events that are to be streamed, retrying: {failure}");
                    }
                }
            }
        }
        sleep(interval).await;
    }
}

/// Rings for what has grown. `marked_at` is how often logs had been said to grow when their mark was last written.
async fn look(app: &App, epochs: &Epochs, marked_at: &mut Option<u64>) -> Result<(), DbError> {
    epochs.settle(&app.db, &app.rng).await?;
    let rung = app.bells.times_rung();
    if *marked_at != Some(rung) && epochs.mark(&app.db).await? {
        *marked_at = Some(rung);
    }
    let watched = app.bells.watched();
    if watched.is_empty() {
        return Ok(());
    }
    let mut tx = app.db.read_stream().await?;
    if epochs.note(log::epoch(&mut tx).await?) {
        info!("the database's event logs are others than before: each stream is told so");
        app.bells.ring_all_here();
        return Ok(());
    }
    for logs in watched.chunks(LOGS_MAX) {
        let read_to: BTreeMap<_, _> = logs.iter().map(|(license_id, seq)| (license_id.to_string(), *seq)).collect();
        let moved = log::moved(&mut tx, &read_to).await?;
        app.bells.ring_here(moved.iter().map(String::as_str));
        for wanted in dead_letters::to_send_again(&mut tx, read_to.keys().map(String::as_str)).await? {
            let ToSendAgain { license_id, machine_id, event_id, retried_at } = &wanted;
            app.bells.want_again(license_id, machine_id, event_id, *retried_at);
        }
    }
    Ok(())
}
