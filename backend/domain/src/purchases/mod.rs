//! What was bought for good: a plan with `interval = "once"`, paid for by an invoice or by a Checkout session.
//!
//! A row begins with the paid invoice's lines, or with the session, whichever is seen first; a session that made an
//! invoice is a part of the invoice's row. Whether it is paid is in `payments`, whether it was given back in
//! [`charges`], and which plan it is follows from the file of plans, so that none of them can drift from it.
//!
//! What a session sold its events do not say. Where no invoice and no metadata does, Stripe is asked for its items: when, is in
//! the row ([`Unread`]), so that whoever dies over that is succeeded.

mod store;

use std::collections::BTreeSet;

use chrono::Duration;
use serde::{Deserialize, Serialize};
use tollgate_db::{DbError, Json, Lock, Tx, UnitOfWork, record};
use tollgate_shared::Timestamp;
use tollgate_stripe::{self as stripe, Line, PriceRef};

use crate::charges::{self, Charge};
use crate::payments::Payment;
use crate::plans::prices::{self, KnownPrice};
use crate::plans::{Plan, Plans, Sale};

record! {
    /// A row of `purchases`.
    pub struct Purchase in "purchases" {
        /// `in_…`, or `cs_…` of a session that made no invoice.
        pub id: String,
        /// Whose it is.
        pub customer_id: String,
        /// `cs_…`, where a session led to it.
        pub session_id: Option<String>,
        /// What was paid for.
        pub items: Json<Vec<Item>>,
        /// The plan that the session's metadata names.
        pub named_plan_id: Option<String>,
        /// Whether it is about real money.
        pub livemode: Option<bool>,
        /// When we first heard of it.
        pub first_seen_at: Timestamp,
        /// When Stripe is to be asked next for what was paid for; none where that is known, or cannot be.
        pub items_due_at: Option<Timestamp>,
    }
}

/// How long the invoice of a session is waited for, which says more than the session does.
const INVOICE_AWAITED: Duration = Duration::minutes(1);

/// How long whoever asks Stripe may take before it is asked again, and how soon after a failure.
const ASKED_FOR: Duration = Duration::minutes(1);

/// A purchase of which Stripe has to say what was paid for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    /// The row.
    pub id: String,
    /// `cs_…`
    pub session_id: String,
    /// Whose it is.
    pub customer_id: String,
    /// The connected account that it is in; none for our own.
    pub account: Option<String>,
}

/// One thing of a purchase.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Item {
    /// What was paid for it.
    pub price: PriceRef,
    /// How many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantity: Option<i64>,
}

/// What a customer has bought for good.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bought<'p> {
    /// The plan.
    pub plan: &'p Plan,
    /// How many of it.
    pub quantity: Option<i64>,
    /// When it was given back whole, or a dispute of it was lost.
    pub ended_at: Option<Timestamp>,
    /// Whether it is about real money.
    pub livemode: Option<bool>,
}

/// Takes in what a paid invoice sold once: what its lines charge for that is no subscription's. Gives who bought it.
pub fn apply_invoice<'i>(
    work: &mut UnitOfWork,
    livemode: Option<bool>,
    invoice: &'i stripe::Invoice,
) -> Option<&'i str> {
    let customer = invoice.customer.as_deref().filter(|_| invoice.status == "paid")?;
    let items: Vec<_> =
        sold_once(invoice).map(|line| Item { price: line.price.clone(), quantity: line.quantity }).collect();
    if items.is_empty() {
        return None;
    }
    let mut row = Purchase::of(work, &invoice.id, customer, livemode);
    (row.items, row.items_due_at) = (Json(items), None);
    work.insert(row);
    Some(customer)
}

/// The lines that sell something once: no subscription's, and no credit.
fn sold_once(invoice: &stripe::Invoice) -> impl Iterator<Item = &Line> {
    invoice.lines.iter().filter(|line| !line.of_subscription_item && !line.proration && line.amount >= 0)
}

/// Whether an invoice has sold anything once.
pub fn has_sold(invoice: &stripe::Invoice) -> bool {
    invoice.status == "paid" && sold_once(invoice).next().is_some()
}

