//! HTTP: calls in and answers out, each idempotent where it is asked to be, or failing where a test wants it to.

use std::future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::{Instant, interval};
use tollgate_shared::clock::from_unix;

use super::refused::Refused;
use super::{Answered, Asked, Call, Fault, SECRET_KEY, Shared, State, clocks, form, pages, params, webhooks};
use crate::stripe::shape::ApiVersion;

/// Answers until the runtime ends.
pub(super) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        // What one connection fails with is not the next one's matter.
        let Ok((stream, _)) = listener.accept().await else { continue };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let answer = service_fn(move |request| answer(Arc::clone(&shared), request));
            auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), answer).await
        });
    }
}

/// Lets happen what is due, without anybody asking.
pub(super) async fn keep_time(shared: Arc<Shared>) {
    let mut seconds = interval(Duration::from_secs(1));
    loop {
        seconds.tick().await;
        let mut state = shared.lock();
        state.look_at_the_clock();
        state.announce();
    }
}

async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> io::Result<Response<Full<Bytes>>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let path = head.uri.path().to_owned();
    let sent = [head.uri.query().unwrap_or_default().as_bytes(), &body];
    let Some(form) = sent.into_iter().map(|text| form::decode(str::from_utf8(text).ok()?)).collect::<Option<Vec<_>>>()
    else {
        return Ok(shared.lock().response(400, &json!({ "error": { "type": "invalid_request_error" } }), &[]));
    };
    let call = Call { method: head.method, path, headers: head.headers, form: form.concat() };
    if !call.path.starts_with("/v1/") {
        return Ok(pages::show(&shared, &call).await);
    }
    let header = |name: &str| call.header(name).map(str::to_owned);
    let (key, version) = (header("idempotency-key"), header("stripe-version"));
    let asked = Asked { call: format!("{} {}", call.method, call.path), form: call.form.clone(), key, version };
    let fault = {
        let mut state = shared.lock();
        state.asked.push(asked.clone());
        state.faults.pop_front().flatten()
    };
    match fault {
        Some(Fault::Silent) => future::pending().await,
        Some(Fault::Status(status)) => Ok(shared.lock().failure(status, &[])),
        Some(Fault::StatusWith(status, headers)) => Ok(shared.lock().failure(status, &headers)),
        Some(Fault::AnswerLost) => {
            shared.lock().answer(&shared, &asked, &call);
            Err(io::Error::other("its answer is lost"))
        }
        None => {
            let (begun, mut state) = (Instant::now(), shared.lock());
            let response = state.answer(&shared, &asked, &call);
            state.busy += begun.elapsed();
            state.count_down();
            Ok(response)
        }
    }
}

impl State {
    fn failure(&self, status: u16, headers: &[(&'static str, String)]) -> Response<Full<Bytes>> {
        let error = match status {
            429 => json!({ "type": "invalid_request_error", "code": "rate_limit", "message": "Too many requests" }),
            400..500 => json!({ "type": "invalid_request_error", "message": "It cannot be done now" }),
            _ => json!({ "type": "api_error", "message": "An unexpected error occurred" }),
        };
        self.response(status, &json!({ "error": error }), headers)
    }

    fn response(&self, status: u16, body: &Value, headers: &[(&'static str, String)]) -> Response<Full<Bytes>> {
        let date = from_unix(self.stripe.now).expect("it is no year of five digits");
        let mut response = Response::builder()
            .status(status)
            .header("content-type", "application/json")
            .header("request-id", format!("req_{}", self.asked.len()))
            .header("date", date.format("%a, %d %b %Y %H:%M:%S GMT").to_string());
        for (name, value) in headers {
            response = response.header(*name, value);
        }
        response.body(Full::new(Bytes::from(body.to_string()))).expect("the headers are texts")
    }

    /// Does what is asked, once for an `Idempotency-Key`.
    fn answer(&mut self, shared: &Arc<Shared>, asked: &Asked, call: &Call) -> Response<Full<Bytes>> {
        self.look_at_the_clock();
        let version = match judge(asked, call) {
            Ok(version) => version,
            // Of what is not even begun nothing is remembered.
            Err(Refused(status, error)) => return self.response(status, &json!({ "error": error }), &[]),
        };
        let mut headers = vec![("stripe-version", version.name().to_owned())];
        // With another method a key has no effect.
        let key = asked.key.as_ref().filter(|_| call.method == Method::POST);
        headers.extend(key.map(|key| ("idempotency-key", key.clone())));
        if let Some(known) = key.and_then(|key| self.answered.get(key)) {
            if (&known.call, &known.form) == (&asked.call, &asked.form) {
                headers.push(("idempotent-replayed", "true".to_owned()));
                return self.response(known.status, &known.body, &headers);
            }
            let message =
                "Keys for idempotent requests can only be used with the same parameters they were first used with.";
            let error = json!({ "type": "idempotency_error", "message": message });
            return self.response(400, &json!({ "error": error }), &headers);
        }
        let done = if let Some(account) = call.header("stripe-account") {
            let stripe = self.connected.get_mut(account).ok_or_else(Refused::no_such_account);
            stripe.and_then(|stripe| stripe.called(asked, version))
        } else {
            let own = webhooks::called(shared, self, asked).or_else(|| clocks::called(self, asked));
            own.unwrap_or_else(|| self.stripe.called(asked, version))
        };
        self.announce();
        let (status, body) = match done {
            Ok(body) => (200, body),
            Err(Refused(status, error)) => (status, json!({ "error": error })),
        };
        if let Some(key) = key {
            let (call, form) = (asked.call.clone(), asked.form.clone());
            self.answered.insert(key.clone(), Answered { call, form, status, body: body.clone() });
        }
        self.response(status, &body, &headers)
    }
}

/// Who asks, for which version, and whether with parameters that there are.
fn judge(asked: &Asked, call: &Call) -> Result<ApiVersion, Refused> {
    let authorization = call.header("authorization").unwrap_or_default();
    // As a user's name without a password, too: `curl -u sk_test_…:`.
    let basic = BASE64_STANDARD.encode(format!("{SECRET_KEY}:"));
    if ![format!("Bearer {SECRET_KEY}"), format!("Basic {basic}")].iter().any(|good| good == authorization) {
        let message = match authorization {
            "" => "You did not provide an API key.",
            _ => "Invalid API Key provided",
        };
        return Err(Refused::invalid(401, None, message));
    }
    let version = match call.header("stripe-version") {
        None => ApiVersion::Endive,
        Some(name) => ApiVersion::of_date(name)
            .ok_or_else(|| Refused::invalid(400, None, &format!("Invalid Stripe API version: {name}")))?,
    };
    params::check(&asked.call, &asked.form)?;
    Ok(version)
}
