//! Metrics, for `GET /metrics`. Handles are made once: counting an event costs an addition.

mod refusals;

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use metrics::{
    Counter, Gauge, Histogram, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use tollgate_journal::Stats;
use tollgate_shared::Timestamp;
use tollgate_shared::process::metrics::ProcessMetrics;

pub use refusals::{Fault, Refusals};

/// Upper bounds of the time it takes to answer a webhook, in seconds: around the 20 ms that 99 of 100 have to meet, and
/// the deadline of 3 s.
const RESPONSE_SECONDS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 3.0, 10.0];

/// Samples of a histogram are kept one by one until upkeep folds them, which has to happen also while nobody reads them.
pub const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// How many events a request to the backend holds: a histogram with bounds of its own.
const BATCH_EVENTS: &str = "tollgate_relay_forward_batch_events";
const BATCH_EVENTS_BOUNDS: [f64; 7] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0];

/// How a request to the backend can end; `none`: without a whole response.
const STATUS_CLASSES: [&str; 6] = ["2xx", "3xx", "4xx", "5xx", "other", "none"];

fn status_class(status: StatusCode) -> &'static str {
    match status.as_u16() / 100 {
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        5 => "5xx",
        _ => "other",
    }
}

/// Everything that is counted.
pub struct Metrics {
    recorder: Arc<PrometheusRecorder>,
    prometheus: PrometheusHandle,
    handles: Handles,
    process: ProcessMetrics,
    /// Requests that are refused.
    pub refusals: Arc<Refusals>,
}

