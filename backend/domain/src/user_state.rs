//! What a user has, over all of its customers: what one customer would have who had made all of their purchases.

use std::collections::BTreeSet;

use tollgate_db::{DbError, Lock, Tx, UnitOfWork, record};
use tollgate_shared::Timestamp;

use crate::customers;
use crate::entitlements;
use crate::invoices::Invoice;
use crate::licenses::License;
use crate::payment_methods::view::{PaymentMethodView, first_attached};
use crate::plans::{Plan, Sale};
use crate::purchases;
use crate::settings::Settings;
use crate::subscriptions::Subscription;

/// What a user has.
#[derive(Clone, Debug, PartialEq)]
pub struct UserState {
    /// The user's current subscription, whatever its status.
    pub subscription: Option<Subscription>,
    /// All that there ever were.
    pub subscriptions: Vec<Subscription>,
    /// The plan that the user has, or will have once a subscription is paid; none when all has ended.
    pub plan_id: Option<String>,
    /// What the user may use.
    pub tier: String,
    /// The licence of the customer who has that.
    pub license: Option<License>,
    /// The user's customers that Stripe has not deleted: the one who has that first, then the newest.
    pub customers: Vec<UsersCustomer>,
    /// The plans that were bought for good and are still the user's.
    bought: BTreeSet<String>,
    /// What that customer is charged by, the first that is attached: its own default, its subscription's, its default
    /// source.
    payment_methods: [Option<String>; 3],
}

record! {
    /// The columns of a customer that matter here.
    pub struct UsersCustomer in "customers" {
        /// `cus_…`
        pub id: String,
        /// Deleted at Stripe.
        pub deleted: bool,
        /// What it may use.
        pub tier: String,
        /// Its current subscription.
        pub current_subscription_id: Option<String>,
        /// What is charged.
        pub default_payment_method_id: Option<String>,
        /// What is charged where nothing newer is there.
        pub default_source_id: Option<String>,
        /// When we first heard of it.
        pub first_seen_at: Timestamp,
        /// The connected account whose customer it is; none for our own.
        pub account: Option<String>,
        /// The number of its newest entry in the audit log.
        pub last_change: i64,
        /// Whether it has bought anything once.
        pub has_purchases: bool,
    }
}

