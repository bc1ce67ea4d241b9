//! Stripe's API over HTTP, as far as we call it: in the version that a call asks for, dated by Stripe's own clock. It
//! refuses parameters that Stripe does not know, does once what comes twice under one `Idempotency-Key`, and fails on
//! demand.

mod billing;
mod checkout;
mod form;
mod params;

use std::collections::{BTreeMap, VecDeque};
use std::future;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tollgate_shared::clock::from_unix;

use self::params::BadParameter;
use super::Stripe;
use super::shape::ApiVersion;

/// The secret key of every account here.
pub const SECRET_KEY: &str = "sk_test_4eC39HqLyjWDarjtT1zdp7dc";

/// The API of one account.
pub struct Api {
    /// The value for `STRIPE_API_BASE`.
    pub base: String,
    state: Arc<Mutex<State>>,
}

/// What goes wrong with a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is answered with this status, and nothing is done.
    Status(u16),
    /// The same, with headers.
    StatusWith(u16, Vec<(&'static str, String)>),
    /// It is never answered, and nothing is done.
    Silent,
    /// It is done, and its answer is lost on the way.
    AnswerLost,
}

/// A call that came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// `POST /v1/subscriptions/sub_1`
    pub call: String,
    /// What was sent, as a form or a query.
    pub form: Vec<(String, String)>,
    /// Its `Idempotency-Key`.
    pub key: Option<String>,
}

impl Asked {
    /// The value that was sent for `name`.
    pub fn value(&self, name: &str) -> Option<&str> {
        form::get(&self.form, name)
    }
}

struct State {
    stripe: Stripe,
    /// What becomes of the next calls; `None`: nothing goes wrong with that one.
    faults: VecDeque<Option<Fault>>,
    asked: Vec<Asked>,
    answered: BTreeMap<String, Answered>,
}

/// What came of a call under an `Idempotency-Key`.
#[derive(Clone)]
struct Answered {
    call: String,
    form: Vec<(String, String)>,
    status: u16,
    body: Value,
}

/// An error as Stripe answers it: status, and the members of `error`.
struct Refused(u16, Value);

impl Refused {
    fn invalid(status: u16, code: Option<&str>, message: &str) -> Self {
        Self(status, json!({ "type": "invalid_request_error", "code": code, "message": message }))
    }

    fn missing() -> Self {
        Self::invalid(404, Some("resource_missing"), "No such object")
    }
}

type Answer = Result<Value, Refused>;

