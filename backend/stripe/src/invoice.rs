//! Invoices.

use crate::field::view;
use crate::invoice_line::{Line, LineJson};
use crate::invoice_payment::InvoicePaymentJson;
use crate::normalize::{List, Metadata, Normalize, PodRef, Unreadable, customer, object, required, required_id};
use crate::scalar::{Flag, Id, Label, Seconds, Text, Whole};

object! {
    /// An invoice.
    pub struct Invoice {
        /// `in_…`
        pub id: String,
        /// `cus_…`, or `acct_…` of an account that buys.
        pub customer: Option<String>,
        /// Where it was sent.
        pub customer_email: Option<String>,
        /// Whom it was sent to.
        pub customer_name: Option<String>,
        /// `subscription_create`, `subscription_cycle`, `subscription_update`, `subscription_threshold`, `manual`, or
        /// one that Stripe adds later.
        pub billing_reason: Option<String>,
        /// `sub_…`
        pub subscription: Option<String>,
        /// `draft`, `open`, `uncollectible`, `paid`, `void`, or one that Stripe adds later.
        pub status: String,
        /// ISO 4217, lower case.
        pub currency: Option<String>,
        /// Minor units.
        pub amount_due: i64,
        /// Minor units.
        pub amount_paid: i64,
        /// How often its payment was tried.
        pub attempt_count: i64,
        /// Unix seconds; absent when no more will be made.
        pub next_payment_attempt: Option<i64>,
        /// Unix seconds.
        pub created: Option<i64>,
        /// When it is to be paid, of one that is sent and not charged; Unix seconds.
        pub due_date: Option<i64>,
        /// `status_transitions.finalized_at`: when it became payable, and was first tried; Unix seconds.
        pub finalized_at: Option<i64>,
        /// `status_transitions.paid_at`; Unix seconds.
        pub paid_at: Option<i64>,
        /// What its reader sees on it.
        pub number: Option<String>,
        /// Where it can be paid.
        pub hosted_invoice_url: Option<String>,
        /// Where it can be downloaded.
        pub invoice_pdf: Option<String>,
        /// `pi_…`; in events since 2025-03-31 only `InvoicePayment` tells it.
        pub payment_intent: Option<String>,
        /// The pod that its subscription pays into, by that one's metadata, of which an invoice carries a copy.
        pub pod: PodRef,
        /// Whether this is Stripe's word that the payer has to confirm the payment (`invoice.payment_action_required`).
        pub needs_action: bool,
        /// Those that the snapshot carries, in Stripe's order.
        pub lines: Vec<Line>,
    }
}

view! {
    /// An invoice. Its subscription moved to `parent` in 2025-03-31, its payment intent to `payments`, which events lack.
    struct InvoiceJson {
        id: Id, customer: Id, customer_account: Id, customer_email: Text, customer_name: Text, billing_reason: Label,
        due_date: Seconds, parent: InvoiceParent, subscription: Id,
        subscription_details: SubscriptionDetails, status: Label, currency: Text,
        amount_due: Whole, amount_paid: Whole, attempt_count: Whole, next_payment_attempt: Seconds, created: Seconds,
        status_transitions: StatusTransitions, number: Text, hosted_invoice_url: Text, invoice_pdf: Text,
        payments: List<InvoicePaymentJson>, payment_intent: Id, lines: List<LineJson>,
    }
}
view! {
    /// What an invoice was made for.
    struct InvoiceParent { subscription_details: SubscriptionDetails, }
}
view! {
    /// The subscription that an invoice was made for. Up to 2025-03-31 it stood in the invoice itself, without the id.
    struct SubscriptionDetails { subscription: Id, metadata: Metadata, }
}
view! {
    /// When an invoice came to what it is.
    struct StatusTransitions { finalized_at: Seconds, paid_at: Seconds, }
}

impl Normalize for InvoiceJson {
    type Output = Invoice;

    fn normalize(self) -> Result<Invoice, Unreadable> {
        let parent = self.parent.or_default().subscription_details.or_default();
        let payments = self.payments.or_default().data.or_default();
        let transitions = self.status_transitions.or_default();
        let lines = self.lines.or_default().data.or_default();
        let by_old_details = || self.subscription_details.or_default().metadata.or_default().pod();
        let pod = [parent.metadata.or_default().pod(), by_old_details(), LineJson::pod_of(&lines)];
        Ok(Invoice {
            id: required_id(self.id)?,
            customer: customer(self.customer, self.customer_account),
            customer_email: self.customer_email.text(),
            customer_name: self.customer_name.text(),
            billing_reason: self.billing_reason.text(),
            subscription: parent.subscription.text().or(self.subscription.text()),
            status: required(self.status.text(), "data.object.status")?,
            currency: self.currency.currency(),
            amount_due: self.amount_due.number().unwrap_or_default(),
            amount_paid: self.amount_paid.number().unwrap_or_default(),
            attempt_count: self.attempt_count.number().unwrap_or_default(),
            next_payment_attempt: self.next_payment_attempt.seconds(),
            created: self.created.seconds(),
            due_date: self.due_date.seconds(),
            finalized_at: transitions.finalized_at.seconds(),
            paid_at: transitions.paid_at.seconds(),
            number: self.number.text(),
            hosted_invoice_url: self.hosted_invoice_url.text(),
            invoice_pdf: self.invoice_pdf.text(),
            payment_intent: paying_intent(payments).or(self.payment_intent.text()),
            pod: pod.into_iter().find(|pod| pod.pod_id.is_some()).unwrap_or_default(),
            needs_action: false,
            lines: lines.into_iter().map(LineJson::normalize).collect(),
        })
    }
}

/// The intent that paid an invoice, else the one that is to pay it, else any that was made for it.
fn paying_intent(payments: Vec<InvoicePaymentJson>) -> Option<String> {
    let rank = |payment: &InvoicePaymentJson| {
        let is_paid = payment.status.as_ref().is_some_and(|Text(status)| status == "paid");
        let is_default = payment.is_default.as_ref().is_some_and(|Flag(flag)| *flag);
        (!is_paid, !is_default)
    };
    let with_intent = payments.into_iter().filter_map(|payment| {
        let rank = rank(&payment);
        Some((rank, payment.payment.or_default().payment_intent.text()?))
    });
    with_intent.min_by_key(|(rank, _)| *rank).map(|(_, intent)| intent)
}
