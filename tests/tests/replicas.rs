//! Several backends on one database, and one that somebody else holds up: everybody else is served meanwhile.

use bytes::Bytes;
use futures_util::future::join_all;
use http::Method;
use tollgate_tests::engines::block_on;
use tollgate_tests::stripe::catalogue::{self, PRO_MONTHLY};
use tollgate_tests::stripe::{ApiVersion, Checkout, Event, Stripe};
use tollgate_tests::wait::{LONG, wait_until};
use tollgate_tests::{Engine, Stack, StackConfig, on_each_engine};

const INTAKE: &str = "/subscriptions/internal/stripe-webhook";

/// Many customers who buy, and all that Stripe says of it.
fn shoppers(stripe: &mut Stripe, count: usize) -> Vec<String> {
    let one = |stripe: &mut Stripe, number: usize| {
        let customer = stripe.sign_up(&format!("{number}@example.com"), "Ada", None);
        stripe.checkout(&customer, &Checkout::of(&PRO_MONTHLY));
        customer
    };
    (0..count).map(|number| one(stripe, number)).collect()
}

async fn is_processed(stack: &Stack, event: &Event) -> bool {
    stack.event(&event.id).await.is_some_and(|event| event["status"] == "processed" || event["status"] == "ignored")
}

async fn all_processed(stack: &Stack, events: &[Event]) -> bool {
    for event in events {
        if !is_processed(stack, event).await {
            return false;
        }
    }
    true
}

/// SQLite locks nothing smaller than the file: there is no row there that somebody could hold.
#[test]
fn a_locked_customer_holds_up_nobody_else() {
    block_on(async {
        let stack = Stack::spawn(StackConfig::on(Engine::Postgres)).await;
        let mut stripe = Stripe::fresh();
        let held_up = shoppers(&mut stripe, 1).remove(0);
        stack.tell(&stripe.events(ApiVersion::Endive)).await;
        let lock = stack.database.hold("SELECT id FROM customers FOR UPDATE").await;

        let first = stripe.occurrences.len();
        stripe.pass(60).rename(&held_up, "new@example.com", "New");
        let of_held_up = stripe.events_since(first, ApiVersion::Endive);
        let first = stripe.occurrences.len();
        let others = shoppers(&mut stripe, 50);
        let of_others = stripe.events_since(first, ApiVersion::Endive);
        stack.deliver_all(&of_held_up, 1).await;
        stack.deliver_all(&of_others, 32).await;
        // The lock is still there: nothing of this could come true by waiting for its end.
        wait_until("the others are served", LONG, async || all_processed(&stack, &of_others).await).await;
        for other in &others {
            stack.assert_true_to(&stripe, other).await;
        }
        assert!(!is_processed(&stack, &of_held_up[0]).await);

        drop(lock);
        wait_until("the one is served, too", LONG, async || all_processed(&stack, &of_held_up).await).await;
        stack.assert_true_to(&stripe, &held_up).await;
    });
}

#[test]
fn a_replica_that_stops_within_a_transaction_holds_up_nobody() {
    block_on(async {
        let stack = Stack::spawn(StackConfig { backends: 2, ..StackConfig::on(Engine::Postgres) }).await;
        let mut stripe = Stripe::fresh();
        let customers = shoppers(&mut stripe, 40);
        let events = stripe.events(ApiVersion::Endive);
        let address = |backend: usize| format!("http://{}{INTAKE}", stack.backends[backend].address);
        let key = [("x-internal-api-key", stack.secrets.internal.as_str())];
        let open = "SELECT count(*) FROM pg_stat_activity
                    WHERE datname = current_database() AND pid <> pg_backend_pid() AND state LIKE 'idle in transaction%'";

        // The second one is paused while it works, again and again, until that is in the midst of a transaction.
        let intake = address(1);
        let flood = join_all(events.iter().map(|event| {
            // What becomes of these is not asked: they come again below.
            stack.http.try_send(Method::POST, &intake, &key, event.body.clone())
        }));
        let caught = wait_until("it is caught in a transaction", LONG, async || {
            stack.backends[1].pause();
            let is_open = stack.database.number(open).await > 0;
            if !is_open {
                stack.backends[1].resume();
            }
            is_open
        });
        tokio::select! {
            () = caught => {}
            // It was done before it could be caught: then there is nothing that it could hold up.
            _ = flood => stack.backends[1].pause(),
        }

        // All of them again, those of the very customers whom it holds too, by the one that is well.
        let intake = address(0);
        let deliveries = events.iter().map(|event| async {
            let stored = async || {
                let answer = stack.http.try_send(Method::POST, &intake, &key, event.body.clone()).await;
                answer.is_ok_and(|answer| answer.status == 200)
            };
            wait_until("the replica that is well takes an event", LONG, stored).await;
        });
        join_all(deliveries).await;
        for customer in &customers {
            stack.assert_true_to(&stripe, customer).await;
        }
        stack.backends[1].resume();
        for customer in &customers {
            stack.assert_true_to(&stripe, customer).await;
        }
    });
}

