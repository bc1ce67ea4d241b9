//! The commands of `tollgate-backend`.

mod console_link;
mod migrate;
mod new_epoch;
mod openapi;
mod reconcile;
mod release;
mod replay;
mod serve;
mod token;
mod vapid_keys;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tollgate_shared::Timestamp;
use tollgate_shared::env::Env;
use tollgate_shared::process::{configuration_ok, install_panic_hook, invalid_configuration, raise_descriptor_limit};
use tollgate_shared::telemetry::LogConfig;

use self::console_link::ConsoleLinkArguments;
use self::token::TokenArguments;
use crate::config::{Config, VARIABLES};
use crate::http::query;

/// Turns each Stripe event, once in effect, into who may use what.
#[derive(Debug, Parser)]
#[command(name = "tollgate-backend", version, after_help = VARIABLES)]
struct Arguments {
    /// Only check the configuration: exit 0 if it is usable, else name what is not
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
    /// After a dump was restored: lets desktop apps know that their place in the event log is not good any more
    NewEpoch,
    /// Prints the OpenAPI document of the backend's routes
    Openapi,
    /// Processes events once more: one, some, or all that were received within a time
    Replay(replay::ReplayArguments),
    /// Compares what is here with Stripe: what happened in the last 30 days, and each subscription and invoice
    Reconcile(reconcile::ReconcileArguments),
    /// Publishes versions of the app, rolls them out, withdraws them: at a backend that serves, with ADMIN_API_KEY alone
    Release(release::ReleaseArguments),
    /// Prints a token that signs in as somebody, under the first of AUTH_SECRET, for development; or a link to the account page
    Token(TokenArguments),
    /// Makes a key for pushes to browsers, and prints it for the configuration
    VapidKeys,
    /// Prints a link that signs an operator in at the console, once and within five minutes
    ConsoleLink(ConsoleLinkArguments),
}

/// Runs the process's command line.
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    let env = Env::load();
    let command = match arguments.command.unwrap_or(Command::Serve) {
        // These are the same whatever the configuration.
        Command::Openapi => return openapi::run(),
        Command::VapidKeys => return vapid_keys::run(),
        // It is called where there is no configuration of a backend.
        Command::Release(arguments) => return release::run(&env, arguments),
        command => command,
    };
    let log = LogConfig::from_env(&env);
    let config = match Config::from_env(&env) {
        Ok(config) => config,
        Err(bad) => return invalid_configuration(&bad),
    };
    if arguments.check_config {
        for warning in config.warnings() {
            eprintln!("warning: {warning}");
        }
        return configuration_ok();
    }
    let _flush = log.start();
    install_panic_hook();
    raise_descriptor_limit();

    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("backend").build();
    let done = match runtime {
        Ok(runtime) => {
            let done = match command {
                Command::Serve => runtime.block_on(serve::run(config)).map(|()| ExitCode::SUCCESS),
                Command::Openapi | Command::VapidKeys | Command::Release(_) => unreachable!("they were done before"),
                Command::Migrate => runtime.block_on(migrate::run(config)).map(|()| ExitCode::SUCCESS),
                Command::NewEpoch => runtime.block_on(new_epoch::run(config)).map(|()| ExitCode::SUCCESS),
                Command::Replay(arguments) => {
                    runtime.block_on(replay::run(config, arguments)).map(|()| ExitCode::SUCCESS)
                }
                Command::Reconcile(arguments) => runtime.block_on(reconcile::run(config, arguments)),
                Command::Token(arguments) => token::run(&config, &arguments).map(|()| ExitCode::SUCCESS),
                Command::ConsoleLink(arguments) => console_link::run(&config, &arguments).map(|()| ExitCode::SUCCESS),
            };
            // Whatever still runs was given its time; a file system that hangs must not hold up the exit.
            runtime.shutdown_background();
            done
        }
        Err(error) => Err(error.into()),
    };
    match done {
        Ok(status) => status,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// A time of the command line.
fn time(text: &str) -> Result<Timestamp, String> {
    query::time(text).ok_or_else(|| format!("it has to be {}", query::A_TIME))
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
