//! Why attempts at a payment failed, by what they were made with, from whatever was seen of it, in any order.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tollgate_stripe::PaymentIntent;

/// Codes after which the same payment method is not tried again: Stripe's words for what the card networks and Nacha call
/// final (<https://docs.stripe.com/declines/codes>, <https://docs.stripe.com/payments/ach-direct-debit>).
const FINAL_CODES: [&str; 18] = [
    "incorrect_number",
    "lost_card",
    "pickup_card",
    "stolen_card",
    "expired_card",
    "fraudulent",
    DO_NOT_TRY_AGAIN,
    "revocation_of_authorization",
    "revocation_of_all_authorizations",
    "authentication_required",
    "highest_risk_level",
    "transaction_not_allowed",
    "account_closed",
    "bank_account_closed",
    "no_account",
    "invalid_account_number",
    "account_number_invalid",
    "debit_not_authorized",
];

/// What an issuer advises, or says itself.
const DO_NOT_TRY_AGAIN: &str = "do_not_try_again";

/// Kinds of payment methods that a bank is told to pay, and may take back days later.
const BANK_DEBITS: [&str; 6] =
    ["us_bank_account", "sepa_debit", "bacs_debit", "acss_debit", "au_becs_debit", "nz_bank_account"];

/// The last failure of each payment method (`pm_…`; the empty name where none was named).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Failures(BTreeMap<String, Failure>);

/// Why an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Failure {
    /// When it was seen last; Unix seconds.
    #[serde(rename = "t")]
    pub at: i64,
    /// Stripe's decline code, else its code.
    #[serde(rename = "c")]
    pub code: String,
    /// Whether the issuer advises not to try again.
    #[serde(rename = "a", default, skip_serializing_if = "std::ops::Not::not")]
    pub is_advised_against: bool,
    /// Whether it was a bank debit.
    #[serde(rename = "d", default, skip_serializing_if = "std::ops::Not::not")]
    pub is_bank_debit: bool,
}

impl Failure {
    /// One of which only the code is known.
    pub fn of_code(at: i64, code: &str) -> Self {
        Self { at, code: code.to_owned(), is_advised_against: false, is_bank_debit: false }
    }

    /// Whether the same payment method is not to be tried again.
    pub fn is_final(&self) -> bool {
        self.is_advised_against || FINAL_CODES.contains(&&*self.code)
    }
}

impl Failures {
    /// What a snapshot of an intent, seen at `at` (Unix seconds), tells of its last attempt.
    pub fn see_intent(&mut self, intent: &PaymentIntent, at: i64) {
        // A failed attempt puts an intent back where it began; another one that has begun forgets it.
        let has_failed = intent.status.as_deref() == Some("requires_payment_method");
        let Some(code) = intent.failure_code.as_deref().filter(|_| has_failed) else { return };
        let is_bank_debit = intent.failed_method_type.as_deref().is_some_and(|kind| BANK_DEBITS.contains(&kind));
        let is_advised_against = intent.failure_advice.as_deref() == Some(DO_NOT_TRY_AGAIN);
        let failure = Failure { is_advised_against, is_bank_debit, ..Failure::of_code(at, code) };
        self.see(intent.failed_method.as_deref().unwrap_or_default(), failure);
    }

    /// Takes in a failure of a payment method: the newest counts. What kind of payment method it is never changes.
    pub fn see(&mut self, method: &str, failure: Failure) {
        let is_bank_debit = failure.is_bank_debit || self.is_bank_debit(method);
        let newest = self.0.remove(method).into_iter().chain([failure]).max();
        if let Some(newest) = newest {
            self.0.insert(method.to_owned(), Failure { is_bank_debit, ..newest });
        }
    }

    /// Takes in all of `other`.
    pub fn merge(&mut self, other: &Self) {
        for (method, failure) in &other.0 {
            self.see(method, failure.clone());
        }
    }

    /// The last failure of a payment method.
    pub fn of_method(&self, method: &str) -> Option<&Failure> {
        self.0.get(method)
    }

    /// The last failure of all.
    pub fn last(&self) -> Option<&Failure> {
        self.0.values().max()
    }

    /// Whether a payment method is known to be a bank debit.
    pub fn is_bank_debit(&self, method: &str) -> bool {
        self.of_method(method).is_some_and(|failure| failure.is_bank_debit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::orders;

    fn intent(code: Option<&str>, method: Option<&str>, kind: Option<&str>) -> PaymentIntent {
        let text = |text: Option<&str>| text.map(str::to_owned);
        PaymentIntent {
            status: text(Some("requires_payment_method")),
            failure_code: text(code),
            failed_method: text(method),
            failed_method_type: text(kind),
            ..PaymentIntent::default()
        }
    }

    #[test]
    fn the_newest_failure_of_each_method_counts_in_any_order() {
        let card = |code| intent(Some(code), Some("pm_1"), Some("card"));
        let told = [
            (1, card("insufficient_funds")),
            (5, card("lost_card")),
            (3, intent(Some("generic_decline"), Some("pm_2"), Some("us_bank_account"))),
            (4, intent(None, Some("pm_2"), None)),
            (9, PaymentIntent { status: Some("processing".to_owned()), ..card("expired_card") }),
        ];
        for order in orders(&told) {
            let mut failures = Failures::default();
            for (at, intent) in &order {
                failures.see_intent(intent, *at);
            }
            assert_eq!(failures.last(), Some(&Failure::of_code(5, "lost_card")));
            assert!(failures.of_method("pm_1").is_some_and(Failure::is_final));
            assert!(failures.of_method("pm_2").is_some_and(|failure| !failure.is_final() && failure.is_bank_debit));
        }
    }

    #[test]
    fn an_issuers_advice_is_as_good_as_its_code() {
        let advised = PaymentIntent {
            failure_advice: Some("do_not_try_again".to_owned()),
            ..intent(Some("generic_decline"), None, Some("card"))
        };
        let mut failures = Failures::default();
        failures.see_intent(&advised, 1);
        assert!(failures.of_method("").is_some_and(Failure::is_final));
        assert!(FINAL_CODES.iter().all(|code| Failure::of_code(0, code).is_final()));
        assert!(!Failure::of_code(0, "insufficient_funds").is_final());
    }

    #[test]
    fn a_debit_stays_one_whoever_tells_of_its_failure() {
        let mut failures = Failures::default();
        failures.see_intent(&intent(Some("insufficient_funds"), Some("pm_1"), Some("sepa_debit")), 1);
        failures.see("pm_1", Failure::of_code(2, "card_declined"));
        assert!(failures.is_bank_debit("pm_1") && !failures.is_bank_debit("pm_2"));
    }
}
