//! A bounded load on a loopback address: signed events over so many kept connections, repeated as Stripe repeats them.
//!
//! Cheap, so that what is measured is the other side: bodies and signatures are made before the first one is sent, and
//! each connection is one task with one request in flight.
//!
//! ```no_run
//! # async fn f() {
//! use std::sync::Arc;
//! use tollgate_tests::load::{self, LoadPlan, Repeats};
//! let events = load::paid_invoices(1000, 50).events;
//! let report = load::run(LoadPlan {
//!     target: "127.0.0.1:3000".parse().unwrap(),
//!     path: "/api/webhooks/stripe".to_owned(),
//!     headers: vec![],
//!     deliveries: load::signed(&events, "whsec_test"),
//!     connections: 64,
//!     repeats: Repeats::NEVER,
//!     accepted: Arc::default(),
//! })
//! .await;
//! println!("{:.0}/s, p99 {:?}", report.rate(), report.latency.p99);
//! # }
//! ```

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, HeaderName};
use http::{HeaderValue, Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::stripe::catalogue::PRO_MONTHLY;
use crate::stripe::delivery::signature;
use crate::stripe::{ApiVersion, Checkout, Event, Stripe};

/// A response that takes longer counts as none.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);

/// What is sent, where to, and how.
#[derive(Clone, Debug)]
pub struct LoadPlan {
    /// A loopback address.
    pub target: SocketAddr,
    /// The request target of each `POST`.
    pub path: String,
    /// Headers of each request, beside `Host`, `Content-Type: application/json` and its signature.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The requests, sent in about this order.
    pub deliveries: Vec<Delivery>,
    /// How many connections, and so how many requests at once.
    pub connections: usize,
    /// What happens to one that is not answered 200.
    pub repeats: Repeats,
    /// Counts the responses 200 while it runs.
    pub accepted: Arc<AtomicUsize>,
}

/// One request, ready to be sent.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The event's bytes.
    pub body: Bytes,
    /// `Stripe-Signature`.
    pub signature: HeaderValue,
}

/// How often an event is sent again that was not answered 200.
#[derive(Clone, Copy, Debug)]
pub struct Repeats {
    /// At most so many times.
    pub times_max: u32,
    /// After so long.
    pub pause: Duration,
}

impl Repeats {
    /// Each event is sent once.
    pub const NEVER: Self = Self { times_max: 0, pause: Duration::ZERO };
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct LoadReport {
    /// How many responses there were of each status.
    pub responses: BTreeMap<u16, u64>,
    /// Requests that got none: refused, cut, too late.
    pub unanswered: u64,
    /// Places in the plan of the deliveries that were never answered 200.
    pub given_up: Vec<usize>,
    /// From the first request to the last response.
    pub elapsed: Duration,
    /// Of the responses 200.
    pub latency: Latency,
}

/// From a request's first byte to its response's last.
#[derive(Clone, Copy, Debug, Default)]
pub struct Latency {
    /// Half were faster.
    pub p50: Duration,
    /// Nine of ten were faster.
    pub p90: Duration,
    /// 99 of 100 were faster.
    pub p99: Duration,
    /// The slowest.
    pub max: Duration,
}

impl LoadReport {
    /// Responses 200 a second.
    pub fn rate(&self) -> f64 {
        self.accepted() as f64 / self.elapsed.as_secs_f64()
    }

