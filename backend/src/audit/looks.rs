//! That an operator looked at what is kept from others: whole keys, and what is in an event.

use std::convert::Infallible;

use chrono::Duration;
use tollgate_db::{DbError, Tx};
use tollgate_domain::apply::Touched;
use tollgate_domain::audit::acts::{self, Act, ActedBy};
use tollgate_shared::Timestamp;

use crate::app::App;
use crate::http::error::ApiError;

/// For how long a look at the same thing by the same person is the same look: a page that is open asks again every few
/// seconds, and the trail is kept for good.
const SAME_LOOK: Duration = Duration::hours(1);

/// Puts on record that `by` looks at `target`, before it is shown.
pub async fn note(app: &App, by: &ActedBy, action: &'static str, target: (&'static str, &str)) -> Result<(), ApiError> {
    let since = app.clock.now() - SAME_LOOK;
    if is_noted(&mut app.read().await?, by, action, target.1, since).await? {
        return Ok(());
    }
    let touched = Touched::default();
    let noted = app.write(&touched, |work| {
        acts::record(work, by, Act { action, target, before: None, after: None });
        Ok::<_, Infallible>(())
    });
    noted.await?;
    Ok(())
}

async fn is_noted(tx: &mut Tx, by: &ActedBy, action: &str, target_id: &str, since: Timestamp) -> Result<bool, DbError> {
    let row: Option<(String,)> = tx
        .sql(
            "SELECT id
             FROM operator_acts
             WHERE target_id = $1 AND at >= $2 AND actor || '' = $3 AND action || '' = $4
               AND COALESCE(claimed_name, '') = $5
             LIMIT 1",
        )
        .bind(target_id)
        .bind(since)
        .bind(by.actor.as_str())
        .bind(action)
        .bind(by.claimed_name.as_deref().unwrap_or_default())
        .optional()
        .await?;
    Ok(row.is_some())
}
