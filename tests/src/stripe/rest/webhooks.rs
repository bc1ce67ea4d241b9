//! The way to the endpoints of a merchant: each event signed, one after the other, and again until it is taken; or, where
//! a test wants it, lost, twice and in another order.

use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{sleep, timeout};
use tollgate_shared::Rng;

use super::refused::{Answer, Refused};
use super::{Asked, Shared, State, form};
use crate::http::Http;
use crate::stripe::shape::{ApiVersion, Event};
use crate::stripe::{Occurrence, delivery};

/// The first pause before an event is sent again; the next ones are twice as long each, up to the longest. Stripe's own
/// are minutes and hours, for three days.
const PAUSE: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(5);
const ATTEMPTS_MAX: u32 = 100;

/// So long a buyer's redirect waits for the merchant to have heard of it.
const REDIRECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Where a merchant is told what happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Without TLS.
    pub url: String,
    /// What is signed with: `whsec_…`.
    pub secret: String,
    /// The shape of the events.
    pub version: ApiVersion,
    /// Their types; `*` stands for all.
    pub event_types: Vec<String>,
}

impl Endpoint {
    /// One that gets everything, in the newest version.
    pub fn new(url: &str, secret: &str) -> Self {
        let (url, secret) = (url.to_owned(), secret.to_owned());
        Self { url, secret, version: ApiVersion::Endive, event_types: vec!["*".to_owned()] }
    }

    fn is_sent(&self, event_type: &str) -> bool {
        self.version.has(event_type) && self.event_types.iter().any(|wanted| wanted == "*" || wanted == event_type)
    }
}

/// What happens to webhooks by chance.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Mishaps {
    /// How many of them never come: from 0 to 1.
    pub lost: f64,
    /// How many come twice.
    pub twice: f64,
    /// Whether those that wait at the same time come in any order.
    pub shuffled: bool,
}

/// An endpoint, and what is on its way there.
struct Registered {
    endpoint: Endpoint,
    /// With which it is signed too, while the endpoint's secret is rolled.
    old_secret: Option<String>,
    created: i64,
    queue: UnboundedSender<Event>,
}

/// All endpoints.
pub(super) struct Webhooks {
    endpoints: BTreeMap<String, Registered>,
    /// How many occurrences they were told of.
    told: usize,
    /// How often each event is still to be taken.
    owed: BTreeMap<String, usize>,
    pub(super) mishaps: Mishaps,
    rng: Rng,
}

impl Webhooks {
    /// None yet. The first `told` occurrences are told to nobody.
    pub(super) fn after(told: usize) -> Self {
        let (endpoints, owed) = (BTreeMap::new(), BTreeMap::new());
        Self { endpoints, told, owed, mishaps: Mishaps::default(), rng: Rng::seeded(1) }
    }

    /// What happened before is told to nobody.
    pub(super) fn begin_after(&mut self, told: usize) {
        self.told = told;
    }

    /// How many deliveries are still to be taken.
    pub(super) fn owed(&self) -> usize {
        self.owed.values().sum()
    }

    /// Tells the endpoints of what they have not been told of.
    pub(super) fn announce(&mut self, occurrences: &[Occurrence]) {
        let news = occurrences.get(self.told..).unwrap_or_default();
        self.told = occurrences.len();
        for occurrence in news {
            for Registered { endpoint, queue, .. } in self.endpoints.values() {
                if !endpoint.is_sent(occurrence.event_type) || self.rng.unit() < self.mishaps.lost {
                    continue;
                }
                let event = occurrence.event(endpoint.version);
                let times = if self.rng.unit() < self.mishaps.twice { 2 } else { 1 };
                for _ in 0..times {
                    // An endpoint whose queue is closed is deleted: nothing is owed to it.
                    if queue.send(event.clone()).is_ok() {
                        *self.owed.entry(event.id.clone()).or_default() += 1;
                    }
                }
            }
        }
    }

    pub(super) fn roll_secrets(&mut self, new: &str) {
        for registered in self.endpoints.values_mut() {
            registered.old_secret = Some(mem::replace(&mut registered.endpoint.secret, new.to_owned()));
        }
    }

    pub(super) fn forget_old_secrets(&mut self) {
        for registered in self.endpoints.values_mut() {
            registered.old_secret = None;
        }
    }

    fn settle(&mut self, event: &str) {
        if let Some(times) = self.owed.get_mut(event) {
            *times -= 1;
        }
        self.owed.retain(|_, times| *times > 0);
    }
}

/// Begins to deliver to `endpoint`; gives its id.
pub(super) fn register(shared: &Arc<Shared>, state: &mut State, endpoint: Endpoint) -> String {
    let id = state.stripe.ids.long("we");
    let (queue, events) = unbounded_channel();
    let registered = Registered { endpoint, old_secret: None, created: state.stripe.now, queue };
    state.webhooks.endpoints.insert(id.clone(), registered);
    tokio::spawn(deliver(Arc::clone(shared), id.clone(), events));
    id
}

