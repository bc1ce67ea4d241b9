//! Changes of what a subscription is of, by a merchant's own server, and what they cost beforehand.

use super::Unpaid;
use super::invoicing::Proration;
use crate::stripe::Stripe;
use crate::stripe::model::{Invoice, Item, Line, Period, Price, Status, Subscription};

/// How one item is to be.
#[derive(Clone, Debug, PartialEq)]
pub enum ItemChange {
    /// The item with this id is of this price and so many.
    Is(String, &'static Price, i64),
    /// There is one more.
    New(&'static Price, i64),
    /// The item with this id is gone.
    Gone(String),
}

impl ItemChange {
    /// Whether it is of the item with this id.
    pub fn is_of(&self, id: &str) -> bool {
        matches!(self, Self::Is(item, ..) | Self::Gone(item) if item == id)
    }

    /// What is then paid for the item, if it is still there.
    pub fn price(&self) -> Option<&'static Price> {
        match self {
            Self::Is(_, price, _) | Self::New(price, _) => Some(price),
            Self::Gone(_) => None,
        }
    }
}

/// When the difference within a period is billed: `proration_behavior`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prorated {
    /// Not at all.
    Never,
    /// With the next period; at once where that begins with the change, which another interval makes it.
    WithTheNextPeriod,
    /// At once.
    AtOnce,
}

/// A change that was not made yet.
pub(super) struct Planned {
    pub(super) next: Subscription,
    pub(super) lines: Vec<Line>,
    pub(super) billed_now: bool,
}

impl Stripe {
    /// Makes these changes, prorated as of `at`. Where the difference is billed now and cannot be paid, `or_nothing` says
    /// whether nothing changes; else the subscription is past due.
    pub fn change_items_by_call(
        &mut self,
        subscription: &str,
        changes: &[ItemChange],
        prorated: Prorated,
        at: i64,
        or_nothing: bool,
    ) -> Result<(), Unpaid> {
        let Planned { mut next, lines, billed_now } = self.plan(subscription, changes, prorated, at);
        if !billed_now {
            self.pending_lines.entry(subscription.to_owned()).or_default().splice(0..0, lines);
            self.change_subscription(subscription, |subscription| *subscription = next);
            return Ok(());
        }
        let invoice = self.draft(&next, "subscription_update", lines);
        if or_nothing && invoice.amount_due > 0 {
            self.payment_of(&next.customer, &[next.default_payment_method.as_ref()])?;
        }
        next.latest_invoice = Some(invoice.id.clone());
        self.change_subscription(subscription, |subscription| *subscription = next);
        let invoice = self.keep_invoice(invoice);
        self.finalize(&invoice);
        self.collect(&invoice);
        Ok(())
    }

    /// The invoice that comes of such a change: the next one, and what every further period costs.
    pub fn preview_of_change(
        &self,
        subscription: &str,
        changes: &[ItemChange],
        prorated: Prorated,
        at: i64,
    ) -> [Invoice; 2] {
        let Planned { next, lines, billed_now } = self.plan(subscription, changes, prorated, at);
        let begun = begun(&next);
        let items: Vec<_> = begun.items.iter().map(|item| self.item_line(item)).collect();
        let waiting = self.pending_lines.get(subscription).into_iter().flatten().cloned();
        let due = match prorated {
            _ if billed_now => self.draft(&next, "subscription_update", lines),
            Prorated::AtOnce => {
                let nothing = next.items.iter().map(|item| Line { amount: 0, ..self.item_line(item) });
                self.draft(&next, "subscription_update", nothing.collect())
            }
            _ => {
                let all = lines.into_iter().chain(waiting).chain(items.iter().cloned());
                self.draft(&begun, "upcoming", all.collect())
            }
        };
        [due, self.draft(&begun, "upcoming", items)]
    }

    pub(super) fn plan(&self, id: &str, changes: &[ItemChange], prorated: Prorated, at: i64) -> Planned {
        let mut next = self.subscriptions[id].clone();
        let (mut lines, mut moves) = (Vec::new(), false);
        for change in changes {
            let place = |item: &String| next.items.iter().position(|own| &own.id == item);
            match change {
                ItemChange::Is(item, price, quantity) => {
                    let place = place(item).expect("only an item that is there is changed");
                    let interval = next.items[place].price.interval;
                    lines.extend(self.change_item(&mut next, place, (*price, *quantity), at).0);
                    moves |= interval != price.interval;
                }
                ItemChange::New(price, quantity) => {
                    let item = Item { quantity: *quantity, ..self.new_item(id, price) };
                    let debit = share((*price, *quantity), item.period, at);
                    let change = Proration { from: None, to: (*price, *quantity), credit: 0, debit };
                    lines.extend(self.proration_lines(&item, &change));
                    next.items.push(item);
                }
                ItemChange::Gone(item) => {
                    let item = next.items.remove(place(item).expect("only an item that is there goes"));
                    let from = (item.price, item.quantity);
                    let change = Proration {
                        from: Some(from),
                        to: (item.price, 0),
                        credit: share(from, item.period, at),
                        debit: 0,
                    };
                    lines.extend(self.proration_lines(&item, &change));
                }
            }
        }
        let is_active = next.status == Status::Active;
        if prorated == Prorated::Never || !is_active {
            // A period that begins with the change is paid for all the same.
            lines.retain(|line| is_active && moves && line.amount > 0);
        }
        let billed_now = !lines.is_empty() && (moves || prorated == Prorated::AtOnce);
        Planned { next, lines, billed_now }
    }

