//! What was dead-lettered before there was a queue.

use serde_json::json;
use tollgate_db::testing::{Database, block_on};
use tollgate_db::{Db, Engine, Migrations};
use tollgate_shared::clock::from_unix;

use crate::schema::MIGRATIONS;
use crate::testing::{START, TestApp};

/// The version that made the queue.
const QUEUE: i64 = 75;

#[test]
fn what_was_dead_lettered_before_is_in_the_queue() {
    block_on(async {
        let known = MIGRATIONS.sqlite.iter().take_while(|migration| migration.version < QUEUE).count();
        let before = Migrations { sqlite: &MIGRATIONS.sqlite[..known], postgres: &MIGRATIONS.postgres[..known] };
        let before: &'static Migrations = Box::leak(Box::new(before));
        for engine in [Engine::Sqlite, Engine::Postgres] {
            let database = Database::empty(engine, before).await;
            let old = database.open();
            old.migrate().await.unwrap();
            let mut tx = old.write().await.unwrap();
            for (id, status) in [("evt_1", "dead_lettered"), ("evt_2", "processed"), ("evt_3", "failed")] {
                let insert = tx.sql(
                    "INSERT INTO webhook_events
                         (id, type, customer_id, status, reason, attempts, received_at, processed_at, payload)
                     VALUES ($1, 'invoice.paid', 'cus_1', $2, 'unreadable', 2, $3, $3, $4)",
                );
                let at = from_unix(START).unwrap();
                insert.bind(id).bind(status).bind(at).bind(b"{}".to_vec()).run().await.unwrap();
            }
            tx.commit().await.unwrap();
            old.close().await;

            let db = Db::open(old.url(), &MIGRATIONS).unwrap();
            db.migrate().await.unwrap();
            let app = TestApp::on(db.clone()).await;
            let letters = app.dead_letters("status=open").await;
            let [letter] = &letters[..] else { panic!("{letters:?}") };
            assert!(letter["id"].as_str().unwrap().starts_with("dl_"));
            assert_eq!((&letter["eventId"], &letter["reason"]), (&json!("evt_1"), &json!("unreadable")));
            assert_eq!((&letter["stripeCustomerId"], &letter["attempts"]), (&json!("cus_1"), &json!(2)));
            db.close().await;
        }
    });
}
