//! A stateful Stripe at the process edge: it holds the true state of a merchant's customers, changes it by the verbs of a
//! merchant's life, and says so in events as the real one would.
//!
//! - [`model`]: the objects, once, without any API version.
//! - [`verbs`]: what happens to them. Each verb changes the truth and records an [`Occurrence`] per event of the real one.
//! - [`shape`]: an object or an event as JSON in one of four API versions.
//! - [`oracle`]: what our own `GET /v1/customers/{id}` has to return, computed from what happened here alone.
//! - [`rest`]: its API, as far as we call it.
//! - [`story`]: lives made up from a seed. [`delivery`]: the faults of the way from Stripe to us.
//!
//! Time stands still unless [`Stripe::pass`] moves it, or [`Stripe::advance`], by which Stripe also does what is due
//! meanwhile: verbs without them in between share one second, as they do in life. Ids are random, so that their order says nothing.

use std::collections::{BTreeMap, BTreeSet};

use tollgate_shared::Rng;

pub mod catalogue;
pub mod delivery;
pub mod model;
pub mod oracle;
pub mod rest;
pub mod shape;
pub mod story;
pub mod verbs;

pub use model::Object;
pub use shape::{ApiVersion, Event};
pub use verbs::{Attempt, Billed, Buyer, Checkout, GiveUp, NewCard, OneOff, Paying, Unpaid};

use model::{
    Charge, CheckoutSession, Coupon, Customer, Dispute, Invoice, InvoicePayment, Line, PaymentIntent, PaymentMethod,
    PortalSession, Price, Refund, Subscription,
};

/// When every Stripe here begins: 2026-01-05 09:00:00 UTC.
pub const BEGINNING: i64 = 1_767_603_600;

/// A day, in seconds.
pub const DAY: i64 = 86_400;

/// One merchant's account: everything in it, and everything that ever happened in it.
#[derive(Clone, Debug)]
pub struct Stripe {
    /// Unix seconds.
    pub now: i64,
    /// Live or test mode: in each object and event.
    pub livemode: bool,
    /// By id, as are all below.
    pub customers: BTreeMap<String, Customer>,
    /// Ended ones too.
    pub subscriptions: BTreeMap<String, Subscription>,
    /// Of any status.
    pub invoices: BTreeMap<String, Invoice>,
    /// Detached ones too.
    pub payment_methods: BTreeMap<String, PaymentMethod>,
    /// Those that were never anybody's.
    cards_of_nobody: BTreeSet<String>,
    /// Of invoices and of one-off sessions.
    pub payment_intents: BTreeMap<String, PaymentIntent>,
    /// Of both modes.
    pub sessions: BTreeMap<String, CheckoutSession>,
    /// What ties an invoice to its intent.
    pub invoice_payments: BTreeMap<String, InvoicePayment>,
    /// One per attempt.
    pub charges: BTreeMap<String, Charge>,
    /// Failed ones too.
    pub refunds: BTreeMap<String, Refund>,
    /// Closed ones too.
    pub disputes: BTreeMap<String, Dispute>,
    /// What will be on a subscription's next invoice, the newest first.
    pub pending_lines: BTreeMap<String, Vec<Line>>,
    /// What it does when it has tried often enough.
    pub gives_up: GiveUp,
    /// Every attempt at an invoice of a subscription that was made by itself or by a call, in order.
    pub attempts: Vec<Attempt>,
    /// The ends of trials that were announced.
    announced_trials: BTreeSet<(String, i64)>,
    /// Visits to the customer portal.
    pub portal_sessions: BTreeMap<String, PortalSession>,
    /// What is sold.
    pub prices: Vec<&'static Price>,
    /// The names of products.
    pub products: BTreeMap<String, String>,
    /// What may be taken off.
    pub coupons: Vec<&'static Coupon>,
    /// Where its pages are: an origin.
    pub pages: String,
    /// Lookup keys that have moved, and the price that has each now.
    pub moved_lookup_keys: BTreeMap<&'static str, &'static Price>,
    /// Everything that happened, in order.
    pub occurrences: Vec<Occurrence>,
    ids: Ids,
}

/// One event, before it has a shape.
#[derive(Clone, Debug)]
pub struct Occurrence {
    /// `evt_…`
    pub id: String,
    /// For example `invoice.paid`.
    pub event_type: &'static str,
    /// Unix seconds.
    pub created: i64,
    /// Live or test mode.
    pub livemode: bool,
    /// The object before, for events that say what changed.
    pub before: Option<Object>,
    /// The object after.
    pub after: Object,
    /// `req_…` of the call that caused it; `None` for what Stripe did by itself.
    pub request: Option<String>,
}

