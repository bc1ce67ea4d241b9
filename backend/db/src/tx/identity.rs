//! Which database this is, so that one that was restored from a backup is told from what it was before.

use super::{Connection, THERE, Tx};
use crate::error::DbError;
use crate::faults::Operation;

/// The server's, its history's (which a recovery to an earlier point leaves), the database's, and the table's, which is
/// another one when a dump makes it again. <https://www.postgresql.org/docs/current/continuous-archiving.html>
const IDENTITY: &str = "SELECT concat_ws(' ', s.system_identifier, substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8),
                                         d.oid, to_regclass($1)::oid)
                        FROM pg_control_system() AS s, pg_database AS d
                        WHERE d.datname = current_database()";

impl Tx {
    /// What PostgreSQL knows of itself that a backup does not bring back. Nothing on SQLite, where a file is all there is.
    pub async fn identity(&mut self, table: &'static str) -> Result<String, DbError> {
        self.count(Operation::Statement)?;
        let Self { connection, state } = self;
        match connection.as_mut().expect(THERE) {
            Connection::Sqlite(_) => Ok(String::new()),
            Connection::Postgres(connection) => {
                let asked = sqlx::query_scalar::<_, String>(IDENTITY).bind(table);
                state.watch(asked.fetch_one(&mut **connection)).await
            }
        }
    }
}
