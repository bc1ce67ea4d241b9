//! Payments that are no subscription's.

use crate::stripe::Stripe;
use crate::stripe::catalogue::ONBOARDING;
use crate::stripe::model::{
    CheckoutSession, Coupon, Failed, IntentStatus, InvoiceStatus, Metadata, Mode, Opening, PaymentIntent, Price,
};

/// How something that is bought once is paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paying {
    /// By card, at once.
    AtOnce,
    /// Not at all: a coupon takes all of it off.
    Free,
    /// By a way that takes days: the session is done, and not paid.
    Later,
    /// By a card that is only authorised; so much of it is taken later.
    Captured(i64),
    /// At once, and an invoice is made of it.
    Invoiced,
}

/// A session of payment mode.
#[derive(Clone, Debug)]
pub struct OneOff {
    /// How much; that of `price` where one is named.
    pub amount: i64,
    /// Lower case.
    pub currency: &'static str,
    /// What is bought, where a price of the catalogue is.
    pub price: Option<&'static Price>,
    /// Our user, as the session's reference.
    pub client_reference_id: Option<String>,
    /// Our plan, in the session's metadata.
    pub plan_id: Option<&'static str>,
    /// How it is paid.
    pub paying: Paying,
}

impl OneOff {
    /// So much, by card, at once.
    pub fn of(amount: i64, currency: &'static str) -> Self {
        Self { amount, currency, price: None, client_reference_id: None, plan_id: None, paying: Paying::AtOnce }
    }

    /// One of `price`.
    pub fn priced(price: &'static Price) -> Self {
        Self { price: Some(price), ..Self::of(price.unit_amount, price.currency) }
    }
}

impl Stripe {
    /// A session of payment mode that somebody goes through.
    pub fn buy_once(&mut self, customer: &str, order: &OneOff) -> String {
        let mut session = CheckoutSession {
            id: self.new_session_id(),
            mode: Mode::Payment,
            status: "complete",
            payment_status: "paid",
            customer: customer.to_owned(),
            prices: order.price.into_iter().collect(),
            subscription: None,
            invoice: None,
            payment_intent: None,
            client_reference_id: order.client_reference_id.clone(),
            metadata: order
                .plan_id
                .map(|plan| ("plan_id".to_owned(), plan.to_owned()))
                .into_iter()
                .collect::<Metadata>(),
            amount_total: order.amount,
            currency: order.currency.to_owned(),
            created: self.now,
            email: self.customers[customer].email.clone(),
            name: self.customers[customer].name.clone(),
            opened: Opening::default(),
        };
        if order.paying == Paying::Free {
            session.amount_total = 0;
        }
        self.pay_session(session, order.paying, order.price.unwrap_or(&ONBOARDING))
    }

    /// A session of payment mode is paid, and done.
    pub(super) fn pay_session(
        &mut self,
        mut session: CheckoutSession,
        paying: Paying,
        price: &'static Price,
    ) -> String {
        let amount = session.amount_total;
        if paying == Paying::Free {
            session.payment_status = "no_payment_required";
            return self.finish_session(session);
        }
        let customer = session.customer.clone();
        let intent = self.one_off_intent(&customer, amount, &session.currency);
        session.payment_intent = Some(intent.clone());
        match paying {
            Paying::AtOnce | Paying::Free => self.intent_succeeds(&intent, amount),
            Paying::Later => {
                session.payment_status = "unpaid";
                self.change_intent("payment_intent.processing", &intent, |intent| {
                    intent.status = IntentStatus::Processing;
                });
            }
            Paying::Captured(_) => {
                session.payment_status = "unpaid";
                self.change_intent("payment_intent.amount_capturable_updated", &intent, |intent| {
                    intent.status = IntentStatus::RequiresCapture;
                });
            }
            Paying::Invoiced => {
                self.intent_succeeds(&intent, amount);
                session.invoice = Some(self.invoice_what_was_paid(&customer, price, session.opened.coupon, &intent));
            }
        }
        let id = self.finish_session(session);
        if let Paying::Captured(amount) = paying {
            self.intent_succeeds(&intent, amount);
        }
        id
    }