/// Takes in a one-off session that was gone through. Gives who bought by it.
pub fn apply_session<'s>(
    work: &mut UnitOfWork,
    plans: &Plans,
    livemode: Option<bool>,
    session: &'s stripe::CheckoutSession,
) -> Option<&'s str> {
    let customer = session.customer.as_deref().filter(|_| session.mode.as_deref() == Some("payment"))?;
    let mut row = Purchase::of(work, id_of_session(session), customer, livemode);
    row.session_id = Some(session.id.clone());
    row.named_plan_id.clone_from(&session.plan_id);
    let is_known = !row.items.is_empty() || row.named_plan(plans).is_some();
    let awaited = if session.invoice.is_some() { INVOICE_AWAITED } else { Duration::zero() };
    row.items_due_at = (plans.sell_for_good() && !is_known).then(|| row.first_seen_at + awaited);
    work.insert(row);
    Some(customer)
}

/// The purchases of which Stripe is to be asked at `now`, `limit` at most.
pub async fn due(tx: &mut Tx, now: Timestamp, limit: i64) -> Result<Vec<Unread>, DbError> {
    store::due(tx, now, limit).await
}

/// The purchases of one customer of which Stripe has still to say what was paid for.
pub async fn wanted_of(tx: &mut Tx, customer_id: &str) -> Result<Vec<Unread>, DbError> {
    store::wanted_of(tx, customer_id).await
}

/// Takes a purchase up, of which Stripe is then asked, and by nobody else for a while. Whether that is still to be done, now or
/// `at_once`.
pub fn take_up(work: &mut UnitOfWork, id: &str, at_once: bool) -> bool {
    let now = work.now();
    let wanted = work.get_cloned(id).filter(|row: &Purchase| row.items_due_at.is_some_and(|at| at_once || at <= now));
    let Some(mut row) = wanted else { return false };
    row.items_due_at = Some(now + ASKED_FOR);
    work.insert(row);
    true
}

/// Notes what was paid for, as Stripe lists it; nothing, where it cannot say.
pub fn learn_items(work: &mut UnitOfWork, id: &str, items: Vec<Item>) {
    let Some(mut row) = work.get_cloned::<Purchase>(id) else { return };
    if row.items.is_empty() {
        row.items = Json(items);
    }
    row.items_due_at = None;
    work.insert(row);
}

/// The row that a session is a part of.
pub fn id_of_session(session: &stripe::CheckoutSession) -> &str {
    session.invoice.as_deref().unwrap_or(&session.id)
}

/// The customers of what was paid or given back, as far as only our rows know them: who may have bought it for good.
pub async fn customers_of(
    tx: &mut Tx,
    plans: &Plans,
    charges: &BTreeSet<String>,
    paid_invoices: &BTreeSet<String>,
) -> Result<BTreeSet<String>, DbError> {
    if !plans.sell_for_good() {
        return Ok(BTreeSet::new());
    }
    let charges: Vec<Charge> = tx.load("id", charges, Lock::None).await?;
    let payees = charges.iter().filter_map(|charge| charge.belongs_to.clone()).chain(paid_invoices.iter().cloned());
    let purchases: Vec<Purchase> = tx.load("id", &payees.collect(), Lock::None).await?;
    let payers = charges.into_iter().filter_map(|charge| charge.customer_id);
    Ok(payers.chain(purchases.into_iter().map(|purchase| purchase.customer_id)).collect())
}

/// Loads the purchases of `buyers`; where anything is sold for good, with what was paid for them and given back of them.
pub async fn load(tx: &mut Tx, work: &mut UnitOfWork, plans: &Plans, buyers: &BTreeSet<String>) -> Result<(), DbError> {
    let purchases: Vec<Purchase> = tx.load("customer_id", buyers, Lock::None).await?;
    if plans.sell_for_good() {
        let names = |purchase: &Purchase| purchase.session_id.iter().chain([&purchase.id]).cloned().collect::<Vec<_>>();
        let payees: BTreeSet<_> = purchases.iter().flat_map(names).collect();
        let missing = |id: &&String| work.get::<Payment>(id).is_none();
        let payments = payees.iter().filter(missing).cloned().collect();
        work.add_loaded::<Payment>(tx.load("id", &payments, Lock::None).await?);
        let mut charges: Vec<Charge> = tx.load("belongs_to", &payees, Lock::None).await?;
        // Those that are here were taken for writing.
        charges.retain(|charge| work.get::<Charge>(&charge.id).is_none());
        work.add_loaded(charges);
        let shown = purchases.iter().flat_map(|purchase| &*purchase.items).filter_map(|item| item.price.id.as_ref());
        let mut prices = prices::to_look_up(plans, shown);
        prices.retain(|id| work.get::<KnownPrice>(id).is_none());
        work.add_seldom_changed::<KnownPrice>(tx.load("id", &prices, Lock::None).await?);
    }
    work.add_seldom_changed(purchases);
    Ok(())
}

