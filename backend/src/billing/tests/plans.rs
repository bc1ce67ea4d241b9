//! Another plan: what it would cost, and the change to it.

use std::time::Duration;

use rocket::http::Method;
use serde_json::json;
use tollgate_tests::stripe::catalogue::{ENTERPRISE_MONTHLY, STORAGE_ADDON};
use tollgate_tests::stripe::model::InvoiceStatus;
use tollgate_tests::stripe::rest::Fault;
use tollgate_tests::stripe::verbs::{ItemChange, Prorated};
use tollgate_tests::stripe::{ApiVersion, Checkout, DAY};

use super::{Scene, later, refusal, signed_in_for_long};
use crate::on_each_engine;
use crate::webhooks::routes::INTAKE_PATH;

const CHANGE: &str = "/api/subscriptions/change-plan";
const PREVIEW: &str = "/api/subscriptions/preview-change";

/// Ten days into the month, for Stripe and for us.
fn ten_days_later(scene: &Scene) {
    scene.api.change(|stripe| {
        stripe.pass(10 * DAY);
    });
    scene.app.inner.clock.advance(Duration::from_secs(10 * 86_400));
}

impl Scene {
    /// What confirms the payment of the subscription's newest invoice.
    fn secret_of_newest_invoice(&self) -> String {
        self.api.change(|stripe| {
            let invoice = stripe.latest_invoice(&self.subscription);
            format!("{}_secret_1", stripe.invoices[&invoice].payment_intent.as_ref().unwrap())
        })
    }

    /// How many invoices could be paid.
    fn owed(&self) -> usize {
        self.api.change(|stripe| stripe.invoices.values().filter(|row| row.status == InvoiceStatus::Open).count())
    }
}

#[test]
fn a_change_costs_exactly_what_the_preview_said() {
    on_each_engine!(async |db| {
        let mut scene = Scene::on(db).await;
        ten_days_later(&scene);
        let preview = scene.press(PREVIEW, &json!({ "planId": "team_monthly" })).await;
        let body = preview.json();
        // 20 of 30 days: 99.00 less 29.00.
        assert_eq!((preview.status, &body["amountDueNow"]), (200, &json!(4667)), "{body}");
        assert_eq!((&body["amountAtRenewal"], &body["currency"]), (&json!(9900), &json!("usd")));
        let prorated = body["lines"].as_array().unwrap().iter().filter(|line| line["proration"] == true).count();
        assert_eq!(prorated, 2, "{body}");
        assert_eq!(scene.asked_and_done().1, 0, "it changes nothing");
        scene.api.change(|stripe| {
            stripe.pass(3600);
        });
        let order = json!({ "planId": "team_monthly", "prorationDate": body["prorationDate"] });
        let changed = scene.press(CHANGE, &order).await;
        assert_eq!(
            (changed.status, &changed.json()["subscription"]["planId"]),
            (200, &json!("team_monthly")),
            "{changed:?}"
        );
        let paid = scene.api.change(|stripe| {
            let invoice = stripe.latest_invoice(&scene.subscription);
            stripe.invoices[&invoice].amount_paid
        });
        assert_eq!(body["amountDueNow"], paid);
        assert_eq!(scene.shown().await["tier"], "team");
        assert_eq!(scene.told_apps("plan_changed").await, 1);
        assert_eq!(scene.press(CHANGE, &order).await.refusal(), refusal("same_plan", 409));
        scene.hear().await;
        assert_eq!(scene.shown().await["tier"], "team");
    });
}

#[test]
fn what_is_less_is_credited_and_nothing_is_due() {
    on_each_engine!(async |db| {
        let scene = Scene::on(db).await;
        ten_days_later(&scene);
        assert_eq!(scene.press(CHANGE, &json!({ "planId": "team_monthly" })).await.status, 200);
        let preview = scene.press(PREVIEW, &json!({ "planId": "pro_monthly" })).await.json();
        assert_eq!((&preview["amountDueNow"], &preview["amountAtRenewal"]), (&json!(0), &json!(2900)), "{preview}");
        let back = scene.press(CHANGE, &json!({ "planId": "pro_monthly" })).await;
        assert_eq!((back.status, &back.json()["subscription"]["tier"]), (200, &json!("pro")));
    });
}

