//! `tollgate-backend reconcile`: what webhooks did not bring, or brought wrong, found and mended. It works beside a backend
//! that serves, and without one.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use tollgate_db::{Db, Json};
use tollgate_domain::reconciliation::{self as runs, Run, Stretch};
use tollgate_shared::clock::rfc3339;
use tollgate_shared::process::Signals;
use tollgate_shared::{Clock, Rng, Timestamp};
use tracing::{error, info};

use super::time;
use crate::app::App;
use crate::config::Config;
use crate::reconciliation::{Ended, Finding, Reconciliation};
use crate::schema::MIGRATIONS;
use crate::webhooks::inbox::Inbox;

/// How finely the bar shows how much was read.
const PROGRESS_STEPS: u64 = 10_000;

/// There are differences, and not all of them are mended.
const EXIT_DIFFERENT: u8 = 1;
/// It could not be done, or not all of it. clap's own for a bad command line.
const EXIT_FAILED: u8 = 2;
/// It was told to stop: what shells have for an interrupted command.
const EXIT_STOPPED: u8 = 130;

const STATUSES: &str = "\
Prints a line for each difference, with Stripe's id. Calls Stripe at half of STRIPE_RATE_LIMIT, and can be run beside a
backend that serves.

Exit status: 0 if there is no difference, or each one was mended; 1 if there are differences; 2 if it could not be done;
130 if it was stopped (Ctrl-C, SIGTERM). After 2 and 130 the same command goes on where it was, for a day.";

/// What is compared, and whether it is mended.
#[derive(Debug, Args)]
#[command(after_help = STATUSES)]
pub(super) struct ReconcileArguments {
    /// Mends what is found, as Stripe's webhooks would have done it
    #[arg(long)]
    apply: bool,
    /// Only what was made from this time on, such as 2026-11-27T09:30:00Z: what happened, subscriptions, invoices
    #[arg(long, value_name = "TIME", value_parser = time)]
    from: Option<Timestamp>,
    /// Begins anew, also where an earlier one was stopped and could go on
    #[arg(long)]
    restart: bool,
}

impl ReconcileArguments {
    fn name(&self) -> &'static str {
        if self.apply { "apply" } else { "report" }
    }
}

pub(super) async fn run(mut config: Config, arguments: ReconcileArguments) -> anyhow::Result<ExitCode> {
    // Whoever serves calls too, and each of us counts for itself.
    config.stripe.calls_per_second = (config.stripe.calls_per_second / 2).max(1);
    Ok(match reconcile(config, arguments).await {
        Ok(status) => status,
        Err(failure) => {
            error!("{failure:#}");
            ExitCode::from(EXIT_FAILED)
        }
    })
}

async fn reconcile(config: Config, arguments: ReconcileArguments) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::listen().context("could not listen for signals")?;
    let db = Db::open(&config.database_url, &MIGRATIONS).context("could not open DATABASE_URL")?;
    let app = App::new(Arc::new(config), db.clone(), Clock::system(), Rng::system());
    let inbox = Inbox::open(app.clone());
    let done = compare(&app, &inbox, &arguments, &mut signals).await;
    app.tasks.stop();
    db.close().await;
    done
}

async fn compare(
    app: &App,
    inbox: &Inbox,
    arguments: &ReconcileArguments,
    signals: &mut Signals,
) -> anyhow::Result<ExitCode> {
    let Some(stripe) = app.stripe.clone() else { bail!("there is no STRIPE_SECRET_KEY to ask Stripe with") };
    app.db.ready().await.context("the database is not ready")?;
    let (mut run, whole) = begin(app, arguments).await.context("could not look for an earlier run")?;
    let reconciliation = Reconciliation { app: app.clone(), inbox: inbox.clone(), stripe, mends: arguments.apply };
    let progress = bar();
    let mut output = io::stdout();
    let mut written = Ok(());
    let say = |run: &Run, findings: &[Finding]| {
        let print = |finding: &Finding| progress.suspend(|| writeln!(output, "{finding}"));
        if written.is_ok() {
            written = findings.iter().try_for_each(print);
        }
        show(&progress, &whole, run);
    };
    let ended = reconciliation.go_on(&mut run, say, signals.stop(|| ())).await;
    progress.finish_and_clear();
    written?;
    let Run { objects, found, unmended, .. } = run;
    let mended = if arguments.apply { format!(", {} mended", found - unmended) } else { String::new() };
    writeln!(output, "{objects} objects compared, {found} differences{mended}")?;
    match ended {
        Ended::Complete if unmended == 0 => Ok(ExitCode::SUCCESS),
        Ended::Complete => Ok(ExitCode::from(EXIT_DIFFERENT)),
        Ended::Stopped => {
            info!("stopped: the same command goes on where this one was");
            Ok(ExitCode::from(EXIT_STOPPED))
        }
        Ended::Failed(failure) => Err(anyhow::Error::new(failure)
            .context("could not compare everything; the same command goes on where this one was")),
    }
}

/// The run that goes on, else another one; and all that it reads.
async fn begin(app: &App, arguments: &ReconcileArguments) -> anyhow::Result<(Run, Vec<Stretch>)> {
    let (now, name, since) = (app.clock.now(), arguments.name(), arguments.from);
    let accounts: Vec<_> = app.config.stripe.accounts.iter().cloned().collect();
    let begun_at = |at| Run::new(name, at, since, app.config.webhook_events_kept, &accounts);
    let earlier = runs::newest(&mut app.read().await?, name).await?;
    let run = match earlier.filter(|run| !arguments.restart && run.goes_on(now, since)) {
        Some(run) => {
            info!("going on with what was begun at {}", rfc3339(run.began_at));
            run
        }
        None => begun_at(now),
    };
    let Json(whole) = begun_at(run.began_at).remaining;
    Ok((run, whole))
}

/// A bar on a terminal, and nothing where standard error is none.
fn bar() -> ProgressBar {
    let bar = "{wide_bar} {percent} %, {msg}, {elapsed}";
    let style = ProgressStyle::with_template(bar).expect("the template names fields that there are");
    ProgressBar::new(PROGRESS_STEPS).with_style(style)
}

fn show(progress: &ProgressBar, whole: &[Stretch], run: &Run) {
    progress.set_position((runs::share_read(whole, &run.remaining) * PROGRESS_STEPS as f64) as u64);
    progress.set_message(format!("{} objects, {} differences", run.objects, run.found));
}
