//! Pods, on both engines: by their routes, and by what Stripe and the company tell of them.

mod any_order;
mod joining;
mod moving;
mod retries;
mod rounds;
mod year;

use std::collections::BTreeSet;
use std::time::Duration as StdDuration;

use chrono::Duration;
use rocket::http::{ContentType, Header, Method};
use serde_json::{Value, json};
use tollgate_db::{Db, Lock};
use tollgate_domain::apply::Touched;
use tollgate_domain::contributions::Contribution;
use tollgate_domain::memberships::joining::{Joined, join};
use tollgate_domain::pods::Pod;
use tollgate_shared::clock::{from_unix, rfc3339};

use crate::on_each_engine;
use crate::pods::by_time;
use crate::testing::{START, TestApp, TestResponse, assert_only_for_users, event, signed_in, subscription_of};
use crate::webhooks::routes::INTAKE_PATH;

const DAY: i64 = 86_400;

fn day(days: i64) -> String {
    rfc3339(from_unix(START).unwrap() + Duration::days(days))
}

/// Twelve members at most, three contributions of 50.00, the first in seven days.
fn ajo() -> Value {
    json!({
        "name": "Ajo", "amount": 5000, "currency": "NGN", "cadence": "weekly", "firstContributionDate": day(7),
        "maxMembers": 12, "contributionsTotal": 3,
    })
}

async fn ask(app: &TestApp, method: Method, path: &str, user: &str, body: &Value) -> TestResponse {
    let request = app.client.req(method, path.to_owned()).header(signed_in(user, "user"));
    TestResponse::of(request.header(ContentType::JSON).body(body.to_string())).await
}

async fn see(app: &TestApp, path: &str, user: &str) -> TestResponse {
    app.as_user(Method::Get, path, &signed_in(user, "user")).await
}

async fn made(app: &TestApp, body: &Value) -> Value {
    let made = ask(app, Method::Post, "/api/pods", "user_1", body).await;
    assert_eq!(made.status, 201, "{made:?}");
    made.json()
}

fn id_of(shown: &Value) -> String {
    shown["id"].as_str().unwrap_or_else(|| panic!("no id: {shown}")).to_owned()
}

/// A seat in a pod, for which Stripe was asked.
async fn begun(app: &TestApp, pod: &str, user: &str) -> String {
    let joined = app.inner.write(&Touched::pod(pod), |work| join(work, pod, user, None, None)).await;
    match joined.unwrap().0 {
        Joined::Begun(row) => row.id,
        other => panic!("{other:?}"),
    }
}

fn savings(pod: &str, membership: &str) -> Value {
    json!({ "pod_id": pod, "membership_id": membership, "user_id": "user_2" })
}

/// The same, with the subscription that Stripe made.
async fn member(app: &TestApp, pod: &str) -> String {
    let membership = begun(app, pod, "user_2").await;
    let mut subscription = subscription_of("cus_2", "active");
    subscription["metadata"] = savings(pod, &membership);
    app.take("evt_made", "customer.subscription.created", subscription).await;
    membership
}

fn invoice(pod: &str, membership: &str, id: &str, status: &str) -> Value {
    json!({
        "id": id, "object": "invoice", "customer": "cus_2", "status": status, "currency": "ngn", "amount_due": 5000,
        "amount_paid": if status == "paid" { 5000 } else { 0 }, "attempt_count": 1, "created": START + 7 * DAY,
        "parent": {
            "type": "subscription_details",
            "subscription_details": { "subscription": "sub_of_cus_2", "metadata": savings(pod, membership) },
        },
        "lines": { "object": "list", "data": [] },
        "status_transitions": { "paid_at": (status == "paid").then_some(START + 7 * DAY) },
    })
}

async fn told(app: &TestApp, pod: &str, reference: &str, status: &str) -> TestResponse {
    let body = json!({
        "podId": pod, "stripeReference": reference, "amount": 5000, "currency": "NGN", "status": status,
        "userId": "user_2",
    });
    app.post("/v1/payments", &body).await
}

/// Of the one membership: status, progress, and what was paid, is pending and is overdue.
async fn sums(app: &TestApp) -> (String, [i64; 4]) {
    let mine = see(app, "/api/pods/mine", "user_2").await.json();
    let row = &mine["data"][0];
    let number = |name: &str| row[name].as_i64().unwrap_or_else(|| panic!("no {name}: {mine}"));
    let numbers = ["contributionProgress", "totalContributed", "pendingAmount", "overdueAmount"].map(number);
    (row["status"].as_str().unwrap().to_owned(), numbers)
}

