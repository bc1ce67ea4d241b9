//! `scripts/bench`: what Tollgate costs, each figure beside its limit, both measured in the same run.
//!
//! Rounds of the two sides of a ratio take turns, so that a machine that is busy for a while slows both. Only the
//! loopback interface is used, and every load has an end. Nothing here fails because a machine is slow: it reports.

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand};

mod bare_inserts;
mod bare_server;
mod budget;
mod cleanup;
mod copies;
mod cpu;
mod events;
mod load;
mod operators;
mod relay;
mod rest;
mod routes;
mod sink;
mod stream_clients;
mod streams;
mod system;
mod verify;
mod write_path;

use budget::{Budget, print_json, print_table};

/// Measures what Tollgate costs and shows each figure beside its limit.
#[derive(Parser)]
#[command(name = "scripts/bench")]
struct Arguments {
    /// Only this measurement; may be given more than once
    #[arg(long, value_name = "NAME", value_parser = NAMES)]
    only: Vec<String>,
    /// Print JSON on standard output instead of the table
    #[arg(long)]
    json: bool,
    /// How many rounds of each side; the medians count
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// How many events a round
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(100..=200_000))]
    events: u32,
    /// How many streams are open at once
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(10..=25_000))]
    streams: u32,
    /// For how many seconds things happen while they are open, and before and during the clean-up, in all rounds together
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,
    /// How many events the table holds of which old ones are removed, and at which operators look
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(100_000..=10_000_000))]
    rows: u32,
    #[command(subcommand)]
    part: Option<Part>,
}

/// What this program is when it starts itself, so that a comparison has a process of its own.
#[derive(Subcommand)]
enum Part {
    /// A bare hyper server that verifies signatures and does nothing else
    #[command(hide = true)]
    BareServer {
        /// Where to listen
        address: std::net::SocketAddr,
    },
}

/// The measurements, in the order of the table.
const NAMES: [&str; 14] = [
    "verify",
    "relay",
    "relay-forward",
    "write-postgres",
    "write-sqlite",
    "system",
    "routes",
    "rest",
    "cleanup",
    "operators",
    streams::NAMES[0],
    streams::NAMES[1],
    streams::NAMES[2],
    streams::NAMES[3],
];

/// How much is measured.
#[derive(Clone, Copy, Debug)]
struct Effort {
    /// Rounds of each side.
    rounds: u32,
    /// Events a round.
    events: usize,
    /// Streams open at once.
    streams: usize,
    /// For how long things happen while they are.
    seconds: u32,
    /// Events that the table holds.
    rows: usize,
}

/// How many events are in flight at once, wherever a limit speaks of 64.
const AT_ONCE: usize = 64;

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no runtime")?;
    runtime.block_on(async {
        match arguments.part {
            Some(Part::BareServer { address }) => bare_server::serve(address).await,
            None => measure(&arguments).await,
        }
    })
}

async fn measure(arguments: &Arguments) -> Result<()> {
    ensure!(!cfg!(debug_assertions), "a debug build measures nothing: run scripts/bench, which builds with --release");
    let effort = Effort {
        rounds: arguments.rounds,
        events: arguments.events as usize,
        streams: arguments.streams as usize,
        seconds: arguments.seconds,
        rows: arguments.rows as usize,
    };
    let bytes = events::mean_bytes(&events::fresh(effort.events));
    eprintln!("a round is {} events of {bytes} bytes on average", effort.events);
    let mut budgets: Vec<Budget> = Vec::new();
    let is_asked_for = |name: &&str| arguments.only.is_empty() || arguments.only.iter().any(|only| only == name);
    let (of_streams, others): (Vec<_>, Vec<_>) =
        NAMES.into_iter().filter(is_asked_for).partition(|name| streams::NAMES.contains(name));
    for name in others {
        eprintln!("measuring {name}: {} rounds", effort.rounds);
        budgets.extend(match name {
            "verify" => verify::measure(effort),
            "relay" => relay::measure_alone(effort).await?,
            "relay-forward" => relay::measure_forwarding(effort).await?,
            "write-postgres" => write_path::measure_postgres(effort).await?,
            "write-sqlite" => write_path::measure_sqlite(effort).await?,
            "system" => system::measure(effort).await?,
            "routes" => routes::measure(effort).await?,
            "cleanup" => cleanup::measure(effort).await?,
            "operators" => operators::measure(effort).await?,
            _ => rest::measure(effort).await?,
        });
    }
    if !of_streams.is_empty() {
        eprintln!("measuring {}", of_streams.join(", "));
        budgets.extend(streams::measure(effort, &of_streams).await?);
    }
    if arguments.json {
        print_json(&budgets);
    } else {
        print_table(&budgets);
    }
    Ok(())
}
