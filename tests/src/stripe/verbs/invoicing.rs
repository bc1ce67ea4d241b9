//! Invoices and their payments.

use crate::stripe::Stripe;
use crate::stripe::model::{
    Charge, Coupon, IntentStatus, Invoice, InvoicePayment, InvoiceStatus, Item, Lasting, Line, LineOrigin,
    PaymentIntent, Period, Price, Subscription,
};

/// What is billed for a change of an item within a period.
pub(super) struct Proration {
    /// What it was; none for an item that is new.
    pub(super) from: Option<(&'static Price, i64)>,
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
        self.settle_pending_update(invoice, false);
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

    /// What was used of a metered item has passed the threshold at which it is billed at once.
    pub fn bill_usage(&mut self, subscription: &str, price: &'static Price, used: i64) {
        let subscription = &self.subscriptions[subscription];
        let item = subscription.items.iter().find(|item| item.price.id == price.id);
        let item = item.expect("only what the subscription has is used");
        let line = Line { quantity: used, amount: price.unit_amount * used, ..self.item_line(item) };
        let invoice = self.draft(subscription, "subscription_threshold", vec![line]);
        self.settle_now(invoice);
    }

    /// An invoice that somebody writes by hand, for a subscription or for nothing of the kind, paid at once.
    pub fn bill_by_hand(&mut self, customer: &str, subscription: Option<&str>, price: &'static Price) -> String {
        let line = self.one_off_line(price);
        let subscription = subscription.map(|id| &self.subscriptions[id]);
        let invoice = self.draft_for(customer, subscription, "manual", vec![line], None);
        self.settle_now(invoice)
    }

    fn settle_now(&mut self, invoice: Invoice) -> String {
        let invoice = self.keep_invoice(invoice);
        self.finalize(&invoice);
        self.pay_if_owed(&invoice);
        invoice
    }

    /// Pays what finalizing has not paid already.
    pub(super) fn pay_if_owed(&mut self, invoice: &str) {
        if self.invoices[invoice].status == InvoiceStatus::Open {
            self.pay(invoice);
        }
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

    /// A draft of what waits to be billed, and of what the subscription's items cost for their periods; nothing during a
    /// trial. Stripe lists what waited first, the newest first.
    pub(super) fn draft_invoice(&self, subscription: &Subscription, billing_reason: &'static str) -> Invoice {
        let on_trial = subscription.trial.is_some_and(|trial| self.now < trial.end)
            || subscription.is_free_until.is_some_and(|end| self.now < end);
        let billed = subscription.items.iter().filter(|item| !item.deleted).map(|item| {
            let line = self.item_line(item);
            Line { amount: if on_trial { 0 } else { line.amount }, ..line }
        });
        let waiting = self.pending_lines.get(&subscription.id).into_iter().flatten().cloned();
        self.draft(subscription, billing_reason, waiting.chain(billed).collect())
    }

    pub(super) fn item_line(&self, item: &Item) -> Line {
        Line {
            id: self.ids.long("il"),
            price: item.price,
            lookup_key: None,
            quantity: item.quantity,
            period: item.period,
            origin: LineOrigin::Item,
            item: Some(item.id.clone()),
            amount: item.price.unit_amount * item.quantity,
        }
    }

    /// Something that is no subscription's item, to be billed now.
    pub(super) fn one_off_line(&self, price: &'static Price) -> Line {
        Line {
            id: self.ids.long("il"),
            price,
            lookup_key: None,
            quantity: 1,
            period: Period { start: self.now, end: self.now },
            origin: LineOrigin::OneOff,
            item: None,
            amount: price.unit_amount,
        }
    }

    /// The credit and the charge of a change within the period, in one of the shapes that such lines have.
    pub(super) fn proration_lines(&self, item: &Item, change: &Proration) -> Vec<Line> {
        let origin = LineOrigin::PRORATIONS[self.ids.below(LineOrigin::PRORATIONS.len())];
        let line = |(price, quantity), amount| Line {
            id: self.ids.long("il"),
            price,
            lookup_key: None,
            quantity,
            period: Period { start: self.now, end: item.period.end },
            origin,
            item: Some(item.id.clone()),
            amount,
        };
        let credit = change.from.map(|from| line(from, -change.credit));
        let mut lines: Vec<_> = credit.into_iter().chain([line(change.to, change.debit)]).collect();
        if self.ids.coin() {
            lines.reverse();
        }
        lines
    }

    pub(super) fn draft(&self, subscription: &Subscription, billing_reason: &'static str, lines: Vec<Line>) -> Invoice {
        self.draft_for(&subscription.customer, Some(subscription), billing_reason, lines, subscription.coupon)
    }

    /// A draft of these lines; where more is credited than charged, nothing is due.
    pub(super) fn draft_for(
        &self,
        customer: &str,
        subscription: Option<&Subscription>,
        billing_reason: &'static str,
        lines: Vec<Line>,
        coupon: Option<&'static Coupon>,
    ) -> Invoice {
        let subtotal: i64 = lines.iter().map(|line| line.amount).sum();
        let discount = coupon.map(|coupon| (coupon, coupon.off(subtotal))).filter(|(_, off)| *off > 0);
        let total = subtotal - discount.map_or(0, |(_, off)| off);
        Invoice {
            id: self.ids.long("in"),
            customer: customer.to_owned(),
            subscription: subscription.map(|subscription| subscription.id.clone()),
            subscription_metadata: subscription.map(|subscription| subscription.metadata.clone()).unwrap_or_default(),
            status: InvoiceStatus::Draft,
            currency: lines[0].price.currency,
            discount,
            total,
            amount_due: total.max(0),
            lines,
            amount_paid: 0,
            customer_email: self.customers[customer].email.clone(),
            customer_name: self.customers[customer].name.clone(),
            attempt_count: 0,
            next_payment_attempt: None,
            created: self.now,
            finalized_at: None,
            paid_at: None,
            voided_at: None,
            marked_uncollectible_at: None,
            number: None,
            billing_reason,
            auto_advance: true,
            payment_intent: None,
            debit: None,
        }
    }

    /// Makes a draft real.
    pub(super) fn keep_invoice(&mut self, invoice: Invoice) -> String {
        let id = invoice.id.clone();
        if let Some(waiting) = invoice.subscription.as_ref().and_then(|id| self.pending_lines.get_mut(id)) {
            waiting.retain(|line| !invoice.lines.contains(line));
        }
        self.use_up_coupon(&invoice);
        self.invoices.insert(id.clone(), invoice.clone());
        self.emit("invoice.created", invoice);
        id
    }

    /// What is taken off one payment alone is gone with it; no event says so.
    fn use_up_coupon(&mut self, invoice: &Invoice) {
        let is_used_up = invoice.discount.is_some_and(|(coupon, _)| coupon.lasting == Lasting::Once);
        let subscription = invoice.subscription.as_ref().and_then(|id| self.subscriptions.get_mut(id));
        if let (Some(subscription), true) = (subscription, is_used_up) {
            subscription.coupon = None;
        }
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
            amount_received: 0,
            currency: currency.to_owned(),
            status: IntentStatus::RequiresPaymentMethod,
            created: now,
            invoice: Some(invoice.to_owned()),
            failure: None,
            latest_charge: None,
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
    pub(super) fn change_intent(
        &mut self,
        event_type: &'static str,
        id: &str,
        change: impl FnOnce(&mut PaymentIntent),
    ) {
        let attempted = ["payment_intent.processing", "payment_intent.succeeded", "payment_intent.payment_failed"];
        let charge = attempted.contains(&event_type).then(|| self.ids.short("ch", 24));
        let intent = self.payment_intents.get_mut(id).expect("only an intent that is there is changed");
        // What was under way ends as the attempt that it is.
        if charge.is_some() && intent.status != IntentStatus::Processing {
            intent.latest_charge = charge;
        }
        change(intent);
        let intent = intent.clone();
        self.emit(event_type, intent);
    }

    /// An attempt at a card.
    pub(super) fn charge(&mut self, event_type: &'static str, intent: &str) {
        let intent = &self.payment_intents[intent];
        let newest = intent.latest_charge.clone().filter(|id| !self.charges.contains_key(id));
        let charge = Charge {
            id: newest.unwrap_or_else(|| self.ids.short("ch", 24)),
            customer: intent.customer.clone(),
            amount: if event_type == "charge.succeeded" { intent.amount_received } else { intent.amount },
            currency: intent.currency.clone(),
            created: self.now,
            paid: event_type == "charge.succeeded",
            payment_intent: intent.id.clone(),
            invoice: intent.invoice.clone(),
            amount_refunded: 0,
        };
        self.charges.insert(charge.id.clone(), charge.clone());
        self.emit(event_type, charge);
    }

    pub(super) fn change_invoice(&mut self, id: &str, change: impl FnOnce(&mut Invoice)) {
        let invoice = self.invoices.get_mut(id).expect("only an invoice that is there is changed");
        let before = invoice.clone();
        change(invoice);
        let after = invoice.clone();
        self.emit_change("invoice.updated", before, after);
    }
}
