//! Attempts at what is owed: by Stripe's own schedule, or because a call asks for one. A card pays or does not; a bank
//! account is told to pay, and it is known days later whether it did.

use super::Unpaid;
use super::calls::bank_says;
use crate::stripe::model::{BANK_ACCOUNT, Failed, IntentStatus, InvoicePayment, InvoiceStatus, Status};
use crate::stripe::{DAY, Stripe};

/// After how many days each attempt is made again: a schedule of the kind that an account can set.
const RETRY_DAYS: [i64; 3] = [3, 5, 7];
/// How long a bank takes.
const DEBIT_SECONDS: i64 = 4 * DAY;

/// One attempt at an invoice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// At what.
    pub invoice: String,
    /// When.
    pub at: i64,
    /// Whether a call asked for it; else it was Stripe's own.
    pub is_by_call: bool,
    /// With what.
    pub method: String,
    /// Why it failed at once, if it did.
    pub refused: Option<&'static str>,
}

impl Stripe {
    /// A bank account of the customer, not its default yet. What becomes of debits is in its last digits, as with Stripe's
    /// test accounts: <https://docs.stripe.com/payments/ach-direct-debit/accept-a-payment#test-account-numbers>.
    pub fn attach_bank_account(&mut self, customer: &str, last4: &str) -> String {
        self.attach_card(customer, BANK_ACCOUNT, last4)
    }

    /// One attempt of Stripe's own at what is owed, and what comes of it.
    pub(super) fn collect(&mut self, invoice: &str) {
        let row = &self.invoices[invoice];
        let Some(id) = row.subscription.clone().filter(|_| row.status == InvoiceStatus::Open) else { return };
        if self.subscriptions[&id].pause_collection.is_some() {
            return self.void(invoice);
        }
        if let Err(why) = self.attempt(invoice, None, false) {
            if why == Unpaid::NeedsAction {
                self.payment_requires_action(invoice);
            }
            self.own_attempt_fails(&id, invoice, &self.failed(invoice, None, why), true);
        }
    }

    /// What is owed is tried to be paid at once, with this method or the one that pays for it: by whoever asks for it, in the
    /// portal or by a call. Stripe's schedule stays as it is.
    pub fn settle(&mut self, invoice: &str, method: Option<&str>) -> Result<(), Unpaid> {
        let tried = self.attempt(invoice, method, true);
        if let Err(why) = tried
            && why != Unpaid::NoCard
            && self.invoices[invoice].status == InvoiceStatus::Open
        {
            let next = self.invoices[invoice].next_payment_attempt.map(|at| at - self.now);
            let is_first = self.invoices[invoice].attempt_count == 0;
            self.attempt_fails(invoice, next, &self.failed(invoice, method, why), is_first);
        }
        tried
    }

    /// What is charged for an invoice, where nothing else is named.
    fn method_of(&self, invoice: &str, named: Option<&str>) -> Option<String> {
        let row = &self.invoices[invoice];
        let own = || self.subscriptions.get(row.subscription.as_ref()?)?.default_payment_method.clone();
        let by_customer = || self.customers[&row.customer].default_payment_method.clone();
        named.map(str::to_owned).or_else(own).or_else(by_customer)
    }

    fn failed(&self, invoice: &str, named: Option<&str>, why: Unpaid) -> Failed {
        let (code, decline_code) = why.codes();
        let method = self.method_of(invoice, named);
        let method = method.map(|id| (id.clone(), self.payment_methods[&id].kind()));
        Failed { code, decline_code, method }
    }

    fn attempt(&mut self, invoice: &str, named: Option<&str>, is_by_call: bool) -> Result<(), Unpaid> {
        let method = self.method_of(invoice, named).ok_or(Unpaid::NoCard)?;
        let is_debit = self.payment_methods[&method].kind() == BANK_ACCOUNT;
        let said = if is_debit { Ok(()) } else { bank_says(&self.payment_methods[&method].last4) };
        let refused = said.err().map(Unpaid::codes).map(|(code, decline)| decline.unwrap_or(code));
        let (at, invoice_id) = (self.now, invoice.to_owned());
        self.attempts.push(Attempt { invoice: invoice_id, at, is_by_call, method: method.clone(), refused });
        said?;
        let counts = !is_by_call || self.invoices[invoice].attempt_count == 0;
        if is_debit {
            self.tell_bank(invoice, method, counts);
            return Ok(());
        }
        self.pay_so(invoice, counts);
        self.goes_on(invoice);
        Ok(())
    }

    /// What was owed for it is paid: past_due or unpaid → active, once nothing else is owed.
    fn goes_on(&mut self, invoice: &str) {
        let Some(subscription) = self.invoices[invoice].subscription.clone() else { return };
        let waits =
            matches!(self.subscriptions[&subscription].status, Status::Incomplete | Status::PastDue | Status::Unpaid);
        if waits && !self.owes(&subscription) {
            self.change_subscription(&subscription, |subscription| subscription.status = Status::Active);
        }
    }

