//! Telling other processes something.

use super::{Connection, THERE, Tx};
use crate::error::DbError;
use crate::faults::Operation;

impl Tx {
    /// Has `payloads` told to who listens to `channel`, when this transaction commits. On SQLite nobody does.
    pub(crate) async fn notify(&mut self, channel: &'static str, payloads: &[String]) -> Result<(), DbError> {
        self.count(Operation::Statement)?;
        let Self { connection, state } = self;
        let Connection::Postgres(connection) = connection.as_mut().expect(THERE) else { return Ok(()) };
        let told = sqlx::query("SELECT pg_notify($1, payload) FROM unnest($2::text[]) AS payload");
        let told = told.bind(channel).bind(payloads);
        state.watch(async { told.execute(&mut **connection).await.map(drop) }).await
    }
}
