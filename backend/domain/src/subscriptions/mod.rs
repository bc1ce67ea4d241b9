//! Subscriptions: each is what its newest snapshot says, whatever order the snapshots came in.
//!
//! Life of a row: a placeholder when something names the subscription before its own snapshot came (`status` is then
//! null); *inferred* once an invoice of it is paid; whole with the first snapshot, which replaces all that was inferred.

pub mod inferred;
pub mod past_due;
pub mod requests;
pub mod savings;
pub mod view;

use tollgate_db::{Json, UnitOfWork, record};
use tollgate_shared::Timestamp;
use tollgate_shared::clock::from_unix;
use tollgate_stripe::{self as stripe, Item, Observation};

use crate::history::{History, Snapshot, State};
use crate::plans::{Plan, Plans, Sale, prices};
use crate::sightings::{Sighting, SightingKind};
use crate::subscriptions::inferred::Inferred;
use crate::subscriptions::past_due::PastDue;

record! {
    /// A row of `subscriptions`: the history, and the columns that follow from it.
    pub struct Subscription in "subscriptions" {
        /// `sub_…`
        pub id: String,
        /// `cus_…`
        pub customer_id: String,
        /// Its newest snapshots.
        pub history: Json<History<stripe::Subscription>>,
        /// What its invoices tell.
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
        /// The connected account whose subscription it is; none for our own.
        pub account: Option<String>,
        /// Whether its money is real.
        pub livemode: Option<bool>,
        /// Since when it has been `past_due`, by its snapshots.
        pub past_due: Option<Json<PastDue>>,
        /// Its newest invoice, by its newest snapshot.
        pub latest_invoice_id: Option<String>,
        /// When its customer was deleted, which ends it.
        pub customer_deleted_at: Option<Timestamp>,
        /// The pod that it pays into: then it is no plan, whatever its price.
        pub pod_id: Option<String>,
        /// The membership that it is of, whatever its metadata says later.
        pub membership_id: Option<String>,
    }
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
    const VERSION: u32 = Self::VERSION;

    fn at_version(self, version: u32) -> Self {
        self.at_version(version)
    }

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

/// Takes in a snapshot of a subscription and gives the status that it shows, which a stale one shows too; none of a
/// pod's, which gives nothing whatever its status. `ended` is Stripe's word that it is over (`customer.subscription.deleted`), whatever status the snapshot still has.
pub fn apply(
    work: &mut UnitOfWork,
    plans: &Plans,
    observation: &Observation,
    before: Option<&stripe::Subscription>,
    after: &stripe::Subscription,
    ended: bool,
) -> Option<String> {
    let mut state = after.clone();
    if ended && !state.is_terminal() {
        "canceled".clone_into(&mut state.status);
    }
    let status = state.status.clone();
    let mut row = Subscription::of(work, &state.id, &state.customer);
    row.note_origin(observation);
    if state.is_understood() {
        row.past_due.get_or_insert_default().learn(&status, observation.seen_at.timestamp());
    }
    let is_news = row.history.observe(Snapshot::of(observation, before, state));
    if is_news {
        row.recompute(work, plans);
        row.note_without_plan(work);
    }
    let is_of_pod = row.is_of_pod() || after.pod.pod_id.is_some();
    if work.get(&row.id) != Some(&row) {
        work.insert(row);
    }
    (!is_of_pod).then_some(status)
}

/// Notes that there is a subscription, of which only the name is known.
pub fn name(work: &mut UnitOfWork, observation: &Observation, id: &str, customer_id: &str) {
    let mut row = Subscription::of(work, id, customer_id);
    row.note_origin(observation);
    if work.get(id) != Some(&row) {
        work.insert(row);
    }
}

/// Takes in what an invoice says of its subscription. Gives the customer for whom something was paid, if that is no
/// pod's.
pub fn infer<'i>(
    work: &mut UnitOfWork,
    plans: &Plans,
    observation: &Observation,
    invoice: &'i stripe::Invoice,
) -> Option<&'i str> {
    let (Some(customer), Some(subscription)) = (&invoice.customer, &invoice.subscription) else { return None };
    let mut row = Subscription::of(work, subscription, customer);
    row.note_origin(observation);
    let mut inferred = row.inferred.take().map(|Json(inferred)| inferred).unwrap_or_default();
    let is_news = inferred.learn(invoice, subscription);
    row.inferred = Some(Json(inferred));
    if is_news {
        row.recompute(work, plans);
        row.note_without_plan(work);
    }
    let is_of_pod = row.is_of_pod();
    if work.get(&row.id) != Some(&row) {
        work.insert(row);
    }
    (invoice.status == "paid" && !is_of_pod).then_some(customer)
}

/// Sets every column of a customer's subscriptions that follows from what was seen, anew.
pub fn recompute_all(work: &mut UnitOfWork, plans: &Plans, customer_id: &str) {
    let rows: Vec<_> = of_customer(work, customer_id).into_iter().cloned().collect();
    for mut row in rows {
        row.recompute(work, plans);
        row.note_without_plan(work);
        work.insert(row);
    }
}

