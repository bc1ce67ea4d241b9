//! What becomes of an alert by a judgement.

use chrono::Duration;
use tollgate_db::Json;
use tollgate_shared::Timestamp;

use super::messages::Told;
use super::rules::Judgement;
use super::{Alert, Finding, State};

/// How many good judgements running it takes until an alert is over: one may be luck.
const GOOD_JUDGEMENTS: i64 = 2;

/// Judgements come in time but for some seconds, and a repetition is not to be late by one of them for that.
const EARLY_BY: Duration = Duration::minutes(1);

/// What becomes of an alert.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// As it is from then on.
    pub alert: Alert,
    /// What people are told of it, if anything.
    pub told: Option<Told>,
}

/// What becomes of the alerts that are `known` by a judgement at `now`, and which there are beside them. One that stays as it
/// is, is left out.
pub fn follow(known: &[Alert], judgement: &Judgement, now: Timestamp, repeat_after: Duration) -> Vec<Step> {
    let mut steps = Vec::new();
    for finding in &judgement.findings {
        let fingerprint = finding.fingerprint();
        let before = known.iter().find(|alert| alert.fingerprint == fingerprint);
        steps.push(found(before, finding, now, repeat_after));
    }
    let is_found = |alert: &Alert| judgement.findings.iter().any(|finding| finding.fingerprint() == alert.fingerprint);
    let gone = known.iter().filter(|alert| alert.is_firing() && !is_found(alert) && !judgement.leaves_open(alert));
    steps.extend(gone.map(|alert| not_found(alert, now)));
    steps
}

fn found(before: Option<&Alert>, finding: &Finding, now: Timestamp, repeat_after: Duration) -> Step {
    let goes_on = before.filter(|alert| alert.is_firing());
    let mut alert = Alert {
        fingerprint: finding.fingerprint(),
        alert: finding.alert.name().to_owned(),
        severity: finding.severity.name().to_owned(),
        labels: Json(finding.labels()),
        summary: finding.summary.clone(),
        status: State::Firing.name().to_owned(),
        starts_at: goes_on.map_or(now, |alert| alert.starts_at),
        ends_at: None,
        good_judgements: 0,
        told_at: goes_on.and_then(|alert| alert.told_at),
        silenced_until: before.and_then(|alert| alert.silenced_until),
    };
    // A time that has not come is of a clock that was wrong.
    let is_due = alert.told_at.is_none_or(|at| at > now || now - at >= repeat_after - EARLY_BY);
    if !is_due || alert.is_silent(now) {
        return Step { alert, told: None };
    }
    alert.told_at = Some(now);
    let told = Told::of(&alert);
    Step { alert, told: Some(told) }
}

fn not_found(before: &Alert, now: Timestamp) -> Step {
    let mut alert = Alert { good_judgements: before.good_judgements + 1, ..before.clone() };
    if alert.good_judgements < GOOD_JUDGEMENTS {
        return Step { alert, told: None };
    }
    State::Resolved.name().clone_into(&mut alert.status);
    alert.ends_at = Some(now);
    // Of what nobody was told nobody need hear that it is over.
    let told = (alert.told_at.is_some() && !alert.is_silent(now)).then(|| Told::of(&alert));
    Step { alert, told }
}

impl Alert {
    /// Whether it is so.
    pub fn is_firing(&self) -> bool {
        self.status == State::Firing.name()
    }

    /// Whether nobody is told of it.
    pub fn is_silent(&self, now: Timestamp) -> bool {
        self.silenced_until.is_some_and(|until| until > now)
    }
}
