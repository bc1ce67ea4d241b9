//! A server of operators' that takes alerts, reads each by types that others have made of Alertmanager's, and hears a heartbeat.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};

use alertmanager_webhook_types::Webhook;
use alertmanager_webhook_types::v4::Status;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::Value;
use tokio::net::TcpListener;

/// Such a server.
pub(super) struct Receiver {
    address: String,
    heard: Arc<Mutex<Heard>>,
}

#[derive(Default)]
struct Heard {
    /// How it answers the next alerts; then 200.
    answers: VecDeque<u16>,
    tried: usize,
    taken: Vec<Value>,
    beats: usize,
}

impl Receiver {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let heard = Arc::<Mutex<Heard>>::default();
        let hears = heard.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let hears = hears.clone();
                let answer = service_fn(move |request: Request<Incoming>| {
                    let hears = hears.clone();
                    async move {
                        let is_beat = request.uri().path() == "/heartbeat";
                        let body = request.into_body().collect().await.unwrap().to_bytes();
                        let status = hears.lock().unwrap().take(is_beat, &body);
                        Ok::<_, Infallible>(Response::builder().status(status).body(Full::new(Bytes::new())).unwrap())
                    }
                });
                tokio::spawn(async move {
                    let server = auto::Builder::new(TokioExecutor::new());
                    let _ = server.serve_connection(TokioIo::new(stream), answer).await;
                });
            }
        });
        Self { address, heard }
    }

    /// The address of a path.
    pub(super) fn at(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// It answers the next alerts so.
    pub(super) fn will_answer(&self, statuses: impl IntoIterator<Item = u16>) {
        self.heard().answers.extend(statuses);
    }

    /// What it has taken since it was last asked, each as `NotDurable firing`.
    pub(super) fn told(&self) -> Vec<String> {
        let line = |body: Value| {
            let Webhook::Webhook4(told) = serde_json::from_value(body).unwrap() else { panic!("another version") };
            let [alert] = &told.alerts[..] else { panic!("not one alert: {told:?}") };
            assert_eq!((told.truncated_alerts, &told.common_labels), (0, &alert.labels));
            assert_eq!(told.group_labels["alertname"], alert.labels["alertname"]);
            assert!(!alert.annotations["summary"].is_empty() && alert.fingerprint.len() == 16, "{alert:?}");
            let state = match alert.status {
                Status::Firing => {
                    assert_eq!(alert.ends_at.year(), 1, "it has no end");
                    "firing"
                }
                Status::Resolved => {
                    assert!(alert.ends_at > alert.starts_at, "{alert:?}");
                    "resolved"
                }
            };
            format!("{} {state}", alert.labels["alertname"])
        };
        self.bodies().into_iter().map(line).collect()
    }

    /// The same as it was sent.
    pub(super) fn bodies(&self) -> Vec<Value> {
        std::mem::take(&mut self.heard().taken)
    }

    /// How often it was called for an alert.
    pub(super) fn tried(&self) -> usize {
        self.heard().tried
    }

    /// How many heartbeats it has heard.
    pub(super) fn beats(&self) -> usize {
        self.heard().beats
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap()
    }
}

impl Heard {
    fn take(&mut self, is_beat: bool, body: &[u8]) -> u16 {
        if is_beat {
            self.beats += 1;
            return 200;
        }
        self.tried += 1;
        let status = self.answers.pop_front().unwrap_or(200);
        if status == 200 {
            self.taken.push(serde_json::from_slice(body).unwrap());
        }
        status
    }
}
