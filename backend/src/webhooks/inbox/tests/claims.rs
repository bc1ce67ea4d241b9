//! Who may act on an event that is known.

use tollgate_db::DbError;
use tollgate_domain::audit::acts::ActedBy;

use super::*;
use crate::webhooks::inbox::{Mode, Order};

fn operator() -> Mode {
    Mode::Operator(Arc::new(order()))
}

fn order() -> Order {
    let by =
        ActedBy { actor: "ada".to_owned(), claimed_name: None, request_id: "req_of_a_test".to_owned(), reason: None };
    Order { action: "webhook_event.replay", by }
}

async fn process(inbox: &Inbox, payload: &Bytes, mode: Mode) -> Result<Outcome, IntakeError> {
    let request_id = RequestId::parse("req_of_a_test").unwrap();
    let delivery = inbox.process(vec![payload.clone()], mode, &request_id).await.remove(0);
    delivery.map(|(_, outcome)| outcome).map_err(|(_, failure)| failure)
}

async fn set_status(db: &Db, id: &str, status: &str) {
    let mut tx = db.write().await.unwrap();
    let set = tx.sql("UPDATE webhook_events SET status = $2, next_attempt_at = NULL, reason = 'test' WHERE id = $1");
    assert_eq!(set.bind(id).bind(status).run().await.unwrap(), 1);
    tx.commit().await.unwrap();
}

#[test]
fn an_operator_may_retry_what_a_delivery_may_not() {
    on_each_engine!(async |db| {
        let inbox = inbox(&db);
        for (n, status) in ["dead_lettered", "ignored"].into_iter().enumerate() {
            let customer = format!("cus_{n}");
            let event = event(&format!("{n}"), "customer.subscription.updated", 0, json!({ "id": "sub_1" }));
            assert_eq!(take(&inbox, &event).await, Ok(Outcome::DeadLettered));
            // As an older release has left it, which could not read what this one can.
            let event = updated(&format!("{n}"), &customer, 0, "active", 1);
            set_status(&db, &format!("evt_{n}"), status).await;
            for mode in [Mode::Delivery, Mode::Retry] {
                assert_eq!(process(&inbox, &event, mode.clone()).await, Ok(Outcome::Duplicate), "{status}: {mode:?}");
            }
            assert_eq!(count(&db, "SELECT COUNT(*) FROM customers").await, n as i64);
            assert_eq!(process(&inbox, &event, operator()).await, Ok(Outcome::Processed), "{status}");
            let known = known(&db, &format!("evt_{n}")).await;
            assert_eq!((known.status.as_str(), known.attempts), ("processed", 2));
            assert_eq!(end(&db, &customer).await.customer.tier, "pro");
            // What is in effect is not made to be so twice, by nobody.
            for mode in [Mode::Delivery, Mode::Retry, operator()] {
                assert_eq!(process(&inbox, &event, mode.clone()).await, Ok(Outcome::Duplicate), "{mode:?}");
            }
        }
    });
}

#[test]
fn an_operators_retry_reads_the_payload_that_is_stored() {
    on_each_engine!(async |db| {
        let inbox = inbox(&db);
        let request_id = RequestId::parse("req_of_a_test").unwrap();
        let event = updated("1", "cus_1", 0, "active", 1);
        assert_eq!(take(&inbox, &event).await, Ok(Outcome::Processed));
        let again = retry::retry_for_operator(&inbox, "evt_1", order(), &request_id).await.unwrap();
        assert_eq!(again, Some(Ok(("evt_1".to_owned(), Outcome::Duplicate))));
        assert_eq!(retry::retry_for_operator(&inbox, "evt_none", order(), &request_id).await.unwrap(), None);
    });
}

#[test]
fn an_operators_retry_that_fails_is_tried_again_from_the_first() {
    on_each_engine!(async |db| {
        let Fixture { inbox, db, faults, clock } = Fixture::on(db);
        let event = updated("1", "cus_1", 0, "active", 1);
        for _ in 0..8 {
            fail_next(&faults);
            let _stored = take(&inbox, &event).await;
            clock.advance(Duration::from_hours(13));
        }
        assert_eq!(known(&db, "evt_1").await.status, "dead_lettered");
        fail_next(&faults);
        assert_eq!(process(&inbox, &event, operator()).await, Err(IntakeError::RetryScheduled));
        let failed = known(&db, "evt_1").await;
        assert_eq!((failed.status.as_str(), failed.attempts), ("failed", 1));
        clock.advance(Duration::from_secs(5));
        assert_eq!(retry::run(&inbox).await.unwrap(), 1);
        assert_eq!(known(&db, "evt_1").await.status, "processed");
    });
}

