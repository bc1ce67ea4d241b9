//! `tollgate-relay`: see `--help`.

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use tollgate_relay::commands::journal::{self, JournalArgs};
use tollgate_relay::config::Config;
use tollgate_relay::server::Relay;
use tollgate_shared::env::Env;
use tollgate_shared::{Clock, Rng};
use tracing::error;

/// The public edge of Tollgate: verifies Stripe's webhooks, keeps them, and forwards them to the backend.
///
/// Configured by environment variables, or a `.env` file in the working folder; the README lists them.
#[derive(Parser)]
#[command(name = "tollgate-relay", version)]
struct Cli {
    /// Only say whether the configuration can be used.
    #[arg(long)]
    check_config: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Take webhooks and pass requests through (the default).
    Serve,
    Journal(JournalArgs),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let env = Env::load();
    match cli.command {
        Some(Command::Journal(arguments)) if !cli.check_config => journal::run(&arguments, &env),
        _ => serve(&env, cli.check_config),
    }
}

fn serve(env: &Env, only_check: bool) -> ExitCode {
    let config = match Config::from_env(env) {
        Ok(config) => config,
        Err(bad) => {
            eprintln!("tollgate-relay cannot start with this configuration:\n{bad}");
            return ExitCode::FAILURE;
        }
    };
    if only_check {
        println!("The configuration can be used.");
        return ExitCode::SUCCESS;
    }
    config.log.start();
    quiet_panics();
    raise_descriptor_limit();
    match run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            error!("Relay cannot run: {problem:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(config: Config) -> anyhow::Result<()> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("could not start threads")?;
    let ran = runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).context("could not listen for signals")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("could not listen for signals")?;
        let relay = Relay::start(config, Clock::system(), Rng::system()).await?;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        relay.drain().await;
        Ok(())
    });
    // What is still under way was cut off; a thread that waits for a disk must not hold up the end.
    runtime.shutdown_background();
    ran
}

/// A panic's message may hold what made it panic, a payload for one: only its place is logged.
fn quiet_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        error!(place, "Panicked at {place}");
    }));
}

/// Each connection takes a descriptor, and the limit that a process starts with is often 1024.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // An error leaves the limit as it was, and with it the number of connections.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}
