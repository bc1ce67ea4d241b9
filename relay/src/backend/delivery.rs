//! One request to the backend's intake: an event alone, or several together, and what its response means.
//!
//! Nothing is repeated here and nothing is logged: the forwarder decides when, the commands say what came of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::redirect;
use serde::Deserialize;
use tollgate_shared::receipt::{self, RECEIPTS_HEADER};
use tollgate_shared::request_id::{REQUEST_ID_HEADER, TRACEPARENT_HEADER};
use tollgate_shared::{Clock, RequestId, Rng, Timestamp, TraceParent, json_seq};

use super::address::{BackendHttp, BackendUrl};
use super::config::{BackendConfig, BackendError};
use super::event::Event;
use super::tls;

/// Where the backend takes events.
const INTAKE_PATH: &str = "subscriptions/internal/stripe-webhook";
/// Where the backend says whether it can work.
const READY_PATH: &str = "ready";
/// The header that carries the key which opens the backend's internal routes.
const KEY_HEADER: HeaderName = HeaderName::from_static("x-internal-api-key");
/// How the backend says which media types its intake takes.
const ACCEPT_POST: HeaderName = HeaderName::from_static("accept-post");

/// A private network connects in milliseconds; a host that is gone must not hold a delivery up for long.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long one delivery may take from first to last byte: far longer than the backend takes for a transaction, and short
/// enough that one which hangs is repeated within 20 s of its start.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(15);
/// How long `/ready` may take: a response that comes later is no good one.
const READY_TIMEOUT: Duration = Duration::from_secs(2);
/// A connection on which nothing comes is asked for a sign of life this often, and given up when none comes as long again.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// The longest response that is read: results of 64 events are some 10 KB.
const RESPONSE_BYTES_MAX: usize = 1024 * 1024;

/// What came of one event's delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A 2xx that says `"received": true`: the backend has it for good.
    Confirmed,
    /// Any other response, 2xx included; with it, how long the backend asks to be left alone.
    Refused(StatusCode, Option<Duration>),
    /// No whole response.
    Unanswered(NoResponse),
}

/// Why there is no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum NoResponse {
    /// There is no connection, so nothing was sent.
    #[error("no connection to the backend")]
    NotConnected,
    /// It took too long.
    #[error("no answer within {} s", RESPONSE_TIMEOUT.as_secs())]
    TimedOut,
    /// The connection broke before the response was whole, or the response is not HTTP.
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

/// The backend, as the relay sees it. Cheap to clone; clones share connections and what the last response said.
#[derive(Clone)]
pub struct Backend {
    client: reqwest::Client,
    intake: reqwest::Url,
    ready: reqwest::Url,
    key: HeaderValue,
    clock: Clock,
    rng: Rng,
    takes_sequences: Arc<AtomicBool>,
}

impl Backend {
    /// A backend that is not connected to yet: the first delivery does that.
    pub fn new(config: &BackendConfig, clock: Clock, rng: Rng) -> Result<Self, BackendError> {
        let mut key = HeaderValue::from_str(config.key.expose()).map_err(|_| BackendError::Key)?;
        key.set_sensitive(true);
        let BackendUrl { scheme, authority } = &config.url;
        let url = |path| format!("{scheme}://{authority}/{path}").parse().map_err(|_| BackendError::Url);
        Ok(Self {
            client: client(config)?,
            intake: url(INTAKE_PATH)?,
            ready: url(READY_PATH)?,
            key,
            clock,
            rng,
            takes_sequences: Arc::default(),
        })
    }

    /// Whether the last response said that several events may come in one request.
    pub fn takes_sequences(&self) -> bool {
        self.takes_sequences.load(Ordering::Relaxed)
    }

    /// Delivers one event.
    pub async fn deliver(&self, event: &Event) -> Outcome {
        let trace = event.trace.map_or_else(|| TraceParent::new(&self.rng), |trace| trace.child(&self.rng));
        match self.post("application/json", &[event], &event.request_id, trace, event.body.clone()).await {
            Ok(response) => judge_alone(&response),
            Err(why) => Outcome::Unanswered(why),
        }
    }

