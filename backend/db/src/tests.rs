//! Both engines, on a schema of these tests' own.

/// Runs a test's body on a fresh database of each engine: `on_each_engine!(async |db| { … })`.
macro_rules! on_each_engine {
    ($body:expr) => {
        $crate::testing::on_each_engine(&$crate::tests::MIGRATIONS, $body)
    };
}

mod failures;
mod locks;
mod migrations;
mod pools;
mod records;
mod transactions;
mod unit_of_work;

use crate::database::Db;
use crate::engine::Engine;
use crate::error::DbError;
use crate::migrate::{Migration, Migrations};
use crate::testing::{self, Database};

static MIGRATIONS: Migrations = Migrations {
    sqlite: &[
        Migration {
            version: 1,
            name: "letters",
            sql: "CREATE TABLE letters (id TEXT PRIMARY KEY, kind TEXT NOT NULL CHECK (kind IN ('long', 'short'))) STRICT;",
        },
        Migration { version: 2, name: "when they came", sql: "ALTER TABLE letters ADD COLUMN at TEXT;" },
    ],
    postgres: &[
        Migration {
            version: 1,
            name: "letters",
            sql: "CREATE TABLE letters (id TEXT COLLATE \"C\" PRIMARY KEY, kind TEXT NOT NULL CHECK (kind IN ('long', 'short')));",
        },
        Migration { version: 2, name: "when they came", sql: "ALTER TABLE letters ADD COLUMN at TIMESTAMPTZ;" },
    ],
};

/// Runs a test's body on a fresh database of one engine.
fn on(engine: Engine, body: impl AsyncFn(Db)) {
    testing::on(engine, &MIGRATIONS, body);
}
