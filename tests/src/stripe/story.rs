//! Lives of customers: one told by hand, and as many as one likes made up from a seed.

use std::env;
use std::ops::Range;

use tollgate_shared::Rng;

use super::catalogue::{
    API_CALLS, ENTERPRISE_MONTHLY, LIFETIME_PLAN, ON_SALE, ONBOARDING, PRO_FOR_GOOD, PRO_MONTHLY, PRO_YEARLY,
    STORAGE_ADDON, TEAM_MONTHLY, TEAM_MONTHLY_RAISED,
};
use super::model::{InvoiceStatus, Metadata, Object, Price, Status};
use super::verbs::{Billed, Checkout, GiveUp, OneOff, Paying};
use super::{DAY, Stripe};

/// The prices on sale that a plan knows by id or product.
static KNOWN_BY_ID: [&Price; 3] = [&PRO_MONTHLY, &PRO_YEARLY, &ENTERPRISE_MONTHLY];

/// The story of 25 events (as an endpoint of 2024-06-20 gets it): someone tries, by the name of a user, cannot pay when the
/// trial is over, wants to leave, stays, and is called otherwise now. Returns the customer.
pub fn twenty_five_events(stripe: &mut Stripe) -> String {
    let customer = stripe.sign_up("ada@example.com", "Ada Byron", None);
    stripe.pass(30);
    let order = Checkout { trial_days: Some(14), ..Checkout::of(&PRO_MONTHLY).by("user_ada") };
    let (subscription, _) = stripe.checkout(&customer, &order);
    stripe.pass(11 * DAY).trial_will_end(&subscription);
    stripe.begin_unpaid_period(&subscription);
    stripe.schedule_cancel(&subscription);
    stripe.pass(DAY).undo_cancel(&subscription);
    stripe.rename(&customer, "ada@example.org", "Ada Lovelace");
    customer
}

/// The seeds of what is made up: so many from `first` on. `TOLLGATE_SEED` is another first one, `TOLLGATE_STORIES` another
/// number of them.
pub fn seeds(first: u64, count: u64) -> Range<u64> {
    let number = |name: &str| env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let first = number("TOLLGATE_SEED").unwrap_or(first);
    first..first + number("TOLLGATE_STORIES").unwrap_or(count)
}

/// How close together things happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Often several within one second.
    Overlapping,
    /// Never two within one second: what an endpoint needs that is not told what each change was before.
    Apart,
}

/// A life made up from `seed`: about `verbs` things happen to one customer. Returns the customer.
///
/// Only what the events alone cannot tell is avoided: that an object is, at the end of a second, what it was at its
/// beginning, with something else in between.
pub fn generated(stripe: &mut Stripe, seed: u64, verbs: usize, pace: Pace) -> String {
    let rng = Rng::seeded(seed);
    let user = rng.unit() < 0.5;
    let customer = stripe.sign_up(&format!("{seed}@example.com"), "Ada", user.then_some("user_of_customer"));
    walk(stripe, rng, customer, verbs, pace, None)
}

/// The same of a user who is also a member of a pod, and what happens to a subscription of savings happens to that one's.
pub fn generated_saving(stripe: &mut Stripe, seed: u64, verbs: usize, user: &str, savings: Savings) -> String {
    let customer = stripe.sign_up(&format!("{seed}@example.com"), "Ada", Some(user));
    walk(stripe, Rng::seeded(seed), customer, verbs, Pace::Overlapping, Some(savings))
}

/// What a member's subscription of a pod is made with.
#[derive(Clone, Debug)]
pub struct Savings {
    /// The pod's.
    pub price: &'static Price,
    /// It names pod and membership.
    pub metadata: Metadata,
}

fn walk(stripe: &mut Stripe, rng: Rng, customer: String, verbs: usize, pace: Pace, savings: Option<Savings>) -> String {
    let between = i64::from(pace == Pace::Apart);
    // An invoice of today names a price by its id alone: an endpoint that gets no snapshots cannot know a lookup key.
    let on_sale: &[&Price] = if pace == Pace::Apart { &KNOWN_BY_ID } else { &ON_SALE };
    let on_sale = on_sale.to_vec();
    let mut walk = Walk { rng, customer, on_sale, cards: 0, between, bought_for_good: false, savings };
    let joins_at = walk.savings.is_some().then(|| walk.below(verbs / 2));
    for verb in 0..verbs {
        if pace == Pace::Apart || walk.chance(0.6) {
            stripe.pass(1 + walk.below(3 * DAY as usize) as i64);
        }
        if joins_at == Some(verb) {
            walk.joins(stripe);
        }
        let mut next = stripe.clone();
        walk.step(&mut next);
        if comes_back_within_a_second(stripe, &next) {
            // The same draw again would not come: what was decided stands, a second later.
            stripe.pass(1);
            continue;
        }
        *stripe = next;
        if stripe.customers[&walk.customer].deleted {
            break;
        }
    }
    walk.customer
}

