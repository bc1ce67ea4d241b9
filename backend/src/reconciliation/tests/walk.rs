//! A random walk: what users do by the routes and at Stripe's own pages, what time brings, and webhooks that come late,
//! twice, in any order or never. It has to end with everything here as it is at Stripe.

mod things;

use std::collections::{BTreeMap, BTreeSet};

use rocket::http::{ContentType, Header, Method};
use serde_json::json;
use tollgate_shared::json_seq;
use tollgate_tests::stripe::catalogue::PRO_MONTHLY;
use tollgate_tests::stripe::model::{Invoice, Metadata, Price, Status};
use tollgate_tests::stripe::{Buyer, GiveUp, NewCard, story};

use self::things::Things;
use super::*;
use crate::testing::{AUTH_SECRET, TestResponse, bearer, sign_token};

/// How many things happen in one.
const STEPS: usize = 1000;

/// Who takes part.
const USERS: usize = 8;

const PLAN_IDS: [&str; 5] = ["pro_monthly", "pro_yearly", "team_monthly", "enterprise_monthly", "lifetime"];

/// Cards by their last digits: three are good, and the others are not.
const CARDS: [&str; 5] = ["4242", "4444", "5556", "0341", "3184"];

/// How often an event that came comes again.
const TWICE: f64 = 0.2;

/// How long everything may be lost before it is looked for: less than Stripe lists events.
const LOOKS_EVERY: i64 = 20 * DAY;

/// One walk, made up from its seed.
struct Walk {
    scene: Scene,
    rng: Rng,
    /// Events on their way.
    coming: Vec<Event>,
    /// How many of them never come.
    lost: f64,
    /// What users have of ours.
    things: Things,
    /// What has happened, for whoever has to find out what was wrong.
    story: Vec<String>,
    /// When it was last looked for what was lost, and how much that was in all.
    looked_at: i64,
    brought: usize,
}

impl Walk {
    async fn on(db: Db, seed: u64, lost: f64) -> Self {
        let mut stripe = Stripe::new(seed);
        // Who comes for the first time has some days free.
        stripe.prices.retain(|price| price.id != PRO_MONTHLY.id);
        stripe.add_price(Price { trial_days: Some(14), ..PRO_MONTHLY });
        // No machine is silent for so long that another one gets its seat.
        let scene = Scene::with(db, stripe, &[("MACHINE_STALE_DAYS", "3650")]).await;
        Self {
            looked_at: scene.now(),
            scene,
            rng: Rng::seeded(seed),
            coming: Vec::new(),
            lost,
            things: Things::default(),
            story: Vec::new(),
            brought: 0,
        }
    }

    fn below(&self, bound: usize) -> usize {
        (self.rng.unit() * bound as f64) as usize
    }

    fn chance(&self, probability: f64) -> bool {
        self.rng.unit() < probability
    }

    fn one_of<T: Clone>(&self, choices: &[T]) -> Option<T> {
        choices.get(self.below(choices.len())).cloned()
    }

    fn tell(&mut self, what: String) {
        self.story.push(format!("{} {what}", self.scene.now()));
    }

    async fn go(&mut self, steps: usize) {
        for _ in 0..steps {
            match self.below(22) {
                0..=8 => self.somebody_acts().await,
                9..=11 => self.somebody_is_at_stripe(),
                12..=16 => self.webhooks_come().await,
                17..=19 => self.time_goes_by().await,
                20 => self.somebody_is_at_a_machine(&user(self.below(USERS))).await,
                _ => self.somebody_has_keys(&user(self.below(USERS))).await,
            }
            for event in self.scene.happened() {
                if !self.chance(self.lost) {
                    self.coming.push(event);
                }
            }
        }
    }

    /// Everything that is on its way arrives.
    async fn arrive(&mut self) {
        self.scene.pass(A_WHILE);
        while !self.coming.is_empty() {
            self.webhooks_come().await;
        }
        // What the events of one second leave open is asked for.
        while self.scene.app.inbox.refetches_waiting() > 0 {
            tokio::task::yield_now().await;
        }
    }

