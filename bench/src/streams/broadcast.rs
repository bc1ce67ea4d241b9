//! How soon the machines of one licence that are there hear what one of them tells all.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use tollgate_tests::stack::JSON;
use tollgate_tests::wait::LONG;

use super::{POLL, Scene, line};
use crate::budget::{Budget, Limit, at};
use crate::stream_clients::{Client, Seen};

/// The machines that are there: as many streams of the licence.
const MACHINES: u64 = 100;

/// As many as a licence may send in a minute.
const BROADCASTS: u64 = 10;

impl Scene {
    pub(super) async fn broadcast(&self) -> Result<Vec<Budget>> {
        let key = self.holders[0].key.clone();
        let machine = |more: Value| {
            let mut body = json!({ "licenseKey": key, "machineId": "a-machine-of-the-bench" });
            body.as_object_mut().expect("it is one").extend(more.as_object().cloned().unwrap_or_default());
            body.to_string()
        };
        let activated =
            self.stack.http.post(&self.stack.public("/api/license/activate"), &[JSON], machine(json!({}))).await;
        ensure!(activated.status == 201, "activate: {} {}", activated.status, activated.error_code());
        let (seen, mut clients) = (Arc::new(Seen::default()), Vec::new());
        for _ in 0..MACHINES {
            let path = format!("/api/events/{key}");
            clients.push(Client::open(self.stack.relay.address, path, Arc::clone(&seen)).await?);
        }
        for number in 1..=BROADCASTS {
            let body = machine(json!({ "event": "of_the_bench", "payload": { "number": number } }));
            let told = self.stack.http.post(&self.stack.public("/api/terminals/broadcast"), &[JSON], body).await;
            ensure!(told.status == 202, "broadcast: {} {}", told.status, told.error_code());
            let deadline = Instant::now() + LONG;
            while seen.told.load(Ordering::Relaxed) < number * MACHINES && Instant::now() < deadline {
                sleep(POLL).await;
            }
        }
        let told = seen.told.load(Ordering::Relaxed);
        ensure!(told == MACHINES * BROADCASTS, "{told} were told of {}", MACHINES * BROADCASTS);
        let (name, lags) = ("streams-broadcast", seen.take_lags());
        let what = "made to told, a broadcast to a hundred machines of a licence: p99";
        Ok(vec![
            line(name, what, "ms", at(&lags, 0.99), Limit::AtMost(100.0)),
            line(name, "… the latest", "ms", at(&lags, 1.0), Limit::Nothing),
        ])
    }
}