/// Whether something that changed in this second is now what it was before it.
fn comes_back_within_a_second(before: &Stripe, after: &Stripe) -> bool {
    let same_second = |occurrence: &&super::Occurrence| occurrence.created == after.now;
    if before.now != after.now {
        return false;
    }
    let news = &after.occurrences[before.occurrences.len()..];
    news.iter().any(|occurrence| {
        let this_second: Vec<_> = after
            .occurrences
            .iter()
            .rev()
            .take_while(same_second)
            .filter(|other| other.after.id() == occurrence.after.id())
            .collect();
        let Some(first) = this_second.last() else { return false };
        let states = this_second.iter().filter(|other| other.event_type.ends_with(".updated")).count();
        states > 1 && first.before.as_ref().is_some_and(|start| essence(start) == essence(&occurrence.after))
    })
}

/// What of an object decides anything: two states that differ only elsewhere count as the same.
fn essence(object: &Object) -> Object {
    let mut object = object.clone();
    match &mut object {
        Object::Subscription(subscription) => {
            subscription.latest_invoice = None;
            subscription.canceled_at = None;
        }
        Object::Customer(customer) => customer.currency = None,
        _ => {}
    }
    object
}

struct Walk {
    rng: Rng,
    customer: String,
    on_sale: Vec<&'static Price>,
    cards: usize,
    /// Seconds between two things that happen in one go.
    between: i64,
    bought_for_good: bool,
    savings: Option<Savings>,
}

impl Walk {
    fn chance(&self, probability: f64) -> bool {
        self.rng.unit() < probability
    }

    fn below(&self, bound: usize) -> usize {
        (self.rng.unit() * bound as f64) as usize
    }

    fn one_of<T: Clone>(&self, choices: &[T]) -> T {
        choices[self.below(choices.len())].clone()
    }

    /// One thing that can happen now.
    fn step(&mut self, stripe: &mut Stripe) {
        let customer = self.customer.clone();
        let running = stripe.running_subscriptions(&customer);
        match running.iter().find(|id| !self.saves_by(stripe, id)) {
            None if !running.is_empty() && self.chance(0.5) => self.happens(stripe, &running[0]),
            None if self.chance(0.3) => self.aside(stripe),
            None => self.begin(stripe),
            Some(_) if self.chance(0.1) => self.begin(stripe),
            Some(_) if self.chance(0.3) => self.aside(stripe),
            Some(_) => {
                let subscription = self.one_of(&running);
                self.happens(stripe, &subscription);
            }
        }
    }

    /// Whether this is the subscription of the pod that it is a member of.
    fn saves_by(&self, stripe: &Stripe, subscription: &str) -> bool {
        let metadata = &stripe.subscriptions[subscription].metadata;
        self.savings.as_ref().is_some_and(|savings| *metadata == savings.metadata)
    }

    /// Joins the pod.
    fn joins(&mut self, stripe: &mut Stripe) {
        let Some(Savings { price, metadata }) = self.savings.clone() else { return };
        stripe.pass(1).subscribe(&self.customer, &[price], 1, metadata, None);
    }

