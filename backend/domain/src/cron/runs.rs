//! The runs of a job: which is to be begun, and whose it is.

use chrono::{Duration, SubsecRound as _};
use serde_json::Value;
use tollgate_db::{DbError, Tx};
use tollgate_shared::Timestamp;

use super::schedule::Schedule;
use super::{Claim, Outcome, Run, store};

/// For how long a run is its process's without a word of it: long enough for a database that answers slowly, and short
/// enough that what a process left undone is soon done by another one.
pub const LEASE: Duration = Duration::seconds(30);

/// How far the clocks of two processes may be apart.
const SKEW_MAX: Duration = Duration::minutes(5);

impl Run {
    /// Whether its process is gone. A lease that ends later than any could is of a clock that was wrong.
    pub fn is_abandoned(&self, now: Timestamp) -> bool {
        self.ended_at.is_none() && (self.lease_until <= now || self.lease_until > now + LEASE + SKEW_MAX)
    }
}

/// Who wants a job to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// The clock: for the newest tick, once.
    Clock,
    /// Somebody who asks for it: now, also where the newest tick has had its run. Whoever asks in the same second asks for
    /// the same run.
    Request,
}

/// What of a job's runs counts at a moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Known {
    /// The one that has not ended.
    pub in_progress: Option<Run>,
    /// The newest that is not after the moment: what is after it is of a clock that was wrong.
    pub newest: Option<Run>,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// The run for this tick, which nobody has begun.
    Begin(Timestamp),
    /// This run, whose process is gone.
    TakeOver(Run),
    /// Nothing: this tick's run is in progress elsewhere.
    Wait(Timestamp),
    /// Nothing: this tick has had its run.
    Done(Timestamp),
}

/// What a process does that finds `known` at `now`. Ticks that were missed are caught up with by one run, the newest's: what a
/// job does covers all that is due by then.
pub fn step(schedule: &Schedule, caller: Caller, now: Timestamp, known: &Known) -> Step {
    if let Some(run) = &known.in_progress {
        return if run.is_abandoned(now) { Step::TakeOver(run.clone()) } else { Step::Wait(run.tick) };
    }
    let newest = known.newest.as_ref().map(|run| run.tick);
    let due = schedule.latest(now);
    let tick = match caller {
        Caller::Request if newest.is_some_and(|newest| newest >= due) => now.trunc_subsecs(0),
        Caller::Request | Caller::Clock => due,
    };
    match newest {
        Some(newest) if newest >= tick => Step::Done(newest),
        _ => Step::Begin(tick),
    }
}

/// What is known of a job's runs at `now`.
pub async fn known(tx: &mut Tx, job: &str, now: Timestamp) -> Result<Known, DbError> {
    Ok(Known { in_progress: store::in_progress(tx, job).await?, newest: store::newest(tx, job, now).await? })
}

/// The newest run that has ended, and is not after `now`.
pub async fn last_ended(tx: &mut Tx, job: &str, now: Timestamp) -> Result<Option<Run>, DbError> {
    store::last_ended(tx, job, now).await
}

/// When a job last succeeded, by runs that are not after `now`.
pub async fn last_success(tx: &mut Tx, job: &str, now: Timestamp) -> Result<Option<Timestamp>, DbError> {
    store::last_success(tx, job, now).await
}

/// How many of a job's newest runs failed, in a row; `limit` at most are looked at. Of runs that have ended and are not after
/// `now`.
pub async fn failed_running(tx: &mut Tx, job: &str, now: Timestamp, limit: i64) -> Result<i64, DbError> {
    let outcomes = store::last_outcomes(tx, job, now, limit).await?;
    Ok(outcomes.iter().take_while(|outcome| *outcome == Outcome::FAILED).count() as i64)
}

/// What the runs of a job did whose ticks are not before `since`, the newest first and `limit` at most.
pub async fn summaries_since(tx: &mut Tx, job: &str, since: Timestamp, limit: i64) -> Result<Vec<Value>, DbError> {
    store::summaries_since(tx, job, since, limit).await
}

/// Begins the run for a tick; false if somebody was quicker.
pub async fn begin(tx: &mut Tx, claim: &Claim, now: Timestamp) -> Result<bool, DbError> {
    store::insert(tx, claim, now, now + LEASE).await
}

/// Takes a run over whose process is gone; false if that is not so, or somebody was quicker.
pub async fn take_over(tx: &mut Tx, claim: &Claim, abandoned: &Run, now: Timestamp) -> Result<bool, DbError> {
    store::replace(tx, claim, abandoned, now, now + LEASE).await
}

/// Says that a run goes on, and how far it has come; false if it is no longer ours.
pub async fn renew(tx: &mut Tx, claim: &Claim, now: Timestamp, summary: &Value) -> Result<bool, DbError> {
    store::renew(tx, claim, now + LEASE, summary).await
}

/// Says how a run ended; false if it was no longer ours.
pub async fn end(
    tx: &mut Tx,
    claim: &Claim,
    now: Timestamp,
    outcome: Outcome,
    summary: &Value,
) -> Result<bool, DbError> {
    store::end(tx, claim, now, outcome, summary).await
}

