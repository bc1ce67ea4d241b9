//! A member's life with a plan beside it, told in any order, shape and repetition, with what the company itself tells of
//! payments anywhere in between: it all ends in what Stripe took.

use std::convert::Infallible;
use std::slice;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tollgate_db::Db;
use tollgate_domain::apply::Touched;
use tollgate_domain::memberships::joining::{Joined, join};
use tollgate_domain::pods::schedule::Cadence;
use tollgate_domain::pods::{self, NewPod};
use tollgate_shared::clock::from_unix;
use tollgate_shared::{Clock, Rng};
use tollgate_tests::stripe::catalogue::{PLANS, PRO_MONTHLY, kept};
use tollgate_tests::stripe::model::{Charge, Interval, Invoice, Metadata, Price};
use tollgate_tests::stripe::story::{self, Savings};
use tollgate_tests::stripe::{ApiVersion, Checkout, Event, Stripe, delivery};

use super::DAY;
use crate::app::App;
use crate::on_each_engine;
use crate::pods::by_time;
use crate::testing::{START, TestApp, config_with_plans};

const HOUR: i64 = 3600;

/// What happened at Stripe to a member who also has a plan, and what the company itself tells of it.
struct Life {
    stripe: Stripe,
    customer: String,
    user: String,
    pod: String,
    /// The member's subscription of the pod.
    subscription: String,
    /// What the company tells: `pi_…`, `in_…` or `ch_…`, and the status.
    reports: Vec<(String, &'static str)>,
}

/// A weekly pod of 50.00 with a member, and what is to be made at Stripe for that.
async fn member_of(app: &App, user: &str, contributions: Option<i64>) -> (String, Price, Metadata) {
    let new = NewPod {
        name: "Ajo".to_owned(),
        description: None,
        is_public: true,
        amount: 5000,
        currency: "usd".to_owned(),
        cadence: Cadence::Weekly,
        contributions_total: contributions,
        first_date: from_unix(START + 7 * DAY).unwrap(),
        grace_days: 7,
        members_max: 2,
    };
    let touched = Touched::default();
    let made = app.write(&touched, |work| Ok::<_, Infallible>(pods::create(work, new.clone(), None).id));
    let pod = made.await.unwrap().0;
    let touched = Touched::pod(&pod);
    let joined = app.write(&touched, |work| match join(work, &pod, user, None, None) {
        Ok(Joined::Begun(row)) => Ok::<_, Infallible>(row.id),
        other => panic!("{other:?}"),
    });
    let membership = joined.await.unwrap().0;
    let price = Price {
        id: kept(&format!("price_of_{pod}")),
        product: kept(&format!("tollgate_{pod}")),
        lookup_key: None,
        currency: "usd",
        unit_amount: 5000,
        interval: Interval::Week,
        trial_days: None,
    };
    let named = [("pod_id", &pod), ("membership_id", &membership)];
    let metadata = named.map(|(name, value)| (name.to_owned(), value.clone())).into();
    (pod, price, metadata)
}

impl Life {
    /// Three weeks, of which the second one failed at first and the third was paid from a bank account.
    async fn of(app: &App, user: &str) -> Self {
        let (pod, price, metadata) = member_of(app, user, Some(3)).await;
        let mut stripe = Stripe::fresh();
        stripe.now = START;
        let customer = stripe.sign_up("ada@example.com", "Ada", Some(user));
        stripe.checkout(&customer, &Checkout::of(&PRO_MONTHLY));
        let price = stripe.add_price(price);
        let subscription = stripe.pass(1).subscribe(&customer, &[price], 1, metadata, None);
        stripe.first_payment_succeeds(&subscription);
        stripe.pass(1).cancel_at(&subscription, START + 21 * DAY);
        let first = stripe.latest_invoice(&subscription);
        let paid = stripe.invoices[&first].payment_intent.clone().unwrap();
        stripe.pass(HOUR).refund(&paid, 2000);
        stripe.change_card(&customer, "visa", "9995");
        stripe.advance(7 * DAY + HOUR);
        stripe.change_card(&customer, "visa", "4242");
        stripe.advance(3 * DAY);
        let account = stripe.attach_bank_account(&customer, "6789");
        stripe.make_default_card(&customer, &account);
        stripe.advance(12 * DAY);
        let third = stripe.latest_invoice(&subscription);
        let debited = stripe.invoices[&third].payment_intent.clone().unwrap();
        let reports = vec![(debited.clone(), "pending"), (debited, "succeeded"), (first, "succeeded")];
        Self { stripe, customer, user: user.to_owned(), pod, subscription, reports }
    }

