//! Transactions: how they end, what they see, what they wait for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::records::{Specimen, keys, specimen, with_table};
use super::*;
use crate::testing::wait_until;
use crate::{Faults, Lock, Moment, Operation, Tx};

async fn count(tx: &mut Tx) -> i64 {
    let (count,) = tx.sql("SELECT count(*) FROM specimens").one::<(i64,)>().await.unwrap();
    count
}

async fn stored(db: &Db) -> i64 {
    count(&mut db.read().await.unwrap()).await
}

async fn insert(tx: &mut Tx, id: &str) -> Result<Vec<String>, DbError> {
    tx.insert(&[&specimen(id)]).await
}

#[test]
fn what_is_committed_stays_and_what_is_dropped_does_not() {
    on_each_engine!(async |db: Db| {
        with_table(&db).await;
        let mut tx = db.write().await.unwrap();
        insert(&mut tx, "a").await.unwrap();
        tx.commit().await.unwrap();
        for for_inbox in [false, true] {
            let mut tx = if for_inbox { db.inbox().await.unwrap() } else { db.write().await.unwrap() };
            insert(&mut tx, "b").await.unwrap();
            assert_eq!(count(&mut tx).await, 2);
            drop(tx);
            assert_eq!(stored(&db).await, 1);
        }
    });
}

#[test]
fn a_read_is_all_of_one_moment_and_writes_nothing() {
    on_each_engine!(async |db: Db| {
        with_table(&db).await;
        let mut read = db.read().await.unwrap();
        assert_eq!(count(&mut read).await, 0);
        let mut write = db.write().await.unwrap();
        insert(&mut write, "a").await.unwrap();
        write.commit().await.unwrap();
        assert_eq!(count(&mut read).await, 0);
        drop(read);
        let mut read = db.read().await.unwrap();
        assert_eq!(count(&mut read).await, 1);
        assert!(insert(&mut read, "b").await.is_err());
    });
}

#[test]
fn a_single_statement_says_its_rows() {
    on_each_engine!(async |db: Db| {
        with_table(&db).await;
        let mut tx = db.write().await.unwrap();
        for id in ["a", "b", "c"] {
            insert(&mut tx, id).await.unwrap();
        }
        let touched = tx.sql("UPDATE specimens SET amount = $1 WHERE id < $2").bind(5_i64).bind("c").run().await;
        assert_eq!(touched, Ok(2));
        let returned: (String, i64) = tx
            .sql("UPDATE specimens SET quantity = NULL, livemode = $2 WHERE id = $1 RETURNING id, amount")
            .bind("a")
            .bind(None::<bool>)
            .one()
            .await
            .unwrap();
        assert_eq!(returned, ("a".to_owned(), 5));
        let absent: Option<(String,)> =
            tx.sql("SELECT id FROM specimens WHERE id = $1").bind("x").optional().await.unwrap();
        assert_eq!(absent, None);
        let none = tx.sql("SELECT id FROM specimens WHERE id = $1").bind("x").one::<(String,)>().await;
        assert_eq!(none.unwrap_err().class(), "database_error");
        // A row that is not there is a failure of the caller's, not of the transaction.
        assert_eq!(count(&mut tx).await, 3);
    });
}

#[test]
fn after_a_statement_that_failed_nothing_more_is_done_and_nothing_is_committed() {
    on_each_engine!(async |db: Db| {
        with_table(&db).await;
        let mut tx = db.write().await.unwrap();
        insert(&mut tx, "a").await.unwrap();
        let failure = tx.sql("UPDATE specimens SET id = NULL").run().await.unwrap_err();
        assert_eq!(failure.class(), "database_constraint");
        assert_eq!(insert(&mut tx, "b").await, Err(failure.clone()));
        assert_eq!(tx.commit().await, Err(failure));
        assert_eq!(stored(&db).await, 0);
        let mut tx = db.write().await.unwrap();
        insert(&mut tx, "c").await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(stored(&db).await, 1);
    });
}

