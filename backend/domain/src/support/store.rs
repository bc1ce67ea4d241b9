//! The SQL of tickets.

use tollgate_db::{DbError, Tx};

use super::Ticket;

/// The newest tickets of a user, `limit` at most.
pub(super) async fn newest_of_user(tx: &mut Tx, user_id: &str, limit: i64) -> Result<Vec<Ticket>, DbError> {
    tx.sql(
        "SELECT id, number, user_id, subject, category, priority, status, license_id, last_message, created_at,
                updated_at
         FROM support_tickets
         WHERE user_id = $1
         ORDER BY created_at DESC, id DESC
         LIMIT $2",
    )
    .bind(user_id)
    .bind(limit)
    .all()
    .await
}
