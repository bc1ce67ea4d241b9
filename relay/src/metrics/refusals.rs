//! Requests that are refused: all are counted, few are logged. Strangers can cause as many as their line allows, and the
//! log may be on the disk that the journal is on.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use metrics::{Counter, counter, describe_counter, with_local_recorder};
use metrics_exporter_prometheus::PrometheusRecorder;
use tokio::time::Instant;
use tollgate_shared::RequestId;
use tollgate_shared::telemetry::Seldom;
use tracing::{debug, info, warn};

/// Of each code one line is logged in this time.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Whether a refusal is the client's fault or ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// What the client sent: logged at `info`.
    Client,
    /// What the relay or the backend could not do: logged at `warn`.
    Ours,
}

/// Counts and logs refusals.
pub struct Refusals {
    recorder: Arc<PrometheusRecorder>,
    codes: Mutex<BTreeMap<&'static str, Arc<Code>>>,
}

/// The refusals with one code.
struct Code {
    fault: Fault,
    counter: Counter,
    seldom: Seldom,
}

impl Refusals {
    pub(super) fn new(recorder: Arc<PrometheusRecorder>) -> Self {
        with_local_recorder(&*recorder, || {
            describe_counter!(
                "tollgate_relay_refused_requests_total",
                "Requests that the relay refused, by the error's code."
            );
        });
        Self { recorder, codes: Mutex::default() }
    }

    /// A request was answered with an error of the relay's own.
    pub fn refused(&self, fault: Fault, code: &'static str, request_id: &RequestId, why: &dyn Display) {
        let refusals = self.code(fault, code);
        refusals.counter.increment(1);
        let Some(held_back) = refusals.seldom.again(Instant::now().into_std()) else {
            debug!(%request_id, code, "refused a request: {why}");
            return;
        };
        let more = More(held_back);
        match fault {
            Fault::Client => info!(%request_id, code, held_back, "refused a request{more}: {why}"),
            Fault::Ours => warn!(%request_id, code, held_back, "refused a request{more}: {why}"),
        }
    }

    /// Logs how many more there were of those codes of which nothing was logged for a while; to be called now and then.
    pub fn log_held_back(&self) {
        let codes = self.codes.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (code, refusals) in codes {
            let Some(held_back) = refusals.seldom.held_back(Instant::now().into_std()) else { continue };
            match refusals.fault {
                Fault::Client => info!(code, held_back, "refused {held_back} more requests with {code}"),
                Fault::Ours => warn!(code, held_back, "refused {held_back} more requests with {code}"),
            }
        }
    }

    fn code(&self, fault: Fault, code: &'static str) -> Arc<Code> {
        let mut codes = self.codes.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || {
            let counter = with_local_recorder(
                &*self.recorder,
                || counter!("tollgate_relay_refused_requests_total", "code" => code),
            );
            Arc::new(Code { fault, counter, seldom: Seldom::new(LOG_INTERVAL) })
        };
        Arc::clone(codes.entry(code).or_insert_with(new))
    }
}

/// How many were not logged before this one.
struct More(u64);

impl Display for More {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0 == 0 { Ok(()) } else { write!(f, " ({} more since the last such line)", self.0) }
    }
}