#[test]
fn a_declined_card_changes_nothing_and_another_card_does() {
    on_each_engine!(async |db| {
        let scene = Scene::on(db).await;
        ten_days_later(&scene);
        let customer = scene.customer.clone();
        let order = json!({ "planId": "team_monthly" });
        let card = |last4: &str| {
            scene.api.change(|stripe| stripe.change_card(&customer, "visa", last4));
        };
        card("9995");
        for _ in 0..2 {
            let declined = scene.press(CHANGE, &order).await.json();
            assert_eq!(declined["error"]["code"], "card_declined", "{declined}");
            assert_eq!(declined["error"]["declineCode"], "insufficient_funds");
        }
        assert_eq!(scene.shown().await["tier"], "pro");
        card("4242");
        // The same press, which Stripe has refused before.
        assert_eq!(scene.press(CHANGE, &order).await.status, 200);
        assert_eq!(scene.shown().await["tier"], "team");
    });
}

#[test]
fn plans_that_are_not_there_and_users_that_have_none_are_refused() {
    on_each_engine!(async |db| {
        let scene = Scene::on(db).await;
        for path in [CHANGE, PREVIEW] {
            let unknown = scene.press(path, &json!({ "planId": "gold" })).await;
            assert_eq!(unknown.refused_parameter(), (422, "unknown_plan".to_owned(), Some("planId".to_owned())));
            let for_good = scene.press(path, &json!({ "planId": "lifetime" })).await;
            assert_eq!(for_good.refusal(), refusal("invalid_parameter", 422));
            let nobody = scene.press_as("user_2", path, &json!({ "planId": "team_monthly" }), None).await;
            assert_eq!(nobody.refusal(), refusal("no_subscription", 404));
            let same = scene.press(path, &json!({ "planId": "pro_monthly" })).await;
            assert_eq!(same.refusal(), refusal("same_plan", 409));
        }
        let when = scene.press(CHANGE, &json!({ "planId": "team_monthly", "prorationDate": "now" })).await;
        assert_eq!(when.refused_parameter().2.as_deref(), Some("prorationDate"));
        assert_eq!(scene.asked_and_done(), (0, 0));
    });
}

#[test]
fn whoever_has_nothing_to_pay_with_is_told_so() {
    on_each_engine!(async |db| {
        let scene = Scene::on(db).await;
        later(&scene);
        scene.api.change(|stripe| stripe.detach_card(&scene.customer));
        let change = scene.press(CHANGE, &json!({ "planId": "team_monthly" })).await;
        assert_eq!(change.refusal(), refusal("payment_method_required", 402));
    });
}

#[test]
fn a_change_that_the_bank_wants_confirmed_says_so() {
    on_each_engine!(async |db| {
        let mut scene = Scene::on(db).await;
        ten_days_later(&scene);
        scene.api.change(|stripe| stripe.change_card(&scene.customer, "visa", "3184"));
        for key in [None, Some("press"), Some("press")] {
            let change = scene.press_as("user_1", CHANGE, &json!({ "planId": "team_monthly" }), key).await;
            let error = &change.json()["error"];
            assert_eq!((change.status, &error["code"]), (402, &json!("payment_action_required")), "{change:?}");
            assert_eq!(error["clientSecret"], scene.secret_of_newest_invoice());
        }
        scene.hear().await;
        assert_eq!(scene.shown().await["tier"], "pro", "nothing changes until it is paid");
        assert_eq!(scene.owed(), 1, "of several presses one can be paid for");
        later(&scene);
        scene.api.change(|stripe| stripe.confirm_pending_update(&scene.subscription));
        scene.hear().await;
        assert_eq!(scene.shown().await["tier"], "team");
        assert_eq!(
            scene.press(CHANGE, &json!({ "planId": "team_monthly" })).await.refusal(),
            refusal("same_plan", 409)
        );
    });
}

