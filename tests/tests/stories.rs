//! Whole lives of customers, told in every order, shape and repetition: they all end in the truth.

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream;
use http::Method;
use serde_json::{Value, json};
use tollgate_shared::Rng;
use tollgate_tests::stripe::catalogue::{PRO_MONTHLY, PRO_YEARLY};
use tollgate_tests::stripe::oracle::differences;
use tollgate_tests::stripe::{ApiVersion, Checkout, Event, Stripe, delivery, story};
use tollgate_tests::wait::LONG;
use tollgate_tests::{Engine, Stack, StackConfig, on_each_engine};

/// How a story's events arrive.
#[derive(Clone, Copy, Debug)]
enum Arrival {
    InOrder,
    Reversed,
    Shuffled,
    EachTwice,
    /// Each twice, many at a time, so that they overtake each other and themselves.
    AtOnce,
}

impl Arrival {
    const ALL: [Self; 5] = [Self::InOrder, Self::Reversed, Self::Shuffled, Self::EachTwice, Self::AtOnce];

    fn arrange(self, events: &[Event], rng: &Rng) -> Vec<Event> {
        match self {
            Self::InOrder => events.to_vec(),
            Self::Reversed => delivery::reversed(events),
            Self::Shuffled => delivery::shuffled(events, rng),
            Self::EachTwice | Self::AtOnce => delivery::twice(&delivery::shuffled(events, rng), rng),
        }
    }

    fn at_once(self) -> usize {
        match self {
            Self::AtOnce => 16,
            _ => 1,
        }
    }
}

/// The shapes of a story's events.
#[derive(Clone, Copy, Debug)]
enum Shapes {
    /// All of one version.
    Of(ApiVersion),
    /// Each of any version.
    Mixed,
}

impl Shapes {
    const ALL: [Self; 5] = [
        Self::Of(ApiVersion::V2024_06_20),
        Self::Of(ApiVersion::Pinned2024),
        Self::Of(ApiVersion::Basil),
        Self::Of(ApiVersion::Endive),
        Self::Mixed,
    ];

    fn events(self, stripe: &Stripe, rng: &Rng) -> Vec<Event> {
        match self {
            Self::Of(version) => stripe.events(version),
            Self::Mixed => delivery::mixed(stripe, rng),
        }
    }
}

/// A stack whose relay answers only when the backend is done, so that an order of delivery is one of processing too.
async fn stack(engine: Engine, backends: usize) -> Stack {
    let config = StackConfig::on(engine).relay("RELAY_ACK", "backend");
    // What comes of events is asked for, and not how soon a busy disk takes them.
    Stack::spawn(StackConfig { backends, ..config.relay("RELAY_FORWARD_DEADLINE_MS", "20000") }).await
}

/// A story that has been told, and what to call it when its end is wrong.
struct Told {
    name: String,
    customer: String,
    /// What has to come of it.
    expected: Value,
}

/// Delivers as [`Stack::deliver_all`] does, but an event whose rows another writer holds for long may be answered 500, or
/// 503 where it is that very event: it is processed later, here or there.
async fn deliver(stack: &Stack, events: &[Event], at_once: usize) {
    let deliveries = stream::iter(events).map(|event| async {
        let answer = stack.deliver(event.body.clone()).await;
        let waits = [500, 503].contains(&answer.status) && answer.error_code() == "backend_failed";
        assert!(answer.status == 200 || waits, "{} {}: {}", event.event_type, event.id, answer.error_code());
    });
    deliveries.buffer_unordered(at_once).for_each(async |()| ()).await;
}

async fn assert_all_true(stack: &Stack, told: &[Told]) {
    stack.settled_within(LONG).await;
    let mut wrong = Vec::new();
    for Told { name, customer, expected } in told {
        let body = stack.customer(customer).await.unwrap_or_default();
        wrong.extend(differences(expected, &body).iter().map(|difference| format!("{name}: {difference}")));
    }
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
}

/// The story of 25 events in each of the four shapes and in all of them mixed, arriving in each of the five ways.
async fn tell_the_story_in_every_way(engine: Engine, backends: usize) {
    let stack = stack(engine, backends).await;
    let rng = Rng::seeded(25);
    let ways = Shapes::ALL.into_iter().flat_map(|shapes| Arrival::ALL.map(|arrival| (shapes, arrival)));
    let mut told = Vec::new();
    let mut deliveries = Vec::new();
    for (shapes, arrival) in ways {
        let mut stripe = Stripe::fresh();
        let customer = story::twenty_five_events(&mut stripe);
        let events = arrival.arrange(&shapes.events(&stripe, &rng), &rng);
        let stack = &stack;
        deliveries.push(async move { deliver(stack, &events, arrival.at_once()).await });
        told.push(Told { name: format!("{shapes:?} {arrival:?}"), expected: stripe.expected(&customer), customer });
    }
    join_all(deliveries).await;
    assert_all_true(&stack, &told).await;
}

