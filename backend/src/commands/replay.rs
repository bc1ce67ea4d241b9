//! `tollgate-backend replay`: events processed once more, as `POST /api/stripe/webhooks/replay` does. It works beside a
//! backend that serves, and without one.

use std::io::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::sleep;
use tollgate_db::Db;
use tollgate_db::page::Position;
use tollgate_domain::audit::acts::ActedBy;
use tollgate_shared::{Clock, RequestId, Rng, Timestamp};

use super::time;
use crate::app::App;
use crate::config::Config;
use crate::schema::MIGRATIONS;
use crate::webhooks::inbox::{Inbox, Order};
use crate::webhooks::replay::view::ReplayedView;
use crate::webhooks::replay::{self, ACTION, REACH, Received, Selection};

/// How long to leave the database to others after a page: no more pages a minute than by the route.
const PAGE_INTERVAL: Duration = Duration::from_secs(1);

/// Who the audit trail names.
const ACTOR: &str = "command";

/// Which events, and whether only to say what would come of it.
#[derive(Debug, Args)]
pub(super) struct ReplayArguments {
    /// Events by their ids
    #[arg(value_name = "evt_…", conflicts_with = "from", required_unless_present = "from")]
    event_ids: Vec<String>,
    /// Instead: those that were received from this time on, such as 2026-11-27T09:30:00Z
    #[arg(long, value_name = "TIME", value_parser = time, requires = "to")]
    from: Option<Timestamp>,
    /// Those that were received before this time
    #[arg(long, value_name = "TIME", value_parser = time, requires = "from")]
    to: Option<Timestamp>,
    /// Of them those of this type
    #[arg(long = "type", value_name = "TYPE", requires = "from")]
    event_type: Option<String>,
    /// Only show which rows would change
    #[arg(long)]
    dry_run: bool,
}

impl ReplayArguments {
    fn selection(self, now: Timestamp) -> anyhow::Result<Selection> {
        let (Some(from), Some(to)) = (self.from, self.to) else { return Ok(Selection::Named(self.event_ids)) };
        if from < now - REACH {
            bail!("--from may lie at most {} days back; older events can be named", REACH.num_days());
        }
        // What comes from now on is processed anyway.
        Ok(Selection::Received(Received { from, to: to.min(now), event_type: self.event_type }))
    }
}

pub(super) async fn run(config: Config, arguments: ReplayArguments) -> anyhow::Result<()> {
    let db = Db::open(&config.database_url, &MIGRATIONS).context("could not open DATABASE_URL")?;
    let app = App::new(Arc::new(config), db.clone(), Clock::system(), Rng::system());
    let inbox = Inbox::open(app.clone());
    let replayed = replay(&app, &inbox, arguments).await;
    app.tasks.stop();
    db.close().await;
    replayed
}

async fn replay(app: &App, inbox: &Inbox, arguments: ReplayArguments) -> anyhow::Result<()> {
    app.db.ready().await.context("the database is not ready")?;
    let dry_run = arguments.dry_run;
    let selection = arguments.selection(app.clock.now())?;
    let request_id = RequestId::new(app.clock.now(), &app.rng);
    let by = ActedBy {
        actor: ACTOR.to_owned(),
        claimed_name: std::env::var("USER").ok(),
        request_id: request_id.to_string(),
        reason: None,
    };
    let mut output = io::stdout();
    let mut progress = None;
    let (mut after, mut all, mut failed) = (None, 0_usize, 0_usize);
    loop {
        let selected = replay::select(app, &selection, after).await.context("could not select events")?;
        let progress = progress.get_or_insert_with(|| bar(selected.matched));
        let order = Order { action: ACTION, by: by.clone() };
        for event in replay::run(inbox, &selected, order, dry_run, &request_id).await.context("could not replay")? {
            let event = ReplayedView::from(event);
            all += 1;
            failed += usize::from(event.has_failed());
            progress.suspend(|| write!(output, "{event}"))?;
            progress.inc(1);
        }
        after = selected.next_cursor().and_then(Position::from_cursor);
        if after.is_none() {
            progress.finish_and_clear();
            break;
        }
        sleep(PAGE_INTERVAL).await;
    }
    let what = if dry_run { "would be replayed" } else { "replayed" };
    writeln!(output, "{all} events {what}")?;
    if failed > 0 {
        bail!("{failed} of {all} events did not go into effect");
    }
    Ok(())
}

/// A bar on a terminal, and nothing where standard error is none.
fn bar(events: i64) -> ProgressBar {
    let bar = "{wide_bar} {pos} of {len} events, {per_sec}, {eta} left";
    let style = ProgressStyle::with_template(bar).expect("the template names fields that there are");
    ProgressBar::new(events.unsigned_abs()).with_style(style)
}
