//! What has changed since the last savepoint is told to whom it concerns: once for each event, route or job, when all
//! else of it is done. It looks at rows and never at what changed them, so that it makes no difference who told us first;
//! and only at what has changed, so that a repeat tells nothing, and an event that is nobody's business costs a look.

use tollgate_db::UnitOfWork;
use tollgate_shared::clock::{from_unix, rfc3339};
use tollgate_stripe::{Object, Observation};

use crate::contributions::Contribution;
use crate::customers::Customer;
use crate::invoices::Invoice;
use crate::memberships::Membership;
use crate::notifications::facts::Facts;
use crate::notifications::notice::{Notice, tell};
use crate::notifications::template::Template;
use crate::notifications::{of_plans, of_pods};
use crate::payouts::Payout;
use crate::pods::Pod;
use crate::settings::Settings;
use crate::subscriptions::Subscription;

/// Tells of what has changed since the last savepoint; `event_id` is the event that changed it, where one did.
pub fn follow(work: &mut UnitOfWork, settings: &Settings, event_id: Option<&str>) {
    let attempts = settings.alert_attempts;
    let mut notices: Vec<Notice> = Vec::new();
    for change in work.drafts_of::<Contribution>() {
        of_pods::of_contribution(work, attempts, &change, &mut notices);
    }
    for change in work.drafts_of::<Membership>() {
        notices.extend(of_pods::of_membership(work, &change));
    }
    for change in work.drafts_of::<Pod>() {
        of_pods::of_pod(work, &change, &mut notices);
    }
    for change in work.drafts_of::<Payout>() {
        notices.extend(of_pods::of_payout(work, &change));
    }
    for change in work.drafts_of::<Invoice>() {
        match of_pods::member_of(work, change.after) {
            Some(membership) => notices.extend(of_pods::of_invoice(work, &change, membership)),
            None => of_plans::of_invoice(work, settings, &change, &mut notices),
        }
    }
    for change in work.drafts_of::<Customer>() {
        notices.extend(of_plans::of_customer(work, settings, &change));
    }
    for notice in &notices {
        tell(work, notice, event_id);
    }
}

/// Tells that a trial of a plan ends, where `observation` is Stripe's word for that: an announcement of a subscription
/// that is on trial is no other.
pub fn note_trial_ending(work: &mut UnitOfWork, settings: &Settings, observation: &Observation) {
    let Object::Subscription { after, .. } = &observation.object else { return };
    let trial_ends_at = after.trial_end.and_then(from_unix).filter(|end| *end > work.now());
    let (Some(end), true, "trialing") = (trial_ends_at, observation.is_announcement, &*after.status) else { return };
    let Some(row) = work.get::<Subscription>(&after.id).filter(|row| !row.is_of_pod()) else { return };
    let Some(recipient) = of_plans::recipient(work, &row.customer_id) else { return };
    let facts = Facts {
        subscription_id: Some(row.id.clone()),
        plan_name: of_plans::plan_name(settings, row),
        trial_ends_at: Some(rfc3339(end)),
        ..Facts::default()
    };
    let notice = Notice { template: Template::TrialEnding, subject: row.id.clone(), recipient, facts };
    tell(work, &notice, Some(&observation.source));
}
