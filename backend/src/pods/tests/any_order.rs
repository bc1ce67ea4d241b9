//! A member's life with a plan beside it, told in any order, shape and repetition, with what the company itself tells of
//! payments anywhere in between: it all ends in what Stripe took.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tollgate_db::Db;
use tollgate_domain::apply::Touched;
use tollgate_domain::memberships::joining::{Joined, join};
use tollgate_domain::pods::schedule::Cadence;
use tollgate_domain::pods::{self, NewPod};
use tollgate_shared::clock::from_unix;
use tollgate_shared::{Clock, Rng};
use tollgate_tests::stripe::catalogue::{PLANS, PRO_MONTHLY, kept};
use tollgate_tests::stripe::model::{Interval, Metadata, Price};
use tollgate_tests::stripe::{ApiVersion, Checkout, Event, Stripe, delivery};

use super::DAY;
use crate::app::App;
use crate::on_each_engine;
use crate::pods::by_time;
use crate::testing::{START, TestApp, config_with_plans};

const HOUR: i64 = 3600;

/// What happened at Stripe to a member who also has a plan: three weeks, of which the second one failed at first and the
/// third was paid from a bank account.
struct Life {
    stripe: Stripe,
    customer: String,
    user: String,
    pod: String,
    /// What the company tells: `pi_…` or `in_…`, and the status.
    reports: Vec<(String, &'static str)>,
}

impl Life {
    async fn of(app: &App, user: &str) -> Self {
        let new = NewPod {
            name: "Ajo".to_owned(),
            description: None,
            is_public: true,
            amount: 5000,
            currency: "usd".to_owned(),
            cadence: Cadence::Weekly,
            contributions_total: Some(3),
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

        let mut stripe = Stripe::fresh();
        stripe.now = START;
        let customer = stripe.sign_up("ada@example.com", "Ada", Some(user));
        stripe.checkout(&customer, &Checkout::of(&PRO_MONTHLY));
        let price = stripe.add_price(Price {
            id: kept(&format!("price_of_{pod}")),
            product: kept(&format!("tollgate_{pod}")),
            lookup_key: None,
            currency: "usd",
            unit_amount: 5000,
            interval: Interval::Week,
            trial_days: None,
        });
        let named = [("pod_id", &pod), ("membership_id", &membership)];
        let metadata: Metadata = named.map(|(name, value)| (name.to_owned(), value.clone())).into();
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
        Self { stripe, customer, user: user.to_owned(), pod, reports }
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

#[derive(Clone, Copy, Debug)]
enum Arrival {
    InOrder,
    Reversed,
    Shuffled,
    EachTwice,
}

impl Arrival {
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
            for arrival in [Arrival::InOrder, Arrival::Reversed, Arrival::Shuffled, Arrival::EachTwice] {
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
            let shown = app.get(&format!("/v1/customers/{}", life.customer)).await.json();
            let mut wrong = life.stripe.differences(&life.customer, &shown);
            wrong.retain(|difference| !difference.starts_with(".widgets[0].config"));
            assert!(wrong.is_empty(), "{name}: {wrong:#?}");
            assert_eq!((&shown["tier"], &shown["licenses"][0]["status"]), (&json!("pro"), &json!("active")), "{name}");
        }
    });
}