async fn deliver(shared: Arc<Shared>, endpoint: String, mut events: UnboundedReceiver<Event>) {
    let http = Http::default();
    while let Some(first) = events.recv().await {
        let mut waiting = vec![first];
        let shuffle = {
            let state = shared.lock();
            state.webhooks.mishaps.shuffled.then(|| state.webhooks.rng.clone())
        };
        if let Some(rng) = shuffle {
            while let Ok(next) = events.try_recv() {
                waiting.push(next);
            }
            waiting = delivery::shuffled(&waiting, &rng);
        }
        for event in waiting {
            if is_settled(&shared, &http, &endpoint, &event).await {
                settle(&shared, &event);
            } else {
                tokio::spawn(deliver_again(Arc::clone(&shared), http.clone(), endpoint.clone(), event));
            }
        }
    }
}

async fn deliver_again(shared: Arc<Shared>, http: Http, endpoint: String, event: Event) {
    let mut pause = PAUSE;
    for _ in 1..ATTEMPTS_MAX {
        sleep(pause).await;
        if is_settled(&shared, &http, &endpoint, &event).await {
            break;
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
    settle(&shared, &event);
}

fn settle(shared: &Shared, event: &Event) {
    shared.lock().webhooks.settle(&event.id);
    shared.taken.notify_waiters();
}

/// Sends an event once, signed now. Whether the endpoint has taken it, or is no more.
async fn is_settled(shared: &Shared, http: &Http, endpoint: &str, event: &Event) -> bool {
    let (url, signed) = {
        let state = shared.lock();
        let Some(Registered { endpoint, old_secret, .. }) = state.webhooks.endpoints.get(endpoint) else { return true };
        let signed = match old_secret {
            Some(old) => delivery::rolled_signature(&endpoint.secret, old, &event.body),
            None => delivery::signature(&endpoint.secret, &event.body),
        };
        (endpoint.url.clone(), signed)
    };
    let headers = [
        ("stripe-signature", &*signed),
        ("content-type", "application/json; charset=utf-8"),
        ("user-agent", "Stripe/1.0 (+https://stripe.com/docs/webhooks)"),
        ("accept", "*/*; q=0.5, application/xml"),
        ("cache-control", "no-cache"),
    ];
    let answer = http.try_send(Method::POST, &url, &headers, event.body.clone()).await;
    answer.is_ok_and(|answer| (200..300).contains(&answer.status))
}

/// Waits until the endpoints have taken these events, as long as a buyer is made to wait for it.
pub(super) async fn taken(shared: &Shared, events: &[String]) {
    let all = shared.until(|state| !events.iter().any(|event| state.webhooks.owed.contains_key(event)));
    // Whoever has waited so long is let go all the same.
    let _ = timeout(REDIRECT_TIMEOUT, all).await;
}

/// Does what a call about endpoints asks for; `None` for all others.
pub(super) fn called(shared: &Arc<Shared>, state: &mut State, asked: &Asked) -> Option<Answer> {
    let rest = asked.call.split_once("/v1/webhook_endpoints")?.1;
    let answer = match (asked.call.split(' ').next()?, rest.trim_start_matches('/')) {
        ("POST", "") => create(shared, state, asked),
        ("GET", "") => {
            let data: Vec<_> = state.webhooks.endpoints.iter().map(|(id, one)| shown(id, one)).collect();
            Ok(json!({ "object": "list", "url": "/v1/webhook_endpoints", "has_more": false, "data": data }))
        }
        ("DELETE", id) => match state.webhooks.endpoints.remove(id) {
            Some(_) => Ok(json!({ "id": id, "object": "webhook_endpoint", "deleted": true })),
            None => Err(Refused::no_such("webhook endpoint", id)),
        },
        _ => Err(Refused::no_such_call(&asked.call)),
    };
    Some(answer)
}

fn create(shared: &Arc<Shared>, state: &mut State, asked: &Asked) -> Answer {
    let url = asked.value("url").unwrap_or_default();
    if !url.starts_with("http://") {
        return Err(Refused::invalid(400, Some("url_invalid"), "This Stripe delivers to http:// alone").about("url"));
    }
    let version = asked.value("api_version").map(|name| {
        ApiVersion::of_date(name)
            .ok_or_else(|| Refused::invalid(400, None, "Invalid Stripe API version").about("api_version"))
    });
    let endpoint = Endpoint {
        version: version.transpose()?.unwrap_or(ApiVersion::Endive),
        event_types: form::list(&asked.form, "enabled_events").into_iter().map(str::to_owned).collect(),
        ..Endpoint::new(url, &state.stripe.new_secret())
    };
    let secret = endpoint.secret.clone();
    let id = register(shared, state, endpoint);
    let mut json = shown(&id, &state.webhooks.endpoints[&id]);
    // It is said once, and never again.
    json["secret"] = secret.into();
    Ok(json)
}

fn shown(id: &str, registered: &Registered) -> Value {
    let Registered { endpoint, created, .. } = registered;
    json!({
        "id": id,
        "object": "webhook_endpoint",
        "api_version": endpoint.version.name(),
        "application": null,
        "created": created,
        "description": null,
        "enabled_events": endpoint.event_types,
        "livemode": false,
        "metadata": {},
        "status": "enabled",
        "url": endpoint.url,
    })
}
