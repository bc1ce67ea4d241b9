//! Changes that wait until they are paid for: <https://docs.stripe.com/billing/subscriptions/pending-updates>.

use super::changes::Planned;
use super::{ItemChange, Prorated, Unpaid};
use crate::stripe::Stripe;
use crate::stripe::model::PendingUpdate;

/// How long Stripe waits.
const PENDING_SECONDS: i64 = 23 * 3600;

impl Stripe {
    /// Makes these changes, prorated as of `at`, as soon as what is billed now for them is paid: at once, or when the customer
    /// has confirmed it. Another one that waited is given up.
    pub fn change_items_when_paid(&mut self, subscription: &str, changes: &[ItemChange], prorated: Prorated, at: i64) {
        self.give_up_pending_update(subscription);
        let Planned { mut next, lines, billed_now } = self.plan(subscription, changes, prorated, at);
        let card = next.default_payment_method.clone();
        let payment = self.payment_of(&next.customer, &[card.as_ref()]);
        let draft = billed_now.then(|| self.draft(&next, "subscription_update", lines));
        let (Some(invoice), Err(why)) = (draft.filter(|draft| draft.amount_due > 0), payment) else {
            let done = self.change_items_by_call(subscription, changes, prorated, at, false);
            return done.expect("what is paid, or not billed, is done");
        };
        let ends = [next.items[0].period.end, self.subscriptions[subscription].items[0].period.end];
        let ends = ends.into_iter().chain(next.trial.map(|trial| trial.end)).filter(|end| *end > self.now);
        let expires_at = ends.chain([self.now + PENDING_SECONDS]).min().expect("there is one");
        let pending = PendingUpdate { expires_at, invoice: invoice.id.clone(), items: std::mem::take(&mut next.items) };
        self.change_subscription(subscription, |subscription| {
            subscription.latest_invoice = Some(pending.invoice.clone());
            subscription.pending_update = Some(pending);
        });
        let invoice = self.keep_invoice(invoice);
        self.finalize(&invoice);
        match why {
            Unpaid::NeedsAction => self.payment_requires_action(&invoice),
            Unpaid::Declined(_) | Unpaid::NoCard => self.payment_fails(&invoice, None),
        }
    }

    /// The customer confirms the payment that a change waits for.
    pub fn confirm_pending_update(&mut self, subscription: &str) {
        let pending = self.subscriptions[subscription].pending_update.clone().expect("a change waits");
        self.pay(&pending.invoice);
    }

    /// Nobody has paid for it in time, or it is not wanted any more: its invoice is void, and nothing changes.
    pub(super) fn give_up_pending_update(&mut self, subscription: &str) {
        if let Some(pending) = self.subscriptions[subscription].pending_update.clone() {
            self.void(&pending.invoice);
        }
    }

    /// Of the change that an invoice is for, once it is paid or void.
    pub(super) fn settle_pending_update(&mut self, invoice: &str, is_paid: bool) {
        let waits = |pending: &PendingUpdate| pending.invoice == invoice;
        let row = self.subscriptions.values().find(|row| row.pending_update.as_ref().is_some_and(waits));
        let Some(id) = row.map(|row| row.id.clone()) else { return };
        self.change_subscription(&id, |subscription| {
            if let Some(pending) = subscription.pending_update.take().filter(|_| is_paid) {
                subscription.items = pending.items;
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stripe::catalogue::{PRO_MONTHLY, TEAM_MONTHLY};
    use crate::stripe::model::{InvoiceStatus, Status};
    use crate::stripe::{Checkout, DAY};

    /// A subscriber whose bank wants to hear from them, and who wants another plan.
    fn waiting() -> (Stripe, String) {
        let mut stripe = Stripe::new(1);
        let customer = stripe.sign_up("ada@example.com", "Ada", None);
        let (subscription, _) = stripe.checkout(&customer, &Checkout::of(&PRO_MONTHLY));
        stripe.change_card(&customer, "visa", "3184");
        stripe.advance(10 * DAY);
        wants(&mut stripe, &subscription, 1);
        (stripe, subscription)
    }

    fn wants(stripe: &mut Stripe, subscription: &str, quantity: i64) {
        let item = stripe.subscriptions[subscription].items[0].id.clone();
        let change = [ItemChange::Is(item, &TEAM_MONTHLY, quantity)];
        stripe.change_items_when_paid(subscription, &change, Prorated::AtOnce, stripe.now);
    }

    fn stands(stripe: &Stripe, subscription: &str) -> (&'static str, Status, bool) {
        let row = &stripe.subscriptions[subscription];
        (row.items[0].price.id, row.status, row.pending_update.is_some())
    }

    #[test]
    fn a_change_waits_until_it_is_paid_for() {
        let (mut stripe, subscription) = waiting();
        assert_eq!(stands(&stripe, &subscription), (PRO_MONTHLY.id, Status::Active, true));
        stripe.confirm_pending_update(&subscription);
        assert_eq!(stands(&stripe, &subscription), (TEAM_MONTHLY.id, Status::Active, false));
    }

    #[test]
    fn a_change_that_nobody_pays_for_is_given_up_after_a_day() {
        let (mut stripe, subscription) = waiting();
        let invoice = stripe.latest_invoice(&subscription);
        stripe.advance(PENDING_SECONDS - 1);
        assert!(stands(&stripe, &subscription).2);
        stripe.advance(1);
        assert_eq!(stands(&stripe, &subscription), (PRO_MONTHLY.id, Status::Active, false));
        assert_eq!(stripe.invoices[&invoice].status, InvoiceStatus::Void);
    }

    #[test]
    fn another_change_takes_the_place_of_the_one_that_waits() {
        let (mut stripe, subscription) = waiting();
        let first = stripe.latest_invoice(&subscription);
        wants(&mut stripe, &subscription, 2);
        let second = stripe.latest_invoice(&subscription);
        let statuses = [&first, &second].map(|invoice| stripe.invoices[invoice].status);
        assert_eq!(statuses, [InvoiceStatus::Void, InvoiceStatus::Open]);
        stripe.cancel(&subscription);
        assert_eq!(stripe.invoices[&second].status, InvoiceStatus::Void);
    }
}
