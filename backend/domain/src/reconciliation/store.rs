//! The SQL of `reconciliations`.

use tollgate_db::{DbError, Tx};

use super::Run;

pub(super) async fn newest(tx: &mut Tx, name: &str) -> Result<Option<Run>, DbError> {
    tx.sql(
        "SELECT name, since, began_at, ended_at, remaining, objects, found, unmended
         FROM reconciliations
         WHERE name = $1",
    )
    .bind(name)
    .optional()
    .await
}

pub(super) async fn keep(tx: &mut Tx, run: &Run) -> Result<(), DbError> {
    tx.sql(
        "INSERT INTO reconciliations (name, since, began_at, ended_at, remaining, objects, found, unmended)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
         ON CONFLICT (name) DO UPDATE
         SET since = excluded.since, began_at = excluded.began_at, ended_at = excluded.ended_at,
             remaining = excluded.remaining, objects = excluded.objects, found = excluded.found,
             unmended = excluded.unmended",
    )
    .bind(run.name.as_str())
    .bind(run.since)
    .bind(run.began_at)
    .bind(run.ended_at)
    .bind(&run.remaining)
    .bind(run.objects)
    .bind(run.found)
    .bind(run.unmended)
    .run()
    .await?;
    Ok(())
}
