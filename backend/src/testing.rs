//! The whole application on a test's database, called without a socket.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use rocket::http::{ContentType, Header, Method};
use rocket::local::asynchronous::{Client, LocalRequest};
use serde_json::{Value, json};
use sha2::Sha256;
use tollgate_shared::clock::from_unix;
use tollgate_shared::env::Env;
use tollgate_shared::{Clock, Rng, json_seq};
use tollgate_tests::stripe::Event;

use crate::app::App;
use crate::config::Config;
use crate::http::auth::INTERNAL_KEY_HEADER;
use crate::monitoring::metrics;
use crate::openapi::testing as document;
use crate::schema::MIGRATIONS;
use crate::server;
use crate::webhooks::inbox::Inbox;
use crate::webhooks::routes::INTAKE_PATH;
use tollgate_db::Db;

/// What an internal caller shows.
pub(crate) const INTERNAL_KEY: &str = "an-internal-key";

/// When tests begin: 2025-06-15T15:06:40Z.
pub(crate) const START: i64 = 1_750_000_000;

pub(crate) const PLANS: &str = include_str!("../tests/plans.toml");

/// The application, with a clock that stands still.
pub(crate) struct TestApp {
    pub(crate) inner: App,
    pub(crate) inbox: Inbox,
    pub(crate) client: Client,
}

/// One response, whole.
#[derive(Debug)]
pub(crate) struct TestResponse {
    pub(crate) status: u16,
    pub(crate) request_id: Option<String>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl TestApp {
    /// On `db`.
    pub(crate) async fn on(db: Db) -> Self {
        Self::with(db, &[]).await
    }

    /// On `db`, with some variables more.
    pub(crate) async fn with(db: Db, variables: &[(&str, &str)]) -> Self {
        let clock = Clock::manual(from_unix(START).unwrap());
        Self::of(App::new(Arc::new(config(variables)), db, clock, Rng::seeded(1))).await
    }

    /// One of several processes on one database, by its number from 1: its clock is so many seconds further, and it draws
    /// other numbers. By the same ones an epoch that it begins could have the name of one that was.
    pub(crate) async fn process(db: Db, number: u64) -> Self {
        let clock = Clock::manual(from_unix(START + number as i64).unwrap());
        Self::of(App::new(Arc::new(config(&[])), db, clock, Rng::seeded(1 + number))).await
    }

    /// Another replica, on the same database, by the same clock.
    pub(crate) async fn replica(&self, db: Db) -> Self {
        Self::of(App::new(self.inner.config.clone(), db, self.inner.clock.clone(), Rng::system())).await
    }

    /// Of an app that a test made.
    pub(crate) async fn of(app: App) -> Self {
        metrics::start();
        let inbox = Inbox::open(app.clone());
        let rocket = server::rocket(app.clone(), inbox.clone());
        let client = Client::untracked(rocket).await.expect("the routes do not collide");
        Self { inner: app, inbox, client }
    }

    /// A request with the internal key.
    pub(crate) fn request<'c>(&'c self, method: Method, path: &'c str) -> LocalRequest<'c> {
        self.client.req(method, path).header(Header::new(INTERNAL_KEY_HEADER, INTERNAL_KEY))
    }

    /// A GET with the internal key.
    pub(crate) async fn get(&self, path: &str) -> TestResponse {
        TestResponse::of(self.request(Method::Get, path)).await
    }

    /// A POST of JSON with the internal key.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> TestResponse {
        TestResponse::of(self.request(Method::Post, path).header(ContentType::JSON).body(body.to_string())).await
    }

    /// A GET by the operator `ada`.
    pub(crate) async fn look_up(&self, path: &str) -> TestResponse {
        TestResponse::of(self.client.req(Method::Get, path).header(signed_in("ada", "admin"))).await
    }

    /// A POST of JSON by the operator `ada`.
    pub(crate) async fn act(&self, path: &str, body: &Value) -> TestResponse {
        let request = self.client.req(Method::Post, path).header(signed_in("ada", "admin"));
        TestResponse::of(request.header(ContentType::JSON).body(body.to_string())).await
    }

    /// Hands an event over as the relay does; it has to be taken.
    pub(crate) async fn take(&self, id: &str, event_type: &str, object: Value) {
        let response = self.post(INTAKE_PATH, &event(id, event_type, &object)).await;
        assert_eq!(response.status, 200, "{response:?}");
        assert_eq!(response.json()["outcome"], "processed", "{response:?}");
    }

    /// Several events in one request, as a relay sends them that has many.
    pub(crate) async fn deliver_several(&self, body: impl AsRef<[u8]>) -> TestResponse {
        let media_type = ContentType::new("application", "json-seq");
        TestResponse::of(self.request(Method::Post, INTAKE_PATH).header(media_type).body(body)).await
    }

