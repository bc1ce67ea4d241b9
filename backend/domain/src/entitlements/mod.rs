//! Who may use what: it follows from the rows of a customer's subscriptions, and from what it has bought for good.
//!
//! It follows again after each observation ([`follow`]), so that it cannot drift from them. What is given for good
//! (licence, API key, widgets) is given by [`grant`].

mod changes;
pub mod revocation;
pub mod store;

use chrono::Duration;
use serde_json::json;
use tollgate_db::UnitOfWork;
use tollgate_shared::Timestamp;
use tollgate_shared::clock::from_unix;

use crate::audit::{self, Cause};
use crate::customers::Customer;
use crate::events::PendingEvent;
use crate::licenses::{self, LicenseTerms};
use crate::plans::Plans;
use crate::settings::Settings;
use crate::subscriptions::view::PlannedSubscriptionView;
use crate::subscriptions::{self, StatusClass, Subscription};
use crate::{api_keys, invoices, purchases, widgets};

/// Gives what a customer keeps for good, when `status` is the first that gives it. `livemode` is the event's own.
pub fn grant(work: &mut UnitOfWork, settings: &Settings, livemode: Option<bool>, customer_id: &str, status: &str) {
    if settings.plans.is_entitled(status) {
        licenses::grant(work, &settings.plans, customer_id);
    }
    if StatusClass::of(status) == Some(StatusClass::Live) {
        provision(work, settings, livemode, customer_id);
    }
}

/// Gives the customer its API key and widgets, once.
fn provision(work: &mut UnitOfWork, settings: &Settings, livemode: Option<bool>, customer_id: &str) {
    let mut row = Customer::of(work, customer_id, &settings.plans);
    if row.provisioned_at.is_none() {
        row.provisioned_at = Some(work.now());
        let live = livemode.or(row.livemode).or(settings.livemode).unwrap_or(false);
        work.insert(row);
        api_keys::grant(work, &settings.sealer, live, customer_id);
        widgets::seed(work, &settings.widgets, customer_id);
    }
}

/// Brings a customer whose rows were computed by other plans under those of `settings`: what its subscriptions are, what
/// they give, and what they give for good. Does nothing where they are the same. An event of its own: it ends with a
/// savepoint.
pub fn reapply_plans(work: &mut UnitOfWork, settings: &Settings, customer_id: &str) {
    let plans = &*settings.plans;
    if work.get(customer_id).is_none_or(|row: &Customer| row.plans_digest == plans.digest()) {
        return;
    }
    let mut row = Customer::of(work, customer_id, plans);
    plans.digest().clone_into(&mut row.plans_digest);
    work.insert(row);
    subscriptions::recompute_all(work, plans, customer_id);
    let of_plans = subscriptions::of_customer(work, customer_id).into_iter().filter(|row| !row.is_of_pod());
    let statuses: Vec<_> = of_plans.filter_map(|row| row.access_status.clone()).collect();
    for status in statuses {
        grant(work, settings, None, customer_id, &status);
    }
    follow(work, settings, Cause::system(), customer_id);
    work.release_savepoint();
}

