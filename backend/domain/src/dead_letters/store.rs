//! The SQL of `dead_letters`.

use std::collections::BTreeSet;

use tollgate_db::{DbError, Lock, Tx, id_set, record};
use tollgate_shared::{Rng, Timestamp, ids};

use super::{BY_ACKNOWLEDGEMENT, BY_DEACTIVATION, BY_SYSTEM, Failure, Source, Subject, ToSendAgain, readable};

/// Opens a dead letter, or renews the one that there is. Whoever calls it holds what failed.
pub async fn open(tx: &mut Tx, now: Timestamp, rng: &Rng, failure: &Failure<'_>) -> Result<(), DbError> {
    let id = ids::new_id("dl", now, rng);
    let Failure { subject, customer_id, event_type, attempts, .. } = *failure;
    let reason = readable(failure.reason);
    let source = subject.source().name();
    let opened = match subject {
        Subject::Webhook(event_id) | Subject::Notification(event_id) => tx
            .sql(
                "INSERT INTO dead_letters
                     (id, source, event_id, customer_id, type, reason, attempts, status, created_at, last_failed_at)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, 'open', $8, $8)
                 ON CONFLICT (event_id) WHERE machine_id IS NULL DO UPDATE
                 SET reason = excluded.reason, attempts = dead_letters.attempts + excluded.attempts, status = 'open',
                     created_at = CASE WHEN dead_letters.status = 'resolved' THEN excluded.created_at
                                       ELSE dead_letters.created_at END,
                     last_failed_at = excluded.last_failed_at,
                     retried_by = NULL, resolved_at = NULL, resolved_by = NULL, note = NULL",
            )
            .bind(id)
            .bind(source)
            .bind(event_id)
            .bind(customer_id)
            .bind(event_type)
            .bind(reason)
            .bind(attempts)
            .bind(now),
        Subject::Delivery(delivery) | Subject::Desktop(delivery) => tx
            .sql(
                "INSERT INTO dead_letters
                     (id, source, event_id, machine_id, license_id, customer_id, type, reason, attempts, status,
                      created_at, last_failed_at)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'open', $10, $10)
                 ON CONFLICT (machine_id, type) WHERE machine_id IS NOT NULL AND status <> 'resolved' DO UPDATE
                 SET source = excluded.source, event_id = excluded.event_id, reason = excluded.reason,
                     attempts = dead_letters.attempts + excluded.attempts, status = 'open',
                     last_failed_at = excluded.last_failed_at, retried_by = NULL",
            )
            .bind(id)
            .bind(source)
            .bind(delivery.event_id)
            .bind(delivery.machine_id)
            .bind(delivery.license_id)
            .bind(customer_id)
            .bind(event_type)
            .bind(reason)
            .bind(attempts)
            .bind(now),
    };
    opened.run().await?;
    Ok(())
}

/// Notes that an operator has a letter tried again; says whether it was not resolved already.
pub async fn note_retry(tx: &mut Tx, now: Timestamp, id: &str, by: &str) -> Result<bool, DbError> {
    let noted = tx.sql(
        "UPDATE dead_letters
         SET status = 'retrying', retried_at = $2, retried_by = $3
         WHERE id = $1 AND status <> 'resolved'",
    );
    Ok(noted.bind(id).bind(now).bind(by).run().await? > 0)
}

/// The same for the letter of an event of Stripe's, if it has one.
pub async fn note_retry_of_event(tx: &mut Tx, now: Timestamp, event_id: &str, by: &str) -> Result<(), DbError> {
    let noted = tx.sql(
        "UPDATE dead_letters
         SET status = 'retrying', retried_at = $2, retried_by = $3
         WHERE event_id = $1 AND machine_id IS NULL AND source = 'webhook' AND status <> 'resolved'",
    );
    noted.bind(event_id).bind(now).bind(by).run().await?;
    Ok(())
}

