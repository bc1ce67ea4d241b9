//! The SQL of `pods`, but for what the unit of work does.

use std::collections::BTreeSet;

use tollgate_db::page::{Page, Position};
use tollgate_db::{DbError, Lock, Tx};
use tollgate_shared::Timestamp;

use crate::pods::{Pod, Sums};

/// What somebody looks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// ISO 4217, lower case.
    pub currency: Option<String>,
    /// The name of a cadence.
    pub cadence: Option<String>,
}

/// A pod, if there is one of that id.
pub async fn get(tx: &mut Tx, id: &str) -> Result<Option<Pod>, DbError> {
    Ok(tx.load("id", &BTreeSet::from([id.to_owned()]), Lock::None).await?.pop())
}

/// The pods of these ids.
pub async fn of_ids(tx: &mut Tx, ids: BTreeSet<String>) -> Result<Vec<Pod>, DbError> {
    tx.load("id", &ids, Lock::None).await
}

/// A page of the public pods that somebody can join at `now`, the soonest first.
pub async fn joinable(tx: &mut Tx, now: Timestamp, filter: &Filter, page: &Page) -> Result<Vec<Pod>, DbError> {
    let after = page.after.clone().unwrap_or(Position { at: Timestamp::UNIX_EPOCH, id: String::new() });
    let ids: Vec<(String,)> = tx
        .sql(
            "SELECT id
             FROM pods
             WHERE is_public AND canceled_at IS NULL AND (first_date > $1 OR contributions_total IS NULL)
               AND (CAST($2 AS TEXT) IS NULL OR currency = $2) AND (CAST($3 AS TEXT) IS NULL OR cadence = $3)
               AND (SELECT count(*) FROM memberships
                    WHERE memberships.pod_id = pods.id AND memberships.seat_of IS NOT NULL
                      AND (memberships.subscription_id IS NOT NULL OR memberships.joining_until > $1)) < members_max
               AND (next_date, id) > ($4, $5)
             ORDER BY next_date, id
             LIMIT $6",
        )
        .bind(now)
        .bind(filter.currency.as_deref())
        .bind(filter.cadence.as_deref())
        .bind(after.at)
        .bind(after.id)
        .bind(page.rows_wanted())
        .all()
        .await?;
    in_order(tx, ids).await
}

/// A page of all pods, the newest first.
pub async fn newest(tx: &mut Tx, page: &Page) -> Result<Vec<Pod>, DbError> {
    let start = page.start();
    let ids: Vec<(String,)> = tx
        .sql(
            "SELECT id
             FROM pods
             WHERE (created_at, id) < ($1, $2)
             ORDER BY created_at DESC, id DESC
             LIMIT $3",
        )
        .bind(start.at)
        .bind(start.id)
        .bind(page.rows_wanted())
        .all()
        .await?;
    in_order(tx, ids).await
}

async fn in_order(tx: &mut Tx, ids: Vec<(String,)>) -> Result<Vec<Pod>, DbError> {
    let keys = ids.iter().map(|(id,)| id.clone()).collect();
    let mut pods: Vec<Pod> = tx.load("id", &keys, Lock::None).await?;
    let place = |pod: &Pod| ids.iter().position(|(id,)| *id == pod.id);
    pods.sort_by_key(place);
    Ok(pods)
}

/// The pods of which a date was moved that subscriptions have not followed yet.
pub async fn moving(tx: &mut Tx, limit: i64) -> Result<Vec<Pod>, DbError> {
    let sql = "SELECT id FROM pods WHERE moving_since IS NOT NULL ORDER BY moving_since, id LIMIT $1";
    let ids: Vec<(String,)> = tx.sql(sql).bind(limit).all().await?;
    of_ids(tx, ids.into_iter().map(|(id,)| id).collect()).await
}

/// The listed pods without an end whose next date has come to be another one.
pub async fn behind(tx: &mut Tx, now: Timestamp, limit: i64) -> Result<Vec<Pod>, DbError> {
    let sql = "SELECT id
               FROM pods
               WHERE is_public AND canceled_at IS NULL AND contributions_total IS NULL AND next_date <= $1
               ORDER BY next_date, id
               LIMIT $2";
    let ids: Vec<(String,)> = tx.sql(sql).bind(now).bind(limit).all().await?;
    of_ids(tx, ids.into_iter().map(|(id,)| id).collect()).await
}

/// How many pods of a user have not begun.
pub async fn open_of(tx: &mut Tx, now: Timestamp, creator_id: &str) -> Result<i64, DbError> {
    let sql = "SELECT count(*) FROM pods WHERE creator_id = $1 AND first_date > $2 AND canceled_at IS NULL";
    let count: Option<(i64,)> = tx.sql(sql).bind(creator_id).bind(now).optional().await?;
    Ok(count.map_or(0, |(count,)| count))
}

/// What the memberships of a pod come to at `now`, and what was paid out of it.
pub async fn sums(tx: &mut Tx, now: Timestamp, pod_id: &str) -> Result<Sums, DbError> {
    let of_members: Option<(i64, i64, i64)> = tx
        .sql(
            "SELECT count(CASE WHEN seat_of IS NOT NULL AND (subscription_id IS NOT NULL OR joining_until > $1)
                               THEN 1 END),
                    count(CASE WHEN seat_of IS NOT NULL AND (pending_amount > 0 OR grace_ends_at > $1) THEN 1 END),
                    CAST(COALESCE(sum(total_contributed), 0) AS BIGINT)
             FROM memberships
             WHERE pod_id = $2",
        )
        .bind(now)
        .bind(pod_id)
        .optional()
        .await?;
    let sql = "SELECT CAST(COALESCE(sum(amount), 0) AS BIGINT) FROM payouts WHERE pod_id = $1";
    let paid_out: Option<(i64,)> = tx.sql(sql).bind(pod_id).optional().await?;
    let (members, unsettled, contributed) = of_members.unwrap_or_default();
    Ok(Sums { members, unsettled, contributed, paid_out: paid_out.map_or(0, |(sum,)| sum) })
}