    /// How many were answered 200.
    pub fn accepted(&self) -> u64 {
        self.responses.get(&200).copied().unwrap_or_default()
    }
}

/// Events for a load, and the truth that they lead to.
#[derive(Clone, Debug)]
pub struct Load {
    /// The account that they come from: its [`Stripe::expected`] is what each customer has to look like in the end.
    pub stripe: Stripe,
    /// Who they are about.
    pub customers: Vec<String>,
    /// What makes the customers what they are, to be delivered before.
    pub beginnings: Vec<Event>,
    /// The load itself: about 6 KB each.
    pub events: Vec<Event>,
}

/// `count` paid invoices, one event each, of `customers` subscribers in turn: an effect each that is easy to count.
pub fn paid_invoices(count: usize, customers: usize) -> Load {
    let mut stripe = Stripe::fresh();
    let subscribers: Vec<_> = (0..customers)
        .map(|number| {
            let customer = stripe.sign_up(&format!("{number}@example.com"), "Ada", None);
            let (subscription, _) = stripe.checkout(&customer, &Checkout::of(&PRO_MONTHLY));
            (customer, subscription)
        })
        .collect();
    let first = stripe.occurrences.len();
    for (_, subscription) in subscribers.iter().cycle().take(count) {
        stripe.pass(1).bill_once(subscription);
    }
    let all = stripe.events(ApiVersion::Pinned2024);
    let beginnings = all.len() - stripe.events_since(first, ApiVersion::Pinned2024).len();
    Load {
        beginnings: all[..beginnings].to_vec(),
        events: all[beginnings..].to_vec(),
        customers: subscribers.into_iter().map(|(customer, _)| customer).collect(),
        stripe,
    }
}

/// Signs `events` now; good for the five minutes that a signature is.
pub fn signed(events: &[Event], secret: &str) -> Vec<Delivery> {
    let sign = |event: &Event| Delivery {
        body: event.body.clone(),
        signature: HeaderValue::from_str(&signature(secret, &event.body)).expect("a signature is visible ASCII"),
    };
    events.iter().map(sign).collect()
}

/// Sends everything and waits for the last response.
pub async fn run(plan: LoadPlan) -> LoadReport {
    let plan = Arc::new(plan);
    let next = Arc::new(AtomicUsize::new(0));
    let began = Instant::now();
    let workers: Vec<_> =
        (0..plan.connections).map(|_| tokio::spawn(Worker::new(Arc::clone(&plan)).work(Arc::clone(&next)))).collect();
    let mut report = LoadReport::default();
    let mut latencies = Vec::with_capacity(plan.deliveries.len());
    for worker in workers {
        let done = worker.await.expect("a worker does not panic");
        for (status, count) in done.responses {
            *report.responses.entry(status).or_default() += count;
        }
        report.unanswered += done.unanswered;
        report.given_up.extend(done.given_up);
        latencies.extend(done.latencies);
    }
    report.elapsed = began.elapsed();
    report.given_up.sort_unstable();
    report.latency = Latency::of(latencies);
    report
}

impl Latency {
    /// Of these.
    pub fn of(mut latencies: Vec<Duration>) -> Self {
        latencies.sort_unstable();
        let at = |part: f64| {
            let index = (latencies.len() as f64 * part) as usize;
            latencies.get(index.min(latencies.len().saturating_sub(1))).copied().unwrap_or_default()
        };
        Self { p50: at(0.5), p90: at(0.9), p99: at(0.99), max: at(1.0) }
    }
}

/// One connection.
struct Worker {
    plan: Arc<LoadPlan>,
    host: HeaderValue,
    sender: Option<SendRequest<Full<Bytes>>>,
    responses: BTreeMap<u16, u64>,
    unanswered: u64,
    given_up: Vec<usize>,
    latencies: Vec<Duration>,
}

impl Worker {
    fn new(plan: Arc<LoadPlan>) -> Self {
        let host = HeaderValue::from_str(&plan.target.to_string()).expect("an address is visible ASCII");
        Self {
            plan,
            host,
            sender: None,
            responses: BTreeMap::new(),
            unanswered: 0,
            given_up: Vec::new(),
            latencies: Vec::new(),
        }
    }

    async fn work(mut self, next: Arc<AtomicUsize>) -> Self {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(delivery) = self.plan.deliveries.get(index).cloned() else { return self };
            if !self.deliver(&delivery).await {
                self.given_up.push(index);
            }
        }
    }

    /// Whether it was answered 200 in the end.
    async fn deliver(&mut self, delivery: &Delivery) -> bool {
        let repeats = self.plan.repeats;
        for attempt in 0..=repeats.times_max {
            if attempt > 0 {
                sleep(repeats.pause).await;
            }
            let began = Instant::now();
            let response = timeout(RESPONSE_TIMEOUT, self.exchange(delivery)).await;
            let Some(status) = response.ok().flatten() else {
                self.unanswered += 1;
                self.sender = None;
                continue;
            };
            *self.responses.entry(status).or_default() += 1;
            if status == 200 {
                self.latencies.push(began.elapsed());
                self.plan.accepted.fetch_add(1, Ordering::Relaxed);
                return true;
            }
        }
        false
    }

    async fn exchange(&mut self, delivery: &Delivery) -> Option<u16> {
        let mut sender = match self.sender.take() {
            Some(sender) if !sender.is_closed() => sender,
            _ => self.connect().await?,
        };
        sender.ready().await.ok()?;
        let mut request = Request::new(Full::new(delivery.body.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.plan.path.parse().expect("the plan's path is a path");
        let headers = request.headers_mut();
        headers.insert(HOST, self.host.clone());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
        headers.insert(HeaderName::from_static("stripe-signature"), delivery.signature.clone());
        for (name, value) in &self.plan.headers {
            headers.insert(name, value.clone());
        }
        let response = sender.send_request(request).await.ok()?;
        let status = response.status().as_u16();
        // A response that is cut in the middle is none.
        response.into_body().collect().await.ok()?;
        self.sender = Some(sender);
        Some(status)
    }

    async fn connect(&self) -> Option<SendRequest<Full<Bytes>>> {
        let stream = TcpStream::connect(self.plan.target).await.ok()?;
        stream.set_nodelay(true).ok()?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.ok()?;
        tokio::spawn(connection);
        Some(sender)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_sorted_latencies() {
        let latency = Latency::of((1..=1000).rev().map(Duration::from_millis).collect());
        assert_eq!(latency.p50, Duration::from_millis(501));
        assert_eq!(latency.p99, Duration::from_millis(991));
        assert_eq!(latency.max, Duration::from_millis(1000));
        assert_eq!(Latency::of(Vec::new()).max, Duration::ZERO);
    }

    #[test]
    fn each_event_of_a_load_is_one_paid_invoice_more() {
        let load = paid_invoices(7, 3);
        assert_eq!(load.events.len(), 7);
        assert!(load.events.iter().all(|event| event.event_type == "invoice.paid"));
        let paid: Vec<_> =
            load.customers.iter().map(|id| load.stripe.expected(id)["payments"]["totalPaid"].clone()).collect();
        assert_eq!(paid, [2900 * 4, 2900 * 3, 2900 * 3]);
    }
}
