//! What each event does: a test for each row of that table in docs/API.md, and for each rule below it.

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};
use tollgate_shared::json_seq;
use tollgate_tests::stripe::catalogue::{PRO_MONTHLY, STORAGE_ADDON, TEAM_MONTHLY};
use tollgate_tests::stripe::model::Metadata;
use tollgate_tests::stripe::verbs::GiveUp;
use tollgate_tests::stripe::{ApiVersion, Checkout, DAY, Event, Stripe, delivery};
use tollgate_tests::{Engine, Stack, StackConfig, on_each_engine};

const INTAKE: &str = "/subscriptions/internal/stripe-webhook";

/// A stack whose relay answers when the backend is done, so that an order of delivery is one of processing too.
fn config(engine: Engine) -> StackConfig {
    StackConfig::on(engine).relay("RELAY_ACK", "backend")
}

async fn stack(engine: Engine) -> Stack {
    Stack::spawn(config(engine)).await
}

/// Someone who has just subscribed to `PRO_MONTHLY`.
fn subscriber() -> (Stripe, String, String) {
    let mut stripe = Stripe::fresh();
    let customer = stripe.sign_up("ada@example.com", "Ada", None);
    let (subscription, _) = stripe.checkout(&customer, &Checkout::of(&PRO_MONTHLY).by("user_1"));
    stripe.pass(60);
    (stripe, customer, subscription)
}

/// The event of what happens in `happens`, of this type; there has to be exactly one.
fn event_of(stripe: &mut Stripe, event_type: &str, happens: impl FnOnce(&mut Stripe)) -> Event {
    let before = stripe.occurrences.len();
    happens(stripe);
    let mut events = delivery::only(&stripe.events_since(before, ApiVersion::Endive), |other| other == event_type);
    assert_eq!(events.len(), 1, "one {event_type}");
    events.remove(0)
}

/// An event with one member of its JSON changed.
fn changed(event: &Event, path: &str, value: Value) -> Event {
    let mut json = event.json();
    *json.pointer_mut(path).unwrap_or_else(|| panic!("an event has {path}")) = value;
    Event::of(&json)
}

async fn told(stack: &Stack, stripe: &Stripe, customer: &str) -> Value {
    stack.tell(&stripe.events(ApiVersion::Endive)).await;
    stack.assert_true_to(stripe, customer).await;
    stack.customer(customer).await.expect("the customer is known")
}

/// Hands `event` to the backend itself and returns what it says.
async fn outcome(stack: &Stack, event: &Event) -> Value {
    let answer = stack.internal(Method::POST, INTAKE, event.body.clone()).await;
    assert_eq!(answer.status, 200, "{}", answer.error_code());
    let body = answer.json();
    assert_eq!((&body["received"], &body["eventId"]), (&json!(true), &json!(event.id)));
    body["outcome"].clone()
}

on_each_engine!(customer_events_set_name_and_address_and_default_card, async |engine| {
    let stack = stack(engine).await;
    let mut stripe = Stripe::fresh();
    let customer = stripe.sign_up("ada@example.com", "Ada", Some("user_1"));
    let body = told(&stack, &stripe, &customer).await;
    assert_eq!(
        (&body["email"], &body["name"], &body["userId"]),
        (&json!("ada@example.com"), &json!("Ada"), &json!("user_1"))
    );
    assert_eq!((&body["tier"], &body["subscription"], &body["licenses"]), (&json!("free"), &Value::Null, &json!([])));

    stripe.pass(1).rename(&customer, "ada@example.org", "Ada Lovelace");
    stripe.pass(1).change_card(&customer, "visa", "4242");
    let body = told(&stack, &stripe, &customer).await;
    assert_eq!((&body["email"], &body["defaultPaymentMethod"]["last4"]), (&json!("ada@example.org"), &json!("4242")));
});

on_each_engine!(a_deleted_customer_stays_deleted_whatever_comes_later, async |engine| {
    let stack = stack(engine).await;
    let (mut stripe, customer, _) = subscriber();
    let renamed = event_of(&mut stripe, "customer.updated", |stripe| {
        stripe.pass(1).rename(&customer, "late@example.com", "Late");
    });
    stripe.pass(1).delete_customer(&customer);
    let body = told(&stack, &stripe, &customer).await;
    assert_eq!((&body["deleted"], &body["tier"]), (&json!(true), &json!("free")));
    assert_eq!(body["licenses"][0]["status"], "expired");

    let created = stripe.now + 1000;
    let late = changed(&changed(&renamed, "/created", created.into()), "/id", "evt_much_later_1".into());
    stack.tell(&[late]).await;
    stack.assert_true_to(&stripe, &customer).await;
});

