//! The routes of signed-in users, through both tiers on PostgreSQL, one request at a time: how long each takes without
//! Stripe's own time. A stateful Stripe that waits for nothing stands behind them, and says how long its answers took it;
//! the way there and back is ours.

use std::time::Duration;

use anyhow::{Result, ensure};
use hyper::Method;
use tokio::time::Instant;
use tollgate_shared::Clock;
use tollgate_tests::load::Latency;
use tollgate_tests::process::Process;
use tollgate_tests::stack::JSON;
use tollgate_tests::stripe::model::Status;
use tollgate_tests::stripe::rest::{Api, SECRET_KEY};
use tollgate_tests::stripe::{ApiVersion, Checkout, Stripe};
use tollgate_tests::{Engine, Stack, StackConfig};

use crate::budget::{Budget, Figure, Limit};
use crate::write_path::age;
use crate::{AT_ONCE, Effort};

/// Between whom the requests take turns.
const SUBSCRIBERS: usize = 16;

/// A round has a request of each route for so many events of other measurements.
const EVENTS_A_REQUEST: usize = 50;
/// Fewer have no p99.
const REQUESTS_MIN: usize = 100;

/// Who asks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    /// Somebody who is subscribed.
    Subscriber,
    /// Somebody who has never bought anything, until the first of these routes.
    Newcomer,
}

/// A route and what is asked of it; `KEY`, `WIDGET`, `LICENSE`, `MACHINE` and `PLAN` stand for something of whoever asks.
struct Route {
    what: &'static str,
    method: Method,
    path: &'static str,
    body: &'static str,
    by: By,
}

/// What somebody who is subscribed reads.
const fn read(what: &'static str, path: &'static str) -> Route {
    Route { what, method: Method::GET, path, body: "", by: By::Subscriber }
}

/// What somebody who is subscribed does.
const fn act(method: Method, what: &'static str, path: &'static str, body: &'static str) -> Route {
    Route { what, method, path, body, by: By::Subscriber }
}

/// What somebody does who comes.
const fn begin(what: &'static str, path: &'static str, body: &'static str) -> Route {
    Route { what, method: Method::POST, path, body, by: By::Newcomer }
}

