//! Over any span the sums of trends are those of the tables, whenever and however often the job ran.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tollgate_db::Db;
use tollgate_shared::clock::{from_unix, rfc3339};
use tollgate_shared::{Rng, Timestamp};
use tollgate_tests::stripe::story::{self, Pace};
use tollgate_tests::stripe::{ApiVersion, DAY, Event, Stripe};

use super::job;
use crate::on_each_engine;
use crate::testing::{START, TestApp, event};
use crate::webhooks::routes::INTAKE_PATH;

/// The metrics that add up.
const METRICS: [&str; 9] = [
    "events",
    "events_failed",
    "dead_letters",
    "payments_succeeded",
    "payments_failed",
    "revenue",
    "subscriptions_started",
    "subscriptions_ended",
    "messages_failed",
];

/// Sums by key.
type Sums = BTreeMap<String, i64>;

struct Scene {
    app: TestApp,
    rng: Rng,
    seed: u64,
}

impl Scene {
    async fn on(db: Db, seed: u64) -> Self {
        Self { app: TestApp::on(db).await, rng: Rng::seeded(seed), seed }
    }

    fn below(&self, bound: i64) -> i64 {
        (self.rng.unit() * bound as f64) as i64
    }

    fn chance(&self, probability: f64) -> bool {
        self.rng.unit() < probability
    }

    /// What happens to some customers in some weeks, each event with the time at which it comes: some late, some very late.
    fn deliveries(&self) -> Vec<(i64, Event)> {
        let lives = (0..3).flat_map(|life| {
            let mut stripe = Stripe::new(self.seed * 10 + life);
            stripe.now = START + self.below(10 * DAY);
            story::generated(&mut stripe, self.seed * 10 + life, 10, Pace::Apart);
            stripe.occurrences
        });
        let mut deliveries: Vec<_> = lives
            .filter(|occurrence| ApiVersion::Endive.has(occurrence.event_type))
            .map(|occurrence| {
                let late = match self.below(10) {
                    0 => self.below(20 * DAY),
                    1 | 2 => self.below(DAY),
                    _ => self.below(60),
                };
                (occurrence.created + late, occurrence.event(ApiVersion::Endive))
            })
            .collect();
        deliveries.sort_by_key(|(at, _)| *at);
        deliveries
    }

    async fn is_told(&self) {
        for (number, (at, event)) in self.deliveries().into_iter().enumerate() {
            let wait = at - self.app.inner.clock.now().timestamp();
            self.app.inner.clock.advance(Duration::from_secs(wait.max(0).unsigned_abs()));
            self.app.take_all(&[event]).await;
            match self.below(40) {
                0 | 1 => self.make().await,
                2 | 3 => self.check(0.3).await,
                4 => self.goes_wrong(number).await,
                _ => {}
            }
        }
        self.check(1.0).await;
        self.make().await;
        self.check(1.0).await;
    }

    /// Something that can never work, and a message that could not be sent.
    async fn goes_wrong(&self, number: usize) {
        let unreadable =
            event(&format!("evt_bad_{number}"), "customer.subscription.updated", &json!({ "object": "subscription" }));
        assert_eq!(self.app.post(INTAKE_PATH, &unreadable).await.status, 200);
        let mut tx = self.app.inner.begin_write().await.unwrap();
        let sql = "UPDATE messages SET status = 'dead_lettered', next_attempt_at = NULL
                   WHERE id = (SELECT max(id) FROM messages)";
        tx.sql(sql).run().await.unwrap();
        tx.commit().await.unwrap();
    }

    async fn make(&self) {
        for _ in 0..=self.below(2) {
            job::make(&self.app.inner, |_| ()).await.unwrap();
        }
    }

    /// Looks at a span of some hours, and at one of some days: at this share of the metrics.
    async fn check(&self, share: f64) {
        let now = self.app.inner.clock.now().timestamp();
        for (step, longest) in [("hour", 900 * 3600), ("day", 80 * DAY)] {
            let to = if self.chance(0.5) { now + 3600 } else { now - self.below(30 * DAY) };
            let from = to - self.below(longest);
            // Half of the spans are of whole hours.
            let [from, to] = if self.chance(0.5) { [from, to] } else { [from, to].map(|at| at - at.rem_euclid(3600)) };
            let [from, to] = [from, to].map(|at| from_unix(at).unwrap());
            for metric in METRICS.into_iter().filter(|_| self.chance(share)) {
                let query = format!("trends?metric={metric}&step={step}&from={}&to={}", rfc3339(from), rfc3339(to));
                let trend = self.app.analytics(&query).await.json();
                let told = sums_of(&trend);
                let counted = self.counted(metric, from, to).await;
                assert_eq!(
                    told,
                    counted,
                    "TOLLGATE_SEED={} {query} at {}",
                    self.seed,
                    rfc3339(self.app.inner.clock.now())
                );
            }
        }
    }

