//! What the merchant sells: prices as Stripe knows them, and the `plans.toml` that gives them tiers.

use toml::{Table, Value};

use super::Stripe;
use super::model::{Coupon, Interval, Lasting, Price};

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
    trial_days: None,
};

/// 290.00 a year.
pub static PRO_YEARLY: Price = Price {
    id: "price_pro_year",
    product: "prod_pro",
    lookup_key: Some("pro_yearly"),
    currency: "usd",
    unit_amount: 29000,
    interval: Interval::Year,
    trial_days: None,
};

/// 99.00 a month, known by its lookup key.
pub static TEAM_MONTHLY: Price = Price {
    id: "price_1TeamMonthly",
    product: "prod_team",
    lookup_key: Some("team_monthly"),
    currency: "usd",
    unit_amount: 9900,
    interval: Interval::Month,
    trial_days: None,
};

/// 499.00 a month, known by its product.
pub static ENTERPRISE_MONTHLY: Price = Price {
    id: "price_1EnterpriseMonthly",
    product: "prod_enterprise",
    lookup_key: None,
    currency: "usd",
    unit_amount: 49900,
    interval: Interval::Month,
    trial_days: None,
};

/// 5.00 a month for something that no plan knows.
pub static STORAGE_ADDON: Price = Price {
    id: "price_1StorageAddon",
    product: "prod_storage",
    lookup_key: None,
    currency: "usd",
    unit_amount: 500,
    interval: Interval::Month,
    trial_days: None,
};

/// 129.00 a month: takes the lookup key of [`TEAM_MONTHLY`] over when the price is raised.
pub static TEAM_MONTHLY_RAISED: Price = Price {
    id: "price_1TeamMonthlyRaised",
    product: "prod_team",
    lookup_key: None,
    currency: "usd",
    unit_amount: 12900,
    interval: Interval::Month,
    trial_days: None,
};

/// What is billed by use, in no plan.
pub static API_CALLS: Price = Price {
    id: "price_1ApiCalls",
    product: "prod_api",
    lookup_key: None,
    currency: "usd",
    unit_amount: 1,
    interval: Interval::Month,
    trial_days: None,
};

/// 500.00 once, of a product that is a plan: a fee and no item of a subscription.
pub static ONBOARDING: Price = Price {
    id: "price_1Onboarding",
    product: "prod_enterprise",
    lookup_key: None,
    currency: "usd",
    unit_amount: 50000,
    interval: Interval::Once,
    trial_days: None,
};

/// 399.00 once, for good.
pub static PRO_FOR_GOOD: Price = Price {
    id: "price_1ProForGood",
    product: "prod_pro_for_good",
    lookup_key: None,
    currency: "usd",
    unit_amount: 39900,
    interval: Interval::Once,
    trial_days: None,
};

/// The prices that a plan knows, of subscriptions.
pub static ON_SALE: [&Price; 4] = [&PRO_MONTHLY, &PRO_YEARLY, &TEAM_MONTHLY, &ENTERPRISE_MONTHLY];

/// The names of its products.
pub const PRODUCTS: [(&str, &str); 6] = [
    ("prod_pro", "Pro"),
    ("prod_team", "Team"),
    ("prod_enterprise", "Enterprise"),
    ("prod_storage", "Storage"),
    ("prod_api", "API calls"),
    ("prod_pro_for_good", "Pro, for good"),
];

/// All of its prices.
pub static PRICES: [&Price; 9] = [
    &PRO_MONTHLY,
    &PRO_YEARLY,
    &TEAM_MONTHLY,
    &ENTERPRISE_MONTHLY,
    &STORAGE_ADDON,
    &TEAM_MONTHLY_RAISED,
    &API_CALLS,
    &ONBOARDING,
    &PRO_FOR_GOOD,
];

/// The codes that whoever pays may type in.
pub static COUPONS: [Coupon; 3] = [
    Coupon { id: "WELCOME", promotion: "promo_1Welcome", code: "WELCOME20", percent_off: 20, lasting: Lasting::Once },
    Coupon { id: "LOYAL", promotion: "promo_1Loyal", code: "LOYAL10", percent_off: 10, lasting: Lasting::Forever },
    Coupon { id: "GIFT", promotion: "promo_1Gift", code: "GIFT", percent_off: 100, lasting: Lasting::Once },
];

/// The `id` of the plan that is bought for good.
pub const LIFETIME_PLAN: &str = "lifetime";

impl Stripe {
    /// Sells what a `plans.toml` names, and nothing else. What it leaves open (a plan of any price of a product) is sold
    /// for a round sum. The error says what is no plan.
    pub fn sell_plans(&mut self, plans: &str) -> Result<(), String> {
        let file: Table = plans.parse().map_err(|error| format!("it is no TOML: {error}"))?;
        let plans = file.get("plan").and_then(Value::as_array).ok_or("it names no [[plan]]")?;
        self.prices.clear();
        self.products.clear();
        for plan in plans {
            let text = |name: &str| plan.get(name).and_then(Value::as_str);
            let id = text("id").ok_or("a plan has no id")?;
            let interval = match text("interval") {
                None => Interval::Month,
                Some("once") => Interval::Once,
                Some(name) => {
                    Interval::named(name).ok_or_else(|| format!("{id} has an interval that is none: {name}"))?
                }
            };
            let product = text("stripe_product").map_or_else(|| format!("prod_{id}"), str::to_owned);
            self.products.insert(product.clone(), text("name").unwrap_or(id).to_owned());
            self.add_price(Price {
                id: kept(text("stripe_price").unwrap_or(&format!("price_{id}"))),
                product: kept(&product),
                lookup_key: text("lookup_key").map(kept),
                currency: kept(text("currency").unwrap_or("usd")),
                unit_amount: plan.get("unit_amount").and_then(Value::as_integer).unwrap_or(10_000),
                interval,
                trial_days: None,
            });
        }
        Ok(())
    }

    /// Sells something more. A price is for ever: so is what it takes of this process's memory.
    pub fn add_price(&mut self, price: Price) -> &'static Price {
        let price = &*Box::leak(Box::new(price));
        self.prices.push(price);
        price
    }
}

/// A text for ever, as those of a price are.
pub fn kept(text: &str) -> &'static str {
    Box::leak(text.to_owned().into_boxed_str())
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_of_plans_names_is_sold() {
        let mut stripe = Stripe::new(1);
        stripe.sell_plans(PLANS).unwrap();
        let sold: Vec<_> = stripe.prices.iter().map(|price| (price.id, price.unit_amount, price.interval)).collect();
        let expected = [
            ("price_pro_month", 2900, Interval::Month),
            ("price_pro_year", 29000, Interval::Year),
            ("price_team_monthly", 9900, Interval::Month),
            ("price_enterprise_monthly", 49900, Interval::Month),
            ("price_1ProForGood", 39900, Interval::Once),
        ];
        assert_eq!(sold, expected);
        assert_eq!(stripe.lookup_key_of(stripe.prices[2]), Some("team_monthly"));
        assert_eq!(stripe.prices[3].product, "prod_enterprise");
        for wrong in ["", "[[plan]]\nname = 1", "[[plan]]\nid = \"a\"\ninterval = \"century\"", "{"] {
            assert!(stripe.sell_plans(wrong).is_err(), "{wrong}");
        }
    }
}
