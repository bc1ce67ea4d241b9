//! Which messages are sent, when they are tried again, and why others are not sent at all.

use chrono::Duration;
use tollgate_shared::Timestamp;
use tollgate_shared::clock::rfc3339;

use crate::contributions::{Contribution, ContributionStatus};
use crate::invoices::Invoice;
use crate::memberships::Membership;
use crate::notifications::devices::Kind;
use crate::notifications::facts::Facts;
use crate::notifications::messages::Message;
use crate::notifications::template::{Channel, Template};
use crate::subscriptions::Subscription;

/// How long to wait after the first, second, … attempt that failed: tried at 0, 1, 5 and 30 minutes, 2, 6 and 24 hours.
const RETRY_DELAYS: [Duration; 6] = [
    Duration::minutes(1),
    Duration::minutes(4),
    Duration::minutes(25),
    Duration::minutes(90),
    Duration::hours(4),
    Duration::hours(18),
];

/// How often a message is tried.
const ATTEMPTS_MAX: i64 = RETRY_DELAYS.len() as i64 + 1;

/// How long a message is whoever's who takes it up, at least: longer than a provider may take, and than it takes to write what
/// came of it.
const LEASE: Duration = Duration::minutes(5);

/// The longest that a server is heeded which says when to come again.
const RETRY_AFTER_MAX: Duration = Duration::hours(24);

/// How many messages a user is sent in an hour.
pub const IN_HOUR_MAX: i64 = 20;

/// How long a reminder is worth sending.
const REMINDERS_LAST: Duration = Duration::hours(24);

/// How long to wait after attempt number `attempts` failed, and no less than the server asked for; none when it was the
/// last one.
pub fn retry_delay(attempts: i64, asked_for: Option<Duration>) -> Option<Duration> {
    let delay = *RETRY_DELAYS.get(usize::try_from(attempts.checked_sub(1)?).ok()?)?;
    Some(asked_for.map_or(delay, |asked_for| delay.max(asked_for.min(RETRY_AFTER_MAX))))
}

impl Message {
    /// Begins an attempt at `now`: nobody else does until it must have ended, and not before it would have been tried again
    /// had it failed. So whatever ends a process again and again does so seven times within a day, and no more. False: it was
    /// tried as often as may be, and is to be given up.
    pub fn take_up(&mut self, now: Timestamp) -> bool {
        let may_be_tried = self.attempts < ATTEMPTS_MAX;
        if may_be_tried {
            self.attempts += 1;
        }
        let delay = retry_delay(self.attempts, None).unwrap_or(LEASE);
        self.next_attempt_at = Some(now + delay.max(LEASE));
        may_be_tried
    }
}

/// What a message has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It waits, or is being tried.
    Queued,
    /// Its channel has taken it.
    Sent,
    /// It is not sent, for a reason.
    Skipped,
    /// It was tried too often, or refused for good.
    DeadLettered,
}

impl Status {
    /// Every status.
    pub const ALL: [Self; 4] = [Self::Queued, Self::Sent, Self::Skipped, Self::DeadLettered];

    /// Its name on the wire and in rows.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Sent => "sent",
            Self::Skipped => "skipped",
            Self::DeadLettered => "dead_lettered",
        }
    }

    /// The status of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }
}

/// Where messages wait. Each provider has one, so that one which is slow or away holds up no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Queue {
    /// For the mail server.
    Email,
    /// For the devices of its user to be looked up: then it goes on in one of the other two, a message a device.
    Push,
    /// For the browsers' services.
    WebPush,
    /// For the company's own gateway.
    App,
}

impl Queue {
    /// Every queue.
    pub const ALL: [Self; 4] = [Self::Email, Self::Push, Self::WebPush, Self::App];

    /// Its name in rows.
    pub fn name(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Push => "push",
            Self::WebPush => "webpush",
            Self::App => "app",
        }
    }

    /// The queue of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|queue| queue.name() == name)
    }

    /// Where a message by `channel` waits first.
    pub fn first_of(channel: Channel) -> Self {
        match channel {
            Channel::Email => Self::Email,
            Channel::Push => Self::Push,
        }
    }

    /// Where one to a device waits.
    pub fn of_device(kind: Kind) -> Self {
        match kind {
            Kind::WebPush => Self::WebPush,
            Kind::App => Self::App,
        }
    }
}

/// Why a message is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skip {
    /// There is no such channel here.
    NotConfigured,
    /// Its user does not want it.
    Off,
    /// No e-mail address is known.
    NoAddress,
    /// Its user has no device.
    NoDevice,
    /// What it tells of is settled meanwhile.
    Settled,
    /// It is too late to remind anybody.
    Late,
    /// Its user was sent too many in an hour.
    TooMany,
}

impl Skip {
    /// Its name on the wire and in rows.
    pub fn name(self) -> &'static str {
        match self {
            Self::NotConfigured => "not_configured",
            Self::Off => "off",
            Self::NoAddress => "no_address",
            Self::NoDevice => "no_device",
            Self::Settled => "settled",
            Self::Late => "late",
            Self::TooMany => "too_many",
        }
    }
}

/// How what a message tells of stands at the moment; what it does not tell of is none.
#[derive(Clone, Copy, Debug, Default)]
#[expect(missing_docs, reason = "each is the row of that name")]
pub struct Standing<'a> {
    pub invoice: Option<&'a Invoice>,
    pub contribution: Option<&'a Contribution>,
    pub membership: Option<&'a Membership>,
    pub subscription: Option<&'a Subscription>,
}

/// Why something is not worth saying any more, if it is not.
pub fn why_not_now(
    template: Template,
    facts: &Facts,
    standing: &Standing<'_>,
    written_at: Timestamp,
    now: Timestamp,
) -> Option<Skip> {
    if is_settled(template, facts, standing, now) {
        return Some(Skip::Settled);
    }
    (template.is_reminder() && now - written_at > REMINDERS_LAST).then_some(Skip::Late)
}

fn is_settled(template: Template, facts: &Facts, standing: &Standing<'_>, now: Timestamp) -> bool {
    let no_longer_owed = |status: &str| matches!(status, "paid" | "void");
    let by_invoice = || standing.invoice.is_some_and(|row| no_longer_owed(&row.status));
    let by_contribution =
        || standing.contribution.is_some_and(|row| row.status().was_paid() || row.status() == ContributionStatus::Void);
    match template {
        Template::PaymentPending
        | Template::PaymentFailed
        | Template::PaymentFailing
        | Template::PaymentActionRequired => by_invoice() || by_contribution(),
        Template::GraceEnding | Template::GraceEnded => {
            // Whoever reads it late is told that it has ended, and not that it is about to.
            let has_ended = template == Template::GraceEnding && facts.grace_has_ended(now);
            let is_another = |row: &Membership| row.grace_ends_at.map(rfc3339) != facts.grace_ends_at;
            let is_over = |row: &Subscription| row.access_status.as_deref() != Some("past_due");
            has_ended
                || by_invoice()
                || standing.membership.is_some_and(is_another)
                || standing.subscription.is_some_and(is_over)
        }
        Template::ContributionDue => standing.membership.is_some_and(|row| !row.status(now).is_live()),
        Template::TrialEnding => {
            standing.subscription.is_some_and(|row| row.access_status.as_deref() != Some("trialing"))
        }
        _ => false,
    }
}
