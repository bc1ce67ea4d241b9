//! The commands of `tollgate-backend`.

mod migrate;
mod serve;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tollgate_shared::env::Env;
use tollgate_shared::telemetry::LogConfig;

use crate::config::{Config, VARIABLES};

/// What a process that cannot use its configuration ends with, as `sysexits.h` has it (`EX_CONFIG`).
const EXIT_BAD_CONFIGURATION: u8 = 78;

/// Turns each Stripe event, once in effect, into who may use what.
#[derive(Debug, Parser)]
#[command(name = "tollgate-backend", version, after_help = VARIABLES)]
struct Arguments {
    /// Says whether every variable is usable, and ends
    #[arg(long, global = true)]
    check_config: bool,

    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Takes events and answers questions, until told to stop (the default)
    Serve,
    /// Brings the database's tables up to date, and ends
    Migrate,
}

/// Runs the process's command line.
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    let env = Env::load();
    let log = LogConfig::from_env(&env);
    let config = match Config::from_env(&env) {
        Ok(config) => config,
        Err(bad) => {
            eprintln!("tollgate-backend cannot start: these variables are missing or unusable.\n{bad}");
            return ExitCode::from(EXIT_BAD_CONFIGURATION);
        }
    };
    if arguments.check_config {
        println!("every variable is usable");
        return ExitCode::SUCCESS;
    }
    log.start();
    panics_go_to_the_log();

    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("backend").build();
    let done = match runtime {
        Ok(runtime) => {
            let done = match arguments.command.unwrap_or(Command::Serve) {
                Command::Serve => runtime.block_on(serve::run(config)),
                Command::Migrate => runtime.block_on(migrate::run(config)),
            };
            // What is still under way was given its time; a file system that hangs must not hold up the exit.
            runtime.shutdown_background();
            done
        }
        Err(error) => Err(error.into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// A panic's own text may quote a value that must not be seen; only one that was written as a literal is passed on.
fn panics_go_to_the_log() {
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        let message = panic.payload().downcast_ref::<&'static str>().copied().unwrap_or("…");
        tracing::error!(panic.location = location, "panicked at {location}: {message}");
    }));
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn serving_is_the_default_and_checking_works_with_every_command() {
        assert!(Arguments::parse_from(["tollgate-backend"]).command.is_none());
        assert!(Arguments::parse_from(["tollgate-backend", "--check-config"]).check_config);
        assert!(Arguments::parse_from(["tollgate-backend", "migrate", "--check-config"]).check_config);
    }
}