/// Ends a letter of an event of Stripe's, which is in effect now: by `by`, else by whoever had it tried again.
pub async fn end(tx: &mut Tx, now: Timestamp, id: &str, by: Option<&str>) -> Result<(), DbError> {
    let ended = tx.sql(
        "UPDATE dead_letters
         SET status = 'resolved', resolved_at = $2, resolved_by = COALESCE($3, retried_by, $4)
         WHERE id = $1 AND status <> 'resolved'",
    );
    ended.bind(id).bind(now).bind(by).bind(BY_SYSTEM).run().await?;
    Ok(())
}

/// Ends the letter that says of a machine that it did not take an event, if there is one: it has acknowledged it.
pub async fn end_acknowledged(tx: &mut Tx, now: Timestamp, machine_id: &str, event_id: &str) -> Result<(), DbError> {
    let ended = tx.sql(
        "UPDATE dead_letters
         SET status = 'resolved', resolved_at = $3, resolved_by = $4
         WHERE machine_id = $1 AND event_id = $2 AND status <> 'resolved'",
    );
    ended.bind(machine_id).bind(event_id).bind(now).bind(BY_ACKNOWLEDGEMENT).run().await?;
    Ok(())
}

/// Ends the letters that say of machines that they did not take something: they gave up their seats, so that nothing can be
/// sent to them again. Says how many. No machines, no letters.
pub async fn end_of_machines(tx: &mut Tx, now: Timestamp, machine_ids: &BTreeSet<String>) -> Result<u64, DbError> {
    let ended = tx.sql(
        "UPDATE dead_letters
         SET status = 'resolved', resolved_at = $2, resolved_by = $3
         WHERE machine_id IN (SELECT key FROM json_each($1)) AND machine_id IS NOT NULL AND status <> 'resolved'",
    );
    ended.bind(id_set(machine_ids.iter().map(String::as_str))).bind(now).bind(BY_DEACTIVATION).run().await
}

/// Whether a machine may open another letter: it has one that is not resolved, or fewer than `others_max` wait of the others
/// of its licence.
pub async fn may_open(tx: &mut Tx, license_id: &str, machine_id: &str, others_max: i64) -> Result<bool, DbError> {
    let (may_open,) = tx
        .sql(
            "SELECT (SELECT count(*)
                     FROM (SELECT 1
                           FROM dead_letters
                           WHERE license_id = $1 AND status IN ('open', 'retrying') AND machine_id IS NOT NULL
                           LIMIT $3) AS others) < $3
                 OR EXISTS (SELECT 1
                            FROM dead_letters
                            WHERE machine_id = $2 AND machine_id IS NOT NULL AND status <> 'resolved')",
        )
        .bind(license_id)
        .bind(machine_id)
        .bind(others_max)
        .one()
        .await?;
    Ok(may_open)
}

/// Ends the letters of messages, those that have one: they have come to their end.
pub async fn end_of_messages(tx: &mut Tx, now: Timestamp, message_ids: &BTreeSet<String>) -> Result<(), DbError> {
    for id in message_ids {
        let ended = tx.sql(
            "UPDATE dead_letters
             SET status = 'resolved', resolved_at = $2, resolved_by = COALESCE(retried_by, $3)
             WHERE event_id = $1 AND machine_id IS NULL AND status <> 'resolved'",
        );
        ended.bind(id.as_str()).bind(now).bind(BY_SYSTEM).run().await?;
    }
    Ok(())
}

/// Resolves a letter at an operator's word; says whether it was not resolved already.
pub async fn resolve(tx: &mut Tx, now: Timestamp, id: &str, by: &str, note: Option<&str>) -> Result<bool, DbError> {
    let resolved = tx.sql(
        "UPDATE dead_letters
         SET status = 'resolved', resolved_at = $2, resolved_by = $3, note = $4
         WHERE id = $1 AND status <> 'resolved'",
    );
    Ok(resolved.bind(id).bind(now).bind(by).bind(note).run().await? > 0)
}