on_each_engine!(subscription_created_updated_and_deleted_are_taken_whole, async |engine| {
    let stack = stack(engine).await;
    let (mut stripe, customer, subscription) = subscriber();
    told(&stack, &stripe, &customer).await;
    stripe.pass(DAY).upgrade(&subscription, &TEAM_MONTHLY);
    assert_eq!(told(&stack, &stripe, &customer).await["tier"], "team");
    let audited = "SELECT count(*) FROM changes WHERE change = 'tier' AND from_value = 'pro' AND to_value = 'team'";
    assert_eq!(stack.database.number(audited).await, 1);
    stripe.pass(DAY).change_quantity(&subscription, 4);
    stripe.pass(DAY).add_item(&subscription, &STORAGE_ADDON);
    let body = told(&stack, &stripe, &customer).await;
    assert_eq!((&body["subscription"]["quantity"], &body["subscription"]["itemCount"]), (&json!(4), &json!(2)));
    stripe.pass(DAY).pause_collection(&subscription);
    assert_eq!(told(&stack, &stripe, &customer).await["subscription"]["collectionPaused"], true);
    stripe.pass(DAY).resume_collection(&subscription);
    stripe.pass(DAY).schedule_cancel(&subscription);
    let body = told(&stack, &stripe, &customer).await;
    assert_eq!((&body["subscription"]["cancelScheduled"], &body["tier"]), (&json!(true), &json!("team")));
    stripe.pass(DAY).undo_cancel(&subscription);
    stripe.pass(DAY).schedule_cancel_at(&subscription);
    let body = told(&stack, &stripe, &customer).await;
    assert_eq!(body["subscription"]["cancelAtPeriodEnd"], false);
    assert_eq!(body["subscription"]["cancelScheduled"], true);
    stripe.pass(DAY).cancel(&subscription);
    let body = told(&stack, &stripe, &customer).await;
    assert_eq!((&body["tier"], &body["subscription"]["tier"]), (&json!("free"), &json!("team")));
    assert_eq!(body["subscription"]["cancelScheduled"], false);
});

on_each_engine!(subscription_paused_and_resumed_count_without_an_update_beside_them, async |engine| {
    let stack = stack(engine).await;
    let (mut stripe, customer, subscription) = subscriber();
    told(&stack, &stripe, &customer).await;
    let paused = event_of(&mut stripe, "customer.subscription.paused", |stripe| stripe.pause(&subscription));
    stack.tell(&[paused]).await;
    let body = stack.customer(&customer).await.expect("the customer is known");
    assert_eq!((&body["subscription"]["status"], &body["tier"]), (&json!("paused"), &json!("free")));
    assert_eq!(body["licenses"][0]["status"], "suspended");
    let resumed =
        event_of(&mut stripe, "customer.subscription.resumed", |stripe| stripe.pass(DAY).resume(&subscription));
    stack.tell(&[resumed]).await;
    let body = stack.customer(&customer).await.expect("the customer is known");
    assert_eq!((&body["subscription"]["status"], &body["tier"]), (&json!("active"), &json!("pro")));
    assert_eq!(body["licenses"][0]["status"], "active");
});

on_each_engine!(subscription_trial_will_end_is_a_snapshot_too, async |engine| {
    let stack = stack(engine).await;
    let mut stripe = Stripe::fresh();
    let customer = stripe.sign_up("ada@example.com", "Ada", None);
    let order = Checkout { trial_days: Some(14), ..Checkout::of(&PRO_MONTHLY) };
    let (subscription, _) = stripe.checkout(&customer, &order);
    let event = event_of(&mut stripe, "customer.subscription.trial_will_end", |stripe| {
        stripe.pass(11 * DAY).trial_will_end(&subscription);
    });
    stack.tell(&[event]).await;
    let body = stack.customer(&customer).await.expect("a subscription makes its customer known");
    assert_eq!((&body["subscription"]["status"], &body["tier"]), (&json!("trialing"), &json!("pro")));
    assert_eq!(body["subscription"], stripe.expected(&customer)["subscription"]);
    assert_eq!(body["licenses"][0]["status"], "active");
});

on_each_engine!(a_completed_session_links_its_customer_and_is_a_payment_in_payment_mode, async |engine| {
    let stack = stack(engine).await;
    let mut stripe = Stripe::fresh();
    let customer = stripe.sign_up("ada@example.com", "Ada", None);
    let completed = event_of(&mut stripe, "checkout.session.completed", |stripe| {
        stripe.pay_once(&customer, 1500, "usd", Some("user_1"));
    });
    stack.tell(std::slice::from_ref(&completed)).await;
    assert_eq!(stack.customer(&customer).await.expect("a session makes its customer known")["userId"], "user_1");
    assert_eq!(outcome(&stack, &completed).await, "duplicate");
    let paid = "SELECT count(*) FROM payments WHERE kind = 'session' AND status = 'succeeded'";
    assert_eq!(stack.database.number(paid).await, 1);
});

