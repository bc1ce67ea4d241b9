//! The SQL of releases.

use tollgate_db::page::{Page, Position};
use tollgate_db::{DbError, Tx};
use tollgate_shared::Timestamp;

use super::Release;

/// How many releases are looked at at once: nearly always the first is the one.
pub(super) const PUBLISHED_AT_ONCE: i64 = 20;

/// After the key of any version.
pub(super) const LAST: &str = "~";

/// Those after a position, the newest first.
pub(super) async fn list(tx: &mut Tx, page: &Page) -> Result<Vec<Release>, DbError> {
    let Position { at, id } = page.start();
    tx.sql(
        "SELECT id, channel, version, sort_key, claims, name, notes, rollout_percent, feature, tiers, status, created_at,
                published_at, withdrawn_at, withdraw_reason
         FROM releases
         WHERE (created_at, id) < ($1, $2)
         ORDER BY created_at DESC, id DESC
         LIMIT $3",
    )
    .bind(at)
    .bind(id)
    .bind(page.rows_wanted())
    .all()
    .await
}

/// Published ones of a channel before a version, the newest first.
pub(super) async fn published(tx: &mut Tx, channel: &str, before: &str, limit: i64) -> Result<Vec<Release>, DbError> {
    tx.sql(
        "SELECT id, channel, version, sort_key, claims, name, notes, rollout_percent, feature, tiers, status, created_at,
                published_at, withdrawn_at, withdraw_reason
         FROM releases
         WHERE channel = $1 AND status = 'published' AND sort_key < $2
         ORDER BY sort_key DESC
         LIMIT $3",
    )
    .bind(channel)
    .bind(before)
    .bind(limit)
    .all()
    .await
}

/// Those that were withdrawn at `before` or earlier, after a position in that order.
pub(super) async fn withdrawn(
    tx: &mut Tx,
    before: Timestamp,
    after: &Position,
    limit: i64,
) -> Result<Vec<Release>, DbError> {
    tx.sql(
        "SELECT id, channel, version, sort_key, claims, name, notes, rollout_percent, feature, tiers, status, created_at,
                published_at, withdrawn_at, withdraw_reason
         FROM releases
         WHERE withdrawn_at <= $1 AND (withdrawn_at, id) > ($2, $3)
         ORDER BY withdrawn_at, id
         LIMIT $4",
    )
    .bind(before)
    .bind(after.at)
    .bind(&*after.id)
    .bind(limit)
    .all()
    .await
}
