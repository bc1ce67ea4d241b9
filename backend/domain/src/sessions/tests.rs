use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use tollgate_shared::Rng;
use tollgate_shared::clock::from_unix;

use super::*;

fn at(seconds: i64) -> Timestamp {
    from_unix(1_750_000_000 + seconds).unwrap()
}

/// The session of a machine that was there from second 0 to `last`.
fn session(last: i64) -> Session {
    let mut work = UnitOfWork::new(at(0), Rng::seeded(1));
    renew(&mut work, "mac_1", Transport::Stream, at(0), at(last));
    work.get_cloned("mac_1").unwrap()
}

#[test]
fn one_that_misses_a_heartbeat_is_suspect_and_then_stale() {
    for (silence, presence) in [
        (0, Presence::Connected),
        (59, Presence::Connected),
        (60, Presence::Suspect),
        (299, Presence::Suspect),
        (300, Presence::Stale),
        (86_400, Presence::Stale),
    ] {
        assert_eq!(Presence::at(at(silence), at(0), None), presence, "{silence} s");
        assert_eq!(Presence::at(at(silence), at(0), Some(at(0))), Presence::Ended, "{silence} s");
    }
}

#[test]
fn a_clock_that_is_set_back_makes_nobody_stale() {
    for back in [1, 300, 3600, 400 * 86_400] {
        assert_eq!(Presence::at(at(-back), at(0), None), Presence::Connected, "{back} s");
        assert!(!session(0).find_stale(at(-back)));
    }
}

#[test]
fn who_comes_back_renews_the_same_session() {
    let mut work = UnitOfWork::new(at(0), Rng::seeded(1));
    renew(&mut work, "mac_1", Transport::Stream, at(0), at(5));
    let opened: Session = work.get_cloned("mac_1").unwrap();
    assert!(opened.id.starts_with("ses_"));
    let mut stale = opened.clone();
    assert!(stale.find_stale(at(305)));
    assert!(!stale.find_stale(at(400)), "it is marked once");
    assert_eq!(stale.stale_at, Some(at(305)));
    work.insert(stale);
    renew(&mut work, "mac_1", Transport::Heartbeat, at(86_400), at(86_400));
    let renewed = Session { transport: "heartbeat".to_owned(), last_seen_at: at(86_400), ..opened };
    assert_eq!(work.get::<Session>("mac_1"), Some(&renewed));
}

#[test]
fn only_who_was_there_before_and_after_was_there_for_it() {
    let there: Vec<_> = (-1..=11).filter(|second| session(10).was_there_for(at(*second))).collect();
    assert_eq!(there, (1..=10).collect::<Vec<_>>());
}

#[test]
fn an_older_sign_of_life_changes_nothing() {
    let mut session = session(100);
    let known = session.clone();
    session.renew(at(99), Transport::Heartbeat);
    assert_eq!(session, known);
}

#[test]
fn a_time_that_is_too_far_ahead_is_not_believed_for_good() {
    let mut session = session(86_400);
    session.renew(at(10), Transport::Stream);
    assert_eq!(session.last_seen_at, at(10));
}

proptest! {
    #[test]
    fn presence_only_gets_worse_while_nothing_is_heard(silence in any::<i32>(), more in 0..100_000_i64) {
        let presence = |seconds: i64| Presence::at(at(seconds), at(0), None) as u8;
        prop_assert!(presence(i64::from(silence)) <= presence(i64::from(silence) + more));
    }

    #[test]
    fn signs_of_life_in_any_order_end_at_the_newest(mut seconds in proptest::collection::vec(0..300_i64, 1..8)) {
        let mut session = session(0);
        for second in &seconds {
            session.renew(at(*second), Transport::Stream);
        }
        seconds.sort_unstable();
        prop_assert_eq!(session.last_seen_at, at(*seconds.last().unwrap()));
    }
}
