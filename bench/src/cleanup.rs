//! Webhooks while `cleanup-events` removes old ones from a table of a million, beside the same webhooks before and after
//! it: a checkpoint of what was filled in before a round slows whatever it meets.

use std::time::Duration;

use anyhow::{Result, ensure};
use bytes::Bytes;
use hyper::Method;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tollgate_tests::stack::{JSON, WEBHOOK_PATH};
use tollgate_tests::wait::wait_until;
use tollgate_tests::{Engine, Stack, StackConfig};

use crate::budget::{Budget, Figure, Limit, at};
use crate::write_path::age;
use crate::{Effort, events};

/// Webhooks a second, each alone: what is measured is how long one takes, not how many there can be.
const WEBHOOKS_A_SECOND: u32 = 100;

/// Which part of the table is removed in all rounds together.
const REMOVED: f64 = 0.5;

/// Rows made by one statement.
const TOGETHER: usize = 10_000;

/// How long a round's old rows may take to be removed, once no webhook comes any more.
const REMOVED_WITHIN: Duration = Duration::from_secs(1800);

/// How long engines are left alone with what a round has written.
const SETTLE: Duration = Duration::from_secs(3);

/// Makes rows of the size of Stripe's events when they are packed; some too old to be kept, some not.
struct Fill {
    old: &'static str,
    kept: &'static str,
}

macro_rules! postgres {
    ($id:literal, $days:literal) => {
        concat!(
            "INSERT INTO webhook_events (id, type, status, attempts, customer_id, object_id, received_at, payload)
             SELECT '",
            $id,
            "' || md5(random()::text), 'type.' || n % 40, CASE WHEN n % 3 = 0 THEN 'ignored' ELSE 'processed' END, 1,
                    'cus_' || (random() * 50000)::int, 'in_' || n, now() - interval '",
            $days,
            " days' - n * interval '1 second', convert_to(repeat(md5(random()::text), 30), 'UTF8')
             FROM generate_series(1, 10000) AS n"
        )
    };
}

