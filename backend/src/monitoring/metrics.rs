//! Metrics, in Prometheus's text format. Other modules count by name; here the names are described, and what is known
//! only at the moment is asked for at each scrape.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Duration;

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::time::timeout;
use tollgate_shared::Timestamp;
use tollgate_shared::process::metrics::ProcessMetrics;

use super::exposition::Exposition;
use crate::app::App;
use crate::http::in_flight::InFlight;
use crate::tasks::TaskStatus;
use crate::webhooks::inbox::Inbox;
use crate::webhooks::view::{self, InTrouble};
use tollgate_db::DbError;
use tollgate_domain::alerts::{self, AlertName};
use tollgate_domain::dead_letters::{self, Source};
use tollgate_domain::notifications;
use tollgate_domain::notifications::sending::Queue;

/// How long the database is waited for at a scrape: Prometheus gives up after ten seconds.
const DATABASE_TIMEOUT: Duration = Duration::from_secs(2);

/// The sizes of a batch that are told apart: a writer takes at most 64.
const BATCH_BUCKETS: [f64; 7] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0];

/// Seconds that are told apart: from what a cached read takes to the longest that a caller is kept waiting.
const SECONDS_BUCKETS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

static PROCESS: OnceLock<ProcessMetrics> = OnceLock::new();

/// Starts counting. Once a process: what is counted before is lost, and further calls change nothing.
pub fn start() -> &'static PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(|| {
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Full("tollgate_backend_batch_events".to_owned()), &BATCH_BUCKETS)
            .and_then(|builder| {
                builder.set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS_BUCKETS)
            })
            .expect("there are buckets")
            .build_recorder();
        let handle = recorder.handle();
        // An error means that another recorder counts in this process; ours then shows nothing, which is seen at once.
        let _ = metrics::set_global_recorder(recorder);
        describe();
        PROCESS.get_or_init(|| ProcessMetrics::new("tollgate_backend", env!("CARGO_PKG_VERSION")));
        handle
    })
}

fn describe() {
    let count = Unit::Count;
    describe_counter!("tollgate_backend_requests_total", count, "Responses, by route and status");
    describe_counter!(
        "tollgate_backend_events_total",
        count,
        "Events that were answered, by outcome and class of type"
    );
    describe_counter!(
        "tollgate_backend_events_of_unknown_version_total",
        count,
        "Events of an API version that this release does not know"
    );
    // Else the first of a process would be no increase to whoever watches.
    metrics::counter!("tollgate_backend_events_of_unknown_version_total").increment(0);
    describe_counter!(
        "tollgate_backend_subscriptions_without_plan_total",
        count,
        "Snapshots of subscriptions that have no item which matches a plan"
    );
    describe_counter!("tollgate_backend_retries_total", count, "Failed events that the retry job tried again");
    describe_counter!(
        "tollgate_backend_cron_runs_total",
        count,
        "Runs of jobs that have ended here, by job and result"
    );
    describe_gauge!(
        "tollgate_backend_cron_last_success_timestamp_seconds",
        Unit::Seconds,
        "When a job last succeeded, in any process, as far as this one has seen; in seconds since the Unix epoch"
    );
    describe_counter!(
        "tollgate_backend_write_conflicts_total",
        count,
        "Transactions that were made again because somebody else was in the way"
    );
    describe_counter!(
        "tollgate_backend_activations_refused_total",
        count,
        "Machines that got no seat because others held all of them"
    );
    describe_counter!("tollgate_backend_rate_limited_total", count, "Requests refused because they came too often");
    describe_counter!(
        "tollgate_backend_bodies_refused_total",
        count,
        "Requests refused because other requests' bodies took up all the memory there is for them"
    );
    describe_counter!(
        "tollgate_backend_streams_refused_total",
        count,
        "Streams of events that were told to come again, by reason"
    );
    describe_counter!(
        "tollgate_backend_release_downloads_total",
        count,
        "Files of releases that were given, whole or in parts, by version and platform"
    );
    describe_counter!(
        "tollgate_backend_release_files_refused_total",
        count,
        "Files of releases that are not there as they were published, each time one was asked for"
    );
    describe_counter!(
        "tollgate_backend_acknowledgements_total",
        count,
        "Events that apps said something new of, by what they said"
    );
    describe_counter!(
        "tollgate_backend_stripe_requests_total",
        count,
        "Requests to Stripe, by what was asked for and the response's status"
    );
    describe_counter!(
        "tollgate_backend_messages_total",
        count,
        "Messages to users of which something has come, by channel, template and result"
    );
    describe_gauge!(
        "tollgate_backend_events_unacknowledged",
        count,
        "Events that a machine which was there has not acknowledged, by machine and by the least span that they were made in"
    );
    describe_gauge!(
        "tollgate_backend_events_unacknowledged_oldest_seconds",
        Unit::Seconds,
        "Age of the oldest of them; 0 when there is none"
    );
    describe_counter!(
        "tollgate_backend_payments_total",
        count,
        "Payments that came, failed or were given up, each attempt at an invoice that failed, by what was to be paid and result"
    );
    describe_counter!(
        "tollgate_backend_payment_tries_total",
        count,
        "Tries of what was not paid into pods that were made from here, by at whose word and result"
    );
    describe_gauge!("tollgate_backend_subscriptions", count, "Subscriptions, by Stripe's status");
    describe_gauge!("tollgate_backend_memberships", count, "Memberships of pods, by status");
    describe_gauge!("tollgate_backend_memberships_in_grace", count, "Memberships whose grace runs");
    describe_gauge!("tollgate_backend_tickets", count, "Tickets of support, by status");
    describe_histogram!("tollgate_backend_batch_events", count, "Events that shared a transaction");
    let seconds = Unit::Seconds;
    describe_histogram!(
        "tollgate_backend_request_seconds",
        seconds,
        "Time from a request's head to its response, by route"
    );
    describe_histogram!(
        "tollgate_backend_event_lag_seconds",
        seconds,
        "Time from a relay's receipt of an event to the commit that processed it"
    );
    describe_histogram!("tollgate_backend_batch_seconds", seconds, "Time that a transaction of events takes");
    describe_histogram!(
        "tollgate_backend_stream_lag_seconds",
        seconds,
        "Time from an event's commit to its being written to a stream that was open"
    );
    describe_histogram!(
        "tollgate_backend_writer_wait_seconds",
        seconds,
        "Time that the first event of a batch waits for a writer"
    );
}

