//! What the merchant sells: prices as Stripe knows them, and the `plans.toml` that gives them tiers.

use super::model::{Interval, Price};

/// The plans that stacks run with, one by each of the three ways to name a price.
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

/// The prices that a plan knows.
pub static ON_SALE: [&Price; 4] = [&PRO_MONTHLY, &PRO_YEARLY, &TEAM_MONTHLY, &ENTERPRISE_MONTHLY];

/// What `plans.toml` says of a price: its tier and how many machines.
pub fn plan_of(price: &Price) -> Option<(&'static str, i64)> {
    match price.product {
        "prod_pro" => Some(("pro", 3)),
        "prod_team" => Some(("team", 10)),
        "prod_enterprise" => Some(("enterprise", 100)),
        _ => None,
    }
}
