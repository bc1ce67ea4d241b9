//! Customers: who they are by their own snapshots, and who may use what by their subscriptions.
//!
//! Everything a customer may use follows from the rows of its subscriptions by [`follow`], again after each
//! observation, so that it cannot drift from them. What is given for good (licence, API key, widgets) is given by [`grant`].

pub mod replan;
pub mod routes;
pub mod view;

use serde::{Deserialize, Serialize};
use serde_json::json;
use tollgate_shared::{Rng, Timestamp};
use tollgate_stripe::{self as stripe, Observation};

use crate::audit::{Cause, Change, Difference};
use crate::db::{Json, record};
use crate::events::{self, Told};
use crate::history::{History, Snapshot, State};
use crate::subscriptions::{self, Standing, Subscription};
use crate::webhooks::decide::Rules;
use crate::webhooks::world::World;
use crate::{api_keys, licenses, widgets};

record! {
    /// A row of `customers`.
    pub struct Customer in "customers" {
        /// `cus_…`
        pub id: String,
        /// Its newest snapshots.
        pub history: Json<History<stripe::Customer>>,
        /// The customer's name.
        pub name: Option<String>,
        /// The customer's e-mail address.
        pub email: Option<String>,
        /// Deleted at Stripe, for good.
        pub deleted: bool,
        /// `invoice_settings.default_payment_method`.
        pub default_payment_method_id: Option<String>,
        /// Our user, by the strongest of the claims.
        pub user_id: Option<String>,
        /// What sessions said of whose customer this is.
        pub user_claims: Json<UserClaims>,
        /// Its current subscription.
        pub current_subscription_id: Option<String>,
        /// What it may use.
        pub tier: String,
        /// When its entitlement ends by time alone.
        pub entitled_until: Option<Timestamp>,
        /// When it got its API key and widgets.
        pub provisioned_at: Option<Timestamp>,
        /// When we first heard of it.
        pub first_seen_at: Timestamp,
    }
}

/// What the customer's Checkout sessions said of whose customer it is; the newest of each kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct UserClaims {
    /// `client_reference_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_reference: Option<UserClaim>,
    /// `metadata.user_id` of a session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_metadata: Option<UserClaim>,
}

/// One claim. Ordered by time, then event, so that the newest is the largest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct UserClaim {
    /// When it was made.
    pub at: Timestamp,
    /// The event that carried it.
    pub source: String,
    /// Our user's id.
    pub user_id: String,
}

impl State for stripe::Customer {
    const VERSION: u32 = Self::VERSION;

    fn at_version(self, version: u32) -> Self {
        self.at_version(version)
    }

    fn is_terminal(&self) -> bool {
        self.deleted
    }
}

impl Customer {
    /// A row of which only the name is known.
    pub fn placeholder(now: Timestamp, id: &str, default_tier: &str) -> Self {
        Self {
            id: id.to_owned(),
            history: Json(History::default()),
            name: None,
            email: None,
            deleted: false,
            default_payment_method_id: None,
            user_id: None,
            user_claims: Json(UserClaims::default()),
            current_subscription_id: None,
            tier: default_tier.to_owned(),
            entitled_until: None,
            provisioned_at: None,
            first_seen_at: now,
        }
    }

    fn settle(&mut self) {
        if let Some(last) = self.history.last().map(|snapshot| snapshot.state.clone()) {
            self.name = last.name;
            self.email = last.email;
            self.deleted = last.deleted;
            self.default_payment_method_id = last.default_payment_method;
        }
    }