/// What the customer has bought for good: the newest that was not given back, else the newest.
pub fn of_customer<'p>(work: &UnitOfWork, plans: &'p Plans, customer_id: &str) -> Option<Bought<'p>> {
    let bought = paid(work, plans, customer_id);
    let newest = bought.max_by_key(|(purchase, at, bought)| (bought.ended_at.is_none(), *at, &purchase.id));
    newest.map(|(_, _, bought)| bought)
}

/// The plans that the customer has bought for good and not been given the money back for.
pub fn plans_of<'w, 'p>(
    work: &'w UnitOfWork,
    plans: &'p Plans,
    customer_id: &'w str,
) -> impl Iterator<Item = &'p Plan> + use<'w, 'p> {
    let kept = paid(work, plans, customer_id).filter(|(_, _, bought)| bought.ended_at.is_none());
    kept.map(|(_, _, bought)| bought.plan)
}

/// Each purchase of a plan that the customer has paid for, and when that was.
fn paid<'w, 'p>(
    work: &'w UnitOfWork,
    plans: &'p Plans,
    customer_id: &'w str,
) -> impl Iterator<Item = (&'w Purchase, Option<Timestamp>, Bought<'p>)> + use<'w, 'p> {
    let of_customer = work.all().filter(move |purchase: &&Purchase| purchase.customer_id == customer_id);
    of_customer.filter(move |_| plans.sell_for_good()).filter_map(move |purchase| {
        let payment = purchase.payment(work)?;
        let (plan, quantity) = purchase.plan(work, plans)?;
        let ended_at = purchase.ended_at(work, payment.amount);
        Some((purchase, payment.paid_at, Bought { plan, quantity, ended_at, livemode: purchase.livemode }))
    })
}

impl Purchase {
    fn of(work: &UnitOfWork, id: &str, customer_id: &str, livemode: Option<bool>) -> Self {
        let row = work.get_cloned(id).unwrap_or_else(|| Self {
            id: id.to_owned(),
            customer_id: customer_id.to_owned(),
            session_id: None,
            items: Json(Vec::new()),
            named_plan_id: None,
            livemode: None,
            first_seen_at: work.now(),
            items_due_at: None,
        });
        Self { livemode: row.livemode.or(livemode), ..row }
    }

    /// The payment of it that succeeded.
    fn payment<'w>(&self, work: &'w UnitOfWork) -> Option<&'w Payment> {
        let payments = [Some(&self.id), self.session_id.as_ref()].into_iter().flatten();
        payments.filter_map(|id| work.get(id)).find(|payment: &&Payment| payment.status.as_deref() == Some("succeeded"))
    }

    /// The plan, with how many of it.
    fn plan<'p>(&self, work: &UnitOfWork, plans: &'p Plans) -> Option<(&'p Plan, Option<i64>)> {
        let plan_of = |item: &Item| Some((prices::plan_of(work, plans, &item.price, Sale::ForGood)?, item.quantity));
        let by_items = self.items.iter().find_map(plan_of);
        by_items.or_else(|| Some((self.named_plan(plans)?, None)))
    }

    fn named_plan<'p>(&self, plans: &'p Plans) -> Option<&'p Plan> {
        plans.by_id(self.named_plan_id.as_deref()?).filter(|plan| plan.sale() == Sale::ForGood)
    }

    /// When it ended: with a dispute that was lost, or when all of `paid` was given back.
    fn ended_at(&self, work: &UnitOfWork, paid: i64) -> Option<Timestamp> {
        let session = self.session_id.iter().filter(|session| **session != self.id);
        let by_session = session.flat_map(|session| charges::of_payee(work, session));
        let charges: Vec<_> = charges::of_payee(work, &self.id).chain(by_session).collect();
        let refunded = charges.iter().fold(0_i64, |sum, charge| sum.saturating_add(charge.refunded));
        let refunded_at = charges.iter().filter_map(|charge| charge.refunded_at).max();
        let lost_at = charges.iter().filter_map(|charge| charge.lost_at).min();
        lost_at.or(refunded_at.filter(|_| paid > 0 && refunded >= paid))
    }
}
