//! What was queued by releases that sent nothing.

use tollgate_db::testing::{Database, block_on};
use tollgate_db::{Db, Engine, Migrations};
use tollgate_domain::notifications::sending::Queue;
use tollgate_shared::clock::from_unix;

use super::sending::{app_with_mail, mail_server, stand, stands};
use crate::notifications::sending::send_due;
use crate::schema::MIGRATIONS;
use crate::testing::START;

/// The version since which messages are sent.
const SENT_SINCE: i64 = 113;

#[test]
fn what_was_queued_before_mails_were_sent_is_not_mailed() {
    block_on(async {
        let known = MIGRATIONS.sqlite.iter().take_while(|migration| migration.version < SENT_SINCE).count();
        let before = Migrations { sqlite: &MIGRATIONS.sqlite[..known], postgres: &MIGRATIONS.postgres[..known] };
        let before: &'static Migrations = Box::leak(Box::new(before));
        for engine in [Engine::Sqlite, Engine::Postgres] {
            let database = Database::empty(engine, before).await;
            let old = database.open();
            old.migrate().await.unwrap();
            let mut tx = old.write().await.unwrap();
            let insert = tx.sql(
                "INSERT INTO messages
                     (id, once_key, template, channel, queue, user_id, data, status, attempts, created_at, next_attempt_at)
                 VALUES ('msg_1', 'pod_payout:pay_1:user_1:email', 'pod_payout', 'email', 'email', 'user_1', '{}', 'queued', 0,
                         $1, $1)",
            );
            insert.bind(from_unix(START).unwrap()).run().await.unwrap();
            tx.commit().await.unwrap();
            old.close().await;

            let db = Db::open(old.url(), &MIGRATIONS).unwrap();
            db.migrate().await.unwrap();
            let (_server, url) = mail_server().await;
            let app = app_with_mail(db.clone(), &url).await;
            assert_eq!(send_due(&app.inner, Queue::Email).await, Ok(0));
            assert_eq!(stands(&app).await, [stand("email", "skipped", Some("not_configured"))]);
            db.close().await;
        }
    });
}