    /// A press of a button.
    async fn somebody_acts(&mut self) {
        if self.chance(0.7) {
            self.later(1 + self.below(100) as i64);
        }
        let user = user(self.below(USERS));
        let plan = json!({ "planId": PLAN_IDS[self.below(PLAN_IDS.len())] });
        let (path, body) = match self.below(20) {
            0..=5 => ("/api/stripe/checkout/create", plan),
            6 => ("/api/stripe/subscriptions", plan),
            7..=10 => ("/api/subscriptions/change-plan", plan),
            11 => ("/api/subscriptions/preview-change", plan),
            12..=14 => ("/api/subscriptions/cancel", json!({ "immediately": self.chance(0.2) })),
            15 | 16 => ("/api/subscriptions/reactivate", json!({})),
            17 => ("/api/stripe/billing/portal", json!({})),
            _ => ("/api/stripe/sync", json!({})),
        };
        let answer = self.press(&user, path, &body).await;
        self.tell(format!("{user} {path} {body}: {} {}", answer.status, answer.body));
        assert!([200, 201, 202, 402, 404, 409, 422].contains(&answer.status), "{}", self.told());
        if answer.status == 200 && path == "/api/stripe/checkout/create" && self.chance(0.8) {
            let session = answer.json()["sessionId"].as_str().unwrap().to_owned();
            self.pays(&session);
        }
        if answer.status == 200 && path == "/api/subscriptions/preview-change" && self.chance(0.5) {
            let preview = answer.json();
            let order = json!({ "planId": preview["planId"], "prorationDate": preview["prorationDate"] });
            let changed = self.press(&user, "/api/subscriptions/change-plan", &order).await;
            self.tell(format!("{user} does so: {} {}", changed.status, changed.body));
            assert!([200, 202, 402, 409].contains(&changed.status), "{}", self.told());
        }
    }

    async fn press(&self, user: &str, path: &str, body: &Value) -> TestResponse {
        let request = self.scene.app.client.req(Method::Post, path.to_owned()).header(signed_in_for_years(user));
        TestResponse::of(request.header(ContentType::JSON).body(body.to_string())).await
    }

    /// The buyer goes through an open session, by some card.
    fn pays(&mut self, session: &str) {
        let last4 = CARDS[self.below(CARDS.len())].to_owned();
        let paid = self.scene.api.change(|stripe| {
            let row = &stripe.sessions[session];
            if stripe.customers.get(&row.customer).is_some_and(|customer| customer.deleted) {
                return Ok(());
            }
            let email = row.client_reference_id.as_ref().map(|user| format!("{user}@example.com"));
            let card = Some(NewCard { brand: "visa", last4 });
            let name = Some("Ada".to_owned());
            stripe.complete_session(session, &Buyer { email, name, card, has_confirmed: false, coupon: None })
        });
        self.tell(format!("{session} is gone through: {paid:?}"));
    }

