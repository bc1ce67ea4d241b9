//! What comes to pods and memberships by time alone.

use std::convert::Infallible;

use tollgate_db::DbError;
use tollgate_domain::apply::Touched;
use tollgate_domain::memberships;
use tollgate_domain::memberships::settled::settle;
use tollgate_domain::pods::{self, Pod};

use super::or_database;
use crate::app::App;

/// How many are taken up at a time.
const PORTION: i64 = 1000;

/// Ends memberships whose subscriptions have ended and of which nothing is under way or in grace any more, and brings the
/// order of lists up to date. Says how many memberships it has looked at.
pub async fn settle_all(app: &App) -> Result<usize, DbError> {
    let waiting = memberships::waiting(&mut app.read().await?, PORTION).await?;
    for (id, customer) in &waiting {
        let touched = Touched::membership(id, customer.as_deref());
        let settled = app.write(&touched, |work| {
            settle(work, id, app.settings.pod_retries);
            Ok::<_, Infallible>(())
        });
        or_database(settled.await)?;
    }
    for pod in pods::behind(&mut app.read().await?, app.clock.now(), PORTION).await? {
        let touched = Touched::pod(&pod.id);
        let caught_up = app.write(&touched, |work| {
            if let Some(mut row) = work.get_cloned::<Pod>(&pod.id) {
                row.catch_up(work.now());
                work.insert(row);
            }
            Ok::<_, Infallible>(())
        });
        or_database(caught_up.await)?;
    }
    Ok(waiting.len())
}