    /// Delivers several events in one request of its own id: each one's outcome in their order, or the one outcome of
    /// the whole request when the response does not speak of each.
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
        match self.post(json_seq::MEDIA_TYPE, events, request_id, trace, sequence.into()).await {
            Ok(response) => judge_together(&response, events),
            Err(why) => Err(Outcome::Unanswered(why)),
        }
    }

    /// Asks for the backend's `/ready`.
    pub async fn readiness(&self) -> Readiness {
        match self.client.get(self.ready.clone()).timeout(READY_TIMEOUT).send().await {
            Ok(response) if response.status().is_success() => Readiness::Ready,
            Err(error) if error.is_connect() => Readiness::NotConnected,
            _ => Readiness::NotReady,
        }
    }

    async fn post<E: AsRef<Event>>(
        &self,
        media_type: &'static str,
        events: &[E],
        request_id: &RequestId,
        trace: TraceParent,
        body: Bytes,
    ) -> Result<Response, NoResponse> {
        let mut headers = HeaderMap::with_capacity(8);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
        headers.insert(KEY_HEADER, self.key.clone());
        headers.insert(REQUEST_ID_HEADER, header(request_id.as_str()));
        headers.insert(TRACEPARENT_HEADER, header(&trace.to_string()));
        let receipts = receipt::to_text(events.iter().map(|event| event.as_ref().receipt()));
        headers.extend(receipts.map(|receipts| (HeaderName::from_static(RECEIPTS_HEADER), header(&receipts))));
        let sent = self.client.post(self.intake.clone()).headers(headers).body(body).send().await;
        let mut response = sent.map_err(no_response)?;
        self.takes_sequences.store(names_sequences(response.headers()), Ordering::Relaxed);
        let retry_after = retry_after(response.headers(), self.clock.now());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(no_response)? {
            if body.len() + chunk.len() > RESPONSE_BYTES_MAX {
                return Err(NoResponse::Broken);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Response { status: response.status(), retry_after, body })
    }
}

/// A whole response.
struct Response {
    status: StatusCode,
    retry_after: Option<Duration>,
    body: Vec<u8>,
}

impl Response {
    fn refused(&self) -> Outcome {
        Outcome::Refused(self.status, self.retry_after)
    }
}

fn header(visible_ascii: &str) -> HeaderValue {
    HeaderValue::from_str(visible_ascii).expect("request ids and traces are visible ASCII")
}

fn client(config: &BackendConfig) -> Result<reqwest::Client, BackendError> {
    let tls = tls::client_config(&config.url, config.http).map_err(BackendError::Authorities)?;
    let client = reqwest::Client::builder()
        // A redirect is a response that does not confirm: following it would hand the key to whoever it names.
        .redirect(redirect::Policy::none())
        .referer(false)
        // Configuration is the documented variables alone, not HTTP_PROXY and its like.
        .no_proxy()
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(RESPONSE_TIMEOUT)
        .tcp_keepalive(KEEP_ALIVE_INTERVAL)
        .tls_backend_preconfigured(tls);
    let client = match config.http {
        BackendHttp::One => client.http1_only(),
        BackendHttp::Two => client
            .http2_prior_knowledge()
            .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .http2_keep_alive_timeout(KEEP_ALIVE_INTERVAL)
            .http2_keep_alive_while_idle(true),
    };
    Ok(client.build()?)
}

fn names_sequences(headers: &HeaderMap) -> bool {
    let media_types = headers.get_all(ACCEPT_POST).into_iter().filter_map(|value| value.to_str().ok());
    media_types
        .flat_map(|list| list.split(','))
        .filter_map(|range| range.split(';').next())
        .any(|media_type| media_type.trim().eq_ignore_ascii_case(json_seq::MEDIA_TYPE))
}

/// `Retry-After`, in either of its forms (RFC 9110, section 10.2.3).
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = DateTime::parse_from_rfc2822(value).ok()?;
    (at.with_timezone(&Utc) - now).to_std().ok()
}

