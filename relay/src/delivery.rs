//! One request to the backend's intake: an event alone, or several together, and what its answer means.
//!
//! Nothing is repeated here and nothing is logged: the forwarder decides when, the commands say what came of it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::uri::Scheme;
use hyper_rustls::ConfigBuilderExt;
use serde::Deserialize;
use tollgate_shared::env::Env;
use tollgate_shared::request_id::{REQUEST_ID_HEADER, TRACEPARENT_HEADER};
use tollgate_shared::{RequestId, Rng, Secret, TraceParent, json_seq};

use crate::public_proxy::{BackendHttp, BackendUrl};

/// Where the backend takes events.
const INTAKE_PATH: &str = "subscriptions/internal/stripe-webhook";
/// Where the backend says whether it can work.
const READY_PATH: &str = "ready";
/// The header that carries the key which opens the backend's internal routes.
const KEY_HEADER: HeaderName = HeaderName::from_static("x-internal-api-key");
/// How the backend says which media types its intake takes.
const ACCEPT_POST: HeaderName = HeaderName::from_static("accept-post");

/// A private network connects in milliseconds; a host that is gone must not hold a delivery up for long.
const CONNECT_WITHIN: Duration = Duration::from_secs(3);
/// How long one delivery may take from first to last byte: far longer than the backend takes for a transaction, and short
/// enough that one which hangs is repeated within 20 s of its start.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
/// How long `/ready` may take: an answer that comes later is no good one.
const READY_WITHIN: Duration = Duration::from_secs(2);
/// A connection on which nothing comes is asked for a sign of life this often, and given up when none comes as long again.
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(10);
/// The longest answer that is read: results of 64 events are some 10 KB.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// Where the backend is and how it is spoken to.
#[derive(Clone, Debug)]
pub struct BackendConfig {
    /// `BACKEND_URL`.
    pub url: BackendUrl,
    /// `BACKEND_HTTP`.
    pub http: BackendHttp,
    /// `RELAY_INTERNAL_SECRET`, else the first of `INTERNAL_API_KEY`.
    pub key: Secret,
}

impl BackendConfig {
    /// Reads `BACKEND_URL`, `BACKEND_HTTP`, `INTERNAL_API_KEY` and `RELAY_INTERNAL_SECRET`; what is wrong with them is noted in `env`.
    pub fn from_env(env: &Env) -> Self {
        let url = env.read("BACKEND_URL", "an http or https address without a path", BackendUrl::parse);
        let http = env.read("BACKEND_HTTP", "`2` or `1.1`", BackendHttp::parse);
        let shared = env.required_secrets("INTERNAL_API_KEY");
        let own = env.secret("RELAY_INTERNAL_SECRET");
        let (name, key) = match own {
            Some(own) => ("RELAY_INTERNAL_SECRET", own),
            None => ("INTERNAL_API_KEY", shared.first().clone()),
        };
        if env.text(name).is_some() && HeaderValue::from_str(key.expose()).is_err() {
            env.refuse(name, "holds a character that no header can carry");
        }
        Self { url: url.unwrap_or_default(), http: http.unwrap_or_default(), key }
    }
}

/// An event on its way to the backend.
#[derive(Clone, Debug)]
pub struct Event {
    /// `evt_…`.
    pub id: String,
    /// For example `invoice.paid`.
    pub kind: String,
    /// That of the request which brought it.
    pub request_id: RequestId,
    /// The trace of that request, when it named one.
    pub trace: Option<TraceParent>,
    /// The very bytes that Stripe signed.
    pub body: Bytes,
}

/// An event's id or type as it may stand in a log: whatever is in it, it is one line.
pub struct Shown<'a>(pub &'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.bytes().all(|byte| byte.is_ascii_graphic()) {
            f.write_str(self.0)
        } else {
            write!(f, "{}", self.0.escape_debug())
        }
    }
}

/// What came of one event's delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A 2xx that says `"received": true`: the backend has it for good.
    Confirmed,
    /// Any other answer, 2xx included.
    Refused(StatusCode),
    /// No whole answer.
    Unanswered(NoAnswer),
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// There is no connection, so nothing was sent.
    #[error("no connection to the backend")]
    NotConnected,
    /// It took too long.
    #[error("no answer within {} s", ANSWER_WITHIN.as_secs())]
    TimedOut,
    /// The connection broke before the answer was whole, or the answer is not HTTP.
    #[error("the connection broke")]
    Broken,
}