on_each_engine!(the_last_replica_alive_decides_what_is_on_sale, async |engine| {
    let mut stack = Stack::prepare(StackConfig { backends: 2, ..StackConfig::on(engine) }).await;
    let renamed = stack.path("plans-of-the-new-release.toml");
    let plans = catalogue::PLANS.replace("tier = \"pro\"", "tier = \"professional\"");
    std::fs::write(&renamed, plans).expect("a file can be written");
    stack.backends[1].set("PLANS_FILE", renamed.to_str().expect("a temporary path is UTF-8"));
    stack.start().await;

    let mut stripe = Stripe::fresh();
    let customers = shoppers(&mut stripe, 8);
    stack.tell(&stripe.events(ApiVersion::Endive)).await;
    // Whichever of the two took an event last: the old one leaves, and the new one has the last word.
    stack.backends[0].terminate().await;
    let key = [("x-internal-api-key", stack.secrets.internal.as_str())];
    for customer in &customers {
        let url = format!("http://{}/v1/customers/{customer}", stack.backends[1].address);
        let follows = async || {
            let answer = stack.http.try_send(Method::GET, &url, &key, Bytes::new()).await;
            answer.is_ok_and(|answer| answer.status == 200 && answer.json()["tier"] == "professional")
        };
        wait_until("a customer is on the new plan", LONG, follows).await;
    }
});

on_each_engine!(an_older_program_writes_nothing_to_a_newer_database, async |engine| {
    let mut stack = Stack::spawn(StackConfig::on(engine)).await;
    let mut stripe = Stripe::fresh();
    let customer = shoppers(&mut stripe, 1).remove(0);
    stack.tell(&stripe.events(ApiVersion::Endive)).await;
    stack.backend().terminate().await;
    stack
        .database
        .execute("INSERT INTO schema_migrations (version, name, checksum) VALUES (9000, 'of tomorrow', 'x')")
        .await;

    let http = stack.http.clone();
    stack.backend().start(&http).await;
    let first = stripe.occurrences.len();
    stripe.pass(60).rename(&customer, "new@example.com", "New");
    let events = stripe.events_since(first, ApiVersion::Endive);
    stack.deliver_all(&events, 1).await;
    let answer = stack.internal(Method::POST, INTAKE, events[0].body.clone()).await;
    assert_eq!((answer.status, &*answer.error_code()), (503, "database_unavailable"));
    assert!(!stack.backends[0].is_ready(&http).await);
    assert_eq!(stack.backlog().await, Some(1), "the relay keeps what nobody took");

    stack.database.execute("DELETE FROM schema_migrations WHERE version = 9000").await;
    stack.settled_within(LONG).await;
    stack.assert_true_to(&stripe, &customer).await;
});

/// An event that fails as long as its customer is held, and a process that is started anew meanwhile.
#[test]
fn a_restart_uses_up_no_attempt() {
    block_on(async {
        let mut stack = Stack::spawn(StackConfig::on(Engine::Postgres)).await;
        let mut stripe = Stripe::fresh();
        let customer = shoppers(&mut stripe, 1).remove(0);
        stack.tell(&stripe.events(ApiVersion::Endive)).await;
        let lock = stack.database.hold("SELECT id FROM customers FOR UPDATE").await;
        let first = stripe.occurrences.len();
        stripe.pass(60).rename(&customer, "new@example.com", "New");
        let events = stripe.events_since(first, ApiVersion::Endive);
        stack.deliver_all(&events, 1).await;
        // Ten starts would use all of its attempts up, if each of them were one.
        for _ in 0..10 {
            stack.backend().kill();
            stack.start_backends().await;
        }
        if let Some(event) = stack.event(&events[0].id).await {
            assert_ne!(event["status"], "dead_lettered", "{event}");
        }
        drop(lock);
        let served = async || is_processed(&stack, &events[0]).await;
        wait_until("it is processed when the customer is free", LONG, served).await;
        stack.assert_true_to(&stripe, &customer).await;
    });
}
