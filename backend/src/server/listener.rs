//! The listener in front of Rocket, which has no time-out for a connection that says nothing, no limit of connections, and
//! says nothing when it cannot accept any more.
//!
//! It hands on bytes to Rocket on the loopback interface and looks at none of them. A connection costs one descriptor until
//! it has sent its first byte, and three from then on.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{debug, error};

/// How long a connection may take to send its first byte.
const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection may stay when nothing passes in either direction. HTTP/2 is asked every fifteen seconds whether
/// it is still there, a stream of events says something every thirty.
const IDLE_TIMEOUT: Duration = Duration::from_secs(75);

/// How long one side may take to take what the other has sent.
const WRITE_TIMEOUT: Duration = Duration::from_secs(300);

/// How long a connection waits for its turn when there are too many.
const TURN_TIMEOUT: Duration = Duration::from_secs(10);

/// How long to wait before the next one is accepted when one could not be.
const ACCEPT_PAUSE: Duration = Duration::from_millis(250);

/// How often it is said that none can be accepted.
const ACCEPT_ERROR_INTERVAL: Duration = Duration::from_secs(10);

/// How much is read at once in each direction: at first, and where there is much to read.
const BUFFER_BYTES_MIN: usize = 4 << 10;
const BUFFER_BYTES_MAX: usize = 128 << 10;

/// How many connections there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// Those that have not said anything; when one more comes, the oldest of them is closed.
    pub(super) silent_max: usize,
    /// Those that have. One more waits for its turn.
    pub(super) talking_max: usize,
}

impl Limits {
    /// As many as fit into so many file descriptors, beside those that the process needs itself.
    pub(super) fn of_descriptors(descriptors_max: usize) -> Self {
        const OUR_OWN: usize = 48;
        let free = descriptors_max.saturating_sub(OUR_OWN);
        Self { silent_max: (free / 4).clamp(4, 4096), talking_max: (free / 4).clamp(4, 16_384) }
    }
}

