//! All work that is done by the clock. What is not here waits for something else: a request, an event, a bell.
//!
//! A job runs once a tick, in whichever process gets it, and its run is recorded. A look is for what each process does for
//! itself: what it has in memory, or what should not be as late as a minute and costs nothing where there is nothing to do.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join;
use serde::Serialize;
use tollgate_db::DbError;
use tollgate_domain::cron::runs::Caller;
use tollgate_domain::cron::schedule::Schedule;
use tollgate_domain::notifications::sending::Queue;
use tracing::warn;

use super::cleanup::clean_up;
use super::job::{Context, Job, Progress};
use super::runner::Runner;
use crate::alerts::{counted, judging, telling};
use crate::analytics::job as analytics;
use crate::billing::purchases;
use crate::entitlements::reapply_plans::ReapplyPlans;
use crate::events::{HEARTBEAT, presence, undelivered};
use crate::licenses::last_seen;
use crate::monitoring::{metrics, numbers};
use crate::notifications;
use crate::pods::{by_time, moving, owed, rounds, tries};
use crate::reconciliation::nightly;
use crate::webhooks::retry;

/// The job whose numbers stand at the top of its answer.
pub(super) const SYNC_SUBSCRIPTIONS: &str = "sync-subscriptions";

/// The jobs, those that run most often first.
static JOBS: [Job; 8] = [
    Job {
        name: "retry-events",
        schedule: Schedule::minutes(1),
        work: |context, progress| Box::pin(retry_events(context, progress)),
    },
    Job {
        name: "detect-stale-sessions",
        schedule: Schedule::minutes(1),
        work: |context, progress| Box::pin(detect_stale_sessions(context, progress)),
    },
    Job {
        name: "health-monitoring",
        schedule: Schedule::minutes(5),
        work: |context, progress| Box::pin(monitor_health(context, progress)),
    },
    Job {
        name: "expiration-check",
        schedule: Schedule::hourly(),
        work: |context, progress| Box::pin(check_expirations(context, progress)),
    },
    Job {
        name: "analytics",
        schedule: Schedule::hourly(),
        work: |context, progress| Box::pin(make_analytics(context, progress)),
    },
    Job {
        name: SYNC_SUBSCRIPTIONS,
        schedule: Schedule::daily(0),
        work: |context, progress| Box::pin(sync_subscriptions(context, progress)),
    },
    Job {
        name: "reconcile",
        schedule: Schedule::daily(2),
        work: |context, progress| Box::pin(reconcile(context, progress)),
    },
    Job {
        name: "cleanup-events",
        schedule: Schedule::daily(3),
        work: |context, progress| Box::pin(clean_up(context, progress)),
    },
];

/// The same job as it goes on with what was stopped: under the same name, so that it runs once at a time.
static GOES_ON: Job = Job {
    name: SYNC_SUBSCRIPTIONS,
    schedule: Schedule::daily(0),
    work: |context, progress| Box::pin(go_on_syncing(context, progress)),
};

/// How often the clock is looked at: how late a job may be.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// The first retry of an event comes after five seconds, and an outage's as soon as it is over.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// A licence ends when it says that it does.
const EXPIRE_INTERVAL: Duration = Duration::from_secs(1);

/// How soon is done at Stripe what pods owe it: that a subscription follows what became of its pod, and that an overdue
/// invoice is tried, or tried no more.
const OWED_INTERVAL: Duration = Duration::from_secs(5);

/// How soon Stripe is asked what a session has sold: whoever paid waits for it.
const PURCHASES_INTERVAL: Duration = Duration::from_secs(2);

/// How soon a round that was stopped at its limit goes on.
const ROUND_INTERVAL: Duration = Duration::from_secs(60);

/// For how long a sign of life of a machine is in memory alone.
const LAST_SEEN_INTERVAL: Duration = Duration::from_secs(5);

/// How often an open stream shows that its app is there: as often as other apps send heartbeats.
const STREAM_SESSIONS_INTERVAL: Duration = HEARTBEAT;

/// How often it is counted what apps have not acknowledged: each time every event of a week is looked at.
const UNACKNOWLEDGED_INTERVAL: Duration = Duration::from_secs(5 * 60);

/// How soon a message is sent: what it tells of has just been committed.
const MESSAGES_INTERVAL: Duration = Duration::from_secs(1);

