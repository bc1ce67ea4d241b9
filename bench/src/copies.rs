//! Makes a database as large as one of years: rows that the program itself has written, copied under other names.

use anyhow::{Context as _, Result};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, SqliteConnection};
use tollgate_tests::Database;
use tollgate_tests::Engine;

/// Rows made by one statement.
const TOGETHER: usize = 10_000;

/// Copies of the rows of a table that `of` selects. In the expressions `n` is the copy's number, from 1, and `s` the row.
pub(crate) struct Copies<'a> {
    pub(crate) table: &'a str,
    pub(crate) of: &'a str,
    pub(crate) count: usize,
    /// Columns that differ, each with what it holds.
    pub(crate) differ: &'a [(&'a str, String)],
}

impl Copies<'_> {
    pub(crate) async fn make(&self, database: &Database) -> Result<()> {
        let Self { table, of, count, differ } = self;
        let columns = columns(database, table).await?;
        let of_column = |column: &String| {
            let differs = differ.iter().find(|(name, _)| name == column);
            differs.map_or_else(|| format!("s.{column}"), |(_, expression)| expression.clone())
        };
        let (names, values) = (columns.join(", "), columns.iter().map(of_column).collect::<Vec<_>>().join(", "));
        for first in (1..=*count).step_by(TOGETHER) {
            let last = (first + TOGETHER - 1).min(*count);
            let sql = format!(
                "WITH RECURSIVE r (n) AS (SELECT {first} UNION ALL SELECT n + 1 FROM r WHERE n < {last})
                 INSERT INTO {table} ({names}) SELECT {values} FROM (SELECT * FROM {table} WHERE {of}) AS s, r"
            );
            run(database, sql).await.with_context(|| format!("could not copy rows of {table}"))?;
        }
        Ok(())
    }
}

/// A time of the row, so many seconds earlier.
pub(crate) fn earlier(engine: Engine, column: &str, seconds: &str) -> String {
    match engine {
        Engine::Postgres => format!("s.{column} - {seconds} * interval '1 second'"),
        Engine::Sqlite => format!("strftime('%Y-%m-%dT%H:%M:%S.000000Z', s.{column}, '-' || {seconds} || ' seconds')"),
    }
}

async fn columns(database: &Database, table: &str) -> Result<Vec<String>> {
    let rows: Vec<(String,)> = match database.engine() {
        Engine::Postgres => {
            let sql = "SELECT column_name::text FROM information_schema.columns
                       WHERE table_schema = 'public' AND table_name = $1";
            sqlx::query_as(sql).bind(table).fetch_all(&mut PgConnection::connect(&database.url()).await?).await?
        }
        Engine::Sqlite => {
            let sql = "SELECT name FROM pragma_table_info($1)";
            sqlx::query_as(sql).bind(table).fetch_all(&mut SqliteConnection::connect(&database.url()).await?).await?
        }
    };
    Ok(rows.into_iter().map(|(name,)| name).collect())
}

/// Runs a statement that was put together.
pub(crate) async fn run(database: &Database, sql: String) -> Result<()> {
    let sql = AssertSqlSafe(sql);
    match database.engine() {
        Engine::Postgres => {
            PgConnection::connect(&database.url()).await?.execute(sql).await?;
        }
        Engine::Sqlite => {
            SqliteConnection::connect(&database.url()).await?.execute(sql).await?;
        }
    }
    Ok(())
}
