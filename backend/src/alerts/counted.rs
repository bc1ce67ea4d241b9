//! What each process counts for alerts, written down where whoever judges finds it: calls to Stripe, versions that are new to us,
//! and when a webhook last came.

use tollgate_db::{DbError, Tx};
use tollgate_domain::alerts::snapshot::Share;
use tollgate_domain::sightings::{self, Sighting, SightingKind};
use tollgate_shared::Timestamp;
use tollgate_shared::clock::from_unix;

use crate::app::App;
use crate::stripe_api::Client;
use crate::stripe_api::calls::CallCounts;
use crate::webhooks::inbox::Inbox;

/// How long it is known how many calls were made: as long as any alert looks back, and an hour more.
const CALLS_KEPT: chrono::Duration = chrono::Duration::hours(25);

/// Writes down what was counted here since the last time. Nearly always there is nothing.
pub async fn write(inbox: &Inbox) -> Result<(), DbError> {
    let app = inbox.app();
    let (versions, calls) = (inbox.unknown_versions().waiting(), app.stripe.as_ref().map(Client::counts));
    let webhook_at = inbox.last_webhook().waiting();
    let counted = calls.map_or((0, 0), CallCounts::take);
    if versions.is_empty() && webhook_at.is_none() && counted == (0, 0) {
        return Ok(());
    }
    let seen: Vec<_> =
        versions.iter().map(|(version, at)| Sighting::new(SightingKind::UnknownVersion, version, *at)).collect();
    let written = write_down(app, &seen, webhook_at, counted).await;
    match (&written, calls) {
        (Ok(()), _) => {
            inbox.unknown_versions().forget(&versions);
            if let Some(at) = webhook_at {
                inbox.last_webhook().written(at);
            }
        }
        (Err(_), Some(counts)) => counts.give_back(counted),
        (Err(_), None) => {}
    }
    written
}

async fn write_down(
    app: &App,
    seen: &[Sighting],
    webhook_at: Option<Timestamp>,
    counted: (i64, i64),
) -> Result<(), DbError> {
    let now = app.clock.now();
    let mut tx = app.begin_write().await?;
    tx.upsert(&seen.iter().collect::<Vec<_>>()).await?;
    if let Some(at) = webhook_at {
        sightings::note_webhook(&mut tx, at, now).await?;
    }
    if counted != (0, 0) {
        add_calls(&mut tx, now, counted).await?;
    }
    tx.commit().await
}

async fn add_calls(tx: &mut Tx, now: Timestamp, (calls, failed): (i64, i64)) -> Result<(), DbError> {
    let seconds = now.timestamp();
    let minute = from_unix(seconds - seconds.rem_euclid(60)).unwrap_or(now);
    let added = tx.sql(
        "INSERT INTO stripe_calls (minute, calls, failed)
         VALUES ($1, $2, $3)
         ON CONFLICT (minute) DO UPDATE
         SET calls = stripe_calls.calls + excluded.calls, failed = stripe_calls.failed + excluded.failed",
    );
    added.bind(minute).bind(calls).bind(failed).run().await?;
    Ok(())
}

/// How many calls were made to Stripe since a moment, and how many of them failed; over all processes, by whole minutes.
pub(super) async fn calls_since(tx: &mut Tx, since: Timestamp) -> Result<Share, DbError> {
    let (failed, all) = tx
        .sql(
            "SELECT CAST(COALESCE(sum(failed), 0) AS BIGINT), CAST(COALESCE(sum(calls), 0) AS BIGINT)
             FROM stripe_calls
             WHERE minute > $1",
        )
        .bind(since)
        .one::<(i64, i64)>()
        .await?;
    Ok(Share { failed, all })
}

/// Forgets what no alert looks back to.
pub(super) async fn forget(tx: &mut Tx, now: Timestamp) -> Result<(), DbError> {
    tx.sql("DELETE FROM stripe_calls WHERE minute < $1").bind(now - CALLS_KEPT).run().await?;
    sightings::forget(tx, now - sightings::KEPT).await
}
