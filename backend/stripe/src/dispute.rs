//! Disputes: a payer who asked the bank for a charge's money.

use crate::field::view;
use crate::normalize::{Normalize, Unreadable, object, required_id};
use crate::scalar::{Id, Seconds, Text};

object! {
    /// A dispute.
    pub struct Dispute {
        /// `du_…` or `dp_…`
        pub id: String,
        /// `ch_…`
        pub charge: Option<String>,
        /// `pi_…`
        pub payment_intent: Option<String>,
        /// `won`, `lost`, `warning_closed`, …: `lost` is one whose money the payer has back.
        pub status: Option<String>,
        /// Unix seconds.
        pub created: Option<i64>,
    }
}

view! {
    /// A dispute as it is sent.
    struct DisputeJson { id: Id, charge: Id, payment_intent: Id, status: Text, created: Seconds, }
}

impl Normalize for DisputeJson {
    type Output = Dispute;

    fn normalize(self) -> Result<Dispute, Unreadable> {
        Ok(Dispute {
            id: required_id(self.id)?,
            charge: self.charge.text(),
            payment_intent: self.payment_intent.text(),
            status: self.status.text(),
            created: self.created.seconds(),
        })
    }
}