/// What the backend's `/ready` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It is good.
    Ready,
    /// It is not, or does not come in time.
    NotReady,
    /// There is no connection, so nothing else would get through either.
    NotConnected,
}

/// A backend cannot be spoken to as configured.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// The address has a host that no URL can have.
    #[error("the backend's address is not one of a URL")]
    Url,
    /// The internal key cannot stand in a header.
    #[error("the internal key holds a character that no header can carry")]
    Key,
    /// The machine's certificate authorities cannot be read.
    #[error("could not read the machine's certificate authorities")]
    Authorities(#[source] std::io::Error),
    /// The HTTP client cannot be made.
    #[error("could not make an HTTP client")]
    Client(#[from] reqwest::Error),
}

/// The backend, as the relay sees it. Cheap to clone; clones share connections and what the last answer said.
#[derive(Clone)]
pub struct Backend {
    client: reqwest::Client,
    intake: reqwest::Url,
    ready: reqwest::Url,
    key: HeaderValue,
    rng: Rng,
    takes_sequences: Arc<AtomicBool>,
}

impl Backend {
    /// A backend that is not connected to yet: the first delivery does that.
    pub fn new(config: &BackendConfig, rng: Rng) -> Result<Self, BackendError> {
        let mut key = HeaderValue::from_str(config.key.expose()).map_err(|_| BackendError::Key)?;
        key.set_sensitive(true);
        let BackendUrl { scheme, authority } = &config.url;
        let url = |path| format!("{scheme}://{authority}/{path}").parse().map_err(|_| BackendError::Url);
        Ok(Self {
            client: client(config)?,
            intake: url(INTAKE_PATH)?,
            ready: url(READY_PATH)?,
            key,
            rng,
            takes_sequences: Arc::default(),
        })
    }

    /// Whether the last answer said that several events may come in one request.
    pub fn takes_sequences(&self) -> bool {
        self.takes_sequences.load(Ordering::Relaxed)
    }

    /// Delivers one event.
    pub async fn deliver(&self, event: &Event) -> Outcome {
        let trace = event.trace.map_or_else(|| TraceParent::new(&self.rng), |trace| trace.child(&self.rng));
        match self.post("application/json", &event.request_id, trace, event.body.clone()).await {
            Ok((status, answer)) => judge_alone(status, &answer),
            Err(why) => Outcome::Unanswered(why),
        }
    }

    /// Delivers several events in one request of its own id: each one's outcome in their order, or the one outcome of
    /// the whole request when the answer does not speak of each.
    pub async fn deliver_together<E: AsRef<Event>>(
        &self,
        events: &[E],
        request_id: &RequestId,
    ) -> Result<Vec<Outcome>, Outcome> {
        // One byte before and one after each.
        let length = events.iter().map(|event| event.as_ref().body.len() + 2).sum();
        let mut sequence = Vec::with_capacity(length);
        for event in events {
            json_seq::push(&mut sequence, &event.as_ref().body);
        }
        let trace = TraceParent::new(&self.rng);
        match self.post(json_seq::MEDIA_TYPE, request_id, trace, sequence.into()).await {
            Ok((status, answer)) => judge_together(status, &answer, events),
            Err(why) => Err(Outcome::Unanswered(why)),
        }
    }

    /// Asks for the backend's `/ready`.
    pub async fn readiness(&self) -> Readiness {
        match self.client.get(self.ready.clone()).timeout(READY_WITHIN).send().await {
            Ok(answer) if answer.status().is_success() => Readiness::Ready,
            Err(error) if error.is_connect() => Readiness::NotConnected,
            _ => Readiness::NotReady,
        }
    }

    async fn post(
        &self,
        media_type: &'static str,
        request_id: &RequestId,
        trace: TraceParent,
        body: Bytes,
    ) -> Result<(StatusCode, Vec<u8>), NoAnswer> {
        let mut headers = HeaderMap::with_capacity(8);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
        headers.insert(KEY_HEADER, self.key.clone());
        headers.insert(REQUEST_ID_HEADER, header(request_id.as_str()));
        headers.insert(TRACEPARENT_HEADER, header(&trace.to_string()));
        let sent = self.client.post(self.intake.clone()).headers(headers).body(body).send().await;
        let mut answer = sent.map_err(no_answer)?;
        self.takes_sequences.store(names_sequences(answer.headers()), Ordering::Relaxed);
        let mut read = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(no_answer)? {
            if read.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(NoAnswer::Broken);
            }
            read.extend_from_slice(&chunk);
        }
        Ok((answer.status(), read))
    }
}

