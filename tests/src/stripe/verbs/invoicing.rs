//! Invoices and their payments.

use crate::stripe::Stripe;
use crate::stripe::model::{
    Charge, IntentStatus, Invoice, InvoicePayment, InvoiceStatus, Line, PaymentIntent, Period, Price, Subscription,
};

/// What is billed for a change within a period.
pub(super) struct Proration {
    pub(super) from: (&'static Price, i64),
    pub(super) to: (&'static Price, i64),
    pub(super) credit: i64,
    pub(super) debit: i64,
}

impl Stripe {
    /// Voids an open or uncollectible invoice.
    pub fn void(&mut self, invoice: &str) {
        let now = self.now;
        self.change_invoice(invoice, |invoice| {
            assert!(matches!(invoice.status, InvoiceStatus::Open | InvoiceStatus::Uncollectible), "only what is owed");
            invoice.status = InvoiceStatus::Void;
            invoice.voided_at = Some(now);
            invoice.next_payment_attempt = None;
        });
        self.emit("invoice.voided", self.invoices[invoice].clone());
        if let Some(intent) = self.invoices[invoice].payment_intent.clone() {
            self.change_intent("payment_intent.canceled", &intent, |intent| {
                intent.status = IntentStatus::Canceled;
                intent.canceled_at = Some(now);
            });
        }
    }

    /// One more invoice of what the subscription costs, made and paid by hand: a single event, for loads.
    pub fn bill_once(&mut self, subscription: &str) -> String {
        let mut invoice = self.draft_invoice(&self.subscriptions[subscription], "manual");
        invoice.status = InvoiceStatus::Paid;
        invoice.amount_paid = invoice.amount_due;
        invoice.attempt_count = 1;
        invoice.finalized_at = Some(self.now);
        invoice.paid_at = Some(self.now);
        invoice.number = Some(format!("A1B2C3D4-{:04}", self.invoices.len()));
        let id = invoice.id.clone();
        self.invoices.insert(id.clone(), invoice.clone());
        self.emit("invoice.paid", invoice);
        id
    }

    /// Gives an open invoice up. It may still be paid.
    pub fn mark_uncollectible(&mut self, invoice: &str) {
        let now = self.now;
        self.change_invoice(invoice, |invoice| {
            assert_eq!(invoice.status, InvoiceStatus::Open, "only what is owed");
            invoice.status = InvoiceStatus::Uncollectible;
            invoice.marked_uncollectible_at = Some(now);
            invoice.next_payment_attempt = None;
        });
        self.emit("invoice.marked_uncollectible", self.invoices[invoice].clone());
    }

    /// Pays an open or uncollectible invoice.
    pub fn pay(&mut self, invoice: &str) {
        let now = self.now;
        if let Some(intent) = self.invoices[invoice].payment_intent.clone() {
            self.change_intent("payment_intent.succeeded", &intent, |intent| {
                intent.status = IntentStatus::Succeeded;
                intent.declined = false;
            });
            self.charge("charge.succeeded", &intent);
        }
        self.change_invoice(invoice, |invoice| {
            let payable = matches!(invoice.status, InvoiceStatus::Open | InvoiceStatus::Uncollectible);
            assert!(payable, "only what is owed is paid");
            invoice.status = InvoiceStatus::Paid;
            invoice.amount_paid = invoice.amount_due;
            invoice.paid_at = Some(now);
            invoice.attempt_count += i64::from(invoice.payment_intent.is_some());
            invoice.next_payment_attempt = None;
        });
        let paid = self.invoices[invoice].clone();
        self.emit("invoice.paid", paid.clone());
        self.emit("invoice.payment_succeeded", paid);
        if let Some(payment) = self.invoice_payments.values_mut().find(|payment| payment.invoice == invoice) {
            payment.paid_at = Some(now);
            let payment = payment.clone();
            self.emit("invoice_payment.paid", payment);
        }
    }

    /// One more attempt at an open invoice fails. `retry_after` is in seconds; `None` when it was the last.
    pub fn payment_fails(&mut self, invoice: &str, retry_after: Option<i64>) {
        let now = self.now;
        let intent = self.invoices[invoice].payment_intent.clone().expect("what costs nothing cannot fail");
        self.change_intent("payment_intent.payment_failed", &intent, |intent| {
            intent.status = IntentStatus::RequiresPaymentMethod;
            intent.declined = true;
        });
        self.charge("charge.failed", &intent);
        self.change_invoice(invoice, |invoice| {
            assert_eq!(invoice.status, InvoiceStatus::Open, "only what is owed is tried");
            invoice.attempt_count += 1;
            invoice.next_payment_attempt = retry_after.map(|seconds| now + seconds);
        });
        self.emit("invoice.payment_failed", self.invoices[invoice].clone());
    }

    /// The bank wants to hear from the customer before an open invoice is paid.
    pub fn payment_requires_action(&mut self, invoice: &str) {
        let intent = self.invoices[invoice].payment_intent.clone().expect("what costs nothing needs no action");
        self.change_intent("payment_intent.requires_action", &intent, |intent| {
            intent.status = IntentStatus::RequiresAction;
        });
        self.emit("invoice.payment_action_required", self.invoices[invoice].clone());
    }

    /// A draft of what the subscription's items cost for their periods; nothing during a trial.
    pub(super) fn draft_invoice(&self, subscription: &Subscription, billing_reason: &'static str) -> Invoice {
        let on_trial = subscription.trial.is_some_and(|trial| self.now < trial.end);
        let lines = subscription.items.iter().map(|item| Line {
            id: self.ids.long("il"),
            price: item.price,
            quantity: item.quantity,
            period: item.period,
            proration: false,
            item: item.id.clone(),
            amount: if on_trial { 0 } else { item.price.unit_amount * item.quantity },
        });
        self.draft(subscription, billing_reason, lines.collect())
    }

    /// A draft of what a change within the period costs at once.
    pub(super) fn draft_proration(&self, subscription: &Subscription, change: &Proration) -> Invoice {
        let item = &subscription.items[0];
        let period = Period { start: self.now, end: item.period.end };
        let line = |(price, quantity), amount| Line {
            id: self.ids.long("il"),
            price,
            quantity,
            period,
            proration: true,
            item: item.id.clone(),
            amount,
        };
        let lines = vec![line(change.from, -change.credit), line(change.to, change.debit)];
        self.draft(subscription, "subscription_update", lines)
    }

    fn draft(&self, subscription: &Subscription, billing_reason: &'static str, lines: Vec<Line>) -> Invoice {
        Invoice {
            id: self.ids.long("in"),
            customer: subscription.customer.clone(),
            subscription: subscription.id.clone(),
            subscription_metadata: subscription.metadata.clone(),
            status: InvoiceStatus::Draft,
            currency: subscription.items[0].price.currency,
            amount_due: lines.iter().map(|line| line.amount).sum(),
            lines,
            amount_paid: 0,
            attempt_count: 0,
            next_payment_attempt: None,
            created: self.now,
            finalized_at: None,
            paid_at: None,
            voided_at: None,
            marked_uncollectible_at: None,
            number: None,
            billing_reason,
            payment_intent: None,
        }
    }

    /// Makes a draft real.
    pub(super) fn keep_invoice(&mut self, invoice: Invoice) -> String {
        let id = invoice.id.clone();
        self.invoices.insert(id.clone(), invoice.clone());
        self.emit("invoice.created", invoice);
        id
    }

    /// Turns a draft into something owed, with an intent to pay it; what costs nothing is paid by that.
    pub fn finalize(&mut self, invoice: &str) {
        let now = self.now;
        let number = format!("A1B2C3D4-{:04}", self.invoices.len());
        let (customer, amount, currency) = {
            let invoice = &self.invoices[invoice];
            (invoice.customer.clone(), invoice.amount_due, invoice.currency)
        };
        let intent = (amount > 0).then(|| PaymentIntent {
            id: self.ids.long("pi"),
            payment_method: self.customers[&customer].default_payment_method.clone(),
            customer,
            amount,
            currency: currency.to_owned(),
            status: IntentStatus::RequiresPaymentMethod,
            created: now,
            invoice: Some(invoice.to_owned()),
            declined: false,
            canceled_at: None,
        });
        let intent_id = intent.as_ref().map(|intent| intent.id.clone());
        let draft = self.invoices.get_mut(invoice).expect("only an invoice that is there is finalized");
        assert_eq!(draft.status, InvoiceStatus::Draft, "an invoice is finalized once");
        draft.status = InvoiceStatus::Open;
        draft.finalized_at = Some(now);
        draft.number = Some(number);
        draft.payment_intent = intent_id;
        let finalized = draft.clone();
        self.emit("invoice.finalized", finalized);
        match intent {
            Some(intent) => {
                let payment = InvoicePayment {
                    id: self.ids.long("inpay"),
                    invoice: invoice.to_owned(),
                    payment_intent: intent.id.clone(),
                    amount,
                    currency: currency.to_owned(),
                    created: now,
                    paid_at: None,
                };
                self.invoice_payments.insert(payment.id.clone(), payment);
                self.keep_intent(intent);
            }
            None => self.pay(invoice),
        }
    }

    /// Makes an intent real.
    pub(super) fn keep_intent(&mut self, intent: PaymentIntent) -> String {
        let id = intent.id.clone();
        self.payment_intents.insert(id.clone(), intent.clone());
        self.emit("payment_intent.created", intent);
        id
    }

    /// Changes an intent; it says so by one event of its own type.
    pub(super) fn change_intent(&mut self, kind: &'static str, id: &str, change: impl FnOnce(&mut PaymentIntent)) {
        let intent = self.payment_intents.get_mut(id).expect("only an intent that is there is changed");
        change(intent);
        let intent = intent.clone();
        self.emit(kind, intent);
    }

    /// An attempt at a card.
    pub(super) fn charge(&mut self, kind: &'static str, intent: &str) {
        let intent = &self.payment_intents[intent];
        let charge = Charge {
            id: self.ids.short("ch", 24),
            customer: intent.customer.clone(),
            amount: intent.amount,
            currency: intent.currency.clone(),
            created: self.now,
            paid: kind == "charge.succeeded",
            payment_intent: intent.id.clone(),
        };
        self.charges.insert(charge.id.clone(), charge.clone());
        self.emit(kind, charge);
    }

    fn change_invoice(&mut self, id: &str, change: impl FnOnce(&mut Invoice)) {
        let invoice = self.invoices.get_mut(id).expect("only an invoice that is there is changed");
        let before = invoice.clone();
        change(invoice);
        let after = invoice.clone();
        self.emit_change("invoice.updated", before, after);
    }
}
