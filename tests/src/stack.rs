//! A whole Tollgate: relay, one or more backends, a database, on ports, folders and secrets of their own.

use std::fs;
use std::path::PathBuf;
use std::process::Output;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use http::Method;
use serde_json::Value;
use tempfile::TempDir;
use tollgate_shared::Rng;

use crate::engines::{Database, Engine, temporary_folder};
use crate::http::{Http, Response};
use crate::process::{Program, binary, free_address};
use crate::stripe::delivery::signature;
use crate::stripe::{Event, Stripe, catalogue};
use crate::wait::{SOON, wait_for, wait_until};

mod balancer;
mod tier;
mod user;

use balancer::Balancer;
pub use tier::{STOP_TIMEOUT, Tier};

/// The widgets that a new customer is given.
pub const WIDGETS: &str = r#"[{"name": "default", "config": {}}]"#;

/// What a stack is made of. [`StackConfig::on`] is the usual one; change the fields before spawning.
#[derive(Clone, Debug)]
pub struct StackConfig {
    /// Which database.
    pub engine: Engine,
    /// A database that is synced to disk and, on PostgreSQL, a server that this stack alone has.
    pub durable: bool,
    /// How many backends share the database. More than one are reached over HTTP/1.1, connection by connection in turn.
    pub backends: usize,
    /// The text of `plans.toml`.
    pub plans: String,
    /// Variables of the relay beside, or instead of, the usual ones.
    pub relay: Vec<(String, String)>,
    /// Variables of each backend beside, or instead of, the usual ones.
    pub backend: Vec<(String, String)>,
}

impl StackConfig {
    /// One relay, one backend, the catalogue's plans.
    pub fn on(engine: Engine) -> Self {
        Self {
            engine,
            durable: false,
            backends: 1,
            plans: catalogue::PLANS.to_owned(),
            relay: Vec::new(),
            backend: Vec::new(),
        }
    }

