//! Customers whose rows were computed by other plans.

use super::*;
use crate::entitlements;
use crate::sightings::Sighting;

#[test]
fn other_plans_give_tier_and_licence_to_whoever_they_entitle() {
    let strict = PLANS.replace("past_due_days = 14", "entitled_statuses = [\"active\"]");
    let mut fixture = Fixture::new();
    fixture.settings.plans = Arc::new(Plans::parse(&strict).unwrap());
    let mut fixture = fixture.see_all(&[created("a", 0, &subscription("trialing", "price_pro"))]);
    assert_eq!((fixture.customer().tier.as_str(), fixture.license()), ("free", None));
    fixture.settings.plans = Arc::new(Plans::parse(PLANS).unwrap());
    entitlements::reapply_plans(&mut fixture.work, &fixture.settings, CUSTOMER);
    assert_eq!((fixture.customer().tier.as_str(), fixture.license().unwrap().status.as_str()), ("pro", "active"));
    assert_eq!(fixture.customer().plans_digest, fixture.settings.plans.digest());
}

#[test]
fn a_price_that_the_plans_have_no_longer_is_seen_at_once() {
    let mut fixture = Fixture::new().see_all(&[created("a", 0, &subscription("active", "price_pro"))]);
    let seen = |fixture: &Fixture| fixture.work.all::<Sighting>().map(|seen| seen.name.clone()).collect::<Vec<_>>();
    assert_eq!(seen(&fixture), Vec::<String>::new());
    let dropped = PLANS.replace("\"price_pro\"", "\"price_of_another\"");
    fixture.settings.plans = Arc::new(Plans::parse(&dropped).unwrap());
    entitlements::reapply_plans(&mut fixture.work, &fixture.settings, CUSTOMER);
    assert_eq!((fixture.customer().tier.as_str(), seen(&fixture).len()), ("free", 1));
}

#[test]
fn an_event_under_other_plans_brings_the_customers_other_rows_along() {
    let renamed = PLANS.replace("tier = \"pro\"", "tier = \"gold\"");
    let mut fixture = Fixture::new().see_all(&[
        created("a", 9, &named("sub_1", 9, "active", "price_pro")),
        created("b", 0, &named("sub_2", 0, "active", "price_team")),
    ]);
    fixture.settings.plans = Arc::new(Plans::parse(&renamed).unwrap());
    fixture.see(&snapshot("c", 20, &named("sub_2", 0, "past_due", "price_team")));
    assert_eq!(fixture.customer().tier, "gold");
    let by_plans: Vec<_> = fixture.work.appended().filter(|entry: &&AuditEntry| entry.actor == "system").collect();
    assert_eq!(by_plans.len(), 1, "{by_plans:?}");
}