#[test]
fn a_statement_that_was_abandoned_does_not_disturb_the_next_transaction() {
    on_each_engine!(async |db: Db| {
        with_table(&db).await;
        let mut tx = db.write().await.unwrap();
        insert(&mut tx, "a").await.unwrap();
        let slow = if tx.engine() == Engine::Postgres {
            "SELECT 1::bigint FROM pg_sleep(1)"
        } else {
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500000) SELECT max(i) FROM n"
        };
        let abandoned = timeout(Duration::from_millis(20), tx.sql(slow).all::<(i64,)>()).await;
        assert!(abandoned.is_err());
        drop(tx);
        let mut tx = db.write().await.unwrap();
        assert_eq!(count(&mut tx).await, 0);
        insert(&mut tx, "b").await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(stored(&db).await, 1);
    });
}

#[test]
fn a_row_that_is_loaded_for_update_is_waited_for() {
    on(Engine::Postgres, async |db| {
        with_table(&db).await;
        let mut first = db.write().await.unwrap();
        insert(&mut first, "a").await.unwrap();
        first.commit().await.unwrap();

        let mut first = db.write().await.unwrap();
        let mut row: Specimen = first.load("id", &keys(&["a"]), Lock::ForUpdate).await.unwrap().remove(0);
        let others = db.clone();
        let second = tokio::spawn(async move {
            let mut second = others.write().await.unwrap();
            second.load::<Specimen>("id", &keys(&["a"]), Lock::ForUpdate).await.unwrap().remove(0).amount
        });
        waits_for_a_lock(&db).await;
        assert!(!second.is_finished());
        row.amount = 77;
        first.upsert(&[&row]).await.unwrap();
        first.commit().await.unwrap();
        assert_eq!(second.await.unwrap(), 77);
    });
}

#[test]
fn of_two_that_insert_one_row_at_once_the_second_waits_and_is_given_that_of_the_first() {
    on(Engine::Postgres, async |db| {
        with_table(&db).await;
        let mut first = db.write().await.unwrap();
        first.load_or_insert(&[&Specimen { amount: 77, ..specimen("a") }]).await.unwrap();
        let others = db.clone();
        let second = tokio::spawn(async move {
            let mut second = others.write().await.unwrap();
            let rows = second.load_or_insert(&[&specimen("a"), &specimen("b")]).await.unwrap();
            rows.into_iter().map(|row| (row.id, row.amount)).collect::<BTreeMap<_, _>>()
        });
        waits_for_a_lock(&db).await;
        assert!(!second.is_finished());
        first.commit().await.unwrap();
        assert_eq!(second.await.unwrap(), [("a".to_owned(), 77), ("b".to_owned(), 2900)].into());
    });
}

#[test]
fn of_two_that_wait_for_each_other_one_is_told_of_a_conflict() {
    on(Engine::Postgres, async |db| {
        with_table(&db).await;
        let mut tx = db.write().await.unwrap();
        insert(&mut tx, "a").await.unwrap();
        insert(&mut tx, "b").await.unwrap();
        tx.commit().await.unwrap();
        let lock = async |tx: &mut Tx, id: &str| tx.load::<Specimen>("id", &keys(&[id]), Lock::ForUpdate).await;
        let (mut first, mut second) = (db.write().await.unwrap(), db.write().await.unwrap());
        lock(&mut first, "a").await.unwrap();
        lock(&mut second, "b").await.unwrap();
        let outcomes = tokio::join!(async { lock(&mut first, "b").await.inspect_err(|_| drop(first)) }, async {
            lock(&mut second, "a").await.inspect_err(|_| drop(second))
        },);
        let failures: Vec<_> = [outcomes.0, outcomes.1].into_iter().filter_map(Result::err).collect();
        assert_eq!(failures, [DbError::Conflict { code: "40P01".to_owned() }]);
    });
}