/// How soon operators are told again what could not be told: beside all jobs, since it may be those that stand still.
const ALERTS_TOLD_INTERVAL: Duration = Duration::from_secs(5);

/// For how long what this process measured is in memory alone.
const MEASURED_INTERVAL: Duration = Duration::from_secs(60);

/// How often it is counted how many subscriptions, memberships and tickets there are.
const NUMBERS_INTERVAL: Duration = Duration::from_secs(60);

/// How soon a customer is found that was computed by other plans.
const REAPPLY_PLANS_INTERVAL: Duration = Duration::from_secs(10);

/// How soon others than this process know what it has counted for alerts.
const COUNTED_INTERVAL: Duration = Duration::from_secs(5);

/// How soon histograms are drained, which would grow for as long as nobody scrapes.
const METRICS_INTERVAL: Duration = Duration::from_secs(5);

/// The queues of messages, each by a task of its own: one whose provider is slow holds up no other.
const QUEUES: [(&str, Queue); 4] = [
    ("messages-email", Queue::Email),
    ("messages-push", Queue::Push),
    ("messages-webpush", Queue::WebPush),
    ("messages-app", Queue::App),
];

/// Every job.
pub fn jobs() -> impl Iterator<Item = &'static Job> {
    JOBS.iter()
}

/// The job of a name.
pub fn job(name: &str) -> Option<&'static Job> {
    jobs().find(|job| job.name == name)
}

/// Starts all of it.
pub fn start(runner: &Runner) {
    let tasks = &runner.context().app.tasks;
    for job in jobs() {
        let runner = runner.clone();
        tasks.every(job.name, LOOK_INTERVAL, move || {
            let runner = runner.clone();
            async move { runner.look(job).await }
        });
    }
    let goes_on = runner.clone();
    tasks.every("round-goes-on", ROUND_INTERVAL, move || {
        let runner = goes_on.clone();
        async move { go_on_with_round(&runner).await }
    });
    start_looks(runner.context());
}

/// Goes on with a round that was stopped at its limit.
pub(crate) async fn go_on_with_round(runner: &Runner) -> Result<(), DbError> {
    if !rounds::is_unfinished(&runner.context().app).await? {
        return Ok(());
    }
    runner.run(&GOES_ON, Caller::Request).await.map(drop)
}

fn start_looks(context: &Context) {
    let Context { app, inbox, expire } = context;
    let looks_for = inbox.clone();
    app.tasks.every("retry", RETRY_INTERVAL, move || {
        let inbox = looks_for.clone();
        async move { retry::run(&inbox).await.map(drop) }
    });
    let looks_for = (app.clone(), expire.clone());
    app.tasks.every("expire-entitlements", EXPIRE_INTERVAL, move || {
        let (app, expire) = looks_for.clone();
        async move { expire.run(&app).await.map(drop) }
    });
    let looks_for = app.clone();
    app.tasks.every("pods-owed", OWED_INTERVAL, move || {
        let app = looks_for.clone();
        async move {
            owed::run(&app).await?;
            tries::run(&app).await?;
            moving::follow(&app).await.map(drop)
        }
    });
    let looks_for = app.clone();
    app.tasks.every("purchases", PURCHASES_INTERVAL, move || {
        let app = looks_for.clone();
        async move { purchases::read_due(&app).await.map(drop) }
    });
    for (name, queue) in QUEUES {
        let looks_for = app.clone();
        app.tasks.every(name, MESSAGES_INTERVAL, move || {
            let app = looks_for.clone();
            async move { notifications::sending::send_due(&app, queue).await.map(drop) }
        });
    }
    let looks_for = app.clone();
    app.tasks.every("alerts-told", ALERTS_TOLD_INTERVAL, move || {
        let app = looks_for.clone();
        async move { telling::tell_due(&app).await.map(drop) }
    });
    let looks_for = app.clone();
    app.tasks.every("last-seen", LAST_SEEN_INTERVAL, move || {
        let app = looks_for.clone();
        async move { last_seen::write(&app).await }
    });
    let looks_for = app.clone();
    app.tasks.every("stream-sessions", STREAM_SESSIONS_INTERVAL, move || {
        presence::renew(&looks_for);
        async { Ok(()) }
    });
    let looks_for = app.clone();
    app.tasks.every("unacknowledged", UNACKNOWLEDGED_INTERVAL, move || {
        let app = looks_for.clone();
        async move { undelivered::show(&app).await }
    });
    let looks_for = app.clone();
    app.tasks.every("measured", MEASURED_INTERVAL, move || {
        let app = looks_for.clone();
        async move { analytics::write_measured(&app).await }
    });
    let looks_for = app.clone();
    app.tasks.every("numbers", NUMBERS_INTERVAL, move || {
        let app = looks_for.clone();
        async move { numbers::show(&app).await }
    });
    let looks_for = (app.clone(), Arc::<ReapplyPlans>::default());
    app.tasks.every("reapply-plans", REAPPLY_PLANS_INTERVAL, move || {
        let (app, reapply_plans) = looks_for.clone();
        async move { reapply_plans.run(&app).await.map(drop) }
    });
    let looks_for = inbox.clone();
    app.tasks.every("counted", COUNTED_INTERVAL, move || {
        let inbox = looks_for.clone();
        async move { counted::write(&inbox).await }
    });
    app.tasks.every("metrics-upkeep", METRICS_INTERVAL, || async {
        metrics::start().run_upkeep();
        Ok(())
    });
}

