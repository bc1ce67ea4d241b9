//! What fails, in the classes that callers decide by, and what it says.

use std::fs::{self, Permissions};
use std::mem;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use bytes::Bytes;

use super::records::{Specimen, specimen, with_table};
use super::*;
use crate::error::SchemaProblem;
use crate::testing::block_on;
use crate::url::DatabaseUrl;

fn unavailable(outcome: Result<impl Sized, DbError>) -> bool {
    matches!(outcome, Err(DbError::Unavailable { .. }))
}

#[test]
fn a_server_that_is_away_is_unavailable_once_somebody_needs_it() {
    block_on(async {
        let url: DatabaseUrl = "postgres://nobody:hunter2@127.0.0.1:1/nothing".parse().unwrap();
        let db = Db::open(&url, &MIGRATIONS).unwrap();
        let failure = db.ready().await.unwrap_err();
        assert!(failure.is_transient() && matches!(failure, DbError::Unavailable { .. }), "{failure:?}");
        assert!(!format!("{failure} {failure:?}").contains("hunter2"));
        assert!(unavailable(db.inbox().await));
    });
}

#[test]
fn a_server_that_takes_connections_and_says_nothing_is_unavailable() {
    block_on(async {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("postgres://nobody@{}/nothing", silent.local_addr().unwrap());
        let db = Db::open(&url.parse().unwrap(), &MIGRATIONS).unwrap();
        assert!(unavailable(db.ready().await));
        assert!(unavailable(db.write().await));
    });
}

#[test]
fn a_server_without_our_database_is_unavailable() {
    block_on(async {
        let database = Database::migrated(Engine::Postgres, &MIGRATIONS).await;
        let db = database.open();
        drop(db.read().await.unwrap());
        drop(database);
        assert!(unavailable(db.read().await));
        assert!(unavailable(db.write().await));
        assert!(unavailable(db.ready().await));
    });
}

#[test]
fn a_file_that_cannot_be_opened_is_unavailable_and_its_folder_is_made() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("new/folder/tollgate.db");
        let db = Db::open(&DatabaseUrl::of_file(&file), &MIGRATIONS).unwrap();
        assert_eq!(db.ready().await, Err(DbError::Schema(SchemaProblem::Behind { missing: 1 })));
        db.migrate().await.unwrap();
        assert_eq!(db.ready().await, Ok(()));
        db.close().await;
        assert_eq!(mode(file.parent().unwrap()), 0o700);

        let folder_instead = Db::open(&DatabaseUrl::of_file(folder.path()), &MIGRATIONS).unwrap();
        assert!(unavailable(folder_instead.write().await));
        let file_instead = DatabaseUrl::of_file(Path::new("/dev/null/tollgate.db"));
        assert!(unavailable(Db::open(&file_instead, &MIGRATIONS).map(drop)));

        let damaged = folder.path().join("damaged.db");
        fs::write(&damaged, [b'x'; 8192]).unwrap();
        assert!(unavailable(Db::open(&DatabaseUrl::of_file(&damaged), &MIGRATIONS).unwrap().write().await));
    });
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn the_file_and_those_beside_it_are_their_owners_alone() {
    block_on(async {
        // As `mkdir data` makes it, or an earlier version left it.
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        let file = folder.path().join("tollgate.db");
        let beside = ["tollgate.db", "tollgate.db-wal", "tollgate.db-shm"].map(|name| folder.path().join(name));
        for start in 0..2 {
            let db = Db::open(&DatabaseUrl::of_file(&file), &MIGRATIONS).unwrap();
            assert_eq!(mode(&file), 0o600);
            db.migrate().await.unwrap();
            let reading = db.read().await.unwrap();
            assert_eq!(beside.each_ref().map(|path| mode(path)), [0o600; 3], "at start {start}");
            // A process that is killed leaves all three.
            drop(reading);
            for path in &beside {
                fs::set_permissions(path, Permissions::from_mode(0o644)).unwrap();
            }
            if start == 0 {
                mem::forget(db);
            }
        }
    });
}

#[test]
fn a_file_that_another_process_writes_to_is_a_conflict() {
    on(Engine::Sqlite, async |db| {
        let mut impatient = db.write().await.unwrap();
        impatient.batch("PRAGMA busy_timeout = 1").await.unwrap();
        impatient.commit().await.unwrap();
        let other = Db::open(db.url(), &MIGRATIONS).unwrap();
        let held = other.write().await.unwrap();
        assert_eq!(db.write().await.map(drop), Err(DbError::Conflict { code: "5".to_owned() }));
        drop(held);
        other.close().await;
        assert_eq!(db.write().await.map(drop), Ok(()));
    });
}

