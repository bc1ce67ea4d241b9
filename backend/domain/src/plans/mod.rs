//! What is on sale: the operator's `plans.toml` ([`Plans::load`]), and which plan a price belongs to.
//!
//! The file is judged strictly, unlike what Stripe sends: a mistake in it is the operator's own, and is named at start
//! rather than found when a customer has no access.

mod file;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};

use serde::Serialize;
use sha2::{Digest as _, Sha256};
use tollgate_stripe::PriceRef;

pub use file::PlansError;

/// Everything that is on sale, and what entitles to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Plans {
    terms: Terms,
    by_id: HashMap<String, usize>,
    by_price: HashMap<String, usize>,
    by_lookup_key: HashMap<String, usize>,
    by_product: HashMap<String, usize>,
}

/// What the file says.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Terms {
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
    /// `day`, `week`, `month` or `year`.
    pub interval: Option<String>,
    /// How many machines a licence of this plan may be active on.
    pub max_activations: i64,
    /// Whatever the product wants to know of the plan.
    pub features: serde_json::Map<String, serde_json::Value>,
}

impl Plans {
    fn new(terms: Terms) -> Self {
        let index = |key: fn(&Plan) -> Option<&String>| -> HashMap<String, usize> {
            let plans = terms.plans.iter().enumerate();
            plans.filter_map(|(place, plan)| Some((key(plan)?.clone(), place))).collect()
        };
        Self {
            by_id: index(|plan| Some(&plan.id)),
            by_price: index(|plan| plan.stripe_price.as_ref()),
            by_lookup_key: index(|plan| plan.lookup_key.as_ref()),
            by_product: index(|plan| plan.stripe_product.as_ref()),
            terms,
        }
    }

    /// The tier of whoever is entitled to no other.
    pub fn default_tier(&self) -> &str {
        &self.terms.default_tier
    }

    /// Whether a subscription in `status` gives what was bought. One that Stripe added later does not.
    pub fn is_entitled(&self, status: &str) -> bool {
        self.terms.entitled_statuses.contains(status)
    }

    /// How long after its first failed attempt a `past_due` subscription still entitles; `None`: as long as it is that.
    pub fn past_due_days(&self) -> Option<u32> {
        self.terms.past_due_days
    }

    /// The plan that `price` belongs to: by its id, else by its lookup key, else by its product.
    pub fn of_price(&self, price: &PriceRef) -> Option<&Plan> {
        let find = |index: &HashMap<String, usize>, key: Option<&String>| index.get(key?).copied();
        let place = find(&self.by_price, price.id.as_ref())
            .or_else(|| find(&self.by_lookup_key, price.lookup_key.as_ref()))
            .or_else(|| find(&self.by_product, price.product.as_ref()))?;
        self.terms.plans.get(place)
    }

    /// The plan that the operator calls `id`.
    pub fn by_id(&self, id: &str) -> Option<&Plan> {
        self.terms.plans.get(*self.by_id.get(id)?)
    }

    /// All of them, in the file's order.
    pub fn all(&self) -> &[Plan] {
        &self.terms.plans
    }

    /// Stands for what the file says (not for how it says it), to tell that it was changed: hex SHA-256.
    pub fn digest(&self) -> String {
        let json = serde_json::to_vec(&self.terms).expect("texts, numbers and maps with text keys are always JSON");
        hex::encode(Sha256::digest(json))
    }
}
