use std::sync::Arc;
use std::time::Duration;

use tollgate_db::Db;
use tollgate_shared::clock::from_unix;
use tollgate_shared::{Clock, RequestId, Rng};

use super::*;
use crate::on_each_engine;
use crate::testing::{self, START, event, subscription_of};
use crate::webhooks::inbox::Inbox;

/// A replica whose plans give `tier` for the price of the tests.
fn replica(db: &Db, clock: &Clock, tier: &str) -> (App, Inbox, ReapplyPlans) {
    let config = testing::config_with_plans(&testing::PLANS.replace("\"pro\"", &format!("\"{tier}\"")), &[]);
    let app = App::new(Arc::new(config), db.clone(), clock.clone(), Rng::system());
    (app.clone(), Inbox::open(app), ReapplyPlans::default())
}

async fn take(inbox: &Inbox, id: &str, customer: &str) {
    let request_id = RequestId::parse("req_of_a_test").unwrap();
    let event = event(id, "customer.subscription.updated", &subscription_of(customer, "active"));
    inbox.take(event.to_string().into(), &request_id).await.unwrap();
}

async fn tiers(db: &Db) -> Vec<(String, String)> {
    let mut tx = db.read().await.unwrap();
    tx.sql("SELECT id, tier FROM customers ORDER BY id").all().await.unwrap()
}

fn all(tier: &str) -> Vec<(String, String)> {
    ["cus_1", "cus_2"].map(|id| (id.to_owned(), tier.to_owned())).into()
}

#[test]
fn the_plans_of_the_replica_that_started_last_win() {
    on_each_engine!(async |db| {
        let clock = Clock::manual(from_unix(START).unwrap());
        let (old_app, old_inbox, old_job) = replica(&db, &clock, "silver");
        take(&old_inbox, "evt_1", "cus_1").await;
        take(&old_inbox, "evt_2", "cus_2").await;
        assert_eq!(old_job.run(&old_app).await.unwrap(), 0, "they were computed by its own plans");
        assert_eq!(tiers(&db).await, all("silver"));

        let (new_app, _new_inbox, new_job) = replica(&db, &clock, "gold");
        assert_eq!(new_job.run(&new_app).await.unwrap(), 2);
        assert_eq!(tiers(&db).await, all("gold"));
        // The old one works on for a while: its events are brought under the new plans, and nothing else of it counts.
        take(&old_inbox, "evt_3", "cus_2").await;
        assert_eq!(old_job.run(&old_app).await.unwrap(), 0);
        assert_eq!(new_job.run(&new_app).await.unwrap(), 1);
        assert_eq!(tiers(&db).await, all("gold"));
        assert_eq!(new_job.run(&new_app).await.unwrap(), 0);

        // The new one is taken back, and nobody starts again: what is left is the old one.
        clock.advance(Duration::from_secs(121));
        assert_eq!(old_job.run(&old_app).await.unwrap(), 2);
        assert_eq!(tiers(&db).await, all("silver"));
    });
}