#[test]
fn a_full_disk_is_full_and_the_next_transaction_works() {
    on(Engine::Sqlite, async |db| {
        with_table(&db).await;
        let mut tx = db.write().await.unwrap();
        let (pages,): (i64,) = tx.sql("SELECT page_count FROM pragma_page_count()").one().await.unwrap();
        // SQLite has a limit of its own that stands for the disk's.
        tx.batch(format!("PRAGMA max_page_count = {}", pages + 10).leak()).await.unwrap();
        tx.commit().await.unwrap();
        let large = Specimen { payload: Bytes::from(vec![1; 1 << 20]), ..specimen("large") };
        let mut tx = db.write().await.unwrap();
        assert_eq!(tx.insert(&[&large]).await, Err(DbError::Full { code: "13".to_owned() }));
        assert_eq!(tx.commit().await, Err(DbError::Full { code: "13".to_owned() }));
        let mut tx = db.write().await.unwrap();
        tx.insert(&[&large]).await.unwrap();
        tx.commit().await.unwrap();
    });
}

#[test]
fn a_constraint_is_named() {
    on_each_engine!(async |db: Db| {
        with_table(&db).await;
        let mut tx = db.write().await.unwrap();
        let [first, second] = ["a", "b"].map(|id| Specimen { nick: Some("same".to_owned()), ..specimen(id) });
        tx.insert(&[&first]).await.unwrap();
        let failure = tx.upsert(&[&second]).await.unwrap_err();
        let name = if db.engine() == Engine::Postgres { "specimens_nick_key" } else { "specimens.nick" };
        assert_eq!(failure, DbError::Constraint { name: Some(name.to_owned()) });
        assert!(!failure.is_transient());
    });
}

#[test]
fn a_value_that_can_never_be_stored_is_told_from_a_passing_failure() {
    on_each_engine!(async |db: Db| {
        let refused: &[(&'static str, &str)] = match db.engine() {
            Engine::Postgres => &[
                ("SELECT CAST(CAST($1 AS TEXT) AS BIGINT)", "22P02"),
                ("SELECT CAST(repeat($1, 19) AS NUMERIC)::bigint", "22P02"),
                // Longer than an entry of an index may be, and with nothing to compress.
                (
                    "INSERT INTO letters (id, kind)
                     SELECT string_agg(md5($1 || n), ''), 'long' FROM generate_series(1, 200) n",
                    "54000",
                ),
            ],
            Engine::Sqlite => &[("SELECT zeroblob(2000000000) || $1", "18")],
        };
        for (sql, code) in refused {
            let mut tx = db.write().await.unwrap();
            let failure = tx.sql(sql).bind("x").run().await.unwrap_err();
            assert_eq!(failure, DbError::Unstorable { code: (*code).to_owned() });
            assert_eq!((failure.is_poison(), failure.is_transient()), (true, false));
        }
    });
}

#[test]
fn a_statement_that_no_engine_can_run_says_what_is_wrong_with_it() {
    on_each_engine!(async |db: Db| {
        let mut tx = db.read().await.unwrap();
        let failure = tx.sql("SELECT 1 FROM no_such_table").run().await.unwrap_err();
        assert!(failure.to_string().contains("no_such_table"), "{failure}");
        assert_eq!((failure.class(), failure.is_transient()), ("database_error", false));
    });
}

#[test]
fn a_failure_never_shows_a_value() {
    on_each_engine!(async |db: Db| {
        with_table(&db).await;
        let mut failures = Vec::new();
        let refused: &[&'static str] = match db.engine() {
            Engine::Postgres => &[
                "SELECT CAST($1 AS BIGINT)",
                "SELECT $1::text::jsonb",
                "SELECT $1::text::timestamptz",
                "INSERT INTO letters (id, kind) VALUES ('x', $1)",
            ],
            Engine::Sqlite => &[
                "SELECT json($1)",
                "SELECT json_extract('{}', $1)",
                "UPDATE specimens SET amount = $1",
                "INSERT INTO letters (id, kind) VALUES ('x', $1)",
            ],
        };
        for sql in refused {
            let mut tx = db.write().await.unwrap();
            tx.insert(&[&specimen("a")]).await.unwrap();
            failures.push(tx.sql(sql).bind("hunter2").all::<(String,)>().await.unwrap_err());
        }
        let mut tx = db.write().await.unwrap();
        tx.insert(&[&specimen("a")]).await.unwrap();
        failures.push(tx.sql("INSERT INTO specimens SELECT * FROM specimens").run().await.unwrap_err());
        for failure in failures {
            let shown = format!("{failure} {failure:?}");
            assert!(!shown.contains("hunter2") && !shown.contains("invoice.paid"), "{shown}");
        }
    });
}

#[test]
fn a_closed_database_is_unavailable() {
    on_each_engine!(async |db: Db| {
        db.close().await;
        assert!(unavailable(db.read().await));
        assert!(unavailable(db.write().await));
        assert!(unavailable(db.ready().await));
    });
}