/// Brings what the customer may use into step with its subscriptions, writes the audit log and tells the apps. Once for
/// each observation, when all else of it is done: it compares with what was before.
pub fn follow(work: &mut UnitOfWork, settings: &Settings, cause: Cause<'_>, customer_id: &str) {
    let plans = &*settings.plans;
    let bought = purchases::of_customer(work, plans, customer_id);
    if let Some(bought) = &bought {
        // What has been given back since gives them too, so that the order of arrival makes no difference.
        licenses::grant(work, plans, customer_id);
        provision(work, settings, bought.livemode, customer_id);
    }
    let mut row = Customer::of(work, customer_id, plans);
    let of_customer = subscriptions::of_customer(work, customer_id);
    let current = current(work, plans, &of_customer);
    let access = current.map_or(Access::NONE, |subscription| Access::of(work, plans, subscription));

    let was = row.clone();
    row.user_id = row.claimed_user(&of_customer).map(str::to_owned);
    row.current_subscription_id = current.map(|subscription| subscription.id.clone());
    row.entitled_until = access.ends_at;
    // A live plan of a subscription goes before what was bought for good.
    let by_subscription = current.and_then(|subscription| subscription.tier.clone()).filter(|_| access.is_given);
    let by_purchase = || bought.filter(|bought| bought.ended_at.is_none()).map(|bought| bought.plan.tier.clone());
    let terms = LicenseTerms::under(current, access.is_given, access.grace_ends_at, plans);
    let terms = match &bought {
        Some(bought) if by_subscription.is_none() => LicenseTerms::with_purchase(terms, current.is_some(), bought),
        _ => terms,
    };
    row.tier = by_subscription.or_else(by_purchase).unwrap_or_else(|| plans.default_tier().to_owned());
    let entries = changes::audit(work, cause, &was, &row, &of_customer);
    let events: Vec<_> = current.map_or_else(Vec::new, |is| {
        let before = was.current_subscription_id.as_deref().and_then(|id| work.before::<Subscription>(id));
        let types = changes::events(before.filter(|subscription| subscription.status.is_some()), is);
        let data = || json!({ "subscription": PlannedSubscriptionView::of(is, plans), "tier": row.tier });
        types.into_iter().map(|event_type| PendingEvent { event_type, data: data() }).collect()
    });

    audit::append(work, &mut row.last_change, entries);
    if row != was {
        work.insert(row);
    }
    licenses::follow(work, plans, settings.machines_stale_after, customer_id, terms);
    for event in events {
        licenses::append_event(work, customer_id, event);
    }
}

/// The customer's current subscription: the newest that gives access and that a plan matches, else the newest that gives
/// access, else the newest that goes on, else the newest. Placeholders do not count, nor does what is a pod's. So neither a purchase that was
/// begun and not finished nor one of something else takes away what is paid for.
pub(crate) fn current<'a>(
    work: &UnitOfWork,
    plans: &Plans,
    of_customer: &[&'a Subscription],
) -> Option<&'a Subscription> {
    let rank = |subscription: &Subscription| {
        let gives = Access::of(work, plans, subscription).is_given;
        (gives && subscription.plan_id.is_some(), gives, subscription.is_live())
    };
    let known = of_customer.iter().copied().filter(|row| row.status.is_some() && !row.is_of_pod());
    known.max_by_key(|subscription| (rank(subscription), subscription.created_at, &subscription.id))
}

/// Whether `subscription` gives its customer what was bought.
pub(crate) fn gives_access(work: &UnitOfWork, plans: &Plans, subscription: &Subscription) -> bool {
    Access::of(work, plans, subscription).is_given
}

/// Whether a subscription gives access now, and when that ends by time alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Access {
    is_given: bool,
    ends_at: Option<Timestamp>,
    /// The end of its grace, if it is past due; it may lie in the past.
    grace_ends_at: Option<Timestamp>,
}

impl Access {
    const NONE: Self = Self { is_given: false, ends_at: None, grace_ends_at: None };

    fn of(work: &UnitOfWork, plans: &Plans, subscription: &Subscription) -> Self {
        let Some(status) = subscription.access_status.as_deref() else { return Self::NONE };
        let grace_ends_at = match (plans.past_due_days(), status) {
            (Some(days), "past_due") => spell_begin(work, subscription).map(|at| at + Duration::days(i64::from(days))),
            _ => None,
        };
        let is_given = plans.is_entitled(status) && grace_ends_at.is_none_or(|end| end > work.now());
        Self { is_given, ends_at: grace_ends_at.filter(|_| is_given), grace_ends_at }
    }
}

/// When the present spell of a `past_due` subscription began: with the first failed attempt of its latest invoice, else
/// when that was due, else with the first snapshot that shows it so with no other status after it.
fn spell_begin(work: &UnitOfWork, subscription: &Subscription) -> Option<Timestamp> {
    let by_invoice = || invoices::failing_since(work, subscription.latest_invoice_id.as_deref()?);
    let by_snapshots = || from_unix(subscription.past_due.as_ref()?.begin()?);
    by_invoice().or_else(by_snapshots)
}