#[rocket::async_test]
async fn pods_are_for_users_alone() {
    assert_only_for_users(&[
        (Method::Get, "/api/pods"),
        (Method::Get, "/api/pods/mine"),
        (Method::Get, "/api/pods/pod_1"),
    ])
    .await;
}

#[test]
fn a_pod_is_found_by_those_whom_it_is_for() {
    on_each_engine!(async |db: Db| {
        let app = TestApp::on(db).await;
        let public = made(&app, &ajo()).await;
        assert_eq!(
            (&public["status"], &public["joinable"], &public["isCreator"]),
            (&json!("open"), &json!(true), &json!(true))
        );
        assert_eq!((&public["members"], &public["membership"]), (&json!([]), &Value::Null));
        assert_eq!((&public["endsAt"], &public["inviteCode"]), (&json!(day(28)), &Value::Null));
        let mut later = ajo();
        later["currency"] = json!("usd");
        later["firstContributionDate"] = json!(day(3));
        made(&app, &later).await;
        let mut private = ajo();
        private["visibility"] = json!("private");
        let private = made(&app, &private).await;
        let code = private["inviteCode"].as_str().expect("its creator is told the code").to_owned();

        let listed = see(&app, "/api/pods", "user_3").await.json();
        let currencies: Vec<_> = listed["data"].as_array().unwrap().iter().map(|pod| pod["currency"].clone()).collect();
        assert_eq!(currencies, ["usd", "ngn"], "the soonest first");
        let first = see(&app, "/api/pods?limit=1", "user_3").await.json();
        let next = format!("/api/pods?limit=1&cursor={}", first["nextCursor"].as_str().unwrap());
        assert_eq!(see(&app, &next, "user_3").await.json()["data"][0]["id"], public["id"]);
        let filtered = see(&app, "/api/pods?currency=NGN&cadence=weekly", "user_3").await.json();
        assert_eq!(filtered["data"].as_array().map(Vec::len), Some(1));
        assert_eq!(see(&app, "/api/pods?cadence=daily", "user_3").await.refusal().0, 422);

        let path = format!("/api/pods/{}", id_of(&private));
        assert_eq!(see(&app, &path, "user_3").await.refusal(), (404, "not_found".to_owned()));
        let shown = see(&app, &format!("{path}?inviteCode={code}"), "user_3").await.json();
        assert_eq!(
            (&shown["members"], &shown["inviteCode"], &shown["isCreator"]),
            (&Value::Null, &Value::Null, &json!(false))
        );
        begun(&app, &id_of(&private), "user_3").await;
        let shown = see(&app, &path, "user_3").await.json();
        assert_eq!((&shown["memberCount"], &shown["membership"]["status"]), (&json!(1), &json!("joining")));
        assert_eq!(shown["members"][0]["isYou"], true);
    });
}

#[test]
fn its_creator_changes_a_pod_moves_its_date_and_calls_it_off() {
    on_each_engine!(async |db: Db| {
        let app = TestApp::on(db).await;
        let id = id_of(&made(&app, &ajo()).await);
        let path = format!("/api/pods/{id}");
        let change = json!({ "name": "Esusu", "description": "For the roof", "visibility": "private" });
        assert_eq!(ask(&app, Method::Patch, &path, "user_2", &change).await.refusal().0, 404);
        let changed = ask(&app, Method::Patch, &path, "user_1", &change).await;
        assert_eq!((changed.status, &changed.json()["name"]), (200, &json!("Esusu")));
        let moved = ask(&app, Method::Patch, &path, "user_1", &json!({ "nextContributionDate": day(9) })).await;
        assert_eq!((moved.status, &moved.json()["firstContributionDate"]), (202, &json!(day(9))));
        assert_eq!((&moved.json()["endsAt"], &moved.json()["description"]), (&json!(day(30)), &json!("For the roof")));
        let late = json!({ "nextContributionDate": rfc3339(from_unix(START + 60).unwrap()) });
        assert_eq!(ask(&app, Method::Patch, &path, "user_1", &late).await.refusal().0, 422);

        begun(&app, &id, "user_2").await;
        let called_off = ask(&app, Method::Post, &format!("{path}/cancel"), "user_1", &json!({})).await.json();
        assert_eq!((&called_off["status"], &called_off["memberCount"]), (&json!("canceled"), &json!(0)));
        assert_eq!(see(&app, "/api/pods/mine", "user_2").await.json()["data"][0]["status"], "canceled");
        let again = ask(&app, Method::Post, &format!("{path}/cancel"), "user_1", &json!({})).await;
        assert_eq!(again.status, 200, "again the same");
    });
}

