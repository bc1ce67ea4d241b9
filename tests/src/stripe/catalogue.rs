//! What the merchant sells: prices as Stripe knows them, and the `plans.toml` that gives them tiers.

use super::model::{Interval, Price};

/// The plans that stacks run with: one by each of the three ways to name a price, and one that is bought for good.
pub const PLANS: &str = r#"
default_tier = "free"
entitled_statuses = ["trialing", "active", "past_due"]

[[plan]]
id = "pro_monthly"
tier = "pro"
name = "Pro, monthly"
stripe_price = "price_pro_month"
currency = "usd"
unit_amount = 2900
interval = "month"
max_activations = 3
features = { sync = true, seats = 3 }

[[plan]]
id = "pro_yearly"
tier = "pro"
name = "Pro, yearly"
stripe_price = "price_pro_year"
currency = "usd"
unit_amount = 29000
interval = "year"
max_activations = 3
features = { sync = true, seats = 3 }

[[plan]]
id = "team_monthly"
tier = "team"
name = "Team, monthly"
lookup_key = "team_monthly"
currency = "usd"
unit_amount = 9900
interval = "month"
max_activations = 10
per_quantity = true
features = { sync = true, seats = 10 }

[[plan]]
id = "enterprise_monthly"
tier = "enterprise"
name = "Enterprise, monthly"
stripe_product = "prod_enterprise"
currency = "usd"
unit_amount = 49900
interval = "month"
max_activations = 100
features = { sync = true, seats = 100 }

[[plan]]
id = "lifetime"
tier = "lifetime"
name = "Pro, for good"
stripe_price = "price_1ProForGood"
currency = "usd"
unit_amount = 39900
interval = "once"
max_activations = 5
features = { sync = true, seats = 5 }
"#;

/// The tier of a customer without an entitled subscription.
pub const DEFAULT_TIER: &str = "free";

/// 29.00 a month, known to `plans.toml` by its price id.
pub static PRO_MONTHLY: Price = Price {
    id: "price_pro_month",
    product: "prod_pro",
    lookup_key: None,
    currency: "usd",
    unit_amount: 2900,
    interval: Interval::Month,
};

/// 290.00 a year.
pub static PRO_YEARLY: Price = Price {
    id: "price_pro_year",
    product: "prod_pro",
    lookup_key: Some("pro_yearly"),
    currency: "usd",
    unit_amount: 29000,
    interval: Interval::Year,
};

/// 99.00 a month, known by its lookup key.
pub static TEAM_MONTHLY: Price = Price {
    id: "price_1TeamMonthly",
    product: "prod_team",
    lookup_key: Some("team_monthly"),
    currency: "usd",
    unit_amount: 9900,
    interval: Interval::Month,
};

/// 499.00 a month, known by its product.
pub static ENTERPRISE_MONTHLY: Price = Price {
    id: "price_1EnterpriseMonthly",
    product: "prod_enterprise",
    lookup_key: None,
    currency: "usd",
    unit_amount: 49900,
    interval: Interval::Month,
};

/// 5.00 a month for something that no plan knows.
pub static STORAGE_ADDON: Price = Price {
    id: "price_1StorageAddon",
    product: "prod_storage",
    lookup_key: None,
    currency: "usd",
    unit_amount: 500,
    interval: Interval::Month,
};

/// 129.00 a month: takes the lookup key of [`TEAM_MONTHLY`] over when the price is raised.
pub static TEAM_MONTHLY_RAISED: Price = Price {
    id: "price_1TeamMonthlyRaised",
    product: "prod_team",
    lookup_key: None,
    currency: "usd",
    unit_amount: 12900,
    interval: Interval::Month,
};

/// What is billed by use, in no plan.
pub static API_CALLS: Price = Price {
    id: "price_1ApiCalls",
    product: "prod_api",
    lookup_key: None,
    currency: "usd",
    unit_amount: 1,
    interval: Interval::Month,
};

/// 500.00 once, of a product that is a plan: a fee and no item of a subscription.
pub static ONBOARDING: Price = Price {
    id: "price_1Onboarding",
    product: "prod_enterprise",
    lookup_key: None,
    currency: "usd",
    unit_amount: 50000,
    interval: Interval::Once,
};

/// 399.00 once, for good.
pub static PRO_FOR_GOOD: Price = Price {
    id: "price_1ProForGood",
    product: "prod_pro_for_good",
    lookup_key: None,
    currency: "usd",
    unit_amount: 39900,
    interval: Interval::Once,
};

/// The prices that a plan knows, of subscriptions.
pub static ON_SALE: [&Price; 4] = [&PRO_MONTHLY, &PRO_YEARLY, &TEAM_MONTHLY, &ENTERPRISE_MONTHLY];

/// The `id` of the plan that is bought for good.
pub const LIFETIME_PLAN: &str = "lifetime";

/// What [`PLANS`] gives for a price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Its tier.
    pub tier: &'static str,
    /// How many machines a licence may be active on.
    pub machines: i64,
    /// Whether so many for each unit that was bought.
    pub per_quantity: bool,
}

/// What is given for good.
pub const LIFETIME: Terms = Terms { tier: "lifetime", machines: 5, per_quantity: false };

/// What [`PLANS`] gives for an item of a subscription. By product alone: whatever price a lookup key moves to, those who
/// bought under it have what they bought.
pub fn terms_of(price: &Price) -> Option<Terms> {
    let (tier, machines, per_quantity) = match price.product {
        "prod_pro" => ("pro", 3, false),
        "prod_team" => ("team", 10, true),
        "prod_enterprise" => ("enterprise", 100, false),
        _ => return None,
    };
    Some(Terms { tier, machines, per_quantity })
}