/// What the user has at `now`.
pub async fn load(tx: &mut Tx, settings: &Settings, now: Timestamp, user_id: &str) -> Result<UserState, DbError> {
    let plans = &*settings.plans;
    let ids: BTreeSet<_> = customers::of_user(tx, user_id).await?.into_iter().collect();
    let mut customers: Vec<UsersCustomer> = tx.load("id", &ids, Lock::None).await?;
    let mut work = UnitOfWork::new(now, settings.rng.clone());
    let subscriptions: Vec<Subscription> = tx.load("customer_id", &ids, Lock::None).await?;
    let overdue = subscriptions.iter().filter(|row| row.access_status.as_deref() == Some("past_due"));
    let overdue: BTreeSet<_> = overdue.filter_map(|row| row.latest_invoice_id.clone()).collect();
    work.add_loaded::<Invoice>(tx.load("id", &overdue, Lock::None).await?);

    let buyers = customers.iter().filter(|row| row.has_purchases).map(|row| row.id.clone()).collect();
    purchases::load(tx, &mut work, plans, &buyers).await?;
    let bought = buyers.iter().flat_map(|buyer| purchases::plans_of(&work, plans, buyer));
    let bought = bought.map(|plan| plan.id.clone()).collect();

    let of_user: Vec<_> = subscriptions.iter().collect();
    let current = entitlements::current(&work, plans, &of_user);
    let giving = current.filter(|row| row.tier.is_some() && entitlements::gives_access(&work, plans, row));
    let newest = |customers: &mut dyn Iterator<Item = &UsersCustomer>| {
        customers.max_by_key(|row| (!row.deleted, row.first_seen_at, &row.id)).cloned()
    };
    // Without a live plan of a subscription it is what was bought for good that gives a tier.
    let has_bought = |row: &&UsersCustomer| row.has_purchases && row.tier != plans.default_tier();
    let buyer = newest(&mut customers.iter().filter(has_bought)).filter(|_| giving.is_none());
    let holder_of = |row: &Subscription| customers.iter().find(|customer| customer.id == row.customer_id).cloned();
    let holder = giving
        .and_then(holder_of)
        .or_else(|| buyer.clone())
        .or_else(|| current.and_then(holder_of))
        .or_else(|| newest(&mut customers.iter()));

    let licenses: Vec<License> = tx.load("customer_id", &ids, Lock::None).await?;
    let of = |row: &UsersCustomer| licenses.iter().find(|license| license.customer_id == row.id);
    let license = holder.as_ref().and_then(of).cloned();
    let plan_id = match &buyer {
        Some(_) => license.as_ref().and_then(|license| license.plan_id.clone()),
        None => current.filter(|row| row.is_live()).and_then(|row| row.plan_id.clone()),
    };
    let tier = giving.and_then(|row| row.tier.clone()).or_else(|| buyer.map(|buyer| buyer.tier));
    let of_holder = holder.as_ref().and_then(|holder| holder.current_subscription_id.as_ref());
    let of_holder = subscriptions.iter().find(|row| Some(&row.id) == of_holder);
    let payment_methods = [
        holder.as_ref().and_then(|holder| holder.default_payment_method_id.clone()),
        of_holder.and_then(Subscription::default_payment_method).map(str::to_owned),
        holder.as_ref().and_then(|holder| holder.default_source_id.clone()),
    ];
    let tier = tier.unwrap_or_else(|| plans.default_tier().to_owned());
    let subscription = current.cloned();
    let holder_id = holder.map(|holder| holder.id);
    customers.retain(|row| !row.deleted);
    customers.sort_by(|a, b| {
        let rank = |row: &UsersCustomer| (holder_id.as_deref() == Some(&row.id), row.first_seen_at);
        rank(b).cmp(&rank(a)).then_with(|| b.id.cmp(&a.id))
    });
    Ok(UserState { subscription, subscriptions, plan_id, tier, license, customers, bought, payment_methods })
}

impl UserState {
    /// Whom the user is to Stripe, if anybody yet.
    pub fn customer(&self) -> Option<&UsersCustomer> {
        self.customers.first()
    }

    /// Whether there is a subscription beside which there should be no other: all that go on, but for one whose first
    /// payment was never made.
    pub fn is_subscribed(&self) -> bool {
        self.subscription.as_ref().is_some_and(|row| row.is_live() && !row.is_waiting())
    }

    /// What waits for its first payment, and is no pod's.
    pub fn waiting(&self) -> impl Iterator<Item = &Subscription> {
        self.subscriptions.iter().filter(|row| row.is_waiting() && !row.is_of_pod())
    }

    /// Whether the user comes for the first time: has never been subscribed, but to what was never paid for.
    pub fn is_newcomer(&self) -> bool {
        let was_begun = |row: &Subscription| {
            row.status.as_deref().is_some_and(|status| !matches!(status, "incomplete" | "incomplete_expired"))
        };
        !self.subscriptions.iter().any(|row| was_begun(row) && !row.is_of_pod())
    }

    /// Whether to pay for `plan` would be to pay twice.
    pub fn has(&self, plan: &Plan) -> bool {
        match plan.sale() {
            Sale::Recurring => self.is_subscribed(),
            Sale::ForGood => self.bought.contains(&plan.id),
        }
    }

    /// What will be charged next.
    pub async fn default_payment_method(&self, tx: &mut Tx) -> Result<Option<PaymentMethodView>, DbError> {
        first_attached(tx, self.payment_methods.each_ref().map(Option::as_deref)).await
    }
}