on_each_engine!(an_async_payment_is_one_only_when_it_succeeds, async |engine| {
    let stack = stack(engine).await;
    let (mut stripe, customer, _) = subscriber();
    let paid = "SELECT count(*) FROM payments WHERE kind = 'session' AND status = 'succeeded'";
    let first = stripe.pay_once_later(&customer, 2500, "eur");
    let second = stripe.pass(1).pay_once_later(&customer, 3500, "eur");
    stack.tell(&stripe.events(ApiVersion::Endive)).await;
    assert_eq!(stack.database.number(paid).await, 0);
    let before = stripe.occurrences.len();
    stripe.pass(DAY).async_payment_succeeds(&first);
    stripe.pass(DAY).async_payment_fails(&second);
    let ends = stripe.events_since(before, ApiVersion::Endive);
    stack.tell(&ends).await;
    assert_eq!(stack.database.number(paid).await, stripe.one_off_payments(&customer) as i64);
    for event in ends {
        let record = stack.event(&event.id).await.expect("it is stored");
        // That the bank was charged changes nothing by itself.
        let expected = if event.event_type == "charge.succeeded" { "ignored" } else { "processed" };
        assert_eq!(record["status"], expected, "{}", event.event_type);
    }
    let told_failed = "SELECT count(*) FROM license_events WHERE type = 'payment_failed'";
    assert_eq!(stack.database.number(told_failed).await, 1);
    // That of its subscription's first invoice came before the licence.
    let told_paid =
        "SELECT count(*) FROM license_events WHERE type = 'payment_succeeded' AND data ->> 'payment' LIKE '%cs_test_%'";
    assert_eq!(stack.database.number(told_paid).await, 1);
});

on_each_engine!(an_expired_session_is_kept_and_changes_nothing, async |engine| {
    let stack = stack(engine).await;
    let (mut stripe, customer, _) = subscriber();
    told(&stack, &stripe, &customer).await;
    let expired = event_of(&mut stripe, "checkout.session.expired", |stripe| {
        stripe.pass(DAY).abandon_session(&customer, Some("user_who_left"));
    });
    stack.tell(std::slice::from_ref(&expired)).await;
    assert_eq!(stack.event(&expired.id).await.expect("it is stored")["status"], "processed");
    stack.assert_true_to(&stripe, &customer).await;
});

on_each_engine!(an_invoice_moves_forward_only_and_its_attempts_never_fall, async |engine| {
    let stack = stack(engine).await;
    let (mut stripe, customer, subscription) = subscriber();
    stripe.begin_unpaid_period(&subscription);
    stripe.pass(DAY).fail_again(&subscription);
    let invoice = stripe.latest_invoice(&subscription);
    let before = stripe.events(ApiVersion::Endive);
    stack.tell(&before).await;
    let body = stack.customer(&customer).await.expect("the customer is known");
    assert_eq!(body["payments"]["openInvoices"], json!({ &invoice: 2 }));

    // What came before comes again later, under other ids and newer times: nothing goes back.
    let about_it = before.iter().filter(|event| event.json()["data"]["object"]["id"] == invoice.as_str());
    for (index, event) in about_it.enumerate() {
        let again = changed(event, "/id", format!("evt_again_{index}_{customer}").into());
        stack.tell(&[again]).await;
        stack.assert_true_to(&stripe, &customer).await;
    }

    stripe.pass(DAY).mark_uncollectible(&invoice);
    told(&stack, &stripe, &customer).await;
    stripe.pass(DAY).pay(&invoice);
    let body = told(&stack, &stripe, &customer).await;
    assert_eq!(body["payments"]["totalPaid"], 5800);
    stack.tell(&delivery::reversed(&before)).await;
    stack.assert_true_to(&stripe, &customer).await;
});

on_each_engine!(a_void_invoice_is_owed_no_more, async |engine| {
    let stack = stack(engine).await;
    let mut stripe = Stripe::fresh();
    let customer = stripe.sign_up("ada@example.com", "Ada", None);
    let subscription = stripe.subscribe(&customer, &[&PRO_MONTHLY], 1, Metadata::new(), None);
    let body = told(&stack, &stripe, &customer).await;
    assert_eq!((&body["payments"]["currency"], &body["payments"]["totalPaid"]), (&json!("usd"), &json!(0)));
    assert_eq!(body["licenses"], json!([]), "an incomplete subscription gives nothing");
    stripe.pass(DAY).first_payment_expires(&subscription);
    let body = told(&stack, &stripe, &customer).await;
    assert_eq!(body["payments"]["openInvoices"], json!({}));
});

