//! What goes when, and with what.

use super::*;

const BACKOFF: Backoff = Backoff { first: Duration::from_secs(2), longest: Duration::from_secs(50) };

fn positions(numbers: impl IntoIterator<Item = u64>) -> Vec<Position> {
    numbers.into_iter().map(Position).collect()
}

fn scheduled(numbers: impl IntoIterator<Item = u64>) -> Schedule {
    let mut schedule = Schedule::default();
    for position in positions(numbers) {
        schedule.add(position);
    }
    schedule
}

fn failure(started: Instant, seconds: u64, batch_failed: bool) -> Failure {
    let cause = if batch_failed { Cause::Batch } else { Cause::Event };
    Failure { started, ended: started + Duration::from_secs(seconds), cause }
}

#[test]
fn what_is_due_goes_in_order_of_arrival() {
    let mut schedule = scheduled([3, 1, 2]);
    let now = Instant::now();
    assert_eq!(schedule.take(now, false), positions([1]));
    assert_eq!(schedule.take(now, true), positions([2, 3]));
    assert_eq!(schedule.take(now, true), []);
    assert_eq!(schedule.len(), 3);
    for position in positions([1, 2, 3]) {
        schedule.done(position);
    }
    assert_eq!(schedule.len(), 0);
}

#[test]
fn a_batch_has_a_limit() {
    let mut schedule = scheduled(0..100);
    assert_eq!(schedule.take(Instant::now(), true).len(), BATCH_LEN_MAX);
    assert_eq!(schedule.take(Instant::now(), true).len(), 100 - BATCH_LEN_MAX);
}

#[test]
fn the_first_repeat_comes_within_twenty_seconds_and_none_is_more_than_sixty_after_the_one_before() {
    let rng = Rng::seeded(1);
    for seconds in [0, 1, 15] {
        let mut schedule = scheduled([1]);
        let mut now = Instant::now();
        for failures in 1..50 {
            assert_eq!(schedule.take(now, false), positions([1]));
            let failed = failure(now, seconds, false);
            schedule.failed(Position(1), failed, &BACKOFF, &rng);
            let ended = failed.ended;
            assert_eq!(schedule.take(ended, false), [], "it rests before it comes again");
            let wait = schedule.due_in(ended).unwrap();
            let apart = ended + wait - now;
            let most = if failures == 1 { 20 } else { 60 };
            assert!(apart <= Duration::from_secs(most), "{failures}: {apart:?}");
            now = ended + wait;
        }
    }
}

#[test]
fn one_in_trouble_holds_up_no_other() {
    let mut schedule = scheduled([1, 2]);
    let now = Instant::now();
    schedule.take(now, false);
    schedule.failed(Position(1), failure(now, 0, false), &BACKOFF, &Rng::seeded(1));
    assert_eq!(schedule.take(now, true), positions([2]));
}

#[test]
fn what_fails_in_a_batch_comes_alone_at_its_third_failure() {
    let (rng, mut now) = (Rng::seeded(1), Instant::now());
    let mut schedule = scheduled(0..64);
    for batch_len in [64, 8, 1] {
        let taken = schedule.take(now, true);
        assert_eq!(taken.len(), batch_len);
        // The rest of the batch is out of the way.
        while !schedule.take(now, true).is_empty() {}
        for position in positions(0..64) {
            schedule.failed(position, failure(now, 0, true), &BACKOFF, &rng);
        }
        now += Duration::from_secs(60);
    }
    assert_eq!(schedule.take(now, true), positions([0]));
}

#[test]
fn when_the_backend_is_back_all_is_due_at_once_in_order_and_in_batches() {
    let (rng, now) = (Rng::seeded(1), Instant::now());
    let mut schedule = Schedule::default();
    for position in positions([2, 3, 1]) {
        schedule.add_failed(position, failure(now, 0, true), &BACKOFF, &rng);
    }
    assert_eq!(schedule.take(now, true), []);
    schedule.make_all_due();
    assert_eq!(schedule.due_in(now), Some(Duration::ZERO));
    assert_eq!(schedule.take(now, true), positions([1, 2, 3]));
}

#[test]
fn what_was_not_tried_is_due_again_at_once() {
    let mut schedule = scheduled([1, 2]);
    let now = Instant::now();
    schedule.take(now, true);
    schedule.return_untried(Position(1));
    assert_eq!(schedule.take(now, true), positions([1]));
    assert_eq!(schedule.len(), 2);
}

fn refused(started: Instant, cause: Cause) -> Failure {
    Failure { started, ended: started, cause }
}

/// Takes what is due and fails it, a batch at a time; how long the batches were.
fn refuse_all(schedule: &mut Schedule, now: Instant, cause: Cause) -> Vec<usize> {
    let mut batches = Vec::new();
    loop {
        let batch = schedule.take(now, true);
        if batch.is_empty() {
            return batches;
        }
        for position in &batch {
            schedule.failed(*position, refused(now, cause), &BACKOFF, &Rng::seeded(1));
        }
        batches.push(batch.len());
    }
}

#[test]
fn a_batch_stays_together_while_the_backend_refuses_everything() {
    let (mut schedule, mut now) = (scheduled(0..128), Instant::now());
    for _ in 0..20 {
        assert_eq!(refuse_all(&mut schedule, now, Cause::BatchRefused), [64, 64]);
        now += Duration::from_secs(60);
    }
    schedule.confirmed();
    schedule.make_refused_due();
    assert_eq!(schedule.take(now, true).len(), 64);
}

#[test]
fn a_batch_is_split_when_others_are_confirmed_and_it_is_refused_again() {
    let (mut schedule, mut now) = (scheduled(0..64), Instant::now());
    for batches in [vec![64], vec![64], vec![8; 8], vec![1; 64], vec![1; 64]] {
        assert_eq!(refuse_all(&mut schedule, now, Cause::BatchRefused), batches);
        schedule.confirmed();
        schedule.make_refused_due();
        now += Duration::from_secs(60);
    }
}

#[test]
fn what_was_split_for_want_of_a_response_is_whole_again_with_the_backend() {
    let (mut schedule, mut now) = (scheduled(0..64), Instant::now());
    for batches in [vec![64], vec![8; 8], vec![1; 64]] {
        assert_eq!(refuse_all(&mut schedule, now, Cause::Batch), batches);
        now += Duration::from_secs(60);
    }
    schedule.confirmed();
    schedule.make_refused_due();
    assert_eq!(schedule.take(now, true).len(), 64);
}

#[test]
fn what_the_backend_judged_keeps_its_interval_when_it_takes_others() {
    let (mut schedule, now) = (scheduled([1, 2]), Instant::now());
    schedule.take(now, true);
    for (position, cause) in [(Position(1), Cause::Event), (Position(2), Cause::Backend)] {
        schedule.failed(position, refused(now, cause), &BACKOFF, &Rng::seeded(1));
    }
    schedule.make_refused_due();
    assert_eq!(schedule.take(now, true), positions([2]));
    assert!(schedule.due_in(now).unwrap() > Duration::ZERO);
}

#[test]
fn each_event_gets_its_turn_whenever_it_came() {
    let (mut schedule, now) = (scheduled([1, 2, 3]), Instant::now());
    for expected in [vec![1], vec![2], vec![3], vec![1], vec![2]] {
        let taken = schedule.take_in_turn(now, 1);
        assert_eq!(taken, positions(expected));
        schedule.return_untried(taken[0]);
    }
    assert_eq!(schedule.take_in_turn(now, 64), positions([3, 1, 2]));
    assert_eq!(schedule.take_in_turn(now, 64), []);
}
