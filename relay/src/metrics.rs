//! What the relay counts, for `GET /metrics`. Handles are made once: counting an event costs an addition.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::time::Duration;

use metrics::{
    Counter, Gauge, Histogram, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use tollgate_shared::Timestamp;

use tollgate_journal::Stats;

/// Upper bounds of the time it takes to answer a webhook, in seconds: around the 20 ms that 99 of 100 have to meet, and
/// the deadline of 3 s.
const ANSWER_SECONDS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 3.0, 10.0];

/// Samples of a histogram are kept one by one until they are folded, which has to happen also while nobody reads them.
pub const FOLD_EVERY: Duration = Duration::from_secs(5);

/// Everything that is counted.
pub struct Metrics {
    recorder: PrometheusRecorder,
    prometheus: PrometheusHandle,
    handles: Handles,
}

/// One handle a thing that is counted.
pub struct Handles {
    webhooks: BTreeMap<&'static str, Counter>,
    webhook_seconds: Histogram,
    secrets: Vec<SecretUse>,
    journal: JournalGauges,
    /// Requests to the backend's intake.
    pub forward_requests: Counter,
    /// Events that the backend confirmed.
    pub forward_confirmed: Counter,
    /// Deliveries of an event that the backend did not confirm.
    pub forward_unconfirmed: Counter,
    /// Events that went to the journal alone because too many were waiting in memory.
    pub forward_spilled: Counter,
    /// Connections to the public listener.
    pub connections: Gauge,
}

/// How much one webhook secret is used: one that no event is signed under any more can be taken out of the list.
struct SecretUse {
    matches: Counter,
    last_match: Gauge,
}

struct JournalGauges {
    unconfirmed: Gauge,
    oldest_unconfirmed_seconds: Gauge,
    bytes: Gauge,
    segments: Gauge,
    can_append: Gauge,
    failures: Counter,
}

impl Metrics {
    /// The metrics of a relay with so many webhook secrets, whose webhooks are answered with one of `codes`.
    pub fn new(secrets: usize, codes: &[&'static str]) -> Self {
        let recorder = PrometheusBuilder::new()
            .set_buckets(&ANSWER_SECONDS)
            .expect("the list of buckets is not empty")
            .build_recorder();
        let handles = metrics::with_local_recorder(&recorder, || {
            describe();
            Handles::new(secrets, codes)
        });
        Self { prometheus: recorder.handle(), recorder, handles }
    }

    /// Makes something that counts by name, with these as its metrics.
    pub fn within<T>(&self, make: impl FnOnce() -> T) -> T {
        metrics::with_local_recorder(&self.recorder, make)
    }

    /// A webhook was answered.
    pub fn webhook(&self, code: &str, took: Duration) {
        if let Some(counter) = self.webhooks.get(code) {
            counter.increment(1);
        }
        self.webhook_seconds.record(took);
    }

    /// The secret at `place` in the list has matched.
    pub fn secret_matched(&self, place: usize, now: Timestamp) {
        if let Some(secret) = self.secrets.get(place) {
            secret.matches.increment(1);
            secret.last_match.set(now.timestamp() as f64);
        }
    }

    /// Folds the samples of histograms; to be called every [`FOLD_EVERY`].
    pub fn fold(&self) {
        self.prometheus.run_upkeep();
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
            },
            forward_requests: counter!("tollgate_relay_forward_requests_total"),
            forward_confirmed: counter!("tollgate_relay_forwarded_events_total", "result" => "confirmed"),
            forward_unconfirmed: counter!("tollgate_relay_forwarded_events_total", "result" => "unconfirmed"),
            forward_spilled: counter!("tollgate_relay_spilled_events_total"),
            connections: gauge!("tollgate_relay_connections"),
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
    fn of(place: usize) -> Self {
        let place = place.to_string();
        Self {
            matches: counter!("tollgate_relay_webhook_secret_matches_total", "secret" => place.clone()),
            last_match: gauge!("tollgate_relay_webhook_secret_last_match_timestamp_seconds", "secret" => place),
        }
    }
}

fn describe() {
    describe_counter!("tollgate_relay_webhooks_total", "Webhooks answered, by answer.");
    describe_histogram!("tollgate_relay_webhook_seconds", "Time from a webhook's headers to its answer.");
    describe_counter!(
        "tollgate_relay_webhook_secret_matches_total",
        "Events signed under the webhook secret at this place of the list."
    );
    describe_gauge!(
        "tollgate_relay_webhook_secret_last_match_timestamp_seconds",
        "When an event was last signed under the webhook secret at this place of the list; 0: not since the start."
    );
    describe_gauge!("tollgate_relay_unconfirmed_events", "Events in the journal that the backend has yet to confirm.");
    describe_gauge!("tollgate_relay_oldest_unconfirmed_seconds", "Age of the oldest of those; 0 when there is none.");
    describe_gauge!("tollgate_relay_journal_bytes", "Size of the journal on disk.");
    describe_gauge!("tollgate_relay_journal_segments", "Files of the journal.");
    describe_gauge!("tollgate_relay_journal_can_append", "1 while the journal takes events, else 0.");
    describe_counter!("tollgate_relay_journal_failures_total", "Writes and syncs of the journal that failed.");
    describe_counter!("tollgate_relay_forward_requests_total", "Requests to the backend's intake.");
    describe_counter!("tollgate_relay_forwarded_events_total", "Deliveries of an event to the backend, by result.");
    describe_counter!(
        "tollgate_relay_spilled_events_total",
        "Events left to the journal because too many waited in memory."
    );
    describe_gauge!("tollgate_relay_connections", "Connections to the public listener.");
}
