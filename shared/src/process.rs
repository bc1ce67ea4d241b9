//! What both processes do alike at their edges: what `--check-config` says, the exit status, signals, panics, metrics.

pub mod metrics;

use std::io;
use std::panic;
use std::process::ExitCode;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::error;

use crate::env::BadVariables;

/// Exit status for an invalid configuration: `EX_CONFIG` of `sysexits.h`.
pub const EXIT_INVALID_CONFIGURATION: u8 = 78;

/// Names every variable that is missing or unusable, never its value, on standard error; what the process then exits with.
pub fn invalid_configuration(bad: &BadVariables) -> ExitCode {
    eprintln!("invalid configuration:\n{bad}");
    ExitCode::from(EXIT_INVALID_CONFIGURATION)
}

/// Says on standard output that `--check-config` found nothing wrong; what the process then exits with.
pub fn configuration_ok() -> ExitCode {
    println!("configuration OK");
    ExitCode::SUCCESS
}

/// Sends panics to the log. A panic's own text may quote a value that must not be seen; only one that was written as a
/// literal is passed on.
pub fn install_panic_hook() {
    panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        let message = panic.payload().downcast_ref::<&'static str>().copied().unwrap_or("…");
        error!(panic.location = location, "panicked at {location}: {message}");
    }));
}

/// How many descriptors the process may have open, where there is a limit. Each connection takes one.
pub fn descriptors_max() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// Lets the process have as many descriptors as the operating system allows it to: the limit that it starts with is often
/// 1024.
pub fn raise_descriptor_limit() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    // An error leaves the limit as it was, and with it the number of connections.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

/// The signals that a process is told things by. From [`Signals::listen`] on none of them kills the process, also when
/// this is dropped: Tokio keeps a handler for good.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// Starts to listen. Has to be called on a Tokio runtime, and before anything that takes long, so that a signal which
    /// comes early is not lost.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Returns at SIGTERM or SIGINT. Calls `on_hangup` for each SIGHUP that comes before.
    pub async fn stop(&mut self, mut on_hangup: impl FnMut()) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hangup.recv() => on_hangup(),
            }
        }
    }
}
