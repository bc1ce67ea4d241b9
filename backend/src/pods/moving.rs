//! A date that was moved: the subscriptions of the pod's members follow at Stripe.

use std::collections::BTreeMap;
use std::convert::Infallible;

use rocket::http::Status;
use tollgate_db::DbError;
use tollgate_domain::apply::Touched;
use tollgate_domain::memberships::moving::{CannotMove, note_asked, note_moved, to_be_moved};
use tollgate_domain::memberships::{self, Membership};
use tollgate_domain::pods::{self, Pod};
use tollgate_shared::Timestamp;
use tracing::warn;

use super::at_stripe::Teller;
use super::or_database;
use crate::app::App;
use crate::http::error::ApiError;

/// How many are taken up at a time.
const PORTION: i64 = 1000;

/// Lets the members of pods whose date was moved follow. Says how many have.
pub async fn follow(app: &App) -> Result<usize, DbError> {
    let Ok(teller) = Teller::open(app) else { return Ok(0) };
    let mut moved = 0;
    for pod in pods::moving(&mut app.read().await?, PORTION).await? {
        let members = memberships::of_pod(&mut app.read().await?, &pod.id).await?;
        let (done, is_whole) = move_members(teller.in_background(), &pod, &members).await?;
        moved += done;
        if is_whole {
            let touched = Touched::pod(&pod.id);
            let noted = app.write(&touched, |work| {
                note_moved(work, &pod.id, pod.moving_since);
                Ok::<_, Infallible>(())
            });
            or_database(noted.await)?;
        }
    }
    Ok(moved)
}

/// Looks at every membership that goes on: a subscription whose anchor was cut off by a short month is brought back to the
/// day of its pod. Says how many were moved.
pub async fn look_at_all(app: &App) -> Result<usize, DbError> {
    let Ok(teller) = Teller::open(app) else { return Ok(0) };
    let (mut after, mut moved) = (String::new(), 0);
    loop {
        let mut tx = app.read().await?;
        let found = memberships::live(&mut tx, &after, PORTION).await?;
        let Some(last) = found.last().map(|row| row.id.clone()) else { return Ok(moved) };
        let rows = pods::of_ids(&mut tx, found.iter().map(|row| row.pod_id.clone()).collect()).await?;
        drop(tx);
        let mut by_pod: BTreeMap<String, Vec<Membership>> = BTreeMap::new();
        for row in found {
            by_pod.entry(row.pod_id.clone()).or_default().push(row);
        }
        for pod in rows {
            let members = by_pod.remove(&pod.id).unwrap_or_default();
            moved += move_members(teller.in_background(), &pod, &members).await?.0;
        }
        after = last;
    }
}

/// How many were moved, and whether all that were to be.
async fn move_members(teller: Teller<'_>, pod: &Pod, members: &[Membership]) -> Result<(usize, bool), DbError> {
    let now = teller.app.clock.now();
    let (mut done, mut is_whole) = (0, true);
    for row in members {
        let Some(date) = to_be_moved(row, pod, now) else { continue };
        match move_one(teller, pod, row, date).await {
            Ok(()) => done += 1,
            Err(error) if error == ApiError::database_unavailable() => {
                return Err(DbError::Unavailable { reason: "away".into() });
            }
            Err(error) => {
                is_whole = false;
                warn!("could not move a pod's subscription, which is tried again: {}", error.code);
            }
        }
    }
    Ok((done, is_whole))
}

async fn move_one(teller: Teller<'_>, pod: &Pod, row: &Membership, date: Timestamp) -> Result<(), ApiError> {
    let Some(subscription) = &row.subscription_id else { return Ok(()) };
    let seen = teller.move_date(&row.id, subscription, date, pod.ends_at()).await?;
    teller.take_in(&seen, &row.id).await?;
    let touched = Touched::membership(&row.id, row.customer_id.as_deref());
    let noted = teller.app.write(&touched, |work| {
        note_asked(work, &row.id, date);
        Ok::<_, ApiError>(())
    });
    noted.await?;
    Ok(())
}

impl From<CannotMove> for ApiError {
    fn from(why: CannotMove) -> Self {
        let code = match why {
            CannotMove::UnderWay => "contribution_under_way",
            CannotMove::Closed => "pod_closed",
        };
        Self::new(Status::Conflict, code, why.to_string())
    }
}
