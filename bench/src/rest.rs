//! What both tiers take before anything happens: time to start, memory at rest.

use std::time::Duration;

use anyhow::{Result, ensure};
use bytes::Bytes;
use hyper::Method;
use tokio::time::Instant;
use tollgate_tests::http::Http;
use tollgate_tests::process::Process;
use tollgate_tests::stack::{STOP_TIMEOUT, Tier};
use tollgate_tests::wait::SOON;
use tollgate_tests::{Engine, Stack, StackConfig};

use crate::budget::{Budget, Figure, Limit};
use crate::{Effort, cpu};

/// Between two looks at a process that starts: fine enough for a limit of hundreds of milliseconds.
const POLL_INTERVAL: Duration = Duration::from_millis(2);

const MIB: f64 = 1024.0 * 1024.0;

pub(crate) async fn measure(effort: Effort) -> Result<Vec<Budget>> {
    let config = StackConfig::on(Engine::Sqlite).relay("RUST_LOG", "info").backend("RUST_LOG", "info");
    // The tables are made once, before: a start is that of every other day.
    let mut stack = Stack::spawn(config).await;
    stack.relay.terminate().await;
    stack.backend().terminate().await;
    let (mut starts, mut memory): ([Figure; 2], [Figure; 2]) = Default::default();
    for _ in 0..effort.rounds {
        let mut running = Vec::new();
        for (index, tier) in [&stack.backends[0], &stack.relay].into_iter().enumerate() {
            let (process, took) = start(tier, &stack.http).await?;
            starts[index].push(took.as_secs_f64() * 1000.0);
            running.push(process);
        }
        for (index, process) in running.iter().enumerate() {
            memory[index].push(cpu::resident_bytes(process.id())? as f64 / MIB);
        }
        for mut process in running {
            process.terminate(STOP_TIMEOUT).await;
        }
    }
    let [backend_start, relay_start] = starts;
    let [backend_memory, relay_memory] = memory;
    let line = |what, unit, measured, limit| Budget { name: "rest", what, unit, measured, reference: None, limit };
    Ok(vec![
        line("relay, memory at rest", "MiB", relay_memory, Limit::AtMost(20.0)),
        line("backend, memory at rest (SQLite)", "MiB", backend_memory, Limit::AtMost(60.0)),
        line("relay, from start to ready", "ms", relay_start, Limit::AtMost(300.0)),
        line("backend, from start to ready (SQLite)", "ms", backend_start, Limit::AtMost(300.0)),
    ])
}

/// Starts a tier; how long it took to its first good `/ready`.
async fn start(tier: &Tier, http: &Http) -> Result<(Process, Duration)> {
    let url = tier.admin_url("/ready");
    let started = Instant::now();
    let process = tier.program().start();
    loop {
        if http.try_send(Method::GET, &url, &[], Bytes::new()).await.is_ok_and(|answer| answer.status == 200) {
            return Ok((process, started.elapsed()));
        }
        ensure!(started.elapsed() < SOON, "not ready within {SOON:?}:\n{}", tier.log());
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}
