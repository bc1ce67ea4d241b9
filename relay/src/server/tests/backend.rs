//! A small HTTP server that stands for the backend, at the process's edge: it responds as it is told to.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tollgate_shared::json_seq;

/// No condition takes that long to come true, however slow the machine.
pub(super) const AT_LAST: Duration = Duration::from_secs(30);

/// One request to the intake.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// The ids of its events, in order.
    pub(super) events: Vec<String>,
}

impl Asked {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(super) fn is_sequence(&self) -> bool {
        self.header("content-type") == json_seq::MEDIA_TYPE
    }
}

/// What to do with a request to the intake.
pub(super) enum Reply {
    /// Confirm every event in it.
    Confirm,
    /// As [`Reply::Confirm`], and say that sequences are taken.
    ConfirmAndTakeSequences,
    /// As [`Reply::ConfirmAndTakeSequences`], but fail the events of these ids, each by itself.
    FailOnly(&'static [&'static str]),
    /// A redirect to there.
    Redirect(String),
    /// This status and body.
    Respond(u16, String),
    /// Refuse all of it with this status and `Retry-After`, and say that sequences are taken.
    Refuse(u16, Option<&'static str>),
    /// No response until [`Backend::open_the_gate`], then confirm.
    Wait,
    /// Close the connection.
    HangUp,
}

type Script = Arc<dyn Fn(&Asked) -> Reply + Send + Sync>;

struct Shared {
    script: Mutex<Script>,
    asked: watch::Sender<Vec<Asked>>,
    gate: watch::Sender<bool>,
    ready_status: AtomicU16,
    ready_asked: watch::Sender<usize>,
}

/// The backend's stand-in.
pub(super) struct Backend {
    pub(super) addr: SocketAddr,
    shared: Arc<Shared>,
    serving: Option<JoinHandle<()>>,
}

