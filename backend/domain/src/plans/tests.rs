use super::*;
use crate::toml_file::FileError;

const PLANS: &str = r#"
default_tier = "free"

[[plan]]
id = "pro_monthly"
tier = "pro"
name = "Pro, monthly"
stripe_price = "price_pro_month"
currency = "USD"
unit_amount = 2900
interval = "month"
max_activations = 3
features = { sync = true, seats = 3, since = 2026-01-01, regions = ["eu", "us"] }

[[plan]]
id = "team_yearly"
tier = "team"
lookup_key = "team_year"

[[plan]]
id = "enterprise"
tier = "enterprise"
stripe_product = "prod_enterprise"
"#;

fn plans() -> Plans {
    Plans::parse(PLANS).expect("the plans of these tests are right")
}

fn price(id: &str, lookup_key: &str, product: &str) -> PriceRef {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    PriceRef { id: some(id), lookup_key: some(lookup_key), product: some(product) }
}

fn plan_of(id: &str, lookup_key: &str, product: &str) -> Option<String> {
    plans().of_price(&price(id, lookup_key, product), Sale::Recurring).map(|plan| plan.id.clone())
}

/// What is said of `PLANS` with one line changed.
fn problem(line: &str, changed: &str) -> String {
    assert!(PLANS.contains(line), "{line} is in no plan of these tests");
    Plans::parse(&PLANS.replacen(line, changed, 1)).expect_err(changed).to_string()
}

#[test]
fn a_plan_is_what_the_file_says_in_our_forms() {
    let plans = plans();
    let pro = plans.by_id("pro_monthly").unwrap();
    assert_eq!((&*pro.tier, &*pro.name, pro.max_activations), ("pro", "Pro, monthly", 3));
    assert_eq!(
        (pro.currency.as_deref(), pro.unit_amount, pro.interval.as_deref()),
        (Some("usd"), Some(2900), Some("month"))
    );
    assert_eq!(
        serde_json::Value::from(pro.features.clone()),
        serde_json::json!({"sync": true, "seats": 3, "since": "2026-01-01", "regions": ["eu", "us"]})
    );
    assert_eq!(
        plans.all().iter().map(|plan| &*plan.id).collect::<Vec<_>>(),
        ["pro_monthly", "team_yearly", "enterprise"]
    );
}

#[test]
fn what_a_plan_does_not_say_has_a_default() {
    let plans = plans();
    let team = plans.by_id("team_yearly").unwrap();
    assert_eq!((&*team.name, team.max_activations, team.unit_amount), ("team_yearly", 1, None));
    assert!(team.features.is_empty());
    assert!(plans.by_id("team_monthly").is_none());
}

#[test]
fn a_price_is_found_by_its_id_else_its_lookup_key_else_its_product() {
    assert_eq!(plan_of("price_pro_month", "", "").as_deref(), Some("pro_monthly"));
    assert_eq!(plan_of("price_pro_month", "team_year", "prod_enterprise").as_deref(), Some("pro_monthly"));
    assert_eq!(plan_of("price_new", "team_year", "prod_enterprise").as_deref(), Some("team_yearly"));
    assert_eq!(plan_of("price_new", "new", "prod_enterprise").as_deref(), Some("enterprise"));
    assert_eq!(plan_of("", "", "prod_enterprise").as_deref(), Some("enterprise"));
}

#[test]
fn a_price_that_no_plan_names_has_none() {
    assert_eq!(plan_of("price_new", "new", "prod_new"), None);
    assert_eq!(plan_of("", "", ""), None);
    // Not crosswise either.
    assert_eq!(plan_of("team_year", "prod_enterprise", "price_pro_month"), None);
}

#[test]
fn trialing_active_and_past_due_entitle_where_the_file_does_not_say() {
    let plans = plans();
    assert!(["trialing", "active", "past_due"].into_iter().all(|status| plans.is_entitled(status)));
    let others = ["unpaid", "paused", "incomplete", "incomplete_expired", "canceled", "glorious", ""];
    assert!(!others.into_iter().any(|status| plans.is_entitled(status)));
    assert_eq!(plans.past_due_days(), None);
}