    /// Something that a user does at a page of Stripe's, or the merchant in the dashboard.
    fn somebody_is_at_stripe(&mut self) {
        let (mut sessions, mut customers, mut subscriptions) = (Vec::new(), Vec::new(), Vec::new());
        self.scene.api.change(|stripe| {
            let open = stripe.sessions.values().filter(|session| session.status == "open");
            sessions = open.map(|session| session.id.clone()).collect();
            customers =
                stripe.customers.values().filter(|customer| !customer.deleted).map(|it| it.id.clone()).collect();
            let running = stripe.subscriptions.values().filter(|subscription| !subscription.status.is_final());
            subscriptions = running.map(|subscription| (subscription.id.clone(), subscription.status)).collect();
        });
        let digits = CARDS[self.below(CARDS.len())];
        let name = format!("Ada {}", self.below(1000));
        let (session, customer) = (self.one_of(&sessions), self.one_of(&customers));
        let (subscription, at_end) = (self.one_of(&subscriptions), self.chance(0.7));
        let (quantity, days) = (1 + self.below(5) as i64, 1 + self.below(30) as i64);
        match (self.below(13), session, customer, subscription) {
            (0 | 1, Some(session), ..) => return self.pays(&session),
            (2, Some(session), ..) => self.scene.api.change(|stripe| stripe.expire_session(&session)),
            (3 | 4, _, Some(customer), _) => {
                self.scene.api.change(|stripe| drop(stripe.change_card(&customer, "visa", digits)));
            }
            (5, _, Some(customer), _) => {
                self.scene.api.change(|stripe| stripe.rename(&customer, "ada@example.org", &name));
            }
            (6, _, Some(customer), _) => self.scene.api.change(|stripe| stripe.detach_card(&customer)),
            (7, _, _, Some((id, Status::Active | Status::Trialing))) => {
                self.scene
                    .api
                    .change(|stripe| if at_end { stripe.schedule_cancel_at(&id) } else { stripe.cancel(&id) });
            }
            (8, _, _, Some((id, Status::Incomplete))) => {
                self.scene.api.change(|stripe| stripe.first_payment_succeeds(&id));
            }
            (8, _, _, Some((id, Status::PastDue | Status::Unpaid))) => self.scene.api.change(|stripe| {
                if stripe.owes(&id) {
                    stripe.recover(&id);
                }
            }),
            (8, _, _, Some((id, Status::Paused))) => self.scene.api.change(|stripe| stripe.resume(&id)),
            (9, _, Some(customer), _) if self.chance(0.1) => {
                self.scene.api.change(|stripe| stripe.delete_customer(&customer));
            }
            (9, _, Some(customer), _) => self.gives_back(&customer),
            (10, _, _, Some((id, Status::Active | Status::Trialing))) => {
                self.scene.api.change(|stripe| stripe.change_quantity(&id, quantity));
            }
            (11, _, _, Some((id, Status::Active))) => {
                self.scene.api.change(|stripe| stripe.extend_trial(&id, stripe.now + days * DAY));
            }
            (11, _, _, Some((id, Status::Trialing))) => self.scene.api.change(|stripe| stripe.end_trial_now(&id)),
            (12, _, Some(customer), _) if self.chance(0.3) => self.scene.api.change(|stripe| {
                let (first, none) = (stripe.prices[0], Metadata::new());
                stripe.subscribe(&customer, &[first], quantity, none, at_end.then_some(days));
            }),
            _ => return,
        }
        self.tell(format!("somebody is at Stripe, {digits} {name}"));
    }

    /// Some payment of a customer goes back, or half of it.
    fn gives_back(&self, customer: &str) {
        let all = self.chance(0.5);
        self.scene.api.change(|stripe| {
            let theirs = stripe.payment_intents.values().filter(|intent| intent.customer == customer);
            let paid = theirs.map(|intent| intent.id.clone()).find(|intent| stripe.refundable(intent) > 1);
            match paid {
                Some(intent) if all => drop(stripe.refund_in_full(&intent)),
                Some(intent) => drop(stripe.refund(&intent, stripe.refundable(&intent) / 2)),
                None => {}
            }
        });
    }

    /// Some of what is on its way comes, in one request, and some of it not for the last time.
    async fn webhooks_come(&mut self) {
        let many = self.coming.len().min(1 + self.below(40));
        let mut together = Vec::new();
        for _ in 0..many {
            let event = self.coming.swap_remove(self.below(self.coming.len()));
            if self.chance(TWICE) {
                self.coming.push(event.clone());
            }
            together.push(event);
        }
        if together.is_empty() {
            return;
        }
        let ids: Vec<_> = together.iter().map(|event| format!("{} {}", event.event_type, event.id)).collect();
        self.tell(format!("come {}", ids.join(", ")));
        let mut bodies = Vec::new();
        for event in &together {
            json_seq::push(&mut bodies, &event.body);
        }
        let request = self.scene.app.request(Method::Post, INTAKE_PATH);
        let answer = TestResponse::of(request.header(ContentType::new("application", "json-seq")).body(bodies)).await;
        let results = answer.json()["results"].as_array().unwrap().clone();
        assert_eq!(results.len(), together.len());
        assert!(results.iter().all(|result| result["received"] == true), "{}\n{answer:?}", self.told());
    }

    /// Time goes by, with all that Stripe does by itself meanwhile.
    fn later(&self, seconds: i64) {
        let gives_up = [GiveUp::Cancel, GiveUp::Unpaid, GiveUp::Pause, GiveUp::StayPastDue][self.below(4)];
        self.scene.api.change(|stripe| {
            stripe.gives_up = gives_up;
            stripe.advance(seconds);
        });
        self.scene.pass(0);
    }

    async fn time_goes_by(&mut self) {
        let seconds = [60, 3600, DAY, 4 * DAY][self.below(4)];
        self.later(seconds);
        self.tell(format!("{seconds} s go by"));
        if self.lost > 0.0 && self.scene.now() - self.looked_at > LOOKS_EVERY {
            self.looked_at = self.scene.now();
            self.brought += self.scene.found(true).await.len();
        }
    }

