//! The schema's versions: the same names on both engines, each applied once, whoever of several replicas comes first.
//!
//! Everything that is missing is applied in one transaction, so that there is no half-migrated database. sqlx's own
//! migrator is not used: it takes its lock for the session, which a pooler of transactions breaks, takes none on SQLite,
//! and commits after each file. Here the lock ends with the transaction.

use std::borrow::Cow;
use std::time::Duration;

use sqlx::migrate::Migrator;
use tracing::info;

use crate::db::{Db, DbError, Engine, Tx};

/// The files, embedded.
static SQLITE: Migrator = sqlx::migrate!("migrations/sqlite");
static POSTGRES: Migrator = sqlx::migrate!("migrations/postgres");

/// Any number that nobody else locks.
const LOCK_POSTGRES: &str = "SELECT pg_advisory_xact_lock(7233681)";

const TABLE_POSTGRES: &str = "CREATE TABLE IF NOT EXISTS schema_migrations (
    version    BIGINT PRIMARY KEY,
    name       TEXT NOT NULL,
    checksum   TEXT NOT NULL,
    applied_at TIMESTAMPTZ NOT NULL DEFAULT now()
)";
const TABLE_SQLITE: &str = "CREATE TABLE IF NOT EXISTS schema_migrations (
    version    INTEGER PRIMARY KEY NOT NULL,
    name       TEXT NOT NULL,
    checksum   TEXT NOT NULL,
    applied_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ'))
) STRICT";

/// Why a schema is not the one of this program.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemaProblem {
    /// Some migrations were not applied.
    #[error("the database is not migrated: version {missing} is missing")]
    Behind {
        /// The first of them.
        missing: i64,
    },
    /// It has migrations that this program does not know.
    #[error(
        "the database is newer than this program: it has version {version}; use the program that made it, or a later one"
    )]
    Newer {
        /// The first of them.
        version: i64,
    },
    /// A migration was edited after it was applied.
    #[error("version {version} of the schema is not what was applied to the database")]
    Changed {
        /// Its version.
        version: i64,
    },
}

/// A version of the schema, as a file.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Version {
    number: i64,
    name: Cow<'static, str>,
    checksum: String,
    sql: &'static str,
}

/// The versions that this program knows, in order.
fn known(engine: Engine) -> Vec<Version> {
    let migrator = match engine {
        Engine::Sqlite => &SQLITE,
        Engine::Postgres => &POSTGRES,
    };
    let version = |migration: &'static sqlx::migrate::Migration| Version {
        number: migration.version,
        name: migration.description.clone(),
        checksum: hex::encode(&migration.checksum),
        sql: migration.sql.as_str(),
    };
    migrator.iter().map(version).collect()
}

/// A name for the state of the migrations, for what is made from them.
#[cfg(any(test, feature = "testing"))]
pub(super) fn fingerprint(engine: Engine) -> String {
    use sha2::{Digest as _, Sha256};
    let mut digest = Sha256::new();
    for version in known(engine) {
        digest.update(format!("{} {}\n", version.number, version.checksum));
    }
    hex::encode(&digest.finalize()[..8])
}

/// How often a migration is tried while others are at it, and how long it waits in between.
const TRIES: u32 = 50;
const BETWEEN_TRIES: Duration = Duration::from_millis(100);

/// Brings the schema to the newest version. Of several that find a new SQLite file at once, some are told that it is busy
/// without having waited: its journal is changed over only by one that is alone.
pub(super) async fn migrate(db: &Db) -> Result<(), DbError> {
    for _ in 1..TRIES {
        match try_to_migrate(db).await {
            Err(DbError::Conflict { .. }) => tokio::time::sleep(BETWEEN_TRIES).await,
            done => return done,
        }
    }
    try_to_migrate(db).await
}

async fn try_to_migrate(db: &Db) -> Result<(), DbError> {
    let known = known(db.engine());
    let mut tx = db.pools.migrate().await?;
    match db.engine() {
        Engine::Sqlite => tx.batch(TABLE_SQLITE).await?, // the transaction is the lock
        Engine::Postgres => {
            tx.batch(LOCK_POSTGRES).await?;
            tx.batch(TABLE_POSTGRES).await?;
        }
    }
    let missing = missing(&known, &applied(&mut tx).await?)?;
    for version in &missing {
        tx.batch(version.sql).await?;
        note(&mut tx, version).await?;
    }
    tx.commit().await?;
    for version in missing {
        info!(version = version.number, "migrated the database: {} ({})", version.number, version.name);
    }
    Ok(())
}

