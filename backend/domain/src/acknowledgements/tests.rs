use proptest::prelude::{any, prop_assert_eq, proptest};
use tollgate_shared::clock::from_unix;

use super::*;

fn at(seconds: i64) -> Timestamp {
    from_unix(1_750_000_000 + seconds).unwrap()
}

fn said(seconds: i64, machine: Option<&str>, status: Status, error: Option<&str>) -> Acknowledgement {
    let of = Subject {
        event_id: "sev_1".to_owned(),
        license_id: "lic_1".to_owned(),
        customer_id: "cus_1".to_owned(),
        event_type: "plan_changed".to_owned(),
        created_at: at(0),
        machine_id: machine.map(str::to_owned),
        has_seat: true,
    };
    Acknowledgement::new(at(seconds), &Said { of, status, error: error.map(str::to_owned) })
}

#[test]
fn there_is_one_an_event_and_machine() {
    let [known, unknown] = [Some("mac_1"), None].map(|machine| said(1, machine, Status::Processed, None));
    assert_eq!((&*known.id, &*unknown.id), ("sev_1/mac_1", "sev_1/"));
}

#[test]
fn a_reason_is_cut_and_kept_of_failures_alone() {
    let long = "é".repeat(501);
    let failed = said(1, None, Status::Failed, Some(&long));
    assert_eq!(failed.error, Some("é".repeat(500)));
    assert_eq!(said(1, None, Status::Processed, Some("why")).error, None);
}

#[test]
fn what_failed_may_be_processed_later_and_never_the_other_way() {
    let [failed, processed] = [Status::Failed, Status::Processed].map(|status| said(1, None, status, None));
    let later = |status| said(2, None, status, Some("again"));
    for (first, next, becomes) in [
        (&failed, Status::Failed, &failed),
        (&failed, Status::Processed, &later(Status::Processed)),
        (&processed, Status::Failed, &processed),
        (&processed, Status::Processed, &processed),
    ] {
        let mut row = first.clone();
        assert_eq!(row.follow(&later(next)), row != *first);
        assert_eq!(&row, becomes);
    }
}

proptest! {
    #[test]
    fn one_processed_of_many_is_what_stays(said_in_turn in proptest::collection::vec(any::<bool>(), 1..10)) {
        let status = |is_processed| if is_processed { Status::Processed } else { Status::Failed };
        let mut row = said(0, None, status(said_in_turn[0]), None);
        for (second, is_processed) in said_in_turn.iter().enumerate() {
            row.follow(&said(second as i64, None, status(*is_processed), None));
        }
        let first = said_in_turn.iter().position(|is_processed| *is_processed);
        let expected = said(first.unwrap_or(0) as i64, None, status(first.is_some()), None);
        prop_assert_eq!(row, expected);
    }
}