    /// Whose customer this is: a session's reference, else the metadata of session, subscription, customer.
    fn claimed_user<'a>(&'a self, of_customer: &[&'a Subscription]) -> Option<&'a str> {
        let UserClaims { client_reference, session_metadata } = &*self.user_claims;
        let by_subscription = || {
            let claiming = of_customer.iter().copied().filter(|subscription| subscription.user_id().is_some());
            claiming.max_by_key(|subscription| (subscription.created_at, &subscription.id))?.user_id()
        };
        let by_customer = || self.history.last()?.state.user_id.as_deref();
        client_reference
            .as_ref()
            .or(session_metadata.as_ref())
            .map(|claim| &*claim.user_id)
            .or_else(by_subscription)
            .or_else(by_customer)
    }
}

/// Takes in a snapshot of a customer.
pub fn observe(
    rules: &Rules,
    now: Timestamp,
    seen: &Observation,
    before: Option<&stripe::Customer>,
    after: &stripe::Customer,
    deleted: bool,
    world: &mut World,
) {
    let mut row = world.customer(rules, now, &after.id);
    let state = stripe::Customer { deleted: deleted || after.deleted, ..after.clone() };
    let second = seen.seen_at.timestamp();
    let news = row.history.observe(Snapshot::new(&seen.source, second, seen.is_creation, before, state));
    if news {
        row.settle();
        world.customers.put(row);
    }
}

/// Links the customer of a completed session to the user that it names, and notes its subscription.
pub fn observe_session(
    rules: &Rules,
    now: Timestamp,
    seen: &Observation,
    session: &stripe::CheckoutSession,
    world: &mut World,
) {
    let Some(customer) = &session.customer else { return };
    let claim = |user_id: &Option<String>| {
        let user_id = user_id.clone()?;
        Some(UserClaim { at: seen.seen_at, source: seen.source.clone(), user_id })
    };
    let mut row = world.customer(rules, now, customer);
    let claims = &mut *row.user_claims;
    claims.client_reference = claims.client_reference.take().max(claim(&session.client_reference_id));
    claims.session_metadata = claims.session_metadata.take().max(claim(&session.user_id));
    world.customers.put(row);
    if let Some(subscription) = session.subscription.as_ref().filter(|id| !world.subscriptions.contains(id)) {
        world.subscriptions.put(Subscription::placeholder(now, subscription, customer));
    }
}

/// Gives what a customer keeps for good, when `status` is the first that gives it.
pub fn grant(rules: &Rules, now: Timestamp, seen: &Observation, customer_id: &str, status: &str, world: &mut World) {
    if rules.plans.is_entitled(status) {
        licenses::grant(now, rules.rng, rules.plans, customer_id, world);
    }
    let mut row = world.customer(rules, now, customer_id);
    if Standing::of(status) == Some(Standing::Good) && row.provisioned_at.is_none() {
        row.provisioned_at = Some(now);
        world.customers.put(row);
        let live = seen.livemode.unwrap_or(rules.livemode_by_default);
        world.api_keys.add(api_keys::grant(now, rules.rng, rules.sealer, live, customer_id));
        for widget in widgets::seed(now, rules.rng, rules.widgets, customer_id) {
            world.widgets.add(widget);
        }
    }
}

/// Brings what the customer may use into step with its subscriptions, writes the audit trail and tells the apps. Once for
/// each observation, when all else of it is in the world: it compares with what was before.
pub fn follow(rules: &Rules, now: Timestamp, cause: Cause<'_>, customer_id: &str, world: &mut World) {
    let mut row = world.customer(rules, now, customer_id);
    let of_customer = world.subscriptions_of(customer_id);
    let current = subscriptions::current(of_customer.iter().copied());
    let entitlement = Entitlement::of(rules, now, current, world);

    let was = row.clone();
    row.user_id = row.claimed_user(&of_customer).map(str::to_owned);
    row.current_subscription_id = current.map(|subscription| subscription.id.clone());
    row.entitled_until = entitlement.ends_at;
    row.tier = match current.and_then(|subscription| subscription.tier.clone()) {
        Some(tier) if entitlement.entitled => tier,
        _ => rules.plans.default_tier().to_owned(),
    };
    let entries = audit(rules.rng, now, cause, &was, &row, &of_customer, world);
    let terms = licenses::Terms::under(current, entitlement.entitled, rules.plans);
    let told_before = was.current_subscription_id.as_deref().and_then(|id| world.subscriptions.before(id));
    let news: Vec<_> = current.map_or_else(Vec::new, |is| {
        let told = told(told_before.filter(|subscription| subscription.status.is_some()), is).into_iter();
        let data = || json!({ "subscription": subscriptions::view_with_plan(is, rules.plans), "tier": row.tier });
        told.map(|told| (told, data())).collect()
    });

    for entry in entries {
        world.changes.add(entry);
    }
    if row != was {
        world.customers.put(row);
    }
    licenses::follow(now, rules.rng, rules.plans, customer_id, terms, world);
    for (told, data) in news {
        events::tell(now, rules.rng, customer_id, told, data, world);
    }
}

/// Whether a customer is entitled now, and when that ends by time alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entitlement {
    entitled: bool,
    ends_at: Option<Timestamp>,
}

