//! Logs: one line a thing, to standard error, from our own code alone. Logging never waits for whoever reads it.
//!
//! Frameworks log what must not be seen (Rocket prints rejected bodies and unmatched paths even at its highest level,
//! hyper and h2 print headers at `trace`), so nothing that is not ours passes, whatever `RUST_LOG` says. What comes by
//! way of the `log` crate never passes: Rocket's macros log rejected values under the name of the module they are used
//! in, which is ours.

mod seldom;
mod writer;

use std::io::{self, IsTerminal};
use std::sync::LazyLock;
use std::thread;
use std::time::Duration;

use tracing::{Metadata, warn};
use tracing_subscriber::filter::{EnvFilter, FilterFn};
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, fmt};

use crate::clock::{Clock, rfc3339};
use crate::env::Env;
use writer::Queue;

pub use seldom::Seldom;

/// How long the last lines may take when the process ends. A reader that stalls must not hold up the end.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// One a process, as standard error is.
static LINES: LazyLock<Queue> = LazyLock::new(Queue::default);

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

    /// Starts logging, until the process ends: the last lines are written when what this gives back is dropped. Once a
    /// process; a second call changes nothing.
    #[must_use = "the last lines are written when it is dropped"]
    pub fn start(&self) -> FlushOnDrop {
        let ours = FilterFn::new(|metadata: &Metadata<'_>| metadata.target().starts_with("tollgate"));
        let directives = EnvFilter::try_new(&self.filter).unwrap_or_else(|_| EnvFilter::new("info"));
        let lines = fmt::layer().with_timer(Utc).with_writer(&*LINES).with_ansi(io::stderr().is_terminal());
        let lines = if self.json { lines.json().flatten_event(true).boxed() } else { lines.boxed() };
        let subscriber = tracing_subscriber::registry().with(lines.with_filter(ours)).with(directives);
        // An error of either means that logging was started before: in one process, that of a test. The place of the
        // `log` crate's logger is taken, or Rocket puts its own there.
        let _ = log::set_logger(&Nothing);
        log::set_max_level(log::LevelFilter::Off);
        if tracing::subscriber::set_global_default(subscriber).is_ok() {
            let writing = thread::Builder::new().name("log".to_owned());
            writing
                .spawn(|| LINES.write_to(io::stderr(), tell_dropped))
                .expect("a process that starts can have a thread");
        }
        FlushOnDrop
    }
}

/// How many lines were dropped because standard error did not take them in time, since the process began.
pub fn dropped_lines() -> u64 {
    LINES.dropped()
}

fn tell_dropped(lines: u64) {
    warn!(lines, "dropped {lines} log lines: standard error did not take them in time");
}

/// Writes the lines that are left when it is dropped, as far as they are taken within a second.
#[derive(Debug)]
pub struct FlushOnDrop;

impl Drop for FlushOnDrop {
    fn drop(&mut self) {
        LINES.flush(FLUSH_TIMEOUT);
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
