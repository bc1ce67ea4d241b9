//! A client of a stream of events, as a browser's `EventSource` is one: it comes back after every end with the id that it
//! saw last, and gives up for good after any status but 200. It only comes back sooner. Two real ones tell in the same
//! way what they are told: the package `eventsource`, and Chromium's.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use crate::node::{self, packages, programs};
use crate::wait::LONG;

/// What a real one listens for: it hears of nothing else.
const LISTENED_FOR: [&str; 22] = [
    "broadcast",
    "connected",
    "gap",
    "heartbeat",
    "license_created",
    "license_expired",
    "license_reinstated",
    "license_revoked",
    "license_suspended",
    "machine_activated",
    "machine_deactivated",
    "payment_failed",
    "payment_succeeded",
    "plan_changed",
    "refused",
    "state_sync",
    "subscription_cancel_scheduled",
    "subscription_cancelled",
    "subscription_created",
    "subscription_past_due",
    "subscription_reactivated",
    "subscription_updated",
];

/// The longest that it waits before it comes back, whatever it was told.
const RETRY_MAX: Duration = Duration::from_millis(100);

/// One thing that it was told.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// The event's id, if it has one; a real `EventSource` gives that of the last event that had one.
    pub id: Option<String>,
    /// Its name; `closed <status>` when it gave up, `closed` for a real one.
    pub event: String,
    /// Its data.
    pub data: Value,
}

impl Told {
    /// Its number in the licence's log: the second half of its cursor.
    pub fn seq(&self) -> i64 {
        let id = self.id.as_deref().unwrap_or_else(|| panic!("it has an id: {self:?}"));
        id.split_once('.').and_then(|(_, seq)| seq.parse().ok()).unwrap_or_else(|| panic!("{id} is a cursor"))
    }
}

/// An open stream. Dropping it closes the connection.
#[derive(Debug)]
pub struct EventSource {
    told: mpsc::UnboundedReceiver<Told>,
    running: AbortHandle,
}

impl EventSource {
    /// Opens the stream at `url`; `last_event_id` is what it has seen before.
    pub fn open(url: &str, last_event_id: Option<&str>) -> Self {
        let (tell, told) = mpsc::unbounded_channel();
        let (url, mut state) = (url.to_owned(), State::after(last_event_id));
        let running = tokio::spawn(async move {
            // A client of its own: a connection that is dropped is closed.
            let client = Client::builder(TokioExecutor::new()).build_http();
            loop {
                if let Err(Closed) = state.read(&client, &url, &tell).await {
                    return;
                }
                sleep(state.retry.min(RETRY_MAX)).await;
            }
        });
        Self { told, running: running.abort_handle() }
    }

    /// The package `eventsource` in Node, at `url`.
    pub fn in_node(url: &str) -> Self {
        Self::of_program("event_source.js", &[url])
    }

    /// Chromium's own, at `url`, on a page of `origin`; that of a page which is a file is `null`.
    pub fn in_chromium(url: &str, origin: &str) -> Self {
        Self::of_program("chromium.js", &[origin, url])
    }

    fn of_program(name: &str, arguments: &[&str]) -> Self {
        packages();
        let (tell, told) = mpsc::unbounded_channel();
        let mut node = node::start(&programs().join(name), &[arguments, &LISTENED_FOR].concat());
        let running = tokio::spawn(async move {
            while let Some(mut said) = node.next().await {
                let text = |value: &Value| value.as_str().map(str::to_owned);
                let event = text(&said["event"]).expect("each has a name");
                if tell.send(Told { id: text(&said["id"]), event, data: said["data"].take() }).is_err() {
                    return;
                }
            }
        });
        Self { told, running: running.abort_handle() }
    }

    /// What it is told next.
    pub async fn next(&mut self) -> Told {
        let told = timeout(LONG, self.told.recv()).await.expect("nothing was told for too long");
        told.expect("a stream that gave up was read past that")
    }

    /// What it has been told and nobody has read, without waiting for more.
    pub fn next_unread(&mut self) -> Option<Told> {
        self.told.try_recv().ok()
    }

    /// The next that is neither a heartbeat nor the beginning of a stream.
    pub async fn next_event(&mut self) -> Told {
        loop {
            let told = self.next().await;
            if !["connected", "heartbeat"].contains(&&*told.event) {
                return told;
            }
        }
    }

    /// The next of that name.
    pub async fn next_named(&mut self, event: &str) -> Told {
        loop {
            let told = self.next().await;
            if told.event == event {
                return told;
            }
        }
    }
}

impl Drop for EventSource {
    fn drop(&mut self) {
        self.running.abort();
    }
}

struct Closed;

struct State {
    last_event_id: Option<String>,
    retry: Duration,
}

impl State {
    fn after(last_event_id: Option<&str>) -> Self {
        Self { last_event_id: last_event_id.map(str::to_owned), retry: RETRY_MAX }
    }

    /// One connection, to its end.
    async fn read(
        &mut self,
        client: &Client<HttpConnector, Empty<Bytes>>,
        url: &str,
        tell: &mpsc::UnboundedSender<Told>,
    ) -> Result<(), Closed> {
        let mut request = Request::get(url).header("accept", "text/event-stream");
        if let Some(id) = &self.last_event_id {
            request = request.header("last-event-id", id);
        }
        let request = request.body(Empty::new()).expect("a URL of ours is one");
        let Ok(answer) = client.request(request).await else { return Ok(()) };
        let (head, mut body) = answer.into_parts();
        let is_stream = head.headers.get("content-type").is_some_and(|kind| kind == "text/event-stream");
        if head.status != 200 || !is_stream {
            let event = format!("closed {}", head.status.as_u16());
            let _ = tell.send(Told { id: None, event, data: Value::Null });
            return Err(Closed);
        }
        let mut text = String::new();
        while let Some(Ok(frame)) = body.frame().await {
            let Ok(data) = frame.into_data() else { continue };
            text.push_str(std::str::from_utf8(&data).expect("our texts are ASCII"));
            while let Some(end) = text.find("\n\n") {
                let block: String = text.drain(..end + 2).collect();
                if let Some(told) = self.dispatch(&block) {
                    tell.send(told).map_err(|_| Closed)?;
                }
            }
        }
        Ok(())
    }

    /// What a block of lines says. What is cut off before its blank line is never seen here, as the standard wants it.
    fn dispatch(&mut self, block: &str) -> Option<Told> {
        let (mut id, mut event, mut data) = (None, "message".to_owned(), None);
        for line in block.lines() {
            match line.split_once(": ") {
                Some(("id", value)) => id = Some(value.to_owned()),
                Some(("event", value)) => value.clone_into(&mut event),
                Some(("data", value)) => data = Some(serde_json::from_str(value).expect("data is JSON")),
                Some(("retry", value)) => {
                    self.retry = Duration::from_millis(value.parse().expect("a number of milliseconds"));
                }
                _ => assert!(line.is_empty() || line.starts_with(':'), "a line that says nothing: {line:?}"),
            }
        }
        if id.is_some() {
            self.last_event_id.clone_from(&id);
        }
        Some(Told { id, event, data: data? })
    }
}
