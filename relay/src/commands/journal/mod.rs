//! `tollgate-relay journal …`: looks into the journal, and delivers from it again, with the relay running or stopped.
//!
//! What only reads takes no lock. What changes something goes through the relay that has the journal open, or takes the
//! lock when there is none. Events go to standard output; all else goes to standard error.

mod export;
mod redeliver;

use std::collections::HashSet;
use std::error::Error as _;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use serde::Serialize;
use tokio::runtime::Builder;
use tollgate_journal::control::{ControlClient, ControlError, Verb};
use tollgate_journal::reader::{Reader, ReaderError, Selection};
use tollgate_journal::{Entry, Position};
use tollgate_shared::clock::rfc3339;
use tollgate_shared::env::{BadVariables, Env};
use tollgate_shared::telemetry::LogConfig;
use tollgate_shared::{Clock, Rng, Timestamp};

use crate::backend::config::{BackendConfig, BackendError};
use crate::config::data_dir;

/// Look into the journal, and deliver events from it again.
///
/// Works with the relay running or stopped, on the journal in `RELAY_DATA_DIR`. Times are RFC 3339, such as
/// 2026-01-31T12:00:00Z, and are when the relay received an event; `--from` and `--to` include the time they name.
#[derive(Clone, Debug, Args)]
pub struct JournalArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    /// List entries in order of arrival: one line, or with `--json` one JSON object, for each.
    ///
    /// An event that Stripe sent several times has several entries. `attempts` counts the deliveries so far.
    List {
        #[command(flatten)]
        period: Period,
        /// Only those that the backend has not confirmed.
        #[arg(long)]
        unconfirmed: bool,
        /// One JSON object a line: eventId, type, receivedAt, confirmed, attempts, bytes.
        #[arg(long)]
        json: bool,
    },
    /// Write one event to standard output: the exact bytes that Stripe signed, and nothing else.
    Show {
        /// The event's id, evt_…
        #[arg(value_name = "EVENT_ID")]
        event_id: String,
    },
    /// Write events to standard output, one a line, as compact JSON, in order of arrival and each once.
    Export {
        #[command(flatten)]
        period: Period,
    },
    /// Deliver events to the backend again, confirmed or not, in order of arrival and each once.
    ///
    /// For a backend that was restored from a backup: `redeliver --from` with the time of the backup. It is safe to
    /// deliver too many: the backend answers `duplicate` to what it has. Without ids and times, all that is kept is
    /// delivered. An event that was confirmed stays so, whatever comes of this; one that was not becomes so when it is
    /// delivered. Says how many were delivered; the exit status is 1 if any was not.
    Redeliver {
        #[command(flatten)]
        period: Period,
        /// Only these events, evt_…
        #[arg(value_name = "EVENT_ID")]
        event_ids: Vec<String>,
    },
    /// Give up an event that the backend will never confirm: it is kept, and not delivered any more.
    Discard {
        /// The event's id, evt_…
        #[arg(value_name = "EVENT_ID")]
        event_id: String,
    },
}

/// A span of time, both ends included.
#[derive(Clone, Copy, Debug, Args)]
struct Period {
    /// Only events received at this time or later.
    #[arg(long, value_name = "TIME", value_parser = time)]
    from: Option<Timestamp>,
    /// Only events received at this time or earlier.
    #[arg(long, value_name = "TIME", value_parser = time)]
    to: Option<Timestamp>,
}

impl Period {
    fn selection(self) -> Selection {
        Selection { from: self.from, to: self.to, event_ids: None }
    }
}

fn time(text: &str) -> Result<Timestamp, &'static str> {
    let time = DateTime::parse_from_rfc3339(text).map_err(|_| "not RFC 3339, such as 2026-01-31T12:00:00Z")?;
    Ok(time.with_timezone(&Utc))
}

