//! What a customer may use, and why: its subscriptions as far as they are known, and what it bought for good.

use std::collections::BTreeSet;

use super::heard::Heard;
use crate::stripe::catalogue::{LIFETIME, LIFETIME_PLAN, PRO_FOR_GOOD, Terms, terms_of};
use crate::stripe::model::{
    Invoice, InvoiceStatus, Item, Line, LineOrigin, Metadata, Mode, Period, Price, Status, Subscription,
};

/// What is known of a subscription.
#[derive(Clone)]
pub(super) struct Known<'a> {
    pub(super) id: &'a str,
    /// At Stripe; of one that only invoices showed, the creation of the first of them.
    pub(super) created: i64,
    pub(super) status: Status,
    pub(super) bought: Bought,
    pub(super) ended_at: Option<i64>,
    /// Whether it pays into a pod: then it gives nothing.
    pub(super) is_of_pod: bool,
    /// Its newest snapshot; none when only invoices showed it.
    pub(super) snapshot: Option<&'a Subscription>,
}

/// The item that decides, or the line of an invoice that stands for it.
#[derive(Clone, Copy)]
pub(super) struct Bought {
    pub(super) price: &'static Price,
    pub(super) quantity: i64,
    pub(super) period: Period,
    pub(super) terms: Option<Terms>,
}

impl Known<'_> {
    pub(super) fn is_entitled(&self) -> bool {
        is_entitled(self.status)
    }

    /// Whether it gives a tier now.
    pub(super) fn gives(&self) -> Option<Terms> {
        self.bought.terms.filter(|_| self.is_entitled())
    }
}

/// Whether it is by this metadata of a subscription that it pays into a pod.
pub(super) fn is_of_pod(metadata: &Metadata) -> bool {
    metadata.contains_key("pod_id")
}

pub(super) fn is_entitled(status: Status) -> bool {
    matches!(status, Status::Trialing | Status::Active | Status::PastDue)
}

/// All subscriptions of which more than the name is known.
pub(super) fn subscriptions<'a>(heard: &Heard<'a>) -> Vec<Known<'a>> {
    let snapshots = heard.subscriptions();
    let invoices = heard.invoices();
    let by_invoices = invoices.values().filter_map(|invoice| invoice.subscription.as_deref());
    let ids: BTreeSet<_> = snapshots.keys().copied().chain(by_invoices).collect();
    let known = ids.into_iter().filter_map(|id| {
        let billed: Vec<_> =
            invoices.values().copied().filter(|invoice| invoice.subscription.as_deref() == Some(id)).collect();
        let mut known = match snapshots.get(id) {
            Some(snapshot) => of_snapshot(snapshot, &billed),
            None => of_invoices(id, &billed)?,
        };
        // Stripe ends the subscriptions of a deleted customer with it, whether or not it gets to say so.
        if let Some(deleted_at) = heard.deleted_at().filter(|_| !known.status.is_final()) {
            known.status = Status::Canceled;
            known.ended_at = Some(deleted_at);
        }
        Some(known)
    });
    known.collect()
}

fn of_snapshot<'a>(snapshot: &'a Subscription, billed: &[&Invoice]) -> Known<'a> {
    let paid = billed.iter().any(|invoice| invoice.status == InvoiceStatus::Paid);
    let status = match snapshot.status {
        Status::Incomplete if paid => Status::Active,
        status => status,
    };
    let given = |item: &&Item| !item.deleted && item.quantity > 0;
    let matched = snapshot.items.iter().filter(given).find(|item| terms_of(item.price).is_some());
    let item = matched.unwrap_or(&snapshot.items[0]);
    let terms = matched.and_then(|item| terms_of(item.price));
    Known {
        id: &snapshot.id,
        created: snapshot.created,
        status,
        bought: Bought { price: item.price, quantity: item.quantity, period: item.period, terms },
        ended_at: snapshot.ended_at,
        is_of_pod: is_of_pod(&snapshot.metadata),
        snapshot: Some(snapshot),
    }
}

