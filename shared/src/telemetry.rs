//! Logs: one line a thing, to standard error, from our own code alone.
//!
//! Frameworks log what must not be seen (Rocket prints rejected bodies and unmatched paths even at its highest level,
//! hyper and h2 print headers at `trace`), so nothing that is not ours passes, whatever `RUST_LOG` says. What comes by
//! way of the `log` crate never passes: Rocket's macros log rejected values under the name of the module they are used
//! in, which is ours.

mod lines;

use std::io::IsTerminal;

use tracing::Metadata;
use tracing_subscriber::filter::{EnvFilter, FilterFn};
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, fmt};

use crate::clock::{Clock, rfc3339};
use crate::env::Env;
use lines::Lines;

pub use lines::together;

/// How log lines look and which are written.
#[derive(Clone, Debug)]
pub struct LogConfig {
    filter: String,
    json: bool,
}

impl LogConfig {
    /// Reads `RUST_LOG` (default `info`) and `LOG_FORMAT` (`text`, the default, or `json`).
    pub fn from_env(env: &Env) -> Self {
        let filter = env.text_or("RUST_LOG", "info");
        if EnvFilter::try_new(&filter).is_err() {
            env.refuse("RUST_LOG", "is not a list of directives such as `info` or `tollgate_relay=debug`");
        }
        let json = env.read("LOG_FORMAT", "`text` or `json`", |text| match text {
            "text" => Some(false),
            "json" => Some(true),
            _ => None,
        });
        Self { filter, json: json.unwrap_or(false) }
    }

    /// Starts logging. Once a process; a second call changes nothing.
    pub fn start(&self) {
        let ours = FilterFn::new(|metadata: &Metadata<'_>| metadata.target().starts_with("tollgate"));
        let directives = EnvFilter::try_new(&self.filter).unwrap_or_else(|_| EnvFilter::new("info"));
        let lines = fmt::layer().with_timer(Utc).with_writer(Lines).with_ansi(std::io::stderr().is_terminal());
        let lines = if self.json { lines.json().flatten_event(true).boxed() } else { lines.boxed() };
        let subscriber = tracing_subscriber::registry().with(lines.with_filter(ours)).with(directives);
        // An error of either means that logging was started before: in one process, that of a test. The place of the
        // `log` crate's logger is taken, or Rocket puts its own there.
        let _ = log::set_logger(&Nothing);
        log::set_max_level(log::LevelFilter::Off);
        let _ = tracing::subscriber::set_global_default(subscriber);
    }
}

/// Where the records of the `log` crate end.
struct Nothing;

impl log::Log for Nothing {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        false
    }

    fn log(&self, _: &log::Record<'_>) {}

    fn flush(&self) {}
}

struct Utc;

impl FormatTime for Utc {
    fn format_time(&self, w: &mut fmt::format::Writer<'_>) -> std::fmt::Result {
        w.write_str(&rfc3339(Clock::system().now()))
    }
}
