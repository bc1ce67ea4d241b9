//! Refetches, against a Stripe that fails for one object.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tollgate_db::{Db, Lock};
use tollgate_domain::subscriptions::Subscription;
use tollgate_shared::clock::from_unix;
use tollgate_shared::{Clock, RequestId, Rng};

use crate::app::App;
use crate::on_each_engine;
use crate::testing::{self, START, event, subscription_of};
use crate::webhooks::inbox::Inbox;

/// What was asked for: the path, and the account that it was asked of.
type Asked = Arc<Mutex<Vec<(String, Option<String>)>>>;

/// Starts a Stripe that knows every subscription with a quantity of 7, but fails for the customer `cus_bad`.
async fn stripe() -> (String, Asked) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let asked = Asked::default();
    let log = asked.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let log = log.clone();
            let answer = service_fn(move |request: Request<Incoming>| {
                let path = request.uri().path().to_owned();
                let account = request.headers().get("stripe-account").map(|id| id.to_str().unwrap().to_owned());
                log.lock().unwrap().push((path.clone(), account));
                let customer = path.rsplit("sub_of_").next().unwrap().to_owned();
                let (status, body) = match &*customer {
                    "cus_bad" => (500, json!({ "error": { "type": "api_error" } })),
                    customer => (200, with_quantity(customer, 7)),
                };
                let response = Response::builder().status(status).body(Full::new(Bytes::from(body.to_string())));
                async { Ok::<_, Infallible>(response.unwrap()) }
            });
            tokio::spawn(async move {
                let server = auto::Builder::new(TokioExecutor::new());
                let _ = server.serve_connection(TokioIo::new(stream), answer).await;
            });
        }
    });
    (base, asked)
}

fn with_quantity(customer: &str, quantity: i64) -> Value {
    let mut subscription = subscription_of(customer, "active");
    subscription["items"]["data"][0]["quantity"] = quantity.into();
    subscription
}

/// Hands in two snapshots of one second, neither of which says what was before.
async fn hand_in_ambiguous(inbox: &Inbox, customer: &str, account: Option<&str>) {
    let request_id = RequestId::parse("req_of_a_test").unwrap();
    for quantity in [1, 2] {
        let id = format!("evt_{customer}_{quantity}");
        let mut event = event(&id, "customer.subscription.updated", &with_quantity(customer, quantity));
        event["account"] = account.into();
        inbox.take(event.to_string().into(), &request_id).await.unwrap();
    }
}

async fn quantity(db: &Db, customer: &str) -> Option<i64> {
    let mut tx = db.read().await.unwrap();
    let key = [format!("sub_of_{customer}")].into();
    tx.load::<Subscription>("id", &key, Lock::None).await.unwrap().pop()?.quantity
}

#[test]
fn an_object_that_cannot_be_fetched_holds_up_no_other() {
    on_each_engine!(async |db| {
        let (base, asked) = stripe().await;
        let config = testing::config(&[
            ("STRIPE_SECRET_KEY", "sk_test_1"),
            ("STRIPE_API_BASE", &base),
            ("STRIPE_ACCOUNTS", "acct_ours"),
        ]);
        let clock = Clock::manual(from_unix(START).unwrap());
        let inbox = Inbox::open(App::new(Arc::new(config), db.clone(), clock, Rng::seeded(1)));
        hand_in_ambiguous(&inbox, "cus_bad", None).await;
        hand_in_ambiguous(&inbox, "cus_good", Some("acct_ours")).await;
        while quantity(&db, "cus_good").await != Some(7) {}
        assert_eq!(quantity(&db, "cus_bad").await, Some(2), "its events' ids decide until Stripe answers");
        while inbox.refetches_waiting() > 1 {
            tokio::task::yield_now().await;
        }
        let asked = asked.lock().unwrap();
        let account_of = |path: &str| asked.iter().find(|(asked, _)| asked == path).unwrap().1.as_deref();
        assert_eq!(account_of("/v1/subscriptions/sub_of_cus_bad"), None);
        assert_eq!(account_of("/v1/subscriptions/sub_of_cus_good"), Some("acct_ours"));
    });
}
