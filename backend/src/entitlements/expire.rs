//! Ends the entitlement of customers whose grace has run out: no event tells of that.

use tollgate_db::{DbError, Tx};
use tollgate_domain::audit::Cause;
use tollgate_domain::entitlements;
use tollgate_shared::Timestamp;

use super::follow::{InTrouble, PAGE};
use crate::app::App;

/// The job of one process.
#[derive(Default)]
pub struct Expire {
    in_trouble: InTrouble,
}

impl Expire {
    /// Ends what has ended by now; gives how many customers' entitlement did.
    pub(crate) async fn run(&self, app: &App) -> Result<usize, DbError> {
        let now = app.clock.now();
        let (mut after, mut ended) = (None, 0);
        loop {
            let mut tx = app.read().await?;
            let page = ended_by(&mut tx, now, after).await?;
            drop(tx);
            let Some((last, last_at)) = page.last().cloned() else { return Ok(ended) };
            after = Some((last_at, last));
            let customers = page.into_iter().map(|(id, _)| id).collect();
            let follow = self.in_trouble.follow(app, customers, |work, customer| {
                entitlements::follow(work, &app.settings, Cause::system(), customer);
            });
            ended += follow.await?;
        }
    }
}

/// A page of the customers whose entitlement has ended by time alone, the longest ended first; after the given one.
async fn ended_by(
    tx: &mut Tx,
    now: Timestamp,
    after: Option<(Timestamp, String)>,
) -> Result<Vec<(String, Timestamp)>, DbError> {
    let (after_at, after_id) = after.unwrap_or_else(|| (Timestamp::UNIX_EPOCH, String::new()));
    tx.sql(
        "SELECT id, entitled_until
         FROM customers
         WHERE entitled_until <= $1 AND (entitled_until, id) > ($2, $3)
         ORDER BY entitled_until, id
         LIMIT $4",
    )
    .bind(now)
    .bind(after_at)
    .bind(after_id.as_str())
    .bind(PAGE)
    .all()
    .await
}

#[cfg(test)]
mod tests;