    /// Hands all that happened at a Stripe over; each event has to be taken.
    pub(crate) async fn take_all(&self, events: &[Event]) {
        for events in events.chunks(json_seq::EVENTS_MAX) {
            let mut sequence = Vec::new();
            for event in events {
                json_seq::push(&mut sequence, &event.body);
            }
            let taken = self.deliver_several(sequence).await.json();
            let results = taken["results"].as_array().map_or(&[][..], Vec::as_slice);
            let received = results.iter().filter(|result| result["received"] == true);
            assert_eq!(received.count(), events.len(), "{taken}");
        }
    }

    /// A request of a user, without a body.
    pub(crate) async fn as_user(&self, method: Method, path: &str, user: &Header<'static>) -> TestResponse {
        TestResponse::of(self.client.req(method, path.to_owned()).header(user.clone())).await
    }

    /// A GET by the user `user_1`.
    pub(crate) async fn see(&self, path: &str) -> TestResponse {
        self.as_user(Method::Get, path, &signed_in("user_1", "user")).await
    }

    /// A customer of a user, with an active subscription.
    pub(crate) async fn subscriber(&self, customer: &str, user_id: &str) {
        let mut subscription = subscription_of(customer, "active");
        subscription["metadata"] = json!({ "user_id": user_id });
        self.take(&format!("evt_{customer}"), "customer.subscription.created", subscription).await;
    }

    /// A customer with a subscription, whatever that gives.
    pub(crate) async fn take_a_subscriber(&self) {
        self.take("evt_subscribed", "customer.subscription.created", subscription("active")).await;
    }
}

impl TestResponse {
    /// The response to `request`. What that may be is in the OpenAPI document.
    pub(crate) async fn of(request: LocalRequest<'_>) -> Self {
        let (method, path) = (request.inner().method(), request.inner().uri().to_string());
        let response = request.dispatch().await;
        let headers =
            response.headers().iter().map(|header| (header.name().to_string(), header.value().to_owned())).collect();
        let response = Self {
            status: response.status().code,
            request_id: response.headers().get_one("x-request-id").map(str::to_owned),
            headers,
            body: response.into_string().await.unwrap_or_default(),
        };
        document::check(method, &path, &response);
        response
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(given, _)| given.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// Status and error code; the body has to have every member of the error body and no other.
    pub(crate) fn refusal(&self) -> (u16, String) {
        let body = self.json();
        let error = body["error"].as_object().unwrap_or_else(|| panic!("no error: {self:?}"));
        // What few codes say more is for their own tests.
        let members = error.keys().map(String::as_str).filter(|name| *name != "machines");
        assert_eq!(members.collect::<Vec<_>>(), ["code", "message", "param", "requestId"]);
        assert_eq!(error["requestId"].as_str(), self.request_id.as_deref(), "{self:?}");
        assert!(!error["message"].as_str().unwrap().is_empty());
        (self.status, error["code"].as_str().unwrap().to_owned())
    }

    /// The same with the parameter at fault.
    pub(crate) fn refused_parameter(&self) -> (u16, String, Option<String>) {
        let (status, code) = self.refusal();
        (status, code, self.json()["error"]["param"].as_str().map(str::to_owned))
    }

    /// Status and body for a snapshot; what is random is not shown.
    pub(crate) fn shown(&self) -> String {
        let mut body = self.json();
        hide(&mut body);
        format!("{}\n{}", self.status, serde_json::to_string_pretty(&body).unwrap())
    }
}

/// Replaces ids of ours and keys by their prefix.
fn hide(value: &mut Value) {
    const RANDOM: [&str; 6] = ["req_", "lic_", "key_", "mac_", "wid_", "tg_test_"];
    match value {
        Value::Array(items) => items.iter_mut().for_each(hide),
        Value::Object(members) => {
            for (name, member) in members.iter_mut() {
                let is_secret = (name == "key" || name == "token") && member.is_string();
                if is_secret {
                    *member = json!("…");
                }
                hide(member);
            }
        }
        Value::String(text) => {
            if let Some(prefix) = RANDOM.into_iter().find(|prefix| text.starts_with(prefix)) {
                *text = format!("{prefix}…");
            }
        }
        _ => {}
    }
}

/// An event as Stripe sends it, made at [`START`].
pub(crate) fn event(id: &str, event_type: &str, object: &Value) -> Value {
    json!({
        "id": id,
        "object": "event",
        "type": event_type,
        "api_version": "2025-09-30.clover",
        "created": START,
        "livemode": false,
        "data": { "object": object },
    })
}

/// `sub_1` of `cus_1`, on the plan of the tests.
pub(crate) fn subscription(status: &str) -> Value {
    json_with(subscription_of("cus_1", status), "id", "sub_1")
}

/// The subscription of a customer, on the plan of the tests.
pub(crate) fn subscription_of(customer: &str, status: &str) -> Value {
    json!({
        "id": format!("sub_of_{customer}"),
        "object": "subscription",
        "customer": customer,
        "status": status,
        "created": START,
        "cancel_at_period_end": false,
        "metadata": { "user_id": "user_1" },
        "items": { "object": "list", "total_count": 1, "data": [{
            "id": "si_1",
            "object": "subscription_item",
            "quantity": 1,
            "current_period_start": START,
            "current_period_end": START + 2_592_000,
            "price": { "id": "price_pro_month", "object": "price", "product": "prod_pro" },
        }]},
    })
}

fn json_with(mut object: Value, name: &str, value: &str) -> Value {
    object[name] = value.into();
    object
}

/// Who signs in where nothing else is said.
pub(crate) const AUTH_SECRET: &str = "an-auth-secret";

/// What whoever calls the timetable's routes shows.
pub(crate) const CRON_SECRET: &str = "a-cron-secret";

/// What an operator without a sign-in shows, once `ADMIN_API_KEY` is this.
pub(crate) const ADMIN_KEY: &str = "an-admin-key";

/// A JWT with this header and these claims, signed under HS256 whatever the header says.
pub(crate) fn sign_token(header: &Value, claims: &Value, secret: &str) -> String {
    let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    let message = format!("{header}.{claims}");
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap().chain_update(&message);
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}

/// `Authorization` of a signed-in user, good for an hour from [`START`]; `role` may be `admin`.
pub(crate) fn signed_in(user_id: &str, role: &str) -> Header<'static> {
    let claims = json!({ "sub": user_id, "role": role, "exp": START + 3600 });
    bearer(&sign_token(&json!({ "alg": "HS256", "typ": "JWT" }), &claims, AUTH_SECRET))
}

