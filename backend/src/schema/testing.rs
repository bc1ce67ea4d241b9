//! Databases with these tables, for tests.

use tollgate_db::testing::Database;
use tollgate_db::{Db, Engine, testing};

use super::MIGRATIONS;

/// Runs a test's body on a fresh database of each engine: `on_each_engine!(async |db| { … })`. Not from within a runtime.
#[macro_export]
macro_rules! on_each_engine {
    ($body:expr) => {
        $crate::schema::testing::on_each_engine($body)
    };
}

/// See [`on_each_engine!`](crate::on_each_engine).
pub fn on_each_engine(body: impl AsyncFn(Db)) {
    testing::on_each_engine(&MIGRATIONS, body);
}

/// Runs a test's body on a fresh database of one engine, for what only that engine has.
pub fn on(engine: Engine, body: impl AsyncFn(Db)) {
    testing::on(engine, &MIGRATIONS, body);
}

/// A fresh database.
pub async fn migrated(engine: Engine) -> Database {
    Database::migrated(engine, &MIGRATIONS).await
}