/// Whether everything that this program knows was applied.
pub(super) async fn check(db: &Db) -> Result<(), DbError> {
    let mut tx = db.read().await?;
    let known = known(db.engine());
    let applied = match applied(&mut tx).await {
        Ok(applied) => applied,
        // There is not even the table.
        Err(DbError::Other { .. }) => Vec::new(),
        Err(failure) => return Err(failure),
    };
    match known.iter().find(|version| !applied.iter().any(|(number, _)| *number == version.number)) {
        Some(version) => Err(SchemaProblem::Behind { missing: version.number }.into()),
        None => Ok(()),
    }
}

/// Each version that was applied, with its checksum.
async fn applied(tx: &mut Tx) -> Result<Vec<(i64, String)>, DbError> {
    tx.sql("SELECT version, checksum FROM schema_migrations ORDER BY version").all().await
}

async fn note(tx: &mut Tx, version: &Version) -> Result<(), DbError> {
    tx.sql(
        "INSERT INTO schema_migrations (version, name, checksum)
         VALUES ($1, $2, $3)",
    )
    .bind(version.number)
    .bind(&*version.name)
    .bind(&version.checksum)
    .run()
    .await?;
    Ok(())
}

/// What of `known` is to be applied, where `applied` was.
fn missing<'k>(known: &'k [Version], applied: &[(i64, String)]) -> Result<Vec<&'k Version>, SchemaProblem> {
    for (number, checksum) in applied {
        match known.iter().find(|version| version.number == *number) {
            None => return Err(SchemaProblem::Newer { version: *number }),
            Some(version) if version.checksum != *checksum => {
                return Err(SchemaProblem::Changed { version: *number });
            }
            Some(_) => {}
        }
    }
    Ok(known.iter().filter(|version| !applied.iter().any(|(number, _)| *number == version.number)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions(numbers: &[i64]) -> Vec<Version> {
        let version = |number: &i64| Version {
            number: *number,
            name: "x".into(),
            checksum: format!("of {number}"),
            sql: "SELECT 1",
        };
        numbers.iter().map(version).collect()
    }

    fn applied(numbers: &[i64]) -> Vec<(i64, String)> {
        versions(numbers).into_iter().map(|version| (version.number, version.checksum)).collect()
    }

    fn missing_of(known: &[i64], done: &[i64]) -> Result<Vec<i64>, SchemaProblem> {
        missing(&versions(known), &applied(done)).map(|missing| missing.iter().map(|version| version.number).collect())
    }

    #[test]
    fn what_is_missing_is_applied_in_order_and_once() {
        assert_eq!(missing_of(&[1, 2, 3], &[]), Ok(vec![1, 2, 3]));
        assert_eq!(missing_of(&[1, 2, 3], &[1]), Ok(vec![2, 3]));
        assert_eq!(missing_of(&[1, 2, 3], &[1, 2, 3]), Ok(vec![]));
    }

    #[test]
    fn one_that_came_from_another_branch_is_applied_late() {
        assert_eq!(missing_of(&[1, 2, 3], &[1, 3]), Ok(vec![2]));
    }

    #[test]
    fn a_database_that_is_newer_than_the_program_is_refused() {
        assert_eq!(missing_of(&[1, 2], &[1, 2, 3, 4]), Err(SchemaProblem::Newer { version: 3 }));
    }

    #[test]
    fn a_version_that_was_edited_since_is_refused() {
        let edited = [(1, "of something else".to_owned())];
        assert_eq!(missing(&versions(&[1]), &edited), Err(SchemaProblem::Changed { version: 1 }));
    }

    #[test]
    fn both_engines_have_the_same_versions_by_the_same_names() {
        let names =
            |engine| known(engine).into_iter().map(|version| (version.number, version.name)).collect::<Vec<_>>();
        assert_eq!(names(Engine::Sqlite), names(Engine::Postgres));
        assert!(!names(Engine::Sqlite).is_empty());
    }
}
