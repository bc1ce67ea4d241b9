//! Subscriptions: each is what its newest snapshot says, whatever order the snapshots came in.
//!
//! Life of a row: a placeholder when something names the subscription before its own snapshot came (`status` is then
//! null); *inferred* once an invoice of it is paid; whole with the first snapshot, which replaces all that was inferred.

pub mod view;

use serde::{Deserialize, Serialize};
use tollgate_shared::Timestamp;
use tollgate_shared::clock::from_unix;

use crate::history::{History, Snapshot, State};
use crate::plans::{Plan, Plans, Sale, prices};
use tollgate_db::{Json, UnitOfWork, record};
use tollgate_stripe::{self as stripe, Item, Line, Observation, PriceRef};

record! {
    /// A row of `subscriptions`: the history, and the columns that follow from it.
    pub struct Subscription in "subscriptions" {
        /// `sub_…`
        pub id: String,
        /// `cus_…`
        pub customer_id: String,
        /// Its newest snapshots.
        pub history: Json<History<stripe::Subscription>>,
        /// What its paid invoices let us say while there is no snapshot.
        pub inferred: Option<Json<Inferred>>,
        /// Stripe's status, as it stands; null for a placeholder.
        pub status: Option<String>,
        /// The last status whose meaning we know: access follows this one.
        pub access_status: Option<String>,
        /// The plan of the first item that matches one.
        pub plan_id: Option<String>,
        /// That plan's tier, whatever the status.
        pub tier: Option<String>,
        /// `price_…` of that item, else of the first.
        pub price_id: Option<String>,
        /// Quantity of that item.
        pub quantity: Option<i64>,
        /// How many items there are.
        pub item_count: i64,
        /// Whether it ends with its period.
        pub cancel_at_period_end: bool,
        /// When it is to end.
        pub cancel_at: Option<Timestamp>,
        /// Start of that item's period.
        pub current_period_start: Option<Timestamp>,
        /// End of that item's period.
        pub current_period_end: Option<Timestamp>,
        /// End of the trial.
        pub trial_end: Option<Timestamp>,
        /// When it ended.
        pub ended_at: Option<Timestamp>,
        /// Whether `pause_collection` is on; the status does not say so.
        pub collection_paused: bool,
        /// When Stripe made it.
        pub created_at: Option<Timestamp>,
        /// When we first heard of it.
        pub first_seen_at: Timestamp,
    }
}

/// What a paid invoice tells of its subscription.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Inferred {
    /// The invoice's creation (Unix seconds) and id: the newest one counts.
    pub invoice: (i64, String),
    /// The price that was paid for.
    pub price: PriceRef,
    /// How many of it.
    pub quantity: Option<i64>,
    /// Start of the period that was paid for, Unix seconds.
    pub period_start: Option<i64>,
    /// End of the period that was paid for, Unix seconds.
    pub period_end: Option<i64>,
}

/// What a subscription's status is to us. Stripe's eight; any other is not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusClass {
    /// `trialing`, `active`, `past_due`: the customer has, or is still given, what was bought.
    Live,
    /// `unpaid`, `paused`, `incomplete`: it goes on, but nothing is due to the customer.
    OnHold,
    /// `canceled`, `incomplete_expired`: over for good.
    Ended,
}

impl StatusClass {
    /// The class of a Stripe status, if it is one that we know.
    pub fn of(status: &str) -> Option<Self> {
        match status {
            "trialing" | "active" | "past_due" => Some(Self::Live),
            "unpaid" | "paused" | "incomplete" => Some(Self::OnHold),
            "canceled" | "incomplete_expired" => Some(Self::Ended),
            _ => None,
        }
    }
}

impl State for stripe::Subscription {
    fn is_terminal(&self) -> bool {
        StatusClass::of(&self.status) == Some(StatusClass::Ended)
    }

    fn is_understood(&self) -> bool {
        StatusClass::of(&self.status).is_some()
    }
}

/// Every subscription of a customer.
pub fn of_customer<'w>(work: &'w UnitOfWork, customer_id: &str) -> Vec<&'w Subscription> {
    work.all().filter(|subscription: &&Subscription| subscription.customer_id == customer_id).collect()
}

/// Sets every column of a customer's subscriptions that follows from what was seen, anew.
pub fn recompute_all(work: &mut UnitOfWork, plans: &Plans, customer_id: &str) {
    let rows: Vec<_> = of_customer(work, customer_id).into_iter().cloned().collect();
    for mut row in rows {
        row.recompute(work, plans);
        work.insert(row);
    }
}