#[test]
fn a_change_that_is_not_confirmed_in_time_was_none() {
    on_each_engine!(async |db| {
        let mut scene = Scene::on(db).await;
        ten_days_later(&scene);
        scene.api.change(|stripe| stripe.change_card(&scene.customer, "visa", "3184"));
        let order = json!({ "planId": "team_monthly" });
        assert_eq!(scene.press(CHANGE, &order).await.status, 402);
        scene.api.change(|stripe| {
            stripe.advance(DAY);
        });
        scene.hear().await;
        assert_eq!((scene.shown().await["tier"].clone(), scene.owed()), (json!("pro"), 0));
        let user = signed_in_for_long("user_1");
        let invoices = scene.app.as_user(Method::Get, "/api/invoices/history", &user).await.json();
        assert_eq!(invoices["data"][0]["status"], "void", "{invoices}");
        // The same press, a day later.
        let again = scene.press(CHANGE, &order).await;
        assert_eq!(again.json()["error"]["clientSecret"], scene.secret_of_newest_invoice());
    });
}

#[test]
fn of_two_changes_that_wait_for_the_bank_the_last_is_made() {
    on_each_engine!(async |db| {
        let mut scene = Scene::on(db).await;
        ten_days_later(&scene);
        scene.api.change(|stripe| stripe.change_card(&scene.customer, "visa", "3184"));
        for plan in ["team_monthly", "enterprise_monthly"] {
            later(&scene);
            let change = scene.press(CHANGE, &json!({ "planId": plan })).await;
            assert_eq!(change.json()["error"]["clientSecret"], scene.secret_of_newest_invoice(), "{plan}");
            assert_eq!(scene.owed(), 1);
        }
        later(&scene);
        scene.api.change(|stripe| stripe.confirm_pending_update(&scene.subscription));
        scene.hear().await;
        assert_eq!(scene.shown().await["tier"], "enterprise");
    });
}

#[test]
fn who_leaves_while_a_change_waits_pays_nothing_for_it() {
    on_each_engine!(async |db| {
        let mut scene = Scene::on(db).await;
        ten_days_later(&scene);
        scene.api.change(|stripe| stripe.change_card(&scene.customer, "visa", "3184"));
        assert_eq!(scene.press(CHANGE, &json!({ "planId": "team_monthly" })).await.status, 402);
        later(&scene);
        // With its period, and then after all at once.
        assert_eq!(scene.press("/api/subscriptions/cancel", &json!({})).await.status, 200);
        assert_eq!(scene.owed(), 1);
        later(&scene);
        assert_eq!(scene.press("/api/subscriptions/cancel", &json!({ "immediately": true })).await.status, 200);
        scene.hear().await;
        assert_eq!((scene.shown().await["tier"].clone(), scene.owed()), (json!("free"), 0));
    });
}

#[test]
fn where_no_change_can_wait_another_card_is_wanted() {
    on_each_engine!(async |db| {
        let scene = Scene::on(db).await;
        ten_days_later(&scene);
        scene.api.change(|stripe| stripe.change_card(&scene.customer, "visa", "3184"));
        // The price, the change at once, the one that waits.
        scene.api.fault_after(2, &[Fault::Status(400)]);
        let change = scene.press(CHANGE, &json!({ "planId": "team_monthly" })).await;
        let error = &change.json()["error"];
        assert_eq!((&error["code"], &error["clientSecret"]), (&json!("payment_action_required"), &json!(null)));
        assert_eq!(scene.owed(), 0);
    });
}

#[test]
fn a_paused_subscription_is_changed_and_ended_as_any_other() {
    on_each_engine!(async |db| {
        let mut scene = Scene::on(db).await;
        later(&scene);
        scene.api.change(|stripe| stripe.pause(&scene.subscription));
        scene.hear().await;
        // Its period is over, and no other one begins.
        for _ in 0..5 {
            ten_days_later(&scene);
        }
        let preview = scene.press(PREVIEW, &json!({ "planId": "team_monthly" })).await;
        let body = preview.json();
        assert_eq!((preview.status, &body["amountDueNow"], &body["amountAtRenewal"]), (200, &json!(0), &json!(9900)));
        let order = json!({ "planId": "team_monthly", "prorationDate": body["prorationDate"] });
        let changed = scene.press(CHANGE, &order).await;
        let shown = &changed.json()["subscription"];
        assert_eq!(
            (changed.status, &shown["planId"], &shown["status"]),
            (200, &json!("team_monthly"), &json!("paused"))
        );
        for (path, body) in [
            ("/api/subscriptions/cancel", json!({})),
            ("/api/subscriptions/reactivate", json!({})),
            ("/api/subscriptions/cancel", json!({ "immediately": true })),
        ] {
            let done = scene.press(path, &body).await;
            assert_eq!(done.status, 200, "{path}: {done:?}");
        }
        assert_eq!(scene.shown().await["subscription"]["status"], "canceled");
    });
}

