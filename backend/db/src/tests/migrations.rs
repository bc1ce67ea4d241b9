//! The schema's versions on real databases.

use super::*;
use crate::SchemaProblem;
use crate::testing::block_on;

async fn versions(db: &Db) -> i64 {
    let mut tx = db.read().await.unwrap();
    let (count,): (i64,) = tx.sql("SELECT count(*) FROM schema_migrations").one().await.unwrap();
    count
}

#[test]
fn a_new_database_is_not_ready_until_it_is_migrated() {
    block_on(async {
        for engine in [Engine::Sqlite, Engine::Postgres] {
            let database = Database::empty(engine, &MIGRATIONS).await;
            let db = database.open();
            drop(db.write().await.unwrap()); // makes the file
            assert_eq!(db.ready().await, Err(DbError::Schema(SchemaProblem::Behind { missing: 1 })));
            db.migrate().await.unwrap();
            assert_eq!(db.ready().await, Ok(()));
            let applied = versions(&db).await;
            db.migrate().await.unwrap();
            assert_eq!(versions(&db).await, applied);
            db.close().await;
        }
    });
}

#[test]
fn several_replicas_that_migrate_at_once_do_it_once() {
    block_on(async {
        for engine in [Engine::Sqlite, Engine::Postgres] {
            let database = Database::empty(engine, &MIGRATIONS).await;
            let replicas: Vec<_> = (0..5).map(|_| database.open()).collect();
            let migrating: Vec<_> =
                replicas.iter().cloned().map(|db| tokio::spawn(async move { db.migrate().await })).collect();
            for migrated in migrating {
                assert_eq!(migrated.await.unwrap(), Ok(()));
            }
            for db in &replicas {
                assert_eq!(db.ready().await, Ok(()));
                db.close().await;
            }
        }
    });
}

#[test]
fn a_program_refuses_a_newer_database_at_its_start_and_works_on_when_it_becomes_newer() {
    on_each_engine!(async |running: Db| {
        running.migrate().await.unwrap();
        let mut tx = running.write().await.unwrap();
        tx.sql("INSERT INTO schema_migrations (version, name, checksum) VALUES (999, 'of tomorrow', 'x')")
            .run()
            .await
            .unwrap();
        tx.commit().await.unwrap();
        assert_eq!(running.ready().await, Ok(()));

        let newer = DbError::Schema(SchemaProblem::Newer { version: 999 });
        let starting = Db::open(running.url(), &MIGRATIONS).unwrap();
        assert_eq!(starting.migrate().await, Err(newer.clone()));
        assert_eq!(starting.ready().await, Err(newer));
        starting.close().await;
    });
}

#[test]
fn an_edited_migration_is_refused() {
    on_each_engine!(async |db: Db| {
        let mut tx = db.write().await.unwrap();
        tx.sql("UPDATE schema_migrations SET checksum = 'x' WHERE version = 2").run().await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(db.migrate().await, Err(DbError::Schema(SchemaProblem::Changed { version: 2 })));
    });
}