    /// Sets a variable of the relay.
    pub fn relay(mut self, name: &str, value: &str) -> Self {
        self.relay.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets a variable of each backend.
    pub fn backend(mut self, name: &str, value: &str) -> Self {
        self.backend.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// The secrets of one stack; no two stacks share any.
#[derive(Clone, Debug)]
pub struct StackSecrets {
    /// What Stripe signs with.
    pub webhook: String,
    /// Between the tiers.
    pub internal: String,
    /// The rest of the backend's, by variable.
    pub backend: Vec<(String, String)>,
}

impl StackSecrets {
    fn new() -> Self {
        let text = |prefix: &str| format!("{prefix}{}", hex::encode(Rng::system().bytes::<20>()));
        let backend = ["AUTH_SECRET", "CRON_SECRET", "ENCRYPTION_KEY", "ADMIN_API_KEY"];
        Self {
            webhook: text("whsec_"),
            internal: text("int_"),
            backend: backend.map(|name| (name.to_owned(), text("sec_"))).to_vec(),
        }
    }

    /// The backend's secret in this variable.
    pub fn of(&self, variable: &str) -> &str {
        let secret = self.backend.iter().find(|(name, _)| name == variable);
        &secret.expect("every stack has those that the backend needs").1
    }

    /// All of them, to look for where they must not be.
    pub fn all(&self) -> Vec<&str> {
        let backend = self.backend.iter().map(|(_, secret)| secret.as_str());
        [self.webhook.as_str(), &self.internal].into_iter().chain(backend).collect()
    }
}

/// A running stack. Dropping it kills its processes and removes its folders, unless the test has failed.
#[derive(Debug)]
pub struct Stack {
    /// The relay.
    pub relay: Tier,
    /// The backends, at least one.
    pub backends: Vec<Tier>,
    /// What Stripe and the tiers share.
    pub secrets: StackSecrets,
    /// A client.
    pub http: Http,
    /// The relay's `RELAY_DATA_DIR`.
    pub journal: PathBuf,
    _balancer: Option<Balancer>,
    /// Below the processes, so that it outlives them.
    pub database: Database,
    folder: TempDir,
}

/// How often an event is sent again that was not durable.
const DELIVERED_AGAIN_MAX: usize = 3;

impl Stack {
    /// Starts everything and waits until both tiers are ready.
    pub async fn spawn(config: StackConfig) -> Self {
        let mut stack = Self::prepare(config).await;
        stack.start().await;
        stack
    }

    /// Everything but the processes: the folders, files, database and addresses.
    pub async fn prepare(config: StackConfig) -> Self {
        let database =
            if config.durable { config.engine.durable_database().await } else { config.engine.database().await };
        let folder = temporary_folder();
        let secrets = StackSecrets::new();
        let path = |name: &str| folder.path().join(name);
        let text = |name: &str| path(name).to_str().expect("a temporary path is UTF-8").to_owned();
        fs::write(path("plans.toml"), &config.plans).expect("a file can be written");
        fs::write(path("widgets.json"), WIDGETS).expect("a file can be written");
        fs::create_dir(path("empty")).expect("a folder can be made");

        let (address, admin) = (free_address(), free_address());
        let mut backends = Vec::new();
        for number in 0..config.backends {
            let own = free_address();
            let mut environment = vec![
                pair("BACKEND_ADDR", &own.to_string()),
                pair("DATABASE_URL", &database.url()),
                pair("INTERNAL_API_KEY", &secrets.internal),
                pair("PUBLIC_URL", &format!("http://{address}")),
                pair("RELAY_ADMIN_URLS", &format!("http://{admin}")),
                pair("PLANS_FILE", &text("plans.toml")),
                pair("WIDGETS_FILE", &text("widgets.json")),
            ];
            environment.extend(secrets.backend.iter().cloned());
            let name = format!("backend-{number}");
            let program = program("tollgate-backend", &name, environment, &config.backend, &folder);
            backends.push(Tier { program, address: own, admin: own, process: None });
        }
        let (balancer, upstream) = if let [one] = &backends[..] {
            (None, one.address)
        } else {
            let balancer = Balancer::start(backends.iter().map(|backend| backend.address).collect()).await;
            let address = balancer.address;
            (Some(balancer), address)
        };
        let environment = vec![
            pair("RELAY_ADDR", &address.to_string()),
            pair("RELAY_ADMIN_ADDR", &admin.to_string()),
            pair("RELAY_DATA_DIR", &text("journal")),
            pair("STRIPE_WEBHOOK_SECRET", &secrets.webhook),
            pair("INTERNAL_API_KEY", &secrets.internal),
            pair("BACKEND_URL", &format!("http://{upstream}")),
            pair("BACKEND_HTTP", if balancer.is_some() { "1.1" } else { "2" }),
        ];
        let program = program("tollgate-relay", "relay", environment, &config.relay, &folder);
        Self {
            relay: Tier { program, address, admin, process: None },
            backends,
            secrets,
            http: Http::default(),
            journal: path("journal"),
            _balancer: balancer,
            database,
            folder,
        }
    }

    /// Starts what is not running and waits until all of it is ready.
    pub async fn start(&mut self) {
        for backend in &mut self.backends {
            backend.start(&self.http).await;
        }
        self.relay.start(&self.http).await;
        for tier in self.backends.iter().chain([&self.relay]) {
            tier.ready(&self.http).await;
        }
    }

    /// Starts the relay alone and waits until it is ready: it takes events whether or not there is a backend.
    pub async fn start_relay(&mut self) {
        self.relay.start(&self.http).await;
        self.relay.ready(&self.http).await;
    }

    /// Starts the backends alone and waits until they are ready.
    pub async fn start_backends(&mut self) {
        for backend in &mut self.backends {
            backend.start(&self.http).await;
            backend.ready(&self.http).await;
        }
    }

    /// The first backend: the only one, unless the stack was asked for more.
    pub fn backend(&mut self) -> &mut Tier {
        &mut self.backends[0]
    }

    /// The address of a path at the relay's public listener.
    pub fn public(&self, path: &str) -> String {
        format!("http://{}{path}", self.relay.address)
    }

    /// The address of a path at the first backend.
    pub fn private(&self, path: &str) -> String {
        format!("http://{}{path}", self.backends[0].address)
    }

    /// A signature for `body`, made now under the stack's own secret.
    pub fn signature(&self, body: &[u8]) -> String {
        signature(&self.secrets.webhook, body)
    }

    /// Delivers `body` as Stripe would, signed now.
    pub async fn deliver(&self, body: Bytes) -> Response {
        let signature = self.signature(&body);
        self.http.post(&self.public(WEBHOOK_PATH), &[("stripe-signature", &signature), JSON], body).await
    }

    /// Delivers all of `events`, `at_once` at a time; each has to be answered 200. One that no disk has taken in time is
    /// sent again, as Stripe would: while many tests run, a disk may stand still for seconds.
    pub async fn deliver_all(&self, events: &[Event], at_once: usize) {
        let deliveries = futures_util::stream::iter(events).map(|event| async {
            let mut response = self.deliver(event.body.clone()).await;
            for _ in 0..DELIVERED_AGAIN_MAX {
                if response.status == 503 && response.error_code() == "not_durable" {
                    response = self.deliver(event.body.clone()).await;
                }
            }
            assert_eq!(response.status, 200, "{} {}: {}", event.event_type, event.id, response.error_code());
        });
        deliveries.buffer_unordered(at_once).for_each(async |()| ()).await;
    }

    /// Delivers `events` one after the other and waits until the backend has them all. With `RELAY_ACK=backend` they are
    /// processed in this order, too.
    pub async fn tell(&self, events: &[Event]) {
        self.deliver_all(events, 1).await;
        self.settled().await;
    }

    /// Panics with every difference between what the backend says of `customer` and what Stripe's truth leads to.
    pub async fn assert_true_to(&self, stripe: &Stripe, customer: &str) {
        let body = self.customer(customer).await.unwrap_or_default();
        let differences = stripe.differences(customer, &body);
        assert!(differences.is_empty(), "{customer}:\n{}", differences.join("\n"));
    }

    /// Waits until the relay has nothing left to deliver: each event it took has been confirmed by the backend.
    pub async fn settled(&self) {
        self.settled_within(SOON).await;
    }

    /// As [`Stack::settled`], with a limit of one's own.
    pub async fn settled_within(&self, limit: Duration) {
        wait_until("the relay has delivered everything", limit, async || self.backlog().await == Some(0)).await;
    }

    /// How many events the relay has taken that the backend has not confirmed, by its own word in `/metrics`.
    pub async fn backlog(&self) -> Option<u64> {
        let metrics =
            self.http.try_send(Method::GET, &self.relay.admin_url("/metrics"), &[], Bytes::new()).await.ok()?;
        sample(&String::from_utf8_lossy(&metrics.body), "tollgate_relay_unconfirmed_events")
    }

    /// A request to the first backend with the key that opens its internal routes.
    pub async fn internal(&self, method: Method, path: &str, body: impl Into<Bytes>) -> Response {
        let key = [("x-internal-api-key", self.secrets.internal.as_str()), JSON];
        self.http.send(method, &self.private(path), &key, body).await
    }

    /// A request of an operator's to the first backend.
    pub async fn operate(&self, method: Method, path: &str, body: &Value) -> Response {
        let bearer = format!("Bearer {}", self.secrets.of("ADMIN_API_KEY"));
        let headers = [("authorization", bearer.as_str()), JSON];
        self.http.send(method, &self.private(path), &headers, body.to_string()).await
    }

    /// `GET /v1/customers/{id}`, or `None` for one that is not known.
    pub async fn customer(&self, id: &str) -> Option<Value> {
        let response = self.internal(Method::GET, &format!("/v1/customers/{id}"), Bytes::new()).await;
        match response.status {
            200 => Some(response.json()),
            404 => None,
            other => panic!("GET /v1/customers/{id}: {other} {}", response.error_code()),
        }
    }

    /// `GET /v1/webhook-events/{id}`, or `None` for one that is not known.
    pub async fn event(&self, id: &str) -> Option<Value> {
        let response = self.internal(Method::GET, &format!("/v1/webhook-events/{id}"), Bytes::new()).await;
        match response.status {
            200 => Some(response.json()),
            404 => None,
            other => panic!("GET /v1/webhook-events/{id}: {other} {}", response.error_code()),
        }
    }

    /// All of `GET /v1/webhook-events` with this query, page by page.
    pub async fn events(&self, query: &str) -> Vec<Value> {
        let mut all = Vec::new();
        let mut cursor = String::new();
        loop {
            let path = format!("/v1/webhook-events?limit=10&{query}{cursor}");
            let response = self.internal(Method::GET, &path, Bytes::new()).await;
            assert_eq!(response.status, 200, "GET {path}: {}", response.error_code());
            let page = response.json();
            all.extend(page["data"].as_array().expect("a list has data").iter().cloned());
            let Some(next) = page["nextCursor"].as_str() else { return all };
            cursor = format!("&cursor={next}");
        }
    }

    /// Waits until the event's record satisfies `holds` and returns it.
    pub async fn event_where(&self, id: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        wait_for(&format!("{id} {what}"), SOON, async || self.event(id).await.filter(&holds)).await
    }

    /// Runs `tollgate-relay journal …` on the stack's own journal.
    pub fn journal(&self, arguments: &[&str]) -> Output {
        self.relay.command(&[&["journal"], arguments].concat())
    }

    /// Everything that both tiers have logged.
    pub fn logs(&self) -> String {
        self.backends.iter().chain([&self.relay]).map(Tier::log).collect()
    }

    /// A path in the stack's own folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for Stack {
    /// A failed test leaves its logs and its journal to be read.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.folder.disable_cleanup(true);
            eprintln!("logs and journal are kept in {}", self.folder.path().display());
        }
    }
}

/// Where Stripe delivers.
pub const WEBHOOK_PATH: &str = "/api/webhooks/stripe";

/// The header of a JSON body, as Stripe sends it.
pub const JSON: (&str, &str) = ("content-type", "application/json; charset=utf-8");

/// The sum of a metric's samples in Prometheus's text format.
pub fn sample(metrics: &str, name: &str) -> Option<u64> {
    let values: Vec<f64> = metrics
        .lines()
        .filter_map(|line| line.strip_prefix(name))
        .filter(|rest| rest.starts_with([' ', '{']))
        .filter_map(|rest| rest.rsplit(' ').next()?.parse().ok())
        .collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() as u64)
}

fn program(
    binary_name: &str,
    name: &str,
    mut environment: Vec<(String, String)>,
    instead: &[(String, String)],
    folder: &TempDir,
) -> Program {
    environment.push(pair("RUST_LOG", "trace"));
    environment.retain(|(name, _)| !instead.iter().any(|(other, _)| other == name));
    environment.extend(instead.iter().cloned());
    Program {
        name: name.to_owned(),
        path: binary(binary_name),
        arguments: Vec::new(),
        environment,
        folder: folder.path().join("empty"),
        log: folder.path().join(format!("{name}.log")),
    }
}

fn pair(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_found_by_its_whole_name_and_summed_over_its_labels() {
        let metrics = "# HELP a_b x\na_b 3\na_b_c 4\na_l{x=\"1\"} 5\na_l{x=\"2\"} 6\n";
        assert_eq!(sample(metrics, "a_b"), Some(3));
        assert_eq!(sample(metrics, "a_l"), Some(11));
        assert_eq!(sample(metrics, "a"), None);
    }
}
