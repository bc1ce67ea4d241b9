//! Invoices of pods at Stripe: looked at, paid, and no longer tried by Stripe itself. What a call finds is taken in as its
//! events would be.

use tollgate_shared::Timestamp;
use tollgate_stripe::{Object, ObjectType, Observation};

use super::at_stripe::Teller;
use crate::http::error::ApiError;
use crate::stripe_api::error::CallError;
use crate::stripe_api::form::Form;
use crate::stripe_api::{Answer, Call};

impl Teller<'_> {
    /// Takes in how an invoice is, with what pays it and why that failed. `has_failed`: an attempt at it just did. Says
    /// whether it is open, and when it was so by Stripe's clock.
    pub(super) async fn look_at_invoice(
        self,
        invoice: &str,
        membership_id: &str,
        has_failed: bool,
    ) -> Result<(bool, Timestamp), ApiError> {
        let form = Form::default().with("expand[0]", "payments");
        let call = Call::get("invoices.read", &["invoices", invoice]).with(form);
        let answer = self.stripe.read(&self.urgent(call)).await?;
        let mut seen = self.seen(ObjectType::Invoice, &answer)?;
        let (mut is_open, mut intent) = (false, None);
        if let Object::Invoice(state, failed) = &mut seen.object {
            is_open = state.status == "open";
            *failed = has_failed && is_open;
            intent.clone_from(&state.payment_intent);
        }
        self.see(&seen, membership_id).await?;
        if let Some(intent) = intent {
            let call = Call::get("payment_intents.read", &["payment_intents", &intent]);
            let answer = self.stripe.read(&self.urgent(call)).await?;
            self.see(&self.seen(ObjectType::PaymentIntent, &answer)?, membership_id).await?;
        }
        Ok((is_open, answer.at))
    }

    async fn see(self, seen: &Observation, membership_id: &str) -> Result<(), ApiError> {
        self.take_in(seen, membership_id).await?.then_some(()).ok_or_else(ApiError::database_unavailable)
    }

    /// Asks for an invoice to be paid, once for `key`.
    pub(super) async fn pay(self, invoice: &str, form: Form, key: &str) -> Result<Answer, CallError> {
        let call = Call::post("invoices.pay", &["invoices", invoice, "pay"]).with(form);
        self.stripe.once(&self.urgent(call), key).await
    }

    /// Asks Stripe to try an invoice no more by itself, once for `key`.
    pub(super) async fn end_schedule(self, invoice: &str, key: &str) -> Result<Answer, CallError> {
        let form = Form::default().with("auto_advance", false);
        let call = Call::post("invoices.update", &["invoices", invoice]).with(form);
        self.stripe.once(&self.urgent(call), key).await
    }
}