/// Accepts connections and hands their bytes on to `rocket`, until it is dropped.
pub(super) async fn run(listener: TcpListener, rocket: SocketAddr, limits: Limits) {
    let turns = Arc::new(Semaphore::new(limits.talking_max));
    let mut silent: VecDeque<oneshot::Sender<()>> = VecDeque::new();
    let mut last_said: Option<Instant> = None;
    loop {
        match listener.accept().await {
            Ok((client, _)) => {
                silent.retain(|connection| !connection.is_closed());
                while silent.len() >= limits.silent_max {
                    // Dropping it closes the connection.
                    silent.pop_front();
                    metrics::counter!("tollgate_backend_connections_closed_total", "reason" => "silent").increment(1);
                }
                let (keep, closed) = oneshot::channel();
                silent.push_back(keep);
                tokio::spawn(hand_on_from_the_first_byte(client, closed, turns.clone(), rocket));
            }
            Err(failure) => {
                if last_said.is_none_or(|at| at.elapsed() >= ACCEPT_ERROR_INTERVAL) {
                    last_said = Some(Instant::now());
                    error!("could not accept a connection: {failure}");
                }
                // The descriptors may have run out, and the silent are the first to spare theirs.
                silent.pop_front();
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn hand_on_from_the_first_byte(
    client: TcpStream,
    mut closed: oneshot::Receiver<()>,
    turns: Arc<Semaphore>,
    rocket: SocketAddr,
) {
    let mut first = [0];
    let has_spoken = tokio::select! {
        seen = timeout(FIRST_BYTE_TIMEOUT, client.peek(&mut first)) => matches!(seen, Ok(Ok(1))),
        _ = &mut closed => false,
    };
    if !has_spoken {
        return debug!("closed a connection that said nothing");
    }
    drop(closed);
    let Ok(Ok(turn)) = timeout(TURN_TIMEOUT, turns.acquire_owned()).await else {
        metrics::counter!("tollgate_backend_connections_closed_total", "reason" => "too_many").increment(1);
        return;
    };
    // Either side ends as it likes; nobody is to be told.
    let _ = hand_on(client, rocket, turn).await;
}

async fn hand_on(client: TcpStream, rocket: SocketAddr, _turn: OwnedSemaphorePermit) -> io::Result<()> {
    let server = TcpStream::connect(rocket).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let pulse = Pulse::default();
    let up = pass(from_client, to_server, &pulse);
    let down = pass(from_server, to_client, &pulse);
    let stalled = pulse.stops();
    tokio::pin!(up, down, stalled);
    // What Rocket has to say ends the connection; what the client has may end before.
    tokio::select! {
        ended = &mut down => return ended,
        ended = &mut up => ended?,
        () = &mut stalled => return Err(io::ErrorKind::TimedOut.into()),
    }
    tokio::select! {
        ended = &mut down => ended,
        () = &mut stalled => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// When something last passed, in whichever direction. One watch a connection: a timer for each read and write would cost
/// as much as the read.
struct Pulse {
    begun: Instant,
    /// Milliseconds since the connection began.
    last: AtomicU64,
    /// How many directions wait for the other side to take what it was sent.
    writing: AtomicU64,
}

impl Default for Pulse {
    fn default() -> Self {
        Self { begun: Instant::now(), last: AtomicU64::new(0), writing: AtomicU64::new(0) }
    }
}

impl Pulse {
    fn note(&self) {
        self.last.store(self.begun.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    /// Ends when nothing has passed for too long.
    async fn stops(&self) {
        loop {
            let last = self.begun + Duration::from_millis(self.last.load(Ordering::Relaxed));
            let is_writing = self.writing.load(Ordering::Relaxed) > 0;
            let until = last + if is_writing { WRITE_TIMEOUT } else { IDLE_TIMEOUT };
            if until <= Instant::now() {
                return;
            }
            sleep_until(until.min(Instant::now() + IDLE_TIMEOUT)).await;
        }
    }
}

/// Hands on bytes in one direction, to their end.
async fn pass(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, pulse: &Pulse) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES_MIN];
    loop {
        let read = from.read(&mut buffer).await?;
        pulse.note();
        if read == 0 {
            return to.shutdown().await;
        }
        pulse.writing.fetch_add(1, Ordering::Relaxed);
        let written = to.write_all(&buffer[..read]).await;
        pulse.writing.fetch_sub(1, Ordering::Relaxed);
        written?;
        pulse.note();
        // Few connections carry much, and most of the others are quiet.
        if read == buffer.len() && read < BUFFER_BYTES_MAX {
            buffer.resize(2 * read, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that sends back what it gets.
    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    let _ = tokio::io::copy(&mut from, &mut to).await;
                });
            }
        });
        addr
    }

    async fn front(limits: Limits) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        tokio::spawn(run(listener, echo().await, limits));
        addr
    }

    async fn is_echoed(stream: &mut TcpStream) -> bool {
        let mut answer = [0; 5];
        stream.write_all(b"hello").await.unwrap();
        stream.read_exact(&mut answer).await.is_ok_and(|_| &answer == b"hello")
    }

    #[tokio::test]
    async fn silent_connections_keep_nobody_out() {
        let front = front(Limits { silent_max: 3, talking_max: 2 }).await;
        let mut silent = Vec::new();
        for _ in 0..20 {
            silent.push(TcpStream::connect(front).await.unwrap());
        }
        let mut talking = TcpStream::connect(front).await.unwrap();
        assert!(is_echoed(&mut talking).await);
        // The oldest had to go.
        assert_eq!(silent[0].read(&mut [0]).await.unwrap(), 0);
        assert!(is_echoed(&mut talking).await);
    }

    #[tokio::test]
    async fn one_too_many_waits_for_its_turn() {
        let front = front(Limits { silent_max: 3, talking_max: 1 }).await;
        let mut first = TcpStream::connect(front).await.unwrap();
        assert!(is_echoed(&mut first).await);
        let second = tokio::spawn(async move {
            let mut second = TcpStream::connect(front).await.unwrap();
            is_echoed(&mut second).await
        });
        assert!(is_echoed(&mut first).await);
        assert!(!second.is_finished());
        drop(first);
        assert!(second.await.unwrap());
    }

    #[test]
    fn limits_leave_descriptors_for_the_process_itself() {
        for (descriptors, expected) in [(0, 4), (80, 8), (1024, 244)] {
            let limits = Limits::of_descriptors(descriptors);
            assert_eq!((limits.silent_max, limits.talking_max), (expected, expected));
        }
    }
}
