//! A subscription from its first payment to its end.

use super::invoicing::Proration;
use crate::stripe::model::{InvoiceStatus, Item, Line, Period, Price, Status, Subscription};
use crate::stripe::{DAY, Stripe};

/// Stripe leaves a renewal's draft open for changes for an hour.
pub(super) const DRAFT_SECONDS: i64 = 3600;

/// What the account does when the last attempt has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GiveUp {
    /// Ends the subscription.
    Cancel,
    /// Leaves it, unpaid.
    Unpaid,
    /// Pauses it.
    Pause,
    /// Leaves it as it is, past due.
    StayPastDue,
}

/// When a change within a period is billed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Billed {
    /// At once, if there is more to charge than to credit; else with the next period.
    WhenOwed,
    /// At once.
    Now,
    /// With the next period.
    Later,
}

impl Stripe {
    /// The first invoice is paid: incomplete → active.
    pub fn first_payment_succeeds(&mut self, subscription: &str) {
        let invoice = self.latest_invoice(subscription);
        self.pay(&invoice);
        self.change_subscription(subscription, |subscription| subscription.status = Status::Active);
    }

    /// The first payment did not come for 23 hours: incomplete → incomplete_expired, its invoice void.
    pub fn first_payment_expires(&mut self, subscription: &str) {
        let now = self.now;
        let invoice = self.latest_invoice(subscription);
        self.void(&invoice);
        self.change_subscription(subscription, |subscription| {
            subscription.status = Status::IncompleteExpired;
            subscription.ended_at = Some(now);
        });
    }

    /// The next period begins and is paid for, an hour later. Ends a trial.
    pub fn renew(&mut self, subscription: &str) {
        let invoice = self.begin_period(subscription);
        self.pay_if_owed(&invoice);
    }

    /// The next period begins and its payment fails: active or trialing → past_due. One that costs nothing is paid.
    pub fn begin_unpaid_period(&mut self, subscription: &str) {
        let invoice = self.begin_period(subscription);
        if self.invoices[&invoice].status == InvoiceStatus::Paid {
            return;
        }
        self.payment_fails(&invoice, Some(3 * DAY));
        self.change_subscription(subscription, |subscription| subscription.status = Status::PastDue);
    }

    /// Another attempt at what is owed fails.
    pub fn fail_again(&mut self, subscription: &str) {
        let invoice = self.latest_invoice(subscription);
        self.payment_fails(&invoice, Some(5 * DAY));
    }

    /// What was owed is paid after all: past_due or unpaid → active.
    pub fn recover(&mut self, subscription: &str) {
        let invoice = self.latest_invoice(subscription);
        self.pay(&invoice);
        self.change_subscription(subscription, |subscription| subscription.status = Status::Active);
    }

    /// The last attempt fails, and the account's setting decides.
    pub fn give_up(&mut self, subscription: &str, how: GiveUp) {
        let invoice = self.latest_invoice(subscription);
        self.payment_fails(&invoice, None);
        self.has_given_up(subscription, how);
    }

    pub(super) fn has_given_up(&mut self, subscription: &str, how: GiveUp) {
        match how {
            GiveUp::Cancel => self.cancel(subscription),
            GiveUp::Unpaid => {
                self.change_subscription(subscription, |subscription| subscription.status = Status::Unpaid);
            }
            GiveUp::Pause => self.pause(subscription),
            GiveUp::StayPastDue => {}
        }
    }

    /// Three days before the end of a trial.
    pub fn trial_will_end(&mut self, subscription: &str) {
        self.emit("customer.subscription.trial_will_end", self.subscriptions[subscription].clone());
    }

    /// Another price for the first item, from now on; the difference is billed at once if there is any to bill, else with
    /// the next period.
    pub fn upgrade(&mut self, subscription: &str, price: &'static Price) {
        let quantity = self.subscriptions[subscription].items[0].quantity;
        self.change_first_item(subscription, price, quantity, Billed::WhenOwed);
    }

    /// As [`Stripe::upgrade`], billed at once even where more is credited than charged, or only with the next period.
    pub fn switch(&mut self, subscription: &str, price: &'static Price, billed: Billed) {
        let quantity = self.subscriptions[subscription].items[0].quantity;
        self.change_first_item(subscription, price, quantity, billed);
    }

    /// Another number of the first item, from now on.
    pub fn change_quantity(&mut self, subscription: &str, quantity: i64) {
        let price = self.subscriptions[subscription].items[0].price;
        self.change_first_item(subscription, price, quantity, Billed::WhenOwed);
    }

