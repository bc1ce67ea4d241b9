//! What is read, and how it is cut.

use tollgate_shared::clock::from_unix;

use super::*;

const NOW: i64 = 1_750_000_000;

fn stretch(from: i64, to: i64) -> Stretch {
    Stretch { kind: Kind::Events, account: None, from, to, after: None }
}

fn now() -> Timestamp {
    from_unix(NOW).unwrap()
}

fn of_events(run: &Run) -> &Stretch {
    run.remaining.iter().find(|stretch| stretch.kind == Kind::Events && stretch.account.is_none()).unwrap()
}

#[test]
fn events_are_read_as_far_back_as_both_sides_have_them() {
    for (days_kept, days_back) in [(90, 30), (30, 30), (7, 7)] {
        let run = Run::new("report", now(), None, Duration::days(days_kept), &[]);
        let events = of_events(&run);
        let margin = if days_kept > 30 { 0 } else { 3600 };
        assert_eq!((events.from, events.to), (NOW - days_back * 86_400 + margin, NOW - 300), "{days_kept}");
        assert_eq!(run.remaining.last(), Some(events), "they are read first");
    }
    let since = now() - Duration::days(2);
    let run = Run::new("report", now(), Some(since), Duration::days(90), &["acct_1".to_owned()]);
    assert_eq!(run.remaining.len(), 6, "of each kind in each account");
    assert!(run.remaining.iter().all(|stretch| stretch.from == NOW - 2 * 86_400));
    assert_eq!(Run::new("report", now(), Some(now()), Duration::days(90), &[]).remaining.0, []);
}

#[test]
fn a_run_goes_on_for_a_day_unless_something_else_is_asked() {
    let run = Run::new("report", now(), None, Duration::days(90), &[]);
    assert!(run.goes_on(now() + Duration::hours(23), None));
    assert!(!run.goes_on(now() + Duration::hours(24), None));
    assert!(!run.goes_on(now(), Some(now())));
    assert!(!Run { ended_at: Some(now()), ..run }.goes_on(now(), None));
}

#[test]
fn what_is_left_of_a_stretch_is_all_that_was_not_read() {
    // Sparse, as dense as one stretch should be, dense, within one second, and with no room for more.
    for (last_at, waiting, pieces) in
        [(10, 0, 1), (90_000, 0, 1), (98_000, 0, 4), (99_990, 0, 8), (99_999, 30, 2), (99_999, 32, 1), (0, 0, 1)]
    {
        let whole = stretch(0, 100_000);
        let rest = whole.rest(100, ("evt_last", last_at), waiting);
        assert_eq!(rest.len(), pieces, "{last_at}: {rest:?}");
        assert_eq!((rest[0].from, rest.last().unwrap().to), (0, last_at + 1));
        assert!(rest.windows(2).all(|two| two[0].to == two[1].from && two[0].from < two[0].to), "{rest:?}");
        let (newest, older) = rest.split_last().unwrap();
        assert_eq!(newest.after.as_deref(), Some("evt_last"), "of its second there may be more");
        assert!(older.iter().all(|stretch| stretch.after.is_none()));
    }
}

#[test]
fn a_second_that_is_full_is_read_to_its_end() {
    let full = Stretch { after: Some("evt_1".to_owned()), ..stretch(7, 8) };
    assert_eq!(full.rest(100, ("evt_2", 7), 0), [Stretch { after: Some("evt_2".to_owned()), ..stretch(7, 8) }]);
}

#[test]
fn how_much_was_read_is_a_share_of_the_time_in_question() {
    let whole = Run::new("report", now(), None, Duration::days(90), &[]).remaining.0;
    let without_events: Vec<_> = whole.iter().filter(|stretch| stretch.kind != Kind::Events).cloned().collect();
    for (whole, left, share) in
        [(&whole[..], &whole[..], 0.0), (&whole, &without_events, 1.0 / 3.0), (&whole, &[], 1.0), (&[], &[], 1.0)]
    {
        let read = share_read(whole, left);
        assert!((read - share).abs() < 1e-9, "{read}, expected {share}");
    }
}
