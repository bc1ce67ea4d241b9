//! What every template is tried with at start.

use chrono_tz::Tz;
use serde_json::{Value, json};
use tollgate_domain::notifications::Template;

use super::Reader;

/// Everything that a notification may tell of, whatever its template.
pub(super) fn facts(template: Template) -> Value {
    let is_plans = matches!(template, Template::TrialEnding);
    json!({
        "podId": (!is_plans).then_some("pod_1"),
        "podName": (!is_plans).then_some("Ajo & <friends>"),
        "planName": is_plans.then_some("Pro, monthly"),
        "membershipId": "mbr_1", "contributionId": "con_1", "invoiceId": "in_1", "subscriptionId": "sub_1",
        "amount": 500_000, "currency": "ngn",
        "dueAt": "2027-01-31T17:30:00Z", "paidAt": "2027-01-31T17:31:00Z", "trialEndsAt": "2027-01-31T17:30:00Z",
        "nextAttemptAt": "2027-02-01T09:00:00Z", "graceEndsAt": "2027-02-07T17:30:00Z", "daysLeft": 7,
        "attempts": 4, "failureCode": "insufficient_funds",
        "contributionProgress": 3, "contributionsTotal": 12, "totalContributed": 1_500_000,
        "reference": "ajo-2027-01", "reason": "We have reached our goal.", "payUrl": "https://pay.example/in_1",
        "ticketId": "tkt_1", "ticketNumber": 42, "ticketSubject": "Which card is charged?",
        "text": "The one that ends in 4242.\n\nYou can change it on your account page.",
    })
}

/// Somebody who reads, of whom everything is known or nothing.
pub(super) fn reader(locale: &str, is_known: bool) -> Reader<'_> {
    let known = |text: &'static str| is_known.then_some(text);
    Reader {
        locale,
        timezone: Tz::Africa__Lagos,
        name: known("Ada <Lovelace>"),
        url: known("https://example.com/account"),
        unsubscribe_url: known("https://example.com/api/notifications/unsubscribe?token=t"),
    }
}
