//! What somebody else commits beside an event, in a transaction that was open when the event came: an operator, a machine,
//! another replica with another event.

use tollgate_db::Tx;
use tollgate_db::testing::wait_until;
use tollgate_domain::apply::{self, Touched};
use tollgate_stripe::Event;

use super::*;

/// Hands `event` in while `other` is open, and commits that in the middle: on PostgreSQL as soon as the event waits for a
/// row that `other` holds (or is through, if it needs none), on SQLite when it waits for its turn.
async fn take_beside(db: &Db, inbox: &Inbox, other: Tx, event: Bytes) -> Result<Outcome, IntakeError> {
    let taking = tokio::spawn({
        let inbox = inbox.clone();
        async move { take(&inbox, &event).await }
    });
    if db.engine() == Engine::Postgres {
        wait_until("it waits for a row", async || taking.is_finished() || waits_for_a_lock(db).await).await;
    } else {
        tokio::task::yield_now().await;
    }
    other.commit().await.unwrap();
    taking.await.unwrap()
}

async fn waits_for_a_lock(db: &Db) -> bool {
    let mut tx = db.read().await.unwrap();
    let waiting = "SELECT count(*) FROM pg_stat_activity
                   WHERE datname = current_database() AND wait_event_type = 'Lock'";
    tx.sql(waiting).one::<(i64,)>().await.unwrap().0 > 0
}

async fn license(db: &Db) -> License {
    rows::<License>(db, "customer_id", "cus_1").await.pop().expect("the customer has a licence")
}

