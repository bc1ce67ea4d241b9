//! How much an event loads: what it may change, and not all that its customer has ever done.

use tollgate_db::UnitOfWork;
use tollgate_domain::apply::{self, Touched};
use tollgate_domain::charges::Charge;
use tollgate_domain::purchases::Purchase;

use super::*;

const WITH_GRACE: &str = r#"
default_tier = "free"
past_due_days = 14

[[plan]]
id = "pro_monthly"
tier = "pro"
stripe_price = "price_pro_month"
interval = "month"
"#;

/// An attempt at an invoice that failed.
fn failed(id: &str, second: i64, invoice: &str) -> Bytes {
    let object = json!({
        "id": invoice, "object": "invoice", "customer": "cus_1", "status": "open", "currency": "usd",
        "amount_due": 2900, "amount_paid": 0, "attempt_count": 1, "created": START + second,
        "parent": { "type": "subscription_details", "subscription_details": { "subscription": "sub_of_cus_1" } },
        "lines": { "data": [] },
    });
    event(id, "invoice.payment_failed", second, object)
}

/// The subscription in `status`, whose newest invoice is `invoice`.
fn billed(id: &str, second: i64, status: &str, invoice: &str) -> Bytes {
    let mut object = subscription("cus_1", status, 1);
    object["latest_invoice"] = invoice.into();
    event(id, "customer.subscription.updated", second, object)
}

/// What an event that is about the customer and nothing else loads.
async fn loaded(app: &App) -> UnitOfWork {
    let mut tx = app.begin_write().await.unwrap();
    apply::load(&mut tx, &app.settings, app.clock.now(), &Touched::customer("cus_1")).await.unwrap()
}

fn invoices(work: &UnitOfWork) -> Vec<&str> {
    work.all().map(|invoice: &Invoice| invoice.id.as_str()).collect()
}

#[test]
fn with_a_grace_only_the_invoice_that_decides_it_is_loaded() {
    on_each_engine!(async |db| {
        let config = testing::config_with_plans(WITH_GRACE, &[]);
        let app = App::new(Arc::new(config), db.clone(), clock(), Rng::system());
        let inbox = Inbox::open(app.clone());
        let mut events: Vec<_> =
            (0..40).map(|n| paid(&format!("paid_{n}"), "cus_1", n, &format!("in_paid_{n}"))).collect();
        events.extend((40..50).map(|n| failed(&format!("old_{n}"), n, &format!("in_old_{n}"))));
        events.push(billed("active", 60, "active", "in_paid_39"));
        for event in &events {
            assert_eq!(take(&inbox, event).await, Ok(Outcome::Processed));
        }
        assert_eq!(count(&db, "SELECT COUNT(*) FROM invoices").await, 50);
        let work = loaded(&app).await;
        assert_eq!(invoices(&work), [""; 0], "nothing has failed");
        // Nor any of the rest, as nothing is sold for good.
        assert_eq!(
            (work.all::<Payment>().count(), work.all::<Charge>().count(), work.all::<Purchase>().count()),
            (0, 0, 0)
        );

        for event in [failed("latest", 70, "in_latest"), billed("past_due", 71, "past_due", "in_latest")] {
            assert_eq!(take(&inbox, &event).await, Ok(Outcome::Processed));
        }
        assert_eq!(invoices(&loaded(&app).await), ["in_latest"]);
        let failed_at = from_unix(START + 70).unwrap();
        let entitled_until = end(&db, "cus_1").await.customer.entitled_until;
        assert_eq!(entitled_until, Some(failed_at + chrono::Duration::days(14)), "and it decides");
    });
}