#[test]
fn what_is_not_known_is_not_made_by_a_retry() {
    on_each_engine!(async |db| {
        let inbox = inbox(&db);
        let event = updated("1", "cus_1", 0, "active", 1);
        for mode in [Mode::Retry, operator()] {
            assert_eq!(process(&inbox, &event, mode.clone()).await, Err(IntakeError::NotStored), "{mode:?}");
        }
        assert_eq!(count(&db, "SELECT COUNT(*) FROM webhook_events").await, 0);
    });
}

#[test]
fn of_two_replicas_retries_each_event_goes_to_one() {
    on_each_engine!(async |db| {
        let faults = Arc::new(Faults::default());
        let clock = clock();
        let failing = Inbox::open(app(db.clone().with_faults(faults.clone()), clock.clone()));
        for n in 0..10 {
            fail_next(&faults);
            let event = updated(&format!("{n}"), &format!("cus_{n}"), 0, "active", 1);
            assert_eq!(take(&failing, &event).await, Err(IntakeError::RetryScheduled));
        }
        clock.advance(Duration::from_secs(5));
        let replicas = [(); 2].map(|()| Inbox::open(app(db.clone(), clock.clone())));
        let tried = join_all(replicas.iter().map(retry::run)).await;
        assert_eq!(tried.into_iter().map(Result::unwrap).sum::<usize>(), 10);
        assert_eq!(
            count(&db, "SELECT COUNT(*) FROM webhook_events WHERE status = 'processed' AND attempts = 2").await,
            10
        );
    });
}

#[test]
fn outages_and_restarts_use_up_no_attempts() {
    on_each_engine!(async |db| {
        let Fixture { inbox: first, db, faults, clock } = Fixture::on(db);
        let event = updated("1", "cus_1", 0, "active", 1);
        fail_next(&faults);
        assert_eq!(take(&first, &event).await, Err(IntakeError::RetryScheduled));
        let failed = known(&db, "evt_1").await;
        // Each start, and each flap of the database, looks for what an outage has left: this is none of it.
        for _ in 0..8 {
            let inbox = Inbox::open(app(db.clone(), clock.clone()));
            assert_eq!(retry::run(&inbox).await.unwrap(), 0);
            faults.arm(1, Moment::Before, DbError::Unavailable { reason: "cut off".into() });
            let other = updated("other", "cus_2", 0, "active", 1);
            let _not_stored = take(&inbox, &other).await;
            faults.disarm();
            assert_eq!(retry::run(&inbox).await.unwrap(), 0);
        }
        let still = known(&db, "evt_1").await;
        assert_eq!((still.attempts, still.next_attempt_at), (failed.attempts, failed.next_attempt_at));
    });
}

#[test]
fn what_an_outage_has_failed_is_due_when_it_is_over() {
    on_each_engine!(async |db| {
        let clock = clock();
        let inbox = Inbox::open(app(db.clone(), clock.clone()));
        let event = updated("1", "cus_1", 0, "active", 1);
        assert_eq!(take(&inbox, &event).await, Ok(Outcome::Processed));
        let mut tx = db.write().await.unwrap();
        let failed = tx.sql(
            "UPDATE webhook_events
             SET status = 'failed', attempts = 0, last_error = 'database_unavailable', next_attempt_at = $1",
        );
        failed.bind(clock.now() + chrono::Duration::seconds(5)).run().await.unwrap();
        tx.commit().await.unwrap();
        let restarted = Inbox::open(app(db.clone(), clock.clone()));
        assert_eq!(retry::run(&restarted).await.unwrap(), 1);
        let known = known(&db, "evt_1").await;
        assert_eq!((known.status.as_str(), known.attempts), ("processed", 1));
    });
}

#[test]
fn large_events_are_retried_a_few_at_a_time() {
    on_each_engine!(async |db| {
        let Fixture { inbox, faults, clock, .. } = Fixture::on(db);
        for n in 0..4 {
            let mut object = subscription(&format!("cus_{n}"), "active", 1);
            object["description"] = "x".repeat(3 << 20).into();
            fail_next(&faults);
            let large = event(&format!("{n}"), "customer.subscription.updated", 0, object);
            assert_eq!(take(&inbox, &large).await, Err(IntakeError::RetryScheduled));
        }
        clock.advance(Duration::from_secs(5));
        let taken = retry::take_due(inbox.app()).await.unwrap();
        assert_eq!(taken.len(), 2, "8 MiB hold two of them");
        assert_eq!(retry::take_due(inbox.app()).await.unwrap().len(), 2, "and the rest is not lost");
    });
}