/// Takes in a snapshot of a subscription and gives the status that it shows, which a stale one shows too. `ended` is
/// Stripe's word that it is over (`customer.subscription.deleted`), whatever status the snapshot still has.
pub fn apply(
    work: &mut UnitOfWork,
    plans: &Plans,
    observation: &Observation,
    before: Option<&stripe::Subscription>,
    after: &stripe::Subscription,
    ended: bool,
) -> String {
    let mut state = after.clone();
    if ended && !state.is_terminal() {
        "canceled".clone_into(&mut state.status);
    }
    let status = state.status.clone();
    let mut row = Subscription::of(work, &state.id, &state.customer);
    let second = observation.seen_at.timestamp();
    let is_news =
        row.history.observe(Snapshot::new(&observation.source, second, observation.is_creation, before, state));
    if is_news {
        row.recompute(work, plans);
        row.note_without_plan(work);
        work.insert(row);
    }
    status
}

/// Notes that there is a subscription, of which only the name is known.
pub fn name(work: &mut UnitOfWork, id: &str, customer_id: &str) {
    if work.get::<Subscription>(id).is_none() {
        work.insert(Subscription::placeholder(work.now(), id, customer_id));
    }
}

/// Takes in what an invoice says of its subscription where nothing better is known: a paid one, that it is active. Gives
/// the customer for whom something was paid.
pub fn infer<'i>(work: &mut UnitOfWork, plans: &Plans, invoice: &'i stripe::Invoice) -> Option<&'i str> {
    let (Some(customer), Some(subscription)) = (&invoice.customer, &invoice.subscription) else { return None };
    name(work, subscription, customer);
    if invoice.status != "paid" {
        return None;
    }
    let line = chosen_line(work, &invoice.lines, plans);
    let inferred = Inferred {
        invoice: (invoice.created.unwrap_or_default(), invoice.id.clone()),
        price: line.map(|line| line.price.clone()).unwrap_or_default(),
        quantity: line.and_then(|line| line.quantity),
        period_start: line.and_then(|line| line.period_start),
        period_end: line.and_then(|line| line.period_end),
    };
    let mut row = Subscription::of(work, subscription, customer);
    if row.infer(work, inferred, plans) {
        row.note_without_plan(work);
        work.insert(row);
    }
    Some(customer)
}

impl Subscription {
    /// The subscription's row as it is now, or a placeholder.
    pub fn of(work: &UnitOfWork, id: &str, customer_id: &str) -> Self {
        work.get_cloned(id).unwrap_or_else(|| Self::placeholder(work.now(), id, customer_id))
    }

    /// A row for a subscription of which only the name is known.
    pub fn placeholder(now: Timestamp, id: &str, customer_id: &str) -> Self {
        Self {
            id: id.to_owned(),
            customer_id: customer_id.to_owned(),
            history: Json(History::default()),
            inferred: None,
            status: None,
            access_status: None,
            plan_id: None,
            tier: None,
            price_id: None,
            quantity: None,
            item_count: 0,
            cancel_at_period_end: false,
            cancel_at: None,
            current_period_start: None,
            current_period_end: None,
            trial_end: None,
            ended_at: None,
            collection_paused: false,
            created_at: None,
            first_seen_at: now,
        }
    }

    /// Notes what a paid invoice tells. The newest invoice counts; `false` when this one is older.
    pub fn infer(&mut self, work: &UnitOfWork, inferred: Inferred, plans: &Plans) -> bool {
        if self.inferred.as_ref().is_some_and(|known| known.invoice >= inferred.invoice) {
            return false;
        }
        self.inferred = Some(Json(inferred));
        self.recompute(work, plans);
        true
    }

    /// Sets every column that follows from the history, or from what was inferred.
    pub fn recompute(&mut self, work: &UnitOfWork, plans: &Plans) {
        if let Some(last) = self.history.last().cloned() {
            let understood = self.history.last_understood().map(|snapshot| snapshot.state.status.clone());
            self.recompute_as(work, last, understood, plans);
        } else if let Some(inferred) = self.inferred.clone() {
            self.recompute_inferred(work, &inferred, plans);
        }
    }

    fn recompute_as(
        &mut self,
        work: &UnitOfWork,
        last: Snapshot<stripe::Subscription>,
        understood: Option<String>,
        plans: &Plans,
    ) {
        let Snapshot { state, second, .. } = last;
        let (plan, item) = chosen_item(work, &state.items, plans);
        self.ended_at = match (state.ended_at, state.is_terminal()) {
            (None, true) => state.canceled_at.or(Some(second)).and_then(from_unix),
            (ended_at, _) => ended_at.and_then(from_unix),
        };
        self.plan_id = plan.map(|plan| plan.id.clone());
        self.tier = plan.map(|plan| plan.tier.clone());
        self.price_id = item.and_then(|item| item.price.id.clone());
        self.quantity = item.and_then(|item| item.quantity);
        self.item_count = state.item_count;
        self.cancel_at_period_end = state.cancel_at_period_end;
        self.cancel_at = state.cancel_at.and_then(from_unix);
        self.current_period_start = item.and_then(|item| item.period_start).and_then(from_unix);
        self.current_period_end = item.and_then(|item| item.period_end).and_then(from_unix);
        self.trial_end = state.trial_end.and_then(from_unix);
        self.collection_paused = state.collection_paused;
        self.created_at = state.created.and_then(from_unix);
        self.status = Some(state.status);
        self.access_status = understood;
    }

