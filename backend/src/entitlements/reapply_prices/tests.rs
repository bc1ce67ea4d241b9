use serde_json::{Value, json};

use super::*;
use crate::on_each_engine;
use crate::testing::{START, Site, event};
use crate::webhooks::routes::INTAKE_PATH;

const PLANS: &str = r#"
default_tier = "free"

[[plan]]
id = "pro_monthly"
tier = "pro"
lookup_key = "pro_monthly"
"#;

fn subscription(customer: &str, lookup_key: &Value) -> Value {
    json!({
        "id": format!("sub_of_{customer}"), "object": "subscription", "customer": customer, "status": "active",
        "created": START, "items": { "object": "list", "total_count": 1, "data": [{
            "id": "si_1", "object": "subscription_item", "quantity": 1,
            "price": { "id": "price_old", "object": "price", "lookup_key": lookup_key, "product": "prod_x" },
        }]},
    })
}

#[test]
fn who_pays_an_old_price_has_its_plan_once_the_price_is_known() {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let plans = folder.path().join("plans.toml");
    std::fs::write(&plans, PLANS).expect("there is room for a file");
    on_each_engine!(async |db| {
        let site = Site::with(db, &[("PLANS_FILE", plans.to_str().expect("its path is a text"))]).await;
        let in_trouble = InTrouble::default();
        for (customer, lookup_key) in [("cus_early", Value::Null), ("cus_late", json!("pro_monthly"))] {
            let object = subscription(customer, &lookup_key);
            let event = event(&format!("evt_of_{customer}"), "customer.subscription.updated", &object);
            assert_eq!(site.post(INTAKE_PATH, &event).await.json()["outcome"], "processed");
        }
        let tier = async |customer: &str| site.get(&format!("/v1/customers/{customer}")).await.json()["tier"].clone();
        assert_eq!((tier("cus_early").await, tier("cus_late").await), (json!("free"), json!("pro")));
        assert_eq!(run(&site.app, &in_trouble).await.unwrap(), 1);
        assert_eq!(tier("cus_early").await, "pro");
        assert_eq!(run(&site.app, &in_trouble).await.unwrap(), 0);
    });
}