/// Every metric, as text.
pub async fn render(app: &App, inbox: &Inbox, in_flight: &InFlight) -> String {
    let handle = start();
    if let Some(process) = PROCESS.get() {
        process.collect();
    }
    // Histograms are drained here, and by the timetable: they would grow for as long as nobody looks.
    handle.run_upkeep();
    let mut scraped = Exposition::default();
    scraped.gauge("tollgate_backend_requests_in_flight", "Requests in flight", in_flight.count() as f64);
    let (open, idle) = app.db.connections();
    let used = (open as usize).saturating_sub(idle);
    scraped.gauges(
        "tollgate_backend_database_connections",
        "Open connections to the database, by use",
        "state",
        [("idle", idle as f64), ("used", used as f64)],
    );
    scraped.gauge("tollgate_backend_inbox_waiting", "Requests whose events wait for a writer", inbox.waiting() as f64);
    scraped.gauge(
        "tollgate_backend_events_held",
        "Events that wait because somebody else holds their rows",
        inbox.held() as f64,
    );
    scraped.gauge("tollgate_backend_streams", "Streams of events that are open", app.bells.count() as f64);
    let (bell, rings) = app.bells.line();
    scraped.gauges(
        "tollgate_backend_bell_up",
        "1 when this process hears of events of other processes at once, 0 when it is up to two seconds late; by what tells it",
        "bell",
        [(bell, if rings { 1.0 } else { 0.0 })],
    );
    scraped.gauge(
        "tollgate_backend_refetches_waiting",
        "Objects that wait to be fetched from Stripe because their events left their order open",
        inbox.refetches_waiting() as f64,
    );
    scraped.gauge(
        "tollgate_backend_last_seen_waiting",
        "Machines whose last sign of life is not written yet",
        app.last_seen.count() as f64,
    );
    if let Some(stripe) = &app.stripe {
        scraped.gauge(
            "tollgate_backend_stripe_budget_remaining",
            "Calls that may be made to Stripe at this moment",
            stripe.budget_remaining().floor(),
        );
    }
    let now = app.clock.now();
    expose_tasks(&app.tasks.status(), now, &mut scraped);
    // What is not known is left out: the last number that was would look like a new one.
    let known = timeout(DATABASE_TIMEOUT, trouble(app)).await;
    let up = if matches!(known, Ok(Ok(_))) { 1.0 } else { 0.0 };
    scraped.gauge("tollgate_backend_database_up", "1 when the database answered, else 0", up);
    if let Ok(Ok(known)) = known {
        expose_trouble(&known, now, &mut scraped);
    }
    handle.render() + &scraped.into_text()
}

/// What did not end well.
struct Trouble {
    events: InTrouble,
    /// The dead letters that are open, by source.
    letters: BTreeMap<String, i64>,
    /// When the oldest of Stripe's events among them became one.
    oldest_letter_at: Option<Timestamp>,
    /// How many alerts fire, by name and severity.
    alerts: Vec<(String, String, i64)>,
    /// Messages that wait for their next attempt.
    messages_queued: i64,
}