impl Stripe {
    /// An empty account. Everything random in it comes from `seed`.
    pub fn new(seed: u64) -> Self {
        Self {
            now: BEGINNING,
            livemode: false,
            customers: BTreeMap::new(),
            subscriptions: BTreeMap::new(),
            invoices: BTreeMap::new(),
            payment_methods: BTreeMap::new(),
            cards_of_nobody: BTreeSet::new(),
            payment_intents: BTreeMap::new(),
            sessions: BTreeMap::new(),
            invoice_payments: BTreeMap::new(),
            charges: BTreeMap::new(),
            refunds: BTreeMap::new(),
            disputes: BTreeMap::new(),
            pending_lines: BTreeMap::new(),
            gives_up: GiveUp::Cancel,
            attempts: Vec::new(),
            announced_trials: BTreeSet::new(),
            portal_sessions: BTreeMap::new(),
            prices: catalogue::PRICES.to_vec(),
            products: catalogue::PRODUCTS.map(|(id, name)| (id.to_owned(), name.to_owned())).into(),
            coupons: catalogue::COUPONS.iter().collect(),
            pages: "https://checkout.stripe.com".to_owned(),
            moved_lookup_keys: BTreeMap::new(),
            occurrences: Vec::new(),
            ids: Ids(Rng::seeded(seed)),
        }
    }

    /// An empty account that no other test shares an id with.
    pub fn fresh() -> Self {
        Self::new(u64::from_le_bytes(Rng::system().bytes()))
    }

    /// A secret for webhooks: `whsec_…`.
    pub fn new_secret(&self) -> String {
        self.ids.short("whsec", 32)
    }

    /// Lets `seconds` go by, and nothing happen.
    pub fn pass(&mut self, seconds: i64) -> &mut Self {
        self.now += seconds;
        self
    }

    /// Everything that happened so far, as events of `version`, in order. Types that the version does not have are left out.
    pub fn events(&self, version: ApiVersion) -> Vec<Event> {
        self.events_since(0, version)
    }

    /// As [`Stripe::events`], from the occurrence with this number on.
    pub fn events_since(&self, first: usize, version: ApiVersion) -> Vec<Event> {
        let known = self.occurrences[first..].iter().filter(|occurrence| version.has(occurrence.event_type));
        known.map(|occurrence| occurrence.event(version)).collect()
    }

    fn emit(&mut self, event_type: &'static str, after: impl Into<Object>) {
        self.record(event_type, None, after.into());
    }

    fn emit_change(&mut self, event_type: &'static str, before: impl Into<Object>, after: impl Into<Object>) {
        self.record(event_type, Some(before.into()), after.into());
    }

    fn record(&mut self, event_type: &'static str, mut before: Option<Object>, mut after: Object) {
        for object in before.iter_mut().chain([&mut after]) {
            self.name_prices(object);
        }
        let request = self.ids.coin().then(|| self.ids.short("req", 14));
        let id = format!("evt_1{}", self.ids.text(23));
        let (created, livemode) = (self.now, self.livemode);
        self.occurrences.push(Occurrence { id, event_type, created, livemode, before, after, request });
    }
}

impl Stripe {
    /// The lookup key that a price has now.
    pub fn lookup_key_of(&self, price: &Price) -> Option<&'static str> {
        let taken = self.moved_lookup_keys.iter().find(|(_, holder)| holder.id == price.id);
        let own = || price.lookup_key.filter(|key| !self.moved_lookup_keys.contains_key(key));
        taken.map(|(key, _)| *key).or_else(own)
    }

    /// A price is shown with the key that it has when it is shown.
    fn name_prices(&self, object: &mut Object) {
        match object {
            Object::Subscription(subscription) => {
                for item in &mut subscription.items {
                    item.lookup_key = self.lookup_key_of(item.price);
                }
            }
            Object::Invoice(invoice) => {
                for line in &mut invoice.lines {
                    line.lookup_key = self.lookup_key_of(line.price);
                }
            }
            _ => {}
        }
    }
}

/// Stripe's ids: a prefix and random letters and digits.
#[derive(Clone, Debug)]
struct Ids(Rng);

impl Ids {
    /// For example `cus_NffrFeUfNV2Hib`.
    fn short(&self, prefix: &str, length: usize) -> String {
        format!("{prefix}_{}", self.text(length))
    }

    /// For example `sub_1MowQVLkdIwHu7ixeRlqHVzs`.
    fn long(&self, prefix: &str) -> String {
        format!("{prefix}_1{}", self.text(23))
    }

    fn text(&self, length: usize) -> String {
        const LETTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        (0..length).map(|_| char::from(LETTERS[(self.0.unit() * 62.0) as usize])).collect()
    }

    fn coin(&self) -> bool {
        self.0.unit() < 0.5
    }

    fn below(&self, bound: usize) -> usize {
        (self.0.unit() * bound as f64) as usize
    }
}