#[test]
fn a_connection_that_was_cut_while_it_lay_idle_is_replaced_unseen() {
    on(Engine::Postgres, async |db| {
        with_table(&db).await;
        let several = [db.read().await.unwrap(), db.read().await.unwrap(), db.write().await.unwrap()];
        drop(several);
        drop(db.inbox().await.unwrap());
        wait_until("every connection is idle", async || {
            let (open, idle) = db.connections();
            open >= 4 && open as usize == idle
        })
        .await;
        cut_all_others(&db).await;
        for _ in 0..3 {
            let mut tx = db.write().await.unwrap();
            count(&mut tx).await;
            tx.commit().await.unwrap();
        }
        assert_eq!(stored(&db).await, 0);
        drop(db.inbox().await.unwrap());
    });
}

#[test]
fn a_transaction_whose_connection_was_cut_is_unavailable_and_the_next_one_works() {
    on(Engine::Postgres, async |db| {
        with_table(&db).await;
        let mut tx = db.write().await.unwrap();
        insert(&mut tx, "a").await.unwrap();
        cut_all_others(&db).await;
        let failure = insert(&mut tx, "b").await.unwrap_err();
        assert!(matches!(failure, DbError::Unavailable { .. }), "{failure:?}");
        assert_eq!(tx.commit().await, Err(failure));
        assert_eq!(stored(&db).await, 0);
    });
}

#[test]
fn a_statement_that_was_prepared_before_the_table_changed_is_a_conflict_once() {
    on(Engine::Postgres, async |db| {
        with_table(&db).await;
        let load = async || {
            let mut tx = db.inbox().await.unwrap();
            let loaded = tx.load::<Specimen>("id", &keys(&["a"]), Lock::ForUpdate).await;
            loaded.inspect(|_| drop(tx))
        };
        assert_eq!(load().await, Ok(vec![]));
        wait_until("the connection is idle", async || db.connections().1 == db.connections().0 as usize).await;
        let mut migration = db.write().await.unwrap();
        migration.batch("ALTER TABLE specimens ALTER COLUMN nick TYPE VARCHAR(100)").await.unwrap();
        migration.commit().await.unwrap();
        assert_eq!(load().await, Err(DbError::Conflict { code: "0A000".to_owned() }));
        assert_eq!(load().await, Ok(vec![]));
    });
}

#[test]
fn a_server_ends_by_itself_what_takes_too_long() {
    on(Engine::Postgres, async |db| {
        let limits = async |mut tx: Tx| {
            let sql =
                "SELECT current_setting('statement_timeout'), current_setting('idle_in_transaction_session_timeout'),
                              current_setting('lock_timeout'), current_setting('enable_seqscan'),
                              current_setting('transaction_isolation'), current_setting('transaction_read_only')";
            let limits: (String, String, String, String, String, String) = tx.sql(sql).one().await.unwrap();
            [limits.0, limits.1, limits.2, limits.3, limits.4, limits.5]
        };
        let read = limits(db.read().await.unwrap()).await;
        assert_eq!(read, ["10s", "15s", "0", "on", "repeatable read", "on"]);
        let compiles: (String,) = db.read().await.unwrap().sql("SELECT current_setting('jit')").one().await.unwrap();
        assert_eq!(compiles.0, "off");
        let write = limits(db.write().await.unwrap()).await;
        assert_eq!(write, ["10s", "3s", "5s", "on", "read committed", "off"]);
        let inbox = limits(db.inbox().await.unwrap()).await;
        assert_eq!(inbox, ["10s", "3s", "200ms", "off", "read committed", "off"]);
    });
}

/// Cuts every connection to this database but the one that asks.
async fn cut_all_others(db: &Db) {
    let administrator = Db::open(db.url(), &MIGRATIONS).unwrap();
    let mut tx = administrator.read().await.unwrap();
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
               WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'";
    let cut: Vec<(bool,)> = tx.sql(cut).all().await.unwrap();
    assert!(!cut.is_empty());
    drop(tx);
    administrator.close().await;
}

async fn waits_for_a_lock(db: &Db) {
    wait_until("somebody waits for a lock", async || {
        let mut tx = db.read().await.unwrap();
        let waiting = "SELECT count(*) FROM pg_stat_activity
                       WHERE datname = current_database() AND wait_event_type = 'Lock'";
        tx.sql(waiting).one::<(i64,)>().await.unwrap().0 > 0
    })
    .await;
}