    /// Another price or number of one item, prorated as of `at`: the lines, and what they add up to.
    pub(super) fn change_item(
        &self,
        next: &mut Subscription,
        place: usize,
        to: (&'static Price, i64),
        at: i64,
    ) -> (Vec<Line>, Proration) {
        let (now, status) = (self.now, next.status);
        let item = &mut next.items[place];
        let from = (item.price, item.quantity);
        let period = item.period;
        let (price, quantity) = to;
        let moves = item.price.interval != price.interval;
        (item.price, item.quantity) = to;
        if moves {
            item.period = Period { start: now, end: now + price.interval.seconds() };
        }
        let debit = if moves { price.unit_amount * quantity } else { share(to, period, at) };
        let change = Proration { from: Some(from), to, credit: share(from, period, at), debit };
        // Nothing is charged or credited for a trial, and nothing for what stays as it is.
        let lines = match status {
            Status::Active if from != to => self.proration_lines(item, &change),
            _ => Vec::new(),
        };
        (lines, change)
    }
}

/// What so many of a price cost for the rest of a period.
fn share((price, quantity): (&Price, i64), period: Period, at: i64) -> i64 {
    price.unit_amount * quantity * (period.end - at).max(0) / price.interval.seconds()
}

/// The subscription in its next period.
fn begun(subscription: &Subscription) -> Subscription {
    let mut begun = subscription.clone();
    begun.items.retain(|item| !item.deleted);
    for item in &mut begun.items {
        let end = item.period.end + item.price.interval.seconds();
        item.period = Period { start: item.period.end, end };
    }
    begun
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stripe::catalogue::{PRO_MONTHLY, PRO_YEARLY, STORAGE_ADDON, TEAM_MONTHLY};
    use crate::stripe::{Checkout, DAY};

    fn subscribed() -> (Stripe, String, String) {
        let mut stripe = Stripe::new(1);
        let customer = stripe.sign_up("ada@example.com", "Ada", None);
        let (subscription, _) = stripe.checkout(&customer, &Checkout::of(&PRO_MONTHLY));
        stripe.advance(10 * DAY);
        (stripe, customer, subscription)
    }

    #[test]
    fn a_preview_says_what_is_billed_then() {
        let (stripe, _, subscription) = subscribed();
        let item = stripe.subscriptions[&subscription].items[0].id.clone();
        let changes: [&[ItemChange]; 4] = [
            &[ItemChange::Is(item.clone(), &TEAM_MONTHLY, 3)],
            &[ItemChange::Is(item.clone(), &PRO_YEARLY, 1)],
            &[ItemChange::New(&STORAGE_ADDON, 2)],
            &[ItemChange::New(&STORAGE_ADDON, 2), ItemChange::Gone(item)],
        ];
        for changes in changes {
            for prorated in [Prorated::Never, Prorated::WithTheNextPeriod, Prorated::AtOnce] {
                let mut then = stripe.clone();
                let [due, renewal] = then.preview_of_change(&subscription, changes, prorated, then.now);
                let first = then.latest_invoice(&subscription);
                then.change_items_by_call(&subscription, changes, prorated, then.now, true).unwrap();
                let billed_now = then.latest_invoice(&subscription) != first;
                if !billed_now && prorated != Prorated::AtOnce {
                    then.advance(20 * DAY + 3600);
                }
                let billed = &then.invoices[&then.latest_invoice(&subscription)];
                let paid = if billed.id == first { 0 } else { billed.amount_paid };
                assert_eq!(paid, due.amount_due, "{changes:?} {prorated:?}");
                // What was credited and not billed waits for the next period, so that the one after is looked at.
                let item = &then.subscriptions[&subscription].items[0];
                let (end, length) = (item.period.end, item.price.interval.seconds());
                then.advance_to(end + length + 3600);
                let later = &then.invoices[&then.latest_invoice(&subscription)];
                assert_eq!(later.amount_paid, renewal.amount_due, "{changes:?} {prorated:?}");
            }
        }
    }

    #[test]
    fn a_change_that_cannot_be_paid_is_not_made_or_is_owed() {
        for or_nothing in [true, false] {
            let (mut stripe, customer, subscription) = subscribed();
            stripe.change_card(&customer, "visa", "9995");
            let item = stripe.subscriptions[&subscription].items[0].id.clone();
            let change = [ItemChange::Is(item, &TEAM_MONTHLY, 1)];
            let changed = stripe.change_items_by_call(&subscription, &change, Prorated::AtOnce, stripe.now, or_nothing);
            let row = &stripe.subscriptions[&subscription];
            if or_nothing {
                assert_eq!(changed, Err(Unpaid::Declined("insufficient_funds")));
                assert_eq!((row.items[0].price.id, row.status), (PRO_MONTHLY.id, Status::Active));
            } else {
                assert_eq!(changed, Ok(()));
                assert_eq!((row.items[0].price.id, row.status), (TEAM_MONTHLY.id, Status::PastDue));
                assert!(stripe.owes(&subscription));
            }
        }
    }
}
