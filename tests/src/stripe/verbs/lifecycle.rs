//! A subscription from its first payment to its end.

use super::invoicing::Proration;
use crate::stripe::model::{InvoiceStatus, Item, Period, Price, Status, Subscription};
use crate::stripe::{DAY, Stripe};

/// Stripe leaves a renewal's draft open for changes for an hour.
const DRAFT_SECONDS: i64 = 3600;

/// What the account does when the last attempt has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GiveUp {
    /// Ends the subscription.
    Cancel,
    /// Leaves it, unpaid.
    Unpaid,
    /// Pauses it.
    Pause,
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
        self.pay(&invoice);
    }

    /// The next period begins and its payment fails: active or trialing → past_due.
    pub fn begin_unpaid_period(&mut self, subscription: &str) {
        let invoice = self.begin_period(subscription);
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
        match how {
            GiveUp::Cancel => self.cancel(subscription),
            GiveUp::Unpaid => {
                self.change_subscription(subscription, |subscription| subscription.status = Status::Unpaid);
            }
            GiveUp::Pause => self.pause(subscription),
        }
    }

    /// Three days before the end of a trial.
    pub fn trial_will_end(&mut self, subscription: &str) {
        self.emit("customer.subscription.trial_will_end", self.subscriptions[subscription].clone());
    }

    /// Another price for the first item, from now on; the difference is billed at once if there is any to bill.
    pub fn upgrade(&mut self, subscription: &str, price: &'static Price) {
        let quantity = self.subscriptions[subscription].items[0].quantity;
        self.change_first_item(subscription, price, quantity);
    }

    /// Another number of the first item, from now on.
    pub fn change_quantity(&mut self, subscription: &str, quantity: i64) {
        let price = self.subscriptions[subscription].items[0].price;
        self.change_first_item(subscription, price, quantity);
    }

    /// One more item, billed with the next period.
    pub fn add_item(&mut self, subscription: &str, price: &'static Price) {
        let item = Item {
            id: self.ids.short("si", 14),
            created: self.now,
            price,
            quantity: 1,
            period: self.subscriptions[subscription].items[0].period,
        };
        self.change_subscription(subscription, |subscription| subscription.items.push(item));
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
        self.pay(&invoice);
        self.emit("customer.subscription.resumed", self.subscriptions[subscription].clone());
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
        let now = self.now;
        self.change_subscription(subscription, |subscription| {
            subscription.cancel_at = Some(subscription.items[0].period.end);
            subscription.canceled_at = Some(now);
        });
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

    fn begin_period_at(&mut self, subscription: &str, start: i64) -> String {
        let begun = |subscription: &mut Subscription| {
            let end = start + subscription.items[0].price.interval.seconds();
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

    fn change_first_item(&mut self, subscription: &str, price: &'static Price, quantity: i64) {
        let mut next = self.subscriptions[subscription].clone();
        let now = self.now;
        let item = &mut next.items[0];
        let from = (item.price, item.quantity);
        let period = item.period;
        let left = (period.end - now).max(0);
        let share = |(price, quantity): (&Price, i64)| price.unit_amount * quantity * left / price.interval.seconds();
        let moves = item.price.interval != price.interval;
        item.price = price;
        item.quantity = quantity;
        if moves {
            item.period = Period { start: now, end: now + price.interval.seconds() };
        }
        let to = (price, quantity);
        let debit = if moves { price.unit_amount * quantity } else { share(to) };
        let change = Proration { from, to, credit: share(from), debit };
        // A credit is kept for the next invoice; only what is owed makes one now.
        let billable = matches!(next.status, Status::Active) && change.debit > change.credit;
        let invoice = billable.then(|| self.draft_proration(&next, &change));
        if let Some(invoice) = &invoice {
            next.latest_invoice = Some(invoice.id.clone());
        }
        self.change_subscription(subscription, |subscription| *subscription = next);
        if let Some(invoice) = invoice {
            let invoice = self.keep_invoice(invoice);
            self.finalize(&invoice);
            self.pay(&invoice);
        }
    }
}
