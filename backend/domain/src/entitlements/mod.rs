//! Who may use what: it follows from the rows of a customer's subscriptions, and from what it has bought for good.
//!
//! It follows again after each observation ([`follow`]), so that it cannot drift from them. What is given for good
//! (licence, API key, widgets) is given by [`grant`].

mod changes;

use serde_json::json;
use tollgate_shared::Timestamp;

use crate::audit::Cause;
use crate::customers::Customer;
use crate::events::PendingEvent;
use crate::licenses::{self, LicenseTerms};
use crate::plans::Plans;
use crate::settings::Settings;
use crate::subscriptions::view::PlannedSubscriptionView;
use crate::subscriptions::{self, StatusClass, Subscription};
use crate::{api_keys, invoices, purchases, widgets};
use tollgate_db::UnitOfWork;

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
    let mut row = Customer::of(work, customer_id, settings.plans.default_tier());
    if row.provisioned_at.is_none() {
        row.provisioned_at = Some(work.now());
        work.insert(row);
        let live = livemode.or(settings.livemode).unwrap_or(false);
        api_keys::grant(work, &settings.sealer, live, customer_id);
        widgets::seed(work, &settings.widgets, customer_id);
    }
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
    let mut row = Customer::of(work, customer_id, plans.default_tier());
    let of_customer = subscriptions::of_customer(work, customer_id);
    let current = subscriptions::current(of_customer.iter().copied());
    let entitlement = Entitlement::of(work, plans, current);

    let was = row.clone();
    row.user_id = row.claimed_user(&of_customer).map(str::to_owned);
    row.current_subscription_id = current.map(|subscription| subscription.id.clone());
    row.entitled_until = entitlement.ends_at;
    // A live plan of a subscription goes before what was bought for good.
    let by_subscription = current.and_then(|subscription| subscription.tier.clone()).filter(|_| entitlement.entitled);
    let by_purchase = || bought.filter(|bought| bought.ended_at.is_none()).map(|bought| bought.plan.tier.clone());
    let terms = match &bought {
        Some(bought) if by_subscription.is_none() => {
            LicenseTerms::with_purchase(current, entitlement.entitled, plans, bought)
        }
        _ => LicenseTerms::under(current, entitlement.entitled, plans),
    };
    row.tier = by_subscription.or_else(by_purchase).unwrap_or_else(|| plans.default_tier().to_owned());
    let entries = changes::audit(work, cause, &was, &row, &of_customer);
    let events: Vec<_> = current.map_or_else(Vec::new, |is| {
        let before = was.current_subscription_id.as_deref().and_then(|id| work.before::<Subscription>(id));
        let types = changes::events(before.filter(|subscription| subscription.status.is_some()), is);
        let data = || json!({ "subscription": PlannedSubscriptionView::of(is, plans), "tier": row.tier });
        types.into_iter().map(|event_type| PendingEvent { event_type, data: data() }).collect()
    });

    for entry in entries {
        work.append(entry);
    }
    if row != was {
        work.insert(row);
    }
    licenses::follow(work, plans, customer_id, terms);
    for event in events {
        licenses::append_event(work, customer_id, event);
    }
}

/// Whether a customer is entitled now, and when that ends by time alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entitlement {
    entitled: bool,
    ends_at: Option<Timestamp>,
}

impl Entitlement {
    fn of(work: &UnitOfWork, plans: &Plans, current: Option<&Subscription>) -> Self {
        let status = current.and_then(|subscription| subscription.access_status.as_deref());
        let entitled = status.is_some_and(|status| plans.is_entitled(status));
        let (true, Some("past_due"), Some(days)) = (entitled, status, plans.past_due_days()) else {
            return Self { entitled, ends_at: None };
        };
        let failed_at = current.and_then(|subscription| invoices::failing_since(work, &subscription.id));
        let ends_at = failed_at.map(|at| at + chrono::Duration::days(i64::from(days)));
        match ends_at {
            Some(end) if end <= work.now() => Self { entitled: false, ends_at: None },
            ends_at => Self { entitled, ends_at },
        }
    }
}
