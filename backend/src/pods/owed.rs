//! What is still to be done at Stripe for memberships that were ended here: their subscriptions are ended there.

use std::convert::Infallible;

use tollgate_db::DbError;
use tollgate_domain::apply::Touched;
use tollgate_domain::memberships;
use tollgate_domain::memberships::leaving::still_owed;
use tracing::warn;

use super::at_stripe::Teller;
use crate::app::App;
use crate::write::WriteError;

/// How many are taken up at a time.
const PORTION: i64 = 100;

/// Ends what is to be ended at Stripe, until a call fails: then the next run goes on. How many were.
pub async fn run(app: &App) -> Result<usize, DbError> {
    let Ok(teller) = Teller::open(app) else { return Ok(0) };
    let mut done = 0;
    for (id, customer) in memberships::ended_here(&mut app.read().await?, PORTION).await? {
        let touched = Touched::membership(&id, customer.as_deref());
        let owed = app.write(&touched, |work| Ok::<_, Infallible>(still_owed(work, &id))).await;
        let what = match owed {
            Ok((what, _)) => what,
            Err(WriteError::Database(failure)) => return Err(failure),
            Err(WriteError::Panicked) => continue,
        };
        match teller.in_background().carry_out(&id, &what).await {
            Ok(Some(seen)) => done += usize::from(teller.take_in(&seen, &id).await.unwrap_or(false)),
            Ok(None) => {}
            Err(error) => {
                warn!("could not end a pod's subscription at Stripe, which is tried again: {}", error.code);
                break;
            }
        }
    }
    Ok(done)
}
