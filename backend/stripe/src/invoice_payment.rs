//! Payments of invoices: what ties a payment intent to its invoice.

use crate::field::view;
use crate::normalize::{Normalize, Unreadable, object, required_id};
use crate::scalar::{Flag, Id, Text};

object! {
    /// What ties a payment to its invoice, since 2025-03-31.
    pub struct InvoicePayment {
        /// `inpay_…`
        pub id: String,
        /// `in_…`
        pub invoice: Option<String>,
        /// `pi_…`; absent for a payment of another kind.
        pub payment_intent: Option<String>,
        /// `open`, `paid` or `canceled`.
        pub status: Option<String>,
    }
}

view! {
    /// A payment of an invoice.
    struct InvoicePaymentJson { id: Id, invoice: Id, payment: Payment, status: Text, is_default: Flag, }
}
view! {
    /// What the money came by.
    struct Payment { payment_intent: Id, }
}

impl Normalize for InvoicePaymentJson {
    type Output = InvoicePayment;

    fn normalize(self) -> Result<InvoicePayment, Unreadable> {
        Ok(InvoicePayment {
            id: required_id(self.id)?,
            invoice: self.invoice.text(),
            payment_intent: self.payment.or_default().payment_intent.text(),
            status: self.status.text(),
        })
    }
}
