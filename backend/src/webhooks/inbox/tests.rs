//! The inbox on both engines: faults one by one, races of two replicas, any order.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use tollgate_shared::clock::from_unix;
use tollgate_shared::{Clock, RequestId, Rng};

use super::{Inbox, IntakeError, Outcome};
use crate::app::App;
use crate::on_each_engine;
use crate::schema::testing::migrated;
use crate::testing;
use crate::webhooks::{retry, store};
use tollgate_db::testing::block_on;
use tollgate_db::{Db, DbError, Engine, Faults, Lock, Moment, Record};
use tollgate_domain::customers::Customer;
use tollgate_domain::events::LicenseEvent;
use tollgate_domain::invoices::Invoice;
use tollgate_domain::licenses::{License, LicenseLog};
use tollgate_domain::payments::Payment;
use tollgate_domain::subscriptions::Subscription;

mod beside;
mod claims;
mod held;
mod loaded;

const START: i64 = 1_780_000_000;

/// An inbox whose database fails when it is told to.
struct Fixture {
    inbox: Inbox,
    db: Db,
    faults: Arc<Faults>,
    clock: Clock,
}

impl Fixture {
    fn on(db: Db) -> Self {
        let (faults, clock) = (Arc::new(Faults::default()), clock());
        let db = db.with_faults(faults.clone());
        Self { inbox: Inbox::open(app(db.clone(), clock.clone())), db, faults, clock }
    }
}

fn app(db: Db, clock: Clock) -> App {
    let config = testing::config(&[("STRIPE_LIVEMODE", "false"), ("STRIPE_ACCOUNTS", "acct_ours")]);
    App::new(Arc::new(config), db, clock, Rng::system()) // replicas that draw the same numbers would make the same keys
}

fn clock() -> Clock {
    Clock::manual(from_unix(START + 3600).unwrap())
}

fn inbox(db: &Db) -> Inbox {
    Inbox::open(app(db.clone(), clock()))
}

fn event(id: &str, event_type: &str, second: i64, object: Value) -> Bytes {
    let event = json!({
        "id": format!("evt_{id}"), "object": "event", "api_version": "2026-10-28.endive", "livemode": false,
        "type": event_type, "created": START + second, "data": { "object": object },
    });
    serde_json::to_vec_pretty(&event).unwrap().into()
}

fn subscription(customer: &str, status: &str, quantity: i64) -> Value {
    json!({
        "id": format!("sub_of_{customer}"), "object": "subscription", "customer": customer, "status": status,
        "created": START, "livemode": false,
        "items": { "object": "list", "total_count": 1, "data": [{
            "id": "si_1", "price": { "id": "price_pro_month" }, "quantity": quantity,
            "current_period_start": START, "current_period_end": START + 2_592_000,
        }] },
    })
}

fn updated(id: &str, customer: &str, second: i64, status: &str, quantity: i64) -> Bytes {
    event(id, "customer.subscription.updated", second, subscription(customer, status, quantity))
}

fn paid(id: &str, customer: &str, second: i64, invoice: &str) -> Bytes {
    let object = json!({
        "id": invoice, "object": "invoice", "customer": customer, "status": "paid", "currency": "usd",
        "amount_due": 2900, "amount_paid": 2900, "attempt_count": 1, "created": START + second,
        "status_transitions": { "paid_at": START + second },
        "parent": { "type": "subscription_details", "subscription_details": { "subscription": format!("sub_of_{customer}") } },
        "lines": { "data": [] },
    });
    event(id, "invoice.paid", second, object)
}

async fn take(inbox: &Inbox, payload: &Bytes) -> Result<Outcome, IntakeError> {
    let request_id = RequestId::parse("req_of_a_test").unwrap();
    inbox.take(payload.clone(), &request_id).await.map(|(_, outcome)| outcome).map_err(|(_, refused)| refused)
}

async fn rows<T: Record>(db: &Db, by: &'static str, key: &str) -> Vec<T> {
    let mut tx = db.read().await.unwrap();
    tx.load(by, &[key.to_owned()].into(), Lock::None).await.unwrap()
}

async fn count(db: &Db, sql: &'static str) -> i64 {
    let mut tx = db.read().await.unwrap();
    tx.sql(sql).one::<(i64,)>().await.unwrap().0
}

/// What a customer came to, less what is random or tells in which order things were seen.
#[derive(Debug, PartialEq)]
struct End {
    customer: Customer,
    subscriptions: Vec<Subscription>,
    invoices: Vec<Invoice>,
    payments: Vec<Payment>,
    licenses: Vec<License>,
    keys: i64,
}

