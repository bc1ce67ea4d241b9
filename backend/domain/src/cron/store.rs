//! The SQL of `cron_runs`.

use serde_json::Value;
use tollgate_db::{DbError, Json, Tx};
use tollgate_shared::Timestamp;

use super::{Claim, Outcome, Run};

pub(super) async fn in_progress(tx: &mut Tx, job: &str) -> Result<Option<Run>, DbError> {
    tx.sql(
        "SELECT tick, holder, attempts, started_at, lease_until, ended_at, outcome, error, summary
         FROM cron_runs
         WHERE job = $1 AND ended_at IS NULL",
    )
    .bind(job)
    .optional()
    .await
}

pub(super) async fn newest(tx: &mut Tx, job: &str, now: Timestamp) -> Result<Option<Run>, DbError> {
    tx.sql(
        "SELECT tick, holder, attempts, started_at, lease_until, ended_at, outcome, error, summary
         FROM cron_runs
         WHERE job = $1 AND tick <= $2
         ORDER BY tick DESC
         LIMIT 1",
    )
    .bind(job)
    .bind(now)
    .optional()
    .await
}

pub(super) async fn last_ended(tx: &mut Tx, job: &str, now: Timestamp) -> Result<Option<Run>, DbError> {
    tx.sql(
        "SELECT tick, holder, attempts, started_at, lease_until, ended_at, outcome, error, summary
         FROM cron_runs
         WHERE job = $1 AND tick <= $2 AND ended_at IS NOT NULL
         ORDER BY tick DESC
         LIMIT 1",
    )
    .bind(job)
    .bind(now)
    .optional()
    .await
}

pub(super) async fn last_success(tx: &mut Tx, job: &str, now: Timestamp) -> Result<Option<Timestamp>, DbError> {
    let row: Option<(Timestamp,)> = tx
        .sql(
            "SELECT ended_at
             FROM cron_runs
             WHERE job = $1 AND tick <= $2 AND outcome = 'succeeded'
             ORDER BY tick DESC
             LIMIT 1",
        )
        .bind(job)
        .bind(now)
        .optional()
        .await?;
    Ok(row.map(|(at,)| at))
}

pub(super) async fn last_outcomes(tx: &mut Tx, job: &str, now: Timestamp, limit: i64) -> Result<Vec<String>, DbError> {
    let rows: Vec<(String,)> = tx
        .sql(
            "SELECT outcome
             FROM cron_runs
             WHERE job = $1 AND tick <= $2 AND outcome IS NOT NULL
             ORDER BY tick DESC
             LIMIT $3",
        )
        .bind(job)
        .bind(now)
        .bind(limit)
        .all()
        .await?;
    Ok(rows.into_iter().map(|(outcome,)| outcome).collect())
}

pub(super) async fn summaries_since(
    tx: &mut Tx,
    job: &str,
    since: Timestamp,
    limit: i64,
) -> Result<Vec<Value>, DbError> {
    let rows: Vec<(Json<Value>,)> = tx
        .sql(
            "SELECT summary
             FROM cron_runs
             WHERE job = $1 AND tick >= $2
             ORDER BY tick DESC
             LIMIT $3",
        )
        .bind(job)
        .bind(since)
        .bind(limit)
        .all()
        .await?;
    Ok(rows.into_iter().map(|(Json(summary),)| summary).collect())
}

/// Nothing is inserted where the tick has a row, nor while another run of the job is in progress: each is a unique
/// constraint.
pub(super) async fn insert(
    tx: &mut Tx,
    claim: &Claim,
    now: Timestamp,
    lease_until: Timestamp,
) -> Result<bool, DbError> {
    let inserted = tx.sql(
        "INSERT INTO cron_runs (job, tick, holder, attempts, started_at, lease_until, summary)
         VALUES ($1, $2, $3, 1, $4, $5, '{}')
         ON CONFLICT DO NOTHING",
    );
    let inserted = inserted.bind(claim.job).bind(claim.tick).bind(claim.holder.as_str()).bind(now).bind(lease_until);
    Ok(inserted.run().await? == 1)
}

/// Nothing is replaced where it is not as it was seen: its holder may have said a word meanwhile.
pub(super) async fn replace(
    tx: &mut Tx,
    claim: &Claim,
    seen: &Run,
    now: Timestamp,
    lease_until: Timestamp,
) -> Result<bool, DbError> {
    let replaced = tx.sql(
        "UPDATE cron_runs
         SET holder = $3, attempts = attempts + 1, started_at = $4, lease_until = $5, summary = '{}'
         WHERE job = $1 AND tick = $2 AND ended_at IS NULL AND holder = $6 AND lease_until = $7",
    );
    let replaced = replaced.bind(claim.job).bind(claim.tick).bind(claim.holder.as_str()).bind(now).bind(lease_until);
    Ok(replaced.bind(seen.holder.as_str()).bind(seen.lease_until).run().await? == 1)
}

pub(super) async fn renew(
    tx: &mut Tx,
    claim: &Claim,
    lease_until: Timestamp,
    summary: &Value,
) -> Result<bool, DbError> {
    let renewed = tx.sql(
        "UPDATE cron_runs
         SET lease_until = $4, summary = $5
         WHERE job = $1 AND tick = $2 AND holder = $3 AND ended_at IS NULL",
    );
    let renewed = renewed.bind(claim.job).bind(claim.tick).bind(claim.holder.as_str()).bind(lease_until);
    Ok(renewed.bind(Json(summary)).run().await? == 1)
}

pub(super) async fn end(
    tx: &mut Tx,
    claim: &Claim,
    now: Timestamp,
    outcome: Outcome,
    summary: &Value,
) -> Result<bool, DbError> {
    let error = match outcome {
        Outcome::Succeeded => None,
        Outcome::Failed(class) => Some(class),
    };
    let ended = tx.sql(
        "UPDATE cron_runs
         SET ended_at = $4, outcome = $5, error = $6, summary = $7
         WHERE job = $1 AND tick = $2 AND holder = $3 AND ended_at IS NULL",
    );
    let ended = ended.bind(claim.job).bind(claim.tick).bind(claim.holder.as_str()).bind(now).bind(outcome.name());
    Ok(ended.bind(error).bind(Json(summary)).run().await? == 1)
}

pub(super) async fn delete_ended(tx: &mut Tx, before: Timestamp, limit: i64) -> Result<u64, DbError> {
    tx.sql(
        "DELETE FROM cron_runs
         WHERE (job, tick) IN (SELECT job, tick
                               FROM cron_runs
                               WHERE tick < $1 AND ended_at IS NOT NULL
                               ORDER BY tick, job
                               LIMIT $2)",
    )
    .bind(before)
    .bind(limit)
    .run()
    .await
}