macro_rules! sqlite {
    ($id:literal, $days:literal) => {
        concat!(
            "WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 10000)
             INSERT INTO webhook_events (id, type, status, attempts, customer_id, object_id, received_at, payload)
             SELECT '",
            $id,
            "' || hex(randomblob(16)), 'type.' || n % 40, CASE WHEN n % 3 = 0 THEN 'ignored' ELSE 'processed' END, 1,
                    'cus_' || abs(random()) % 50000, 'in_' || n,
                    strftime('%Y-%m-%dT%H:%M:%S.000000Z', 'now', '-",
            $days,
            " days', '-' || n || ' seconds'), randomblob(960)
             FROM s"
        )
    };
}

const POSTGRES: Fill = Fill { old: postgres!("evt_old_", "200"), kept: postgres!("evt_kept_", "1") };
const SQLITE: Fill = Fill { old: sqlite!("evt_old_", "200"), kept: sqlite!("evt_kept_", "1") };

/// Whether old rows are left.
const LEFT: &str =
    "SELECT count(*) FROM (SELECT 1 FROM webhook_events WHERE id > 'evt_old_' AND id < 'evt_oldz' LIMIT 1) AS l";
const KEPT: &str = "SELECT count(*) FROM webhook_events WHERE id > 'evt_kept_' AND id < 'evt_keptz'";
const IN_PROGRESS: &str = "SELECT count(*) FROM cron_runs WHERE job = 'cleanup-events' AND ended_at IS NULL";

pub(crate) async fn measure(effort: Effort) -> Result<Vec<Budget>> {
    let mut budgets = Vec::new();
    for (engine, fill, what) in [
        (Engine::Postgres, POSTGRES, "webhook processed while old events are removed, PostgreSQL: p99"),
        (Engine::Sqlite, SQLITE, "webhook processed while old events are removed, SQLite: p99"),
    ] {
        let (measured, quiet) = Scene::set(engine, fill, effort).await?.rounds(effort).await?;
        let reference = Some(("before and after it", quiet));
        budgets.push(Budget { name: "cleanup", what, unit: "ms", measured, reference, limit: Limit::AtMostTimes(1.1) });
    }
    Ok(budgets)
}

/// Both tiers, and a table with as many rows as are kept.
struct Scene {
    stack: Stack,
    fill: Fill,
    kept: usize,
}

impl Scene {
    async fn set(engine: Engine, fill: Fill, effort: Effort) -> Result<Self> {
        let config = StackConfig { durable: true, ..StackConfig::on(engine) };
        let config = config.relay("RELAY_ACK", "backend").relay("RUST_LOG", "info").backend("RUST_LOG", "info");
        let stack = Stack::spawn(config).await;
        age(&stack.database).await?;
        let kept = (effort.rows as f64 * (1.0 - REMOVED)) as usize / TOGETHER * TOGETHER;
        let scene = Self { stack, fill, kept };
        eprintln!("making {kept} events that are kept");
        scene.make(scene.fill.kept, kept).await;
        scene.stack.database.execute("ANALYZE").await;
        Ok(scene)
    }

    async fn make(&self, rows: &'static str, count: usize) {
        for _ in 0..count / TOGETHER {
            self.stack.database.execute(rows).await;
        }
    }

    /// The p99 of webhooks during clean-ups, and of those before and after them.
    async fn rounds(self, effort: Effort) -> Result<(Figure, Figure)> {
        let a_round = (effort.rows - self.kept) / effort.rounds as usize;
        let seconds = effort.seconds.div_ceil(effort.rounds);
        let (mut during, mut quiet) = (Figure::default(), Figure::default());
        self.webhooks(seconds.min(5)).await?;
        for _ in 0..effort.rounds {
            self.make(self.fill.old, a_round.max(TOGETHER)).await;
            sleep(SETTLE).await;
            quiet.push(at(&self.webhooks(seconds).await?, 0.99));
            self.begin_cleaning().await;
            during.push(at(&self.webhooks(seconds).await?, 0.99));
            if !self.is_being_cleaned().await {
                eprintln!("all old events were gone before the webhooks ended: take more --rows, or fewer --seconds");
            }
            let begun = Instant::now();
            wait_until("every old event is gone", REMOVED_WITHIN, async || !self.is_being_cleaned().await).await;
            eprintln!("the rest was removed in {:.1} s", begun.elapsed().as_secs_f64());
            let (left, kept) = (self.stack.database.number(LEFT).await, self.stack.database.number(KEPT).await);
            ensure!(left == 0 && kept == self.kept as i64, "not the old events were removed, and they alone");
            quiet.push(at(&self.webhooks(seconds).await?, 0.99));
        }
        Ok((during, quiet))
    }

    async fn is_being_cleaned(&self) -> bool {
        self.stack.database.number(IN_PROGRESS).await > 0
    }

    /// Returns when the clean-up is under way.
    async fn begin_cleaning(&self) {
        let secret = self.stack.secrets.backend.iter().find(|(name, _)| name == "CRON_SECRET");
        let bearer = format!("Bearer {}", secret.map(|(_, secret)| &**secret).unwrap_or_default());
        let (http, url) = (self.stack.http.clone(), self.stack.private("/api/cron/cleanup-events"));
        // Nobody waits for its answer, which comes when all is removed.
        tokio::spawn(async move {
            let _ = http.try_send(Method::POST, &url, &[("authorization", &bearer)], Bytes::new()).await;
        });
        wait_until("the clean-up is under way", REMOVED_WITHIN, async || self.is_being_cleaned().await).await;
    }

    /// How long each webhook of so many seconds took, in milliseconds and sorted; all have to be taken.
    async fn webhooks(&self, seconds: u32) -> Result<Vec<f64>> {
        let (fresh, mut under_way) = (events::fresh((seconds * WEBHOOKS_A_SECOND) as usize), JoinSet::new());
        let mut ticks = interval(Duration::from_secs(1) / WEBHOOKS_A_SECOND);
        // One that comes late is made up for.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        for event in fresh {
            ticks.tick().await;
            let (http, url) = (self.stack.http.clone(), self.stack.public(WEBHOOK_PATH));
            let signature = self.stack.signature(&event.body);
            under_way.spawn(async move {
                let begun = Instant::now();
                let answer = http.post(&url, &[("stripe-signature", &signature), JSON], event.body).await;
                (answer.status, begun.elapsed().as_secs_f64() * 1000.0)
            });
        }
        let answers = under_way.join_all().await;
        ensure!(answers.iter().all(|(status, _)| *status == 200), "a webhook was not taken");
        let mut took: Vec<_> = answers.into_iter().map(|(_, took)| took).collect();
        took.sort_by(f64::total_cmp);
        Ok(took)
    }
}
