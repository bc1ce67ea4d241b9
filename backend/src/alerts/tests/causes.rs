//! Each alert by its real cause, as far as one process can be one; what only relays know is told by the tests of the whole.

use std::convert::Infallible;

use tollgate_db::{DbError, Faults, Moment};
use tollgate_domain::apply::Touched;
use tollgate_domain::memberships::joining::{Joined, join};
use tollgate_domain::notifications::sending::Queue;
use tollgate_domain::pods::schedule::Cadence;
use tollgate_domain::pods::{self, NewPod};
use tollgate_shared::RequestId;
use tollgate_tests::python;
use tollgate_tests::stripe::catalogue::PRO_MONTHLY;
use tollgate_tests::stripe::rest::{Api, SECRET_KEY};
use tollgate_tests::stripe::{ApiVersion, Stripe};

use super::*;
use crate::notifications::sending::send_due;
use crate::stripe_api::{Call, Timeouts};
use crate::testing::{event, subscription, subscription_of};
use crate::webhooks::inbox::{self, Mode};
use crate::webhooks::routes::INTAKE_PATH;

const DAY: i64 = 86_400;

/// Never tried again, so that it is quickly seen that Stripe is away.
const AT_ONCE: Duration = Duration::from_millis(400);

impl TestApp {
    fn now(&self) -> i64 {
        self.inner.clock.now().timestamp()
    }

    /// Hands an event over that is made now.
    async fn hear(&self, id: &str, event_type: &str, object: Value) -> TestResponse {
        let mut event = event(id, event_type, &object);
        event["created"] = json!(self.now());
        self.post(INTAKE_PATH, &event).await
    }

    /// A pod whose members pay a month from now, and its first membership, of which there is no subscription yet.
    async fn member(&self, user: &str) -> (String, String) {
        let new = NewPod {
            name: "Ajo".to_owned(),
            description: None,
            is_public: true,
            amount: 2900,
            currency: "usd".to_owned(),
            cadence: Cadence::Weekly,
            contributions_total: Some(12),
            first_date: from_unix(self.now() + 30 * DAY).unwrap(),
            grace_days: 7,
            members_max: 10,
        };
        let touched = Touched::default();
        let made = self.inner.write(&touched, |work| Ok::<_, Infallible>(pods::create(work, new.clone(), None).id));
        let pod = made.await.unwrap().0;
        let joined = self.inner.write(&Touched::pod(&pod), |work| join(work, &pod, user, None, None)).await;
        let Joined::Begun(membership) = joined.unwrap().0 else { panic!("it has room") };
        (pod, membership.id)
    }

    /// Somebody with that address is to be told that a payment of his failed for the last time.
    async fn is_to_be_told(&self, number: usize, address: &str) {
        let (customer, user) = (format!("cus_{number}"), format!("user_{number}"));
        let object = json!({ "id": customer, "object": "customer", "email": address, "metadata": { "user_id": user } });
        self.take(&format!("evt_made_{number}"), "customer.created", object).await;
        self.subscriber(&customer, &user).await;
        let invoice = json!({
            "id": format!("in_{number}"), "object": "invoice", "customer": customer, "status": "open", "currency": "usd",
            "subscription": format!("sub_of_{customer}"), "billing_reason": "subscription_cycle", "created": START,
            "amount_due": 2900, "amount_paid": 0, "attempt_count": 1, "next_payment_attempt": null,
            "lines": { "object": "list", "data": [] },
        });
        let told = self.hear(&format!("evt_failed_{number}"), "invoice.payment_failed", invoice).await;
        assert_eq!(told.status, 200, "{told:?}");
    }
}

impl Scene {
    /// Each process sends what mails are due.
    async fn send_mails(&self) {
        let sent = self.apps.iter().map(|app| send_due(&app.inner, Queue::Email));
        assert!(join_all(sent).await.iter().all(Result::is_ok));
    }
}

