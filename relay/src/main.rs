//! `tollgate-relay`: see `--help`.

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use tikv_jemallocator::Jemalloc;
use tollgate_relay::commands::journal::{self, JournalArgs};
use tollgate_relay::config::Config;
use tollgate_relay::server::Relay;
use tollgate_shared::env::Env;
use tollgate_shared::process::{
    Signals, configuration_ok, install_panic_hook, invalid_configuration, raise_descriptor_limit,
};
use tollgate_shared::{Clock, Rng};
use tracing::error;

/// Ten thousand streams that have ended leave 27 MiB behind with it, 172 with glibc's.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// The public edge of Tollgate: verifies Stripe's webhooks, persists them, and forwards them to the backend.
///
/// Configured by environment variables, or a `.env` file in the working folder; the README lists them.
#[derive(Parser)]
#[command(name = "tollgate-relay", version)]
struct Cli {
    /// Only check the configuration: exit 0 if it is usable, else name what is not.
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
        Err(bad) => return invalid_configuration(&bad),
    };
    if only_check {
        return configuration_ok();
    }
    let _flush = config.log.start();
    install_panic_hook();
    raise_descriptor_limit();
    match run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            error!("could not run: {problem:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(config: Config) -> anyhow::Result<()> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("could not start threads")?;
    let ran = runtime.block_on(async {
        let mut signals = Signals::listen().context("could not listen for signals")?;
        let relay = Relay::start(config, Clock::system(), Rng::system()).await?;
        signals.stop(|| relay.reload_tls()).await;
        relay.drain().await;
        Ok(())
    });
    // Whatever is left was aborted; a thread that waits for a disk must not hold up the end.
    runtime.shutdown_background();
    ran
}
