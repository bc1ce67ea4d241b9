//! A bounded load of signed webhooks, all of which have to be taken.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Result, ensure};
use tollgate_tests::load::{LoadPlan, LoadReport, Repeats, run, signed};
use tollgate_tests::stack::WEBHOOK_PATH;
use tollgate_tests::stripe::Event;

use crate::AT_ONCE;

/// Sends each of `events` once, [`AT_ONCE`] at a time.
pub(crate) async fn send(target: SocketAddr, secret: &str, events: &[Event]) -> Result<LoadReport> {
    let plan = LoadPlan {
        target,
        path: WEBHOOK_PATH.to_owned(),
        headers: Vec::new(),
        deliveries: signed(events, secret),
        connections: AT_ONCE,
        repeats: Repeats::NEVER,
        accepted: Arc::default(),
    };
    let report = run(plan).await;
    ensure!(report.accepted() == events.len() as u64, "not every event was taken: {:?}", report.responses);
    Ok(report)
}