/// One handle a thing that is counted.
pub struct Handles {
    webhooks: BTreeMap<&'static str, Counter>,
    webhook_seconds: Histogram,
    secrets: Vec<SecretUse>,
    journal: JournalGauges,
    /// How long the journal's commits take.
    pub journal_commit_seconds: Histogram,
    forward_requests: [(&'static str, Counter); 6],
    forward_seconds: Histogram,
    forward_batch_events: Histogram,
    /// 1 while the backend can be reached, is ready and takes events, as far as is known; else 0.
    pub backend_up: Gauge,
    /// The events that wait for a later delivery, or are on one.
    pub redeliveries: RedeliveryGauges,
    forward_confirmed: Counter,
    forward_unconfirmed: Counter,
    /// Events that went to the journal alone because too many were waiting in memory.
    pub forward_spilled: Counter,
    /// Bytes of webhooks' bodies that are being read or worked on.
    pub body_bytes: Gauge,
}

/// How much one webhook secret is used: one that no event is signed under any more can be taken out of the list.
struct SecretUse {
    matches: Counter,
    last_match: Gauge,
}

/// Events whose first delivery has failed or was not tried, by state.
pub struct RedeliveryGauges {
    due: Gauge,
    waiting: Gauge,
    in_flight: Gauge,
}

impl RedeliveryGauges {
    /// So many are due, wait for their time, and are in flight.
    pub fn set(&self, due: usize, waiting: usize, in_flight: usize) {
        for (gauge, events) in [(&self.due, due), (&self.waiting, waiting), (&self.in_flight, in_flight)] {
            gauge.set(events as f64);
        }
    }
}

struct JournalGauges {
    unconfirmed: Gauge,
    oldest_unconfirmed_seconds: Gauge,
    bytes: Gauge,
    segments: Gauge,
    can_append: Gauge,
    failures: Counter,
    last_failure: Gauge,
    damaged_bytes: Gauge,
}

impl Metrics {
    /// The metrics of a relay with so many webhook secrets, whose webhooks are answered with one of `codes`.
    pub fn new(secrets: usize, codes: &[&'static str]) -> Self {
        let recorder = PrometheusBuilder::new()
            .set_buckets(&RESPONSE_SECONDS)
            .and_then(|builder| {
                builder.set_buckets_for_metric(Matcher::Full(BATCH_EVENTS.into()), &BATCH_EVENTS_BOUNDS)
            })
            .expect("the lists of buckets are not empty")
            .build_recorder();
        let prometheus = recorder.handle();
        let recorder = Arc::new(recorder);
        let (handles, process) = metrics::with_local_recorder(&*recorder, || {
            describe();
            (Handles::new(secrets, codes), ProcessMetrics::new("tollgate_relay", env!("CARGO_PKG_VERSION")))
        });
        Self { prometheus, handles, process, refusals: Arc::new(Refusals::new(Arc::clone(&recorder))), recorder }
    }

    /// Makes something that counts by name, with these as its metrics.
    pub fn with_recorder<T>(&self, make: impl FnOnce() -> T) -> T {
        metrics::with_local_recorder(&*self.recorder, make)
    }

    /// A webhook was answered.
    pub fn webhook(&self, code: &str, took: Duration) {
        if let Some(counter) = self.webhooks.get(code) {
            counter.increment(1);
        }
        self.webhook_seconds.record(took);
    }

    /// The secret at `index` in the list has matched.
    pub fn secret_matched(&self, index: usize, now: Timestamp) {
        if let Some(secret) = self.secrets.get(index) {
            secret.matches.increment(1);
            secret.last_match.set(now.timestamp() as f64);
        }
    }

    /// A request to the backend's intake has ended after `took`, with a whole response of this status or with none: so
    /// many events were in it, and so many of them were confirmed.
    pub fn forwarded(&self, events: usize, confirmed: usize, status: Option<StatusCode>, took: Duration) {
        let class = status.map_or("none", status_class);
        for (_, counter) in self.forward_requests.iter().filter(|(name, _)| *name == class) {
            counter.increment(1);
        }
        self.forward_seconds.record(took);
        self.forward_batch_events.record(events as f64);
        self.forward_confirmed.increment(confirmed as u64);
        self.forward_unconfirmed.increment((events - confirmed) as u64);
    }

    /// Folds the samples of histograms, and logs what refusals were not logged; to be called every [`UPKEEP_INTERVAL`].
    pub fn run_upkeep(&self) {
        self.prometheus.run_upkeep();
        self.refusals.log_held_back();
    }

    /// Everything, as Prometheus reads it.
    pub fn render(&self, journal: &Stats, now: Timestamp) -> String {
        let age = journal.oldest_unconfirmed_at.map(|oldest| (now - oldest).num_milliseconds().max(0) as f64 / 1000.0);
        self.journal.unconfirmed.set(journal.unconfirmed as f64);
        self.journal.oldest_unconfirmed_seconds.set(age.unwrap_or(0.0));
        self.journal.bytes.set(journal.bytes as f64);
        self.journal.segments.set(journal.segments as f64);
        self.journal.can_append.set(f64::from(u8::from(journal.can_append)));
        self.journal.failures.absolute(journal.failures);
        self.journal.last_failure.set(journal.last_failure_at.map_or(0.0, |at| at.timestamp() as f64));
        self.journal.damaged_bytes.set(journal.damaged_bytes as f64);
        self.with_recorder(|| self.process.collect());
        self.prometheus.render()
    }
}

impl Handles {
    fn new(secrets: usize, codes: &[&'static str]) -> Self {
        let webhooks = |code: &&'static str| (*code, counter!("tollgate_relay_webhooks_total", "answer" => *code));
        Self {
            webhooks: codes.iter().map(webhooks).collect(),
            webhook_seconds: histogram!("tollgate_relay_webhook_seconds"),
            secrets: (0..secrets).map(SecretUse::of).collect(),
            journal: JournalGauges {
                unconfirmed: gauge!("tollgate_relay_unconfirmed_events"),
                oldest_unconfirmed_seconds: gauge!("tollgate_relay_oldest_unconfirmed_seconds"),
                bytes: gauge!("tollgate_relay_journal_bytes"),
                segments: gauge!("tollgate_relay_journal_segments"),
                can_append: gauge!("tollgate_relay_journal_can_append"),
                failures: counter!("tollgate_relay_journal_failures_total"),
                last_failure: gauge!("tollgate_relay_journal_last_failure_timestamp_seconds"),
                damaged_bytes: gauge!("tollgate_relay_journal_damaged_bytes"),
            },
            journal_commit_seconds: histogram!("tollgate_relay_journal_commit_seconds"),
            forward_requests: STATUS_CLASSES
                .map(|class| (class, counter!("tollgate_relay_forward_requests_total", "status" => class))),
            forward_seconds: histogram!("tollgate_relay_forward_seconds"),
            forward_batch_events: histogram!(BATCH_EVENTS),
            redeliveries: RedeliveryGauges {
                due: gauge!("tollgate_relay_redelivery_events", "state" => "due"),
                waiting: gauge!("tollgate_relay_redelivery_events", "state" => "waiting"),
                in_flight: gauge!("tollgate_relay_redelivery_events", "state" => "in_flight"),
            },
            forward_confirmed: counter!("tollgate_relay_forwarded_events_total", "result" => "confirmed"),
            forward_unconfirmed: counter!("tollgate_relay_forwarded_events_total", "result" => "unconfirmed"),
            forward_spilled: counter!("tollgate_relay_spilled_events_total"),
            body_bytes: gauge!("tollgate_relay_body_bytes"),
            backend_up: gauge!("tollgate_relay_backend_up"),
        }
    }
}

impl Deref for Metrics {
    type Target = Handles;

    fn deref(&self) -> &Handles {
        &self.handles
    }
}

impl SecretUse {
    fn of(index: usize) -> Self {
        let index = index.to_string();
        Self {
            matches: counter!("tollgate_relay_webhook_secret_matches_total", "secret" => index.clone()),
            last_match: gauge!("tollgate_relay_webhook_secret_last_match_timestamp_seconds", "secret" => index),
        }
    }
}

fn describe() {
    describe_counter!("tollgate_relay_webhooks_total", "Webhooks answered, by answer.");
    describe_histogram!("tollgate_relay_webhook_seconds", "Time from a webhook's headers to its answer.");
    describe_counter!(
        "tollgate_relay_webhook_secret_matches_total",
        "Events signed under the webhook secret at this index of the list."
    );
    describe_gauge!(
        "tollgate_relay_webhook_secret_last_match_timestamp_seconds",
        "When an event was last signed under the webhook secret at this index of the list; 0: not since the start."
    );
    describe_gauge!("tollgate_relay_unconfirmed_events", "Events in the journal that the backend has yet to confirm.");
    describe_gauge!("tollgate_relay_oldest_unconfirmed_seconds", "Age of the oldest of those; 0 when there is none.");
    describe_gauge!("tollgate_relay_journal_bytes", "Size of the journal on disk.");
    describe_gauge!("tollgate_relay_journal_segments", "Files of the journal.");
    describe_gauge!("tollgate_relay_journal_can_append", "1 while the journal takes events, else 0.");
    describe_counter!("tollgate_relay_journal_failures_total", "Writes and syncs of the journal that failed.");
    describe_gauge!(
        "tollgate_relay_journal_last_failure_timestamp_seconds",
        "When a write or sync of the journal last failed; 0: not since the start."
    );
    describe_gauge!(
        "tollgate_relay_journal_damaged_bytes",
        "Bytes of the journal that the start could not read; their files are kept."
    );
    describe_histogram!("tollgate_relay_journal_commit_seconds", "Time that a write and a sync of the journal take.");
    describe_counter!(
        "tollgate_relay_forward_requests_total",
        "Requests to the backend's intake, by status class of the response; none: without a whole one."
    );
    describe_histogram!(
        "tollgate_relay_forward_seconds",
        "Time from a request to the backend's intake to its response."
    );
    describe_histogram!(BATCH_EVENTS, "Events in a request to the backend's intake.");
    describe_gauge!(
        "tollgate_relay_backend_up",
        "1 while the backend can be reached, is ready and takes events, as far as is known; else 0."
    );
    describe_gauge!(
        "tollgate_relay_redelivery_events",
        "Events whose first delivery failed or was not tried, by state."
    );
    describe_counter!("tollgate_relay_forwarded_events_total", "Deliveries of an event to the backend, by result.");
    describe_counter!(
        "tollgate_relay_spilled_events_total",
        "Events left to the journal because too many waited in memory."
    );
    describe_gauge!("tollgate_relay_body_bytes", "Bytes of webhooks' bodies that are being read or worked on.");
}
