//! What people are told of alerts, on its way to them.
//!
//! One row a destination. Tried at once, and then as messages to users are; whoever tries one has put off for how long nobody
//! else does. What is newer of the same alert takes the place of what was not delivered yet.

use chrono::Duration;
use serde::{Deserialize, Serialize};
use tollgate_db::{DbError, Json, Tx, record};
use tollgate_shared::{Rng, Timestamp, ids};

use super::{Alert, Labels};
use crate::notifications::sending::retry_delay;

record! {
    /// A row of `alert_messages`.
    pub struct AlertMessage in "alert_messages" {
        /// `alm_…`
        pub id: String,
        /// Of which alert.
        pub fingerprint: String,
        /// To whom: `webhook`, or an e-mail address.
        pub destination: String,
        /// What is told.
        pub told: Json<Told>,
        /// `queued`, `sent`, `superseded` or `failed`.
        pub status: String,
        /// How often it was tried.
        pub attempts: i64,
        /// What the last attempt failed with.
        pub last_error: Option<String>,
        /// When it was written.
        pub created_at: Timestamp,
        /// When it is tried next; while somebody tries, when another one may. None once it has ended.
        pub next_attempt_at: Option<Timestamp>,
    }
}

/// An alert as it was when people were told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "as in the rows")]
pub struct Told {
    pub fingerprint: String,
    pub alert: String,
    pub severity: String,
    pub labels: Labels,
    pub summary: String,
    pub starts_at: Timestamp,
    /// None while it fires.
    pub ends_at: Option<Timestamp>,
}

/// How long a message is its process's: longer than any way out takes.
pub const LEASE: Duration = Duration::minutes(2);

/// How long it is known what people were told.
const KEPT: Duration = Duration::days(30);

/// What came of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempted {
    /// It was taken.
    Sent,
    /// It will never be taken.
    Refused(String),
    /// It was not taken, and may be later; not before the time that the other side asks for.
    Failed(String, Option<Duration>),
}

impl Told {
    /// An alert as it is.
    pub fn of(alert: &Alert) -> Self {
        Self {
            fingerprint: alert.fingerprint.clone(),
            alert: alert.alert.clone(),
            severity: alert.severity.clone(),
            labels: alert.labels.0.clone(),
            summary: alert.summary.clone(),
            starts_at: alert.starts_at,
            ends_at: alert.ends_at,
        }
    }
}

/// Writes down what is to be told, to each of `destinations`, in the place of what was not delivered yet of the same alert.
pub async fn queue(
    tx: &mut Tx,
    now: Timestamp,
    rng: &Rng,
    told: &Told,
    destinations: &[String],
) -> Result<(), DbError> {
    let superseded = tx.sql(
        "UPDATE alert_messages
         SET status = 'superseded', next_attempt_at = NULL
         WHERE fingerprint = $1 AND next_attempt_at IS NOT NULL",
    );
    superseded.bind(&*told.fingerprint).run().await?;
    let message = |destination: &String| AlertMessage {
        id: ids::new_id("alm", now, rng),
        fingerprint: told.fingerprint.clone(),
        destination: destination.clone(),
        told: Json(told.clone()),
        status: "queued".to_owned(),
        attempts: 0,
        last_error: None,
        created_at: now,
        next_attempt_at: Some(now),
    };
    let messages: Vec<_> = destinations.iter().map(message).collect();
    tx.insert(&messages.iter().collect::<Vec<_>>()).await?;
    Ok(())
}

/// Takes the messages up that are due, the oldest first and `limit` at most: nobody else tries them for [`LEASE`].
pub async fn take_due(tx: &mut Tx, now: Timestamp, limit: i64) -> Result<Vec<AlertMessage>, DbError> {
    let due: Vec<(String, Timestamp)> = tx
        .sql(
            "SELECT id, next_attempt_at
             FROM alert_messages
             WHERE next_attempt_at <= $1
             ORDER BY next_attempt_at, id
             LIMIT $2",
        )
        .bind(now)
        .bind(limit)
        .all()
        .await?;
    let mut taken = Vec::new();
    for (id, seen) in due {
        let message: Option<AlertMessage> = tx
            .sql(
                "UPDATE alert_messages
                 SET attempts = attempts + 1, next_attempt_at = $3
                 WHERE id = $1 AND next_attempt_at = $2
                 RETURNING id, fingerprint, destination, told, status, attempts, last_error, created_at, next_attempt_at",
            )
            .bind(id)
            .bind(seen)
            .bind(now + LEASE)
            .optional()
            .await?;
        taken.extend(message);
    }
    Ok(taken)
}

/// Notes what came of an attempt at a message that was taken up; nothing where it is somebody else's by now, or superseded.
/// Says whether it was given up.
pub async fn note(tx: &mut Tx, now: Timestamp, message: &AlertMessage, attempted: &Attempted) -> Result<bool, DbError> {
    let (status, error, next) = match attempted {
        Attempted::Sent => ("sent", None, None),
        Attempted::Refused(error) => ("failed", Some(error), None),
        Attempted::Failed(error, asked_for) => match retry_delay(message.attempts, *asked_for) {
            Some(delay) => ("queued", Some(error), Some(now + delay)),
            None => ("failed", Some(error), None),
        },
    };
    let noted = tx.sql(
        "UPDATE alert_messages
         SET status = $3, last_error = $4, next_attempt_at = $5
         WHERE id = $1 AND attempts = $2 AND next_attempt_at IS NOT NULL",
    );
    let noted = noted.bind(&*message.id).bind(message.attempts).bind(status).bind(error.map(String::as_str)).bind(next);
    Ok(noted.run().await? > 0 && status == "failed")
}

/// Forgets what ended long ago.
pub async fn forget(tx: &mut Tx, now: Timestamp) -> Result<(), DbError> {
    let forgotten = tx.sql("DELETE FROM alert_messages WHERE created_at < $1 AND next_attempt_at IS NULL");
    forgotten.bind(now - KEPT).run().await?;
    Ok(())
}