    /// A subscription starts, or nearly.
    fn begin(&mut self, stripe: &mut Stripe) {
        // The newest subscription counts, so no two are made in one second.
        stripe.pass(1);
        let customer = self.customer.clone();
        let user = self.chance(0.4).then(|| "user_by_reference".to_owned());
        let mut prices = vec![self.one_of(&self.on_sale)];
        if self.chance(0.15) {
            prices.insert(self.below(2), self.one_of(&[&STORAGE_ADDON, &API_CALLS]));
        } else if self.chance(0.1) {
            // A subscription of something else that the merchant sells.
            prices = vec![&STORAGE_ADDON];
        }
        let order = Checkout {
            prices,
            quantity: 1 + self.below(3) as i64,
            client_reference_id: user,
            session_user: self.chance(0.3).then(|| "user_of_session".to_owned()),
            subscription_user: self.chance(0.3).then(|| "user_of_subscription".to_owned()),
            trial_days: self.chance(0.3).then_some(14),
            fee: self.chance(0.15).then_some(&ONBOARDING),
            card_is_the_subscriptions: self.chance(0.5),
        };
        match self.below(7) {
            // Savings, and at a plan's price: they give nothing all the same.
            6 => {
                let metadata = Metadata::from([("pod_id".to_owned(), "pod_of_friends".to_owned())]);
                stripe.subscribe(&customer, &order.prices, order.quantity, metadata, None);
            }
            0 => {
                stripe.abandon_session(&customer, Some("user_who_left"));
            }
            1 => {
                let metadata = Metadata::new();
                stripe.subscribe(&customer, &order.prices, order.quantity, metadata, None);
            }
            _ => {
                stripe.checkout(&customer, &order);
            }
        }
    }

    /// Something that is no subscription's.
    fn aside(&mut self, stripe: &mut Stripe) {
        let customer = self.customer.clone();
        self.cards += 1;
        let digits = format!("{:04}", 1000 + self.cards);
        match self.below(20) {
            0 | 1 => drop(stripe.change_card(&customer, self.one_of(&["visa", "mastercard", "amex"]), &digits)),
            2 => stripe.detach_card(&customer),
            3 | 4 => {
                if let Some(card) = stripe.customers[&customer].default_payment_method.clone() {
                    // A card's changes name nothing that was before: no two of them are in one second.
                    if self.chance(0.5) {
                        stripe.reissue_card(&card, &digits);
                    } else {
                        stripe.replace_card_by_its_network(&card, &digits);
                    }
                    stripe.pass(1);
                }
            }
            5 | 6 => stripe.rename(&customer, &format!("{digits}@example.com"), &format!("Ada {digits}")),
            7 if stripe.customers[&customer].default_source.is_none() => {
                stripe.add_source(&customer, "visa", &digits);
            }
            8 => {
                // Whoever hears only of invoices takes one that has not begun for begun, once anything of it is paid.
                let has_begun =
                    |id: &String| stripe.subscriptions[id].status != Status::Incomplete && !self.saves_by(stripe, id);
                let subscription = stripe.running_subscriptions(&customer).into_iter().find(has_begun);
                stripe.bill_by_hand(&customer, subscription.as_deref(), &ONBOARDING);
            }
            9..=13 => self.buys_once(stripe),
            14 | 15 => self.gets_back(stripe),
            16 | 17 => self.old_debt(stripe),
            18 => self.price_is_raised(stripe),
            // Who bought something for good stays: what is left of it without a customer is nobody's question.
            19 if self.chance(0.3) && !self.bought_for_good => stripe.delete_customer(&customer),
            _ => {}
        }
    }

    /// The price of Team is raised, if it was ever seen with the lookup key that is moved.
    fn price_is_raised(&mut self, stripe: &mut Stripe) {
        let shows_team = |object: &Object| match object {
            Object::Subscription(subscription) => {
                subscription.items.iter().any(|item| item.price.id == TEAM_MONTHLY.id && item.lookup_key.is_some())
            }
            _ => false,
        };
        if stripe.occurrences.iter().any(|occurrence| shows_team(&occurrence.after)) {
            stripe.move_lookup_key("team_monthly", &TEAM_MONTHLY_RAISED);
            self.on_sale = [&ON_SALE[..], &[&TEAM_MONTHLY_RAISED]].concat();
        }
    }

    fn buys_once(&mut self, stripe: &mut Stripe) {
        let customer = self.customer.clone();
        let mut order = OneOff::of(1500, self.one_of(&["usd", "eur"]));
        match self.below(8) {
            0 => drop(stripe.buy_once(&customer, &order)),
            1 => drop(stripe.buy_once(&customer, &OneOff { paying: Paying::Free, ..order })),
            2 => drop(stripe.buy_once(&customer, &OneOff { paying: Paying::Captured(700), ..order })),
            3 => {
                order = OneOff { paying: Paying::Invoiced, ..OneOff::priced(&ONBOARDING) };
                stripe.buy_once(&customer, &order);
            }
            4 => {
                self.bought_for_good = true;
                order = OneOff { paying: Paying::Invoiced, ..OneOff::priced(&PRO_FOR_GOOD) };
                stripe.pass(1).buy_once(&customer, &order);
            }
            5 => {
                self.bought_for_good = true;
                order = OneOff { plan_id: Some(LIFETIME_PLAN), ..OneOff::priced(&PRO_FOR_GOOD) };
                stripe.pass(1).buy_once(&customer, &order);
            }
            _ => {
                let session = stripe.pay_once_later(&customer, 2500, "eur");
                stripe.pass(2 * DAY);
                if self.chance(0.5) {
                    stripe.async_payment_succeeds(&session);
                } else {
                    stripe.async_payment_fails(&session);
                }
            }
        }
    }