record! {
    /// How far along a letter is.
    pub struct LetterState in "dead_letters" {
        /// `dl_…`
        pub id: String,
        /// What failed.
        pub event_id: String,
        /// A [`Source`].
        pub source: String,
        /// A [`Status`](super::Status).
        pub status: String,
        /// Why it failed the last time.
        pub reason: String,
        /// How often it failed.
        pub attempts: i64,
        /// Who resolved it.
        pub resolved_by: Option<String>,
    }
}

/// The letters of those of Stripe's events that have one. No events, no statement.
pub async fn of_events(tx: &mut Tx, event_ids: &BTreeSet<String>) -> Result<Vec<LetterState>, DbError> {
    let mut letters: Vec<LetterState> = tx.load("event_id", event_ids, Lock::None).await?;
    letters.retain(|letter| letter.source == Source::Webhook.name());
    Ok(letters)
}

/// The letters that were resolved before `before`, the oldest first and at most `limit`: each with its event.
pub async fn resolved_before(tx: &mut Tx, before: Timestamp, limit: i64) -> Result<Vec<(String, String)>, DbError> {
    tx.sql(
        "SELECT id, event_id
         FROM dead_letters
         WHERE resolved_at < $1
         ORDER BY resolved_at, id
         LIMIT $2",
    )
    .bind(before)
    .bind(limit)
    .all()
    .await
}

/// Removes those of these letters that are still resolved; says how many.
pub async fn forget(tx: &mut Tx, ids: impl IntoIterator<Item = &str>) -> Result<u64, DbError> {
    tx.sql("DELETE FROM dead_letters WHERE id IN (SELECT key FROM json_each($1)) AND status = 'resolved'")
        .bind(id_set(ids))
        .run()
        .await
}

/// The events that operators want sent again to machines of these licences.
pub async fn to_send_again(
    tx: &mut Tx,
    license_ids: impl IntoIterator<Item = &str>,
) -> Result<Vec<ToSendAgain>, DbError> {
    let rows: Vec<(String, String, String, Timestamp)> = tx
        .sql(
            "SELECT letter.license_id, letter.machine_id, letter.event_id, letter.retried_at
             FROM json_each($1) AS wanted
             JOIN dead_letters AS letter ON letter.license_id = wanted.key AND letter.status = 'retrying'
             WHERE letter.machine_id IS NOT NULL
             ORDER BY letter.license_id, letter.retried_at",
        )
        .bind(id_set(license_ids))
        .all()
        .await?;
    let to_send =
        |(license_id, machine_id, event_id, retried_at)| ToSendAgain { license_id, machine_id, event_id, retried_at };
    Ok(rows.into_iter().map(to_send).collect())
}

/// How many letters of each source are open; a source that has none is not named.
pub async fn open_by_source(tx: &mut Tx) -> Result<Vec<(String, i64)>, DbError> {
    tx.sql("SELECT source, count(*) FROM dead_letters WHERE status = 'open' GROUP BY source ORDER BY source")
        .all()
        .await
}

/// Why letters are open: the reasons of the most of them, each with its number. Apps make up reasons of their own, of which
/// there may be any number.
pub async fn reasons_of_open(tx: &mut Tx) -> Result<Vec<(String, i64)>, DbError> {
    tx.sql(
        "SELECT reason, count(*)
         FROM dead_letters
         WHERE status = 'open'
         GROUP BY reason
         ORDER BY count(*) DESC, reason
         LIMIT 100",
    )
    .all()
    .await
}

/// When the oldest letter of a source that is open became one.
pub async fn oldest_open(tx: &mut Tx, source: Source) -> Result<Option<Timestamp>, DbError> {
    let oldest = tx.sql(
        "SELECT created_at
         FROM dead_letters
         WHERE status = 'open' AND source = $1
         ORDER BY created_at, id
         LIMIT 1",
    );
    let oldest: Option<(Timestamp,)> = oldest.bind(source.name()).optional().await?;
    Ok(oldest.map(|(at,)| at))
}