    /// A session of payment mode, paid at once by card.
    pub fn pay_once(&mut self, customer: &str, amount: i64, currency: &'static str, user: Option<&str>) -> String {
        let client_reference_id = user.map(str::to_owned);
        self.buy_once(customer, &OneOff { client_reference_id, ..OneOff::of(amount, currency) })
    }

    /// A session of payment mode whose money takes days: done, and not paid.
    pub fn pay_once_later(&mut self, customer: &str, amount: i64, currency: &'static str) -> String {
        self.buy_once(customer, &OneOff { paying: Paying::Later, ..OneOff::of(amount, currency) })
    }

    /// The money of [`Paying::Later`] has come.
    pub fn async_payment_succeeds(&mut self, session: &str) {
        let intent = self.intent_of(session);
        self.intent_succeeds(&intent, self.payment_intents[&intent].amount);
        let session = self.sessions.get_mut(session).expect("only a session that is there is paid");
        session.payment_status = "paid";
        let session = session.clone();
        self.emit("checkout.session.async_payment_succeeded", session);
    }

    /// The money of [`Paying::Later`] will not come.
    pub fn async_payment_fails(&mut self, session: &str) {
        let intent = self.intent_of(session);
        self.change_intent("payment_intent.payment_failed", &intent, |intent| {
            intent.status = IntentStatus::RequiresPaymentMethod;
            intent.failure = Some(Failed::for_want_of_money());
        });
        self.emit("checkout.session.async_payment_failed", self.sessions[session].clone());
    }

    /// The payment of a one-off session.
    pub fn intent_of(&self, session: &str) -> String {
        self.sessions[session].payment_intent.clone().expect("a session that costs something has an intent")
    }

    fn intent_succeeds(&mut self, intent: &str, amount: i64) {
        self.change_intent("payment_intent.succeeded", intent, |intent| {
            intent.status = IntentStatus::Succeeded;
            intent.amount_received = amount;
        });
        self.charge("charge.succeeded", intent);
    }

    fn one_off_intent(&mut self, customer: &str, amount: i64, currency: &str) -> String {
        self.keep_intent(PaymentIntent {
            id: self.ids.long("pi"),
            customer: customer.to_owned(),
            amount,
            amount_received: 0,
            currency: currency.to_owned(),
            status: IntentStatus::RequiresPaymentMethod,
            created: self.now,
            invoice: None,
            failure: None,
            latest_charge: None,
            payment_method: None,
            canceled_at: None,
        })
    }

    /// The invoice that Stripe makes of a one-off payment where it was asked for: paid from its beginning.
    fn invoice_what_was_paid(
        &mut self,
        customer: &str,
        price: &'static Price,
        coupon: Option<&'static Coupon>,
        intent: &str,
    ) -> String {
        let now = self.now;
        let line = self.one_off_line(price);
        let mut draft = self.draft_for(customer, None, "manual", vec![line], coupon);
        draft.payment_intent = Some(intent.to_owned());
        let id = self.keep_invoice(draft);
        let number = format!("A1B2C3D4-{:04}", self.invoices.len());
        let invoice = self.invoices.get_mut(&id).expect("it was made just now");
        invoice.status = InvoiceStatus::Open;
        invoice.finalized_at = Some(now);
        invoice.number = Some(number);
        let finalized = invoice.clone();
        invoice.status = InvoiceStatus::Paid;
        invoice.amount_paid = invoice.amount_due;
        invoice.attempt_count = 1;
        invoice.paid_at = Some(now);
        let paid = invoice.clone();
        self.emit("invoice.finalized", finalized);
        self.link_intent(&id, intent, now);
        self.emit("invoice.paid", paid.clone());
        self.emit("invoice.payment_succeeded", paid);
        id
    }
}