on_each_engine!(an_action_that_is_required_leaves_the_invoice_open, async |engine| {
    let stack = stack(engine).await;
    let mut stripe = Stripe::fresh();
    let customer = stripe.sign_up("ada@example.com", "Ada", None);
    let subscription = stripe.subscribe(&customer, &[&PRO_MONTHLY], 1, Metadata::new(), None);
    let invoice = stripe.latest_invoice(&subscription);
    stripe.pass(1).payment_requires_action(&invoice);
    told(&stack, &stripe, &customer).await;
    stripe.pass(1).first_payment_succeeds(&subscription);
    told(&stack, &stripe, &customer).await;
});

on_each_engine!(invoice_payment_paid_ties_an_intent_to_its_invoice_so_that_it_is_no_second_payment, async |engine| {
    let stack = stack(engine).await;
    let (stripe, customer, _) = subscriber();
    // Newest first: the intent comes when nothing is known that it could belong to.
    stack.tell(&delivery::reversed(&stripe.events(ApiVersion::Endive))).await;
    stack.assert_true_to(&stripe, &customer).await;
    let payments = "SELECT count(*) FROM payments WHERE status = 'succeeded' AND belongs_to IS NULL";
    assert_eq!(stack.database.number(payments).await, 1);
    let linked = "SELECT count(*) FROM payments WHERE kind = 'intent' AND belongs_to IS NOT NULL";
    assert_eq!(stack.database.number(linked).await, 1);
});

on_each_engine!(a_payment_intent_ends_as_it_ended_in_any_order, async |engine| {
    let stack = stack(engine).await;
    let (mut stripe, customer, subscription) = subscriber();
    stripe.begin_unpaid_period(&subscription);
    stripe.pass(DAY).recover(&subscription);
    stripe.pass(DAY).begin_unpaid_period(&subscription);
    let invoice = stripe.latest_invoice(&subscription);
    stripe.pass(DAY).void(&invoice);
    stripe.pass(DAY).pay_once_later(&customer, 700, "usd");
    let events = stripe.events(ApiVersion::V2024_06_20);
    stack.tell(&delivery::reversed(&events)).await;
    stack.assert_true_to(&stripe, &customer).await;
    for (status, expected) in [("succeeded", 2), ("canceled", 1), ("processing", 1)] {
        let there = match status {
            "succeeded" => "SELECT count(*) FROM payments WHERE kind = 'intent' AND status = 'succeeded'",
            "canceled" => "SELECT count(*) FROM payments WHERE kind = 'intent' AND status = 'canceled'",
            _ => "SELECT count(*) FROM payments WHERE kind = 'intent' AND status = 'processing'",
        };
        assert_eq!(stack.database.number(there).await, expected, "{status}");
    }
});

on_each_engine!(a_card_shows_its_brand_and_end_and_a_detached_default_is_none, async |engine| {
    let stack = stack(engine).await;
    let (mut stripe, customer, _) = subscriber();
    told(&stack, &stripe, &customer).await;
    let card = stripe.pass(DAY).change_card(&customer, "mastercard", "4444");
    told(&stack, &stripe, &customer).await;
    stripe.pass(DAY).reissue_card(&card, "5555");
    assert_eq!(told(&stack, &stripe, &customer).await["defaultPaymentMethod"]["last4"], "5555");
    let detached = event_of(&mut stripe, "payment_method.detached", |stripe| stripe.pass(DAY).detach_card(&customer));
    stack.tell(&[detached]).await;
    let body = stack.customer(&customer).await.expect("the customer is known");
    assert!(body["defaultPaymentMethod"].is_null(), "detached alone is enough: {}", body["defaultPaymentMethod"]);
    told(&stack, &stripe, &customer).await;
});

on_each_engine!(any_other_type_is_stored_and_ignored, async |engine| {
    let stack = stack(engine).await;
    let (stripe, customer, _) = subscriber();
    let events = stripe.events(ApiVersion::Endive);
    let charge = delivery::only(&events, |event_type| event_type == "charge.succeeded").remove(0);
    assert_eq!(outcome(&stack, &charge).await, "ignored");
    assert_eq!(outcome(&stack, &charge).await, "duplicate");
    let upcoming = Event::of(&json!({
        "id": "evt_upcoming", "object": "event", "type": "invoice.upcoming", "api_version": "2026-10-28.endive",
        "created": stripe.now, "livemode": false, "data": { "object": { "object": "invoice", "customer": customer } },
    }));
    assert_eq!(outcome(&stack, &upcoming).await, "ignored");
    let bare = Event::of(&json!({ "id": "evt_bare", "type": "never.heard.of" }));
    assert_eq!(outcome(&stack, &bare).await, "ignored");
    // They are found by the customer that they name.
    let found = stack.events(&format!("customer={customer}")).await;
    let ids: Vec<_> = found.iter().map(|record| record["id"].as_str().unwrap_or_default()).collect();
    assert!(ids.contains(&&*charge.id) && ids.contains(&"evt_upcoming") && ids.len() == 2, "{ids:?}");
    assert!(found.iter().all(|record| record["status"] == "ignored"));
});

