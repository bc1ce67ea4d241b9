//! All routes of operators: who may ask, and that whatever changes something is on record.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use chrono::Duration;
use rocket::http::{ContentType, Header, Method};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha512};
use tempfile::TempDir;
use tollgate_db::testing::block_on;
use tollgate_db::{Db, Engine, Json as Column};
use tollgate_domain::alerts::{Alert, AlertName, Labels, Severity, State};
use tollgate_domain::apply::Touched;
use tollgate_domain::memberships::joining::{Joined, join};
use tollgate_domain::memberships::lists;
use tollgate_shared::clock::{from_unix, rfc3339};
use tollgate_tests::stripe::Stripe;
use tollgate_tests::stripe::rest::{Api, SECRET_KEY};

use crate::http::auth::INTERNAL_KEY_HEADER;
use crate::http::endpoint::Operation;
use crate::on_each_engine;
use crate::schema::testing::migrated;
use crate::server::endpoints;
use crate::testing::{
    ADMIN_KEY, INTERNAL_KEY, START, TestApp, TestResponse, bearer, db_that_is_away, event, signed_in, subscription_of,
};
use crate::webhooks::routes::INTAKE_PATH;

/// What operators can ask.
fn operations() -> Vec<Operation> {
    let operations = endpoints().into_iter().filter_map(|endpoint| endpoint.operation);
    operations.filter(|operation| operation.access.iter().any(|scheme| scheme.name == "adminKey")).collect()
}

fn name_of(operation: &Operation) -> String {
    format!("{} {}", operation.method, operation.path)
}

#[rocket::async_test]
async fn nobody_else_is_let_into_a_route_of_operators() {
    let app = TestApp::on(db_that_is_away()).await;
    let operations = operations();
    assert!(operations.len() > 20, "these are the routes: {}", operations.len());
    for operation in &operations {
        let path = operation.path.replace(['{', '}'], "");
        let ask = async |shown: Header<'static>| {
            let request = app.client.req(operation.method, path.clone()).header(ContentType::JSON).header(shown);
            let response = TestResponse::of(request.body("{}")).await;
            (response.status, response.json()["error"]["code"].as_str().unwrap().to_owned())
        };
        let name = name_of(operation);
        let (stranger, user) = ((401, "unauthorized".to_owned()), (403, "forbidden".to_owned()));
        assert_eq!(ask(signed_in("user_1", "user")).await, user, "{name} with a user's token");
        assert_eq!(ask(Header::new(INTERNAL_KEY_HEADER, INTERNAL_KEY)).await, stranger, "{name} with the internal key");
        let key = bearer("T3GHA-D4WGF-VDYH4-Y9EF2-HYU4J");
        assert_eq!(ask(key).await, stranger, "{name} with a licence key");
        assert_eq!(ask(bearer(INTERNAL_KEY)).await, stranger, "{name} with the internal key as a token");
    }
}

#[test]
fn from_another_origin_the_cookie_of_the_console_changes_nothing() {
    on_each_engine!(async |db| {
        let app = TestApp::with(db, &[("ADMIN_API_KEY", ADMIN_KEY)]).await;
        let body = json!({ "key": ADMIN_KEY }).to_string();
        let begun = TestResponse::of(app.client.post("/console/session").header(ContentType::JSON).body(body)).await;
        let cookie = begun.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
        for operation in operations().into_iter().filter(Operation::is_unsafe) {
            let ask = async |site: &'static str| {
                let path = operation.path.replace(['{', '}'], "");
                let request = app.client.req(operation.method, path).header(Header::new("cookie", cookie.clone()));
                let request = request.header(Header::new("sec-fetch-site", site)).header(ContentType::JSON);
                TestResponse::of(request.body("{}")).await.status
            };
            let name = name_of(&operation);
            for elsewhere in ["cross-site", "same-site", "none"] {
                assert_eq!(ask(elsewhere).await, 403, "{name} from {elsewhere}");
            }
            let status = ask("same-origin").await;
            assert!(![401, 403].contains(&status), "{name} from the console: {status}");
        }
    });
}

/// What the alert is known by that fires.
const ALERT: &str = "0123456789abcdef";

/// What is in a file of a release.
const FILE: &[u8] = b"windows";

fn release_of(version: &str) -> Value {
    let file = json!({
        "name": format!("app-{version}.exe"), "platform": "win", "arch": "x64", "size": FILE.len(),
        "sha512": BASE64_STANDARD.encode(Sha512::digest(FILE)),
    });
    json!({ "version": version, "channel": "latest", "files": [file] })
}