#[test]
fn what_stripe_does_not_do_as_things_stand_is_a_conflict() {
    on_each_engine!(async |db| {
        let mut scene = Scene::on(db).await;
        later(&scene);
        // All that is in a subscription is billed as often.
        scene.api.change(|stripe| stripe.add_item(&scene.subscription, &STORAGE_ADDON));
        scene.hear().await;
        for path in [PREVIEW, CHANGE] {
            let refused = scene.press(path, &json!({ "planId": "pro_yearly" })).await;
            assert_eq!(refused.refusal(), refusal("change_not_possible", 409), "{path}");
        }
        for (path, body) in [
            (PREVIEW, json!({ "planId": "team_monthly" })),
            (CHANGE, json!({ "planId": "team_monthly" })),
            ("/api/subscriptions/cancel", json!({})),
        ] {
            scene.api.fault_after(usize::from(path != "/api/subscriptions/cancel"), &[Fault::Status(400)]);
            let refused = scene.press(path, &body).await;
            assert_eq!(refused.refusal(), refusal("change_not_possible", 409), "{path}");
        }
        assert_eq!(scene.asked_and_done().1, 0);
    });
}

#[test]
fn an_item_that_is_no_more_is_looked_at_again() {
    on_each_engine!(async |db| {
        let scene = Scene::on(db).await;
        for path in [PREVIEW, CHANGE] {
            later(&scene);
            // By another one, which nobody has told of.
            scene.api.change(|stripe| {
                let (id, now) = (&scene.subscription, stripe.now);
                let gone = ItemChange::Gone(stripe.subscriptions[id].items[0].id.clone());
                let changes = [gone, ItemChange::New(&ENTERPRISE_MONTHLY, 1)];
                stripe.change_items_by_call(id, &changes, Prorated::Never, now, false).unwrap();
            });
            let order = json!({ "planId": "team_monthly" });
            let first = scene.press(path, &order).await;
            assert_eq!(first.refusal(), refusal("change_not_possible", 409), "{path}");
            let again = scene.press(path, &order).await;
            assert_eq!(again.status, 200, "{path}: {again:?}");
        }
    });
}

#[test]
fn a_date_outside_of_the_period_is_the_callers_mistake() {
    on_each_engine!(async |db| {
        let scene = Scene::on(db).await;
        ten_days_later(&scene);
        for date in ["2020-01-01T00:00:00Z", "2040-01-01T00:00:00Z"] {
            let order = json!({ "planId": "team_monthly", "prorationDate": date });
            let refused = scene.press(CHANGE, &order).await;
            let expected = (422, "invalid_parameter".to_owned(), Some("prorationDate".to_owned()));
            assert_eq!(refused.refused_parameter(), expected, "{date}");
        }
    });
}

#[test]
fn what_only_its_invoice_has_told_of_can_be_changed() {
    on_each_engine!(async |db| {
        let scene = Scene::on(db).await;
        scene.api.change(|stripe| {
            let customer = stripe.sign_up("bob@example.com", "Bob", Some("user_2"));
            stripe.checkout(&customer, &Checkout::default());
        });
        let events = scene.api.change(|stripe| stripe.events_since(scene.told, ApiVersion::Endive));
        // Its own events are late.
        for event in events.iter().filter(|event| !event.event_type.starts_with("customer.subscription.")) {
            assert_eq!(scene.app.post(INTAKE_PATH, &event.json()).await.status, 200);
        }
        let order = json!({ "planId": "team_monthly" });
        let preview = scene.press_as("user_2", PREVIEW, &order, None).await;
        assert_eq!(preview.status, 200, "{preview:?}");
        let changed = scene.press_as("user_2", CHANGE, &order, None).await;
        assert_eq!((changed.status, &changed.json()["subscription"]["planId"]), (200, &json!("team_monthly")));
    });
}