fn no_response(error: reqwest::Error) -> NoResponse {
    if error.is_connect() {
        NoResponse::NotConnected
    } else if error.is_timeout() {
        NoResponse::TimedOut
    } else {
        NoResponse::Broken
    }
}

/// The part of a response that confirms.
#[derive(Deserialize)]
struct Received {
    received: bool,
}

fn judge_alone(response: &Response) -> Outcome {
    let body = || serde_json::from_slice(&response.body);
    let received = response.status.is_success() && body().is_ok_and(|Received { received }| received);
    if received { Outcome::Confirmed } else { response.refused() }
}

/// The response to several events.
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

fn judge_together<E: AsRef<Event>>(response: &Response, events: &[E]) -> Result<Vec<Outcome>, Outcome> {
    if !response.status.is_success() {
        return Err(response.refused());
    }
    let results = serde_json::from_slice::<Results>(&response.body).map_err(|_| response.refused())?.results;
    if results.len() != events.len() {
        // Which result speaks of which event is anybody's guess: none is confirmed.
        return Err(response.refused());
    }
    let judge = |(event, result): (&E, EventResult)| {
        let status = StatusCode::from_u16(result.status).unwrap_or(StatusCode::BAD_GATEWAY);
        let same = result.event_id.as_ref() == Some(&event.as_ref().id);
        if same && status.is_success() && result.received {
            Outcome::Confirmed
        } else {
            Outcome::Refused(status, response.retry_after)
        }
    };
    Ok(events.iter().zip(results).map(judge).collect())
}

#[cfg(test)]
mod tests {
    use tollgate_shared::clock::from_unix;

    use super::*;

    fn event(id: &str) -> Event {
        Event {
            id: id.into(),
            event_type: "x.y".into(),
            request_id: RequestId::new(from_unix(0).unwrap(), &Rng::seeded(1)),
            received_at: from_unix(0).unwrap(),
            trace: None,
            body: Bytes::new(),
        }
    }

    fn response(status: u16, body: &str) -> Response {
        Response { status: StatusCode::from_u16(status).unwrap(), retry_after: None, body: body.into() }
    }

    fn refused(status: u16) -> Outcome {
        Outcome::Refused(StatusCode::from_u16(status).unwrap(), None)
    }

    #[test]
    fn only_a_2xx_that_says_received_confirms() {
        let judge = |status: u16, body: &str| judge_alone(&response(status, body));
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
        let body = r#"{"results":[
            {"eventId":"evt_1","status":200,"received":true,"outcome":"processed"},
            {"eventId":"evt_2","status":500,"received":false,"error":{"code":"x"},"stored":true},
            {"eventId":"evt_3","status":200,"received":false},
            {"eventId":"evt_other","status":200,"received":true},
            {"eventId":null,"status":400,"received":true,"error":{}}]}"#;
        let events = ["evt_1", "evt_2", "evt_3", "evt_4", "evt_5"].map(event);
        let outcomes = judge_together(&response(200, body), &events).unwrap();
        assert_eq!(outcomes, [Outcome::Confirmed, refused(500), refused(200), refused(200), refused(400)]);
    }

    #[test]
    fn an_answer_that_does_not_speak_of_each_confirms_none() {
        let events = ["evt_1", "evt_2"].map(event);
        for body in [
            r#"{"received":true}"#,
            "",
            r#"{"results":[{"eventId":"evt_1","status":200,"received":true}]}"#,
            r#"{"results":"all"}"#,
        ] {
            assert_eq!(judge_together(&response(200, body), &events), Err(refused(200)), "{body}");
        }
        assert_eq!(judge_together(&response(503, ""), &events), Err(refused(503)));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = from_unix(1_445_412_470).unwrap();
        let asked = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, value.parse().unwrap());
            retry_after(&headers, now)
        };
        assert_eq!(asked("120"), Some(Duration::from_secs(120)));
        assert_eq!(asked("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::from_secs(10)));
        for nothing in ["Wed, 21 Oct 2015 07:27:00 GMT", "-1", "soon", ""] {
            assert_eq!(asked(nothing), None, "{nothing}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
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
}
