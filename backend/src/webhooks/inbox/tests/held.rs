//! Rows that somebody else holds, as a replica does that hangs in the middle of a transaction. SQLite has no such thing:
//! there one writes at a time.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;
use tollgate_db::{Db, Engine, Tx};
use tollgate_domain::apply::{self, Touched};

use super::*;

/// Somebody who holds a row of one kind.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Holds {
    /// A customer that is known.
    Customer,
    /// A customer that it has made and not committed.
    NewCustomer,
    /// The very event, which it has claimed and not committed.
    Event,
}

impl Holds {
    async fn hold(self, db: &Db, app: &App) -> Tx {
        let mut holder = db.write().await.unwrap();
        // As a session from outside does, which nobody ends. PostgreSQL's alone, so no text that both engines prepare.
        let for_good = "SET LOCAL idle_in_transaction_session_timeout = 0";
        holder.sql(for_good).run().await.unwrap();
        match self {
            Self::Customer | Self::NewCustomer => {
                let touched = Touched::customer("cus_held");
                drop(apply::load(&mut holder, &app.settings, app.clock.now(), &touched).await.unwrap());
            }
            Self::Event => {
                let claim = holder.sql(
                    "INSERT INTO webhook_events (id, type, status, attempts, received_at, payload)
                     VALUES ('evt_held', 'invoice.paid', 'processed', 1, $1, $2)",
                );
                claim.bind(app.clock.now()).bind(Bytes::from("{}")).run().await.unwrap();
            }
        }
        holder
    }
}

#[test]
fn events_of_others_go_on_while_somebody_holds_a_row() {
    for holds in [Holds::Customer, Holds::NewCustomer, Holds::Event] {
        block_on(go_on_while_held(holds));
    }
}

async fn go_on_while_held(holds: Holds) {
    let database = migrated(Engine::Postgres).await;
    let db = database.open();
    let clock = clock();
    let app = app(db.clone(), clock.clone());
    let inbox = Inbox::open(app.clone());
    if holds == Holds::Customer {
        assert_eq!(take(&inbox, &updated("0", "cus_held", 0, "active", 1)).await, Ok(Outcome::Processed));
    }
    let holder = holds.hold(&db, &app).await;

    let held = tokio::spawn({
        let (inbox, event) = (inbox.clone(), updated("held", "cus_held", 1, "active", 2));
        async move { take(&inbox, &event).await }
    });
    let others: Vec<_> = (0..1000).map(|n| updated(&format!("{n}_"), &format!("cus_{n}"), 0, "active", 1)).collect();
    let timed = async |event| {
        let begun = Instant::now();
        (take(&inbox, event).await, begun.elapsed())
    };
    let mut times = Vec::new();
    for few in others.chunks(16) {
        for (answer, took) in join_all(few.iter().map(timed)).await {
            assert_eq!(answer, Ok(Outcome::Processed), "{holds:?}");
            times.push(took);
        }
    }
    times.sort_unstable();
    let (median, p99, slowest) = (times[times.len() / 2], times[times.len() * 99 / 100], times[times.len() - 1]);
    println!("{holds:?}: {} events of others: median {median:?}, p99 {p99:?}, slowest {slowest:?}", times.len());

    // Its sender hears soon that it has to wait; where even its own row is held, that it is not stored.
    let answer = held.await.unwrap();
    if holds == Holds::Event {
        assert_eq!(answer, Err(IntakeError::NotStored));
    } else {
        assert_eq!(answer, Err(IntakeError::RetryScheduled), "{holds:?}");
        let known = known(&db, "evt_held").await;
        assert_eq!((known.status.as_str(), known.attempts), ("failed", 0), "waiting is no attempt of the event");
    }

    drop(holder);
    clock.advance(Duration::from_secs(5));
    if holds == Holds::Event {
        // Its sender brings it again.
        let again = updated("held", "cus_held", 1, "active", 2);
        while take(&inbox, &again).await != Ok(Outcome::Processed) {}
    } else {
        while known(&db, "evt_held").await.status != "processed" {
            retry::run(&inbox).await.unwrap();
            clock.advance(Duration::from_secs(5));
        }
    }
    assert_eq!(end(&db, "cus_held").await.subscriptions[0].quantity, Some(2));
    db.close().await;
}

#[test]
fn held_events_in_one_request_with_others_hold_up_none_of_them() {
    block_on(async {
        let database = migrated(Engine::Postgres).await;
        let db = database.open();
        let app = app(db.clone(), clock());
        let inbox = Inbox::open(app.clone());
        let holder = Holds::NewCustomer.hold(&db, &app).await;
        let mut events: Vec<_> =
            (0..100).map(|n| updated(&format!("{n}"), &format!("cus_{n}"), 0, "active", 1)).collect();
        events.insert(50, updated("held", "cus_held", 1, "active", 2));
        let request_id = RequestId::parse("req_of_a_test").unwrap();
        let answers = inbox.take_together(events, &request_id).await;
        for (n, answer) in answers.into_iter().enumerate() {
            match answer {
                Ok((_, outcome)) => assert_eq!(outcome, Outcome::Processed),
                Err((id, failure)) => {
                    assert_eq!((n, id.as_deref()), (50, Some("evt_held")));
                    assert_eq!(failure, IntakeError::RetryScheduled);
                }
            }
        }
        drop(holder);
        db.close().await;
    });
}
