//! What operators look at, with as much in the database as years leave behind: how long each list, the search, and each page
//! of one thing takes.

use anyhow::{Result, ensure};
use hyper::Method;
use serde_json::{Value, json};
use tokio::time::Instant;
use tollgate_shared::{Clock, Rng};
use tollgate_tests::load::Latency;
use tollgate_tests::stack::JSON;
use tollgate_tests::stripe::{ApiVersion, Checkout, Stripe};
use tollgate_tests::{Engine, Stack, StackConfig};

use crate::budget::{Budget, Figure, Limit};
use crate::copies::{Copies, earlier, run};
use crate::write_path::age;
use crate::{AT_ONCE, Effort};

/// A customer for so many events, as there are in years.
const EVENTS_A_CUSTOMER: usize = 10;

/// Invoices, changes and events of a licence of each customer.
const OF_EACH: usize = 3;

/// A round asks each so often.
const REQUESTS: usize = 100;

/// What is asked for; `N` stands for the number of a customer, `E` for that of an event.
const ROUTES: [(&str, &str); 27] = [
    ("search: an id of a customer", "/api/admin/search?q=cus_copy_N"),
    ("search: an id of an event", "/api/admin/search?q=evt_copy_E"),
    ("search: a user", "/api/admin/search?q=user_copy_N"),
    ("search: an e-mail address", "/api/admin/search?q=adaN@example.com"),
    ("search: how a name begins", "/api/admin/search?q=adaN"),
    ("search: how many names begin", "/api/admin/search?q=a"),
    ("search: nothing", "/api/admin/search?q=nobody-N"),
    ("customers", "/api/admin/customers?limit=100"),
    ("customers by tier", "/api/admin/customers?limit=100&tier=pro"),
    ("customers by status", "/api/admin/customers?limit=100&status=active"),
    ("customers by a status of few", "/api/admin/customers?limit=100&status=past_due"),
    ("customers by tier and a status of few", "/api/admin/customers?limit=100&status=past_due&tier=pro"),
    ("customers by how many names begin", "/api/admin/customers?limit=100&q=ada"),
    ("customers by name and a status of few", "/api/admin/customers?limit=100&q=ada&status=past_due"),
    ("one customer", "/api/admin/customers/cus_copy_N"),
    ("licences", "/api/admin/licenses?limit=100"),
    ("licences by status", "/api/admin/licenses?limit=100&status=active"),
    ("licences by e-mail address", "/api/admin/licenses?limit=100&q=adaN@example.com"),
    ("one licence", "/api/admin/licenses/lic_copy_N"),
    ("events", "/api/admin/events?limit=100"),
    ("events by status", "/api/admin/events?limit=100&status=processed"),
    ("events by a type of few", "/api/admin/events?limit=100&type=type.7"),
    ("events of a customer", "/api/admin/events?limit=100&customer=cus_copy_N"),
    ("one event", "/api/admin/events/evt_copy_E"),
    ("audit", "/api/admin/audit?limit=100"),
    ("dead letters", "/api/dlq?limit=100"),
    ("event-durability", "/api/monitoring/event-durability"),
];

/// What reads whole tables, and is held against nothing.
const SUMS: [(&str, &str); 1] = [("stats", "/api/admin/stats")];

pub(crate) async fn measure(effort: Effort) -> Result<Vec<Budget>> {
    let mut budgets = Vec::new();
    for (engine, name, limit) in [(Engine::Postgres, "PostgreSQL", 100.0), (Engine::Sqlite, "SQLite", 250.0)] {
        let scene = Scene::set(engine, effort.rows).await?;
        let limited = ROUTES.map(|route| (route, Limit::AtMost(limit)));
        for ((what, path), limit) in limited.into_iter().chain(SUMS.map(|route| (route, Limit::Nothing))) {
            let mut measured = Figure::default();
            for _ in 0..effort.rounds {
                measured.push(scene.p99(path).await?);
            }
            let what = format!("{what}, {name}: p99").leak();
            budgets.push(Budget { name: "operators", what, unit: "ms", measured, reference: None, limit });
        }
    }
    Ok(budgets)
}

struct Scene {
    stack: Stack,
    customers: usize,
    events: usize,
}

impl Scene {
    async fn set(engine: Engine, events: usize) -> Result<Self> {
        let config = StackConfig { durable: true, ..StackConfig::on(engine) };
        let stack = Stack::spawn(config.relay("RUST_LOG", "info").backend("RUST_LOG", "info")).await;
        age(&stack.database).await?;
        let mut stripe = Stripe::fresh();
        stripe.now = Clock::system().now().timestamp();
        let customer = stripe.sign_up("ada@example.com", "Ada", Some("user_1"));
        stripe.checkout(&customer, &Checkout::default());
        stack.deliver_all(&stripe.events(ApiVersion::Endive), AT_ONCE).await;
        stack.settled().await;
        let scene = Self { stack, customers: events / EVENTS_A_CUSTOMER, events };
        scene.activate(&customer).await?;
        eprintln!("making {} customers and {events} events on {engine:?}", scene.customers);
        scene.fill(&customer).await?;
        run(&scene.stack.database, "ANALYZE".to_owned()).await?;
        Ok(scene)
    }