/// Removes runs whose ticks are before `before`, the oldest first and at most `limit`; gives how many. What is in progress
/// stays.
pub async fn remove_ended(tx: &mut Tx, before: Timestamp, limit: i64) -> Result<u64, DbError> {
    store::delete_ended(tx, before, limit).await
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use serde_json::json;
    use tollgate_db::Json;

    use super::*;

    fn at(text: &str) -> Timestamp {
        format!("2026-03-01T{text}Z").parse().unwrap()
    }

    fn run(tick: Timestamp) -> Run {
        Run {
            tick,
            holder: "a".to_owned(),
            attempts: 1,
            started_at: tick,
            lease_until: tick + LEASE,
            ended_at: Some(tick),
            outcome: Some("succeeded".to_owned()),
            error: None,
            summary: Json(json!({})),
        }
    }

    fn newest(tick: &str) -> Known {
        Known { in_progress: None, newest: Some(run(at(tick))) }
    }

    fn in_progress(tick: &str) -> Known {
        let run = Run { ended_at: None, ..run(at(tick)) };
        Known { in_progress: Some(run.clone()), newest: Some(run) }
    }

    const HOURLY: Schedule = Schedule::hourly();

    #[test]
    fn a_tick_is_begun_when_its_time_has_come_and_not_again() {
        let by_the_clock = |now: &str, known: &Known| step(&HOURLY, Caller::Clock, at(now), known);
        assert_eq!(by_the_clock("10:00:00", &Known::default()), Step::Begin(at("10:00:00")));
        assert_eq!(by_the_clock("09:59:59.999", &newest("09:00:00")), Step::Done(at("09:00:00")));
        assert_eq!(by_the_clock("10:00:00", &newest("09:00:00")), Step::Begin(at("10:00:00")));
        assert_eq!(by_the_clock("10:00:00", &newest("10:00:00")), Step::Done(at("10:00:00")));
        assert_eq!(by_the_clock("10:59:59", &newest("10:00:00")), Step::Done(at("10:00:00")));
    }

    #[test]
    fn missed_ticks_are_caught_up_with_by_one_run() {
        // Also by a process that came a moment after the tick, when nobody was there.
        for (now, last, tick) in [("10:00:03", "09:00:00", "10:00:00"), ("17:30:00", "09:00:00", "17:00:00")] {
            for caller in [Caller::Clock, Caller::Request] {
                assert_eq!(step(&HOURLY, caller, at(now), &newest(last)), Step::Begin(at(tick)), "{caller:?}");
            }
        }
    }

    #[test]
    fn whoever_asks_after_a_tick_had_its_run_gets_one_of_his_own() {
        let asked = |now: &str, known: &Known| step(&HOURLY, Caller::Request, at(now), known);
        assert_eq!(asked("10:20:30.7", &newest("10:00:00")), Step::Begin(at("10:20:30")));
        assert_eq!(asked("10:20:30.9", &newest("10:20:30")), Step::Done(at("10:20:30")), "in the same second");
        assert_eq!(asked("10:00:00", &newest("10:00:00")), Step::Done(at("10:00:00")), "with the clock");
        assert_eq!(asked("10:20:30", &newest("10:20:31")), Step::Done(at("10:20:31")));
        // It does not come before the next tick, nor instead of it.
        assert_eq!(step(&HOURLY, Caller::Clock, at("10:20:31"), &newest("10:20:30")), Step::Done(at("10:20:30")));
        assert_eq!(step(&HOURLY, Caller::Clock, at("11:00:00"), &newest("10:59:59")), Step::Begin(at("11:00:00")));
    }

    #[test]
    fn what_is_in_progress_is_waited_for_until_its_process_is_gone() {
        let known = in_progress("10:00:00");
        for caller in [Caller::Clock, Caller::Request] {
            assert_eq!(step(&HOURLY, caller, at("10:00:29"), &known), Step::Wait(at("10:00:00")));
            let abandoned = known.in_progress.clone().unwrap();
            assert_eq!(step(&HOURLY, caller, at("10:00:30"), &known), Step::TakeOver(abandoned));
        }
        // One that takes so long that the next tick comes meanwhile.
        let mut long = in_progress("10:00:00");
        long.in_progress.as_mut().unwrap().lease_until = at("11:00:20");
        assert_eq!(step(&HOURLY, Caller::Clock, at("11:00:00"), &long), Step::Wait(at("10:00:00")));
    }

    #[test]
    fn a_clock_that_went_back_begins_no_tick_again() {
        // What is after the present is not looked at: the newest is that of the same tick, an hour ago.
        assert_eq!(step(&HOURLY, Caller::Clock, at("10:30:00"), &newest("10:00:00")), Step::Done(at("10:00:00")));
        assert_eq!(step(&HOURLY, Caller::Clock, at("10:30:00"), &newest("08:00:00")), Step::Begin(at("10:00:00")));
    }

    #[test]
    fn a_lease_that_no_clock_could_have_given_holds_nothing_up() {
        let known = in_progress("23:00:00");
        assert!(matches!(step(&HOURLY, Caller::Clock, at("10:00:00"), &known), Step::TakeOver(_)));
        // Two clocks are never quite the same.
        assert!(matches!(step(&HOURLY, Caller::Clock, at("22:58:00"), &known), Step::Wait(_)));
    }

    proptest! {
        /// However ticks come and go, and whoever looks when: each tick is begun once at most, none before its time, and
        /// one that is due is begun by the next look.
        #[test]
        fn each_tick_is_begun_once(looks in prop::collection::vec((0..7200_i64, any::<bool>()), 1..60)) {
            let mut now = at("10:00:00");
            let (schedule, mut begun) = (Schedule::minutes(5), BTreeSet::new());
            for (seconds, is_request) in looks {
                now += Duration::seconds(seconds);
                let newest = begun.range(..=now).next_back().copied().map(run);
                let caller = if is_request { Caller::Request } else { Caller::Clock };
                if let Step::Begin(tick) = step(&schedule, caller, now, &Known { in_progress: None, newest }) {
                    prop_assert!(tick <= now);
                    prop_assert!(begun.insert(tick), "{tick} was begun before");
                }
                prop_assert!(begun.last().is_some_and(|newest| *newest >= schedule.latest(now)));
            }
        }
    }
}