on_each_engine!(the_strongest_claim_says_whose_customer_it_is_in_any_order, async |engine| {
    let stack = stack(engine).await;
    for reverse in [false, true] {
        for claims in 1..5 {
            let mut stripe = Stripe::fresh();
            let customer = stripe.sign_up("ada@example.com", "Ada", Some("user_of_customer"));
            let claim = |strength: usize, user: &str| (claims >= strength).then(|| user.to_owned());
            let order = Checkout {
                subscription_user: claim(2, "user_of_subscription"),
                session_user: claim(3, "user_of_session"),
                client_reference_id: claim(4, "user_by_reference"),
                ..Checkout::of(&PRO_MONTHLY)
            };
            stripe.checkout(&customer, &order);
            let events = stripe.events(ApiVersion::Basil);
            stack.tell(&if reverse { delivery::reversed(&events) } else { events }).await;
            stack.assert_true_to(&stripe, &customer).await;
        }
    }
});

on_each_engine!(key_and_widget_and_licence_are_given_once_and_for_good, async |engine| {
    let stack = stack(engine).await;
    let (mut stripe, customer, subscription) = subscriber();
    let first = told(&stack, &stripe, &customer).await;
    stripe.pass(DAY).cancel(&subscription);
    let ended = told(&stack, &stripe, &customer).await;
    stripe.pass(DAY).checkout(&customer, &Checkout::of(&TEAM_MONTHLY));
    let again = told(&stack, &stripe, &customer).await;
    for body in [&ended, &again] {
        assert_eq!(body["apiKeys"], first["apiKeys"]);
        assert_eq!(body["widgets"], first["widgets"]);
        assert_eq!(body["licenses"][0]["key"], first["licenses"][0]["key"]);
    }
    assert_eq!(again["licenses"][0]["status"], "active");
    assert_eq!(again["licenses"][0]["maxActivations"], 10);
});

on_each_engine!(a_stale_snapshot_gives_them_as_well, async |engine| {
    let stack = stack(engine).await;
    let (mut stripe, customer, subscription) = subscriber();
    stripe.pass(DAY).cancel(&subscription);
    stack.tell(&delivery::reversed(&stripe.events(ApiVersion::Endive))).await;
    stack.assert_true_to(&stripe, &customer).await;
});

on_each_engine!(a_licence_follows_its_customers_current_subscription, async |engine| {
    let stack = stack(engine).await;
    let (mut stripe, customer, subscription) = subscriber();
    stripe.begin_unpaid_period(&subscription);
    assert_eq!(told(&stack, &stripe, &customer).await["licenses"][0]["status"], "active");
    stripe.pass(DAY).give_up(&subscription, GiveUp::Unpaid);
    assert_eq!(told(&stack, &stripe, &customer).await["licenses"][0]["status"], "suspended");
    stripe.pass(DAY).recover(&subscription);
    assert_eq!(told(&stack, &stripe, &customer).await["licenses"][0]["status"], "active");
    stripe.pass(DAY).cancel(&subscription);
    let body = told(&stack, &stripe, &customer).await;
    assert_eq!(body["licenses"][0]["status"], "expired");
    assert_eq!(body["licenses"][0]["expiresAt"], body["subscription"]["endedAt"]);
});

on_each_engine!(an_event_of_another_account_or_mode_is_stored_and_ignored, async |engine| {
    let config = config(engine).backend("STRIPE_LIVEMODE", "true").backend("STRIPE_ACCOUNTS", "acct_ours");
    let stack = Stack::spawn(config).await;
    let with = |account: Option<&str>, live: bool| {
        let mut stripe = Stripe::fresh();
        stripe.livemode = live;
        let customer = stripe.sign_up("ada@example.com", "Ada", None);
        let mut json = stripe.events(ApiVersion::Endive).remove(0).json();
        if let Some(account) = account {
            json["account"] = account.into();
        }
        (Event::of(&json), customer)
    };
    for (account, live, reason) in [
        (None, false, Some("other_mode")),
        (Some("acct_theirs"), true, Some("other_account")),
        (Some("acct_theirs"), false, Some("other_account")),
        (Some("acct_ours"), true, None),
        (None, true, None),
    ] {
        let (event, customer) = with(account, live);
        stack.tell(std::slice::from_ref(&event)).await;
        let record = stack.event(&event.id).await.expect("it is stored");
        let status = if reason.is_some() { "ignored" } else { "processed" };
        assert_eq!((&record["status"], &record["reason"]), (&json!(status), &json!(reason)), "{account:?} {live}");
        assert_eq!(stack.customer(&customer).await.is_some(), reason.is_none(), "{account:?} {live}");
    }
    let mut stripe = Stripe::fresh();
    stripe.livemode = true;
    let customer = stripe.sign_up("ada@example.com", "Ada", None);
    stripe.checkout(&customer, &Checkout::of(&PRO_MONTHLY));
    told(&stack, &stripe, &customer).await;
});

