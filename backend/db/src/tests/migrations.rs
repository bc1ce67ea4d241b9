//! The schema's versions on real databases.

use tollgate_shared::clock::from_unix;

use super::*;
use crate::error::SchemaProblem;
use crate::testing::{block_on, wait_until};

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
        assert_eq!(running.ready().await, Ok(()));
        let mut tx = running.write().await.unwrap();
        tx.sql("INSERT INTO schema_migrations (version, name, checksum) VALUES (999, 'of tomorrow', 'x')")
            .run()
            .await
            .unwrap();
        tx.commit().await.unwrap();
        assert_eq!(running.ready().await, Ok(()));
        assert!(running.inbox().await.is_ok());

        let newer = || DbError::Schema(SchemaProblem::Newer { version: 999 });
        let starting = Db::open(running.url(), &MIGRATIONS).unwrap();
        assert_eq!(starting.read().await.map(drop), Err(newer()));
        assert_eq!(starting.read_list().await.map(drop), Err(newer()));
        assert_eq!(starting.write().await.map(drop), Err(newer()));
        assert_eq!(starting.inbox().await.map(drop), Err(newer()));
        assert_eq!(starting.inbox_probe().await.map(drop), Err(newer()));
        assert_eq!(starting.ready().await, Err(newer()));
        assert_eq!(starting.migrate().await, Err(newer()));
        assert_eq!(starting.inbox().await.map(drop), Err(newer()));

        // The newer version is taken back, as by a backup.
        let mut tx = running.write().await.unwrap();
        tx.sql("DELETE FROM schema_migrations WHERE version = 999").run().await.unwrap();
        tx.commit().await.unwrap();
        assert!(starting.inbox().await.is_ok());
        assert_eq!(starting.ready().await, Ok(()));
        starting.close().await;
    });
}

/// The next version: an index that a table full of rows gets while others write to it.
static NEXT: Migrations = Migrations {
    sqlite: &[
        MIGRATIONS.sqlite[0],
        MIGRATIONS.sqlite[1],
        Migration {
            version: 3,
            name: "one of a kind",
            sql: "CREATE UNIQUE INDEX letters_of_a_kind ON letters (kind, at);",
        },
    ],
    postgres: &[
        MIGRATIONS.postgres[0],
        MIGRATIONS.postgres[1],
        Migration {
            version: 3,
            name: "one of a kind",
            sql: "-- outside a transaction
-- A comment; of the index.
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS letters_of_a_kind
    ON letters (kind, at);
DROP INDEX CONCURRENTLY IF EXISTS of_former_times;
",
        },
    ],
};

const AT: &str = "INSERT INTO letters (id, kind, at) VALUES ($1, 'long', $2)";

async fn write_letter(db: &Db, id: &str, second: i64) {
    let mut tx = db.write().await.unwrap();
    tx.sql(AT).bind(id).bind(from_unix(second).unwrap()).run().await.unwrap();
    tx.commit().await.unwrap();
}

async fn index_is_good(db: &Db) -> bool {
    let sql = match db.engine() {
        Engine::Sqlite => "SELECT count(*) FROM sqlite_schema WHERE name = 'letters_of_a_kind'",
        Engine::Postgres => {
            "SELECT count(*) FROM pg_index WHERE indexrelid = 'letters_of_a_kind'::regclass AND indisvalid"
        }
    };
    db.read().await.unwrap().sql(sql).one::<(i64,)>().await.unwrap() == (1,)
}

#[test]
fn a_database_with_rows_is_migrated_by_the_next_version() {
    on_each_engine!(async |old: Db| {
        write_letter(&old, "a", 1).await;
        write_letter(&old, "b", 2).await;
        let next = Db::open(old.url(), &NEXT).unwrap();
        assert_eq!(next.ready().await, Err(DbError::Schema(SchemaProblem::Behind { missing: 3 })));
        next.migrate().await.unwrap();
        assert_eq!((next.ready().await, versions(&next).await), (Ok(()), 3));
        assert!(index_is_good(&next).await);
        write_letter(&old, "c", 3).await;
        next.close().await;
    });
}

#[test]
fn an_index_is_built_while_others_write() {
    on(Engine::Postgres, async |old| {
        write_letter(&old, "a", 1).await;
        let mut pending = old.write().await.unwrap();
        pending.sql(AT).bind("b").bind(from_unix(2).unwrap()).run().await.unwrap();
        let next = Db::open(old.url(), &NEXT).unwrap();
        let replicas: Vec<_> = (0..3).map(|_| Db::open(old.url(), &NEXT).unwrap()).collect();
        let migrating: Vec<_> =
            replicas.iter().cloned().map(|db| tokio::spawn(async move { db.migrate().await })).collect();
        wait_until("the index waits for the transaction", async || {
            let sql = "SELECT count(*) FROM pg_stat_activity
                       WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE 'CREATE UNIQUE%'";
            old.read().await.unwrap().sql(sql).one::<(i64,)>().await.unwrap() == (1,)
        })
        .await;
        write_letter(&old, "c", 3).await;
        pending.commit().await.unwrap();
        for migrated in migrating {
            assert_eq!(migrated.await.unwrap(), Ok(()));
        }
        assert_eq!(next.ready().await, Ok(()));
        assert!(index_is_good(&next).await);
        assert_eq!(versions(&next).await, 3);
    });
}

#[test]
fn an_index_that_was_left_half_built_is_built_again() {
    on(Engine::Postgres, async |old| {
        // What is not unique ends the building, as a crash would.
        write_letter(&old, "a", 1).await;
        write_letter(&old, "b", 1).await;
        let next = Db::open(old.url(), &NEXT).unwrap();
        for _ in 0..2 {
            assert_eq!(next.migrate().await.unwrap_err().class(), "database_constraint");
            assert!(!index_is_good(&old).await);
            assert_eq!(versions(&old).await, 2);
        }
        let mut tx = old.write().await.unwrap();
        tx.sql("DELETE FROM letters WHERE id = 'b'").run().await.unwrap();
        tx.commit().await.unwrap();
        next.migrate().await.unwrap();
        assert!(index_is_good(&next).await);
        assert_eq!((next.ready().await, versions(&next).await), (Ok(()), 3));
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