on_each_engine!(a_story_ends_in_the_truth_whatever_its_order_and_shape, async |engine| {
    tell_the_story_in_every_way(engine, 1).await;
});

on_each_engine!(a_story_ends_in_the_truth_with_two_backends_on_one_database, async |engine| {
    tell_the_story_in_every_way(engine, 2).await;
});

on_each_engine!(a_story_that_is_replayed_changes_nothing, async |engine| {
    let stack = stack(engine, 1).await;
    let rng = Rng::seeded(26);
    let mut stripe = Stripe::fresh();
    let customer = story::twenty_five_events(&mut stripe);
    let events = delivery::shuffled(&Shapes::Mixed.events(&stripe, &rng), &rng);
    deliver(&stack, &events, 1).await;
    stack.settled_within(LONG).await;
    let before = stack.customer(&customer).await;
    for dry_run in [true, false] {
        let ids: Vec<_> = events.iter().map(|event| &event.id).collect();
        let body = json!({ "eventIds": ids, "dryRun": dry_run });
        let answer = stack.operate(Method::POST, "/api/stripe/webhooks/replay", &body).await;
        assert_eq!(answer.status, 200, "{}", answer.error_code());
        for result in answer.json()["results"].as_array().unwrap() {
            // What has no effect here is looked at again, and has none.
            assert!(result["outcome"] == "duplicate" || result["outcome"] == "ignored", "{result:#}");
            let is_in_effect = result["outcome"] == "duplicate";
            assert!(!dry_run || !is_in_effect || result["changes"] == json!([]), "{result:#}");
        }
    }
    assert_eq!(stack.customer(&customer).await, before);
    stack.assert_true_to(&stripe, &customer).await;
});

/// The seeds of generated stories: `TOLLGATE_STORIES` (how many) and `TOLLGATE_SEED` (the first; the others follow it)
/// change what is told.
fn seeds(count: u64) -> std::ops::Range<u64> {
    let seeds = story::seeds(u64::from(u32::from_le_bytes(Rng::system().bytes())), count);
    println!("stories from TOLLGATE_SEED={} on", seeds.start);
    seeds
}

async fn tell_generated_stories(engine: Engine, backends: usize) {
    let stack = stack(engine, backends).await;
    let mut told = Vec::new();
    let mut deliveries = Vec::new();
    for seed in seeds(12) {
        let mut stripe = Stripe::fresh();
        let customer = story::generated(&mut stripe, seed, 25, story::Pace::Overlapping);
        let rng = Rng::seeded(seed);
        let shapes = Shapes::ALL[(seed % 5) as usize];
        let events = Arrival::AtOnce.arrange(&shapes.events(&stripe, &rng), &rng);
        let stack = &stack;
        deliveries.push(async move { deliver(stack, &events, 4).await });
        let expected = stripe.expected(&customer);
        told.push(Told { name: format!("TOLLGATE_SEED={seed} {shapes:?}"), customer, expected });
    }
    join_all(deliveries).await;
    assert_all_true(&stack, &told).await;
}

on_each_engine!(generated_stories_end_in_the_truth, async |engine| tell_generated_stories(engine, 1).await);

on_each_engine!(generated_stories_end_in_the_truth_with_two_backends, async |engine| {
    tell_generated_stories(engine, 2).await;
});

on_each_engine!(an_endpoint_with_few_event_types_hears_the_truth_in_them, async |engine| {
    let stack = stack(engine, 1).await;
    let mut told = Vec::new();
    let mut deliveries = Vec::new();
    for seed in seeds(3) {
        for (number, endpoint) in delivery::ENDPOINTS.into_iter().enumerate() {
            let mut stripe = Stripe::fresh();
            let customer = story::generated(&mut stripe, seed, 25, story::Pace::Apart);
            let rng = Rng::seeded(seed + number as u64);
            let shapes = Shapes::ALL[(seed as usize + number) % 5];
            let events = delivery::only(&shapes.events(&stripe, &rng), endpoint.is_sent);
            let events = Arrival::AtOnce.arrange(&events, &rng);
            let stack = &stack;
            deliveries.push(async move { deliver(stack, &events, 4).await });
            let expected = stripe.expected_at(&customer, endpoint.is_sent);
            let name = format!("TOLLGATE_SEED={seed} {shapes:?}, {}", endpoint.name);
            told.push(Told { name, customer, expected });
        }
    }
    join_all(deliveries).await;
    assert_all_true(&stack, &told).await;
});