#[test]
fn who_makes_pods_is_bounded() {
    on_each_engine!(async |db: Db| {
        let app = TestApp::with(db, &[("PODS_CREATED_BY", "users")]).await;
        let key = || Header::new("idempotency-key", "k");
        let twice = async || {
            let request = app.client.req(Method::Post, "/api/pods").header(signed_in("user_1", "user")).header(key());
            TestResponse::of(request.header(ContentType::JSON).body(ajo().to_string())).await
        };
        let (one, two) = (twice().await, twice().await);
        assert_eq!(
            (one.json()["id"].clone(), two.header("idempotent-replayed")),
            (two.json()["id"].clone(), Some("true"))
        );
        for _ in 1..10 {
            made(&app, &ajo()).await;
        }
        let refused = ask(&app, Method::Post, "/api/pods", "user_1", &ajo()).await;
        assert_eq!(refused.refusal(), (429, "rate_limited".to_owned()));
        assert!(refused.header("retry-after").is_some());
        let without_stripe = ask(&app, Method::Post, "/api/pods/pod_1/join", "user_2", &json!({})).await;
        assert_eq!(without_stripe.refusal(), (503, "stripe_not_configured".to_owned()));
    });
}

#[test]
fn money_is_counted_once_whoever_tells_of_it_first() {
    on_each_engine!(async |db: Db| {
        let app = TestApp::on(db).await;
        let pod = id_of(&made(&app, &ajo()).await);
        let membership = member(&app, &pod).await;
        assert_eq!(sums(&app).await, ("active".to_owned(), [0, 0, 0, 0]));

        // The company tells first, by the intent; then Stripe, of the invoice and of what ties the two.
        let first = told(&app, &pod, "pi_1", "pending").await;
        assert_eq!((first.status, sums(&app).await.1), (201, [0, 0, 5000, 0]));
        assert_eq!((told(&app, &pod, "pi_1", "succeeded").await.status, sums(&app).await.1), (200, [1, 5000, 0, 0]));
        let payment = json!({
            "id": "inpay_1", "object": "invoice_payment", "invoice": "in_1", "status": "paid",
            "payment": { "type": "payment_intent", "payment_intent": "pi_1" },
        });
        app.take("evt_tie", "invoice_payment.paid", payment).await;
        app.take("evt_paid", "invoice.paid", invoice(&pod, &membership, "in_1", "paid")).await;
        assert_eq!(sums(&app).await.1, [1, 5000, 0, 0], "the same money");
        // Stripe tells first, and the tie comes last.
        app.take("evt_paid_2", "invoice.paid", invoice(&pod, &membership, "in_2", "paid")).await;
        assert_eq!(told(&app, &pod, "in_2", "succeeded").await.status, 201);
        assert_eq!(told(&app, &pod, "pi_2", "pending").await.status, 201);
        let tie = json!({
            "id": "inpay_2", "object": "invoice_payment", "invoice": "in_2", "status": "paid",
            "payment": { "type": "payment_intent", "payment_intent": "pi_2" },
        });
        app.take("evt_tie_2", "invoice_payment.paid", tie).await;
        assert_eq!(sums(&app).await.1, [2, 10_000, 0, 0]);
        // What is given back is deducted, once it is known what it paid.
        let refund = json!({
            "id": "re_1", "object": "refund", "amount": 2000, "charge": "ch_2", "payment_intent": "pi_2",
            "currency": "ngn", "status": "succeeded",
        });
        app.take("evt_refund", "refund.created", refund).await;
        assert_eq!(sums(&app).await.1, [2, 8000, 0, 0]);

        let other = json!({
            "podId": pod, "stripeReference": "pi_1", "amount": 4000, "currency": "ngn", "status": "succeeded",
        });
        assert_eq!(app.post("/v1/payments", &other).await.refusal(), (409, "payment_mismatch".to_owned()));
        let nobody = json!({
            "podId": pod, "stripeReference": "pi_9", "amount": 5000, "currency": "ngn", "status": "succeeded",
            "userId": "user_9",
        });
        assert_eq!(app.post("/v1/payments", &nobody).await.refusal(), (404, "not_found".to_owned()));
        let path = format!("/api/pods/{pod}/contributions");
        let shown = see(&app, &path, "user_2").await.json();
        let references: BTreeSet<_> =
            shown["data"].as_array().unwrap().iter().map(|one| one["stripeReference"].as_str().unwrap()).collect();
        assert_eq!(references, BTreeSet::from(["pi_1", "pi_2"]));
        let history = app.as_user(Method::Get, "/api/invoices/history", &signed_in("user_2", "user")).await.json();
        assert_eq!((&history["data"][0]["podId"], history["data"].as_array().unwrap().len()), (&json!(pod), 2));
        let history = app.as_user(Method::Get, "/api/payments/history", &signed_in("user_2", "user")).await.json();
        assert_eq!(history["data"][0]["podId"], json!(pod));
        let customer = app.get("/v1/customers/cus_2").await.json();
        assert_eq!((&customer["tier"], &customer["subscription"]), (&json!("free"), &Value::Null));
        assert_eq!((&customer["licenses"], &customer["payments"]["totalPaid"]), (&json!([]), &json!(10_000)));
    });
}