    /// One made up from a seed, of which the company tells as it likes.
    async fn generated(app: &App, user: &str, seed: u64) -> Self {
        let (pod, price, metadata) = member_of(app, user, None).await;
        let mut stripe = Stripe::fresh();
        stripe.now = START;
        let price = stripe.add_price(price);
        let savings = Savings { price, metadata: metadata.clone() };
        let customer = story::generated_saving(&mut stripe, seed, 30, user, savings);
        let own = stripe.subscriptions.values().find(|row| row.metadata == metadata);
        let subscription = own.expect("it has joined").id.clone();
        let mut life = Self { stripe, customer, user: user.to_owned(), pod, subscription, reports: Vec::new() };
        life.reports = life.reports_of(&Rng::seeded(seed));
        life
    }

    fn invoices(&self) -> impl Iterator<Item = &Invoice> {
        self.stripe.invoices.values().filter(|row| row.subscription.as_deref() == Some(&*self.subscription))
    }

    /// Of what was paid, some is told of, by any of its names and once or twice.
    fn reports_of(&self, rng: &Rng) -> Vec<(String, &'static str)> {
        let mut reports = Vec::new();
        for invoice in self.invoices().filter(|row| row.amount_paid > 0) {
            let intent = invoice.payment_intent.clone();
            let is_its = |row: &&Charge| row.paid && Some(&row.payment_intent) == intent.as_ref();
            let charge = self.stripe.charges.values().find(is_its);
            let names = [Some(invoice.id.clone()), charge.map(|row| row.id.clone()), intent];
            for name in names.into_iter().flatten() {
                if rng.unit() < 0.3 {
                    reports.push((name.clone(), "pending"));
                }
                if rng.unit() < 0.5 {
                    reports.push((name, "succeeded"));
                }
            }
        }
        reports
    }

    /// How many contributions Stripe took, and what of that was not given back.
    fn taken(&self) -> [i64; 2] {
        let paid: Vec<_> = self.invoices().filter(|row| row.amount_paid > 0).collect();
        let back = self.stripe.refunds.values().filter(|refund| {
            let is_its = |row: &&Invoice| row.payment_intent.as_ref() == Some(&refund.payment_intent);
            !refund.has_failed() && paid.iter().any(is_its)
        });
        let back: i64 = back.map(|refund| refund.amount).sum();
        [paid.len() as i64, paid.iter().map(|row| row.amount_paid).sum::<i64>() - back]
    }

    /// Delivers `events`, with the reports in between, in this order of theirs.
    async fn tell(&self, app: &TestApp, events: &[Event], rng: &Rng) {
        let mut places: Vec<_> =
            self.reports.iter().map(|_| (rng.unit() * (events.len() + 1) as f64) as usize).collect();
        places.sort_unstable();
        let mut told = 0;
        for (place, (reference, status)) in places.into_iter().zip(&self.reports) {
            app.take_all(&events[told..place]).await;
            told = place;
            let body = json!({
                "podId": self.pod, "stripeReference": reference, "amount": 5000, "currency": "usd", "status": status,
                "userId": self.user,
            });
            let answer = app.post("/v1/payments", &body).await;
            assert!(matches!(answer.status, 200 | 201), "{answer:?}");
        }
        app.take_all(&events[told..]).await;
    }
}

/// What a customer has, for whatever is paid for.
async fn entitlements(app: &TestApp, customer: &str) -> [Value; 5] {
    let shown = app.get(&format!("/v1/customers/{customer}")).await.json();
    ["tier", "licenses", "apiKeys", "widgets", "subscription"].map(|name| shown[name].clone())
}

/// What is not so of a customer that Stripe says.
async fn differences(app: &TestApp, life: &Life) -> Vec<String> {
    let shown = app.get(&format!("/v1/customers/{}", life.customer)).await.json();
    let mut wrong = life.stripe.differences(&life.customer, &shown);
    // Those of the tests are others than the stories'.
    wrong.retain(|difference| !difference.starts_with(".widgets[0].config"));
    wrong
}

#[derive(Clone, Copy, Debug)]
enum Arrival {
    InOrder,
    Reversed,
    Shuffled,
    EachTwice,
}

impl Arrival {
    const ALL: [Self; 4] = [Self::InOrder, Self::Reversed, Self::Shuffled, Self::EachTwice];