async fn trouble(app: &App) -> Result<Trouble, DbError> {
    let mut tx = app.read().await?;
    let mut messages_queued = 0;
    for queue in Queue::ALL {
        messages_queued += notifications::queued(&mut tx, queue).await?;
    }
    Ok(Trouble {
        messages_queued,
        events: view::in_trouble(&mut tx).await?,
        letters: dead_letters::open_by_source(&mut tx).await?.into_iter().collect(),
        oldest_letter_at: dead_letters::oldest_open(&mut tx, Source::Webhook).await?,
        alerts: alerts::firing_by_case(&mut tx).await?,
    })
}

fn expose_trouble(known: &Trouble, now: Timestamp, scraped: &mut Exposition) {
    let age = |at: Option<Timestamp>| at.map_or(0.0, |at| (now - at).as_seconds_f64().max(0.0));
    scraped.gauge("tollgate_backend_events_failed", "Events that wait for another attempt", known.events.failed as f64);
    scraped.gauge(
        "tollgate_backend_events_failed_oldest_seconds",
        "Age of the oldest event that waits for another attempt; 0 when there is none",
        age(known.events.oldest_failed_at),
    );
    let letters = |source: Source| known.letters.get(source.name()).copied().unwrap_or_default() as f64;
    scraped.gauges(
        "tollgate_backend_dead_letters",
        "Dead letters that a person should look at, by source",
        "source",
        Source::ALL.map(|source| (source.name(), letters(source))),
    );
    // What an app says may raise no alarm.
    scraped.gauge(
        "tollgate_backend_dead_letter_oldest_seconds",
        "Age of the oldest dead letter of Stripe's events; 0 when there is none",
        age(known.oldest_letter_at),
    );
    scraped.gauge(
        "tollgate_backend_messages_queued",
        "Messages to users that wait for their next attempt",
        known.messages_queued as f64,
    );
    // The names that earlier releases had for those two.
    scraped.gauge(
        "tollgate_backend_events_dead_lettered",
        "Events that a person should look at",
        letters(Source::Webhook),
    );
    scraped.gauge(
        "tollgate_backend_events_dead_lettered_oldest_seconds",
        "Age of the oldest event that a person should look at; 0 when there is none",
        age(known.oldest_letter_at),
    );
    let alerts = AlertName::CASES.map(|(alert, severity)| {
        let (alert, severity) = (alert.name(), severity.name());
        let firing = known.alerts.iter().find(|(name, how, _)| (&**name, &**how) == (alert, severity));
        let labels = format!("{{alert=\"{alert}\",severity=\"{severity}\"}}");
        (labels, firing.map_or(0, |(.., count)| *count) as f64)
    });
    let help = "Alerts that fire, over all processes, by name and severity";
    scraped.gauges_by("tollgate_backend_alerts_firing", help, alerts);
}

/// By name: the writers have one between them.
fn expose_tasks(tasks: &[TaskStatus], now: Timestamp, scraped: &mut Exposition) {
    let mut by_name: BTreeMap<&str, Vec<&TaskStatus>> = BTreeMap::new();
    for task in tasks {
        by_name.entry(task.name).or_default().push(task);
    }
    let runs = by_name.iter().flat_map(|(name, tasks)| {
        let sum = |count: fn(&TaskStatus) -> u64| tasks.iter().map(|task| count(task)).sum::<u64>() as f64;
        [
            (format!("{{task=\"{name}\",result=\"success\"}}"), sum(|task| task.successes)),
            (format!("{{task=\"{name}\",result=\"failure\"}}"), sum(|task| task.failures)),
            (format!("{{task=\"{name}\",result=\"panic\"}}"), sum(|task| task.panics)),
        ]
    });
    scraped.counter("tollgate_backend_task_runs_total", "Runs of background tasks that have ended, by result", runs);
    let alive = |tasks: &[&TaskStatus]| tasks.iter().filter(|task| task.is_alive).count() as f64;
    scraped.gauges(
        "tollgate_backend_tasks_alive",
        "Background tasks that are alive, by name",
        "task",
        by_name.iter().map(|(name, tasks)| (*name, alive(tasks))),
    );
    // A task that runs all the time has no success but its end.
    let last = |tasks: &[&TaskStatus]| {
        tasks.iter().filter(|task| task.interval.is_some()).filter_map(|task| task.last_success_at).max()
    };
    let since =
        by_name.iter().filter_map(|(name, tasks)| Some((*name, (now - last(tasks)?).as_seconds_f64().max(0.0))));
    scraped.gauges(
        "tollgate_backend_task_seconds_since_success",
        "Time since a background task last worked, by name",
        "task",
        since,
    );
}
