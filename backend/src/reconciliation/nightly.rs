//! What was made at Stripe since the last night, compared by itself.

use std::future::pending;

use chrono::Duration;
use serde::Serialize;
use tollgate_db::DbError;
use tollgate_domain::reconciliation::{self as runs, Run};
use tollgate_shared::Timestamp;
use tracing::{info, warn};

use super::{Ended, Failure, Reconciliation};
use crate::app::App;
use crate::webhooks::inbox::Inbox;

/// The name of its runs.
const NAME: &str = "job";

/// What is younger may still be on its way: Stripe sends a webhook again that did not get through.
const ON_THE_WAY: Duration = Duration::hours(1);

/// How much of what the run before has compared is compared once more: clocks differ, and lists of Stripe's fill up late.
const OVERLAP: Duration = Duration::hours(1);

/// How long after its begin a run that has not read everything goes on, before all of it is read anew.
const GOES_ON_WITHIN: Duration = Duration::days(7);

/// What a run has come to, as its job says it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Summary {
    compared: i64,
    found: i64,
    mended: i64,
    /// Whether it was through with everything.
    complete: bool,
}

impl Summary {
    fn of(run: &Run) -> Self {
        let mended = run.found - run.unmended;
        Self { compared: run.objects, found: run.found, mended, complete: run.ended_at.is_some() }
    }
}

/// Compares what was made since the run before, and mends it. The first run of all only notes from when on: what was before is
/// for an operator to bring, who knows whether it is wanted here.
pub async fn run(app: &App, inbox: &Inbox, say: impl Fn(&Summary)) -> Result<(), DbError> {
    let Some(stripe) = app.stripe.clone() else { return Ok(()) };
    let reconciliation = Reconciliation { app: app.clone(), inbox: inbox.clone(), stripe, mends: true };
    let until = app.clock.now() - ON_THE_WAY;
    let before = runs::newest(&mut app.read().await?, NAME).await?;
    let Some(mut run) = before.map(|before| following(app, before, until)) else {
        let mut first = new_run(app, until, Some(until));
        first.ended_at = Some(app.clock.now());
        say(&Summary::of(&first));
        return reconciliation.keep(&first).await;
    };
    let tell = |run: &Run, findings: &[super::Finding]| {
        for finding in findings {
            warn!("webhooks did not bring it: {finding}");
        }
        say(&Summary::of(run));
    };
    let ended = reconciliation.go_on(&mut run, tell, pending()).await;
    say(&Summary::of(&run));
    match ended {
        Ended::Complete => {
            info!(compared = run.objects, found = run.found, "compared with Stripe");
            Ok(())
        }
        Ended::Failed(Failure::Database(failure)) => Err(failure),
        Ended::Failed(failure) => {
            warn!("could not compare everything with Stripe, the next run goes on: {failure}");
            Ok(())
        }
        Ended::Stopped => Ok(()),
    }
}

/// The run after `before`: itself where it has not read everything, or what was made since.
fn following(app: &App, before: Run, until: Timestamp) -> Run {
    let age = until - before.began_at;
    if before.ended_at.is_some() {
        return new_run(app, until, Some(before.began_at - OVERLAP));
    }
    if age >= Duration::zero() && age < GOES_ON_WITHIN { before } else { new_run(app, until, before.since) }
}

fn new_run(app: &App, until: Timestamp, since: Option<Timestamp>) -> Run {
    let accounts: Vec<_> = app.config.stripe.accounts.iter().cloned().collect();
    Run::new(NAME, until, since, app.config.webhook_events_kept, &accounts)
}