/// What its invoices tell of a subscription that never showed itself: nothing until one of them is paid.
fn of_invoices<'a>(id: &'a str, billed: &[&'a Invoice]) -> Option<Known<'a>> {
    let created = billed.iter().map(|invoice| invoice.created).min()?;
    let mut paid: Vec<_> = billed.iter().filter(|invoice| invoice.status == InvoiceStatus::Paid).collect();
    paid.sort_by_key(|invoice| (invoice.created, &invoice.id));
    let charges: Vec<_> = paid.iter().rev().filter_map(|invoice| charged(&invoice.lines)).collect();
    let told = charges.iter().find(|line| terms_of(line.price).is_some()).or(charges.first())?;
    let (price, quantity, period) = (told.price, told.quantity, told.period);
    let bought = Bought { price, quantity, period, terms: terms_of(price) };
    let is_of_pod = billed.iter().any(|invoice| is_of_pod(&invoice.subscription_metadata));
    Some(Known { id, created, status: Status::Active, bought, ended_at: None, is_of_pod, snapshot: None })
}

/// The line that says what an invoice charged for the subscription itself: the last, one that a plan matches first.
fn charged(lines: &[Line]) -> Option<&Line> {
    let own = lines.iter().filter(|line| line.origin != LineOrigin::OneOff && line.amount >= 0);
    own.max_by_key(|line| (terms_of(line.price).is_some(), line.period.start))
}

/// The one that counts: what gives a tier before what does not, what lives before what has ended, then the newest.
pub(super) fn current<'k, 'a>(known: &'k [Known<'a>]) -> Option<&'k Known<'a>> {
    known
        .iter()
        .filter(|one| !one.is_of_pod)
        .max_by_key(|one| (one.gives().is_some(), one.is_entitled(), !one.status.is_final(), one.created, one.id))
}

/// Something that was bought for good.
pub(super) struct Purchase {
    pub(super) created: i64,
    /// When it was undone by a refund of all of it, or by the bank.
    pub(super) undone_at: Option<i64>,
}

/// Everything that was bought for good. `asks`: whether Stripe is asked what a session sold.
pub(super) fn purchases(heard: &Heard, asks: bool) -> Vec<Purchase> {
    let undone = heard.given_back();
    let undone_at =
        |intent: Option<&String>| undone.iter().find(|back| Some(&back.charge.payment_intent) == intent)?.undone_at();
    let mut purchases = Vec::new();
    for invoice in heard.invoices().values().filter(|invoice| invoice.status == InvoiceStatus::Paid) {
        if invoice.lines.iter().any(|line| line.price.id == PRO_FOR_GOOD.id && line.amount >= 0) {
            let undone_at = undone_at(invoice.payment_intent.as_ref());
            purchases.push(Purchase { created: invoice.created, undone_at });
        }
    }
    for session in heard.sessions().values().filter(|session| session.mode == Mode::Payment) {
        let named = session.metadata.get("plan_id").is_some_and(|plan| plan == LIFETIME_PLAN);
        let sold = asks && session.prices.iter().any(|price| price.id == PRO_FOR_GOOD.id);
        if (named || sold) && heard.paid_at(session).is_some() {
            let undone_at = undone_at(session.payment_intent.as_ref());
            purchases.push(Purchase { created: session.created, undone_at });
        }
    }
    purchases.sort_by_key(|purchase| purchase.created);
    purchases
}

/// A licence, as far as it follows from what is known.
pub(super) struct License {
    pub(super) status: &'static str,
    /// `None`: whatever.
    pub(super) tier: Option<&'static str>,
    /// `None`: whatever.
    pub(super) machines: Option<i64>,
    /// The outer `None`: whatever.
    #[expect(clippy::option_option, reason = "whatever, none, or a time")]
    pub(super) expires_at: Option<Option<i64>>,
}

/// The licence of a customer that has one.
pub(super) fn license(current: Option<&Known>, purchases: &[Purchase], default_tier: &'static str) -> License {
    let of = |bought: &Bought| {
        let machines = |terms: Terms| terms.machines * if terms.per_quantity { bought.quantity } else { 1 };
        (bought.terms.map_or(default_tier, |terms| terms.tier), bought.terms.map_or(1, machines))
    };
    let stands = purchases.iter().any(|purchase| purchase.undone_at.is_none());
    match current {
        Some(known) if known.gives().is_none() && stands => lifetime(),
        None if stands => lifetime(),
        Some(known) => {
            let (tier, machines) = of(&known.bought);
            let over = known.status.is_final();
            let status = if known.is_entitled() {
                "active"
            } else if over {
                "expired"
            } else {
                "suspended"
            };
            // Which of two ends counts is nobody's concern.
            let known_end = purchases.is_empty() || !over;
            License {
                status,
                tier: known_end.then_some(tier),
                machines: known_end.then_some(machines),
                expires_at: known_end.then_some(known.ended_at.filter(|_| over)),
            }
        }
        None => {
            let undone_at = purchases.iter().filter_map(|purchase| purchase.undone_at).max();
            License { status: "expired", tier: None, machines: None, expires_at: Some(undone_at) }
        }
    }
}

fn lifetime() -> License {
    License { status: "active", tier: Some(LIFETIME.tier), machines: Some(LIFETIME.machines), expires_at: Some(None) }
}
