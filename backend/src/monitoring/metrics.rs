//! Metrics, in Prometheus's text format. Other modules count by name; here the names are described, and what only the
//! database knows is asked at each scrape.

use std::sync::OnceLock;
use std::time::Duration;

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::time::timeout;

use crate::app::App;
use crate::db::DbError;
use crate::http::in_flight::InFlight;
use crate::webhooks;

/// How long the database is waited for when somebody looks: Prometheus gives up after ten seconds.
const DATABASE_WAIT: Duration = Duration::from_secs(2);

/// The sizes of a batch that are told apart: the writer takes at most 64.
const BATCH_BUCKETS: [f64; 7] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0];

/// Starts counting. Once a process: what is counted before is lost, and further calls change nothing.
pub fn start() -> &'static PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(|| {
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Full("tollgate_backend_batch_events".to_owned()), &BATCH_BUCKETS)
            .expect("there are buckets")
            .build_recorder();
        let handle = recorder.handle();
        // An error means that another recorder counts in this process; ours then shows nothing, which is seen at once.
        let _ = metrics::set_global_recorder(recorder);
        describe();
        handle
    })
}

fn describe() {
    describe_counter!(
        "tollgate_backend_requests_total",
        Unit::Count,
        "Requests that were answered, by route and status"
    );
    describe_counter!(
        "tollgate_backend_events_total",
        Unit::Count,
        "Events that were answered, by outcome and class of type"
    );
    describe_counter!(
        "tollgate_backend_events_of_unknown_version_total",
        Unit::Count,
        "Events of an API version that this release does not know"
    );
    describe_counter!(
        "tollgate_backend_subscriptions_without_plan_total",
        Unit::Count,
        "Snapshots of subscriptions of which no plan matches an item"
    );
    describe_histogram!("tollgate_backend_batch_events", Unit::Count, "Events that shared a transaction");
    describe_gauge!("tollgate_backend_events_failed", Unit::Count, "Events that wait for another attempt");
    describe_gauge!("tollgate_backend_events_dead_lettered", Unit::Count, "Events that a person should look at");
    describe_gauge!("tollgate_backend_database_up", Unit::Count, "1 when the database answered, else 0");
    describe_gauge!("tollgate_backend_database_connections", Unit::Count, "Open connections to the database, by use");
    describe_gauge!("tollgate_backend_requests_in_flight", Unit::Count, "Requests in flight");
}

/// Everything that is counted, as text.
pub async fn render(app: &App, in_flight: &InFlight) -> String {
    let handle = start();
    gauge!("tollgate_backend_requests_in_flight").set(in_flight.count() as f64);
    let (open, idle) = app.db.connections();
    gauge!("tollgate_backend_database_connections", "state" => "idle").set(idle as f64);
    gauge!("tollgate_backend_database_connections", "state" => "used").set((open as usize).saturating_sub(idle) as f64);
    let known = timeout(DATABASE_WAIT, in_trouble(app)).await;
    gauge!("tollgate_backend_database_up").set(if matches!(known, Ok(Ok(_))) { 1.0 } else { 0.0 });
    if let Ok(Ok((failed, dead_lettered))) = known {
        gauge!("tollgate_backend_events_failed").set(failed as f64);
        gauge!("tollgate_backend_events_dead_lettered").set(dead_lettered as f64);
    }
    // Histograms are drained here, or they would grow for as long as nobody looks; see `upkeep`.
    handle.run_upkeep();
    handle.render()
}

async fn in_trouble(app: &App) -> Result<(i64, i64), DbError> {
    let mut tx = app.db.read().await?;
    webhooks::view::in_trouble(&mut tx).await
}

/// Keeps histograms from growing while nobody looks. Ends with the process.
pub async fn upkeep() {
    let handle = start();
    let mut ticks = tokio::time::interval(Duration::from_secs(5));
    loop {
        ticks.tick().await;
        handle.run_upkeep();
    }
}
