//! Rows that somebody else has locked.

use std::collections::BTreeSet;

use super::records::{Specimen, keys, specimen, with_table};
use super::*;
use crate::tx::{Lock, Tx};

async fn made(db: &Db, ids: &[&str]) {
    let rows: Vec<_> = ids.iter().map(|id| specimen(id)).collect();
    let mut tx = db.write().await.unwrap();
    tx.insert(&rows.iter().collect::<Vec<_>>()).await.unwrap();
    tx.commit().await.unwrap();
}

async fn locked(tx: &mut Tx, ids: &[&str]) -> BTreeSet<String> {
    let rows: Vec<_> = ids.iter().map(|id| specimen(id)).collect();
    tx.locked_by_others(&rows.iter().collect::<Vec<_>>()).await.unwrap()
}

#[test]
fn the_inbox_does_not_wait_for_a_row_that_stays_locked() {
    on(Engine::Postgres, async |db| {
        with_table(&db).await;
        made(&db, &["a"]).await;
        let mut other = db.write().await.unwrap();
        other.load::<Specimen>("id", &keys(&["a"]), Lock::ForUpdate).await.unwrap();
        let mut tx = db.inbox().await.unwrap();
        let failure = tx.load::<Specimen>("id", &keys(&["a"]), Lock::ForUpdate).await.unwrap_err();
        assert_eq!(failure, DbError::Locked { code: "55P03".to_owned() });
        assert!(failure.is_transient());
        other.commit().await.unwrap();
    });
}

#[test]
fn what_somebody_else_has_locked_is_told_from_what_is_free() {
    on(Engine::Postgres, async |db| {
        with_table(&db).await;
        made(&db, &["free", "locked"]).await;
        let mut other = db.write().await.unwrap();
        other.load::<Specimen>("id", &keys(&["locked"]), Lock::ForUpdate).await.unwrap();
        other.load_or_insert(&[&specimen("being made"), &specimen("being made too")]).await.unwrap();
        let ids = ["being made", "being made too", "free", "locked", "new"];
        let mut tx = db.inbox().await.unwrap();
        assert_eq!(locked(&mut tx, &ids).await, keys(&["being made", "being made too", "locked"]));
        // What is free is ours from here on, and the transaction works on.
        assert_eq!(locked(&mut other, &["free", "new"]).await, keys(&["free"]));
        tx.upsert(&[&Specimen { amount: 5, ..specimen("free") }]).await.unwrap();
        tx.commit().await.unwrap();
        other.commit().await.unwrap();

        let mut tx = db.inbox().await.unwrap();
        assert_eq!(locked(&mut tx, &ids).await, keys(&[]));
        let there: Vec<Specimen> = tx.load("id", &keys(&ids), Lock::None).await.unwrap();
        let there: Vec<_> = there.iter().map(|row| (row.id.as_str(), row.amount)).collect();
        assert_eq!(there, [("being made", 2900), ("being made too", 2900), ("free", 5), ("locked", 2900)]);
    });
}

#[test]
fn with_one_writer_at_a_time_nothing_is_locked_by_others() {
    on(Engine::Sqlite, async |db| {
        with_table(&db).await;
        made(&db, &["a"]).await;
        let mut tx = db.inbox().await.unwrap();
        assert_eq!(locked(&mut tx, &["a", "b"]).await, keys(&[]));
    });
}

#[test]
fn a_replica_that_hangs_in_a_transaction_loses_its_locks() {
    on(Engine::Postgres, async |db| {
        with_table(&db).await;
        made(&db, &["a"]).await;
        for for_inbox in [true, false] {
            let mut hanging = if for_inbox { db.inbox().await.unwrap() } else { db.write().await.unwrap() };
            hanging.load::<Specimen>("id", &keys(&["a"]), Lock::ForUpdate).await.unwrap();
            // Waits for less than five seconds, as every transaction does that is not the inbox's.
            let mut tx = db.write().await.unwrap();
            let rows: Vec<Specimen> = tx.load("id", &keys(&["a"]), Lock::ForUpdate).await.unwrap();
            assert_eq!(rows.len(), 1);
            assert!(hanging.commit().await.is_err());
        }
    });
}