#[test]
fn what_stripe_tells_too_late_or_not_at_all_is_told() {
    on_each_engine!(async |db: Db| {
        let faults = Arc::new(Faults::default());
        let mut scene = Scene::on(db.with_faults(faults.clone()), &[]).await;
        assert!(scene.judge().await.is_empty());

        let unreadable = json!({ "object": "subscription" });
        assert_eq!(scene.first().hear("evt_dead", "customer.subscription.updated", unreadable).await.status, 200);
        assert!(scene.judge().await.is_empty(), "a dead letter is given a quarter of an hour");
        scene.advance(10);
        scene
            .is_told_once("DeadLetters", async |scene| {
                let done = scene.last().operate("/api/dlq/resolve/evt_dead", &json!({})).await;
                assert_eq!(done.status, 200, "{done:?}");
            })
            .await;

        // The database has something against an event; its time for another attempt is far away by then.
        let failing = async |scene: &Scene| {
            for number in 0.. {
                let id = format!("evt_failing_{number}");
                faults.arm(2, Moment::Before, DbError::Other { code: "13".to_owned(), message: String::new() });
                let answer = scene.first().hear(&id, "customer.subscription.created", subscription("active")).await;
                if answer.status == 500 {
                    return id;
                }
            }
            unreachable!("one of them fails")
        };
        let id = failing(&scene).await;
        scene.advance(20);
        assert!(scene.judge().await.is_empty());
        scene.advance(10);
        scene
            .is_told_once("WebhookDeliveryFailing", async |scene| {
                let answer = scene.last().hear(&id, "customer.subscription.created", subscription("active")).await;
                assert_eq!(answer.status, 200, "{answer:?}");
            })
            .await;

        // That was a live subscription, and nothing comes any more; what is fetched from Stripe did not come.
        scene.advance(22 * 60);
        assert!(scene.judge().await.is_empty());
        scene.advance(60);
        let fetched = event("evt_fetched", "customer.created", &json!({ "object": "customer", "id": "cus_8" }));
        let request_id = RequestId::parse("req_of_a_job").unwrap();
        let fetched = vec![fetched.to_string().into()];
        let outcome = scene.last().inbox.process(fetched, Mode::Fetched, &request_id).await.remove(0);
        assert_eq!(outcome.unwrap().1, inbox::Outcome::Processed);
        scene.advance(60);
        scene
            .is_told_once("NoWebhooks", async |scene| {
                scene
                    .last()
                    .hear("evt_again", "customer.created", json!({ "object": "customer", "id": "cus_9" }))
                    .await;
            })
            .await;
    });
}

#[test]
fn what_is_new_to_this_release_or_its_plans_is_told() {
    on_each_engine!(async |db: Db| {
        let mut scene = Scene::on(db, &[]).await;
        let mut strange = subscription_of("cus_1", "active");
        strange["items"]["data"][0]["price"] = json!({ "id": "price_strange", "object": "price", "product": "prod_x" });
        scene.last().take("evt_1", "customer.subscription.created", strange).await;
        scene
            .is_told_once("UnknownPrice", async |scene| {
                let mut over = subscription_of("cus_1", "canceled");
                over["ended_at"] = json!(scene.first().now());
                scene.first().hear("evt_2", "customer.subscription.deleted", over).await;
            })
            .await;

        let mut new = event("evt_3", "customer.created", &json!({ "object": "customer", "id": "cus_2" }));
        new["api_version"] = json!("2027-03-31.fennel");
        assert_eq!(scene.last().post(INTAKE_PATH, &new).await.status, 200);
        scene.is_told_once("UnknownVersion", async |scene| scene.advance(24 * 60)).await;
    });
}

