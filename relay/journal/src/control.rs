//! How a command changes the journal: over a socket in its folder while a relay has it open, else under the lock.
//!
//! The socket takes one JSON object a line, `{"verb": "confirm" | "discard", "positions": [number, …]}`, and answers
//! each with `{"ended": number}`, once that is synced to disk, or `{"error": "…"}`. Only the folder's owner can connect.

use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tollgate_shared::Clock;
use tollgate_shared::log_safe::LogSafe;
use tracing::{info, warn};

use crate::entry::Position;
use crate::error::{AppendError, OpenError};
use crate::journal::Journal;
use crate::options::Options;
use crate::state::{Phase, Shared};

const SOCKET: &str = "control.sock";
/// Entries that one request may name.
const POSITIONS_MAX: usize = 10_000;
/// A request of that many positions of 20 digits has some 210 KB.
const LINE_BYTES_MAX: u64 = 512 * 1024;
/// Commands are run by hand: a few at a time.
const CONNECTIONS_MAX: usize = 8;
/// A connection on which nothing comes for so long is closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// A response waits for the disk; one that takes longer than this does not come.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);
/// A relay that has just taken the lock opens its socket after its recovery, and one that closes gives the lock back
/// after its drain.
const CONNECT_TRIES_MAX: u32 = 150;
const CONNECT_TRY_INTERVAL: Duration = Duration::from_millis(100);

/// How an unconfirmed entry ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    /// The backend has confirmed it.
    Confirm,
    /// An operator has given it up.
    Discard,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    verb: Verb,
    positions: Vec<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Response {
    Ended(u64),
    Error(String),
}

impl Journal {
    /// Lets commands of the same user change the journal while it is open. Has to be called on a Tokio runtime, once;
    /// ends when the journal closes.
    pub fn serve_control(&self) -> io::Result<()> {
        let shared = Arc::clone(&self.0.0);
        let dir = shared.options.dir.clone();
        // Whoever left it there is gone: the lock is ours.
        match fs::remove_file(dir.join(SOCKET)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = reachable(&dir, |socket| UnixListener::bind(socket))?;
        fs::set_permissions(dir.join(SOCKET), fs::Permissions::from_mode(0o600))?;
        tokio::spawn(serve(listener, shared));
        Ok(())
    }
}

/// The address of a socket holds some 100 bytes, a path may be longer: then it is reached by way of the open folder.
fn reachable<T>(dir: &Path, then: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    const ADDRESS_BYTES_MAX: usize = 100;
    let direct = dir.join(SOCKET);
    if direct.as_os_str().len() <= ADDRESS_BYTES_MAX {
        return then(&direct);
    }
    let folder = fs::File::open(dir)?;
    then(&PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", folder.as_raw_fd())))
}

async fn serve(listener: UnixListener, shared: Arc<Shared>) {
    let mut phase = shared.phase.subscribe();
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = phase.wait_for(|phase| *phase != Phase::Open) => return,
        };
        match accepted {
            Ok((stream, _)) => {
                let shared = Arc::clone(&shared);
                tokio::spawn(async move {
                    // A command that went away has nobody left to be told.
                    let _ = converse(stream, &shared).await;
                    drop(permit);
                });
            }
            Err(error) => {
                warn!("could not accept a command's connection: {error}");
                // Out of descriptors, most likely: at once would be at full speed in vain.
                sleep(CONNECT_TRY_INTERVAL).await;
            }
        }
    }
}

async fn converse(stream: UnixStream, shared: &Shared) -> io::Result<()> {
    let (from, mut to) = stream.into_split();
    let mut from = BufReader::new(from);
    loop {
        let mut line = Vec::new();
        let read = timeout(IDLE_TIMEOUT, (&mut from).take(LINE_BYTES_MAX).read_until(b'\n', &mut line)).await??;
        if read == 0 {
            return Ok(());
        }
        let answer = match serde_json::from_slice::<Request>(&line) {
            Ok(request) if request.positions.len() <= POSITIONS_MAX => execute(&request, shared).await,
            Ok(_) => Response::Error(format!("more than {POSITIONS_MAX} positions")),
            Err(_) => Response::Error("not a request".to_owned()),
        };
        let mut line = serde_json::to_vec(&answer)?;
        line.push(b'\n');
        to.write_all(&line).await?;
    }
}

