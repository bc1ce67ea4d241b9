//! A pod of twelve months, from 31 January on, as its members and Stripe see it.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use rocket::http::{ContentType, Header, Method};
use serde_json::{Value, json};
use tollgate_db::Db;
use tollgate_domain::reconciliation::Run;
use tollgate_shared::clock::from_unix;
use tollgate_shared::{Clock, Rng};
use tollgate_tests::stripe::catalogue::PLANS;
use tollgate_tests::stripe::model::InvoiceStatus;
use tollgate_tests::stripe::rest::{Api, SECRET_KEY};
use tollgate_tests::stripe::{ApiVersion, Stripe};

use super::joining::signed_in;
use super::{DAY, id_of};
use crate::app::App;
use crate::on_each_engine;
use crate::reconciliation::Reconciliation;
use crate::testing::{CRON_SECRET, START, TestApp, TestResponse, bearer, config_with_plans};

/// When each contribution is due: noon of the last day of each month.
const DATES: [&str; 12] = [
    "2026-01-31",
    "2026-02-28",
    "2026-03-31",
    "2026-04-30",
    "2026-05-31",
    "2026-06-30",
    "2026-07-31",
    "2026-08-31",
    "2026-09-30",
    "2026-10-31",
    "2026-11-30",
    "2026-12-31",
];

/// Whoever has a good card, one that fails in March, a bank account that once sends a debit back; and who leaves in June.
const GOOD: &str = "user_good";
const FAILS: &str = "user_fails";
const DEBITED: &str = "user_debited";
const LEAVES: &str = "user_leaves";
const MEMBERS: [&str; 4] = [GOOD, FAILS, DEBITED, LEAVES];

struct Scene {
    app: TestApp,
    api: Api,
    clock: Clock,
    told: usize,
    pod: String,
    customers: BTreeMap<&'static str, String>,
}

fn noon(day: &str) -> i64 {
    format!("{day}T12:00:00Z").parse::<DateTime<Utc>>().unwrap().timestamp()
}

impl Scene {
    async fn of(db: Db, retries: &str) -> Self {
        let mut stripe = Stripe::fresh();
        stripe.now = START;
        let mut customers = BTreeMap::new();
        for user in MEMBERS {
            let customer = stripe.sign_up("ada@example.com", "Ada", Some(user));
            if user == DEBITED {
                let account = stripe.attach_bank_account(&customer, "6789");
                stripe.make_default_card(&customer, &account);
            } else {
                stripe.change_card(&customer, "visa", "4242");
            }
            customers.insert(user, customer);
        }
        let api = Api::start(&stripe).await;
        let variables = [
            ("STRIPE_SECRET_KEY", SECRET_KEY),
            ("STRIPE_API_BASE", &*api.base),
            ("STRIPE_RATE_LIMIT", "1000"),
            ("POD_RETRIES", retries),
        ];
        let config = Arc::new(config_with_plans(PLANS, &variables));
        let clock = Clock::manual(from_unix(START).unwrap());
        let app = TestApp::of(App::new(config, db, clock.clone(), Rng::seeded(1))).await;
        let mut scene = Self { app, api, clock, told: 0, pod: String::new(), customers };
        scene.hear().await;
        let pod = json!({
            "name": "Ajo", "amount": 5000, "currency": "NGN", "cadence": "monthly", "maxMembers": 12,
            "firstContributionDate": "2026-01-31T12:00:00Z",
        });
        scene.pod = id_of(&scene.press(GOOD, "/api/pods", &pod).await.json());
        for user in MEMBERS {
            let joined = scene.press(user, &format!("/api/pods/{}/join", scene.pod), &json!({})).await;
            assert_eq!(joined.status, 201, "{joined:?}");
        }
        scene.hear().await;
        scene
    }

    async fn hear(&mut self) {
        let events = self.api.change(|stripe| stripe.events_since(self.told, ApiVersion::Endive));
        self.told = self.api.change(|stripe| stripe.occurrences.len());
        self.app.take_all(&events).await;
    }

    async fn press(&self, user: &str, path: &str, body: &Value) -> TestResponse {
        let request = self.app.client.req(Method::Post, path.to_owned()).header(good_for_years(user));
        TestResponse::of(request.header(ContentType::JSON).body(body.to_string())).await
    }

    /// Days go by until `then`; each day what is due is done, and heard of.
    async fn until(&mut self, then: i64) {
        while self.clock.now().timestamp() < then {
            let next = then.min(self.clock.now().timestamp() + DAY);
            self.clock.advance(Duration::from_secs((next - self.clock.now().timestamp()).try_into().unwrap()));
            self.api.change(|stripe| {
                stripe.advance_to(next);
            });
            self.hear().await;
            for job in ["retry-events", "expiration-check"] {
                let request = self.app.client.req(Method::Post, format!("/api/cron/{job}")).header(bearer(CRON_SECRET));
                assert_eq!(TestResponse::of(request).await.status, 200);
            }
            self.hear().await;
        }
    }

    fn card(&self, user: &str, last4: &str) {
        let customer = self.customers[user].clone();
        self.api.change(|stripe| {
            let method = stripe.customers[&customer].default_payment_method.clone().unwrap();
            stripe.payment_methods.get_mut(&method).unwrap().last4 = last4.to_owned();
        });
    }

    async fn membership(&self, user: &str) -> Value {
        self.app.get(&format!("/v1/pods/mine?userId={user}")).await.json()["data"][0].clone()
    }