    /// One more item, billed with the next period.
    pub fn add_item(&mut self, subscription: &str, price: &'static Price) {
        let item = self.new_item(subscription, price);
        self.change_subscription(subscription, |subscription| subscription.items.push(item));
    }

    /// One more item, billed at once for what is left of the period: the invoice has its line alone.
    pub fn add_item_now(&mut self, subscription: &str, price: &'static Price) {
        let item = self.new_item(subscription, price);
        let debit = price.unit_amount * (item.period.end - self.now).max(0) / price.interval.seconds();
        let change = Proration { from: None, to: (price, 1), credit: 0, debit };
        let lines = self.proration_lines(&item, &change);
        let mut next = self.subscriptions[subscription].clone();
        next.items.push(item);
        self.change_and_bill(next, lines);
    }

    /// The first item goes, and one of `price` is there instead; snapshots still list the first, as gone.
    pub fn replace_first_item(&mut self, subscription: &str, price: &'static Price) {
        let item = self.new_item(subscription, price);
        self.change_subscription(subscription, |subscription| {
            subscription.items.insert(1, item);
            subscription.items[0].deleted = true;
        });
    }

    /// All that waits to be billed for a subscription is billed now, on one invoice.
    pub fn bill_what_waits(&mut self, subscription: &str) {
        let waiting = self.pending_lines.get(subscription).cloned().unwrap_or_default();
        assert!(!waiting.is_empty(), "an invoice has lines");
        let next = self.subscriptions[subscription].clone();
        self.change_and_bill(next, waiting);
    }

    /// In trial, another plan and the end of the trial in one: Stripe announces that end in the very second in which it
    /// comes, with a snapshot that is half-way.
    pub fn end_trial_by_switch(&mut self, subscription: &str, price: &'static Price) {
        let mut next = self.subscriptions[subscription].clone();
        assert_eq!(next.status, Status::Trialing, "only a trial is ended");
        let now = self.now;
        let period = Period { start: now, end: now + price.interval.seconds() };
        next.items[0].price = price;
        for item in &mut next.items {
            item.period = period;
        }
        next.trial = next.trial.map(|trial| Period { end: now, ..trial });
        self.emit("customer.subscription.trial_will_end", next.clone());
        next.status = Status::Active;
        let invoice = self.draft_invoice(&next, "subscription_update");
        next.latest_invoice = Some(invoice.id.clone());
        self.change_subscription(subscription, |subscription| *subscription = next);
        let invoice = self.keep_invoice(invoice);
        self.finalize(&invoice);
        self.pay_if_owed(&invoice);
    }

    /// `pause_collection`: the status stays.
    pub fn pause_collection(&mut self, subscription: &str) {
        self.change_subscription(subscription, |subscription| subscription.pause_collection = Some("void"));
    }

    /// Ends `pause_collection`.
    pub fn resume_collection(&mut self, subscription: &str) {
        self.change_subscription(subscription, |subscription| subscription.pause_collection = None);
    }

    /// Status paused: no invoices until it is resumed.
    pub fn pause(&mut self, subscription: &str) {
        self.change_subscription(subscription, |subscription| subscription.status = Status::Paused);
        self.emit("customer.subscription.paused", self.subscriptions[subscription].clone());
    }

    /// Status paused → active, with a new period that is paid at once.
    pub fn resume(&mut self, subscription: &str) {
        let invoice = self.begin_period_at(subscription, self.now);
        self.finalize(&invoice);
        self.pay_if_owed(&invoice);
        self.emit("customer.subscription.resumed", self.subscriptions[subscription].clone());
    }

    /// The trial ends now, and the first period begins, paid at once.
    pub fn end_trial_now(&mut self, subscription: &str) {
        let now = self.now;
        self.change_subscription(subscription, |subscription| {
            subscription.trial = subscription.trial.map(|trial| Period { end: now, ..trial });
        });
        let invoice = self.begin_period_at(subscription, now);
        self.finalize(&invoice);
        self.collect(&invoice);
    }

    /// It is on trial until `end`, and paid for from then on.
    pub fn extend_trial(&mut self, subscription: &str, end: i64) {
        let now = self.now;
        self.change_subscription(subscription, |subscription| {
            let start = subscription.trial.map_or(now, |trial| trial.start);
            subscription.trial = Some(Period { start, end });
            subscription.status = Status::Trialing;
            subscription.anchor = end;
            for item in &mut subscription.items {
                item.period.end = end;
            }
        });
    }

    /// Ends at `at`, by its date.
    pub fn cancel_at(&mut self, subscription: &str, at: i64) {
        let now = self.now;
        self.change_subscription(subscription, |subscription| {
            subscription.cancel_at = Some(at);
            subscription.canceled_at = Some(now);
        });
    }

