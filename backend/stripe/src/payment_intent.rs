//! Payment intents.

use crate::field::view;
use crate::normalize::{Normalize, Unreadable, customer, object, required_id};
use crate::scalar::{Id, Seconds, Text, Whole};

object! {
    /// A payment intent.
    pub struct PaymentIntent {
        /// `pi_…`
        pub id: String,
        /// `cus_…`, or `acct_…` of an account that buys.
        pub customer: Option<String>,
        /// `succeeded`, `processing`, …
        pub status: Option<String>,
        /// What was asked for; minor units.
        pub amount: i64,
        /// What was paid, which is less where only a part was captured; minor units.
        pub amount_received: Option<i64>,
        /// ISO 4217, lower case.
        pub currency: Option<String>,
        /// Unix seconds.
        pub created: Option<i64>,
        /// `in_…`; since 2025-03-31 only where `payment_details` names it.
        pub invoice: Option<String>,
        /// The newest attempt, `ch_…`.
        pub latest_charge: Option<String>,
        /// The last error's `decline_code`, else its `code`.
        pub failure_code: Option<String>,
        /// What the last error advises: `do_not_try_again`, `try_again_later` or `confirm_card_data`.
        pub failure_advice: Option<String>,
        /// `pm_…` that the last error came of.
        pub failed_method: Option<String>,
        /// What kind of payment method that is: `card`, `us_bank_account`, …
        pub failed_method_type: Option<String>,
    }
}

view! {
    /// A payment intent as it is sent. Up to 2025-03-31 it named its invoice; since then only `payment_details` may, in
    /// what is otherwise the shop's own reference of the order.
    struct PaymentIntentJson {
        id: Id, customer: Id, customer_account: Id, status: Text, amount: Whole, amount_received: Whole, currency: Text, created: Seconds, invoice: Id,
        latest_charge: Id, payment_details: PaymentDetails, last_payment_error: PaymentError,
    }
}
view! {
    /// What is paid for.
    struct PaymentDetails { order_reference: Id, }
}
view! {
    /// Why the last attempt failed.
    struct PaymentError { decline_code: Text, code: Text, advice_code: Text, payment_method: FailedMethod, }
}
view! {
    /// What it was tried with.
    struct FailedMethod { id: Id, method_type "type": Text, }
}

impl Normalize for PaymentIntentJson {
    type Output = PaymentIntent;

    fn normalize(self) -> Result<PaymentIntent, Unreadable> {
        let PaymentError { decline_code, code, advice_code, payment_method } = self.last_payment_error.or_default();
        let FailedMethod { id: failed_method, method_type } = payment_method.or_default();
        let order = self.payment_details.or_default().order_reference.text();
        Ok(PaymentIntent {
            id: required_id(self.id)?,
            customer: customer(self.customer, self.customer_account),
            status: self.status.text(),
            amount_received: self.amount_received.number(),
            amount: self.amount.number().unwrap_or_default(),
            currency: self.currency.currency(),
            created: self.created.seconds(),
            invoice: self.invoice.text().or(order.filter(|order| order.starts_with("in_"))),
            latest_charge: self.latest_charge.text(),
            failure_code: decline_code.text().or(code.text()),
            failure_advice: advice_code.text(),
            failed_method: failed_method.text(),
            failed_method_type: method_type.text(),
        })
    }
}
