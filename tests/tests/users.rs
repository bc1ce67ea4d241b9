//! What signed-in users see and do, through the relay.

#[path = "users/account.rs"]
mod account;
#[path = "users/clients.rs"]
mod clients;
#[path = "users/schemathesis.rs"]
mod schemathesis;

use http::Method;
use serde_json::{Value, json};
use tollgate_tests::http::Response;
use tollgate_tests::stack::JSON;
use tollgate_tests::stripe::catalogue::PRO_MONTHLY;
use tollgate_tests::stripe::rest::{Api, SECRET_KEY};
use tollgate_tests::stripe::{ApiVersion, Checkout, Stripe};
use tollgate_tests::{Engine, Stack, StackConfig, on_each_engine};

/// A subscriber, the user `user_1`, with the Stripe where they pay.
struct Subscribed {
    stack: Stack,
    /// `cus_…`
    customer: String,
    _api: Api,
}

impl Subscribed {
    async fn on(engine: Engine) -> Self {
        let mut stripe = Stripe::fresh();
        let customer = stripe.sign_up("ada@example.com", "Ada", None);
        stripe.checkout(&customer, &Checkout::of(&PRO_MONTHLY).by("user_1"));
        let api = Api::start(&stripe).await;
        let config = StackConfig::on(engine)
            .backend("STRIPE_SECRET_KEY", SECRET_KEY)
            .backend("STRIPE_API_BASE", &api.base)
            .backend("APP_URL", "https://app.example.com");
        let stack = Stack::spawn(config).await;
        stack.tell(&stripe.events(ApiVersion::Endive)).await;
        Self { stack, customer, _api: api }
    }

    /// What `user_1` shows.
    fn token(&self) -> String {
        self.stack.bearer("user_1").trim_start_matches("Bearer ").to_owned()
    }
}

async fn call(stack: &Stack, user: &str, method: Method, path: &str, key: Option<&str>) -> Response {
    let mut headers = vec![JSON, ("authorization", user)];
    headers.extend(key.map(|key| ("idempotency-key", key)));
    stack.http.send(method, &stack.public(path), &headers, "{}").await
}

async fn seen(stack: &Stack, user: &str, path: &str) -> Value {
    let answer = call(stack, user, Method::GET, path, None).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.error_code());
    answer.json()
}

on_each_engine!(a_user_sees_what_they_bought_through_the_relay, async |engine| {
    let stack = Stack::spawn(StackConfig::on(engine)).await;
    let mut stripe = Stripe::fresh();
    let customer = stripe.sign_up("ada@example.com", "Ada", None);
    let (subscription, _) = stripe.checkout(&customer, &Checkout::of(&PRO_MONTHLY).by("user_1"));
    stack.tell(&stripe.events(ApiVersion::Endive)).await;
    let user = stack.bearer("user_1");

    let current = seen(&stack, &user, "/api/subscriptions/current").await;
    assert_eq!(current["subscription"]["stripeSubscriptionId"], subscription);
    let plans = seen(&stack, &user, "/api/subscriptions/plans").await;
    let mine: Vec<_> =
        plans["data"].as_array().expect("a list").iter().filter(|plan| plan["current"] == true).collect();
    assert_eq!(mine, [&current["plan"]]);
    let state = stack.customer(&customer).await.expect("the customer is known");
    assert_eq!((&current["tier"], &current["license"]["key"]), (&state["tier"], &state["licenses"][0]["key"]));
    let card = seen(&stack, &user, "/api/stripe/billing/payment-method").await;
    assert_eq!(card["defaultPaymentMethod"], state["defaultPaymentMethod"]);
    for path in ["/api/invoices/history", "/api/subscriptions/billing-history", "/api/payments/history"] {
        let list = seen(&stack, &user, path).await;
        let ids: Vec<_> = list["data"].as_array().expect("a list").iter().map(|row| &row["id"]).collect();
        assert_eq!(json!(ids), state["payments"]["paidInvoices"], "{path}");
    }
    let history = seen(&stack, &user, "/api/subscriptions/history").await;
    assert!(history["data"].as_array().expect("a list").iter().any(|change| change["to"] == "pro"), "{history}");
    let widgets = seen(&stack, &user, "/api/widgets").await;
    assert_eq!(widgets["data"], state["widgets"]);

    let stranger = call(&stack, "Bearer x", Method::GET, "/api/subscriptions/current", None).await;
    assert_eq!((stranger.status, &*stranger.error_code()), (401, "unauthorized"));
});

on_each_engine!(a_user_has_their_keys_in_hand_through_the_relay, async |engine| {
    let stack = Stack::spawn(StackConfig::on(engine)).await;
    let mut stripe = Stripe::fresh();
    let customer = stripe.sign_up("ada@example.com", "Ada", None);
    stripe.checkout(&customer, &Checkout::of(&PRO_MONTHLY).by("user_1"));
    stack.tell(&stripe.events(ApiVersion::Endive)).await;
    let user = stack.bearer("user_1");

    let state = stack.customer(&customer).await.expect("the customer is known");
    let given = format!("/api/api-keys/{}", state["apiKeys"][0]["id"].as_str().expect("a purchase gives a key"));
    let revealed = call(&stack, &user, Method::POST, &format!("{given}/reveal"), None).await;
    assert_eq!(revealed.status, 200, "{}", revealed.error_code());
    let first = call(&stack, &user, Method::POST, "/api/api-keys", Some("a button")).await;
    let again = call(&stack, &user, Method::POST, "/api/api-keys", Some("a button")).await;
    assert_eq!((first.status, again.status, &first.body), (201, 201, &again.body));
    assert_eq!((first.header("idempotent-replayed"), again.header("idempotent-replayed")), (None, Some("true")));

    let key = first.json()["key"].as_str().expect("it is shown").to_owned();
    let verdict = async || {
        let body = json!({ "key": key }).to_string();
        stack.internal(Method::POST, "/v1/api-keys/verify", body).await.json()["valid"].clone()
    };
    assert_eq!(verdict().await, true);
    let made = format!("/api/api-keys/{}", first.json()["id"].as_str().expect("it has an id"));
    for _ in 0..2 {
        assert_eq!(call(&stack, &user, Method::DELETE, &made, None).await.status, 204);
    }
    assert_eq!(verdict().await, false);
    let logs = stack.logs();
    let revealed = revealed.json()["key"].as_str().expect("it is shown").to_owned();
    assert!(!logs.contains(&key) && !logs.contains(&revealed), "logs hold no key");
});