    fn tell_bank(&mut self, invoice: &str, account: String, counts: bool) {
        let known_at = self.now + DEBIT_SECONDS;
        let intent = self.invoices[invoice].payment_intent.clone().expect("what costs nothing is not debited");
        self.change_intent("payment_intent.processing", &intent, |intent| {
            intent.status = IntentStatus::Processing;
            intent.payment_method = Some(account.clone());
            intent.failure = None;
        });
        self.change_invoice(invoice, |invoice| {
            invoice.attempt_count += i64::from(counts);
            invoice.next_payment_attempt = None;
            invoice.debit = Some((account, known_at));
        });
    }

    /// It is known whether a bank account has paid: as its last digits say now.
    pub(super) fn debit_is_known(&mut self, invoice: &str) {
        let row = self.invoices.get_mut(invoice).expect("only an invoice that is there is debited");
        let Some((account, _)) = row.debit.take() else { return };
        let subscription = row.subscription.clone();
        let why = match &*self.payment_methods[&account].last4 {
            "1113" => "account_closed",
            "1116" => "no_account",
            "2227" => "insufficient_funds",
            "3335" => "debit_not_authorized",
            _ => {
                self.pay_so(invoice, false);
                return self.goes_on(invoice);
            }
        };
        let failed = Failed {
            code: "payment_intent_payment_attempt_failed",
            decline_code: Some(why),
            method: Some((account, BANK_ACCOUNT)),
        };
        match subscription {
            Some(id) if !self.subscriptions[&id].status.is_final() => {
                self.own_attempt_fails(&id, invoice, &failed, false);
            }
            _ => self.attempt_fails(invoice, None, &failed, false),
        }
    }

    /// An attempt of Stripe's own has failed: there is another one, or it gives up.
    fn own_attempt_fails(&mut self, subscription: &str, invoice: &str, why: &Failed, counts: bool) {
        let row = &self.invoices[invoice];
        let attempts = usize::try_from(row.attempt_count - i64::from(!counts)).unwrap_or_default();
        let is_scheduled = row.auto_advance;
        let next = RETRY_DAYS.get(attempts).map(|days| days * DAY).filter(|_| is_scheduled);
        self.attempt_fails(invoice, next, why, counts);
        match (self.subscriptions[subscription].status, next) {
            (_, None) if is_scheduled => self.has_given_up(subscription, self.gives_up),
            (Status::Active, _) => {
                self.change_subscription(subscription, |subscription| subscription.status = Status::PastDue);
            }
            _ => {}
        }
    }

    /// Stripe tries an invoice by itself from now on, or no more.
    pub fn advance_by_itself(&mut self, invoice: &str, does: bool) {
        self.change_invoice(invoice, |invoice| {
            invoice.auto_advance = does;
            invoice.next_payment_attempt = invoice.next_payment_attempt.filter(|_| does);
        });
    }

    /// Pays an open or uncollectible invoice.
    pub fn pay(&mut self, invoice: &str) {
        self.pay_so(invoice, true);
    }

    /// The same; `counts`: by an attempt of Stripe's own, or the first one.
    fn pay_so(&mut self, invoice: &str, counts: bool) {
        let now = self.now;
        if let Some(intent) = self.invoices[invoice].payment_intent.clone() {
            self.change_intent("payment_intent.succeeded", &intent, |intent| {
                intent.status = IntentStatus::Succeeded;
                intent.amount_received = intent.amount;
                intent.failure = None;
            });
            self.charge("charge.succeeded", &intent);
        }
        self.change_invoice(invoice, |invoice| {
            let payable = matches!(invoice.status, InvoiceStatus::Open | InvoiceStatus::Uncollectible);
            assert!(payable, "only what is owed is paid");
            invoice.status = InvoiceStatus::Paid;
            invoice.amount_paid = invoice.amount_due;
            invoice.paid_at = Some(now);
            invoice.attempt_count += i64::from(counts && invoice.payment_intent.is_some());
            invoice.debit = None;
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
        self.settle_pending_update(invoice, true);
    }

    /// Notes that an intent has paid an invoice.
    pub(super) fn link_intent(&mut self, invoice: &str, intent: &str, now: i64) {
        let payment = InvoicePayment {
            id: self.ids.long("inpay"),
            invoice: invoice.to_owned(),
            payment_intent: intent.to_owned(),
            amount: self.payment_intents[intent].amount_received,
            currency: self.payment_intents[intent].currency.clone(),
            created: now,
            paid_at: Some(now),
        };
        self.invoice_payments.insert(payment.id.clone(), payment.clone());
        self.emit("invoice_payment.paid", payment);
    }

    /// One more attempt at an open invoice fails. `retry_after` is in seconds; `None` when it was the last.
    pub fn payment_fails(&mut self, invoice: &str, retry_after: Option<i64>) {
        self.attempt_fails(invoice, retry_after, &Failed::for_want_of_money(), true);
    }

    fn attempt_fails(&mut self, invoice: &str, retry_after: Option<i64>, why: &Failed, counts: bool) {
        let now = self.now;
        let intent = self.invoices[invoice].payment_intent.clone().expect("what costs nothing cannot fail");
        self.change_intent("payment_intent.payment_failed", &intent, |intent| {
            intent.status = IntentStatus::RequiresPaymentMethod;
            intent.failure = Some(why.clone());
        });
        self.charge("charge.failed", &intent);
        self.change_invoice(invoice, |invoice| {
            assert_eq!(invoice.status, InvoiceStatus::Open, "only what is owed is tried");
            invoice.attempt_count += i64::from(counts);
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
}
