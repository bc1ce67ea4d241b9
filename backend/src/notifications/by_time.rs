//! What is told by time alone: dates that come near, graces that end, bank debits that are under way.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use tollgate_db::{DbError, Lock, Tx};
use tollgate_domain::apply::Touched;
use tollgate_domain::contributions::Contribution;
use tollgate_domain::customers::Customer;
use tollgate_domain::memberships::{self, Membership};
use tollgate_domain::notifications::timed::{self, GRACE_ENDING};
use tollgate_domain::notifications::{self, Notice};
use tollgate_domain::pods::{self, Pod};
use tollgate_domain::subscriptions::Subscription;
use tollgate_shared::Timestamp;

use crate::app::App;
use crate::write::WriteError;

/// How many memberships or customers are looked at at a time.
const PORTION: i64 = 1000;

/// How many things are told in one transaction.
const TOLD_AT_ONCE: usize = 100;

/// Tells everybody what the clock has brought about and nobody was told yet. How many things that were.
pub async fn tell_all(app: &App) -> Result<usize, DbError> {
    Ok(tell_members(app).await? + tell_customers(app).await?)
}

async fn tell_members(app: &App) -> Result<usize, DbError> {
    let (mut after, mut told) = (String::new(), 0);
    loop {
        let mut tx = app.read().await?;
        let found = memberships::live(&mut tx, &after, PORTION).await?;
        let Some(last) = found.last().map(|row| row.id.clone()) else { return Ok(told) };
        let notices = of_members(&mut tx, app.clock.now(), &found).await?;
        drop(tx);
        told += tell(app, notices).await?;
        after = last;
    }
}

async fn of_members(tx: &mut Tx, now: Timestamp, members: &[Membership]) -> Result<Vec<Notice>, DbError> {
    let pods = pods::of_ids(tx, members.iter().map(|row| row.pod_id.clone()).collect()).await?;
    let pods: BTreeMap<&str, &Pod> = pods.iter().map(|pod| (&*pod.id, pod)).collect();
    let pod_of = |row: &Membership| pods.get(&*row.pod_id).copied();
    let pending = members.iter().filter(|row| row.pending_amount > 0).map(|row| row.id.clone()).collect();
    let contributions: Vec<Contribution> = tx.load("membership_id", &pending, Lock::None).await?;
    let by_clock = members.iter().filter_map(|row| Some(timed::of_membership(row, pod_of(row)?, now))).flatten();
    let under_way = contributions.iter().filter_map(|one| {
        let row = members.iter().find(|row| row.id == one.membership_id)?;
        timed::of_contribution(one, row, pod_of(row)?, now)
    });
    Ok(by_clock.chain(under_way).collect())
}

/// Tells customers of plans whose grace is about to end. That it has ended is told with that.
async fn tell_customers(app: &App) -> Result<usize, DbError> {
    let now = app.clock.now();
    let (mut after, mut told) = ((now, String::new()), 0);
    loop {
        let mut tx = app.read().await?;
        let page = ending(&mut tx, now + GRACE_ENDING, &after).await?;
        let Some((last, last_at)) = page.last().cloned() else { return Ok(told) };
        let ids: BTreeSet<_> = page.into_iter().map(|(id, _)| id).collect();
        let customers: Vec<Customer> = tx.load("id", &ids, Lock::None).await?;
        let current = customers.iter().filter_map(|row| row.current_subscription_id.clone()).collect();
        let subscriptions: Vec<Subscription> = tx.load("id", &current, Lock::None).await?;
        drop(tx);
        let notices = customers.iter().filter_map(|row| {
            let current = row.current_subscription_id.as_deref()?;
            let subscription = subscriptions.iter().find(|subscription| subscription.id == current)?;
            timed::of_grace(&app.settings, subscription, row, row.entitled_until?, now)
        });
        told += tell(app, notices.collect()).await?;
        after = (last_at, last);
    }
}

/// A page of the customers whose entitlement ends by time alone before `before`, after the given one.
async fn ending(
    tx: &mut Tx,
    before: Timestamp,
    (after_at, after_id): &(Timestamp, String),
) -> Result<Vec<(String, Timestamp)>, DbError> {
    tx.sql(
        "SELECT id, entitled_until
         FROM customers
         WHERE entitled_until < $1 AND (entitled_until, id) > ($2, $3)
         ORDER BY entitled_until, id
         LIMIT $4",
    )
    .bind(before)
    .bind(*after_at)
    .bind(after_id.as_str())
    .bind(PORTION)
    .all()
    .await
}

/// Tells what was not told before.
async fn tell(app: &App, mut notices: Vec<Notice>) -> Result<usize, DbError> {
    if notices.is_empty() {
        return Ok(0);
    }
    let known = notifications::keys_known(&mut app.read().await?, &notices).await?;
    notices.retain(|notice| !known.contains(&notice.once_key()));
    let touched = Touched::default();
    for some in notices.chunks(TOLD_AT_ONCE) {
        let told = app.write(&touched, |work| {
            for notice in some {
                notifications::tell(work, notice, None);
            }
            Ok::<_, Infallible>(())
        });
        if let Err(WriteError::Database(failure)) = told.await {
            return Err(failure);
        }
    }
    Ok(notices.len())
}