/// That routes answer nobody but users, and those 503 while the database is away.
pub(crate) async fn assert_only_for_users(routes: &[(Method, &str)]) {
    let app = TestApp::on(db_that_is_away()).await;
    let claims = json!({ "sub": "user_1", "exp": START - 60 });
    let expired = bearer(&sign_token(&json!({ "alg": "HS256", "typ": "JWT" }), &claims, AUTH_SECRET));
    for (method, path) in routes {
        // With the internal key, which opens none of these, and with what any of them takes.
        let request = || app.request(*method, path).header(ContentType::JSON).body(r#"{"config": {}}"#);
        let stranger = TestResponse::of(request()).await;
        assert_eq!(stranger.refusal(), (401, "unauthorized".to_owned()), "{path}");
        let late = TestResponse::of(request().header(expired.clone())).await;
        assert_eq!(late.refusal(), (401, "unauthorized".to_owned()), "{path}");
        let away = TestResponse::of(request().header(signed_in("user_1", "user"))).await;
        assert_eq!(away.refusal(), (503, "database_unavailable".to_owned()), "{path}");
    }
}

/// `Authorization` with a bearer token.
pub(crate) fn bearer(token: &str) -> Header<'static> {
    Header::new("authorization", format!("Bearer {token}"))
}

/// A configuration with all that has to be there.
pub(crate) fn config(variables: &[(&str, &str)]) -> Config {
    config_with_plans(PLANS, variables)
}

/// The same with other plans.
pub(crate) fn config_with_plans(plans_file: &str, variables: &[(&str, &str)]) -> Config {
    let folder = tempfile::tempdir().unwrap();
    let plans = folder.path().join("plans.toml");
    let widgets = folder.path().join("widgets.json");
    std::fs::write(&plans, plans_file).unwrap();
    std::fs::write(&widgets, r#"[{"name": "default", "config": {"theme": "light"}}]"#).unwrap();
    let required = [
        ("INTERNAL_API_KEY", INTERNAL_KEY),
        ("AUTH_SECRET", AUTH_SECRET),
        ("CRON_SECRET", CRON_SECRET),
        ("ENCRYPTION_KEY", "an-encryption-key-of-32-characters"),
        ("PLANS_FILE", plans.to_str().unwrap()),
        ("WIDGETS_FILE", widgets.to_str().unwrap()),
    ];
    let variables = required.iter().chain(variables).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::from_env(&Env::from_vars(variables)).expect("the variables of a test are usable")
}

/// A database where nobody listens. Its socket is not there, of which we hear at once: at an address where nobody listens
/// each request would wait for as long as a server may take to start.
pub(crate) fn db_that_is_away() -> Db {
    Db::open(&"postgres://nobody@localhost/none?host=/nowhere".parse().unwrap(), &MIGRATIONS).unwrap()
}
