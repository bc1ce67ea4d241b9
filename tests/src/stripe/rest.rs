//! Stripe's API, as far as we call it: an object by its id, in the version that the call asks for, dated by Stripe's
//! own clock. Calls may be made to fail.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tollgate_shared::clock::from_unix;

use super::shape::{self, ApiVersion};
use super::{Object, Stripe};

/// The secret key of every account here.
pub const SECRET_KEY: &str = "sk_test_4eC39HqLyjWDarjtT1zdp7dc";

/// The API of one account.
pub struct Api {
    /// The value for `STRIPE_API_BASE`.
    pub base: String,
    state: Arc<Mutex<State>>,
}

struct State {
    stripe: Stripe,
    failures: VecDeque<u16>,
    asked: Vec<String>,
}

impl Api {
    /// Starts to answer for `stripe` as it is now; ends with the runtime.
    pub async fn start(stripe: &Stripe) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("there is a free port");
        let address: SocketAddr = listener.local_addr().expect("it is bound");
        let state = State { stripe: stripe.clone(), failures: VecDeque::new(), asked: Vec::new() };
        let state = Arc::new(Mutex::new(state));
        let answers = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = Arc::clone(&answers);
                tokio::spawn(async move {
                    let answer = service_fn(move |request: Request<Incoming>| {
                        let answer = lock(&state).answer(request.method(), request.uri().path(), request.headers());
                        async { Ok::<_, Infallible>(answer) }
                    });
                    auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), answer).await
                });
            }
        });
        Self { base: format!("http://{address}"), state }
    }

    /// From here on it answers for `stripe` as it is now.
    pub fn is_now(&self, stripe: &Stripe) {
        lock(&self.state).stripe = stripe.clone();
    }

    /// Fails the next calls with these statuses.
    pub fn fail(&self, statuses: &[u16]) {
        lock(&self.state).failures.extend(statuses);
    }

    /// Fails no more.
    pub fn recover(&self) {
        lock(&self.state).failures.clear();
    }

    /// The paths that were asked for, failed calls included.
    pub fn asked(&self) -> Vec<String> {
        lock(&self.state).asked.clone()
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    fn answer(&mut self, method: &Method, path: &str, headers: &HeaderMap) -> Response<Full<Bytes>> {
        self.asked.push(path.to_owned());
        let (status, body) = self.decide(method, path, headers).unwrap_or_else(|(status, kind, message)| {
            (status, json!({ "error": { "type": kind, "message": message } }))
        });
        let date = from_unix(self.stripe.now).expect("it is no year of five digits");
        Response::builder()
            .status(status)
            .header("content-type", "application/json")
            .header("date", date.format("%a, %d %b %Y %H:%M:%S GMT").to_string())
            .body(Full::new(Bytes::from(body.to_string())))
            .expect("the header is a date")
    }

    fn decide(
        &mut self,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
    ) -> Result<(u16, Value), (u16, &'static str, &'static str)> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        if text("authorization") != Some(&format!("Bearer {SECRET_KEY}")) {
            return Err((401, "invalid_request_error", "Invalid API Key provided"));
        }
        if let Some(status) = self.failures.pop_front() {
            return Err((status, "api_error", "An unexpected error occurred"));
        }
        let asked = text("stripe-version").unwrap_or_default();
        let version = ApiVersion::ALL.into_iter().find(|version| version.name() == asked);
        let version = version.ok_or((400, "invalid_request_error", "Invalid Stripe API version"))?;
        let unknown = (StatusCode::NOT_FOUND.as_u16(), "invalid_request_error", "No such object");
        let parts: Vec<_> = path.trim_start_matches('/').split('/').collect();
        let body = match (method, &parts[..]) {
            (&Method::GET, ["v1", "checkout", "sessions", id, "line_items"]) => {
                self.stripe.sessions.get(*id).map(shape::session_items)
            }
            (&Method::GET, ["v1", resource, id]) => {
                self.object(resource, id).map(|object| shape::object(&object, version, self.stripe.livemode))
            }
            _ => None,
        };
        Ok((200, body.ok_or(unknown)?))
    }

    fn object(&self, resource: &str, id: &str) -> Option<Object> {
        match resource {
            "customers" => self.stripe.customers.get(id).cloned().map(Object::from),
            "subscriptions" => self.stripe.subscriptions.get(id).cloned().map(Object::from),
            _ => None,
        }
    }
}
