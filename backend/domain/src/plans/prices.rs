//! Which plan a price belongs to, when its lookup key has moved on.
//!
//! A price's amount cannot change, so a dearer one takes over its lookup key (`transfer_lookup_key`); who pays the old
//! one has then a price without a key, and has bought no less than before.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use chrono::TimeDelta;
use tollgate_db::{UnitOfWork, record};
use tollgate_shared::Timestamp;
use tollgate_shared::log_safe::LogSafe;
use tollgate_stripe::{Object, Observation, PriceRef};
use tracing::warn;

use crate::plans::{Plan, Plans, Sale};

record! {
    /// A row of `prices`: one that a plan matched by its lookup key.
    pub struct KnownPrice in "prices" {
        /// `price_…`
        pub id: String,
        /// The plan.
        pub plan_id: String,
        /// When it had that key: the newest time that was seen, to within an hour.
        pub matched_at: Timestamp,
        /// The event that showed it.
        pub matched_by: String,
    }
}

/// How much later a price has to be seen with the key of the plan that it has already, to be noted again. It is noted at
/// all because an older event, in which it had another plan's key, may come afterwards. It is noted seldom because the
/// events of many customers show one price, and its row must not be what they all wait for.
const REMATCH_INTERVAL: TimeDelta = TimeDelta::hours(1);

/// The plan that `price` belongs to: by what is written on it, else by the key that it had.
pub fn plan_of<'p>(work: &UnitOfWork, plans: &'p Plans, price: &PriceRef, sale: Sale) -> Option<&'p Plan> {
    plans.of_price(price, sale).or_else(|| {
        let known: &KnownPrice = work.get(price.id.as_deref()?)?;
        plans.by_id(&known.plan_id).filter(|plan| plan.sale() == sale)
    })
}

/// Notes the prices that an observation shows with a key of a plan. Gives whether that was news.
pub fn learn(work: &mut UnitOfWork, plans: &Plans, observation: &Observation) -> bool {
    if !plans.have_lookup_keys() {
        return false;
    }
    let mut is_news = false;
    for price in shown_in(observation) {
        let plan = [Sale::Recurring, Sale::ForGood].into_iter().find_map(|sale| plans.of_lookup_key(price, sale));
        let (Some(id), Some(plan)) = (&price.id, plan) else { continue };
        let known: Option<&KnownPrice> = work.get(id);
        let is_of_another_plan = known.is_none_or(|known| known.plan_id != plan.id);
        let is_newer = known.is_none_or(|known| {
            if is_of_another_plan {
                (known.matched_at, &*known.matched_by) < (observation.seen_at, &*observation.source)
            } else {
                observation.seen_at - known.matched_at >= REMATCH_INTERVAL
            }
        });
        if is_newer {
            is_news |= is_of_another_plan;
            work.insert(KnownPrice {
                id: id.clone(),
                plan_id: plan.id.clone(),
                matched_at: observation.seen_at,
                matched_by: observation.source.clone(),
            });
        }
    }
    is_news
}

/// Those of `shown`, the ids of prices, whose rows may say what plan they are of.
pub fn to_look_up<'a>(plans: &Plans, shown: impl Iterator<Item = &'a String>) -> BTreeSet<String> {
    if !plans.have_lookup_keys() {
        return BTreeSet::new();
    }
    shown.filter(|id| !plans.names_price(id)).cloned().collect()
}

/// The ids of the prices that an observation shows.
pub fn ids_in(observation: &Observation) -> impl Iterator<Item = &String> {
    shown_in(observation).into_iter().filter_map(|price| price.id.as_ref())
}

fn shown_in(observation: &Observation) -> Vec<&PriceRef> {
    match &observation.object {
        Object::Subscription { before, after, .. } => {
            let items = before.iter().flat_map(|before| &before.items).chain(&after.items);
            items.map(|item| &item.price).collect()
        }
        Object::Invoice(invoice, _) => invoice.lines.iter().map(|line| &line.price).collect(),
        _ => Vec::new(),
    }
}

/// How many prices are remembered as warned of: an operator with more of them knows.
const WARNED_MAX: usize = 1000;

/// Warns that no plan matches a price, once a price: who sells what is in no plan sells it every minute.
pub fn warn_of_unmatched(price: Option<&str>, subscription: &str) {
    static WARNED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let name = price.unwrap_or(subscription);
    let mut warned = WARNED.lock().unwrap_or_else(PoisonError::into_inner);
    if warned.len() < WARNED_MAX && warned.insert(name.to_owned()) {
        let (subscription, price) = (LogSafe(subscription), LogSafe(price.unwrap_or("none")));
        warn!(subscription.id = %subscription, price.id = %price, "subscription {subscription} has no item that matches a plan (price {price})");
    }
}