    /// Ends with its period, by the flag.
    pub fn schedule_cancel(&mut self, subscription: &str) {
        let now = self.now;
        self.change_subscription(subscription, |subscription| {
            subscription.cancel_at_period_end = true;
            subscription.cancel_at = Some(subscription.items[0].period.end);
            subscription.canceled_at = Some(now);
        });
    }

    /// Ends with its period, as the portal does it under flexible billing: by `cancel_at`, without the flag.
    pub fn schedule_cancel_at(&mut self, subscription: &str) {
        self.cancel_at(subscription, self.subscriptions[subscription].items[0].period.end);
    }

    /// It is not to end after all.
    pub fn undo_cancel(&mut self, subscription: &str) {
        self.change_subscription(subscription, |subscription| {
            subscription.cancel_at_period_end = false;
            subscription.cancel_at = None;
            subscription.canceled_at = None;
        });
    }

    /// Ends it now, for good.
    pub fn cancel(&mut self, subscription: &str) {
        let now = self.now;
        self.give_up_pending_update(subscription);
        let canceled = self.subscriptions.get_mut(subscription).expect("only a subscription that is there is canceled");
        assert!(!canceled.status.is_final(), "it ends once");
        canceled.status = Status::Canceled;
        canceled.canceled_at = canceled.canceled_at.or(Some(now));
        canceled.ended_at = Some(now);
        let canceled = canceled.clone();
        self.emit("customer.subscription.deleted", canceled);
    }

    /// The id of its newest invoice.
    pub fn latest_invoice(&self, subscription: &str) -> String {
        self.subscriptions[subscription].latest_invoice.clone().expect("a subscription has an invoice from its start")
    }

    /// Whether its newest invoice is owed.
    pub fn owes(&self, subscription: &str) -> bool {
        self.invoices[&self.latest_invoice(subscription)].status == InvoiceStatus::Open
    }

    fn begin_period(&mut self, subscription: &str) -> String {
        let start = self.subscriptions[subscription].items[0].period.end;
        self.now = self.now.max(start);
        let invoice = self.begin_period_at(subscription, start);
        self.pass(DRAFT_SECONDS);
        self.finalize(&invoice);
        invoice
    }

    pub(super) fn begin_period_at(&mut self, subscription: &str, start: i64) -> String {
        let begun = |subscription: &mut Subscription| {
            subscription.items.retain(|item| !item.deleted);
            let end = subscription.items[0].price.interval.end_of_period(subscription.anchor, start);
            for item in &mut subscription.items {
                item.period = Period { start, end };
            }
            if matches!(subscription.status, Status::Trialing | Status::Paused) {
                subscription.status = Status::Active;
            }
        };
        let mut next = self.subscriptions[subscription].clone();
        begun(&mut next);
        let invoice = self.draft_invoice(&next, "subscription_cycle");
        let id = invoice.id.clone();
        self.change_subscription(subscription, |subscription| {
            begun(subscription);
            subscription.latest_invoice = Some(id);
        });
        self.keep_invoice(invoice)
    }

    pub(super) fn new_item(&self, subscription: &str, price: &'static Price) -> Item {
        Item {
            id: self.ids.short("si", 14),
            created: self.now,
            price,
            lookup_key: None,
            quantity: 1,
            period: self.subscriptions[subscription].items[0].period,
            deleted: false,
        }
    }

    /// Another price or number of the first item, from now on.
    fn change_first_item(&mut self, subscription: &str, price: &'static Price, quantity: i64, billed: Billed) {
        let mut next = self.subscriptions[subscription].clone();
        let (lines, change) = self.change_item(&mut next, 0, (price, quantity), self.now);
        // A credit waits for the next invoice, unless it is asked for.
        let now_billed = match billed {
            Billed::Now => true,
            Billed::WhenOwed => change.debit > change.credit,
            Billed::Later => false,
        };
        if now_billed && !lines.is_empty() {
            self.change_and_bill(next, lines);
        } else {
            let waiting = self.pending_lines.entry(subscription.to_owned()).or_default();
            waiting.splice(0..0, lines);
            self.change_subscription(subscription, |subscription| *subscription = next);
        }
    }

    /// The subscription becomes `next`, with an invoice of these lines, paid at once.
    fn change_and_bill(&mut self, mut next: Subscription, lines: Vec<Line>) {
        let invoice = self.draft(&next, "subscription_update", lines);
        next.latest_invoice = Some(invoice.id.clone());
        let subscription = next.id.clone();
        self.change_subscription(&subscription, |subscription| *subscription = next);
        let invoice = self.keep_invoice(invoice);
        self.finalize(&invoice);
        self.pay_if_owed(&invoice);
    }
}