async fn execute(request: &Request, shared: &Shared) -> Response {
    match end(shared, request.verb, request.positions.iter().copied().map(Position)).await {
        Ok(ended) => Response::Ended(ended),
        Err(error) => Response::Error(error.to_string()),
    }
}

/// Ends the unconfirmed ones of `positions` and says how many there were, once that is synced.
async fn end(shared: &Shared, verb: Verb, positions: impl Iterator<Item = Position>) -> Result<u64, AppendError> {
    let mut ended = 0;
    for position in positions {
        let ends = match verb {
            Verb::Confirm => shared.confirm(position),
            Verb::Discard => shared.discard(position),
        };
        if ends {
            ended += 1;
            if verb == Verb::Discard {
                log_discarded(shared, position);
            }
        }
    }
    shared.flush().await.unwrap_or(Err(AppendError::Closed))?;
    Ok(ended)
}

fn log_discarded(shared: &Shared, position: Position) {
    // Some events, by hand: reading them here holds nobody up for long.
    match shared.read(position) {
        Ok(entry) => {
            let id = LogSafe(&entry.event_id);
            info!(event.id = %id, request_id = %entry.request_id, "discarded event {id}: it will not be delivered");
        }
        Err(error) => info!("discarded an event that cannot be read: {error}"),
    }
}

/// The way to change the journal that is open to a command.
#[derive(Debug)]
pub enum ControlClient {
    /// A relay has the journal.
    Relay(BufReader<UnixStream>),
    /// Nobody else has it.
    Own(Journal),
}

/// The journal cannot be changed.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// It cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It cannot be written.
    #[error("could not write the journal")]
    Write(#[from] AppendError),
    /// Another process has the journal, and does not answer at the socket.
    #[error("another process has the journal open and does not answer")]
    Silent(#[source] io::Error),
    /// The relay could not do it.
    #[error("the relay answered: {0}")]
    Refused(String),
}

impl ControlClient {
    /// Opens the journal in `dir`, or reaches the relay that has it.
    pub async fn open(dir: &Path, clock: &Clock) -> Result<Self, ControlError> {
        let mut tries_left = CONNECT_TRIES_MAX;
        loop {
            match Journal::open(Options::keeping_all(dir), clock.clone()) {
                Ok(journal) => return Ok(Self::Own(journal)),
                Err(OpenError::Locked(_)) => {}
                Err(error) => return Err(error.into()),
            }
            let connected = reachable(dir, |socket| net::UnixStream::connect(socket));
            let connected = connected.and_then(|stream| {
                stream.set_nonblocking(true)?;
                UnixStream::from_std(stream)
            });
            match connected {
                Ok(stream) => return Ok(Self::Relay(BufReader::new(stream))),
                Err(error) if tries_left == 0 => return Err(ControlError::Silent(error)),
                Err(_) => {}
            }
            tries_left -= 1;
            sleep(CONNECT_TRY_INTERVAL).await;
        }
    }

    /// Ends the unconfirmed ones of `positions` and says how many there were, once that is synced.
    pub async fn end(&mut self, verb: Verb, positions: &[Position]) -> Result<u64, ControlError> {
        match self {
            Self::Own(journal) => Ok(end(&journal.0.0, verb, positions.iter().copied()).await?),
            Self::Relay(stream) => {
                let mut ended = 0;
                for positions in positions.chunks(POSITIONS_MAX) {
                    let request = Request { verb, positions: positions.iter().map(|position| position.0).collect() };
                    let responded = timeout(RESPONSE_TIMEOUT, send(stream, &request)).await.map_err(io::Error::from);
                    match responded.and_then(|response| response).map_err(ControlError::Silent)? {
                        Response::Ended(some) => ended += some,
                        Response::Error(why) => return Err(ControlError::Refused(why)),
                    }
                }
                Ok(ended)
            }
        }
    }

    /// Gives the journal back.
    pub async fn close(self) {
        if let Self::Own(journal) = self {
            journal.close().await;
        }
    }
}

async fn send(stream: &mut BufReader<UnixStream>, request: &Request) -> io::Result<Response> {
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line).await?;
    let mut answer = Vec::new();
    stream.take(LINE_BYTES_MAX).read_until(b'\n', &mut answer).await?;
    Ok(serde_json::from_slice(&answer)?)
}