    /// Some payment goes back, or part of it, or it does not after all.
    fn gets_back(&mut self, stripe: &mut Stripe) {
        let theirs = stripe.payment_intents.values().filter(|intent| intent.customer == self.customer);
        let paid: Vec<_> = theirs.map(|intent| intent.id.clone()).filter(|id| stripe.refundable(id) > 1).collect();
        if paid.is_empty() {
            return;
        }
        let intent = self.one_of(&paid);
        match self.below(5) {
            0 => drop(stripe.refund(&intent, stripe.refundable(&intent) / 2)),
            1 => stripe.lose_dispute(&intent),
            2 => {
                let refund = stripe.refund_in_full(&intent);
                stripe.pass(DAY).refund_fails(&refund);
            }
            _ => drop(stripe.refund_in_full(&intent)),
        }
    }

    /// What is owed for a subscription that has ended.
    fn old_debt(&mut self, stripe: &mut Stripe) {
        let over = |id: &Option<String>| id.as_ref().is_some_and(|id| stripe.subscriptions[id].status.is_final());
        let owed = stripe.invoices.values().find(|invoice| {
            invoice.customer == self.customer && invoice.status == InvoiceStatus::Open && over(&invoice.subscription)
        });
        let Some(id) = owed.map(|invoice| invoice.id.clone()) else { return };
        match self.below(3) {
            0 => stripe.void(&id),
            1 => stripe.mark_uncollectible(&id),
            _ => {
                stripe.mark_uncollectible(&id);
                stripe.pass(DAY).pay(&id);
            }
        }
    }

    /// Something happens to a subscription, as its status allows.
    fn happens(&mut self, stripe: &mut Stripe, subscription: &str) {
        let truth = &stripe.subscriptions[subscription];
        let is_over = truth.items[0].period.end <= stripe.now;
        if is_over && matches!(truth.status, Status::Trialing | Status::Active) {
            // Time has passed for another subscription. Stripe begins the next period before anything else can happen.
            return stripe.renew(subscription);
        }
        match stripe.subscriptions[subscription].status {
            Status::Incomplete => match self.below(4) {
                0 => {
                    let invoice = stripe.latest_invoice(subscription);
                    stripe.payment_fails(&invoice, None);
                }
                1 => {
                    let invoice = stripe.latest_invoice(subscription);
                    stripe.payment_requires_action(&invoice);
                }
                2 => stripe.pass(DAY).first_payment_expires(subscription),
                _ => stripe.first_payment_succeeds(subscription),
            },
            Status::Trialing => match self.below(7) {
                0 => stripe.trial_will_end(subscription),
                1 => stripe.schedule_cancel(subscription),
                2 => stripe.cancel(subscription),
                3 => stripe.change_quantity(subscription, 1 + self.below(4) as i64),
                4 => stripe.begin_unpaid_period(subscription),
                5 => stripe.end_trial_by_switch(subscription, self.one_of(&self.on_sale)),
                _ => stripe.renew(subscription),
            },
            Status::Active if self.saves_by(stripe, subscription) => self.happens_to_savings(stripe, subscription),
            Status::Active => self.happens_to_an_active_one(stripe, subscription),
            Status::PastDue => match self.below(5) {
                0 => stripe.pass(3 * DAY).fail_again(subscription),
                1 => {
                    let how = self.one_of(&[GiveUp::Cancel, GiveUp::Unpaid, GiveUp::Pause]);
                    stripe.pass(5 * DAY).give_up(subscription, how);
                }
                _ => stripe.recover(subscription),
            },
            Status::Unpaid if self.chance(0.5) => stripe.recover(subscription),
            Status::Paused if self.chance(0.7) => stripe.resume(subscription),
            Status::Unpaid | Status::Paused => stripe.cancel(subscription),
            Status::IncompleteExpired | Status::Canceled => {}
        }
    }

