//! Each alert by its real cause, as far as one process can be one; what only relays know is told by the tests of the whole.

use std::convert::Infallible;

use tollgate_db::{DbError, Faults, Json as Column, Moment};
use tollgate_domain::apply::Touched;
use tollgate_domain::cron::{Claim, Outcome, runs};
use tollgate_domain::memberships::joining::{Joined, join};
use tollgate_domain::notifications::Message;
use tollgate_domain::pods::schedule::Cadence;
use tollgate_domain::pods::{self, NewPod};

use super::*;
use crate::stripe_api::{Call, Timeouts};
use crate::testing::{event, subscription, subscription_of};
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

        // That was a live subscription, and nothing comes any more.
        scene.advance(22 * 60);
        assert!(scene.judge().await.is_empty());
        scene.advance(2 * 60);
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
        let new = NewPod {
            name: "Ajo".to_owned(),
            description: None,
            is_public: true,
            amount: 2900,
            currency: "usd".to_owned(),
            cadence: Cadence::Weekly,
            contributions_total: Some(12),
            first_date: from_unix(app.now() + 30 * DAY).unwrap(),
            grace_days: 7,
            members_max: 10,
        };
        let touched = Touched::default();
        let made = app.inner.write(&touched, |work| Ok::<_, Infallible>(pods::create(work, new.clone(), None).id));
        let pod = made.await.unwrap().0;
        let joined = app.inner.write(&Touched::pod(&pod), |work| join(work, &pod, "user_1", None, None)).await;
        let Joined::Begun(membership) = joined.unwrap().0 else { panic!("it has room") };
        let mut subscription = subscription_of("cus_1", "active");
        let metadata = json!({ "pod_id": pod, "membership_id": membership.id, "user_id": "user_1" });
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
fn messages_that_do_not_get_through_and_drift_are_told() {
    on_each_engine!(async |db: Db| {
        let mut scene = Scene::on(db, &[]).await;
        let now = scene.first().inner.clock.now();
        let message = |number: i64| Message {
            id: format!("msg_{number}"),
            once_key: format!("once_{number}"),
            template: "payment_failed".to_owned(),
            channel: "email".to_owned(),
            queue: "email".to_owned(),
            user_id: Some("user_1".to_owned()),
            customer_id: None,
            notification_id: None,
            device_id: None,
            data: Column(json!({})),
            status: "queued".to_owned(),
            reason: None,
            attempts: 1,
            last_error: Some("it could not be reached".to_owned()),
            event_id: None,
            created_at: now,
            next_attempt_at: Some(now + chrono::Duration::days(1)),
            sent_at: None,
        };
        let messages: Vec<_> = (0..5).map(message).collect();
        let mut tx = scene.first().inner.begin_write().await.unwrap();
        tx.insert(&messages.iter().collect::<Vec<_>>()).await.unwrap();
        tx.commit().await.unwrap();
        scene.is_told_once("MessagesFailing", async |scene| scene.advance(60)).await;

        // What a run of the job says that found something changed.
        let app = scene.first();
        let claim = Claim { job: "sync-subscriptions", tick: app.inner.clock.now(), holder: "here".to_owned() };
        let mut tx = app.inner.begin_write().await.unwrap();
        runs::begin(&mut tx, &claim, claim.tick).await.unwrap();
        runs::end(&mut tx, &claim, claim.tick, Outcome::Succeeded, &json!({ "changed": 2 })).await.unwrap();
        tx.commit().await.unwrap();
        scene.is_told_once("SyncDrift", async |scene| scene.advance(24 * 60)).await;
    });
}