on_each_engine!(a_thin_event_is_stored_and_ignored, async |engine| {
    let stack = stack(engine).await;
    let thin = json!({
        "id": "evt_test_65RM8sQH2oXnebF5Rpc16RJyfa2xSQLHJJh1sxm7H0KI92", "object": "v2.core.event",
        "type": "v1.invoice.paid", "livemode": false, "created": "2026-11-01T10:00:00.000Z", "context": null,
        "reason": null, "related_object": { "id": "in_1", "type": "invoice", "url": "/v1/invoices/in_1" },
    });
    let event = Event::of(&thin);
    stack.tell(std::slice::from_ref(&event)).await;
    let record = stack.event(&event.id).await.expect("it is stored");
    assert_eq!((&record["status"], &record["reason"]), (&json!("ignored"), &json!("thin_event")));
});

on_each_engine!(an_unknown_version_is_read_as_far_as_it_is_known, async |engine| {
    let stack = stack(engine).await;
    for version in [json!("2031-01-01.unheard"), json!("nonsense"), Value::Null] {
        let (stripe, customer, _) = subscriber();
        for event in stripe.events(ApiVersion::Pinned2024) {
            let mut event = changed(&event, "/api_version", version.clone()).json();
            event["data"]["object"]["field_of_the_future"] = json!({ "deep": [1, 2, { "er": null }] });
            stack.tell(&[Event::of(&event)]).await;
        }
        stack.assert_true_to(&stripe, &customer).await;
    }
});

on_each_engine!(an_unknown_status_is_shown_and_access_stays_as_it_was, async |engine| {
    let stack = stack(engine).await;
    let (mut stripe, customer, subscription) = subscriber();
    told(&stack, &stripe, &customer).await;
    let update =
        event_of(&mut stripe, "customer.subscription.updated", |stripe| stripe.pause_collection(&subscription));
    stack.tell(&[changed(&update, "/data/object/status", "hibernating".into())]).await;
    let body = stack.customer(&customer).await.expect("the customer is known");
    assert_eq!((&body["subscription"]["status"], &body["tier"]), (&json!("hibernating"), &json!("pro")));
    assert_eq!(body["licenses"][0]["status"], "active");
});

on_each_engine!(an_item_that_no_plan_knows_gives_no_tier_and_is_no_error, async |engine| {
    let stack = stack(engine).await;
    let mut stripe = Stripe::fresh();
    let customer = stripe.sign_up("ada@example.com", "Ada", None);
    stripe.checkout(&customer, &Checkout::of(&STORAGE_ADDON));
    stack.tell(&stripe.events(ApiVersion::Endive)).await;
    let body = stack.customer(&customer).await.expect("the customer is known");
    assert_eq!((&body["tier"], &body["subscription"]["tier"]), (&json!("free"), &Value::Null));
    assert_eq!(body["subscription"]["priceId"], STORAGE_ADDON.id);
    assert_eq!(body["subscription"]["status"], "active");
});

on_each_engine!(a_zero_character_becomes_a_replacement_character, async |engine| {
    let stack = stack(engine).await;
    let mut stripe = Stripe::fresh();
    let customer = stripe.sign_up("ada@example.com", "A\0da", None);
    let event = stripe.events(ApiVersion::Endive).remove(0);
    stack.tell(std::slice::from_ref(&event)).await;
    let body = stack.customer(&customer).await.expect("the customer is known");
    assert_eq!(body["name"], "A\u{fffd}da");
    let record =
        stack.internal(Method::GET, &format!("/v1/webhook-events/{}?payload=true", event.id), Bytes::new()).await;
    assert_eq!(record.status, 200);
});

