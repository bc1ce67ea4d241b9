//! Charges: what was taken of a payer at once, and how much of it was given back.

use crate::field::view;
use crate::normalize::{Normalize, Unreadable, customer, object, required_id};
use crate::scalar::{Id, Seconds, Text, Whole};

object! {
    /// A charge.
    pub struct Charge {
        /// `ch_…` or `py_…`
        pub id: String,
        /// `cus_…`, or `acct_…` of an account that buys; absent for a guest.
        pub customer: Option<String>,
        /// `pi_…`; absent for a charge that was made without one.
        pub payment_intent: Option<String>,
        /// `in_…`; up to 2025-03-31 only.
        pub invoice: Option<String>,
        /// What was asked for; minor units.
        pub amount: i64,
        /// What was taken, which is less where only a part was captured; minor units.
        pub amount_captured: Option<i64>,
        /// What was given back, what was asked for and not captured included; minor units.
        pub amount_refunded: i64,
        /// ISO 4217, lower case.
        pub currency: Option<String>,
        /// Unix seconds.
        pub created: Option<i64>,
    }
}

view! {
    /// A charge as it is sent.
    struct ChargeJson {
        id: Id, customer: Id, customer_account: Id, payment_intent: Id, invoice: Id, amount: Whole,
        amount_captured: Whole, amount_refunded: Whole, currency: Text, created: Seconds,
    }
}

impl Normalize for ChargeJson {
    type Output = Charge;

    fn normalize(self) -> Result<Charge, Unreadable> {
        Ok(Charge {
            id: required_id(self.id)?,
            customer: customer(self.customer, self.customer_account),
            payment_intent: self.payment_intent.text(),
            invoice: self.invoice.text(),
            amount: self.amount.number().unwrap_or_default(),
            amount_captured: self.amount_captured.number(),
            amount_refunded: self.amount_refunded.number().unwrap_or_default(),
            currency: self.currency.currency(),
            created: self.created.seconds(),
        })
    }
}