    /// Everything that is not here as it is at Stripe.
    async fn wrong(&self) -> Vec<String> {
        let customers: Vec<_> = self.scene.api.change(|stripe| stripe.customers.keys().cloned().collect());
        let mut wrong = Vec::new();
        for customer in customers {
            let differences = self.scene.wrong(&customer).await.into_iter().filter(|difference| {
                // Of what is ours alone Stripe knows nothing.
                !difference.starts_with(".apiKeys") && !difference.starts_with(".licenses[0].activations")
            });
            wrong.extend(differences.map(|difference| format!("{customer}{difference}")));
        }
        wrong.extend(self.wrong_things().await);
        let invoices = self.scene.api.change(|stripe| {
            let row = |invoice: &Invoice| {
                let status = invoice.status.text().to_owned();
                (invoice.id.clone(), status, invoice.amount_due, invoice.amount_paid, invoice.attempt_count)
            };
            stripe.invoices.values().map(row).collect::<Vec<_>>()
        });
        let mut tx = self.scene.app.inner.read().await.unwrap();
        let sql = "SELECT id, status, amount_due, amount_paid, attempts FROM invoices ORDER BY id";
        let rows: Vec<(String, String, i64, i64, i64)> = tx.sql(sql).all().await.unwrap();
        let missing = invoices.iter().filter(|invoice| !rows.contains(invoice));
        wrong.extend(missing.map(|invoice| format!("not so here: {invoice:?}")));
        wrong.extend(rows.iter().filter(|row| !invoices.contains(row)).map(|row| format!("not so at Stripe: {row:?}")));
        wrong
    }

    fn told(&self) -> String {
        self.story.join("\n")
    }
}

fn user(number: usize) -> String {
    format!("user_{number}")
}

/// `Authorization` of a user, for longer than any walk.
fn signed_in_for_years(user: &str) -> Header<'static> {
    let claims = json!({ "sub": user, "exp": START + 3650 * DAY });
    bearer(&sign_token(&json!({ "alg": "HS256", "typ": "JWT" }), &claims, AUTH_SECRET))
}

async fn walk(db: Db, seed: u64, lost: f64) {
    let mut walk = Walk::on(db, seed, lost).await;
    walk.go(STEPS).await;
    walk.arrive().await;
    if lost > 0.0 {
        walk.brought += walk.scene.found(true).await.len();
        assert!(walk.brought > 0, "some of it was lost");
    }
    let wrong = walk.wrong().await;
    assert!(wrong.is_empty(), "{}\nTOLLGATE_SEED={seed}: {wrong:#?}", walk.told());
    let found = walk.scene.found(false).await;
    assert!(found.is_empty(), "{}\nTOLLGATE_SEED={seed}: {found:#?}", walk.told());
}

/// How many webhooks of a walk never come: none of the odd ones', and of the even ones' every twentieth.
fn lost(seed: u64) -> f64 {
    if seed.is_multiple_of(2) { 0.05 } else { 0.0 }
}

#[test]
fn what_users_do_ends_as_it_is_at_stripe() {
    on_each_engine!(async |db| walk(db, 1, 0.0).await);
}

#[test]
fn what_time_and_users_do_ends_as_it_is_at_stripe() {
    on_each_engine!(async |db| walk(db, 3, 0.0).await);
}

#[test]
fn what_webhooks_lost_is_brought_by_a_reconciliation() {
    on_each_engine!(async |db| walk(db, 2, 0.05).await);
}

mod long {
    use super::*;

    fn walk_from(first: u64) {
        for seed in story::seeds(first, 25) {
            println!("TOLLGATE_SEED={seed}");
            on_each_engine!(async |db| walk(db, seed, lost(seed)).await);
        }
    }

    #[test]
    fn the_first_walks_end_as_it_is_at_stripe() {
        walk_from(1);
    }

    #[test]
    fn more_walks_end_as_it_is_at_stripe() {
        walk_from(26);
    }

    #[test]
    fn still_more_walks_end_as_it_is_at_stripe() {
        walk_from(51);
    }

    #[test]
    fn the_last_walks_end_as_it_is_at_stripe() {
        walk_from(76);
    }
}