#[test]
fn the_file_may_say_what_entitles_and_for_how_long() {
    let file = format!("entitled_statuses = [\"active\", \"paused\"]\npast_due_days = 14\n{PLANS}");
    let plans = Plans::parse(&file).unwrap();
    assert!(plans.is_entitled("active") && plans.is_entitled("paused"));
    assert!(!plans.is_entitled("trialing") && !plans.is_entitled("past_due"));
    assert_eq!(plans.past_due_days(), Some(14));
}

#[test]
fn each_mistake_is_named_with_its_plan_and_key() {
    let team = r#"tier = "team""#;
    for (line, changed, expected) in [
        (r#"default_tier = "free""#, "", "`default_tier` is missing"),
        (r#"default_tier = "free""#, r#"default_tier = " ""#, "`default_tier` is not a text, or blank"),
        (team, "", "plan `team_yearly`: `tier` is missing"),
        (team, "tier = 3", "plan `team_yearly`: `tier` is not a text, or blank"),
        (r#"id = "team_yearly""#, "", "plan number 2: `id` is missing"),
        (r#"id = "team_yearly""#, r#"id = "enterprise""#, "plan `enterprise`: `id` is also that of another plan"),
        (
            r#"lookup_key = "team_year""#,
            "",
            "plan `team_yearly`: `stripe_price` is missing, or `lookup_key` or `stripe_product` in its place",
        ),
        (
            r#"lookup_key = "team_year""#,
            r#"stripe_price = "price_pro_month""#,
            "plan `team_yearly`: `stripe_price` is also that of plan `pro_monthly`",
        ),
        ("unit_amount = 2900", "unit_amount = -1", "`unit_amount` is not a whole number from 0 to 999999999999"),
        ("unit_amount = 2900", "unit_amount = 29.0", "`unit_amount` is not a whole number from 0 to 999999999999"),
        (r#"currency = "USD""#, "", "plan `pro_monthly`: `currency` is missing: an amount needs one"),
        (r#"currency = "USD""#, r#"currency = "dollars""#, "`currency` is not an ISO 4217 code such as `usd`"),
        (r#"interval = "month""#, r#"interval = "monthly""#, "`interval` is not one of `day`, `week`, `month`, `year`"),
        ("max_activations = 3", "max_activations = -3", "`max_activations` is not a whole number from 0 to 10000"),
        ("seats = 3", "seats = nan", "plan `pro_monthly`: `features` is not a table of values that JSON has too"),
        (
            team,
            "tier = \"team\"\nstripe_prise = \"x\"",
            "plan `team_yearly`: `stripe_prise` is no key that is known here",
        ),
        (r#"default_tier = "free""#, "default_tier = \"free\"\nplans = []", "`plans` is no key that is known here"),
        (
            r#"default_tier = "free""#,
            "default_tier = \"free\"\nentitled_statuses = [\"canceled\"]",
            "`entitled_statuses` is not a list of `trialing`",
        ),
        (
            r#"default_tier = "free""#,
            "default_tier = \"free\"\npast_due_days = -1",
            "`past_due_days` is not a whole number from 0 to 3650",
        ),
    ] {
        let said = problem(line, changed);
        assert!(said.contains(expected), "{changed}: {said}");
    }
}

#[test]
fn all_mistakes_are_named_at_once() {
    let file = PLANS.replace("unit_amount = 2900", "unit_amount = -1").replace(r#"tier = "team""#, "");
    let Err(FileError::Unusable(problems)) = Plans::parse(&file) else { panic!("two mistakes were accepted") };
    assert_eq!(problems.len(), 2, "{problems:?}");
}

#[test]
fn a_single_table_in_place_of_a_list_of_plans_is_refused() {
    let said = Plans::parse("default_tier = \"free\"\n[plan]\nid = \"pro\"").unwrap_err().to_string();
    assert_eq!(said, "`plan` is not a list of tables: write `[[plan]]` above each");
}

#[test]
fn a_file_that_is_no_toml_says_where() {
    let said = Plans::parse("default_tier = \"free\"\n\n[[plan]\n").unwrap_err().to_string();
    assert!(said.starts_with("is not TOML: line 3: "), "{said}");
}

#[test]
fn a_file_that_is_not_there_or_too_large_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plans.toml");
    assert_eq!(Plans::load(&path).unwrap_err().to_string(), "cannot be read: entity not found");
    std::fs::write(&path, PLANS).unwrap();
    assert_eq!(Plans::load(&path).unwrap(), plans());
    std::fs::write(&path, format!("{PLANS}#{}", "x".repeat(4 << 20))).unwrap();
    assert!(matches!(Plans::load(&path), Err(FileError::TooLarge)));
}

#[test]
fn the_digest_stands_for_what_the_file_says_and_not_for_how() {
    let digest = |file: &str| Plans::parse(file).unwrap().digest().to_owned();
    assert_eq!(digest(PLANS), digest(&format!("# A comment.\n{}", PLANS.replace("\"USD\"", "\"usd\""))));
    assert_ne!(digest(PLANS), digest(&PLANS.replace("max_activations = 3", "max_activations = 4")));
    assert_ne!(digest(PLANS), digest(&PLANS.replace(r#"default_tier = "free""#, r#"default_tier = "none""#)));
    assert_eq!(digest(PLANS).len(), 64);
}

#[test]
fn the_file_at_the_root_of_the_project_can_be_used() {
    let plans = Plans::load(std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../plans.toml"))).unwrap();
    assert_eq!(plans.default_tier(), "free");
    assert_eq!(plans.of_price(&price("price_pro_month", "", ""), Sale::Recurring).unwrap().tier, "pro");
}

const LIFETIME: &str = r#"
default_tier = "free"

[[plan]]
id = "pro_monthly"
tier = "pro"
stripe_price = "price_pro_month"
interval = "month"

[[plan]]
id = "pro_lifetime"
tier = "pro"
stripe_product = "prod_pro"
interval = "once"
max_activations = 5
per_quantity = true
"#;

#[test]
fn what_is_bought_for_good_is_no_plan_of_a_subscription() {
    let plans = Plans::parse(LIFETIME).expect("the plans of this test are right");
    let plan_of = |id: &str, sale| plans.of_price(&price(id, "", "prod_pro"), sale).map(|plan| plan.id.as_str());
    assert_eq!(plan_of("price_pro_month", Sale::Recurring), Some("pro_monthly"));
    assert_eq!(plan_of("price_pro_year", Sale::Recurring), None);
    assert_eq!(plan_of("price_pro_once", Sale::ForGood), Some("pro_lifetime"));
    assert!(plans.sell_for_good() && !self::plans().sell_for_good());
}

#[test]
fn machines_are_counted_by_the_plan_or_by_each_unit_of_it() {
    let plans = Plans::parse(LIFETIME).expect("the plans of this test are right");
    let activations = |id: &str, quantity| plans.by_id(id).expect("it is one of them").activations_of(quantity);
    assert_eq!(activations("pro_monthly", Some(25)), 1);
    for (quantity, machines) in [(None, 5), (Some(0), 5), (Some(1), 5), (Some(25), 125), (Some(i64::MAX), i64::MAX)] {
        assert_eq!(activations("pro_lifetime", quantity), machines, "{quantity:?}");
    }
}

#[test]
fn a_switch_is_true_or_false() {
    let text = LIFETIME.replace("per_quantity = true", "per_quantity = \"yes\"");
    let problem = Plans::parse(&text).expect_err("it is a text").to_string();
    assert_eq!(problem, "plan `pro_lifetime`: `per_quantity` is not `true` or `false`");
}
