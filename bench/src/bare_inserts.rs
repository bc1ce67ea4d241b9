//! The least that storing an event can be: its payload and nothing else, many a transaction, through the same driver
//! with the same promises to the disk.

use std::str::FromStr;

use anyhow::Result;
use bytes::Bytes;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, Executor, PgConnection, SqliteConnection};

/// One connection with a table of payloads.
pub(crate) enum BareInserts {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl BareInserts {
    /// Connects and makes the table.
    pub(crate) async fn open(url: &str) -> Result<Self> {
        if url.starts_with("sqlite:") {
            let options = SqliteConnectOptions::from_str(url)?
                .create_if_missing(true)
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(SqliteSynchronous::Full)
                .pragma("wal_autocheckpoint", "4000");
            let mut connection = options.connect().await?;
            connection.execute("CREATE TABLE payloads (payload BLOB NOT NULL) STRICT").await?;
            return Ok(Self::Sqlite(connection));
        }
        let mut connection = PgConnection::connect(url).await?;
        connection.execute("CREATE TABLE payloads (payload BYTEA NOT NULL)").await?;
        // As the column of the events has it; without, PostgreSQL's own pglz is the slower side.
        connection.execute("ALTER TABLE payloads ALTER COLUMN payload SET COMPRESSION lz4").await?;
        Ok(Self::Postgres(connection))
    }

    /// Inserts all of them in one transaction, with one statement.
    pub(crate) async fn insert(&mut self, payloads: &[Bytes]) -> Result<()> {
        match self {
            Self::Sqlite(connection) => {
                let texts: Vec<&str> =
                    payloads.iter().map(|payload| std::str::from_utf8(payload)).collect::<Result<_, _>>()?;
                let mut tx = connection.begin_with("BEGIN IMMEDIATE").await?;
                sqlx::query("INSERT INTO payloads (payload) SELECT CAST(value AS BLOB) FROM json_each($1)")
                    .bind(serde_json::to_string(&texts)?)
                    .execute(&mut *tx)
                    .await?;
                tx.commit().await?;
            }
            Self::Postgres(connection) => {
                let bytes: Vec<&[u8]> = payloads.iter().map(Bytes::as_ref).collect();
                let mut tx = connection.begin().await?;
                sqlx::query("INSERT INTO payloads (payload) SELECT * FROM UNNEST($1::bytea[])")
                    .bind(bytes)
                    .execute(&mut *tx)
                    .await?;
                tx.commit().await?;
            }
        }
        Ok(())
    }
}
