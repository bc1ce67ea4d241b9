//! Metrics that every process has: what it is built from, what the operating system knows of it, log lines that were lost.

use metrics::{Counter, counter, describe_counter, describe_gauge, gauge};
use metrics_process::Collector;

use crate::telemetry::dropped_lines;

/// `process_*` (CPU seconds, memory, descriptors, threads, start time), `<tier>_build_info` and
/// `<tier>_log_lines_dropped_total`.
pub struct ProcessMetrics {
    process: Collector,
    dropped: Counter,
}

impl ProcessMetrics {
    /// Those of `tier`, for example `tollgate_relay`, in the recorder that is in place now.
    pub fn new(tier: &'static str, version: &'static str) -> Self {
        let build_info = format!("{tier}_build_info");
        describe_gauge!(build_info.clone(), "Always 1; the labels say what runs.");
        gauge!(build_info, "version" => version).set(1.0);
        let dropped = format!("{tier}_log_lines_dropped_total");
        describe_counter!(dropped.clone(), "Log lines that standard error did not take in time.");
        let process = Collector::default();
        process.describe();
        Self { process, dropped: counter!(dropped) }
    }

    /// Brings them up to date. The recorder of [`ProcessMetrics::new`] has to be in place.
    pub fn collect(&self) {
        self.process.collect();
        self.dropped.absolute(dropped_lines());
    }
}
