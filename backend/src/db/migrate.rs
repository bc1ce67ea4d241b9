//! The schema's versions: the same names on both engines, each applied once, whoever of several replicas comes first.
//!
//! sqlx's own migrator: it checks that what was applied has not been edited since, and takes a lock while it applies.

use sqlx::migrate::{MigrateError, Migrator};

use crate::db::{Db, DbError, Engine, Pools};

static SQLITE: Migrator = sqlx::migrate!("migrations/sqlite");
static POSTGRES: Migrator = sqlx::migrate!("migrations/postgres");

/// The newest version that this program knows.
pub(super) fn newest(engine: Engine) -> i64 {
    let migrator = match engine {
        Engine::Sqlite => &SQLITE,
        Engine::Postgres => &POSTGRES,
    };
    migrator.iter().map(|migration| migration.version).max().unwrap_or_default()
}

/// Brings the schema to the newest version.
pub(super) async fn migrate(db: &Db) -> Result<(), DbError> {
    let applied = match &db.pools {
        Pools::Sqlite { write, .. } => SQLITE.run(write).await,
        Pools::Postgres { shared, .. } => POSTGRES.run(shared).await,
    };
    applied.map_err(|error| match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.into(),
        MigrateError::VersionMissing(version) => DbError::Schema(format!(
            "the database is at version {version}, which this program does not know: it is newer than the program"
        )),
        error => DbError::Schema(error.to_string()),
    })
}