on_each_engine!(poison_is_a_dead_letter_at_once_and_holds_up_nobody, async |engine| {
    let stack = stack(engine).await;
    let (mut stripe, customer, subscription) = subscriber();
    told(&stack, &stripe, &customer).await;
    let update =
        event_of(&mut stripe, "customer.subscription.updated", |stripe| stripe.pause_collection(&subscription));
    let mut json = update.json();
    json["id"] = "evt_poison".into();
    json["data"]["object"]["status"] = json!({ "not": "a-telling-value" });
    let poison = Event::of(&json);

    let mut batch = Vec::new();
    json_seq::push(&mut batch, &poison.body);
    json_seq::push(&mut batch, &update.body);
    let key = [("x-internal-api-key", &*stack.secrets.internal), ("content-type", json_seq::MEDIA_TYPE)];
    let answer = stack.http.post(&stack.private(INTAKE), &key, batch).await;
    let results = answer.json()["results"].clone();
    assert_eq!((&results[0]["status"], &results[0]["outcome"]), (&json!(200), &json!("dead_lettered")));
    assert_eq!((&results[1]["status"], &results[1]["outcome"]), (&json!(200), &json!("processed")));
    stack.assert_true_to(&stripe, &customer).await;

    assert_eq!(outcome(&stack, &poison).await, "duplicate");
    let record = stack.event("evt_poison").await.expect("it is stored");
    assert_eq!(record["status"], "dead_lettered");
    let said = record["reason"].as_str().expect("it says why");
    assert!(said.contains("status") && !said.contains("a-telling-value"), "{said}");
});

on_each_engine!(a_repeat_of_what_has_ended_is_a_duplicate_and_changes_nothing, async |engine| {
    let stack = stack(engine).await;
    let (stripe, customer, _) = subscriber();
    let events = stripe.events(ApiVersion::Basil);
    for event in &events {
        let expected = if event.event_type == "charge.succeeded" { "ignored" } else { "processed" };
        assert_eq!(outcome(&stack, event).await, expected, "{}", event.event_type);
    }
    let before = stack.customer(&customer).await;
    for event in &events {
        assert_eq!(outcome(&stack, event).await, "duplicate", "{}", event.event_type);
    }
    assert_eq!(stack.customer(&customer).await, before);
});

