//! Things that were seen and that somebody should hear of: prices that no plan matches, versions that are new to us. Each has
//! one row, however often it is seen, with when that was last. So have webhooks, of which somebody hears when there are none.

use std::collections::BTreeSet;

use tollgate_db::{DbError, Lock, Tx, record};
use tollgate_shared::Timestamp;

record! {
    /// A row of `sightings`.
    pub struct Sighting in "sightings" {
        /// What, and of what kind.
        pub id: String,
        /// A [`SightingKind`].
        pub kind: String,
        /// What: a subscription's id, a version's name.
        pub name: String,
        /// When it was last seen.
        pub seen_at: Timestamp,
    }
}

/// What is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SightingKind {
    /// A subscription that came to be one that no plan matches.
    UnmatchedSubscription,
    /// An event of an API version that this release does not know.
    UnknownVersion,
    /// A webhook that a relay handed over.
    Webhook,
}

/// The name of any webhook.
const ANY_WEBHOOK: &str = "any";

/// How long it is known that something was seen: longer than any alert looks back.
pub const KEPT: chrono::Duration = chrono::Duration::days(31);

impl SightingKind {
    fn name(self) -> &'static str {
        match self {
            Self::UnmatchedSubscription => "unmatched_subscription",
            Self::UnknownVersion => "unknown_version",
            Self::Webhook => "webhook",
        }
    }
}

impl Sighting {
    /// That something was seen.
    pub fn new(kind: SightingKind, name: &str, seen_at: Timestamp) -> Self {
        let of = kind.name();
        Self { id: format!("{of}:{name}"), kind: of.to_owned(), name: name.to_owned(), seen_at }
    }
}

/// What of a kind was seen since a moment, the newest first and `limit` at most.
pub async fn since(tx: &mut Tx, kind: SightingKind, since: Timestamp, limit: i64) -> Result<Vec<String>, DbError> {
    let rows: Vec<(String,)> = tx
        .sql(
            "SELECT name
             FROM sightings
             WHERE kind = $1 AND seen_at >= $2
             ORDER BY seen_at DESC, id DESC
             LIMIT $3",
        )
        .bind(kind.name())
        .bind(since)
        .bind(limit)
        .all()
        .await?;
    Ok(rows.into_iter().map(|(name,)| name).collect())
}

/// Notes that a webhook came at `at`. That is no earlier than what is known, unless a clock was wrong: what is known is after
/// the present then.
pub async fn note_webhook(tx: &mut Tx, at: Timestamp, now: Timestamp) -> Result<(), DbError> {
    let Sighting { id, kind, name, seen_at } = Sighting::new(SightingKind::Webhook, ANY_WEBHOOK, at);
    let noted = tx.sql(
        "INSERT INTO sightings (id, kind, name, seen_at)
         VALUES ($1, $2, $3, $4)
         ON CONFLICT (id) DO UPDATE
         SET seen_at = excluded.seen_at
         WHERE sightings.seen_at < excluded.seen_at OR sightings.seen_at > $5",
    );
    noted.bind(id).bind(kind).bind(name).bind(seen_at).bind(now).run().await?;
    Ok(())
}

/// When a webhook last came, if one ever did.
pub async fn last_webhook(tx: &mut Tx) -> Result<Option<Timestamp>, DbError> {
    let id = Sighting::new(SightingKind::Webhook, ANY_WEBHOOK, Timestamp::UNIX_EPOCH).id;
    let known: Option<Sighting> = tx.load("id", &BTreeSet::from([id]), Lock::None).await?.pop();
    Ok(known.map(|webhook| webhook.seen_at))
}

/// Forgets what was last seen before a moment, but not when a webhook last came: nobody would hear that none does.
pub async fn forget(tx: &mut Tx, before: Timestamp) -> Result<(), DbError> {
    for kind in [SightingKind::UnmatchedSubscription, SightingKind::UnknownVersion] {
        let forgotten = tx.sql("DELETE FROM sightings WHERE kind = $1 AND seen_at < $2");
        forgotten.bind(kind.name()).bind(before).run().await?;
    }
    Ok(())
}