    /// The same by the tables, row by row.
    async fn counted(&self, metric: &str, from: Timestamp, to: Timestamp) -> Sums {
        let mut tx = self.app.inner.read().await.unwrap();
        let is_within = |at: &Timestamp| *at >= from && *at < to;
        let count = |times: Vec<(Timestamp,)>| times.iter().filter(|(at,)| is_within(at)).count() as i64;
        let alone = |count: i64| Sums::from([(String::new(), count)]);
        match metric {
            "events" => alone(count(tx.sql("SELECT received_at FROM webhook_events").all().await.unwrap())),
            "events_failed" => {
                let sql = "SELECT received_at FROM webhook_events WHERE status IN ('failed', 'dead_lettered')";
                alone(count(tx.sql(sql).all().await.unwrap()))
            }
            "dead_letters" => alone(count(tx.sql("SELECT created_at FROM dead_letters").all().await.unwrap())),
            "messages_failed" => {
                let sql = "SELECT created_at FROM messages WHERE status = 'dead_lettered'";
                alone(count(tx.sql(sql).all().await.unwrap()))
            }
            "payments_failed" => {
                let sql = "SELECT last_failed_at FROM invoices WHERE last_failed_at IS NOT NULL";
                let invoices = count(tx.sql(sql).all().await.unwrap());
                let sql = "SELECT seen_at FROM payments
                           WHERE failure_code IS NOT NULL AND belongs_to IS NULL AND kind <> 'invoice' AND status <> 'succeeded'";
                alone(invoices + count(tx.sql(sql).all().await.unwrap()))
            }
            "payments_succeeded" | "revenue" => {
                let sql = "SELECT paid_at, amount, currency FROM payments
                           WHERE paid_at IS NOT NULL AND status = 'succeeded' AND belongs_to IS NULL";
                let paid: Vec<(Timestamp, i64, Option<String>)> = tx.sql(sql).all().await.unwrap();
                let paid: Vec<_> = paid.into_iter().filter(|(at, amount, _)| is_within(at) && *amount > 0).collect();
                if metric == "payments_succeeded" {
                    return alone(paid.len() as i64);
                }
                let mut sums = Sums::new();
                for (_, amount, currency) in paid {
                    *sums.entry(currency.expect("what was paid is of a currency")).or_default() += amount;
                }
                sums.insert(String::new(), sums.values().sum());
                sums
            }
            _ => {
                let sql = "SELECT at, from_value, to_value FROM changes WHERE change = 'status'";
                let changes: Vec<(Timestamp, Option<String>, Option<String>)> = tx.sql(sql).all().await.unwrap();
                let runs = |status: &Option<String>| {
                    matches!(status.as_deref(), Some("trialing" | "active" | "past_due" | "unpaid" | "paused"))
                };
                let is_it = |(at, was, is): &&(Timestamp, Option<String>, Option<String>)| {
                    let [before, after] = if metric == "subscriptions_started" { [was, is] } else { [is, was] };
                    is_within(at) && !runs(before) && runs(after)
                };
                alone(changes.iter().filter(is_it).count() as i64)
            }
        }
    }
}

/// The sums of a trend's points, by key; under the empty one that of their values.
fn sums_of(trend: &Value) -> Sums {
    let mut sums = Sums::from([(String::new(), 0)]);
    for point in trend["points"].as_array().unwrap_or_else(|| panic!("{trend}")) {
        *sums.entry(String::new()).or_default() += point["value"].as_i64().unwrap();
        for (key, value) in point["by"].as_object().unwrap() {
            *sums.entry(key.clone()).or_default() += value.as_i64().unwrap();
        }
    }
    sums
}

#[test]
fn the_sums_of_trends_are_those_of_the_tables() {
    on_each_engine!(async |db| Scene::on(db, story::seeds(1, 1).start).await.is_told().await);
}

mod long {
    use super::*;

    #[test]
    fn the_sums_of_many_stories_are_those_of_the_tables() {
        for seed in story::seeds(2, 40) {
            println!("TOLLGATE_SEED={seed}");
            on_each_engine!(async |db| Scene::on(db, seed).await.is_told().await);
        }
    }
}