    /// Status, how many were paid, and what was paid, is pending and is overdue.
    async fn sums(&self, user: &str) -> (String, [i64; 4]) {
        let row = self.membership(user).await;
        let names = ["contributionProgress", "totalContributed", "pendingAmount", "overdueAmount"];
        (row["status"].as_str().unwrap().to_owned(), names.map(|name| row[name].as_i64().unwrap()))
    }

    /// Dates and statuses of a user's contributions, the oldest first.
    async fn contributions(&self, user: &str) -> Vec<(String, String)> {
        let path = format!("/api/pods/{}/contributions?limit=100", self.pod);
        let listed = self.app.as_user(Method::Get, &path, &good_for_years(user)).await.json();
        let text = |one: &Value, name: &str| one[name].as_str().unwrap().to_owned();
        let rows = listed["data"].as_array().unwrap().iter().rev();
        rows.map(|one| (text(one, "dueAt")[..10].to_owned(), text(one, "status"))).collect()
    }

    /// What Stripe took of a user.
    fn taken(&self, user: &str) -> i64 {
        let customer = &self.customers[user];
        self.api.change(|stripe| {
            let theirs = stripe.invoices.values().filter(|invoice| invoice.customer == *customer);
            theirs.filter(|invoice| invoice.status == InvoiceStatus::Paid).map(|invoice| invoice.amount_paid).sum()
        })
    }

    async fn differences(&self) -> i64 {
        let app = self.app.inner.clone();
        let mut run = Run::new("a test's", app.clock.now(), None, app.config.webhook_events_kept, &[]);
        let stripe = app.stripe.clone().unwrap();
        let all = Reconciliation { stripe, inbox: self.app.inbox.clone(), app, mends: false };
        all.go_on(&mut run, |_, _| (), pending()).await;
        assert!(run.ended_at.is_some());
        run.found
    }
}

fn good_for_years(user: &str) -> Header<'static> {
    signed_in(user, "user")
}

fn paid(months: usize) -> (String, [i64; 4]) {
    ("active".to_owned(), [months as i64, 5000 * months as i64, 0, 0])
}

async fn a_year(db: Db, retries: &str) {
    let mut scene = Scene::of(db, retries).await;
    for (number, date) in DATES.into_iter().enumerate() {
        let month = number + 1;
        scene.until(noon(date) - DAY).await;
        let shown = scene.membership(GOOD).await;
        assert_eq!(shown["nextContributionDate"], json!(format!("{date}T12:00:00Z")));
        match month {
            3 => scene.card(FAILS, "9995"),
            5 => scene.card(DEBITED, "2227"),
            _ => {}
        }
        // An hour later the draft is an invoice.
        scene.until(noon(date) + 2 * 3600).await;
        let under_way = ("active".to_owned(), [number as i64, 5000 * number as i64, 5000, 0]);
        assert_eq!(scene.sums(GOOD).await, paid(month), "{date}");
        assert_eq!(scene.sums(DEBITED).await, under_way, "{date}: a debit takes days");
        if month == 3 {
            assert_eq!(scene.sums(FAILS).await, ("past_due".to_owned(), [2, 10_000, 0, 5000]));
            let failed = scene.membership(FAILS).await;
            assert_eq!(failed["failureCode"], "insufficient_funds");
            assert!(failed["graceEndsAt"].as_str().unwrap().starts_with("2026-04-07T13:00"), "{failed}");
            scene.until(noon("2026-04-02")).await;
            scene.card(FAILS, "4242");
        }
        scene.until(noon(date) + 5 * DAY).await;
        if month == 5 {
            assert_eq!(scene.sums(DEBITED).await, ("past_due".to_owned(), [4, 20_000, 0, 5000]), "it came back");
            scene.card(DEBITED, "6789");
        }
        scene.until(noon(date) + 14 * DAY).await;
        for user in [GOOD, FAILS, DEBITED] {
            assert_eq!(scene.sums(user).await, paid(month), "{date} {user}");
        }
        if month == 5 {
            let path = format!("/api/pods/{}/leave", scene.pod);
            let left = scene.press(LEAVES, &path, &json!({})).await;
            assert_eq!(left.json()["membership"]["leavesAt"], "2026-06-30T12:00:00Z", "{left:?}");
            scene.hear().await;
        }
    }
    scene.until(noon("2027-02-10")).await;
    let months = |count: usize| -> Vec<_> {
        DATES[..count].iter().map(|date| ((*date).to_owned(), "succeeded".to_owned())).collect()
    };
    for (user, count, status) in
        [(GOOD, 12, "completed"), (FAILS, 12, "completed"), (DEBITED, 12, "completed"), (LEAVES, 5, "canceled")]
    {
        let total = 5000 * count as i64;
        assert_eq!(scene.sums(user).await, (status.to_owned(), [count as i64, total, 0, 0]), "{user}");
        assert_eq!(scene.contributions(user).await, months(count), "{user}");
        assert_eq!(scene.taken(user), total, "{user}: what Stripe took");
    }
    let pod =
        scene.app.as_user(Method::Get, &format!("/api/admin/pods/{}", scene.pod), &signed_in("ada", "admin")).await;
    let pod = pod.json();
    assert_eq!((&pod["status"], &pod["memberCount"]), (&json!("completed"), &json!(0)));
    assert_eq!(pod["totalContributed"], MEMBERS.iter().map(|user| scene.taken(user)).sum::<i64>());
    assert_eq!(scene.differences().await, 0);
}

#[test]
fn a_year_of_savings_ends_with_what_stripe_took() {
    on_each_engine!(async |db: Db| a_year(db, "tollgate").await);
}

#[test]
fn a_year_of_savings_is_the_same_by_stripes_own_tries() {
    on_each_engine!(async |db: Db| a_year(db, "stripe").await);
}