impl Entitlement {
    fn of(rules: &Rules, now: Timestamp, current: Option<&Subscription>, world: &World) -> Self {
        let status = current.and_then(|subscription| subscription.access_status.as_deref());
        let entitled = status.is_some_and(|status| rules.plans.is_entitled(status));
        let (true, Some("past_due"), Some(days)) = (entitled, status, rules.plans.past_due_days()) else {
            return Self { entitled, ends_at: None };
        };
        let failed_at = current.and_then(|subscription| world.failing_since(&subscription.id));
        let ends_at = failed_at.map(|at| at + chrono::Duration::days(i64::from(days)));
        match ends_at {
            Some(end) if end <= now => Self { entitled: false, ends_at: None },
            ends_at => Self { entitled, ends_at },
        }
    }
}

/// The entries of the audit trail for what has changed.
fn audit(
    rng: &Rng,
    now: Timestamp,
    cause: Cause<'_>,
    was: &Customer,
    is: &Customer,
    of_customer: &[&Subscription],
    world: &World,
) -> Vec<Change> {
    let tier = Difference { change: "tier", from: Some(&was.tier), to: Some(&is.tier) };
    let mut entries: Vec<_> = tier.entry(now, rng, cause, &is.id, None).into_iter().collect();
    for subscription in of_customer {
        let before = world.subscriptions.before(&subscription.id);
        let status = Difference {
            change: "status",
            from: before.and_then(|before| before.status.as_deref()),
            to: subscription.status.as_deref(),
        };
        let plan = Difference {
            change: "plan",
            from: before.and_then(|before| before.plan_id.as_deref()),
            to: subscription.plan_id.as_deref(),
        };
        let scheduled = |is_scheduled: bool| if is_scheduled { "true" } else { "false" };
        let cancel = Difference {
            change: "cancel_scheduled",
            from: Some(scheduled(before.is_some_and(Subscription::is_cancel_scheduled))),
            to: Some(scheduled(subscription.is_cancel_scheduled())),
        };
        let differences = [status, plan, cancel];
        entries
            .extend(differences.into_iter().filter_map(|d| d.entry(now, rng, cause, &is.id, Some(&subscription.id))));
    }
    entries
}

/// What the change of the current subscription means to the apps, most important first.
fn told(was: Option<&Subscription>, is: &Subscription) -> Vec<Told> {
    let standing = |subscription: &Subscription| Standing::of(subscription.access_status.as_deref()?);
    let ended = standing(is) == Some(Standing::Ended);
    let Some(was) = was.filter(|was| was.id == is.id) else {
        let same_as_before = was.is_none() && is.status.is_none();
        return match (same_as_before, ended) {
            (true, _) => vec![],
            (false, true) => vec![Told::SubscriptionCancelled],
            (false, false) => vec![Told::SubscriptionCreated],
        };
    };
    let became = |now: bool, before: bool| now && !before;
    let mut told = Vec::new();
    let good =
        |subscription: &Subscription| matches!(subscription.access_status.as_deref(), Some("active" | "trialing"));
    if became(ended, standing(was) == Some(Standing::Ended)) {
        told.push(Told::SubscriptionCancelled);
    }
    if became(is.access_status.as_deref() == Some("past_due"), was.access_status.as_deref() == Some("past_due")) {
        told.push(Told::SubscriptionPastDue);
    }
    if became(good(is), good(was) || was.access_status.as_deref() == Some("incomplete"))
        || (became(was.is_cancel_scheduled(), is.is_cancel_scheduled()) && !ended)
    {
        told.push(Told::SubscriptionReactivated);
    }
    if became(is.is_cancel_scheduled(), was.is_cancel_scheduled()) {
        told.push(Told::SubscriptionCancelScheduled);
    }
    if (&is.plan_id, &is.price_id) != (&was.plan_id, &was.price_id) {
        told.push(Told::PlanChanged);
    }
    if told.is_empty() && is != was && subscriptions::view(is) != subscriptions::view(was) {
        told.push(Told::SubscriptionUpdated);
    }
    told
}