fn header(visible_ascii: &str) -> HeaderValue {
    HeaderValue::from_str(visible_ascii).expect("request ids and traces are visible ASCII")
}

fn client(config: &BackendConfig) -> Result<reqwest::Client, BackendError> {
    let client = reqwest::Client::builder()
        // A redirect is an answer that does not confirm: following it would hand the key to whoever it names.
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        // Configuration is the documented variables alone, not HTTP_PROXY and its like.
        .no_proxy()
        .connect_timeout(CONNECT_WITHIN)
        .timeout(ANSWER_WITHIN)
        .tcp_keepalive(KEEP_ALIVE_EVERY)
        .tls_backend_preconfigured(tls(config)?);
    let client = match config.http {
        BackendHttp::One => client.http1_only(),
        BackendHttp::Two => client
            .http2_prior_knowledge()
            .http2_keep_alive_interval(KEEP_ALIVE_EVERY)
            .http2_keep_alive_timeout(KEEP_ALIVE_EVERY)
            .http2_keep_alive_while_idle(true),
    };
    Ok(client.build()?)
}

fn tls(config: &BackendConfig) -> Result<rustls::ClientConfig, BackendError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring supports the default protocol versions");
    // The machine's authorities take a megabyte of memory: only for a backend that needs them.
    let builder = if config.url.scheme == Scheme::HTTPS {
        builder.with_native_roots().map_err(BackendError::Authorities)?
    } else {
        builder.with_root_certificates(rustls::RootCertStore::empty())
    };
    let mut tls = builder.with_no_client_auth();
    tls.alpn_protocols = match config.http {
        BackendHttp::One => vec![b"http/1.1".to_vec()],
        BackendHttp::Two => vec![b"h2".to_vec()],
    };
    Ok(tls)
}

fn names_sequences(headers: &HeaderMap) -> bool {
    let media_types = headers.get_all(ACCEPT_POST).into_iter().filter_map(|value| value.to_str().ok());
    media_types
        .flat_map(|list| list.split(','))
        .filter_map(|range| range.split(';').next())
        .any(|media_type| media_type.trim().eq_ignore_ascii_case(json_seq::MEDIA_TYPE))
}

fn no_answer(error: reqwest::Error) -> NoAnswer {
    if error.is_connect() {
        NoAnswer::NotConnected
    } else if error.is_timeout() {
        NoAnswer::TimedOut
    } else {
        NoAnswer::Broken
    }
}

/// The part of an answer that confirms.
#[derive(Deserialize)]
struct Received {
    received: bool,
}

fn judge_alone(status: StatusCode, answer: &[u8]) -> Outcome {
    let received = status.is_success() && serde_json::from_slice(answer).is_ok_and(|Received { received }| received);
    if received { Outcome::Confirmed } else { Outcome::Refused(status) }
}

/// The answer to several events.
#[derive(Deserialize)]
struct Results {
    results: Vec<EventResult>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EventResult {
    event_id: Option<String>,
    status: u16,
    #[serde(default)]
    received: bool,
}

fn judge_together<E: AsRef<Event>>(status: StatusCode, answer: &[u8], events: &[E]) -> Result<Vec<Outcome>, Outcome> {
    let whole = || Outcome::Refused(status);
    if !status.is_success() {
        return Err(whole());
    }
    let results = serde_json::from_slice::<Results>(answer).map_err(|_| whole())?.results;
    if results.len() != events.len() {
        // Which result speaks of which event is anybody's guess: none is confirmed.
        return Err(whole());
    }
    let judge = |(event, result): (&E, EventResult)| {
        let status = StatusCode::from_u16(result.status).unwrap_or(StatusCode::BAD_GATEWAY);
        let same = result.event_id.as_ref() == Some(&event.as_ref().id);
        if same && status.is_success() && result.received { Outcome::Confirmed } else { Outcome::Refused(status) }
    };
    Ok(events.iter().zip(results).map(judge).collect())
}

impl AsRef<Event> for Event {
    fn as_ref(&self) -> &Event {
        self
    }
}

#[cfg(test)]
mod tests {
    use tollgate_shared::clock::from_unix;

    use super::*;

    fn event(id: &str) -> Event {
        Event {
            id: id.into(),
            kind: "x.y".into(),
            request_id: RequestId::new(from_unix(0).unwrap(), &Rng::seeded(1)),
            trace: None,
            body: Bytes::new(),
        }
    }