#[test]
fn payments_that_fail_and_graces_that_end_are_told() {
    on_each_engine!(async |db: Db| {
        let mut scene = Scene::on(db, &[]).await;
        let failed = |id: &str, subscription: Option<&str>, metadata: Value| {
            json!({
                "id": id, "object": "invoice", "customer": "cus_1", "status": "open", "currency": "usd",
                "amount_due": 2900, "amount_paid": 0, "attempt_count": 1, "created": START,
                "parent": subscription.map(|id| json!({
                    "type": "subscription_details",
                    "subscription_details": { "subscription": id, "metadata": metadata },
                })),
                "lines": { "object": "list", "data": [] },
            })
        };
        for number in 0..10 {
            let invoice = failed(&format!("in_{number}"), None, json!({}));
            let app = &scene.apps[number % scene.apps.len()];
            assert_eq!(app.hear(&format!("evt_{number}"), "invoice.payment_failed", invoice).await.status, 200);
        }
        scene.is_told_once("PaymentFailureSpike", async |scene| scene.advance(60)).await;

        // A member of a pod does not pay, and has seven days.
        let app = scene.first();
        let (pod, membership) = app.member("user_1").await;
        let mut subscription = subscription_of("cus_1", "active");
        let metadata = json!({ "pod_id": pod, "membership_id": membership, "user_id": "user_1" });
        subscription["metadata"] = metadata.clone();
        app.hear("evt_joined", "customer.subscription.created", subscription).await;
        let invoice = failed("in_pod", Some("sub_of_cus_1"), metadata);
        app.hear("evt_owed", "invoice.payment_failed", invoice.clone()).await;
        assert!(scene.judge().await.is_empty());
        scene.advance(5 * 24 * 60);
        scene.first().hear("evt_word", "customer.updated", json!({ "object": "customer", "id": "cus_1" })).await;
        scene
            .is_told_once("GraceEnding", async |scene| {
                let mut paid = invoice.clone();
                paid["status"] = json!("paid");
                paid["amount_paid"] = json!(2900);
                paid["status_transitions"] = json!({ "paid_at": scene.first().now() });
                scene.last().hear("evt_paid", "invoice.paid", paid).await;
            })
            .await;
    });
}

#[test]
fn a_job_that_is_late_is_told() {
    on_each_engine!(async |db: Db| {
        let mut scene = Scene::on(db, &[]).await;
        scene.run("retry-events").await;
        assert!(scene.judge().await.is_empty());
        scene.advance(6);
        scene.is_told_once("CronFailing", async |scene| scene.run("retry-events").await).await;
    });
}

#[test]
fn a_job_that_fails_three_times_running_is_told() {
    on_each_engine!(async |db: Db| {
        let mut scene = Scene::on(db, &[]).await;
        let job = "detect-stale-sessions";
        scene.run(job).await;
        // Somebody has changed the database by hand.
        scene.first().alter("ALTER TABLE sessions RENAME TO mislaid").await;
        for _ in 0..2 {
            scene.advance(1);
            scene.fail(job).await;
        }
        assert!(scene.judge().await.is_empty());
        scene.fail(job).await;
        scene
            .is_told_once("CronFailing", async |scene| {
                scene.first().alter("ALTER TABLE mislaid RENAME TO sessions").await;
                scene.run(job).await;
            })
            .await;
    });
}

#[test]
fn whoever_begins_again_after_a_night_tells_of_no_late_job() {
    on_each_engine!(async |db: Db| {
        let mut scene = Scene::on(db, &[]).await;
        for job in ["analytics", "expiration-check"] {
            scene.run(job).await;
        }
        assert!(scene.judge().await.is_empty());
        scene.advance(12 * 60);
        assert!(scene.judge().await.is_empty(), "both are about to begin");
        // One of them does not.
        scene.run("analytics").await;
        scene.is_told_once("CronFailing", async |scene| scene.run("expiration-check").await).await;
    });
}

#[test]
fn many_dead_letters_are_told_at_once() {
    on_each_engine!(async |db: Db| {
        let mut scene = Scene::on(db, &[]).await;
        for number in 0..50 {
            let app = &scene.apps[number % scene.apps.len()];
            let unreadable = json!({ "object": "subscription" });
            let heard = app.hear(&format!("evt_{number}"), "customer.subscription.updated", unreadable).await;
            assert_eq!(heard.status, 200, "{heard:?}");
        }
        scene
            .is_told_once("DeadLetters", async |scene| {
                for number in 0..50 {
                    let done = scene.last().operate(&format!("/api/dlq/resolve/evt_{number}"), &json!({})).await;
                    assert_eq!(done.status, 200, "{done:?}");
                }
            })
            .await;
    });
}