async fn end(db: &Db, customer: &str) -> End {
    let first_seen_at = from_unix(START).unwrap();
    let known = rows::<Customer>(db, "id", customer).await.pop().expect("the customer is known");
    let licenses = rows::<License>(db, "customer_id", customer).await;
    let subscriptions = rows::<Subscription>(db, "customer_id", customer).await;
    let created_at = first_seen_at;
    End {
        customer: Customer {
            first_seen_at,
            last_change: 0,
            provisioned_at: known.provisioned_at.map(|_| first_seen_at),
            ..known
        },
        subscriptions: subscriptions.into_iter().map(|row| Subscription { first_seen_at, ..row }).collect(),
        invoices: rows(db, "customer_id", customer).await,
        payments: rows(db, "customer_id", customer).await,
        licenses: licenses
            .into_iter()
            .map(|row| License { id: String::new(), key: String::new(), last_seq: 0, created_at, ..row })
            .collect(),
        keys: count(db, "SELECT COUNT(*) FROM api_keys").await,
    }
}

#[test]
fn of_many_deliveries_of_one_event_to_two_replicas_one_takes_effect() {
    on_each_engine!(async |db| {
        let replicas = [inbox(&db), inbox(&db)];
        let event = updated("1", "cus_1", 0, "active", 1);
        let answers = join_all((0..60).map(|n| take(&replicas[n % 2], &event))).await;
        let processed = answers.iter().filter(|answer| **answer == Ok(Outcome::Processed)).count();
        let duplicates = answers.iter().filter(|answer| **answer == Ok(Outcome::Duplicate)).count();
        assert_eq!((processed, duplicates), (1, 59));
        assert_eq!(end(&db, "cus_1").await.keys, 1);
    });
}

#[test]
fn two_replicas_that_share_out_the_events_of_a_few_customers_lose_none() {
    on_each_engine!(async |db| {
        let replicas = [inbox(&db), inbox(&db)];
        let customers = ["cus_1", "cus_2", "cus_3"];
        let events: Vec<_> = (0..120_i64)
            .map(|n| {
                let customer = customers[n as usize % 3];
                match n % 4 {
                    0 => paid(&format!("{n}"), customer, n, &format!("in_{n}")),
                    _ => updated(&format!("{n}"), customer, n, "active", n),
                }
            })
            .collect();
        let answers = join_all(events.iter().enumerate().map(|(n, event)| take(&replicas[n / 3 % 2], event))).await;
        assert!(answers.iter().all(|answer| *answer == Ok(Outcome::Processed)), "{answers:?}");
        for (n, customer) in customers.into_iter().enumerate() {
            let end = end(&db, customer).await;
            assert_eq!((end.invoices.len(), end.payments.len(), end.licenses.len()), (10, 10, 1));
            assert_eq!(end.subscriptions[0].quantity, Some([117, 118, 119][n]));
        }
        assert_eq!(count(&db, "SELECT COUNT(*) FROM api_keys").await, 3);
    });
}

#[test]
fn whichever_operation_fails_the_event_is_in_effect_once_in_the_end() {
    for (moment, failure) in [
        (Moment::Before, DbError::Conflict { code: "40P01".to_owned() }),
        (Moment::Before, DbError::Full { code: "53100".to_owned() }),
        (Moment::Before, DbError::Unavailable { reason: "cut off".into() }),
        (Moment::Before, DbError::Other { code: "XX000".to_owned(), message: String::new() }),
        (Moment::ReplyLost, DbError::Unavailable { reason: "cut off".into() }),
    ] {
        for engine in [Engine::Sqlite, Engine::Postgres] {
            fail_each_operation_in_turn(engine, moment, &failure);
        }
    }
}