/// In an order in which each can be done, again and again.
const ROUTES: [Route; 33] = [
    read("GET user/me: p99", "/api/user/me"),
    read("GET profile: p99", "/api/profile"),
    act(Method::PATCH, "PATCH profile: p99", "/api/profile", r#"{"name": "Ada PLAN"}"#),
    read("GET subscriptions/current: p99", "/api/subscriptions/current"),
    read("GET subscriptions/plans: p99", "/api/subscriptions/plans"),
    read("GET subscriptions/history: p99", "/api/subscriptions/history"),
    read("GET subscriptions/billing-history: p99", "/api/subscriptions/billing-history"),
    read("GET invoices/history: p99", "/api/invoices/history"),
    read("GET payments/history: p99", "/api/payments/history"),
    read("GET billing/payment-method: p99", "/api/stripe/billing/payment-method"),
    read("GET license: p99", "/api/license"),
    act(
        Method::POST,
        "POST license/activate: p99",
        "/api/license/activate",
        r#"{"licenseKey": "LICENSE", "machineId": "a machine"}"#,
    ),
    act(Method::DELETE, "DELETE license/machines/{id}: p99", "/api/license/machines/MACHINE", ""),
    read("GET api-keys: p99", "/api/api-keys"),
    act(Method::POST, "POST api-keys: p99", "/api/api-keys", "{}"),
    read("GET api-keys/{id}: p99", "/api/api-keys/KEY"),
    act(Method::POST, "POST api-keys/{id}/roll: p99", "/api/api-keys/KEY/roll", "{}"),
    act(Method::DELETE, "DELETE api-keys/{id}: p99", "/api/api-keys/KEY", ""),
    read("GET widgets: p99", "/api/widgets"),
    read("GET widgets/{id}: p99", "/api/widgets/WIDGET"),
    act(Method::PUT, "PUT widgets/{id}: p99", "/api/widgets/WIDGET", r#"{"config": {"plan": "PLAN"}}"#),
    act(Method::POST, "POST subscriptions/cancel: p99", "/api/subscriptions/cancel", "{}"),
    act(Method::POST, "POST subscriptions/reactivate: p99", "/api/subscriptions/reactivate", "{}"),
    act(
        Method::POST,
        "POST subscriptions/preview-change: p99",
        "/api/subscriptions/preview-change",
        r#"{"planId": "PLAN"}"#,
    ),
    act(Method::POST, "POST subscriptions/change-plan: p99", "/api/subscriptions/change-plan", r#"{"planId": "PLAN"}"#),
    act(Method::POST, "POST stripe/checkout/create: p99", "/api/stripe/checkout/create", r#"{"planId": "lifetime"}"#),
    act(Method::POST, "POST stripe/billing/portal: p99", "/api/stripe/billing/portal", "{}"),
    act(Method::POST, "POST stripe/sync: p99", "/api/stripe/sync", "{}"),
    begin("POST stripe/subscriptions: p99", "/api/stripe/subscriptions", r#"{"planId": "team_monthly"}"#),
    begin("POST stripe/subscriptions/sync: p99", "/api/stripe/subscriptions/sync", "{}"),
    Route {
        what: "GET api-keys, of a newcomer: p99",
        method: Method::GET,
        path: "/api/api-keys",
        body: "",
        by: By::Newcomer,
    },
    begin("POST api-keys/{id}/reveal: p99", "/api/api-keys/KEY/reveal", "{}"),
    begin("POST subscriptions/cancel, at once: p99", "/api/subscriptions/cancel", r#"{"immediately": true}"#),
];

/// How long requests to one route took: what is ours, and what is Stripe's.
#[derive(Clone, Default)]
struct Took {
    ours: Vec<Duration>,
    stripes: Vec<Duration>,
}

pub(crate) async fn measure(effort: Effort) -> Result<Vec<Budget>> {
    let mut scene = Scene::set().await?;
    let mut figures = vec![(Figure::default(), Figure::default()); ROUTES.len()];
    for round in 0..=effort.rounds {
        // The first round warms up and does not count.
        let requests = if round == 0 { SUBSCRIBERS } else { (effort.events / EVENTS_A_REQUEST).max(REQUESTS_MIN) };
        let took = scene.round(requests).await?;
        if round > 0 {
            let p99 = |latencies| Latency::of(latencies).p99.as_secs_f64() * 1000.0;
            for ((ours, stripes), took) in figures.iter_mut().zip(took) {
                ours.push(p99(took.ours));
                stripes.push(p99(took.stripes));
            }
        }
    }
    let line = |(route, (ours, stripes)): (&Route, (Figure, Figure))| {
        let reference = (stripes.median() > 0.0).then_some(("Stripe's own time, not counted", stripes));
        Budget { name: "routes", what: route.what, unit: "ms", measured: ours, reference, limit: Limit::AtMost(25.0) }
    };
    Ok(ROUTES.iter().zip(figures).map(line).collect())
}

/// Somebody who asks.
struct User {
    /// `Authorization`
    token: String,
    /// What is put for `KEY`, `WIDGET`, `LICENSE`, `MACHINE` and `PLAN`.
    key: String,
    widget: String,
    license: String,
    machine: String,
    plan: &'static str,
}

/// Both tiers, Stripe, and who is subscribed.
struct Scene {
    subscribers: Vec<User>,
    requests: usize,
    api: Api,
    _processes: [Process; 2],
    /// Below the processes, so that its folder outlives them.
    stack: Stack,
}

impl Scene {
    async fn set() -> Result<Self> {
        let mut stripe = Stripe::fresh();
        stripe.now = Clock::system().now().timestamp();
        let ids: Vec<_> = (0..SUBSCRIBERS).map(|number| format!("user_{number}")).collect();
        for id in &ids {
            let customer = stripe.sign_up(&format!("{id}@example.com"), "Ada", Some(id));
            stripe.checkout(&customer, &Checkout::default());
        }
        let api = Api::start(&stripe).await;
        let config = StackConfig { durable: true, ..StackConfig::on(Engine::Postgres) };
        let config = config.relay("RUST_LOG", "info").backend("RUST_LOG", "info");
        let config = config.backend("STRIPE_SECRET_KEY", SECRET_KEY).backend("STRIPE_API_BASE", &api.base);
        let config = config.backend("STRIPE_RATE_LIMIT", "1000").backend("APP_URL", "https://app.example.com");
        let stack = Stack::prepare(config).await;
        age(&stack.database).await?;
        let processes = [stack.backends[0].program().start(), stack.relay.program().start()];
        for tier in [&stack.backends[0], &stack.relay] {
            tier.ready(&stack.http).await;
        }
        stack.deliver_all(&stripe.events(ApiVersion::Endive), AT_ONCE).await;
        stack.settled().await;
        let mut scene = Self { subscribers: Vec::new(), requests: 0, api, _processes: processes, stack };
        for id in &ids {
            scene.subscribers.push(scene.user(id).await?);
        }
        Ok(scene)
    }

    async fn user(&self, id: &str) -> Result<User> {
        let token = self.stack.bearer(id);
        let [key, widget, license, machine] = [const { String::new() }; 4];
        let mut user = User { token, key, widget, license, machine, plan: "team_monthly" };
        self.ask(&read("", "/api/widgets"), &mut user).await?;
        Ok(user)
    }

    /// So many requests to each of the routes.
    async fn round(&mut self, requests: usize) -> Result<Vec<Took>> {
        let mut all = vec![Took::default(); ROUTES.len()];
        for _ in 0..requests {
            let mut newcomer = self.user(&format!("newcomer_{}", self.requests)).await?;
            let place = self.requests % SUBSCRIBERS;
            let mut subscriber = self.subscribers.swap_remove(place);
            for (route, took) in ROUTES.iter().zip(&mut all) {
                let user = if route.by == By::Newcomer { &mut newcomer } else { &mut subscriber };
                let (ours, stripes, _) = self.ask(route, user).await?;
                took.ours.push(ours);
                took.stripes.push(stripes);
            }
            self.subscribers.push(subscriber);
            self.requests += 1;
        }
        Ok(all)
    }

    /// Asks once: how long it took without Stripe's own time, that, and the answer.
    async fn ask(&self, route: &Route, user: &mut User) -> Result<(Duration, Duration, serde_json::Value)> {
        let own =
            [("KEY", &*user.key), ("WIDGET", &user.widget), ("LICENSE", &user.license), ("MACHINE", &user.machine)];
        let fill = |text: &str| {
            let filled = own.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value));
            filled.replace("PLAN", user.plan)
        };
        let (url, body) = (self.stack.public(&fill(route.path)), fill(route.body));
        let headers = [JSON, ("authorization", user.token.as_str())];
        // Of what is done within one second only events would tell which was the last.
        self.api.change(|stripe| stripe.now += 1);
        let (busy, started) = (self.api.busy(), Instant::now());
        let answer = self.stack.http.send(route.method.clone(), &url, &headers, body).await;
        let took = started.elapsed();
        let stripes = self.api.busy().saturating_sub(busy);
        ensure!([200, 201, 204].contains(&answer.status), "{url}: {} {}", answer.status, answer.error_code());
        let answer = if answer.body.is_empty() { serde_json::Value::Null } else { answer.json() };
        if let (true, Some(id)) = (answer["key"].is_string(), answer["id"].as_str()) {
            id.clone_into(&mut user.key);
        }
        let first = &answer["data"][0];
        let learned = match route.path {
            "/api/widgets" => Some((&mut user.widget, &first["id"])),
            "/api/license" => Some((&mut user.license, &first["key"])),
            "/api/license/activate" => Some((&mut user.machine, &answer["machine"]["id"])),
            "/api/api-keys" if route.by == By::Newcomer => Some((&mut user.key, &first["id"])),
            _ => None,
        };
        if let Some((place, text)) = learned {
            text.as_str().unwrap_or_default().clone_into(place);
        }
        if let (By::Newcomer, Some(id)) = (route.by, answer["subscription"]["stripeSubscriptionId"].as_str()) {
            // Whoever confirms the first payment has a key.
            self.api.change(|stripe| {
                if stripe.subscriptions[id].status == Status::Incomplete {
                    stripe.first_payment_succeeds(id);
                }
            });
        }
        if route.path.ends_with("/change-plan") {
            user.plan = if user.plan == "team_monthly" { "pro_monthly" } else { "team_monthly" };
        }
        Ok((took.saturating_sub(stripes), stripes, answer))
    }
}