/// What every counting test does: begin, three statements, commit.
async fn work(db: &Db) -> Result<(), DbError> {
    let mut tx = db.write().await?;
    insert(&mut tx, "a").await?;
    tx.upsert(&[&specimen("b")]).await?;
    tx.sql("UPDATE specimens SET amount = $1").bind(1_i64).run().await?;
    tx.load::<Specimen>("id", &keys(&["a"]), Lock::ForUpdate).await?;
    tx.commit().await
}

#[test]
fn both_engines_count_the_same_operations() {
    on_each_engine!(async |db: Db| {
        use Operation::{Begin, Commit, Statement};
        with_table(&db).await;
        let faults = Arc::new(Faults::default());
        work(&db.with_faults(Arc::clone(&faults))).await.unwrap();
        assert_eq!(faults.counted(), [Begin, Statement, Statement, Statement, Statement, Commit]);
    });
}

#[test]
fn each_operation_can_fail_in_turn_and_leaves_nothing_behind() {
    on_each_engine!(async |db: Db| {
        with_table(&db).await;
        let faults = Arc::new(Faults::default());
        let faulty = db.clone().with_faults(Arc::clone(&faults));
        let mut failed = 0;
        loop {
            let failure = DbError::Unavailable { reason: "a test said so".into() };
            faults.arm(failed + 1, Moment::Before, failure.clone());
            match work(&faulty).await {
                Err(said) => assert_eq!(said, failure),
                Ok(()) => break,
            }
            assert_eq!(stored(&db).await, 0, "after operation {failed}");
            failed += 1;
        }
        assert!(faults.is_armed());
        faults.disarm();
        assert_eq!((failed, stored(&db).await), (6, 2));
    });
}

#[test]
fn a_commit_whose_reply_is_lost_was_done() {
    on_each_engine!(async |db: Db| {
        with_table(&db).await;
        let faults = Arc::new(Faults::default());
        let failure = DbError::Unavailable { reason: "a test said so".into() };
        faults.arm(6, Moment::ReplyLost, failure.clone());
        assert_eq!(work(&db.clone().with_faults(Arc::clone(&faults))).await, Err(failure));
        assert!(!faults.is_armed());
        assert_eq!(stored(&db).await, 2);
    });
}

#[test]
fn only_upkeep_waits_for_no_disk() {
    on_each_engine!(async |db: Db| {
        let (setting, unsynced) = match db.engine() {
            Engine::Sqlite => ("SELECT CAST(synchronous AS TEXT) FROM pragma_synchronous", "1"),
            Engine::Postgres => ("SELECT current_setting('synchronous_commit')", "off"),
        };
        let of = async |mut tx: Tx| {
            let (setting,) = tx.sql(setting).one::<(String,)>().await.unwrap();
            tx.commit().await.unwrap();
            setting
        };
        let synced = of(db.read().await.unwrap()).await;
        for _ in 0..2 {
            assert_eq!(of(db.upkeep().await.unwrap()).await, unsynced);
            assert_eq!(of(db.write().await.unwrap()).await, synced);
            drop(db.upkeep().await.unwrap());
            assert_eq!(of(db.inbox().await.unwrap()).await, synced);
        }
    });
}

#[test]
fn what_stands_in_sqlites_log_is_written_back_at_ones_word() {
    on_each_engine!(async |db: Db| {
        with_table(&db).await;
        let size = || db.url().file().map(|file| file.metadata().unwrap().len());
        let before = size();
        let mut tx = db.upkeep().await.unwrap();
        for number in 0..100 {
            insert(&mut tx, &format!("{number}/{}", "x".repeat(1000))).await.unwrap();
        }
        tx.commit().await.unwrap();
        assert_eq!(size(), before, "it stands in the log");
        // Beside one that writes.
        let mut writing = db.write().await.unwrap();
        insert(&mut writing, "a").await.unwrap();
        assert_eq!(db.write_back().await, Ok(()));
        assert!(db.engine() == Engine::Postgres || size() > before);
        writing.commit().await.unwrap();
        assert_eq!(stored(&db).await, 101);
    });
}