#[test]
fn calls_that_fail_in_several_processes_are_counted_together() {
    on_each_engine!(async |db: Db| {
        let away = [("STRIPE_SECRET_KEY", "sk_test_1"), ("STRIPE_API_BASE", "http://127.0.0.1:1")];
        let mut scene = Scene::on(db, &away).await;
        let call = Call::get("subscriptions.read", &["subscriptions", "sub_1"]);
        for number in 0..20 {
            let app = &scene.apps[number % scene.apps.len()];
            let timeouts = Timeouts { user: AT_ONCE, attempt: Duration::from_secs(20), ..Timeouts::default() };
            let stripe = app.inner.stripe.clone().unwrap().with_timeouts(timeouts);
            stripe.read(&call).await.unwrap_err();
        }
        scene.is_told_once("StripeErrors", async |scene| scene.advance(15)).await;
    });
}

#[test]
fn messages_that_do_not_get_through_are_told() {
    on_each_engine!(async |db: Db| {
        let mut server = python::start("mail_server.py", &[]);
        let smtp = format!("smtp://127.0.0.1:{}?tls=none", server.next().await.unwrap()["port"]);
        let variables = [
            ("SMTP_URL", &*smtp),
            ("MAIL_FROM", "Acme <billing@example.com>"),
            ("PUBLIC_URL", "https://relay.example"),
        ];
        let mut scene = Scene::on(db, &variables).await;
        // The mail server takes none of them yet.
        for number in 0..5 {
            let app = &scene.apps[number % scene.apps.len()];
            app.is_to_be_told(number, &format!("greylisted.{number}@example.com")).await;
        }
        scene.send_mails().await;
        scene.is_told_once("MessagesFailing", async |scene| scene.send_mails().await).await;

        // It will never take this one, until the address is right.
        scene.first().is_to_be_told(5, "unknown@example.com").await;
        scene.send_mails().await;
        assert!(scene.judge().await.is_empty());
        scene.advance(10);
        scene
            .is_told_once("DeadLetters", async |scene| {
                let right = json!({
                    "id": "cus_5", "object": "customer", "email": "ada@example.com", "metadata": { "user_id": "user_5" },
                });
                scene.first().hear("evt_moved", "customer.updated", right).await;
                let letters = scene.last().inspect("/api/dlq?status=open").await.json();
                let letter = letters["data"][0]["id"].as_str().unwrap();
                let retried = scene.last().operate(&format!("/api/dlq/retry/{letter}"), &json!({})).await;
                assert_eq!(retried.status, 200, "{retried:?}");
                scene.send_mails().await;
            })
            .await;
    });
}

#[test]
fn what_a_round_finds_that_no_webhook_brought_is_told() {
    on_each_engine!(async |db: Db| {
        let mut stripe = Stripe::fresh();
        stripe.now = START;
        let api = Api::start(&stripe).await;
        let variables = [("STRIPE_SECRET_KEY", SECRET_KEY), ("STRIPE_API_BASE", &*api.base)];
        let mut scene = Scene::on(db, &variables).await;
        let (pod, membership) = scene.first().member("user_1").await;
        let subscription = api.change(|stripe| {
            let customer = stripe.sign_up("ada@example.com", "Ada", Some("user_1"));
            stripe.change_card(&customer, "visa", "4242");
            let metadata = [("pod_id", pod), ("membership_id", membership)];
            let metadata = metadata.map(|(name, value)| (name.to_owned(), value)).into();
            stripe.subscribe(&customer, &[&PRO_MONTHLY], 1, metadata, Some(30))
        });
        scene.first().take_all(&api.change(|stripe| stripe.events(ApiVersion::Endive))).await;
        scene.run("sync-subscriptions").await;
        assert!(scene.judge().await.is_empty(), "all is as Stripe has it");

        // Of what happens now nobody hears.
        api.change(|stripe| stripe.advance(60).cancel(&subscription));
        scene.advance(24 * 60);
        scene.run("sync-subscriptions").await;
        scene.is_told_once("SyncDrift", async |scene| scene.advance(24 * 60)).await;
    });
}