#[test]
fn what_is_overdue_is_said_until_it_is_paid() {
    on_each_engine!(async |db: Db| {
        let app = TestApp::on(db).await;
        let pod = id_of(&made(&app, &ajo()).await);
        let membership = member(&app, &pod).await;
        app.take("evt_failed", "invoice.payment_failed", invoice(&pod, &membership, "in_1", "open")).await;
        assert_eq!(sums(&app).await, ("past_due".to_owned(), [0, 0, 0, 5000]));
        let active = app.get("/v1/pods/subscriptions/active").await.json();
        assert_eq!((&active[0]["status"], &active[0]["graceEndsAt"]), (&json!("past_due"), &json!(day(7))));
        assert_eq!((&active[0]["membershipId"], &active[0]["nextDate"]), (&json!(membership), &json!(day(7))));
        let (path, moved) = (format!("/api/pods/{pod}"), json!({ "nextContributionDate": day(9) }));
        let refused = ask(&app, Method::Patch, &path, "user_1", &moved).await;
        assert_eq!(refused.refusal(), (409, "contribution_under_way".to_owned()));
        app.take("evt_paid", "invoice.paid", invoice(&pod, &membership, "in_1", "paid")).await;
        assert_eq!(sums(&app).await, ("active".to_owned(), [1, 5000, 0, 0]));

        // A service has seen how it is: an observation like any other.
        let seen =
            json!({ "subscriptionId": "sub_of_cus_2", "status": "canceled", "currentPeriodEnd": START + 14 * DAY });
        let path = format!("/v1/pods/{pod}/subscription/status");
        let request = app.request(Method::Patch, &path).header(ContentType::JSON).body(seen.to_string());
        let applied = TestResponse::of(request).await.json();
        assert_eq!((&applied["applied"], &applied["membership"]["status"]), (&json!(true), &json!("canceled")));
        let back = json!({ "subscriptionId": "sub_of_cus_2", "status": "active" });
        let request = app.request(Method::Patch, &path).header(ContentType::JSON).body(back.to_string());
        assert_eq!(TestResponse::of(request).await.json()["applied"], false, "nothing that ended comes back");
        assert_eq!(app.get("/v1/pods/subscriptions/active?limit=1").await.json(), json!([]));
    });
}

#[test]
fn what_ends_with_its_pod_waits_for_its_grace_and_no_longer() {
    on_each_engine!(async |db: Db| {
        let app = TestApp::on(db).await;
        let mut once = ajo();
        once["contributionsTotal"] = json!(1);
        let pod = id_of(&made(&app, &once).await);
        let mut endless = ajo();
        endless["contributionsTotal"] = Value::Null;
        let endless = id_of(&made(&app, &endless).await);
        let membership = member(&app, &pod).await;
        app.take("evt_failed", "invoice.payment_failed", invoice(&pod, &membership, "in_1", "open")).await;
        let mut over = subscription_of("cus_2", "canceled");
        over["metadata"] = savings(&pod, &membership);
        over["ended_at"] = json!(START + 14 * DAY);
        app.take("evt_over", "customer.subscription.deleted", over).await;
        let shown = async || app.get("/v1/pods/mine?userId=user_2").await.json()["data"][0].clone();
        assert_eq!((&shown().await["status"], &shown().await["pod"]["memberCount"]), (&json!("past_due"), &json!(1)));
        assert_eq!(by_time::settle_all(&app.inner).await, Ok(1));
        app.inner.clock.advance(StdDuration::from_secs(15 * 86_400));
        assert_eq!(shown().await["status"], "canceled");
        assert_eq!(by_time::settle_all(&app.inner).await, Ok(1));
        assert_eq!(
            (&shown().await["pod"]["memberCount"], &shown().await["pod"]["status"]),
            (&json!(0), &json!("completed"))
        );
        assert_eq!(by_time::settle_all(&app.inner).await, Ok(0));
        let key = BTreeSet::from([endless]);
        let rows: Vec<Pod> = app.inner.read().await.unwrap().load("id", &key, Lock::None).await.unwrap();
        assert_eq!(rfc3339(rows[0].next_date), day(21), "the lists know its next date");
    });
}