impl Backend {
    pub(super) async fn start(script: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let shared = Arc::new(Shared {
            script: Mutex::new(Arc::new(script)),
            asked: watch::Sender::default(),
            gate: watch::Sender::new(false),
            ready_status: AtomicU16::new(200),
            ready_asked: watch::Sender::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let serving = tokio::spawn(serve(listener, Arc::clone(&shared)));
        Self { addr, shared, serving: Some(serving) }
    }

    /// One that is not there until [`Backend::come_back`].
    pub(super) async fn away(script: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let mut backend = Self::start(script).await;
        backend.go_away().await;
        backend
    }

    pub(super) fn reply(&self, script: impl Fn(&Asked) -> Reply + Send + Sync + 'static) {
        *self.shared.script.lock().unwrap() = Arc::new(script);
    }

    /// Ends its listener and every connection.
    pub(super) async fn go_away(&mut self) {
        let serving = self.serving.take().expect("it was there");
        serving.abort();
        let _ = serving.await;
    }

    /// Listens on the same address again.
    pub(super) async fn come_back(&mut self) {
        let listener = TcpListener::bind(self.addr).await.unwrap();
        self.serving = Some(tokio::spawn(serve(listener, Arc::clone(&self.shared))));
    }

    pub(super) fn set_ready(&self, status: u16) {
        self.shared.ready_status.store(status, Ordering::SeqCst);
    }

    pub(super) async fn wait_until_ready_was_asked_again(&self, times: usize) {
        let mut asked = self.shared.ready_asked.subscribe();
        let before = *asked.borrow();
        within(asked.wait_for(|now| *now >= before + times)).await.unwrap();
    }

    /// Lets every [`Reply::Wait`] be answered.
    pub(super) fn open_the_gate(&self) {
        self.shared.gate.send_replace(true);
    }

    /// All requests so far.
    pub(super) fn asked(&self) -> Vec<Asked> {
        self.shared.asked.borrow().clone()
    }

    /// The ids of all events so far, in order, repeats included.
    pub(super) fn events(&self) -> Vec<String> {
        ids(&self.shared.asked.borrow())
    }

    /// How often the event has come.
    pub(super) fn times(&self, id: &str) -> usize {
        self.events().iter().filter(|event| *event == id).count()
    }

    /// Waits until the events that have come satisfy `enough`.
    pub(super) async fn wait_for_events(&self, enough: impl Fn(&[String]) -> bool) -> Vec<String> {
        let mut asked = self.shared.asked.subscribe();
        let asked = within(asked.wait_for(|asked| enough(&ids(asked)))).await.unwrap();
        ids(&asked)
    }

    /// Waits until the event has come so often.
    pub(super) async fn wait_for(&self, id: &str, times: usize) {
        self.wait_for_events(|events| events.iter().filter(|event| *event == id).count() >= times).await;
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        if let Some(serving) = &self.serving {
            serving.abort();
        }
    }
}

/// What comes true at last; a test that waits in vain fails.
pub(super) async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(AT_LAST, future).await.expect("it comes true at last")
}

/// Waits until `condition` holds, for those that ring no bell.
pub(super) async fn until(condition: impl Fn() -> bool) {
    within(async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

fn ids(asked: &[Asked]) -> Vec<String> {
    asked.iter().flat_map(|asked| asked.events.clone()).collect()
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    // Aborted with this task.
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            let service = service_fn(move |request| respond(request, Arc::clone(&shared)));
            let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn respond(request: Request<Incoming>, shared: Arc<Shared>) -> Result<Response<Full<Bytes>>, HungUp> {
    if request.uri().path() == "/ready" {
        shared.ready_asked.send_modify(|times| *times += 1);
        return Ok(response(shared.ready_status.load(Ordering::SeqCst), String::new(), false));
    }
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| HungUp)?.to_bytes();
    let mut asked =
        Asked { path: head.uri.path().to_owned(), headers: head.headers, body: body.clone(), events: Vec::new() };
    let texts = if asked.is_sequence() { json_seq::split(&body).collect() } else { vec![&body[..]] };
    let id = |text| serde_json::from_slice::<Value>(text).unwrap()["id"].as_str().unwrap().to_owned();
    asked.events = texts.into_iter().map(id).collect();
    let script = Arc::clone(&shared.script.lock().unwrap());
    let reply = script(&asked);
    shared.asked.send_modify(|all| all.push(asked.clone()));
    match reply {
        Reply::Confirm => Ok(confirm(&asked, &[], false)),
        Reply::ConfirmAndTakeSequences => Ok(confirm(&asked, &[], true)),
        Reply::FailOnly(ids) => Ok(confirm(&asked, ids, true)),
        Reply::Redirect(target) => {
            let mut response = response(307, r#"{"received":true}"#.into(), false);
            response.headers_mut().insert("location", target.parse().unwrap());
            Ok(response)
        }
        Reply::Respond(status, body) => Ok(response(status, body, false)),
        Reply::Refuse(status, retry_after) => {
            let mut response = response(status, r#"{"error":{"code":"x"}}"#.into(), true);
            if let Some(retry_after) = retry_after {
                response.headers_mut().insert("retry-after", retry_after.parse().unwrap());
            }
            Ok(response)
        }
        Reply::Wait => {
            let mut gate = shared.gate.subscribe();
            gate.wait_for(|open| *open).await.unwrap();
            Ok(confirm(&asked, &[], true))
        }
        Reply::HangUp => Err(HungUp),
    }
}

/// Ends the connection.
#[derive(Debug, thiserror::Error)]
#[error("hung up")]
struct HungUp;

impl From<Infallible> for HungUp {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

fn confirm(asked: &Asked, fail: &[&str], takes_sequences: bool) -> Response<Full<Bytes>> {
    let result = |id: &String| {
        if fail.contains(&id.as_str()) {
            json!({"eventId": id, "status": 500, "received": false, "error": {"code": "x"}, "stored": true})
        } else {
            json!({"eventId": id, "status": 200, "received": true, "outcome": "processed"})
        }
    };
    if asked.is_sequence() {
        let results: Vec<_> = asked.events.iter().map(result).collect();
        return response(200, json!({"results": results}).to_string(), takes_sequences);
    }
    let result = result(&asked.events[0]);
    response(result["status"].as_u64().unwrap() as u16, result.to_string(), takes_sequences)
}

fn response(status: u16, body: String, takes_sequences: bool) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    if takes_sequences {
        response.headers_mut().insert("accept-post", json_seq::ACCEPT_POST.parse().unwrap());
    }
    response
}
