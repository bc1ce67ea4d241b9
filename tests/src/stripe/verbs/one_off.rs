//! Payments that are no subscription's.

use crate::stripe::Stripe;
use crate::stripe::model::{CheckoutSession, IntentStatus, Metadata, Mode, PaymentIntent};

impl Stripe {
    /// A session of payment mode, paid at once by card.
    pub fn pay_once(&mut self, customer: &str, amount: i64, currency: &str, user: Option<&str>) -> String {
        let intent = self.one_off_intent(customer, amount, currency);
        self.change_intent("payment_intent.succeeded", &intent, |intent| intent.status = IntentStatus::Succeeded);
        self.charge("charge.succeeded", &intent);
        self.one_off_session(customer, &intent, "paid", user)
    }

    /// A session of payment mode whose money takes days: done, and not paid.
    pub fn pay_once_later(&mut self, customer: &str, amount: i64, currency: &str) -> String {
        let intent = self.one_off_intent(customer, amount, currency);
        self.change_intent("payment_intent.processing", &intent, |intent| intent.status = IntentStatus::Processing);
        self.one_off_session(customer, &intent, "unpaid", None)
    }

    /// The money of [`Stripe::pay_once_later`] has come.
    pub fn async_payment_succeeds(&mut self, session: &str) {
        let intent = self.intent_of(session);
        self.change_intent("payment_intent.succeeded", &intent, |intent| intent.status = IntentStatus::Succeeded);
        let session = self.sessions.get_mut(session).expect("only a session that is there is paid");
        session.payment_status = "paid";
        let session = session.clone();
        self.emit("checkout.session.async_payment_succeeded", session);
    }

    /// The money of [`Stripe::pay_once_later`] will not come.
    pub fn async_payment_fails(&mut self, session: &str) {
        let intent = self.intent_of(session);
        self.change_intent("payment_intent.payment_failed", &intent, |intent| {
            intent.status = IntentStatus::RequiresPaymentMethod;
            intent.declined = true;
        });
        self.emit("checkout.session.async_payment_failed", self.sessions[session].clone());
    }

    fn intent_of(&self, session: &str) -> String {
        self.sessions[session].payment_intent.clone().expect("a session of payment mode has an intent")
    }

    fn one_off_intent(&mut self, customer: &str, amount: i64, currency: &str) -> String {
        self.keep_intent(PaymentIntent {
            id: self.ids.long("pi"),
            customer: customer.to_owned(),
            amount,
            currency: currency.to_owned(),
            status: IntentStatus::RequiresPaymentMethod,
            created: self.now,
            invoice: None,
            declined: false,
            payment_method: None,
            canceled_at: None,
        })
    }

    fn one_off_session(&mut self, customer: &str, intent: &str, status: &'static str, user: Option<&str>) -> String {
        let (amount_total, currency) = {
            let intent = &self.payment_intents[intent];
            (intent.amount, intent.currency.clone())
        };
        self.finish_session(CheckoutSession {
            id: self.new_session_id(),
            mode: Mode::Payment,
            status: "complete",
            payment_status: status,
            customer: customer.to_owned(),
            subscription: None,
            invoice: None,
            payment_intent: Some(intent.to_owned()),
            client_reference_id: user.map(str::to_owned),
            metadata: Metadata::new(),
            amount_total,
            currency,
            created: self.now,
            email: self.customers[customer].email.clone(),
        })
    }
}