#[test]
fn no_more_is_paid_out_of_a_pod_than_is_in_it() {
    on_each_engine!(async |db: Db| {
        let app = TestApp::on(db).await;
        let pod = id_of(&made(&app, &ajo()).await);
        let membership = member(&app, &pod).await;
        app.take("evt_paid", "invoice.paid", invoice(&pod, &membership, "in_1", "paid")).await;
        let path = format!("/v1/pods/{pod}/payouts");
        let payout = |reference: &str, amount: i64| json!({ "membershipId": membership, "amount": amount, "reference": reference, "note": "first" });
        assert_eq!(app.post(&path, &payout("a", 5001)).await.refusal(), (409, "exceeds_pot".to_owned()));
        let noted = app.post(&path, &payout("a", 3000)).await;
        assert_eq!((noted.status, &noted.json()["currency"]), (201, &json!("ngn")));
        assert_eq!(app.post(&path, &payout("a", 3000)).await.status, 200);
        let by_operator = app.act(&format!("/api/admin/pods/{pod}/payouts"), &payout("b", 2000)).await;
        assert_eq!(by_operator.status, 201, "{by_operator:?}");
        assert_eq!(app.get(&path).await.json()["data"].as_array().map(Vec::len), Some(2));
        let shown = app.look_up(&format!("/api/admin/pods/{pod}")).await.json();
        assert_eq!((&shown["totalContributed"], &shown["totalPaidOut"]), (&json!(5000), &json!(5000)));
        assert_eq!(shown["memberships"][0]["userId"], "user_2");

        let put_out =
            app.act(&format!("/api/admin/memberships/{membership}/cancel"), &json!({ "reason": "moved" })).await;
        assert_eq!((put_out.status, &put_out.json()["status"]), (200, &json!("canceled")));
        assert_eq!(put_out.json()["totalContributed"], 5000, "what was paid stays");
        let ended = app.look_up("/api/admin/memberships?status=canceled").await.json();
        assert_eq!(ended["data"].as_array().map(Vec::len), Some(1));
        let called_off = app.act(&format!("/api/admin/pods/{pod}/cancel"), &json!({ "reason": "over" })).await.json();
        assert_eq!((&called_off["status"], &called_off["totalContributed"]), (&json!("canceled"), &json!(5000)));
        let acts = app.look_up("/api/admin/audit").await.json();
        let acts: BTreeSet<_> =
            acts["data"].as_array().unwrap().iter().map(|act| act["action"].as_str().unwrap()).collect();
        assert_eq!(acts, BTreeSet::from(["pod.cancel", "membership.cancel", "pod.payout"]));
    });
}

#[test]
fn events_of_a_pod_in_one_batch_end_as_one_by_one() {
    on_each_engine!(async |db: Db| {
        let app = TestApp::on(db).await;
        let pod = id_of(&made(&app, &ajo()).await);
        let membership = begun(&app, &pod, "user_2").await;
        // The invoices come before the subscription, each twice.
        let paid = |id: &str| event(&format!("evt_{id}"), "invoice.paid", &invoice(&pod, &membership, id, "paid"));
        for one in [paid("in_1"), paid("in_2"), paid("in_1")] {
            assert_eq!(app.post(INTAKE_PATH, &one).await.status, 200);
        }
        assert_eq!(sums(&app).await, ("active".to_owned(), [2, 10_000, 0, 0]));
        let mut tx = app.inner.read().await.unwrap();
        let key = BTreeSet::from([membership]);
        let rows: Vec<Contribution> = tx.load("membership_id", &key, Lock::None).await.unwrap();
        assert_eq!(rows.len(), 2);
    });
}
