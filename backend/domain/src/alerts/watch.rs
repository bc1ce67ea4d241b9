//! What is remembered from one judgement to the next: what relays have counted, and which of them were silent. A relay counts
//! from its start; how much of that is of the last minutes, only who has looked before can say.

use std::collections::BTreeMap;

use chrono::Duration;
use serde::{Deserialize, Serialize};
use tollgate_db::{Json, record};
use tollgate_shared::Timestamp;

use super::snapshot::Share;

record! {
    /// The one row of `alert_watches`: whoever judges holds it.
    pub struct Watch in "alert_watches" {
        /// `watch`
        pub id: String,
        /// When it was first judged.
        pub began_at: Timestamp,
        /// As of when it was last judged.
        pub judged_at: Option<Timestamp>,
        /// What is known of each relay, by its private listener.
        pub relays: Json<BTreeMap<String, RelayWatch>>,
    }
}

/// The key of the one row.
const WATCH: &str = "watch";

/// How far the clocks of two processes may be apart.
const SKEW_MAX: Duration = Duration::minutes(5);

/// Judgements come in time but for some seconds: a sample that is so much too young is as good as one that is old enough.
const SLACK: Duration = Duration::seconds(30);

/// So long after the last judgement nobody was there to judge: two were missed, and some.
const BREAK: Duration = Duration::minutes(15);

/// How long samples are kept: as long as any alert looks back, and a judgement more.
const SAMPLES_KEPT: Duration = Duration::minutes(24 * 60 + 10);

/// The most samples that are kept of a relay: those of a day, and whoever judges more often looks less far back.
const SAMPLES_MAX: usize = 300;

/// What is known of a relay.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RelayWatch {
    /// How often in a row it was silent.
    #[serde(rename = "silent")]
    pub silent_running: i64,
    /// What it had counted, the oldest first.
    pub samples: Vec<Sample>,
}

/// What a relay had counted at a moment, since its start.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// The moment.
    pub at: Timestamp,
    /// When it was started, as far as it said so.
    #[serde(rename = "up", default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// Webhooks that it answered `not_durable`.
    #[serde(rename = "nd")]
    pub not_durable: i64,
    /// Webhooks that match no secret.
    #[serde(rename = "sm")]
    pub mismatches: i64,
    /// Webhooks whose signature was looked at, those among them.
    #[serde(rename = "sl")]
    pub signed: i64,
}

impl Watch {
    /// Where nobody has judged before.
    pub fn new(now: Timestamp) -> Self {
        Self { id: WATCH.to_owned(), began_at: now, judged_at: None, relays: Json(BTreeMap::new()) }
    }

    /// Whether somebody has judged what is known as of a later moment: then what is known as of `seen_at` is of no use.
    pub fn is_ahead_of(&self, seen_at: Timestamp) -> bool {
        self.judged_at.is_some_and(|at| at > seen_at && at <= seen_at + SKEW_MAX)
    }

    /// Whether nobody was there for a while before `now`.
    pub fn is_after_break(&self, now: Timestamp) -> bool {
        self.judged_at.is_some_and(|at| now - at > BREAK)
    }

    /// Notes as of `now` what each relay said, none where it was silent; those that are not named are forgotten.
    pub fn note(&mut self, now: Timestamp, said: impl IntoIterator<Item = (String, Option<Sample>)>) {
        let Json(mut known) = std::mem::take(&mut self.relays);
        let noted = said.into_iter().map(|(relay, sample)| {
            let mut watch = known.remove(&relay).unwrap_or_default();
            watch.note(now, sample);
            (relay, watch)
        });
        self.relays = Json(noted.collect());
        self.judged_at = Some(now);
    }

    /// How many of all relays' webhooks match no secret, within so long before `now`.
    pub fn signatures(&self, now: Timestamp, within: Duration) -> Share {
        let of_each = self.relays.0.values();
        let sum = |of: fn(&Sample) -> i64| of_each.clone().map(|relay| relay.increase(now, within, of)).sum();
        Share { failed: sum(|sample| sample.mismatches), all: sum(|sample| sample.signed) }
    }

    /// How often a relay answered `not_durable`, within so long before `now`.
    pub fn not_durable(&self, relay: &str, now: Timestamp, within: Duration) -> i64 {
        self.relays.0.get(relay).map_or(0, |relay| relay.increase(now, within, |sample| sample.not_durable))
    }

    /// How often in a row a relay was silent.
    pub fn silent_running(&self, relay: &str) -> i64 {
        self.relays.0.get(relay).map_or(0, |relay| relay.silent_running)
    }
}

impl RelayWatch {
    fn note(&mut self, now: Timestamp, sample: Option<Sample>) {
        let Some(sample) = sample else {
            self.silent_running += 1;
            return;
        };
        self.silent_running = 0;
        // What is after the present is of a clock that was wrong.
        self.samples.retain(|known| known.at < now && now - known.at <= SAMPLES_KEPT);
        self.samples.push(sample);
        let too_many = self.samples.len().saturating_sub(SAMPLES_MAX);
        self.samples.drain(..too_many);
    }

    /// By how much a number has grown within so long before `now`, as of the newest sample. With the relay it began again at 0:
    /// of one that was started anew, or whose number has become smaller.
    fn increase(&self, now: Timestamp, within: Duration, of: impl Fn(&Sample) -> i64) -> i64 {
        let begin = now - within;
        let first = self.samples.iter().rposition(|sample| sample.at <= begin + SLACK);
        let counted = &self.samples[first.unwrap_or(0)..];
        // Of a relay that nobody knew before, all is of these minutes if it was started in them.
        let was_there = |sample: &&Sample| first.is_some() || sample.started_at.is_none_or(|at| at < begin);
        let known_before = counted.first().filter(was_there);
        let (mut before, mut started_at) =
            (known_before.map_or(0, &of), counted.first().and_then(|sample| sample.started_at));
        let mut grown = 0;
        for sample in counted {
            let number = of(sample);
            let is_the_same = sample.started_at.zip(started_at).is_none_or(|(now, then)| now == then);
            let goes_on = number >= before && is_the_same;
            grown += if goes_on { number - before } else { number };
            (before, started_at) = (number, sample.started_at);
        }
        grown
    }
}