    /// What a pod's subscription is for stays as it is.
    fn happens_to_savings(&mut self, stripe: &mut Stripe, subscription: &str) {
        let leaving = stripe.subscriptions[subscription].cancel_at.is_some();
        match self.below(10) {
            0..3 => stripe.begin_unpaid_period(subscription),
            3 if leaving => stripe.undo_cancel(subscription),
            3 => stripe.schedule_cancel(subscription),
            4 if self.chance(0.3) => stripe.cancel(subscription),
            5 => self.gets_back(stripe),
            _ => stripe.renew(subscription),
        }
    }

    fn happens_to_an_active_one(&mut self, stripe: &mut Stripe, subscription: &str) {
        let truth = &stripe.subscriptions[subscription];
        let (leaving, held) = (truth.cancel_at.is_some(), truth.pause_collection.is_some());
        let items = truth.items.len();
        if truth.items.iter().any(|item| item.deleted) {
            return stripe.renew(subscription);
        }
        let uses = truth.items.iter().any(|item| item.price.id == API_CALLS.id);
        let sells = truth.items[0].price.product != STORAGE_ADDON.product;
        let waits = stripe.pending_lines.get(subscription).is_some_and(|lines| !lines.is_empty());
        match self.below(20) {
            3 | 4 => stripe.begin_unpaid_period(subscription),
            5 if sells => stripe.upgrade(subscription, self.one_of(&self.on_sale)),
            6 => stripe.change_quantity(subscription, 1 + self.below(5) as i64),
            7 if leaving => stripe.undo_cancel(subscription),
            7 if self.chance(0.5) => stripe.schedule_cancel(subscription),
            7 => stripe.schedule_cancel_at(subscription),
            8 if held => stripe.resume_collection(subscription),
            8 => stripe.pause_collection(subscription),
            9 => stripe.pause(subscription),
            10 => {
                let end = stripe.subscriptions[subscription].items[0].period.end;
                stripe.now = stripe.now.max(end);
                stripe.cancel(subscription);
            }
            11 if items < 3 => stripe.add_item(subscription, &STORAGE_ADDON),
            12 if sells => {
                let price = self.on_sale[self.on_sale.len() - 1];
                // There and on, within one second where the pace has such.
                stripe.upgrade(subscription, price);
                stripe.pass(self.between).change_quantity(subscription, 7);
                stripe.pass(self.between).schedule_cancel(subscription);
            }
            13 if items < 3 => stripe.add_item_now(subscription, &STORAGE_ADDON),
            14 if uses => stripe.bill_usage(subscription, &API_CALLS, 2500),
            15 if sells => stripe.switch(subscription, self.one_of(&self.on_sale), Billed::Later),
            16 if sells => stripe.switch(subscription, self.one_of(&self.on_sale), Billed::Now),
            17 if waits => stripe.bill_what_waits(subscription),
            18 if sells => stripe.replace_first_item(subscription, self.one_of(&self.on_sale)),
            19 if self.chance(0.3) => stripe.change_quantity(subscription, 0),
            _ => stripe.renew(subscription),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stripe::ApiVersion;

    #[test]
    fn the_story_of_twenty_five_events_has_twenty_five() {
        let mut stripe = Stripe::new(1);
        twenty_five_events(&mut stripe);
        let event_types: Vec<_> = stripe.occurrences.iter().map(|occurrence| occurrence.event_type).collect();
        assert_eq!(stripe.events(ApiVersion::V2024_06_20).len(), 25, "{event_types:#?}");
    }

    #[test]
    fn a_seed_tells_the_same_story_again() {
        let told = || {
            let mut stripe = Stripe::new(9);
            generated(&mut stripe, 5, 30, Pace::Overlapping);
            stripe.events(ApiVersion::Endive).into_iter().map(|event| event.body).collect::<Vec<_>>()
        };
        assert_eq!(told(), told());
    }

    #[test]
    fn many_stories_can_be_told_and_visit_every_status() {
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..200 {
            let mut stripe = Stripe::new(seed);
            generated(&mut stripe, seed, 25, Pace::Overlapping);
            for occurrence in &stripe.occurrences {
                if let Object::Subscription(subscription) = &occurrence.after {
                    seen.insert(subscription.status.text());
                }
            }
        }
        assert_eq!(seen.len(), 8, "{seen:?}");
    }
}
