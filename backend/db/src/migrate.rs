//! The schema's versions: the same names on both engines, each applied once, whoever of several replicas comes first.
//!
//! What is missing is applied in one transaction, so that there is no half-migrated database. On PostgreSQL a file that
//! begins with [`OUTSIDE`] is applied outside of any transaction, one statement after the other: an index that is built
//! `CONCURRENTLY` keeps nobody from writing, however large the table. Such a file may be interrupted, and is then run again
//! from its start, so each of its statements has to say `IF NOT EXISTS` or `IF EXISTS`; an index that was left half-built
//! is dropped first.
//!
//! sqlx's own migrator is not used: it takes its lock for the session, which a pooler of transactions breaks, takes none
//! on SQLite, and commits after each file. Here the lock ends with a transaction.

use std::pin::pin;
use std::time::Duration;

use sha2::{Digest as _, Sha384};
use tokio::time::sleep;
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

/// The first line of a file for PostgreSQL that is applied outside of a transaction.
const OUTSIDE: &str = "-- outside a transaction\n";

impl Migration {
    /// Whether it is applied outside of a transaction.
    pub fn is_outside(&self) -> bool {
        self.sql.starts_with(OUTSIDE)
    }

    /// Its statements, for one that is applied outside of a transaction: none has a semicolon inside.
    fn statements(&self) -> Vec<String> {
        let code: Vec<_> = self.sql.lines().filter(|line| !line.starts_with("--")).collect();
        code.join("\n").split(';').map(|sql| sql.trim().to_owned()).filter(|sql| !sql.is_empty()).collect()
    }

    fn checksum(&self) -> String {
        hex::encode(Sha384::digest(self.sql))
    }
}

/// Any number that nobody else locks. Never waited for: whoever waits in a statement would be waited for by one that
/// builds an index concurrently.
const LOCK_POSTGRES: &str = "SELECT pg_try_advisory_xact_lock(7233681)";

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

/// How often a migration is tried while others are at it, a minute in all, and how long it waits in between.
const TRIES: u32 = 600;
const BETWEEN_TRIES: Duration = Duration::from_millis(100);
/// How often the transaction that holds the lock is used while something is done outside of it: it must not idle.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(2);
/// Takes no snapshot, which the other connection would wait for.
const KEEP_ALIVE: &str = "SAVEPOINT alive; RELEASE SAVEPOINT alive";

/// Brings the schema to the newest version. Of several that find a new SQLite file at once, some are told that it is busy
/// without having waited: its journal is changed over only by one that is alone.
pub(crate) async fn migrate(pools: &Pools, migrations: &Migrations) -> Result<(), DbError> {
    let mut tries = 0;
    loop {
        match migrate_a_step(pools, migrations).await {
            Ok(0) => return Ok(()),
            Ok(_) => tries = 0,
            Err(DbError::Conflict { .. } | DbError::Locked { .. }) if tries < TRIES => {
                tries += 1;
                sleep(BETWEEN_TRIES).await;
            }
            Err(failure) => return Err(failure),
        }
    }
}

/// Applies what is missing up to the next change between the two kinds of files. Returns how many it applied.
async fn migrate_a_step(pools: &Pools, migrations: &Migrations) -> Result<usize, DbError> {
    let mut tx = pools.migrate().await?;
    lock(&mut tx).await?;
    let missing = missing(migrations.of(tx.engine()), &applied(&mut tx).await?)?;
    let step = match missing.first() {
        Some(migration) if migration.is_outside() => {
            apply_outside(pools, &mut tx, migration).await?;
            &missing[..1]
        }
        _ => {
            let inside = missing.iter().take_while(|migration| !migration.is_outside()).count();
            for migration in &missing[..inside] {
                tx.batch(migration.sql).await?;
            }
            &missing[..inside]
        }
    };
    for migration in step {
        note(&mut tx, migration).await?;
    }
    tx.commit().await?;
    for Migration { version, name, .. } in step {
        info!(version, "migrated the database: {version} ({name})");
    }
    Ok(step.len())
}

/// Keeps everybody else from migrating until the transaction ends, and makes the table of versions.
async fn lock(tx: &mut Tx) -> Result<(), DbError> {
    if tx.engine() == Engine::Sqlite {
        return tx.batch(TABLE_SQLITE).await; // the transaction is the lock
    }
    match tx.sql(LOCK_POSTGRES).one().await? {
        (true,) => tx.batch(TABLE_POSTGRES).await,
        (false,) => Err(DbError::Conflict { code: "somebody else migrates".to_owned() }),
    }
}

const HALF_BUILT_POSTGRES: &str = "SELECT i.relname::text
    FROM pg_index x
    JOIN pg_class i ON i.oid = x.indexrelid
    WHERE NOT x.indisvalid AND i.relnamespace = current_schema()::regnamespace";

/// Applies a migration on another connection than that of `lock`, which holds the lock meanwhile.
async fn apply_outside(pools: &Pools, lock: &mut Tx, migration: &Migration) -> Result<(), DbError> {
    // Of those that are left of an attempt that was interrupted `IF NOT EXISTS` would say that they are there.
    let half_built: Vec<(String,)> = lock.sql(HALF_BUILT_POSTGRES).all().await?;
    let ours = half_built.into_iter().filter(|(name,)| migration.sql.split_whitespace().any(|word| word == name));
    let drops = ours.map(|(name,)| format!("DROP INDEX CONCURRENTLY IF EXISTS \"{name}\""));
    let statements: Vec<_> = drops.chain(migration.statements()).collect();
    let mut applied = pin!(pools.run_outside(statements));
    loop {
        tokio::select! {
            applied = &mut applied => return applied,
            () = sleep(KEEP_ALIVE_INTERVAL) => lock.batch(KEEP_ALIVE).await?,
        }
    }
}

/// Whether the schema is exactly the one of this program.
pub(crate) async fn check_is_ours(tx: &mut Tx, migrations: &Migrations) -> Result<(), DbError> {
    let missing = missing(migrations.of(tx.engine()), &applied_if_any(tx).await?)?.first().map(|first| first.version);
    missing.map_or(Ok(()), |missing| Err(SchemaProblem::Behind { missing }.into()))
}

/// Whether everything that this program knows was applied, and maybe more.
pub(crate) async fn check_has_ours(tx: &mut Tx, migrations: &Migrations) -> Result<(), DbError> {
    let applied = applied_if_any(tx).await?;
    let is_missing = |migration: &&Migration| !applied.iter().any(|(version, _)| *version == migration.version);
    match migrations.of(tx.engine()).iter().find(is_missing) {
        Some(migration) => Err(SchemaProblem::Behind { missing: migration.version }.into()),
        None => Ok(()),
    }
}

/// The same as [`applied`], none where there is not even the table.
async fn applied_if_any(tx: &mut Tx) -> Result<Vec<(i64, String)>, DbError> {
    match applied(tx).await {
        Err(DbError::Other { .. }) => Ok(Vec::new()),
        applied => applied,
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