/// Ends every subscription of a customer that was deleted at Stripe, which ends them there.
pub fn end_with_customer(work: &mut UnitOfWork, plans: &Plans, customer_id: &str, deleted_at: Timestamp) {
    let to_end = |row: &&Subscription| row.customer_deleted_at != Some(deleted_at);
    let rows: Vec<_> = of_customer(work, customer_id).into_iter().filter(to_end).cloned().collect();
    for mut row in rows {
        row.customer_deleted_at = Some(deleted_at);
        row.recompute(work, plans);
        work.insert(row);
    }
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
            account: None,
            livemode: None,
            past_due: None,
            latest_invoice_id: None,
            customer_deleted_at: None,
            pod_id: None,
            membership_id: None,
        }
    }

    /// Sets every column that follows from the history, or from what invoices tell.
    pub fn recompute(&mut self, work: &UnitOfWork, plans: &Plans) {
        let inferred = self.inferred.clone().map(|Json(inferred)| inferred).unwrap_or_default();
        let by_snapshot = self.history.last().and_then(|last| last.state.pod.pod_id.clone());
        let by_membership = self.pod_id.take().filter(|_| self.membership_id.is_some());
        self.pod_id = by_snapshot.or_else(|| inferred.pod_id.clone()).or(by_membership);
        if let Some(last) = self.history.last().cloned() {
            let understood = self.history.last_understood().map(|snapshot| snapshot.state.status.clone());
            self.recompute_as(work, last, understood, plans);
            // Stripe makes nothing else of one whose first invoice is paid; not every endpoint gets the event of that.
            for status in [&mut self.status, &mut self.access_status] {
                if inferred.is_paid && status.as_deref() == Some("incomplete") {
                    *status = Some("active".to_owned());
                }
            }
        } else if inferred.is_paid {
            self.recompute_inferred(work, &inferred, plans);
        } else {
            return;
        }
        if self.is_of_pod() {
            (self.plan_id, self.tier) = (None, None);
        }
        if let Some(at) = self.customer_deleted_at.filter(|_| self.status_class() != Some(StatusClass::Ended)) {
            self.status = Some("canceled".to_owned());
            self.access_status = Some("canceled".to_owned());
            self.ended_at = Some(at);
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
        self.customer_id = state.customer;
        self.ended_at = match (state.ended_at, StatusClass::of(&state.status)) {
            (None, Some(StatusClass::Ended)) => state.canceled_at.or(Some(second)).and_then(from_unix),
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
        self.latest_invoice_id = state.latest_invoice;
        self.status = Some(state.status);
        self.access_status = understood;
    }

    fn recompute_inferred(&mut self, work: &UnitOfWork, inferred: &Inferred, plans: &Plans) {
        let (line, plan) = inferred.chosen(work, plans).unzip();
        let plan = plan.flatten();
        self.status = Some("active".to_owned());
        self.access_status = Some("active".to_owned());
        self.ended_at = None;
        self.plan_id = plan.map(|plan| plan.id.clone());
        self.tier = plan.map(|plan| plan.tier.clone());
        self.price_id = line.and_then(|line| line.price.id.clone());
        self.quantity = line.and_then(|line| line.quantity);
        self.item_count = 1;
        self.current_period_start = line.and_then(|line| line.period_start).and_then(from_unix);
        self.current_period_end = line.and_then(|line| line.period_end).and_then(from_unix);
        self.created_at = inferred.first_invoice_at.and_then(from_unix);
    }

    fn note_origin(&mut self, observation: &Observation) {
        self.account = self.account.take().max(observation.account.clone());
        self.livemode = self.livemode.max(observation.livemode);
    }

    /// Counts a subscription that has come to be one that no plan matches, and warns of its price.
    fn note_without_plan(&self, work: &mut UnitOfWork) {
        let was = work.before::<Self>(&self.id).filter(|was| was.status.is_some());
        let is_known = was.is_some_and(|was| was.plan_id.is_none() && was.price_id == self.price_id);
        if self.status.is_some() && self.plan_id.is_none() && !is_known && !self.is_of_pod() {
            metrics::counter!("tollgate_backend_subscriptions_without_plan_total").increment(1);
            prices::warn_of_unmatched(self.price_id.as_deref(), &self.id);
            work.insert(Sighting::new(SightingKind::UnmatchedSubscription, &self.id, work.now()));
        }
    }

    /// The card or the like that is charged for it, where it has one of its own.
    pub fn default_payment_method(&self) -> Option<&str> {
        self.history.last().and_then(|last| last.state.default_payment_method.as_deref())
    }

    /// The ids of the prices that it is for.
    pub fn price_ids(&self) -> impl Iterator<Item = &String> {
        let items = self.history.last().into_iter().flat_map(|last| &last.state.items).map(|item| &item.price);
        let lines = self.inferred.iter().flat_map(|inferred| &inferred.lines).map(|line| &line.price);
        items.chain(lines).filter_map(|price| price.id.as_ref())
    }

    /// What its status is to us: the last one whose meaning we know.
    pub fn status_class(&self) -> Option<StatusClass> {
        StatusClass::of(self.access_status.as_deref()?)
    }

    /// Whether it is in a live status. One that we do not understand is live until we hear that it ended.
    pub fn is_live(&self) -> bool {
        self.status.as_deref().is_some_and(|status| StatusClass::of(status) != Some(StatusClass::Ended))
    }

    /// Whether its end is announced, by flag or by date, and has not come.
    pub fn is_cancel_scheduled(&self) -> bool {
        self.is_live() && (self.cancel_at_period_end || self.cancel_at.is_some())
    }

    /// When it is to end, if that is announced.
    pub fn announced_end(&self) -> Option<Timestamp> {
        let with_its_period = || self.current_period_end.filter(|_| self.cancel_at_period_end);
        self.cancel_at.or_else(with_its_period).filter(|_| self.is_live())
    }

    /// The user whom its metadata names.
    pub fn user_id(&self) -> Option<&str> {
        self.history.last().and_then(|last| last.state.user_id.as_deref())
    }
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
