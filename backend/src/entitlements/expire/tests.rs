use super::*;
use crate::on_each_engine;
use crate::testing::{TestApp, subscription_of};

#[test]
fn one_customer_in_trouble_delays_no_other_customers_end() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db.clone()).await;
        for customer in ["cus_1", "cus_2", "cus_3"] {
            let event = format!("evt_of_{customer}");
            app.take(&event, "customer.subscription.created", subscription_of(customer, "active")).await;
        }
        let mut tx = db.write().await.unwrap();
        let ended = tx.sql("UPDATE customers SET entitled_until = $1").bind(Timestamp::UNIX_EPOCH);
        assert_eq!(ended.run().await.unwrap(), 3);
        tx.sql("UPDATE customers SET history = '[{}]' WHERE id = 'cus_2'").run().await.unwrap();
        tx.commit().await.unwrap();

        let expire = Expire::default();
        assert_eq!(expire.run(&app.inner).await.unwrap(), 2);
        // The next look is for what has become due since.
        assert_eq!(expire.run(&app.inner).await.unwrap(), 0);
        let mut tx = db.read().await.unwrap();
        let due = ended_by(&mut tx, app.inner.clock.now(), None).await.unwrap();
        assert_eq!(due.into_iter().map(|(id, _)| id).collect::<Vec<_>>(), ["cus_2"]);
    });
}