    #[test]
    fn only_a_2xx_that_says_received_confirms() {
        let judge = |status: u16, answer: &str| judge_alone(StatusCode::from_u16(status).unwrap(), answer.as_bytes());
        let refused = |status: u16| Outcome::Refused(StatusCode::from_u16(status).unwrap());
        assert_eq!(judge(200, r#"{"received":true,"outcome":"duplicate"}"#), Outcome::Confirmed);
        assert_eq!(judge(202, r#"{"received":true}"#), Outcome::Confirmed);
        for (status, answer) in [
            (200, ""),
            (200, "ok"),
            (200, "{}"),
            (200, r#"{"received":false}"#),
            (200, r#"{"received":"true"}"#),
            (200, r#"{"received":true} x"#),
            (302, r#"{"received":true}"#),
            (403, r#"{"received":true}"#),
            (500, r#"{"error":{},"stored":true,"received":true}"#),
        ] {
            assert_eq!(judge(status, answer), refused(status), "{status} {answer}");
        }
    }

    #[test]
    fn of_several_each_is_judged_by_its_own_result() {
        let answer = br#"{"results":[
            {"eventId":"evt_1","status":200,"received":true,"outcome":"processed"},
            {"eventId":"evt_2","status":500,"received":false,"error":{"code":"x"},"stored":true},
            {"eventId":"evt_3","status":200,"received":false},
            {"eventId":"evt_other","status":200,"received":true},
            {"eventId":null,"status":400,"received":true,"error":{}}]}"#;
        let events = ["evt_1", "evt_2", "evt_3", "evt_4", "evt_5"].map(event);
        let outcomes = judge_together(StatusCode::OK, answer, &events).unwrap();
        let refused = |status: u16| Outcome::Refused(StatusCode::from_u16(status).unwrap());
        assert_eq!(outcomes, [Outcome::Confirmed, refused(500), refused(200), refused(200), refused(400)]);
    }

    #[test]
    fn an_answer_that_does_not_speak_of_each_confirms_none() {
        let events = ["evt_1", "evt_2"].map(event);
        for answer in [
            r#"{"received":true}"#,
            "",
            r#"{"results":[{"eventId":"evt_1","status":200,"received":true}]}"#,
            r#"{"results":"all"}"#,
        ] {
            let outcome = judge_together(StatusCode::OK, answer.as_bytes(), &events);
            assert_eq!(outcome, Err(Outcome::Refused(StatusCode::OK)), "{answer}");
        }
        let unavailable = judge_together(StatusCode::SERVICE_UNAVAILABLE, b"", &events);
        assert_eq!(unavailable, Err(Outcome::Refused(StatusCode::SERVICE_UNAVAILABLE)));
    }

    #[test]
    fn a_backend_takes_sequences_only_if_it_says_so() {
        let says = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_POST, value.parse().unwrap());
            names_sequences(&headers)
        };
        assert!(says(json_seq::ACCEPT_POST) && says("Application/JSON-seq; q=1"));
        assert!(!says("application/json") && !says("application/json-seq-2") && !says("*/*"));
        assert!(!names_sequences(&HeaderMap::new()));
    }

    #[test]
    fn an_id_is_one_line_of_a_log_whatever_is_in_it() {
        assert_eq!(Shown("evt_1").to_string(), "evt_1");
        assert_eq!(Shown("evt\n1\u{1b}[31m").to_string(), r"evt\n1\u{1b}[31m");
    }

    #[test]
    fn the_relays_own_secret_goes_before_the_shared_key() {
        let key = |variables: &[(&str, &str)]| {
            let env = Env::from_vars(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
            let config = BackendConfig::from_env(&env);
            env.finish().map(|()| config.key.expose().to_owned()).map_err(|bad| bad.0.into_keys().collect::<Vec<_>>())
        };
        assert_eq!(key(&[("INTERNAL_API_KEY", "new,old")]).unwrap(), "new");
        assert_eq!(key(&[("INTERNAL_API_KEY", "new"), ("RELAY_INTERNAL_SECRET", "own")]).unwrap(), "own");
        assert_eq!(key(&[("RELAY_INTERNAL_SECRET", "own")]).unwrap_err(), ["INTERNAL_API_KEY"]);
        assert_eq!(key(&[("INTERNAL_API_KEY", "a\nb")]).unwrap_err(), ["INTERNAL_API_KEY"]);
    }
}
