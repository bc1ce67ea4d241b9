use futures_util::FutureExt as _;

use super::*;

const START: Timestamp = Timestamp::UNIX_EPOCH;

/// As many as like.
const MANY: usize = usize::MAX;

fn has_rung(subscription: &Subscription) -> bool {
    subscription.rung().now_or_never().is_some()
}

#[test]
fn a_bell_is_heard_by_those_who_listen_to_its_licence_alone() {
    let bells = Bells::new(&Rng::seeded(1));
    bells.ring(["lic_1"]);
    let [first, second, other] = ["lic_1", "lic_1", "lic_2"].map(|id| bells.subscribe(START, id, None, MANY).unwrap());
    assert!(!has_rung(&first), "what rang before is not heard");
    bells.ring(["lic_1", "lic_3"]);
    assert!(has_rung(&first) && has_rung(&second) && !has_rung(&other));
    assert!(!has_rung(&first), "once is enough");
    bells.ring_all_here();
    assert!(has_rung(&first) && has_rung(&other));
}

#[test]
fn a_bell_that_rings_while_nobody_waits_is_heard_later() {
    let bells = Bells::new(&Rng::seeded(1));
    let subscription = bells.subscribe(START, "lic_1", None, MANY).unwrap();
    bells.ring(["lic_1"]);
    bells.ring(["lic_1"]);
    assert!(has_rung(&subscription));
}

#[test]
fn who_is_dropped_no_longer_counts() {
    let bells = Bells::new(&Rng::seeded(1));
    let [first, second] = ["lic_1", "lic_1"].map(|id| bells.subscribe(START, id, None, MANY).unwrap());
    first.has_read_to(3);
    second.has_read_to(5);
    assert_eq!((bells.count(), bells.watched()), (2, vec![("lic_1".into(), 3)]));
    drop(first);
    assert_eq!((bells.count(), bells.watched()), (1, vec![("lic_1".into(), 5)]));
    drop(second);
    assert_eq!((bells.count(), bells.watched()), (0, vec![]));
    assert!(bells.by_license().is_empty());
}

#[test]
fn a_machines_new_stream_ends_its_older_one_alone() {
    let bells = Bells::new(&Rng::seeded(1));
    let streams = [
        ("lic_1", Some("mac_1")),
        ("lic_1", Some("mac_2")),
        ("lic_1", None),
        ("lic_2", Some("mac_1")),
        ("lic_1", None),
        ("lic_1", Some("mac_1")),
    ];
    let streams = streams.map(|(license, machine)| bells.subscribe(START, license, machine, MANY).unwrap());
    assert_eq!(streams[0].end(), Some(End::Replaced));
    assert!(has_rung(&streams[0]));
    assert!(streams[1..].iter().all(|stream| stream.end().is_none()));
}

#[test]
fn a_machines_stream_elsewhere_ends_those_that_are_older() {
    let bells = Bells::new(&Rng::seeded(1));
    let later = START + Duration::from_micros(1);
    let [older, other] =
        ["mac_1", "mac_2"].map(|machine| bells.subscribe(START, "lic_1", Some(machine), MANY).unwrap());
    bells.end_older("lic_1", "mac_1", later.timestamp_micros());
    assert_eq!((older.end(), other.end()), (Some(End::Replaced), None));
    let newer = bells.subscribe(later, "lic_1", Some("mac_1"), MANY).unwrap();
    bells.end_older("lic_1", "mac_1", later.timestamp_micros());
    assert_eq!(newer.end(), None);
}

#[test]
fn who_takes_nothing_for_too_long_is_ended_once() {
    let bells = Bells::new(&Rng::seeded(1));
    let [stuck, taking, idle] = ["lic_1", "lic_1", "lic_2"].map(|id| bells.subscribe(START, id, None, MANY).unwrap());
    stuck.hand_over();
    taking.hand_over();
    taking.is_taken();
    bells.end_stuck(Instant::now());
    assert_eq!([&stuck, &taking, &idle].map(Subscription::end), [Some(End::Stuck), None, None]);
    assert_eq!(bells.count(), 2);
    drop(stuck);
    assert_eq!(bells.count(), 2);
}

#[test]
fn a_stop_ends_all_and_lets_none_begin() {
    let bells = Bells::new(&Rng::seeded(1));
    let subscription = bells.subscribe(START, "lic_1", None, MANY).unwrap();
    bells.close();
    assert_eq!(subscription.end(), Some(End::Stopping));
    assert!(has_rung(&subscription));
    assert_eq!(bells.subscribe(START, "lic_1", None, MANY).err(), Some(NotNow::Stopping));
}

#[test]
fn only_known_machines_listen_to_a_bell_that_many_listen_to() {
    let bells = Bells::new(&Rng::seeded(1));
    let first = bells.subscribe(START, "lic_1", None, 2).unwrap();
    let _second = bells.subscribe(START, "lic_1", None, 2).unwrap();
    assert_eq!(bells.subscribe(START, "lic_1", None, 2).err(), Some(NotNow::TooMany));
    let _other = bells.subscribe(START, "lic_2", None, 2).unwrap();
    let _machine = bells.subscribe(START, "lic_1", Some("mac_1"), 2).unwrap();
    drop(first);
    assert_eq!(bells.subscribe(START, "lic_1", None, 2).err(), Some(NotNow::TooMany), "the machine counts");
    assert!(bells.subscribe(START, "lic_1", None, 3).is_ok());
}
