//! The schema's versions: the same names on both engines, each applied once, whoever of several replicas comes first.
//!
//! Everything that is missing is applied in one transaction, so that there is no half-migrated database. sqlx's own
//! migrator is not used: it takes its lock for the session, which a pooler of transactions breaks, takes none on SQLite,
//! and commits after each file. Here the lock ends with the transaction.

use std::time::Duration;

use sha2::{Digest as _, Sha384};
use tracing::info;

use crate::engine::Engine;
use crate::error::{DbError, SchemaProblem};
use crate::open::Pools;
use crate::tx::Tx;

/// Every version of a schema, in order; the same ones, by number and name, on both engines.
#[derive(Clone, Copy, Debug)]
pub struct Migrations {
    /// Those of SQLite.
    pub sqlite: &'static [Migration],
    /// Those of PostgreSQL.
    pub postgres: &'static [Migration],
}

/// A version of a schema: what makes it of the version before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Migration {
    /// Its number.
    pub version: i64,
    /// What it is for, in a few words.
    pub name: &'static str,
    /// Statements without parameters.
    pub sql: &'static str,
}

impl Migrations {
    /// Those of `engine`.
    pub fn of(&self, engine: Engine) -> &'static [Migration] {
        match engine {
            Engine::Sqlite => self.sqlite,
            Engine::Postgres => self.postgres,
        }
    }

    /// A name for the state of the migrations, for what is made from them.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn fingerprint(&self, engine: Engine) -> String {
        let mut digest = Sha384::new();
        for migration in self.of(engine) {
            digest.update(format!("{} {}\n", migration.version, migration.checksum()));
        }
        hex::encode(&digest.finalize()[..8])
    }
}

impl Migration {
    fn checksum(&self) -> String {
        hex::encode(Sha384::digest(self.sql))
    }
}

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

/// How often a migration is tried while others are at it, and how long it waits in between.
const TRIES: u32 = 50;
const BETWEEN_TRIES: Duration = Duration::from_millis(100);

/// Brings the schema to the newest version. Of several that find a new SQLite file at once, some are told that it is busy
/// without having waited: its journal is changed over only by one that is alone.
pub(crate) async fn migrate(pools: &Pools, migrations: &Migrations) -> Result<(), DbError> {
    for _ in 1..TRIES {
        match try_to_migrate(pools, migrations).await {
            Err(DbError::Conflict { .. }) => tokio::time::sleep(BETWEEN_TRIES).await,
            done => return done,
        }
    }
    try_to_migrate(pools, migrations).await
}

async fn try_to_migrate(pools: &Pools, migrations: &Migrations) -> Result<(), DbError> {
    let engine = pools.engine();
    let mut tx = pools.migrate().await?;
    match engine {
        Engine::Sqlite => tx.batch(TABLE_SQLITE).await?, // the transaction is the lock
        Engine::Postgres => {
            tx.batch(LOCK_POSTGRES).await?;
            tx.batch(TABLE_POSTGRES).await?;
        }
    }
    let missing = missing(migrations.of(engine), &applied(&mut tx).await?)?;
    for migration in &missing {
        tx.batch(migration.sql).await?;
        note(&mut tx, migration).await?;
    }
    tx.commit().await?;
    for Migration { version, name, .. } in missing {
        info!(version, "migrated the database: {version} ({name})");
    }
    Ok(())
}

/// Whether everything that this program knows was applied.
pub(crate) async fn check(tx: &mut Tx, migrations: &Migrations) -> Result<(), DbError> {
    let known = migrations.of(tx.engine());
    let applied = match applied(tx).await {
        Ok(applied) => applied,
        // There is not even the table.
        Err(DbError::Other { .. }) => Vec::new(),
        Err(failure) => return Err(failure),
    };
    match known.iter().find(|migration| !applied.iter().any(|(version, _)| *version == migration.version)) {
        Some(migration) => Err(SchemaProblem::Behind { missing: migration.version }.into()),
        None => Ok(()),
    }
}

/// Each version that was applied, with its checksum.
async fn applied(tx: &mut Tx) -> Result<Vec<(i64, String)>, DbError> {
    tx.sql("SELECT version, checksum FROM schema_migrations ORDER BY version").all().await
}

async fn note(tx: &mut Tx, migration: &Migration) -> Result<(), DbError> {
    tx.sql(
        "INSERT INTO schema_migrations (version, name, checksum)
         VALUES ($1, $2, $3)",
    )
    .bind(migration.version)
    .bind(migration.name)
    .bind(migration.checksum())
    .run()
    .await?;
    Ok(())
}

/// What of `known` is to be applied, where `applied` was.
fn missing<'k>(known: &'k [Migration], applied: &[(i64, String)]) -> Result<Vec<&'k Migration>, SchemaProblem> {
    for (version, checksum) in applied {
        match known.iter().find(|migration| migration.version == *version) {
            None => return Err(SchemaProblem::Newer { version: *version }),
            Some(migration) if migration.checksum() != *checksum => {
                return Err(SchemaProblem::Changed { version: *version });
            }
            Some(_) => {}
        }
    }
    Ok(known.iter().filter(|migration| !applied.iter().any(|(version, _)| *version == migration.version)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions(numbers: &[i64]) -> Vec<Migration> {
        numbers.iter().map(|version| Migration { version: *version, name: "x", sql: "SELECT 1" }).collect()
    }

    fn applied(numbers: &[i64]) -> Vec<(i64, String)> {
        versions(numbers).into_iter().map(|migration| (migration.version, migration.checksum())).collect()
    }

    fn missing_of(known: &[i64], done: &[i64]) -> Result<Vec<i64>, SchemaProblem> {
        let known = versions(known);
        missing(&known, &applied(done)).map(|missing| missing.iter().map(|migration| migration.version).collect())
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
}