/// Why a command ends with exit status 1. What it has done is said before.
#[derive(Debug, thiserror::Error)]
enum CommandError {
    #[error("these variables cannot be used:\n{0}")]
    Variables(#[from] BadVariables),
    #[error("the journal holds no event {0}")]
    Unknown(String),
    #[error("{failed} of {all} events could not be delivered")]
    Undelivered { failed: usize, all: usize },
    #[error(transparent)]
    Read(#[from] ReaderError),
    #[error("could not change the journal: {0}")]
    Change(#[from] ControlError),
    #[error(transparent)]
    Backend(#[from] BackendError),
    #[error("could not write the output")]
    Output(#[from] io::Error),
}

/// Runs a journal command; its exit status is 0 when all that was asked for was done.
pub fn run(arguments: &JournalArgs, env: &Env) -> ExitCode {
    match execute(&arguments.command, env) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read the output has had enough: `journal list | head`.
        Err(CommandError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprint!("tollgate-relay journal: {error}");
            let mut source = error.source();
            while let Some(cause) = source {
                eprint!(": {cause}");
                source = cause.source();
            }
            eprintln!();
            ExitCode::FAILURE
        }
    }
}

fn execute(command: &Command, env: &Env) -> Result<(), CommandError> {
    let log = LogConfig::from_env(env);
    let dir = data_dir(env);
    let backend = matches!(command, Command::Redeliver { .. }).then(|| BackendConfig::from_env(env));
    env.finish()?;
    let _flush = log.start();
    let clock = Clock::system();
    let mut output = BufWriter::new(io::stdout().lock());
    match (command, backend) {
        (Command::List { period, unconfirmed, json }, _) => {
            let line = if *json { json_line } else { text_line };
            list(&dir, &period.selection(), *unconfirmed, line, &mut output)?;
        }
        (Command::Show { event_id }, _) => show(&dir, event_id, &mut output)?,
        (Command::Export { period }, _) => export::export(&dir, &period.selection(), &mut output)?,
        (Command::Redeliver { period, event_ids }, Some(backend)) => {
            let selection = Selection { event_ids: ids(event_ids), ..period.selection() };
            let deps = redeliver::Deps { dir, backend, clock, rng: Rng::system() };
            on_runtime(redeliver::redeliver(&deps, &selection, &mut output))?;
        }
        (Command::Redeliver { .. }, None) => unreachable!("its variables were read above"),
        (Command::Discard { event_id }, _) => on_runtime(discard(&dir, event_id, &clock, &mut output))?,
    }
    output.flush()?;
    Ok(())
}

fn on_runtime<T>(command: impl Future<Output = Result<T, CommandError>>) -> Result<T, CommandError> {
    Builder::new_multi_thread().enable_all().build()?.block_on(command)
}

/// No ids are no choice.
fn ids(ids: &[String]) -> Option<HashSet<String>> {
    (!ids.is_empty()).then(|| ids.iter().cloned().collect())
}

fn only(event_id: &str) -> Selection {
    Selection { event_ids: Some(HashSet::from([event_id.to_owned()])), ..Selection::default() }
}

fn list(
    dir: &Path,
    selection: &Selection,
    unconfirmed: bool,
    line: fn(&Entry) -> String,
    output: &mut impl Write,
) -> Result<(), CommandError> {
    let mut reader = Reader::new(dir);
    for found in reader.select(selection)?.iter().filter(|found| !(unconfirmed && found.confirmed)) {
        // One that was pruned since is not there any more.
        if let Some(entry) = reader.entry(found)? {
            writeln!(output, "{}", line(&entry))?;
        }
    }
    Ok(())
}

/// An entry as `list --json` shows it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct JsonLine<'a> {
    event_id: &'a str,
    #[serde(rename = "type")]
    event_type: &'a str,
    received_at: String,
    confirmed: bool,
    attempts: u32,
    bytes: usize,
}

fn json_line(entry: &Entry) -> String {
    let line = JsonLine {
        event_id: &entry.event_id,
        event_type: &entry.event_type,
        received_at: rfc3339(entry.received_at),
        confirmed: entry.confirmed,
        attempts: entry.attempts,
        bytes: entry.body.len(),
    };
    serde_json::to_string(&line).expect("strings and numbers are always JSON")
}

fn text_line(entry: &Entry) -> String {
    let Entry { attempts, body, .. } = entry;
    format!(
        "{}  {}  {}  {}  {attempts} attempt{}  {} bytes",
        rfc3339(entry.received_at),
        printable(&entry.event_id),
        printable(&entry.event_type),
        if entry.confirmed { "confirmed" } else { "unconfirmed" },
        if *attempts == 1 { "" } else { "s" },
        body.len(),
    )
}

/// Without what would move a terminal's cursor or break the line: ids and types come from outside.
fn printable(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { char::REPLACEMENT_CHARACTER } else { character }).collect()
}

fn show(dir: &Path, event_id: &str, output: &mut impl Write) -> Result<(), CommandError> {
    let mut reader = Reader::new(dir);
    for found in reader.select(&only(event_id))? {
        if let Some(entry) = reader.entry(&found)? {
            output.write_all(&entry.body)?;
            return Ok(());
        }
    }
    Err(CommandError::Unknown(printable(event_id)))
}

async fn discard(dir: &Path, event_id: &str, clock: &Clock, output: &mut impl Write) -> Result<(), CommandError> {
    let shown = printable(event_id);
    let found = Reader::new(dir).select(&only(event_id))?;
    if found.is_empty() {
        return Err(CommandError::Unknown(shown));
    }
    let unconfirmed: Vec<_> = found.iter().filter(|found| !found.confirmed).map(|found| found.position).collect();
    let ended = if unconfirmed.is_empty() { 0 } else { end(dir, clock, Verb::Discard, &unconfirmed).await? };
    if ended == 0 {
        writeln!(output, "{shown} is confirmed already: there is nothing to discard")?;
    } else {
        writeln!(output, "discarded {shown}")?;
    }
    Ok(())
}

/// Ends unconfirmed entries and says how many there were.
async fn end(dir: &Path, clock: &Clock, verb: Verb, positions: &[Position]) -> Result<u64, CommandError> {
    let mut client = ControlClient::open(dir, clock).await?;
    let ended = client.end(verb, positions).await;
    client.close().await;
    Ok(ended?)
}