    fn arrange(self, events: &[Event], rng: &Rng) -> Vec<Event> {
        match self {
            Self::InOrder => events.to_vec(),
            Self::Reversed => delivery::reversed(events),
            Self::Shuffled => delivery::shuffled(events, rng),
            Self::EachTwice => delivery::twice(&delivery::shuffled(events, rng), rng),
        }
    }
}

#[test]
fn a_members_life_ends_in_what_stripe_took_however_told() {
    on_each_engine!(async |db: Db| {
        let config = Arc::new(config_with_plans(PLANS, &[]));
        let clock = Clock::manual(from_unix(START).unwrap());
        let app = TestApp::of(App::new(config, db, clock, Rng::seeded(1))).await;
        let rng = Rng::seeded(12);
        let mut lives = Vec::new();
        for version in ApiVersion::ALL {
            for arrival in Arrival::ALL {
                let life = Life::of(&app.inner, &format!("user_{}", lives.len())).await;
                life.tell(&app, &arrival.arrange(&life.stripe.events(version), &rng), &rng).await;
                lives.push((format!("{version:?} {arrival:?}"), life));
            }
        }
        app.inner.clock.advance(Duration::from_secs((22 * DAY).try_into().unwrap()));
        by_time::settle_all(&app.inner).await.unwrap();
        for (name, life) in lives {
            let mine = app.get(&format!("/v1/pods/mine?userId={}", life.user)).await.json()["data"][0].clone();
            let numbers = ["contributionProgress", "totalContributed", "pendingAmount", "overdueAmount", "attempts"];
            let numbers = numbers.map(|name| mine[name].as_i64().unwrap());
            assert_eq!((&mine["status"], numbers), (&json!("completed"), [3, 13_000, 0, 0, 0]), "{name}: {mine}");
            let wrong = differences(&app, &life).await;
            assert!(wrong.is_empty(), "{name}: {wrong:#?}");
            let [tier, licenses, ..] = entitlements(&app, &life.customer).await;
            assert_eq!((&tier, &licenses[0]["status"]), (&json!("pro"), &json!("active")), "{name}");
        }
    });
}

/// Tells so many lives made up from a seed each, in each shape and order.
async fn tell_generated(db: Db, stories: u64) {
    let config = Arc::new(config_with_plans(PLANS, &[]));
    let clock = Clock::manual(from_unix(START).unwrap());
    let app = TestApp::of(App::new(config, db, clock, Rng::seeded(1))).await;
    let seeds = story::seeds(u64::from(u32::from_le_bytes(Rng::system().bytes())), stories);
    println!("stories from TOLLGATE_SEED={} on", seeds.start);
    let shapes = ApiVersion::ALL.map(Some).into_iter().chain([None]);
    let ways: Vec<_> = shapes.flat_map(|shape| Arrival::ALL.map(|arrival| (shape, arrival))).collect();
    let mut lives = Vec::new();
    for seed in seeds {
        for (shape, arrival) in &ways {
            let rng = Rng::seeded(seed);
            let life = Life::generated(&app.inner, &format!("user_{}", lives.len()), seed).await;
            let events = shape.map_or_else(|| delivery::mixed(&life.stripe, &rng), |one| life.stripe.events(one));
            life.tell(&app, &arrival.arrange(&events, &rng), &rng).await;
            lives.push((format!("TOLLGATE_SEED={seed} {shape:?} {arrival:?}"), life));
        }
    }
    let last = lives.iter().map(|(_, life)| life.stripe.now).max().unwrap();
    app.inner.clock.advance(Duration::from_secs((last - START + 60 * DAY).try_into().unwrap()));
    by_time::settle_all(&app.inner).await.unwrap();
    for (name, life) in lives {
        let mine = app.get(&format!("/v1/pods/mine?userId={}", life.user)).await.json()["data"][0].clone();
        let numbers = ["contributionProgress", "totalContributed"].map(|name| mine[name].as_i64().unwrap());
        assert_eq!(numbers, life.taken(), "{name}: {mine}");
        let wrong = differences(&app, &life).await;
        assert!(wrong.is_empty(), "{name}: {wrong:#?}");
    }
}

#[test]
fn a_life_made_up_ends_in_what_stripe_took_however_told() {
    on_each_engine!(async |db: Db| tell_generated(db, 1).await);
}

#[test]
fn a_pod_gives_a_customer_nothing_and_takes_nothing() {
    on_each_engine!(async |db: Db| {
        let config = Arc::new(config_with_plans(PLANS, &[]));
        let clock = Clock::manual(from_unix(START).unwrap());
        let app = TestApp::of(App::new(config, db, clock, Rng::seeded(1))).await;
        let rng = Rng::seeded(7);
        for (number, version) in ApiVersion::ALL.into_iter().enumerate() {
            let user = format!("user_{number}");
            let (pod, price, metadata) = member_of(&app.inner, &user, None).await;
            let mut stripe = Stripe::fresh();
            stripe.now = START;
            let customer = stripe.sign_up("ada@example.com", "Ada", Some(&user));
            let (plan, _) = stripe.checkout(&customer, &Checkout::of(&PRO_MONTHLY));
            app.take_all(&stripe.events(version)).await;
            let begun = stripe.occurrences.len();
            let price = stripe.add_price(price);
            let savings = stripe.pass(1).subscribe(&customer, &[price], 1, metadata, None);
            stripe.first_payment_succeeds(&savings);
            stripe.pass(7 * DAY).begin_unpaid_period(&savings);
            stripe.pass(3 * DAY).recover(&savings);
            stripe.pass(4 * DAY).renew(&savings);
            let paid = stripe.latest_invoice(&savings);
            stripe.pass(DAY).cancel(&savings);
            let of_pod = delivery::twice(&delivery::shuffled(&stripe.events_since(begun, version), &rng), &rng);
            let ended = stripe.occurrences.len();
            stripe.pass(DAY).cancel(&plan);
            let of_plan = stripe.events_since(ended, version);

            let before = entitlements(&app, &customer).await;
            assert_eq!(before[0], "pro", "{version:?}");
            let (first, rest) = of_pod.split_at(of_pod.len() / 2);
            for event in first {
                app.take_all(slice::from_ref(event)).await;
                assert_eq!(entitlements(&app, &customer).await, before, "{version:?} {}", event.event_type);
            }
            app.take_all(&of_plan).await;
            let after = entitlements(&app, &customer).await;
            assert_eq!(after[0], "free", "{version:?}");
            assert_ne!(after[1][0]["status"], before[1][0]["status"], "{version:?}");
            let body = json!({
                "podId": pod, "stripeReference": paid, "amount": 5000, "currency": "usd", "status": "succeeded",
                "userId": user,
            });
            assert!(matches!(app.post("/v1/payments", &body).await.status, 200 | 201));
            for event in rest {
                app.take_all(slice::from_ref(event)).await;
                assert_eq!(entitlements(&app, &customer).await, after, "{version:?} {}", event.event_type);
            }
        }
    });
}

mod long {
    use super::*;

    #[test]
    fn many_lives_made_up_end_in_what_stripe_took() {
        on_each_engine!(async |db: Db| tell_generated(db, 20).await);
    }
}
