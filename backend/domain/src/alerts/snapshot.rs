//! What is known at a moment, in numbers: all that rules go by.

use std::collections::BTreeMap;

use tollgate_shared::Timestamp;

/// All of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// The moment.
    pub at: Timestamp,
    /// Whether nobody had judged for a while, since no process was there: what is late then is only about to begin.
    pub is_after_break: bool,
    /// Every relay that is known.
    pub relays: Vec<RelayNumbers>,
    /// Of all relays' webhooks, within the minutes that `SignatureFailures` looks back: how many match no secret, of those whose
    /// signature was looked at.
    pub signatures: Share,
    /// Events of Stripe's.
    pub events: EventNumbers,
    /// Dead letters that are open, of the sources that somebody has to look at.
    pub letters: LetterNumbers,
    /// Every job of the timetable.
    pub jobs: Vec<JobNumbers>,
    /// Payments of the last hour: how many failed, of all.
    pub payments: Share,
    /// The same of the seven days before.
    pub payments_before: Share,
    /// Memberships whose grace is soon over.
    pub grace_ending: i64,
    /// Calls to Stripe, within the minutes that `StripeErrors` looks back.
    pub stripe_calls: Share,
    /// Messages of the last hour that were tried, by channel.
    pub messages: BTreeMap<String, Share>,
    /// Live subscriptions that came to be ones that no plan matches, and still are.
    pub unmatched_subscriptions: i64,
    /// Versions that are new to us.
    pub unknown_versions: Vec<String>,
    /// Things that runs of `sync-subscriptions` changed.
    pub synced_changes: i64,
    /// Things that runs of `reconcile` found.
    pub reconciled: i64,
}

/// How many of how many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// Those that failed.
    pub failed: i64,
    /// All of them.
    pub all: i64,
}

impl Share {
    /// Whether more than so many of a hundred failed.
    pub fn is_over(&self, percent: i64) -> bool {
        i128::from(self.failed) * 100 > i128::from(percent) * i128::from(self.all)
    }

    /// Whether the share of those that failed is at least so many times as large as another one's.
    pub fn is_times(&self, times: i64, other: &Self) -> bool {
        let [mine, theirs] = [self, other].map(|share| (i128::from(share.failed), i128::from(share.all.max(1))));
        mine.0 * theirs.1 >= i128::from(times) * theirs.0 * mine.1
    }

    /// How many of a hundred failed, rounded down.
    pub fn percent(&self) -> i64 {
        self.failed.saturating_mul(100) / self.all.max(1)
    }
}

/// A relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayNumbers {
    /// Its private listener: host and port.
    pub relay: String,
    /// How often in a row it was silent; 0 where it has answered.
    pub silent_running: i64,
    /// What it says of itself; none where it is silent.
    pub said: Option<RelaySaid>,
}

/// What a relay says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelaySaid {
    /// Whether its journal takes events.
    pub can_append: bool,
    /// The age of the oldest event that no backend has confirmed.
    pub oldest_unconfirmed_seconds: Option<i64>,
    /// How often it answered `not_durable` within the minutes that `NotDurable` looks back.
    pub not_durable: i64,
    /// Whether the copy of its journal is there; none where it has none.
    pub is_replica_up: Option<bool>,
}

/// Events of Stripe's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventNumbers {
    /// When the oldest that waits for another attempt was received.
    pub oldest_failed_at: Option<Timestamp>,
    /// When a webhook last came; where none has come, since when that is looked at.
    pub quiet_since: Timestamp,
    /// Whether there is a subscription of which events have to come.
    pub has_live_subscriptions: bool,
}

/// Dead letters that are open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LetterNumbers {
    /// How many.
    pub open: i64,
    /// When the oldest became one.
    pub oldest_at: Option<Timestamp>,
}

/// A job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobNumbers {
    /// Its name.
    pub job: &'static str,
    /// From one tick to the next, in seconds.
    pub interval_seconds: i64,
    /// For how long the tick after its newest run has been due, in seconds; 0 where it is not, or the job never ran.
    pub late_seconds: i64,
    /// How many of its newest runs failed, in a row.
    pub failed_running: i64,
}
