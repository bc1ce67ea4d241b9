//! Sends a load of signed events to a relay on a loopback address and says what came of it, as JSON.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, ensure};
use clap::Parser;
use serde_json::json;
use tollgate_tests::load::{self, LoadPlan, Repeats};
use tollgate_tests::stack::WEBHOOK_PATH;

/// Sends signed events to a relay. The signing secret comes from STRIPE_WEBHOOK_SECRET.
#[derive(Debug, Parser)]
struct Arguments {
    /// A loopback address and port.
    #[arg(long, default_value = "127.0.0.1:3000")]
    target: SocketAddr,
    /// How many events.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    events: u32,
    /// How many customers they are about.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    customers: u32,
    /// How many connections at once.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1024))]
    connections: u16,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    ensure!(arguments.target.ip().is_loopback(), "only a loopback address is put under load");
    let secret = std::env::var("STRIPE_WEBHOOK_SECRET").context("STRIPE_WEBHOOK_SECRET is missing")?;
    let load = load::paid_invoices(arguments.events as usize, arguments.customers as usize);
    let plan = |events: &[_]| LoadPlan {
        target: arguments.target,
        path: WEBHOOK_PATH.to_owned(),
        headers: Vec::new(),
        deliveries: load::signed(events, &secret),
        connections: arguments.connections.into(),
        repeats: Repeats::NEVER,
        accepted: Arc::default(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        load::run(plan(&load.beginnings)).await;
        let report = load::run(plan(&load.events)).await;
        let millis = |duration: std::time::Duration| duration.as_secs_f64() * 1000.0;
        println!(
            "{}",
            json!({
                "answers": report.responses,
                "unanswered": report.unanswered,
                "seconds": report.elapsed.as_secs_f64(),
                "perSecond": report.rate(),
                "p50Ms": millis(report.latency.p50),
                "p90Ms": millis(report.latency.p90),
                "p99Ms": millis(report.latency.p99),
                "maxMs": millis(report.latency.max),
            })
        );
    });
    Ok(())
}
