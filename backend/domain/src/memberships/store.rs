//! The SQL of `memberships`, but for what the unit of work does.

use std::collections::BTreeSet;

use tollgate_db::{DbError, Lock, Tx};
use tollgate_shared::Timestamp;

use crate::memberships::Membership;

/// A membership, if there is one of that id.
pub async fn get(tx: &mut Tx, id: &str) -> Result<Option<Membership>, DbError> {
    Ok(tx.load("id", &BTreeSet::from([id.to_owned()]), Lock::None).await?.pop())
}

/// The memberships of a pod.
pub async fn of_pod(tx: &mut Tx, pod_id: &str) -> Result<Vec<Membership>, DbError> {
    tx.load("pod_id", &BTreeSet::from([pod_id.to_owned()]), Lock::None).await
}

/// What a user has had of a pod, the oldest first.
pub async fn of_user_in(tx: &mut Tx, pod_id: &str, user_id: &str) -> Result<Vec<Membership>, DbError> {
    let sql = "SELECT id FROM memberships WHERE user_id = $1 AND pod_id = $2";
    let ids: Vec<(String,)> = tx.sql(sql).bind(user_id).bind(pod_id).all().await?;
    let ids = ids.into_iter().map(|(id,)| id).collect();
    let mut rows: Vec<Membership> = tx.load("id", &ids, Lock::None).await?;
    rows.sort_by(|a, b| (a.joined_at, &a.id).cmp(&(b.joined_at, &b.id)));
    Ok(rows)
}

/// Memberships that were ended here and whose subscriptions have not ended at Stripe: by their ids, with their customers.
pub async fn ended_here(tx: &mut Tx, limit: i64) -> Result<Vec<(String, Option<String>)>, DbError> {
    tx.sql(
        "SELECT id, customer_id
         FROM memberships
         WHERE ended_here_at > $1 AND subscription_id IS NOT NULL
           AND (subscription_status IS NULL OR subscription_status NOT IN ('canceled', 'incomplete_expired'))
         ORDER BY ended_here_at, id
         LIMIT $2",
    )
    .bind(Timestamp::UNIX_EPOCH)
    .bind(limit)
    .all()
    .await
}

/// Memberships whose subscriptions have ended and that hold their seat until something is settled, with their customers.
pub async fn waiting(tx: &mut Tx, limit: i64) -> Result<Vec<(String, Option<String>)>, DbError> {
    let sql = "SELECT id, customer_id
               FROM memberships
               WHERE over_at > $1 AND ended_at IS NULL
               ORDER BY over_at, id
               LIMIT $2";
    tx.sql(sql).bind(Timestamp::UNIX_EPOCH).bind(limit).all().await
}

/// The membership of a subscription.
pub async fn of_subscription(tx: &mut Tx, subscription_id: &str) -> Result<Option<Membership>, DbError> {
    Ok(tx.load("subscription_id", &BTreeSet::from([subscription_id.to_owned()]), Lock::None).await?.pop())
}

/// Memberships that have come to be and hold a seat, in the order of their ids, after one of them.
pub async fn live(tx: &mut Tx, after: &str, limit: i64) -> Result<Vec<Membership>, DbError> {
    let sql = "SELECT id
               FROM memberships
               WHERE subscription_id IS NOT NULL AND seat_of IS NOT NULL AND id > $1
               ORDER BY id
               LIMIT $2";
    let ids: Vec<(String,)> = tx.sql(sql).bind(after).bind(limit).all().await?;
    tx.load("id", &ids.into_iter().map(|(id,)| id).collect(), Lock::None).await
}
