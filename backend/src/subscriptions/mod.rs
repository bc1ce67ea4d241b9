//! Subscriptions: each is what its newest snapshot says, whatever order the snapshots came in.
//!
//! Life of a row: a placeholder when something names the subscription before its own snapshot came (`status` is then
//! null); *inferred* once an invoice of it is paid; whole with the first snapshot, which replaces all that was inferred.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tollgate_shared::Timestamp;
use tollgate_shared::clock::{from_unix, rfc3339};
use tollgate_stripe::{self as stripe, Item, Observation, PriceRef};
use tracing::warn;

use crate::customers;
use crate::db::{Json, record};
use crate::history::{History, Snapshot, State};
use crate::plans::{Plan, Plans};
use crate::webhooks::decide::Rules;
use crate::webhooks::world::World;

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
pub enum Standing {
    /// `trialing`, `active`, `past_due`: the customer has, or is still given, what was bought.
    Good,
    /// `unpaid`, `paused`, `incomplete`: alive, but nothing is due to the customer.
    Waiting,
    /// `canceled`, `incomplete_expired`: over for good.
    Ended,
}

impl Standing {
    /// The standing of a Stripe status, if it is one that we know.
    pub fn of(status: &str) -> Option<Self> {
        match status {
            "trialing" | "active" | "past_due" => Some(Self::Good),
            "unpaid" | "paused" | "incomplete" => Some(Self::Waiting),
            "canceled" | "incomplete_expired" => Some(Self::Ended),
            _ => None,
        }
    }
}

impl State for stripe::Subscription {
    fn is_terminal(&self) -> bool {
        Standing::of(&self.status) == Some(Standing::Ended)
    }

    fn is_understood(&self) -> bool {
        Standing::of(&self.status).is_some()
    }
}

/// Takes in a snapshot of a subscription. `ended` is Stripe's word that it is over (`customer.subscription.deleted`),
/// whatever status the snapshot still shows.
pub fn observe(
    rules: &Rules,
    now: Timestamp,
    seen: &Observation,
    before: Option<&stripe::Subscription>,
    after: &stripe::Subscription,
    ended: bool,
    world: &mut World,
) {
    let mut state = after.clone();
    if ended && !state.is_terminal() {
        "canceled".clone_into(&mut state.status);
    }
    let status = state.status.clone();
    let mut row = world.subscription(now, &state.id, &state.customer);
    let second = seen.seen_at.timestamp();
    let news = row.history.observe(Snapshot::new(&seen.source, second, seen.is_creation, before, state));
    if news {
        row.settle(rules.plans);
        if row.plan_id.is_none() {
            metrics::counter!("tollgate_backend_subscriptions_without_plan_total").increment(1);
            warn!(subscription.id = %row.id, event.id = %seen.source, "no plan matches an item of subscription {}", row.id);
        }
        world.subscriptions.put(row);
    }
    // A stale snapshot gives licence and key too, so that the order of arrival makes no difference.
    customers::grant(rules, now, seen, &after.customer, &status, world);
}

impl Subscription {
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
    pub fn infer(&mut self, inferred: Inferred, plans: &Plans) -> bool {
        if self.inferred.as_ref().is_some_and(|known| known.invoice >= inferred.invoice) {
            return false;
        }
        self.inferred = Some(Json(inferred));
        self.settle(plans);
        true
    }

    /// Sets every column that follows from the history, or from what was inferred.
    pub fn settle(&mut self, plans: &Plans) {
        if let Some(last) = self.history.last().cloned() {
            let understood = self.history.last_understood().map(|snapshot| snapshot.state.status.clone());
            self.settle_as(last, understood, plans);
        } else if let Some(inferred) = self.inferred.clone() {
            self.settle_inferred(&inferred, plans);
        }
    }

    fn settle_as(&mut self, last: Snapshot<stripe::Subscription>, understood: Option<String>, plans: &Plans) {
        let Snapshot { state, second, .. } = last;
        let (plan, item) = chosen_item(&state.items, plans);
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

    fn settle_inferred(&mut self, inferred: &Inferred, plans: &Plans) {
        let plan = plans.of_price(&inferred.price);
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

    /// Whether it is in a live status. One that we do not understand is live until we hear that it ended.
    pub fn is_live(&self) -> bool {
        self.status.as_deref().is_some_and(|status| Standing::of(status) != Some(Standing::Ended))
    }

    /// Whether its end is announced, by flag or by date, and has not come.
    pub fn is_cancel_scheduled(&self) -> bool {
        self.is_live() && (self.cancel_at_period_end || self.cancel_at.is_some())
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

/// The first item that a plan matches, with the plan; else the first item.
fn chosen_item<'a>(items: &'a [Item], plans: &'a Plans) -> (Option<&'a Plan>, Option<&'a Item>) {
    let matched = items.iter().find_map(|item| plans.of_price(&item.price).map(|plan| (plan, item)));
    match matched {
        Some((plan, item)) => (Some(plan), Some(item)),
        None => (None, items.first()),
    }
}

/// A subscription as anybody outside sees it.
pub fn view(subscription: &Subscription) -> Value {
    let time = |at: Option<Timestamp>| at.map(rfc3339);
    json!({
        "stripeSubscriptionId": subscription.id,
        "status": subscription.status,
        "tier": subscription.tier,
        "priceId": subscription.price_id,
        "quantity": subscription.quantity,
        "itemCount": subscription.item_count,
        "cancelAtPeriodEnd": subscription.cancel_at_period_end,
        "cancelAt": time(subscription.cancel_at),
        "cancelScheduled": subscription.is_cancel_scheduled(),
        "currentPeriodStart": time(subscription.current_period_start),
        "currentPeriodEnd": time(subscription.current_period_end),
        "trialEnd": time(subscription.trial_end),
        "endedAt": time(subscription.ended_at),
        "collectionPaused": subscription.collection_paused,
    })
}

/// The same, with the plan that it is on.
pub fn view_with_plan(subscription: &Subscription, plans: &Plans) -> Value {
    let plan = subscription.plan_id.as_deref().and_then(|id| plans.by_id(id));
    let mut view = view(subscription);
    view["planId"] = json!(plan.map(|plan| &plan.id));
    view["planName"] = json!(plan.map(|plan| &plan.name));
    view
}