/// What the licence's log tells, by number.
async fn log(db: &Db, license: &License) -> BTreeMap<i64, String> {
    let told = rows::<LicenseEvent>(db, "license_id", &license.id).await;
    told.into_iter().map(|event| (event.seq, event.r#type)).collect()
}

#[test]
fn what_is_revoked_beside_an_event_stays_revoked() {
    on_each_engine!(async |db| {
        let inbox = inbox(&db);
        for (n, status) in ["active", "paused"].into_iter().enumerate() {
            let event = updated(&format!("{n}"), "cus_1", n as i64, status, 1);
            assert_eq!(take(&inbox, &event).await, Ok(Outcome::Processed));
        }
        assert_eq!(license(&db).await.status, "suspended");

        let revoked_at = from_unix(START + 10);
        let mut operator = db.write().await.unwrap();
        let revoke = operator.sql("UPDATE licenses SET status = 'revoked', revoked_at = $2 WHERE customer_id = $1");
        assert_eq!(revoke.bind("cus_1").bind(revoked_at).run().await.unwrap(), 1);
        // It would make the licence active again.
        let resumed = updated("resumed", "cus_1", 2, "active", 2);
        assert_eq!(take_beside(&db, &inbox, operator, resumed).await, Ok(Outcome::Processed));

        let license = license(&db).await;
        assert_eq!((license.status.as_str(), license.revoked_at), ("revoked", revoked_at));
        let told = log(&db, &license).await;
        assert!(!told.values().any(|told| told == "license_reinstated"), "{told:?}");
        assert_eq!(end(&db, "cus_1").await.subscriptions[0].quantity, Some(2), "and the event is in effect");
    });
}

#[test]
fn what_a_machine_logs_beside_an_event_keeps_its_number() {
    on_each_engine!(async |db| {
        let inbox = inbox(&db);
        assert_eq!(take(&inbox, &updated("1", "cus_1", 0, "active", 1)).await, Ok(Outcome::Processed));
        let license = license(&db).await;
        let before = log(&db, &license).await;

        let mut machine = db.write().await.unwrap();
        let next =
            machine.sql("UPDATE license_logs SET last_seq = last_seq + 1 WHERE license_id = $1 RETURNING last_seq");
        let (seq,): (i64,) = next.bind(license.id.as_str()).one().await.unwrap();
        let append = machine.sql(
            "INSERT INTO license_events (license_id, seq, id, type, data, created_at)
             VALUES ($1, $2, 'sev_of_the_machine', 'machine_activated', '{}', $3)",
        );
        append.bind(license.id.as_str()).bind(seq).bind(from_unix(START)).run().await.unwrap();
        let paused = updated("2", "cus_1", 1, "paused", 1);
        assert_eq!(take_beside(&db, &inbox, machine, paused).await, Ok(Outcome::Processed));

        let told = log(&db, &license).await;
        assert_eq!(told.keys().copied().collect::<Vec<_>>(), (1..=told.len() as i64).collect::<Vec<_>>());
        assert_eq!(told.get(&(before.len() as i64 + 1)).map(String::as_str), Some("machine_activated"));
        assert!(told.values().any(|told| told == "license_suspended"), "{told:?}");
        let log = &rows::<LicenseLog>(&db, "license_id", &license.id).await[0];
        assert_eq!(log.last_seq, told.len() as i64);
    });
}

const SOLD_FOR_GOOD: &str = r#"
default_tier = "free"

[[plan]]
id = "lifetime"
tier = "gold"
stripe_price = "price_lifetime"
interval = "once"
"#;

/// What a purchase by an invoice is told by, and that all of it was given back. Only the invoice names the customer, and
/// only `invoice_payment.paid` says which intent paid it.
fn a_purchase_and_its_refund() -> [Bytes; 3] {
    let lines = json!([{
        "id": "il_1", "amount": 9900, "quantity": 1,
        "parent": { "type": "invoice_item_details", "invoice_item_details": { "invoice_item": "ii_1", "proration": false } },
        "pricing": { "price_details": { "price": "price_lifetime", "product": "prod_x" } },
    }]);
    let invoice = json!({
        "id": "in_1", "object": "invoice", "customer": "cus_1", "status": "paid", "currency": "usd", "created": START,
        "amount_due": 9900, "amount_paid": 9900, "status_transitions": { "paid_at": START },
        "lines": { "object": "list", "data": lines },
    });
    let link = json!({
        "id": "inpay_1", "object": "invoice_payment", "invoice": "in_1", "status": "paid",
        "payment": { "payment_intent": "pi_1", "type": "payment_intent" },
    });
    let refund = json!({
        "id": "re_1", "object": "refund", "charge": "ch_1", "payment_intent": "pi_1", "amount": 9900,
        "currency": "usd", "status": "succeeded", "created": START + 60,
    });
    [
        event("bought", "invoice.paid", 0, invoice),
        event("linked", "invoice_payment.paid", 1, link),
        event("refunded", "refund.created", 60, refund),
    ]
}

/// What another replica has done for `event` and not committed yet.
async fn applied_and_open(app: &App, event: &Bytes) -> Tx {
    let observation = Event::parse(event.clone()).unwrap().observation().unwrap().expect("it has an effect");
    let mut touched = Touched::default();
    touched.add(&observation);
    let mut tx = app.begin_write().await.unwrap();
    let mut work = apply::load(&mut tx, &app.settings, app.clock.now(), &touched).await.unwrap();
    apply::apply(&mut work, &app.settings, &observation);
    work.release_savepoint();
    work.write(&mut tx).await.unwrap();
    tx
}

#[test]
fn a_refund_counts_whichever_events_of_its_purchase_come_beside_it() {
    // The first is in effect; the second is another replica's, and the third comes while that is open.
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        on_each_engine!(async |db| {
            let config = testing::config_with_plans(SOLD_FOR_GOOD, &[]);
            let app = App::new(Arc::new(config), db.clone(), clock(), Rng::system());
            let inbox = Inbox::open(app.clone());
            let events = order.map(|index| a_purchase_and_its_refund()[index].clone());
            assert_eq!(take(&inbox, &events[0]).await, Ok(Outcome::Processed));
            let other = applied_and_open(&app, &events[1]).await;
            assert_eq!(take_beside(&db, &inbox, other, events[2].clone()).await, Ok(Outcome::Processed));
            let end = end(&db, "cus_1").await;
            let tier_and_licence = (end.customer.tier.as_str(), end.licenses[0].status.as_str());
            assert_eq!(tier_and_licence, ("free", "expired"), "{order:?}");
        });
    }
}
