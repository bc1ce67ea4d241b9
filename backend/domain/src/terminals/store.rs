//! The SQL of terminals.

use tollgate_db::page::{Page, Position};
use tollgate_db::{DbError, Tx};
use tollgate_shared::Timestamp;

use super::{TerminalSession, Wanted};
use crate::licenses::machines::Machine;
use crate::sessions::{STALE_AFTER, SUSPECT_AFTER};

/// The machines that hold seats of a licence, of which the page may show some.
pub(super) async fn in_seats(tx: &mut Tx, license_id: &str, page: &Page) -> Result<Vec<Machine>, DbError> {
    tx.sql(
        "SELECT id, license_id, fingerprint_hash, name, platform, app_version, activated_at, last_seen_at,
                deactivated_at, seat_of
         FROM machines
         WHERE seat_of = $1 AND (activated_at, id) < ($2, $3)
         ORDER BY activated_at DESC, id DESC
         LIMIT $4",
    )
    .bind_page(license_id, page)
    .all()
    .await
}

/// The sessions of a licence that are wanted, of which the page may show some.
pub(super) async fn sessions(
    tx: &mut Tx,
    license_id: &str,
    wanted: &Wanted,
    page: &Page,
) -> Result<Vec<TerminalSession>, DbError> {
    let Position { at, id } = page.start();
    tx.sql(
        "SELECT s.id, s.machine_id, m.license_id, s.transport, s.connected_at, s.last_seen_at,
                m.deactivated_at AS ended_at, m.activated_at, m.app_version, m.platform
         FROM machines AS m
         JOIN sessions AS s ON s.machine_id = m.id
         WHERE m.license_id = $1 AND (m.activated_at, m.id) < ($2, $3)
           AND s.last_seen_at > $5 AND s.last_seen_at <= $6
           AND COALESCE(m.deactivated_at, $7) > $8
         ORDER BY m.activated_at DESC, m.id DESC
         LIMIT $4",
    )
    .bind(license_id)
    .bind(at)
    .bind(id)
    .bind(page.rows_wanted())
    .bind(wanted.seen_after)
    .bind(wanted.seen_until)
    .bind(wanted.open_end_at)
    .bind(wanted.ended_after)
    .all()
    .await
}

/// How many machines hold seats of a licence and have a session, by version, operating system and status.
pub(super) async fn count(
    tx: &mut Tx,
    now: Timestamp,
    license_id: &str,
) -> Result<Vec<(Option<String>, Option<String>, String, i64)>, DbError> {
    tx.sql(
        "SELECT m.app_version, m.platform,
                CASE WHEN s.last_seen_at <= $2 THEN 'stale'
                     WHEN s.last_seen_at <= $3 THEN 'suspect'
                     ELSE 'connected' END AS status,
                COUNT(*)
         FROM machines AS m
         JOIN sessions AS s ON s.machine_id = m.id
         WHERE m.seat_of = $1
         GROUP BY m.app_version, m.platform, status",
    )
    .bind(license_id)
    .bind(now - STALE_AFTER)
    .bind(now - SUSPECT_AFTER)
    .all()
    .await
}
