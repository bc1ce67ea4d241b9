//! The SQL of `alerts`.

use std::collections::BTreeSet;

use tollgate_db::page::{LIMIT_MAX, List, Page, Position};
use tollgate_db::{DbError, Lock, Tx};
use tollgate_shared::Timestamp;

use super::{Alert, State};

/// Every alert that ever fired, each locked: there is one for each name and thing that it can be about.
pub async fn known(tx: &mut Tx) -> Result<Vec<Alert>, DbError> {
    let sql = "SELECT fingerprint FROM alerts WHERE starts_at > $1";
    let rows: Vec<(String,)> = tx.sql(sql).bind(Timestamp::UNIX_EPOCH).all().await?;
    let fingerprints: BTreeSet<_> = rows.into_iter().map(|(fingerprint,)| fingerprint).collect();
    tx.load("fingerprint", &fingerprints, Lock::ForUpdate).await
}

/// A page of alerts, those that began last first.
pub async fn list(tx: &mut Tx, state: Option<State>, page: &Page) -> Result<List<Alert>, DbError> {
    let Position { at, id } = page.start();
    let rows: Vec<Alert> = if let Some(state) = state {
        let query = tx.sql(
            "SELECT fingerprint, alert, severity, labels, summary, status, starts_at, ends_at, good_judgements, told_at,
                    silenced_until
             FROM alerts
             WHERE status = $4 AND (starts_at, fingerprint) < ($1, $2)
             ORDER BY starts_at DESC, fingerprint DESC
             LIMIT $3",
        );
        query.bind(at).bind(id).bind(page.rows_wanted()).bind(state.name()).all().await?
    } else {
        let query = tx.sql(
            "SELECT fingerprint, alert, severity, labels, summary, status, starts_at, ends_at, good_judgements, told_at,
                    silenced_until
             FROM alerts
             WHERE (starts_at, fingerprint) < ($1, $2)
             ORDER BY starts_at DESC, fingerprint DESC
             LIMIT $3",
        );
        query.bind(at).bind(id).bind(page.rows_wanted()).all().await?
    };
    Ok(page.list(rows, |row| Position { at: row.starts_at, id: row.fingerprint.clone() }))
}

/// The alerts that fire, those that began last first, a hundred at most.
pub async fn newest_firing(tx: &mut Tx) -> Result<Vec<Alert>, DbError> {
    Ok(list(tx, Some(State::Firing), &Page { limit: LIMIT_MAX, after: None }).await?.data)
}

/// How many alerts fire, by name and severity.
pub async fn firing_by_case(tx: &mut Tx) -> Result<Vec<(String, String, i64)>, DbError> {
    let query = tx.sql(
        "SELECT alert, severity, count(*)
         FROM alerts
         WHERE status = $1
         GROUP BY alert, severity",
    );
    query.bind(State::Firing.name()).all().await
}
