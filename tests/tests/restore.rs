//! Last night's backup: a backend that has forgotten the newest events is told them again by the relay.

use tollgate_shared::{Clock, clock::rfc3339};
use tollgate_tests::load::{self, Load};
use tollgate_tests::stripe::{ApiVersion, Stripe, story};
use tollgate_tests::{Stack, StackConfig, on_each_engine};

/// What came after the backup was made.
const FORGOTTEN: usize = 1000;

on_each_engine!(a_restored_backend_is_brought_up_to_date_by_one_redelivery, async |engine| {
    let config = StackConfig::on(engine).relay("RUST_LOG", "info").backend("RUST_LOG", "info");
    let mut stack = Stack::spawn(config).await;
    let Load { stripe, customers, beginnings, events } = load::paid_invoices(FORGOTTEN, 20);
    let mut newcomers = Stripe::fresh();
    let newcomer = story::twenty_five_events(&mut newcomers);
    stack.deliver_all(&beginnings, 16).await;
    stack.settled().await;

    assert_eq!(stack.backend().terminate().await.code(), Some(0));
    let backup = stack.database.copy().await;
    stack.start().await;

    let since = rfc3339(Clock::system().now());
    stack.deliver_all(&events, 64).await;
    stack.deliver_all(&newcomers.events(ApiVersion::Endive), 16).await;
    stack.settled().await;
    let mut before = Vec::new();
    for customer in &customers {
        before.push(stack.customer(customer).await);
    }

    assert_eq!(stack.backend().terminate().await.code(), Some(0));
    stack.database.restore(&backup).await;
    stack.start().await;
    assert_eq!(stack.event(&events[0].id).await, None, "it is forgotten");
    assert_eq!(stack.customer(&newcomer).await, None);

    let output = stack.journal(&["redeliver", "--from", &since]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let count = (events.len() + newcomers.events(ApiVersion::Endive).len()).to_string();
    assert!(said.contains(&count), "it says how many: {said}");

    for (customer, before) in customers.iter().zip(before) {
        stack.assert_true_to(&stripe, customer).await;
        assert_eq!(stack.customer(customer).await, before, "as if nothing had happened");
    }
    stack.assert_true_to(&newcomers, &newcomer).await;
    for event in &events {
        assert_eq!(stack.event(&event.id).await.expect("it is there again")["status"], "processed");
    }
});
