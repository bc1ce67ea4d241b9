//! What a user has, over all of their customers at Stripe.

use std::collections::BTreeSet;

use tollgate_db::{DbError, Lock, Tx};
use tollgate_domain::customers::Customer;
use tollgate_domain::licenses::License;
use tollgate_domain::plans::{Plan, Plans, Sale};
use tollgate_domain::subscriptions::Subscription;

/// What a user has.
pub(super) struct Holdings {
    /// The customers that are there, the one with the subscription first, else the newest.
    pub(super) customers: Vec<Customer>,
    /// What the user is subscribed to, whatever its status: what gives access, else what goes on, else the newest.
    pub(super) subscription: Option<Subscription>,
    /// The plans of the licences of those who have bought anything for good.
    bought: BTreeSet<String>,
}

/// What the user has.
pub(super) async fn of_user(tx: &mut Tx, plans: &Plans, user_id: &str) -> Result<Holdings, DbError> {
    let sql = "SELECT id FROM customers WHERE user_id = $1";
    let ids: Vec<(String,)> = tx.sql(sql).bind(user_id).all().await?;
    let ids: BTreeSet<_> = ids.into_iter().map(|(id,)| id).collect();
    let mut customers: Vec<Customer> = tx.load("id", &ids, Lock::None).await?;
    let current = customers.iter().filter_map(|row| row.current_subscription_id.clone()).collect();
    let current: Vec<Subscription> = tx.load("id", &current, Lock::None).await?;
    let rank = |row: &Subscription| {
        let customer = customers.iter().find(|customer| customer.id == row.customer_id);
        let gives = row.tier.is_some() && customer.map(|customer| &customer.tier) == row.tier.as_ref();
        (gives && row.is_live(), row.is_live(), row.created_at)
    };
    let subscription = current.into_iter().max_by(|a, b| rank(a).cmp(&rank(b)).then_with(|| a.id.cmp(&b.id)));
    let licenses: Vec<License> = tx.load("customer_id", &ids, Lock::None).await?;
    let buyers = |id: &String| {
        let has_bought = |row: &Customer| row.has_purchases && row.tier != plans.default_tier();
        customers.iter().any(|row| row.id == *id && has_bought(row))
    };
    let of_buyers = licenses.into_iter().filter(|license| buyers(&license.customer_id));
    let bought = of_buyers.filter_map(|license| license.plan_id).collect();
    customers.retain(|row| !row.deleted);
    let holder = subscription.as_ref().map(|row| &row.customer_id);
    customers.sort_by(|a, b| {
        let rank = |row: &Customer| (holder == Some(&row.id), row.first_seen_at);
        rank(b).cmp(&rank(a)).then_with(|| b.id.cmp(&a.id))
    });
    Ok(Holdings { customers, subscription, bought })
}

impl Holdings {
    /// Whether there is a subscription beside which there should be no other: all that go on, but for one whose first
    /// payment was never made.
    pub(super) fn is_subscribed(&self) -> bool {
        self.subscription.as_ref().is_some_and(|row| row.is_live() && row.status.as_deref() != Some("incomplete"))
    }

    /// Whether to pay for `plan` would be to pay twice.
    pub(super) fn has(&self, plan: &Plan) -> bool {
        match plan.sale() {
            Sale::Recurring => self.is_subscribed(),
            Sale::ForGood => self.bought.contains(&plan.id),
        }
    }
}