#[derive(Default, Serialize)]
struct Retried {
    tried: usize,
    judged: usize,
    ended: usize,
    payments: usize,
    messages: usize,
}

async fn retry_events(context: Context, progress: Progress) -> Result<(), DbError> {
    let app = context.inbox.app();
    let mut done = Retried { tried: retry::run(&context.inbox).await?, ..Retried::default() };
    progress.say(&done);
    done.judged = undelivered::find_undelivered(app).await?;
    progress.say(&done);
    done.ended = undelivered::end_of_who_left(app).await?;
    progress.say(&done);
    done.payments = tries::run(app).await?.tried;
    progress.say(&done);
    done.messages = notifications::sending::send_all(app).await?;
    progress.say(&done);
    telling::tell_due(app).await.map(drop)
}

async fn monitor_health(context: Context, progress: Progress) -> Result<(), DbError> {
    let schedules: Vec<_> = jobs().map(|job| (job.name, job.schedule)).collect();
    progress.say(&judging::judge(&context.inbox, &schedules).await?);
    let app = context.inbox.app();
    // Whoever waits for a heartbeat does not wait for a slow mail server too.
    let (heard, told) = join(app.pager.beat(), telling::tell_due(app)).await;
    if let Err(why) = heard {
        warn!("the heartbeat was not heard: {why}");
    }
    told.map(drop)
}

async fn sync_subscriptions(context: Context, progress: Progress) -> Result<(), DbError> {
    rounds::run(&context.app, rounds::STOPS_AFTER, |summary| progress.say(summary)).await
}

async fn reconcile(context: Context, progress: Progress) -> Result<(), DbError> {
    nightly::run(&context.app, &context.inbox, |summary| progress.say(summary)).await
}

async fn go_on_syncing(context: Context, progress: Progress) -> Result<(), DbError> {
    rounds::go_on(&context.app, rounds::STOPS_AFTER, |summary| progress.say(summary)).await
}

async fn make_analytics(context: Context, progress: Progress) -> Result<(), DbError> {
    analytics::make(&context.app, |made| progress.say(made)).await
}

#[derive(Serialize)]
struct Detected {
    stale: usize,
}

async fn detect_stale_sessions(context: Context, progress: Progress) -> Result<(), DbError> {
    let stale = presence::detect_stale(&context.app).await?;
    progress.say(&Detected { stale });
    Ok(())
}

#[derive(Default, Serialize)]
struct Expired {
    ended: usize,
    moved: usize,
    told: usize,
    stopped: usize,
}

async fn check_expirations(context: Context, progress: Progress) -> Result<(), DbError> {
    let mut done = Expired { ended: context.expire.run(&context.app).await?, ..Expired::default() };
    progress.say(&done);
    by_time::settle_all(&context.app).await?;
    done.told = notifications::by_time::tell_all(&context.app).await?;
    progress.say(&done);
    done.moved = moving::look_at_all(&context.app).await?;
    progress.say(&done);
    done.stopped = tries::run(&context.app).await?.ended;
    progress.say(&done);
    Ok(())
}
