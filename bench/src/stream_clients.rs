//! Many clients of streams in one process, each as an `EventSource` is one but for the wait before it comes back.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::sync::{Notify, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout};
use tollgate_shared::{Clock, Timestamp};
use tollgate_tests::wait::LONG;

/// Before one comes back that was turned away, or cut off.
const PAUSE: Duration = Duration::from_millis(100);

/// What all clients together have seen.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Events.
    pub(crate) told: AtomicU64,
    /// Numbers that were passed over.
    pub(crate) lost: AtomicU64,
    /// Events that came again.
    pub(crate) twice: AtomicU64,
    /// From an event's making to its client, in milliseconds.
    lags: Mutex<Vec<f64>>,
    /// From the end of a stream that was cut to the beginning of its next one, in milliseconds.
    reconnects: Mutex<Vec<f64>>,
}

impl Seen {
    /// Sorted; none are left.
    pub(crate) fn take_lags(&self) -> Vec<f64> {
        sorted(&self.lags)
    }

    /// Sorted; none are left.
    pub(crate) fn take_reconnects(&self) -> Vec<f64> {
        sorted(&self.reconnects)
    }
}

fn sorted(values: &Mutex<Vec<f64>>) -> Vec<f64> {
    let mut values = std::mem::take(&mut *values.lock().unwrap_or_else(PoisonError::into_inner));
    values.sort_by(f64::total_cmp);
    values
}

fn note(values: &Mutex<Vec<f64>>, milliseconds: f64) {
    values.lock().unwrap_or_else(PoisonError::into_inner).push(milliseconds);
}

/// An open stream. Dropping it closes the connection.
#[derive(Debug)]
pub(crate) struct Client {
    /// What it and the others have seen.
    pub(crate) seen: Arc<Seen>,
    cut: Arc<Notify>,
    running: AbortHandle,
}

impl Client {
    /// Opens a stream and waits until it has begun.
    pub(crate) async fn open(relay: SocketAddr, path: String, seen: Arc<Seen>) -> Result<Self> {
        let cut = Arc::new(Notify::new());
        let (begun, has_begun) = oneshot::channel();
        let mut reader =
            Reader { relay, path, seen: Arc::clone(&seen), begun: Some(begun), cut_at: None, last_event_id: None };
        let told_to_cut = Arc::clone(&cut);
        let running = tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = reader.read() => sleep(PAUSE).await,
                    () = told_to_cut.notified() => {}
                }
                if reader.begun.is_none() {
                    reader.cut_at.get_or_insert_with(Instant::now);
                }
            }
        });
        let running = running.abort_handle();
        timeout(LONG, has_begun).await.context("a stream did not begin")??;
        Ok(Self { seen, cut, running })
    }

    /// Ends the connection, and has it come back at once.
    pub(crate) fn reconnect(&self) {
        self.cut.notify_one();
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.running.abort();
    }
}

struct Reader {
    relay: SocketAddr,
    path: String,
    seen: Arc<Seen>,
    begun: Option<oneshot::Sender<()>>,
    cut_at: Option<Instant>,
    last_event_id: Option<String>,
}

impl Reader {
    /// One connection, to its end.
    async fn read(&mut self) -> Result<()> {
        let stream = TcpStream::connect(self.relay).await?;
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
        // Ends with this function, however that does.
        let _connection = AbortOnDrop(tokio::spawn(connection).abort_handle());
        let mut request = Request::get(&self.path).header("host", "127.0.0.1").header("accept", "text/event-stream");
        if let Some(id) = &self.last_event_id {
            request = request.header("last-event-id", id);
        }
        let response = sender.send_request(request.body(Empty::<Bytes>::new())?).await?;
        ensure!(response.status() == 200, "a stream was answered {}", response.status());
        let mut body = response.into_body();
        let mut text = String::new();
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame?.into_data() else { continue };
            text.push_str(std::str::from_utf8(&data)?);
            while let Some(end) = text.find("\n\n") {
                let block: String = text.drain(..end + 2).collect();
                self.take(&block)?;
            }
        }
        Ok(())
    }

    fn take(&mut self, block: &str) -> Result<()> {
        let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
        let (Some(id), Some(event), Some(data)) = (field("id: "), field("event: "), field("data: ")) else {
            return Ok(());
        };
        if event == "connected" {
            if let Some(begun) = self.begun.take() {
                let _ = begun.send(());
            }
            if let Some(cut_at) = self.cut_at.take() {
                note(&self.seen.reconnects, cut_at.elapsed().as_secs_f64() * 1000.0);
            }
        } else {
            let seq = |id: &str| id.split_once('.').and_then(|(_, seq)| seq.parse::<u64>().ok()).unwrap_or_default();
            let (last, this) = (self.last_event_id.as_deref().map(seq).unwrap_or_default(), seq(id));
            if this <= last {
                self.seen.twice.fetch_add(1, Ordering::Relaxed);
            } else {
                self.seen.lost.fetch_add(this - last - 1, Ordering::Relaxed);
            }
            let data: Value = serde_json::from_str(data)?;
            let made: Timestamp = data["createdAt"].as_str().unwrap_or_default().parse()?;
            note(&self.seen.lags, (Clock::system().now() - made).as_seconds_f64() * 1000.0);
            self.seen.told.fetch_add(1, Ordering::Relaxed);
        }
        self.last_event_id = Some(id.to_owned());
        Ok(())
    }
}

struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
