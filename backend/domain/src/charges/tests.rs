//! What was given back, in every order in which it can be told.

use tollgate_stripe::{Charge, Refund};

use super::given_back::GivenBack;
use crate::testing::orders;

/// One thing that is told of a charge, and the second.
#[derive(Clone, Debug)]
enum Told {
    Sum(i64, i64),
    Refund(&'static str, i64, &'static str, i64),
}

use Told::{Refund as Re, Sum};

fn see(told: &[Told]) -> GivenBack {
    let mut given_back = GivenBack::default();
    for told in told {
        match *told {
            Sum(amount_refunded, second) => {
                let charge = Charge { id: "ch_1".into(), amount: 5000, amount_refunded, ..Charge::default() };
                given_back.see_charge(&charge, second);
            }
            Re(id, amount, status, second) => {
                let (charge, status) = (Some("ch_1".to_owned()), Some(status.to_owned()));
                let refund = Refund { id: id.into(), charge, amount, status, ..Refund::default() };
                given_back.see_refund(&refund, second);
            }
        }
    }
    given_back
}

/// In each order of `told`, and with all of it twice, so much was given back.
fn always(told: &[Told], amount: i64) {
    let first = see(told);
    for order in orders(told) {
        let twice = [&order[..], &order[..]].concat();
        assert_eq!(see(&order).total().amount, amount, "{order:?}");
        assert_eq!(see(&twice), first, "{order:?}");
    }
}

#[test]
fn sums_of_a_charge_never_fall() {
    always(&[Sum(900, 10), Sum(2900, 20)], 2900);
    always(&[Sum(2900, 10), Sum(900, 20)], 2900);
}

#[test]
fn a_refund_is_counted_once_by_whatever_tells_it() {
    always(&[Re("re_1", 900, "pending", 10), Re("re_1", 900, "succeeded", 20), Sum(900, 10)], 900);
    always(&[Re("re_1", 900, "succeeded", 10), Re("re_2", 500, "succeeded", 20), Sum(900, 10)], 1400);
}

#[test]
fn a_failed_refund_is_none() {
    always(&[Re("re_1", 900, "failed", 20)], 0);
    always(&[Re("re_1", 900, "pending", 10), Sum(900, 10), Re("re_1", 900, "failed", 20)], 0);
    always(&[Sum(900, 10), Re("re_1", 900, "failed", 20), Sum(700, 30)], 700);
    always(&[Sum(1600, 10), Re("re_1", 900, "failed", 20), Re("re_2", 700, "succeeded", 10)], 700);
}

#[test]
fn a_refund_that_is_given_up_is_none() {
    always(&[Re("re_1", 900, "requires_action", 10), Re("re_1", 900, "canceled", 20)], 0);
}

#[test]
fn what_was_not_captured_was_not_given_back() {
    let charge = |amount_refunded| Charge {
        id: "ch_1".into(),
        amount: 5000,
        amount_captured: Some(2000),
        amount_refunded,
        ..Charge::default()
    };
    for (sum, given_back) in [(3000, 0), (3500, 500), (5000, 2000), (500, 500)] {
        let mut seen = GivenBack::default();
        seen.see_charge(&charge(sum), 10);
        assert_eq!(seen.total().amount, given_back, "{sum}");
    }
}

#[test]
fn sums_of_several_charges_do_not_wrap() {
    let mut seen = GivenBack::default();
    for id in ["ch_1", "ch_2"] {
        let charge = Charge { id: id.into(), amount_refunded: i64::MAX, ..Charge::default() };
        seen.see_charge(&charge, 10);
    }
    assert_eq!(seen.total().amount, i64::MAX);
}