/// A Tollgate in which there is something to be done by each of the routes.
struct Scene {
    app: TestApp,
    _api: Api,
    customer: String,
    license: String,
    machine: String,
    _releases: TempDir,
    release: String,
    ticket: String,
    pod: String,
    membership: String,
}

impl Scene {
    async fn on(db: Db) -> Self {
        let mut stripe = Stripe::fresh();
        stripe.now = START;
        let customer = stripe.sign_up("ada@example.com", "Ada", Some("user_1"));
        let api = Api::start(&stripe).await;
        let releases = tempfile::tempdir().unwrap();
        let variables = [
            ("STRIPE_SECRET_KEY", SECRET_KEY),
            ("STRIPE_API_BASE", &*api.base),
            ("RELEASES_DIR", releases.path().to_str().unwrap()),
        ];
        let app = TestApp::with(db, &variables).await;
        app.subscriber(&customer, "user_1").await;
        for id in ["evt_lost", "evt_given_up"] {
            let unreadable = event(id, "customer.subscription.updated", &json!({ "object": "subscription" }));
            assert_eq!(app.post(INTAKE_PATH, &unreadable).await.status, 200);
        }
        let license = app.license_of(&customer).await;
        let machine = app.seat(&license, "a hash").await;
        let id_of = |made: &TestResponse| made.json()["id"].as_str().unwrap().to_owned();
        let release = id_of(&app.act("/api/admin/releases", &release_of("1.0.0")).await);
        let ticket = json!({ "subject": "It does not start", "message": "Since today." });
        let asked = app.client.post("/api/support").header(signed_in("user_1", "user")).header(ContentType::JSON);
        let ticket = id_of(&TestResponse::of(asked.body(ticket.to_string())).await);
        let (pod, membership) = (String::new(), String::new());
        let mut scene =
            Self { app, _api: api, customer, license, machine, _releases: releases, release, ticket, pod, membership };
        scene.pod = scene.pod_that_was_paid_into().await;
        scene.alert().await;
        scene
    }

