//! What is on sale: the operator's `plans.toml` ([`Plans::load`]), and which plan a price belongs to.
//!
//! The file is judged strictly, unlike what Stripe sends: a mistake in it is the operator's own, and is named at start
//! rather than found when a customer has no access.

mod file;
pub mod prices;
#[cfg(test)]
mod tests;
pub mod view;

use std::collections::{BTreeSet, HashMap};

use serde::Serialize;
use sha2::{Digest as _, Sha256};
use tollgate_stripe::PriceRef;

/// Everything that is on sale, and what entitles to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Plans {
    file: PlanFile,
    digest: String,
    by_id: HashMap<String, usize>,
    /// Those of subscriptions.
    recurring: PriceIndex,
    /// Those that are bought for good.
    for_good: PriceIndex,
}

/// Plans by what names their prices.
#[derive(Clone, Debug, Default, PartialEq)]
struct PriceIndex {
    by_price: HashMap<String, usize>,
    by_lookup_key: HashMap<String, usize>,
    by_product: HashMap<String, usize>,
}

/// How something is paid for, since a subscription and a single sale are never of the same plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sale {
    /// By a subscription.
    Recurring,
    /// Once.
    ForGood,
}

/// What the file says.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct PlanFile {
    default_tier: String,
    entitled_statuses: BTreeSet<String>,
    past_due_days: Option<u32>,
    plans: Vec<Plan>,
}

/// One thing that is on sale.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// The operator's name for it, unique.
    pub id: String,
    /// What a customer who has it may use.
    pub tier: String,
    /// What customers read.
    pub name: String,
    /// `price_…`. At least one of this, `lookup_key` and `stripe_product` is there.
    pub stripe_price: Option<String>,
    /// A price's name at Stripe, which can be moved to another price.
    pub lookup_key: Option<String>,
    /// `prod_…`: any price of the product.
    pub stripe_product: Option<String>,
    /// ISO 4217, lower case.
    pub currency: Option<String>,
    /// Minor units of `currency`.
    pub unit_amount: Option<i64>,
    /// `day`, `week`, `month` or `year`; `once` for what is bought for good.
    pub interval: Option<String>,
    /// How many machines a licence of this plan may be active on.
    pub max_activations: i64,
    /// Whether that many are given for each unit of the quantity that is paid for.
    pub per_quantity: bool,
    /// Whatever the product wants to know of the plan.
    pub features: serde_json::Map<String, serde_json::Value>,
}

impl Plans {
    fn new(file: PlanFile) -> Self {
        Self {
            digest: file.digest(),
            by_id: file.plans.iter().enumerate().map(|(index, plan)| (plan.id.clone(), index)).collect(),
            recurring: PriceIndex::of(&file.plans, Sale::Recurring),
            for_good: PriceIndex::of(&file.plans, Sale::ForGood),
            file,
        }
    }

    /// The tier of whoever is entitled to no other.
    pub fn default_tier(&self) -> &str {
        &self.file.default_tier
    }

    /// Whether a subscription in `status` gives what was bought. One that Stripe added later does not.
    pub fn is_entitled(&self, status: &str) -> bool {
        self.file.entitled_statuses.contains(status)
    }

    /// How long after its first failed attempt a `past_due` subscription still entitles; `None`: as long as it is that.
    pub fn past_due_days(&self) -> Option<u32> {
        self.file.past_due_days
    }

    /// The plan that `price` belongs to by what is written on it: by its id, else by its lookup key, else by its
    /// product. See [`prices`] for keys that have moved on.
    pub fn of_price(&self, price: &PriceRef, sale: Sale) -> Option<&Plan> {
        let PriceIndex { by_price, by_lookup_key, by_product } = self.index(sale);
        let find = |index: &HashMap<String, usize>, key: Option<&String>| index.get(key?).copied();
        let index = find(by_price, price.id.as_ref())
            .or_else(|| find(by_lookup_key, price.lookup_key.as_ref()))
            .or_else(|| find(by_product, price.product.as_ref()))?;
        self.file.plans.get(index)
    }

    /// The plan that `price` belongs to by its lookup key alone.
    fn of_lookup_key(&self, price: &PriceRef, sale: Sale) -> Option<&Plan> {
        self.file.plans.get(*self.index(sale).by_lookup_key.get(price.lookup_key.as_ref()?)?)
    }

    /// Whether a plan names the price `id` itself.
    fn names_price(&self, id: &str) -> bool {
        [&self.recurring, &self.for_good].iter().any(|index| index.by_price.contains_key(id))
    }

    /// Whether any plan is named by a lookup key.
    pub fn have_lookup_keys(&self) -> bool {
        [&self.recurring, &self.for_good].iter().any(|index| !index.by_lookup_key.is_empty())
    }

    /// Whether anything is bought for good.
    pub fn sell_for_good(&self) -> bool {
        self.file.plans.iter().any(|plan| plan.sale() == Sale::ForGood)
    }

    fn index(&self, sale: Sale) -> &PriceIndex {
        match sale {
            Sale::Recurring => &self.recurring,
            Sale::ForGood => &self.for_good,
        }
    }

    /// The plan that the operator calls `id`.
    pub fn by_id(&self, id: &str) -> Option<&Plan> {
        self.file.plans.get(*self.by_id.get(id)?)
    }

    /// All of them, in the file's order.
    pub fn all(&self) -> &[Plan] {
        &self.file.plans
    }

    /// Stands for what the file says (not for how it says it), to tell that it was changed: hex SHA-256.
    pub fn digest(&self) -> &str {
        &self.digest
    }
}

impl PlanFile {
    fn digest(&self) -> String {
        let json = serde_json::to_vec(self).expect("texts, numbers and maps with text keys are always JSON");
        hex::encode(Sha256::digest(json))
    }
}

impl PriceIndex {
    fn of(plans: &[Plan], sale: Sale) -> Self {
        let index = |key: fn(&Plan) -> Option<&String>| -> HashMap<String, usize> {
            let plans = plans.iter().enumerate().filter(|(_, plan)| plan.sale() == sale);
            plans.filter_map(|(index, plan)| Some((key(plan)?.clone(), index))).collect()
        };
        Self {
            by_price: index(|plan| plan.stripe_price.as_ref()),
            by_lookup_key: index(|plan| plan.lookup_key.as_ref()),
            by_product: index(|plan| plan.stripe_product.as_ref()),
        }
    }
}

/// The interval of a plan that is bought for good.
const ONCE: &str = "once";

impl Plan {
    /// How it is paid for.
    pub fn sale(&self) -> Sale {
        if self.interval.as_deref() == Some(ONCE) { Sale::ForGood } else { Sale::Recurring }
    }

    /// How many machines a licence may be active on where `quantity` of the plan is paid for.
    pub fn activations_of(&self, quantity: Option<i64>) -> i64 {
        let units = if self.per_quantity { quantity.unwrap_or(1).max(1) } else { 1 };
        self.max_activations.saturating_mul(units)
    }
}
