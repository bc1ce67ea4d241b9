//! Checkout sessions.

use crate::field::view;
use crate::normalize::{Metadata, Normalize, Unreadable, customer, object, required_id};
use crate::scalar::{Id, Label, Seconds, Text, Whole};

object! {
    /// A Checkout session.
    pub struct CheckoutSession {
        /// `cs_…`
        pub id: String,
        /// `payment`, `setup` or `subscription`.
        pub mode: Option<String>,
        /// `open`, `complete` or `expired`.
        pub status: Option<String>,
        /// `paid`, `unpaid` or `no_payment_required`.
        pub payment_status: Option<String>,
        /// `cus_…`, or `acct_…` of an account that buys; absent for a guest.
        pub customer: Option<String>,
        /// The buyer's, as the buyer entered it, else as the shop did.
        pub customer_email: Option<String>,
        /// The buyer's, as the buyer entered it.
        pub customer_name: Option<String>,
        /// `sub_…`
        pub subscription: Option<String>,
        /// `in_…`
        pub invoice: Option<String>,
        /// `pi_…`
        pub payment_intent: Option<String>,
        /// Whom the shop said it was for, when it is not blank.
        pub client_reference_id: Option<String>,
        /// `metadata.user_id`, when it is not blank.
        pub user_id: Option<String>,
        /// `metadata.plan_id`, when it is not blank: the plan that the shop says it sold.
        pub plan_id: Option<String>,
        /// Minor units.
        pub amount_total: Option<i64>,
        /// ISO 4217, lower case.
        pub currency: Option<String>,
        /// Unix seconds.
        pub created: Option<i64>,
    }
}

view! {
    /// A Checkout session.
    struct CheckoutSessionJson {
        id: Id, mode: Text, status: Text, payment_status: Text, customer: Id, customer_account: Id,
        customer_details: CustomerDetails, customer_email: Text, subscription: Id, invoice: Id, payment_intent: Id,
        client_reference_id: Label, metadata: Metadata, amount_total: Whole, currency: Text, created: Seconds,
    }
}

view! {
    /// What the buyer entered.
    struct CustomerDetails { email: Text, name: Text, }
}

impl Normalize for CheckoutSessionJson {
    type Output = CheckoutSession;

    fn normalize(self) -> Result<CheckoutSession, Unreadable> {
        let details = self.customer_details.or_default();
        let metadata = self.metadata.or_default();
        Ok(CheckoutSession {
            id: required_id(self.id)?,
            mode: self.mode.text(),
            status: self.status.text(),
            payment_status: self.payment_status.text(),
            customer: customer(self.customer, self.customer_account),
            customer_email: details.email.text().or(self.customer_email.text()),
            customer_name: details.name.text(),
            subscription: self.subscription.text(),
            invoice: self.invoice.text(),
            payment_intent: self.payment_intent.text(),
            client_reference_id: self.client_reference_id.text(),
            user_id: metadata.user_id.text(),
            plan_id: metadata.plan_id.text(),
            amount_total: self.amount_total.number(),
            currency: self.currency.currency(),
            created: self.created.seconds(),
        })
    }
}