    fn recompute_inferred(&mut self, work: &UnitOfWork, inferred: &Inferred, plans: &Plans) {
        let plan = prices::plan_of(work, plans, &inferred.price, Sale::Recurring);
        self.status = Some("active".to_owned());
        self.access_status = Some("active".to_owned());
        self.plan_id = plan.map(|plan| plan.id.clone());
        self.tier = plan.map(|plan| plan.tier.clone());
        self.price_id.clone_from(&inferred.price.id);
        self.quantity = inferred.quantity;
        self.item_count = 1;
        self.current_period_start = inferred.period_start.and_then(from_unix);
        self.current_period_end = inferred.period_end.and_then(from_unix);
        self.created_at = from_unix(inferred.invoice.0);
    }

    /// Counts a subscription that has come to be one that no plan matches, and warns of its price.
    fn note_without_plan(&self, work: &UnitOfWork) {
        let was = work.before::<Self>(&self.id).filter(|was| was.status.is_some());
        let is_known = was.is_some_and(|was| was.plan_id.is_none() && was.price_id == self.price_id);
        if self.status.is_some() && self.plan_id.is_none() && !is_known {
            metrics::counter!("tollgate_backend_subscriptions_without_plan_total").increment(1);
            prices::warn_of_unmatched(self.price_id.as_deref(), &self.id);
        }
    }

    /// Whether it is in a live status. One that we do not understand is live until we hear that it ended.
    pub fn is_live(&self) -> bool {
        self.status.as_deref().is_some_and(|status| StatusClass::of(status) != Some(StatusClass::Ended))
    }

    /// Whether its end is announced, by flag or by date, and has not come.
    pub fn is_cancel_scheduled(&self) -> bool {
        self.is_live() && (self.cancel_at_period_end || self.cancel_at.is_some())
    }

    /// The card or the like that is charged for it, where it has one of its own.
    pub fn default_payment_method(&self) -> Option<&str> {
        self.history.last().and_then(|last| last.state.default_payment_method.as_deref())
    }

    /// The ids of the prices that it is for.
    pub fn price_ids(&self) -> impl Iterator<Item = &String> {
        let items = self.history.last().into_iter().flat_map(|last| &last.state.items).map(|item| &item.price);
        items.chain(self.inferred.iter().map(|inferred| &inferred.price)).filter_map(|price| price.id.as_ref())
    }

    /// The user whom its metadata names.
    pub fn user_id(&self) -> Option<&str> {
        self.history.last().and_then(|last| last.state.user_id.as_deref())
    }
}

/// The customer's current subscription: the newest in a live status, else the newest; placeholders do not count.
pub fn current<'a>(of_customer: impl IntoIterator<Item = &'a Subscription>) -> Option<&'a Subscription> {
    of_customer
        .into_iter()
        .filter(|subscription| subscription.status.is_some())
        .max_by_key(|subscription| (subscription.is_live(), subscription.created_at, &subscription.id))
}

/// The first item that a plan matches, with the plan; else the first item. One of quantity 0 gives nothing.
fn chosen_item<'a>(work: &UnitOfWork, items: &'a [Item], plans: &'a Plans) -> (Option<&'a Plan>, Option<&'a Item>) {
    let plan_of = |item: &Item| prices::plan_of(work, plans, &item.price, Sale::Recurring);
    let mut given = items.iter().filter(|item| item.quantity != Some(0));
    let matched = given.find_map(|item| plan_of(item).map(|plan| (plan, item)));
    match matched {
        Some((plan, item)) => (Some(plan), Some(item)),
        None => (None, items.first()),
    }
}

/// The line that says what was bought: the first that a plan matches, else the first; prorations only if there is nothing else.
fn chosen_line<'a>(work: &UnitOfWork, lines: &'a [Line], plans: &Plans) -> Option<&'a Line> {
    let matched = |line: &&Line| prices::plan_of(work, plans, &line.price, Sale::Recurring).is_some();
    let regular = || lines.iter().filter(|line| !line.proration);
    regular().find(matched).or_else(|| regular().next()).or_else(|| lines.iter().find(matched)).or(lines.first())
}