impl Api {
    /// Starts to answer for `stripe` as it is now; ends with the runtime.
    pub async fn start(stripe: &Stripe) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("there is a free port");
        let address: SocketAddr = listener.local_addr().expect("it is bound");
        let state =
            State { stripe: stripe.clone(), faults: VecDeque::new(), asked: Vec::new(), answered: BTreeMap::new() };
        let state = Arc::new(Mutex::new(state));
        let answers = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = Arc::clone(&answers);
                tokio::spawn(async move {
                    let answer = service_fn(move |request| answer(Arc::clone(&state), request));
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

    /// Lets something happen at Stripe, and gives what `change` gives.
    pub fn change<T>(&self, change: impl FnOnce(&mut Stripe) -> T) -> T {
        change(&mut lock(&self.state).stripe)
    }

    /// Fails the next calls with these statuses.
    pub fn fail(&self, statuses: &[u16]) {
        lock(&self.state).faults.extend(statuses.iter().map(|status| Some(Fault::Status(*status))));
    }

    /// What goes wrong with the next calls.
    pub fn fault(&self, faults: &[Fault]) {
        lock(&self.state).faults.extend(faults.iter().cloned().map(Some));
    }

    /// What goes wrong after `calls` more calls.
    pub fn fault_after(&self, calls: usize, faults: &[Fault]) {
        lock(&self.state).faults.extend(vec![None; calls]);
        self.fault(faults);
    }

    /// Fails no more.
    pub fn recover(&self) {
        lock(&self.state).faults.clear();
    }

    /// The paths that were asked for, failed calls included.
    pub fn asked(&self) -> Vec<String> {
        let path = |asked: &Asked| asked.call.split_once(' ').map(|(_, path)| path.to_owned());
        lock(&self.state).asked.iter().filter_map(path).collect()
    }

    /// The calls that came in, failed ones included.
    pub fn calls(&self) -> Vec<Asked> {
        lock(&self.state).asked.clone()
    }

    /// Those that change something.
    pub fn changes(&self) -> Vec<Asked> {
        self.calls().into_iter().filter(|asked| !asked.call.starts_with("GET ")).collect()
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn answer(state: Arc<Mutex<State>>, request: Request<Incoming>) -> io::Result<Response<Full<Bytes>>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let sent = if head.method == Method::GET { head.uri.query().unwrap_or_default().as_bytes() } else { &body };
    let form = form::decode(str::from_utf8(sent).map_err(io::Error::other)?);
    let text = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let asked = Asked { call: format!("{} {}", head.method, head.uri.path()), form, key: text("idempotency-key") };
    let fault = {
        let mut state = lock(&state);
        state.asked.push(asked.clone());
        state.faults.pop_front().flatten()
    };
    match fault {
        Some(Fault::Silent) => future::pending().await,
        Some(Fault::Status(status)) => Ok(lock(&state).failure(status, &[])),
        Some(Fault::StatusWith(status, headers)) => Ok(lock(&state).failure(status, &headers)),
        Some(Fault::AnswerLost) => {
            lock(&state).answer(&asked, &head.headers);
            Err(io::Error::other("its answer is lost"))
        }
        None => Ok(lock(&state).answer(&asked, &head.headers)),
    }
}

impl State {
    fn failure(&self, status: u16, headers: &[(&'static str, String)]) -> Response<Full<Bytes>> {
        let error = json!({ "error": { "type": "api_error", "message": "An unexpected error occurred" } });
        self.response(status, &error, headers)
    }

    fn response(&self, status: u16, body: &Value, headers: &[(&'static str, String)]) -> Response<Full<Bytes>> {
        let date = from_unix(self.stripe.now).expect("it is no year of five digits");
        let mut response = Response::builder()
            .status(status)
            .header("content-type", "application/json")
            .header("request-id", "req_1")
            .header("date", date.format("%a, %d %b %Y %H:%M:%S GMT").to_string());
        for (name, value) in headers {
            response = response.header(*name, value);
        }
        response.body(Full::new(Bytes::from(body.to_string()))).expect("the headers are texts")
    }

    /// Does what is asked, once for an `Idempotency-Key`.
    fn answer(&mut self, asked: &Asked, headers: &HeaderMap) -> Response<Full<Bytes>> {
        let version = match Self::judge(asked, headers) {
            Ok(version) => version,
            // Of what is not even begun nothing is remembered.
            Err(Refused(status, error)) => return self.response(status, &json!({ "error": error }), &[]),
        };
        // With another method a key has no effect.
        let key = asked.key.as_ref().filter(|_| asked.call.starts_with("POST "));
        if let Some(known) = key.and_then(|key| self.answered.get(key)) {
            if (&known.call, &known.form) == (&asked.call, &asked.form) {
                let replayed = [("idempotent-replayed", "true".to_owned())];
                return self.response(known.status, &known.body, &replayed);
            }
            let error =
                json!({ "type": "idempotency_error", "message": "Keys can only be used with the same parameters" });
            return self.response(400, &json!({ "error": error }), &[]);
        }
        let (status, body) = match self.stripe.called(asked, version) {
            Ok(body) => (200, body),
            Err(Refused(status, error)) => (status, json!({ "error": error })),
        };
        if let Some(key) = key {
            let (call, form) = (asked.call.clone(), asked.form.clone());
            self.answered.insert(key.clone(), Answered { call, form, status, body: body.clone() });
        }
        self.response(status, &body, &[])
    }

    fn judge(asked: &Asked, headers: &HeaderMap) -> Result<ApiVersion, Refused> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        if text("authorization") != Some(&format!("Bearer {SECRET_KEY}")) {
            return Err(Refused::invalid(401, None, "Invalid API Key provided"));
        }
        let version = text("stripe-version").unwrap_or_default();
        let version = ApiVersion::ALL.into_iter().find(|known| known.name() == version);
        let version = version.ok_or_else(|| Refused::invalid(400, None, "Invalid Stripe API version"))?;
        match params::check(&kind_of(&asked.call), &asked.form) {
            Ok(()) => Ok(version),
            Err(BadParameter::NoSuchCall) => Err(Refused::invalid(404, None, "Unrecognized request URL")),
            Err(BadParameter::Unknown(name)) => {
                let message = format!("Received unknown parameter: {name}");
                Err(Refused::invalid(400, Some("parameter_unknown"), &message))
            }
        }
    }
}

/// A call without the ids in it: `POST /v1/subscriptions/{id}`.
fn kind_of(call: &str) -> String {
    const IDS: [&str; 8] = ["sub_", "cus_", "in_", "pm_", "price_", "cs_", "pi_", "si_"];
    let parts = call.split('/').map(|part| if IDS.iter().any(|id| part.starts_with(id)) { "{id}" } else { part });
    parts.collect::<Vec<_>>().join("/")
}
