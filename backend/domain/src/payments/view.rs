//! A payment as desktop apps are told of it.

use serde::Serialize;
use tollgate_shared::clock::{from_unix, rfc3339};
use tollgate_stripe::CheckoutSession;

use crate::payments::Payment;

/// A payment as an event tells of it: what came of an invoice, or of a one-off session.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PaymentEventView {
    /// Of the invoice or the session.
    pub(crate) id: String,
    pub(crate) invoice_id: Option<String>,
    pub(crate) payment_intent_id: Option<String>,
    /// In the currency's minor unit.
    pub(crate) amount: Option<i64>,
    pub(crate) currency: Option<String>,
    pub(crate) status: PaymentOutcome,
    /// Always null: neither an invoice nor a session says why its payment failed.
    pub(crate) failure_code: Option<String>,
    pub(crate) created_at: Option<String>,
}

/// What came of a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PaymentOutcome {
    /// Money came.
    Succeeded,
    /// Money should have come and did not.
    Failed,
}

impl PaymentEventView {
    /// The payment of a session, as the session itself says.
    pub fn of_session(session: &CheckoutSession, status: PaymentOutcome) -> Self {
        Self {
            id: session.id.clone(),
            invoice_id: session.invoice.clone(),
            payment_intent_id: session.payment_intent.clone(),
            amount: session.amount_total,
            currency: session.currency.clone(),
            status,
            failure_code: None,
            created_at: session.created.and_then(from_unix).map(rfc3339),
        }
    }

    /// The payment that a session is, now that its intent has paid it.
    pub fn of_paid(session: &Payment) -> Self {
        Self {
            id: session.id.clone(),
            invoice_id: session.belongs_to.clone(),
            payment_intent_id: session.payment_intent_id.clone(),
            amount: Some(session.amount),
            currency: session.currency.clone(),
            status: PaymentOutcome::Succeeded,
            failure_code: None,
            created_at: session.created_at.map(rfc3339),
        }
    }
}