on_each_engine!(subscription_changes_without_customers_end_in_the_truth, async |engine| {
    let stack = stack(engine, 1).await;
    for version in ApiVersion::ALL {
        let mut stripe = Stripe::fresh();
        let customer = story::twenty_five_events(&mut stripe);
        let is_sent = |event_type: &str| {
            let changes =
                ["checkout.session.completed", "customer.subscription.updated", "customer.subscription.deleted"];
            event_type.starts_with("invoice.") || changes.contains(&event_type)
        };
        let events = delivery::only(&stripe.events(version), is_sent);
        deliver(&stack, &delivery::shuffled(&events, &Rng::seeded(7)), 1).await;
        stack.settled_within(LONG).await;
        let expected = stripe.expected_at(&customer, is_sent);
        let wrong = differences(&expected, &stack.customer(&customer).await.unwrap_or_default());
        assert!(wrong.is_empty(), "{version:?}:\n{}", wrong.join("\n"));
    }
});

on_each_engine!(a_subscription_is_inferred_from_its_invoices_until_its_first_snapshot, async |engine| {
    let stack = stack(engine, 1).await;
    for version in ApiVersion::ALL {
        let mut stripe = Stripe::fresh();
        let customer = stripe.sign_up("ada@example.com", "Ada", None);
        let order = Checkout { quantity: 2, ..Checkout::of(&PRO_MONTHLY).by("user_1") };
        let (subscription, _) = stripe.checkout(&customer, &order);
        let first_end = stripe.expected(&customer)["subscription"]["currentPeriodEnd"].clone();
        stripe.renew(&subscription);
        let all = stripe.events(version);

        stack.tell(&delivery::only(&all, |event_type| event_type == "checkout.session.completed")).await;
        let linked = stack.customer(&customer).await.expect("a session makes its customer known");
        assert_eq!(linked["userId"], "user_1", "{version:?}");
        assert!(linked["subscription"].is_null(), "{version:?}: {linked}");
        assert_eq!(linked["tier"], "free");

        let invoices = delivery::only(&all, |event_type| event_type.starts_with("invoice."));
        stack.tell(&delivery::shuffled(&invoices, &Rng::seeded(3))).await;
        let inferred = stack.customer(&customer).await.expect("the customer is known");
        let truth = stripe.expected(&customer);
        for place in [
            "/tier",
            "/payments",
            "/subscriptions",
            "/subscription/status",
            "/subscription/priceId",
            "/subscription/quantity",
            "/subscription/currentPeriodStart",
            "/subscription/currentPeriodEnd",
        ] {
            assert_eq!(inferred.pointer(place), truth.pointer(place), "{version:?} {place}");
        }
        assert_eq!(inferred["licenses"][0]["status"], "active");
        assert_eq!(inferred["apiKeys"].as_array().map(Vec::len), Some(1));

        // The first snapshot replaces all of it, although it is older than what was inferred.
        let created = delivery::only(&all, |event_type| event_type == "customer.subscription.created");
        stack.tell(&created).await;
        let snapshot = stack.customer(&customer).await.expect("the customer is known");
        assert_eq!(snapshot["subscription"]["currentPeriodEnd"], first_end, "{version:?}");
        // What is incomplete and paid for is active.
        assert_eq!(snapshot["subscription"]["status"], "active", "{version:?}");
        assert_eq!(snapshot["licenses"][0]["status"], "active");

        stack.tell(&all).await;
        stack.assert_true_to(&stripe, &customer).await;
    }
});

on_each_engine!(a_customer_of_two_subscriptions_has_the_newest_that_lives, async |engine| {
    let stack = stack(engine, 1).await;
    let mut stripe = Stripe::fresh();
    let customer = stripe.sign_up("ada@example.com", "Ada", None);
    let (old, _) = stripe.checkout(&customer, &Checkout::of(&PRO_YEARLY));
    let (new, _) = stripe.pass(60).checkout(&customer, &Checkout::of(&PRO_MONTHLY));
    stripe.pass(60).cancel(&new);
    let events = stripe.events(ApiVersion::Endive);
    deliver(&stack, &delivery::shuffled(&events, &Rng::seeded(1)), 8).await;
    stack.settled_within(LONG).await;
    stack.assert_true_to(&stripe, &customer).await;
    let body = stack.customer(&customer).await.expect("the customer is known");
    assert_eq!(body["subscription"]["stripeSubscriptionId"], old.as_str());
    assert_eq!(body["subscriptions"][&new], "canceled");
});
