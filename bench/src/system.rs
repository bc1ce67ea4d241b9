//! Both tiers and PostgreSQL, until every event is processed.

use std::time::Duration;

use anyhow::Result;
use tokio::time::Instant;
use tollgate_tests::{Engine, Stack, StackConfig};

use crate::budget::{Budget, Figure, Limit};
use crate::relay::micros_each;
use crate::write_path::age;
use crate::{AT_ONCE, Effort, cpu, events, load};

/// Nothing that a round leaves behind takes longer to be delivered.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(300);

pub(crate) async fn measure(effort: Effort) -> Result<Vec<Budget>> {
    // In flight until it is processed, and in flight until it is durable: then the journal is far ahead of the backend.
    let processed = Met::with("backend", effort).await?;
    let durable = Met::with("durable", effort).await?;
    let [all, of_relay, of_backend, of_postgres] = processed.cpu;
    let line = |what, unit, measured, limit| Budget { name: "system", what, unit, measured, reference: None, limit };
    Ok(vec![
        line("both tiers until every event is processed, 64 in flight: CPU an event", "µs", all, Limit::AtMost(140.0)),
        line("… of it the relay's", "µs", of_relay, Limit::Nothing),
        line("… of it the backend's", "µs", of_backend, Limit::Nothing),
        line("… of it PostgreSQL's", "µs", of_postgres, Limit::Nothing),
        line("… events processed (the load generator shares the cores)", "events/s", processed.rate, Limit::Nothing),
        line("webhook answered when processed, 64 at a time: p99", "ms", processed.p99, Limit::AtMost(20.0)),
        line("webhook answered when durable, 64 at a time: p99", "ms", durable.p99, Limit::AtMost(20.0)),
    ])
}

/// What rounds with one setting of `RELAY_ACK` came to.
#[derive(Default)]
struct Met {
    /// Of all, the relay, the backend and PostgreSQL: microseconds an event.
    cpu: [Figure; 4],
    /// Events a second until all are processed.
    rate: Figure,
    /// Of the answers, in milliseconds.
    p99: Figure,
}

impl Met {
    async fn with(ack: &str, effort: Effort) -> Result<Self> {
        let config = StackConfig { durable: true, ..StackConfig::on(Engine::Postgres) };
        let config = config.relay("RELAY_ACK", ack).relay("RUST_LOG", "info").backend("RUST_LOG", "info");
        let stack = Stack::prepare(config).await;
        age(&stack.database).await?;
        let (backend, relay) = (stack.backends[0].program().start(), stack.relay.program().start());
        for tier in [&stack.backends[0], &stack.relay] {
            tier.ready(&stack.http).await;
        }
        let postgres = cpu::PostgresServer::find(&stack.database.url()).await?;

        let mut met = Self::default();
        for round in 0..=effort.rounds {
            let count = if round == 0 { AT_ONCE * 16 } else { effort.events };
            let fresh = events::fresh(count);
            let spent = || anyhow::Ok([cpu::of_process(relay.id())?, cpu::of_process(backend.id())?, postgres.cpu()?]);
            let before = spent()?;
            let started = Instant::now();
            let load = load::send(stack.relay.address, &stack.secrets.webhook, &fresh).await?;
            stack.settled_within(DELIVERY_TIMEOUT).await;
            let took = started.elapsed();
            // The first round warms up and does not count.
            if round > 0 {
                let each: Vec<f64> = spent()?
                    .iter()
                    .zip(before)
                    .map(|(after, before)| micros_each(after.saturating_sub(before), count))
                    .collect();
                met.cpu[0].push(each.iter().sum());
                met.cpu[1..].iter_mut().zip(each).for_each(|(figure, each)| figure.push(each));
                met.rate.push(count as f64 / took.as_secs_f64());
                met.p99.push(load.latency.p99.as_secs_f64() * 1000.0);
            }
        }
        Ok(met)
    }
}
