//! Who is in the way: which rows somebody else has locked, found out without waiting for them.

use std::collections::BTreeSet;

use sqlx::postgres::PgArguments;
use sqlx::{AssertSqlSafe, Executor as _};

use super::{Connection, State, THERE, Tx};
use crate::bulk;
use crate::engine::Engine;
use crate::error::DbError;
use crate::faults::Operation;
use crate::record::{Record, Verb, statement};
use crate::value::storable;

/// Begins what is taken back whatever comes of it. Enough time for a row that is inserted at this very moment by one that
/// works, and little enough to ask for each of a batch's rows in turn.
const PROBE: &str = "SAVEPOINT probe; SET LOCAL lock_timeout = '20ms'";
const TAKE_BACK: &str = "ROLLBACK TO SAVEPOINT probe; RELEASE SAVEPOINT probe";

impl Tx {
    /// The keys, of those of `placeholders`, whose rows somebody else has locked, or has inserted without having committed
    /// it: a transaction that needs them would have to wait. It waits for none of them, and locks the others that are
    /// there. Nothing is inserted. On SQLite, where one writes at a time, none is ever locked.
    pub async fn locked_by_others<T: Record>(&mut self, placeholders: &[&T]) -> Result<BTreeSet<String>, DbError> {
        if placeholders.is_empty() || self.engine() == Engine::Sqlite {
            return Ok(BTreeSet::new());
        }
        self.count(Operation::Statement)?;
        let Self { connection, state } = self;
        let Some(Connection::Postgres(connection)) = connection else { unreachable!("{THERE}") };
        let keys: Vec<_> = placeholders.iter().map(|row| storable(row.key())).collect();
        let lock = AssertSqlSafe(statement::<T>(Engine::Postgres, Verb::LockFree, 1));
        let seen = sqlx::query_as::<_, (String, bool)>(lock).bind(keys).fetch_all(&mut **connection);
        let (mut seen_keys, mut locked) = (BTreeSet::new(), BTreeSet::new());
        for (key, is_ours) in state.watch(seen).await? {
            if !is_ours {
                locked.insert(key.clone());
            }
            seen_keys.insert(key);
        }
        // What is inserted and not committed cannot be seen; only who wants to insert the same is made to wait for it.
        let unseen: Vec<&T> =
            placeholders.iter().copied().filter(|row| !seen_keys.contains(&*storable(row.key()))).collect();
        if unseen.is_empty() || state.can_insert(connection, &unseen).await? {
            return Ok(locked);
        }
        for row in unseen {
            if !state.can_insert(connection, &[row]).await? {
                locked.insert(storable(row.key()).into_owned());
            }
        }
        Ok(locked)
    }
}

impl State {
    /// Whether `rows` could be inserted without waiting for somebody; leaves everything as it was.
    async fn can_insert<T: Record>(
        &mut self,
        connection: &mut sqlx::PgConnection,
        rows: &[&T],
    ) -> Result<bool, DbError> {
        self.watch(async { connection.execute(sqlx::raw_sql(PROBE)).await.map(drop) }).await?;
        let sql = AssertSqlSafe(statement::<T>(Engine::Postgres, Verb::Insert, 1));
        let inserted = self
            .watch(async {
                let mut parameters = PgArguments::default();
                bulk::add_arrays(rows, &mut parameters).map_err(sqlx::Error::Encode)?;
                connection.execute(sqlx::query_with(sql, parameters)).await.map(drop)
            })
            .await;
        let could = match inserted {
            Ok(()) => true,
            Err(DbError::Locked { .. }) => {
                self.failed = None; // with the savepoint
                false
            }
            Err(failure) => return Err(failure),
        };
        self.watch(async { connection.execute(sqlx::raw_sql(TAKE_BACK)).await.map(drop) }).await?;
        Ok(could)
    }
}