    /// A machine of the one customer.
    async fn activate(&self, customer: &str) -> Result<()> {
        let shown = self.stack.customer(customer).await.unwrap_or_default();
        let key = &shown["licenses"][0]["key"];
        let body = json!({ "licenseKey": key, "machineId": "a-machine-of-the-bench", "appVersion": "1.0.0", "platform": "linux" });
        let url = self.stack.public("/api/license/activate");
        let answer = self.stack.http.send(Method::POST, &url, &[JSON], body.to_string()).await;
        ensure!(answer.status == 201, "activate: {} {}", answer.status, answer.error_code());
        Ok(())
    }

    async fn fill(&self, customer: &str) -> Result<()> {
        let (database, customers) = (&self.stack.database, self.customers);
        let engine = database.engine();
        let of_customer = format!("customer_id = '{customer}'");
        let of_license = format!("license_id = (SELECT id FROM licenses WHERE {of_customer})");
        let is_customer = format!("id = '{customer}'");
        let named = |prefix: &str| format!("'{prefix}_copy_' || n");
        // Each row of the one has a copy for each customer, so its own name is a part of the copy's.
        let several = |prefix: &str| format!("'{prefix}_copy_' || n || '_' || s.id");
        let time = |column: &str| earlier(engine, column, "n");
        let few = |often: &str, seldom: &str| format!("CASE WHEN n % 1000 = 0 THEN '{seldom}' ELSE '{often}' END");
        let (name, mail) = ("'Ada' || n".to_owned(), "'ada' || n || '@example.com'".to_owned());
        for (table, of, count, differ) in [
            (
                "customers",
                &is_customer,
                customers,
                vec![
                    ("id", named("cus")),
                    ("user_id", named("user")),
                    ("name", name),
                    ("name_key", "'ada' || n".to_owned()),
                    ("email", mail),
                    ("first_seen_at", time("first_seen_at")),
                    ("current_subscription_id", named("sub")),
                ],
            ),
            (
                "subscriptions",
                &of_customer,
                customers,
                vec![("id", named("sub")), ("customer_id", named("cus")), ("status", few("active", "past_due"))],
            ),
            (
                "licenses",
                &of_customer,
                customers,
                vec![
                    ("id", named("lic")),
                    ("customer_id", named("cus")),
                    ("key", "'COPY-' || n".to_owned()),
                    ("created_at", time("created_at")),
                ],
            ),
            ("license_logs", &of_license, customers, vec![("license_id", named("lic"))]),
            (
                "license_events",
                &of_license,
                customers,
                vec![("id", several("sev")), ("license_id", named("lic")), ("created_at", time("created_at"))],
            ),
            (
                "machines",
                &of_license,
                customers,
                vec![
                    ("id", named("mac")),
                    ("license_id", named("lic")),
                    ("seat_of", named("lic")),
                    ("activated_at", time("activated_at")),
                ],
            ),
            (
                "changes",
                &of_customer,
                customers,
                vec![("id", several("chg")), ("customer_id", named("cus")), ("at", time("at"))],
            ),
            (
                "invoices",
                &of_customer,
                customers * OF_EACH,
                vec![
                    ("id", named("in")),
                    ("customer_id", format!("'cus_copy_' || (1 + n % {customers})")),
                    ("subscription_id", format!("'sub_copy_' || (1 + n % {customers})")),
                    ("created_at", time("created_at")),
                    ("paid_at", time("paid_at")),
                ],
            ),
        ] {
            Copies { table, of, count, differ: &differ }.make(database).await?;
        }
        let of = "id = (SELECT max(id) FROM webhook_batches)";
        let differ = [("id", "'bat_0_' || n".to_owned()), ("at", earlier(engine, "at", "n"))];
        Copies { table: "webhook_batches", of, count: self.events, differ: &differ }.make(database).await?;
        let of = format!("id = (SELECT max(id) FROM webhook_events WHERE type = 'invoice.paid' AND {of_customer})");
        let differ = [
            ("id", named("evt")),
            ("type", "'type.' || n % 40".to_owned()),
            ("status", few("processed", "ignored")),
            ("customer_id", format!("'cus_copy_' || (1 + n % {customers})")),
            ("batch_id", "'bat_0_' || n".to_owned()),
            ("request_id", "'req_copy_' || n".to_owned()),
            ("received_at", earlier(engine, "received_at", "n")),
        ];
        Copies { table: "webhook_events", of: &of, count: self.events, differ: &differ }.make(database).await
    }

    /// How long a request takes of which one in a hundred takes longer, in milliseconds.
    async fn p99(&self, path: &str) -> Result<f64> {
        let rng = Rng::system();
        let below =
            |count: usize| usize::try_from(u64::from_le_bytes(rng.bytes()) % count as u64).unwrap_or_default() + 1;
        let mut took = Vec::new();
        for _ in 0..REQUESTS {
            let path = path.replace("copy_N", &format!("copy_{}", below(self.customers)));
            let path = path.replace("adaN", &format!("ada{}", below(self.customers)));
            let path = path.replace("copy_E", &format!("copy_{}", below(self.events)));
            let begun = Instant::now();
            let answer = self.stack.operate(Method::GET, &path, &Value::Null).await;
            took.push(begun.elapsed());
            ensure!(answer.status == 200, "{path}: {} {}", answer.status, answer.error_code());
        }
        Ok(Latency::of(took).p99.as_secs_f64() * 1000.0)
    }
}