    /// Something is amiss.
    async fn alert(&self) {
        let alert = Alert {
            fingerprint: ALERT.to_owned(),
            alert: AlertName::SyncDrift.name().to_owned(),
            severity: Severity::Warning.name().to_owned(),
            labels: Column(Labels::new()),
            summary: "something was changed".to_owned(),
            status: State::Firing.name().to_owned(),
            starts_at: self.app.inner.clock.now(),
            ends_at: None,
            good_judgements: 0,
            told_at: None,
            silenced_until: None,
        };
        let mut tx = self.app.inner.begin_write().await.unwrap();
        tx.upsert(&[&alert]).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// A pod with one member, who has paid once.
    async fn pod_that_was_paid_into(&mut self) -> String {
        let pod = self.ask("POST /api/admin/pods").await.json()["id"].as_str().unwrap().to_owned();
        let joined = self.app.inner.write(&Touched::pod(&pod), |work| join(work, &pod, "user_2", None, None)).await;
        let Joined::Begun(membership) = joined.unwrap().0 else { panic!("there is a seat") };
        let savings = json!({ "pod_id": pod, "membership_id": membership.id, "user_id": "user_2" });
        let mut subscription = subscription_of("cus_2", "active");
        subscription["metadata"] = savings.clone();
        self.app.take("evt_joined", "customer.subscription.created", subscription).await;
        let invoice = json!({
            "id": "in_1", "object": "invoice", "customer": "cus_2", "status": "paid", "currency": "ngn", "amount_due": 5000,
            "amount_paid": 5000, "attempt_count": 1, "created": START,
            "parent": {
                "type": "subscription_details",
                "subscription_details": { "subscription": "sub_of_cus_2", "metadata": savings },
            },
            "lines": { "object": "list", "data": [] },
            "status_transitions": { "paid_at": START },
        });
        self.app.take("evt_paid_in", "invoice.paid", invoice).await;
        self.membership = membership.id;
        pod
    }

    /// What is sent to each route; a route that changes something has its line here.
    fn body_of(&self, operation: &str) -> Option<Value> {
        Some(match operation {
            "POST /api/admin/customers/{id}/sync" | "POST /api/dlq/retry/{id}" => json!({}),
            "POST /api/admin/customers/{id}/link" => json!({ "userId": "user_9", "reason": "by phone" }),
            "POST /api/admin/pods" => json!({
                "name": "Ajo", "amount": 5000, "currency": "NGN", "cadence": "weekly", "maxMembers": 12,
                "contributionsTotal": 3, "firstContributionDate": rfc3339(from_unix(START).unwrap() + Duration::days(7)),
            }),
            "POST /api/admin/pods/{id}/payouts" => {
                json!({ "membershipId": self.membership, "amount": 1000, "reference": "bank-1" })
            }
            "POST /api/admin/releases" => release_of("2.0.0"),
            "POST /api/admin/releases/{id}/rollout" => json!({ "percent": 10 }),
            "POST /api/admin/support/{id}/respond" => json!({ "message": "Try again." }),
            "POST /api/stripe/webhooks/replay" => json!({ "eventId": "evt_joined" }),
            "DELETE /api/admin/licenses/{id}/machines/{machine_id}"
            | "PUT /api/admin/releases/{id}/files/{name}"
            | "POST /api/admin/releases/{id}/publish"
            | "POST /api/monitoring/alerts/test" => Value::Null,
            "POST /api/dlq/resolve/{id}" => json!({ "note": "told them" }),
            "POST /api/monitoring/alerts/{fingerprint}/silence" => {
                json!({ "until": rfc3339(from_unix(START).unwrap() + Duration::days(1)), "reason": "because" })
            }
            "POST /api/admin/licenses/{id}/revoke"
            | "POST /api/admin/licenses/{id}/reinstate"
            | "POST /api/admin/releases/{id}/withdraw"
            | "POST /api/admin/pods/{id}/cancel"
            | "POST /api/admin/memberships/{id}/cancel"
            | "POST /api/admin/cron/{job}/run"
            | "POST /api/admin/events/{id}/redeliver" => json!({ "reason": "because" }),
            _ => return None,
        })
    }

    /// The id in a route's path.
    fn id_of(&self, operation: &str) -> &str {
        match operation.split('/').nth(3).unwrap_or_default() {
            "customers" => &self.customer,
            "licenses" => &self.license,
            "memberships" => &self.membership,
            "releases" => &self.release,
            "support" => &self.ticket,
            "events" => "evt_joined",
            "retry" => "evt_lost",
            "resolve" => "evt_given_up",
            _ => &self.pod,
        }
    }

    async fn ask(&self, operation: &str) -> TestResponse {
        let body = self.body_of(operation).unwrap_or_else(|| panic!("{operation} has no line in `body_of`"));
        let (method, path) = operation.split_once(' ').unwrap();
        let path = path.replace("{id}", self.id_of(operation)).replace("{machine_id}", &self.machine);
        let path =
            path.replace("{name}", "app-1.0.0.exe").replace("{job}", "retry-events").replace("{fingerprint}", ALERT);
        let request = self.app.client.req(method.parse::<Method>().unwrap(), path).header(signed_in("ada", "admin"));
        let request = match body {
            Value::Null if operation.starts_with("PUT ") => request.header(ContentType::Binary).body(FILE),
            Value::Null => request,
            body => request.header(ContentType::JSON).body(body.to_string()),
        };
        TestResponse::of(request).await
    }
}

#[test]
fn whatever_an_operator_changes_is_in_the_audit_trail() {
    on_each_engine!(async |db| {
        let scene = Scene::on(db).await;
        let changing = operations().into_iter().filter(Operation::is_unsafe);
        let mut names: Vec<_> = changing.map(|operation| name_of(&operation)).collect();
        // What ends something comes after what needs it.
        names.sort_by_key(|name| (name.ends_with("/cancel"), name.contains("pods"), name.contains("reinstate")));
        assert!(names.len() > 10, "{names:?}");
        for name in names {
            let done = scene.ask(&name).await;
            assert!((200..300).contains(&done.status), "{name}: {done:?}");
            let acts = scene.app.look_up("/api/admin/audit?limit=100").await.json();
            let is_its = |act: &&Value| act["requestId"].as_str() == done.request_id.as_deref();
            let act = acts["data"].as_array().unwrap().iter().find(is_its);
            let act = act.unwrap_or_else(|| panic!("{name} left no row: {acts}"));
            assert_eq!(act["actor"], "ada", "{name}");
        }
    });
}

#[test]
fn every_list_of_memberships_goes_by_an_index_on_both_engines() {
    block_on(async {
        let statements = lists::STATEMENTS.map(str::to_owned);
        for engine in [Engine::Sqlite, Engine::Postgres] {
            let database = migrated(engine).await;
            assert_eq!(database.refused(&statements).await, []);
            assert_eq!(database.slow(&statements, &[]).await, [], "on {engine:?}");
        }
    });
}
