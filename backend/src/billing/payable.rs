//! What a subscription's newest payment is confirmed by, and what is to come of the subscription then.

use serde::Deserialize;
use tollgate_domain::subscriptions::Subscription;

use super::answers::unreadable;
use super::desk::Desk;
use crate::http::error::ApiError;
use crate::stripe_api::Answer;
use crate::stripe_api::form::Form;

/// What is to be expanded: what a payment is confirmed by.
pub(super) const SECRET: &str = "latest_invoice.confirmation_secret";

/// Stripe's subscription with that.
#[derive(Deserialize)]
pub(super) struct Payable {
    status: Option<String>,
    latest_invoice: Option<Invoice>,
    pending_update: Option<PendingUpdate>,
}

#[derive(Deserialize)]
struct Invoice {
    id: String,
    confirmation_secret: Option<Secret>,
}

#[derive(Deserialize)]
struct Secret {
    client_secret: Option<String>,
}

/// A change that waits until its invoice is paid, for some hours.
#[derive(Deserialize)]
struct PendingUpdate {}

impl Payable {
    pub(super) fn of(answer: &Answer) -> Result<Self, ApiError> {
        serde_json::from_slice(&answer.body).map_err(|_| unreadable())
    }

    /// What confirms the payment, of a subscription that has this status.
    pub(super) fn secret_while(self, status: &str) -> Option<String> {
        let invoice = self.latest_invoice.filter(|_| self.status.as_deref() == Some(status))?;
        invoice.confirmation_secret?.client_secret
    }

    /// Whether a change waits for its payment.
    pub(super) fn has_change(&self) -> bool {
        self.pending_update.is_some()
    }

    /// What confirms the newest payment.
    pub(super) fn secret(&self) -> Option<&str> {
        self.latest_invoice.as_ref()?.confirmation_secret.as_ref()?.client_secret.as_deref()
    }

    /// The newest invoice.
    pub(super) fn invoice_id(&self) -> &str {
        self.latest_invoice.as_ref().map_or("", |invoice| &invoice.id)
    }
}

impl Desk<'_> {
    /// A subscription as Stripe has it now, with what its newest payment is confirmed by.
    pub(super) async fn read_with_secret(&self, subscription: &Subscription) -> Result<Answer, ApiError> {
        self.read_so(subscription, Form::default().with("expand[0]", SECRET)).await
    }
}
