//! Refunds: one for each time that something was given back of a charge.

use crate::field::view;
use crate::normalize::{Normalize, Unreadable, object, required_id};
use crate::scalar::{Id, Seconds, Text, Whole};

object! {
    /// A refund.
    pub struct Refund {
        /// `re_…` or `pyr_…`
        pub id: String,
        /// `ch_…`
        pub charge: Option<String>,
        /// `pi_…`
        pub payment_intent: Option<String>,
        /// Minor units.
        pub amount: i64,
        /// ISO 4217, lower case.
        pub currency: Option<String>,
        /// `pending`, `requires_action`, `succeeded`, `failed`, `canceled`, or one that Stripe adds later.
        pub status: Option<String>,
        /// Unix seconds.
        pub created: Option<i64>,
    }
}

view! {
    /// A refund as it is sent.
    struct RefundJson {
        id: Id, charge: Id, payment_intent: Id, amount: Whole, currency: Text, status: Text, created: Seconds,
    }
}

impl Normalize for RefundJson {
    type Output = Refund;

    fn normalize(self) -> Result<Refund, Unreadable> {
        Ok(Refund {
            id: required_id(self.id)?,
            charge: self.charge.text(),
            payment_intent: self.payment_intent.text(),
            amount: self.amount.number().unwrap_or_default(),
            currency: self.currency.currency(),
            status: self.status.text(),
            created: self.created.seconds(),
        })
    }
}