fn fail_each_operation_in_turn(engine: Engine, moment: Moment, failure: &DbError) {
    block_on(async {
        let database = migrated(engine).await;
        let Fixture { inbox, db, faults, clock } = Fixture::on(database.open());
        let mut failures = 0;
        for nth in 1.. {
            let customer = format!("cus_{nth}");
            let events = [
                updated(&format!("{nth}a"), &customer, 0, "active", 1),
                paid(&format!("{nth}b"), &customer, 1, &format!("in_{nth}")),
            ];
            let counted = faults.counted().len();
            faults.arm(nth, moment, failure.clone());
            for event in &events {
                let _refused_or_not = take(&inbox, event).await;
            }
            let operations = faults.counted().len() - counted;
            failures += usize::from(!faults.is_armed());
            faults.disarm();
            for event in &events {
                clock.advance(Duration::from_secs(60));
                let repeat = take(&inbox, event).await;
                assert!(repeat.is_ok(), "{engine:?}, {failure:?} {moment:?} at {nth}: {repeat:?}");
            }
            let end = end(&db, &customer).await;
            assert_eq!(end.customer.tier, "pro", "{engine:?}, {failure:?} {moment:?} at {nth}");
            assert_eq!((end.licenses.len(), end.payments.len(), end.keys), (1, 1, nth as i64));
            let license = &rows::<License>(&db, "customer_id", &customer).await[0];
            let told = rows::<LicenseEvent>(&db, "license_id", &license.id).await;
            let mut numbers: Vec<_> = told.iter().map(|event| event.seq).collect();
            numbers.sort_unstable();
            let log = &rows::<LicenseLog>(&db, "license_id", &license.id).await[0];
            assert_eq!(numbers, (1..=log.last_seq).collect::<Vec<_>>());
            let of_type = |event_type: &str| told.iter().filter(|event| event.r#type == event_type).count();
            assert_eq!((of_type("license_created"), of_type("payment_succeeded")), (1, 1));
            if nth > operations {
                break;
            }
        }
        // Every operation once, or where only a commit's reply can be lost, every commit.
        assert!(failures >= if moment == Moment::ReplyLost { 1 } else { 8 }, "{failures} failures");
    });
}

#[test]
fn what_failed_waits_for_its_time_and_repeats_use_up_no_attempts() {
    on_each_engine!(async |db| {
        let Fixture { inbox, db, faults, clock } = Fixture::on(db);
        assert_eq!(retry::run(&inbox).await.unwrap(), 0);
        let event = updated("2", "cus_1", 1, "active", 2);
        fail_next(&faults);
        assert_eq!(take(&inbox, &event).await, Err(IntakeError::RetryScheduled));
        for _ in 0..20 {
            assert_eq!(take(&inbox, &event).await, Err(IntakeError::RetryScheduled));
        }
        let known = known(&db, "evt_2").await;
        assert_eq!((known.status.as_str(), known.attempts), ("failed", 1));
        assert_eq!(known.next_attempt_at, Some(clock.now() + chrono::Duration::seconds(5)));
        clock.advance(Duration::from_secs(5));
        assert_eq!(retry::run(&inbox).await.unwrap(), 1);
        assert_eq!(end(&db, "cus_1").await.subscriptions[0].quantity, Some(2));
        assert_eq!(take(&inbox, &event).await, Ok(Outcome::Duplicate));
    });
}

async fn known(db: &Db, id: &str) -> store::Known {
    let mut tx = db.read().await.unwrap();
    let mut known: Vec<store::Known> = tx.load("id", &[id.to_owned()].into(), Lock::None).await.unwrap();
    known.pop().expect("the event is stored")
}

/// Makes the next transaction fail at its first statement.
fn fail_next(faults: &Faults) {
    faults.arm(2, Moment::Before, DbError::Other { code: "XX000".to_owned(), message: String::new() });
}

#[test]
fn the_eighth_failure_makes_a_dead_letter() {
    on_each_engine!(async |db| {
        let Fixture { inbox, db, faults, clock } = Fixture::on(db);
        let event = updated("1", "cus_1", 0, "active", 1);
        for attempt in 1..=8 {
            fail_next(&faults);
            let expected = if attempt < 8 { Err(IntakeError::RetryScheduled) } else { Ok(Outcome::DeadLettered) };
            assert_eq!(take(&inbox, &event).await, expected, "attempt {attempt}");
            clock.advance(Duration::from_hours(13));
        }
        assert_eq!(take(&inbox, &event).await, Ok(Outcome::Duplicate));
        assert_eq!(known(&db, "evt_1").await.attempts, 8);
    });
}

#[test]
fn an_event_in_trouble_harms_none_that_shares_its_batch() {
    on_each_engine!(async |db| {
        let inbox = inbox(&db);
        let mut events: Vec<_> =
            (0..30).map(|n| updated(&format!("{n}"), &format!("cus_{n}"), 0, "active", 1)).collect();
        events.insert(
            10,
            event("poison", "customer.subscription.updated", 0, json!({ "id": "sub_1", "status": "active" })),
        );
        let answers = join_all(events.iter().map(|event| take(&inbox, event))).await;
        let good = answers.iter().filter(|answer| **answer == Ok(Outcome::Processed)).count();
        assert_eq!((good, answers[10]), (30, Ok(Outcome::DeadLettered)));
        assert_eq!(known(&db, "evt_poison").await.status, "dead_lettered");
        assert_eq!(take(&inbox, &events[10]).await, Ok(Outcome::Duplicate));
    });
}

#[test]
fn what_is_not_ours_is_stored_and_ignored_with_its_reason() {
    on_each_engine!(async |db| {
        let inbox = inbox(&db);
        let with = |name: &str, changes: Value| {
            let payload = updated(name, "cus_1", 0, "active", 1);
            let mut event: Value = serde_json::from_slice(&payload).unwrap();
            event.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
            Bytes::from(serde_json::to_vec(&event).unwrap())
        };
        let reasons = BTreeMap::from([
            ("account", (json!({ "account": "acct_other" }), Some("other_account"))),
            ("both", (json!({ "account": "acct_other", "livemode": true }), Some("other_account"))),
            ("mode", (json!({ "livemode": true }), Some("other_mode"))),
            ("type", (json!({ "type": "charge.succeeded" }), None)),
        ]);
        for (name, (changes, reason)) in reasons {
            assert_eq!(take(&inbox, &with(name, changes)).await, Ok(Outcome::Ignored), "{name}");
            let mut tx = db.read().await.unwrap();
            let stored = tx.sql("SELECT status, reason FROM webhook_events WHERE id = $1").bind(format!("evt_{name}"));
            let stored: (String, Option<String>) = stored.one().await.unwrap();
            assert_eq!((stored.0.as_str(), stored.1.as_deref()), ("ignored", reason), "{name}");
        }
        assert_eq!(count(&db, "SELECT COUNT(*) FROM customers").await, 0);
        assert_eq!(take(&inbox, &with("ours", json!({ "account": "acct_ours" }))).await, Ok(Outcome::Processed));
    });
}

#[test]
fn a_nul_in_an_id_is_stored_as_a_replacement_character_and_claimed_once() {
    on_each_engine!(async |db| {
        let inbox = inbox(&db);
        let event = updated("a\0b", "cus_1", 0, "active", 1);
        assert_eq!(take(&inbox, &event).await, Ok(Outcome::Processed));
        assert_eq!(take(&inbox, &event).await, Ok(Outcome::Duplicate));
        assert_eq!(known(&db, "evt_a\u{fffd}b").await.status, "processed");
        assert_eq!(end(&db, "cus_1").await.keys, 1);
    });
}

#[test]
fn any_order_and_any_repetition_ends_in_the_same_rows_on_both_engines() {
    let life = prop::collection::vec((0..3_i64, 0..6_usize, "[a-z]{4}"), 4..16);
    let mut runner = TestRunner::new(Config { cases: 12, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&(life, any::<u64>()), |(steps, seed)| {
        let events = events_of_a_life(&steps);
        let shuffled = shuffled(&events, seed);
        let ends: Vec<_> = [Engine::Sqlite, Engine::Postgres]
            .into_iter()
            .flat_map(|engine| [&events, &shuffled].map(|events| end_of(engine, events)))
            .collect();
        for other in &ends[1..] {
            prop_assert_eq!(&ends[0], other);
        }
        Ok(())
    });
    outcome.unwrap();
}

fn end_of(engine: Engine, events: &[Bytes]) -> End {
    block_on(async {
        let database = migrated(engine).await;
        let db = database.open();
        let inbox = inbox(&db);
        // Some together, some alone, as they come.
        for few in events.chunks(5) {
            let answers = join_all(few.iter().map(|event| take(&inbox, event))).await;
            assert!(answers.iter().all(Result::is_ok), "{answers:?}");
        }
        let end = end(&db, "cus_1").await;
        db.close().await;
        end
    })
}

fn events_of_a_life(steps: &[(i64, usize, String)]) -> Vec<Bytes> {
    let (mut second, mut status, mut quantity) = (0, "active", 1);
    let mut events = vec![event("0", "customer.subscription.created", 0, subscription("cus_1", status, quantity))];
    for (n, (pause, what, id)) in steps.iter().enumerate() {
        second += pause / 2;
        let (id, before) = (format!("{id}{n}"), (status, quantity));
        match what {
            0 => status = "active",
            1 => status = "past_due",
            2 => quantity += 1,
            3 => quantity = 1,
            _ => events.push(paid(&format!("{id}p"), "cus_1", second, &format!("in_{}", n % 3))),
        }
        if (status, quantity) != before {
            let mut event: Value = serde_json::from_slice(&updated(&id, "cus_1", second, status, quantity)).unwrap();
            let items = subscription("cus_1", before.0, before.1)["items"].clone();
            event["data"]["previous_attributes"] = json!({ "status": before.0, "items": items });
            events.push(serde_json::to_vec(&event).unwrap().into());
        }
    }
    events
}

/// Each event twice, in an order that `seed` decides.
fn shuffled(events: &[Bytes], seed: u64) -> Vec<Bytes> {
    let rng = Rng::seeded(seed);
    let mut drawn: Vec<_> = events.iter().chain(events).map(|event| (rng.bytes::<8>(), event.clone())).collect();
    drawn.sort_by_key(|(draw, _)| *draw);
    drawn.into_iter().map(|(_, event)| event).collect()
}