on_each_engine!(several_events_at_once_are_answered_each_as_if_alone, async |engine| {
    let stack = stack(engine).await;
    let (stripe, customer, _) = subscriber();
    let events = stripe.events(ApiVersion::Endive);
    let mut batch = Vec::new();
    json_seq::push(&mut batch, &events[0].body);
    json_seq::push(&mut batch, b"no event");
    for event in &events {
        json_seq::push(&mut batch, &event.body);
    }
    let key = [("x-internal-api-key", &*stack.secrets.internal), ("content-type", json_seq::MEDIA_TYPE)];
    let answer = stack.http.post(&stack.private(INTAKE), &key, batch).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("accept-post"), Some("application/json, application/json-seq"));
    let results = answer.json()["results"].as_array().expect("a batch has results").clone();
    assert_eq!(results.len(), events.len() + 2);
    assert_eq!((&results[0]["eventId"], &results[0]["outcome"]), (&json!(events[0].id), &json!("processed")));
    assert_eq!((&results[1]["eventId"], &results[1]["status"]), (&Value::Null, &json!(400)));
    assert_eq!(results[1]["error"]["code"], "malformed_event");
    assert_eq!((&results[2]["eventId"], &results[2]["outcome"]), (&json!(events[0].id), &json!("duplicate")));
    for (result, event) in results[2..].iter().zip(&events) {
        assert_eq!((&result["eventId"], &result["status"]), (&json!(event.id), &json!(200)), "{}", event.event_type);
    }
    stack.assert_true_to(&stripe, &customer).await;

    let mut too_many = Vec::new();
    for number in 0..=json_seq::EVENTS_MAX {
        json_seq::push(&mut too_many, format!(r#"{{"id":"evt_many_{number}","type":"x"}}"#).as_bytes());
    }
    let answer = stack.http.post(&stack.private(INTAKE), &key, too_many).await;
    assert_eq!((answer.status, &*answer.error_code()), (413, "batch_too_large"));
    assert_eq!(stack.event("evt_many_0").await, None);
});

on_each_engine!(the_intake_takes_only_the_key_and_only_events, async |engine| {
    let stack = stack(engine).await;
    let body = r#"{"id":"evt_1","type":"x"}"#;
    for headers in [&[][..], &[("x-internal-api-key", "wrong")], &[("x-internal-api-key", "")]] {
        let answer = stack.http.post(&stack.private(INTAKE), headers, body).await;
        assert_eq!((answer.status, &*answer.error_code()), (403, "forbidden"), "{headers:?}");
        for path in ["/v1/customers/cus_1", "/v1/webhook-events", "/v1/webhook-events/evt_1"] {
            let answer = stack.http.get(&stack.private(path), headers).await;
            assert_eq!((answer.status, &*answer.error_code()), (403, "forbidden"), "{path}");
        }
    }
    for body in ["", "[]", "{}", r#"{"id":"evt_1"}"#, "{\"id\":\"evt_1\",\"type\":\"x\"} trailing"] {
        let answer = stack.internal(Method::POST, INTAKE, body).await;
        assert_eq!((answer.status, &*answer.error_code()), (400, "malformed_event"), "{body}");
    }
});

on_each_engine!(the_intake_takes_what_no_relay_would_up_to_its_own_limit, async |engine| {
    let stack = stack(engine).await;
    let event = |id: &str, bytes: usize| format!(r#"{{"id":"{id}","type":"x","pad":"{}"}}"#, "x".repeat(bytes));
    let answer = stack.internal(Method::POST, INTAKE, event("evt_big", 20 << 20)).await;
    assert_eq!((answer.status, &answer.json()["outcome"]), (200, &json!("ignored")));
    let answer = stack.internal(Method::POST, INTAKE, event("evt_too_big", 32 << 20)).await;
    assert_eq!((answer.status, &*answer.error_code()), (413, "body_too_large"));
    assert_eq!(stack.event("evt_too_big").await, None);
});

on_each_engine!(an_intake_secret_of_its_own_is_the_only_one_that_opens_the_intake, async |engine| {
    let own = "intake-secret-of-its-own";
    let config = config(engine).relay("RELAY_INTERNAL_SECRET", own).backend("RELAY_INTERNAL_SECRET", own);
    let stack = Stack::spawn(config).await;
    let (stripe, customer, _) = subscriber();
    told(&stack, &stripe, &customer).await;
    let answer = stack.internal(Method::POST, INTAKE, r#"{"id":"evt_1","type":"x"}"#).await;
    assert_eq!(answer.status, 403, "the internal key does not open the intake");
    let answer = stack.http.get(&stack.private("/v1/webhook-events"), &[("x-internal-api-key", own)]).await;
    assert_eq!(answer.status, 403, "the intake's secret opens nothing else");
});

on_each_engine!(stored_events_are_found_by_status_type_and_customer_and_keep_their_very_bytes, async |engine| {
    let stack = stack(engine).await;
    let (mut stripe, customer, _) = subscriber();
    // A detached card names its customer only by what it was.
    stripe.detach_card(&customer);
    let (other, someone_else, _) = subscriber();
    let events = stripe.events(ApiVersion::Basil);
    stack.tell(&events).await;
    stack.tell(&other.events(ApiVersion::Basil)).await;
    let ids = |records: &[Value]| {
        records.iter().map(|record| record["id"].to_string()).collect::<std::collections::BTreeSet<_>>()
    };
    let of_customer = stack.events(&format!("customer={customer}")).await;
    // An `invoice_payment` names no customer.
    assert_eq!(ids(&of_customer).len(), events.iter().filter(|event| event.customer.is_some()).count());
    let theirs = stack.events(&format!("customer={someone_else}")).await;
    assert!(ids(&theirs).is_disjoint(&ids(&of_customer)));
    assert_eq!(stack.events("type=charge.succeeded&status=ignored").await.len(), 2);
    assert_eq!(stack.events("type=charge.succeeded&status=processed").await.len(), 0);
    assert_eq!(ids(&stack.events("").await).len(), events.len() + other.events(ApiVersion::Basil).len());

    let path = format!("/v1/webhook-events/{}?payload=true", events[3].id);
    let record = stack.internal(Method::GET, &path, Bytes::new()).await.json();
    assert_eq!(record["payload"].as_str().map(str::as_bytes), Some(&events[3].body[..]));
    assert_eq!((&record["type"], &record["apiVersion"]), (&json!(events[3].event_type), &json!("2025-03-31.basil")));
    assert_eq!(record["attempts"], 1);
    for bad in ["limit=0", "limit=101", "limit=x", "status=unheard", "cursor=nonsense"] {
        let answer = stack.internal(Method::GET, &format!("/v1/webhook-events?{bad}"), Bytes::new()).await;
        assert_eq!((answer.status, &*answer.error_code()), (422, "invalid_parameter"), "{bad}");
        let shown = bad.split('=').next_back().unwrap_or_default();
        assert!(!String::from_utf8_lossy(&answer.body).contains(&format!("\"{shown}\"")), "no echo of {bad}");
    }
    assert_eq!(stack.event("evt_nobody_has").await, None);
    assert_eq!(stack.customer("cus_nobody_has").await, None);
});

on_each_engine!(a_key_that_nobody_was_given_is_unknown, async |engine| {
    let stack = stack(engine).await;
    let answer = stack.internal(Method::POST, "/v1/api-keys/verify", r#"{"key":"tg_test_nobody"}"#).await;
    assert_eq!((answer.status, answer.json()), (200, json!({ "valid": false, "code": "unknown" })));
});
