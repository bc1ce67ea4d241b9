//! What a change of who may use what is called: in the audit log, and to the apps.

use crate::audit::{AuditEntry, Cause, Diff};
use crate::customers::Customer;
use crate::events::EventType;
use crate::subscriptions::view::SubscriptionView;
use crate::subscriptions::{StatusClass, Subscription};
use tollgate_db::UnitOfWork;

/// The entries of the audit log for what has changed; of what is a pod's there are none.
pub(super) fn audit(
    work: &UnitOfWork,
    cause: Cause<'_>,
    was: &Customer,
    is: &Customer,
    of_customer: &[&Subscription],
) -> Vec<AuditEntry> {
    let tier = Diff { change: "tier", from: Some(&was.tier), to: Some(&is.tier) };
    let mut entries: Vec<_> = tier.to_audit_entry(work, cause, &is.id, None).into_iter().collect();
    for subscription in of_customer.iter().filter(|row| !row.is_of_pod()) {
        let before = work.before::<Subscription>(&subscription.id);
        let status = Diff {
            change: "status",
            from: before.and_then(|before| before.status.as_deref()),
            to: subscription.status.as_deref(),
        };
        let plan = Diff {
            change: "plan",
            from: before.and_then(|before| before.plan_id.as_deref()),
            to: subscription.plan_id.as_deref(),
        };
        let scheduled = |is_scheduled: bool| if is_scheduled { "true" } else { "false" };
        let cancel = Diff {
            change: "cancel_scheduled",
            from: Some(scheduled(before.is_some_and(Subscription::is_cancel_scheduled))),
            to: Some(scheduled(subscription.is_cancel_scheduled())),
        };
        let entry = |diff: Diff<'_>| diff.to_audit_entry(work, cause, &is.id, Some(&subscription.id));
        entries.extend([status, plan, cancel].into_iter().filter_map(entry));
    }
    entries
}

/// What the change of the current subscription is to the apps, most important first.
pub(super) fn events(was: Option<&Subscription>, is: &Subscription) -> Vec<EventType> {
    let class = |subscription: &Subscription| StatusClass::of(subscription.access_status.as_deref()?);
    let ended = class(is) == Some(StatusClass::Ended);
    let Some(was) = was.filter(|was| was.id == is.id) else {
        let same_as_before = was.is_none() && is.status.is_none();
        return match (same_as_before, ended) {
            (true, _) => vec![],
            (false, true) => vec![EventType::SubscriptionCancelled],
            (false, false) => vec![EventType::SubscriptionCreated],
        };
    };
    let became = |now: bool, before: bool| now && !before;
    let mut events = Vec::new();
    let good =
        |subscription: &Subscription| matches!(subscription.access_status.as_deref(), Some("active" | "trialing"));
    if became(ended, class(was) == Some(StatusClass::Ended)) {
        events.push(EventType::SubscriptionCancelled);
    }
    if became(is.access_status.as_deref() == Some("past_due"), was.access_status.as_deref() == Some("past_due")) {
        events.push(EventType::SubscriptionPastDue);
    }
    if became(good(is), good(was) || was.access_status.as_deref() == Some("incomplete"))
        || (became(was.is_cancel_scheduled(), is.is_cancel_scheduled()) && !ended)
    {
        events.push(EventType::SubscriptionReactivated);
    }
    if became(is.is_cancel_scheduled(), was.is_cancel_scheduled()) {
        events.push(EventType::SubscriptionCancelScheduled);
    }
    if (&is.plan_id, &is.price_id) != (&was.plan_id, &was.price_id) {
        events.push(EventType::PlanChanged);
    }
    if events.is_empty() && is != was && SubscriptionView::of(is) != SubscriptionView::of(was) {
        events.push(EventType::SubscriptionUpdated);
    }
    events
}
