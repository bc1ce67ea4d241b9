//! What users see of themselves, and which customers become theirs, through Rocket's local client, on both engines.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use rocket::http::{ContentType, Header, Method};
use serde_json::{Value, json};
use tollgate_db::Lock;
use tollgate_domain::audit::AuditEntry;

use crate::on_each_engine;
use crate::testing::{
    AUTH_SECRET, START, TestApp, TestResponse, bearer, db_that_is_away, sign_token, signed_in, subscription_of,
};

const ME: &str = "/api/user/me";
const PROFILE: &str = "/api/profile";

/// A token with these claims, beside its subject and its end.
fn saying(user_id: &str, mut claims: Value) -> Header<'static> {
    claims["sub"] = user_id.into();
    claims["exp"] = (START + 3600).into();
    bearer(&sign_token(&json!({ "alg": "HS256" }), &claims, AUTH_SECRET))
}

fn with_email(user_id: &str, email: &str) -> Header<'static> {
    saying(user_id, json!({ "email": email, "email_verified": true }))
}

impl TestApp {
    async fn change(&self, user: &Header<'static>, body: Value) -> TestResponse {
        let request = self.client.req(Method::Patch, PROFILE).header(user.clone());
        TestResponse::of(request.header(ContentType::JSON).body(body.to_string())).await
    }

    /// A customer with a live subscription, of whom nothing says whose they are.
    async fn take_unlinked(&self, customer: &str, email: &str) {
        let mut subscription = subscription_of(customer, "active");
        subscription["metadata"] = json!({});
        self.take(&format!("evt_sub_{customer}"), "customer.subscription.created", subscription).await;
        let object = json!({ "id": customer, "object": "customer", "email": email, "created": START });
        self.take(&format!("evt_{customer}"), "customer.created", object).await;
    }

    async fn owner_of(&self, customer: &str) -> Value {
        self.get(&format!("/v1/customers/{customer}")).await.json()["userId"].clone()
    }
}

#[test]
fn a_user_who_is_new_is_there_with_their_first_request() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        let user = saying("user_1", json!({ "email": "ada@example.com", "name": "Ada", "role": "admin" }));
        for path in [ME, PROFILE] {
            let expected = json!({
                "userId": "user_1", "email": "ada@example.com", "name": "Ada", "role": "admin", "tier": "free",
                "stripeCustomerId": null, "createdAt": "2025-06-15T15:06:40Z",
            });
            let seen = app.as_user(Method::Get, path, &user).await;
            assert_eq!((seen.status, seen.json()), (200, expected), "{path}");
        }
        // What another token does not say stays.
        let seen = app.as_user(Method::Get, ME, &saying("user_1", json!({}))).await.json();
        assert_eq!(
            (&seen["email"], &seen["name"], &seen["role"]),
            (&json!("ada@example.com"), &json!("Ada"), &json!("admin"))
        );
        let seen = app.as_user(Method::Get, ME, &signed_in("user_1", "user")).await.json();
        assert_eq!(seen["role"], "user");
    });
}

#[test]
fn twenty_first_requests_at_once_make_one_user() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        let user = with_email("user_1", "ada@example.com");
        app.take_unlinked("cus_1", "ada@example.com").await;
        let requests = (0..20).map(|_| app.as_user(Method::Get, ME, &user));
        for seen in join_all(requests).await {
            assert_eq!((seen.status, &seen.json()["stripeCustomerId"]), (200, &json!("cus_1")));
        }
    });
}

#[test]
fn a_user_sees_the_customer_who_has_something() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        app.take("evt_1", "customer.subscription.created", subscription_of("cus_1", "active")).await;
        app.take("evt_2", "customer.subscription.created", subscription_of("cus_2", "canceled")).await;
        let seen = app.as_user(Method::Get, ME, &signed_in("user_1", "user")).await.json();
        assert_eq!((&seen["tier"], &seen["stripeCustomerId"]), (&json!("pro"), &json!("cus_1")));
        let another = app.as_user(Method::Get, ME, &signed_in("user_2", "user")).await.json();
        assert_eq!((&another["tier"], &another["stripeCustomerId"]), (&json!("free"), &json!(null)));
    });
}

#[test]
fn who_signs_in_with_a_customers_verified_address_owns_it() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        app.take_unlinked("cus_1", "Ada@Example.com").await;
        app.take_unlinked("cus_2", "ada@example.com").await;
        app.take_unlinked("cus_3", "charles@example.com").await;
        let seen = app.as_user(Method::Get, ME, &with_email("user_1", "ada@example.com")).await.json();
        assert_eq!(seen["tier"], "pro");
        assert_eq!(app.owner_of("cus_1").await, "user_1");
        assert_eq!(app.owner_of("cus_2").await, "user_1");
        assert_eq!(app.owner_of("cus_3").await, json!(null));
        let mut tx = app.inner.read().await.unwrap();
        let of_customer = BTreeSet::from(["cus_1".to_owned()]);
        let entries: Vec<AuditEntry> = tx.load("customer_id", &of_customer, Lock::None).await.unwrap();
        drop(tx);
        let linked = entries.iter().find(|entry| entry.change == "user").unwrap();
        assert_eq!((&*linked.actor, linked.to_value.as_deref()), ("user", Some("user_1")));
        // One who comes later, too; and nobody after them.
        app.take_unlinked("cus_4", "ada@example.com").await;
        app.as_user(Method::Get, ME, &with_email("user_1", "ada@example.com")).await;
        assert_eq!(app.owner_of("cus_4").await, "user_1");
        app.as_user(Method::Get, ME, &with_email("user_2", "ada@example.com")).await;
        assert_eq!(app.owner_of("cus_4").await, "user_1");
    });
}

#[test]
fn an_address_that_nobody_verified_makes_nobody_an_owner() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        app.take_unlinked("cus_1", "ada@example.com").await;
        app.take_unlinked("cus_2", "\u{212a}ay@example.com").await;
        for claims in [
            json!({ "email": "ada@example.com" }),
            json!({ "email": "ada@example.com", "email_verified": false }),
            json!({ "email": "ada@example.com", "email_verified": "true" }),
            json!({ "email": "ada@example.co", "email_verified": true }),
            // The Kelvin sign, in place of a K.
            json!({ "email": "kay@example.com", "email_verified": true }),
            json!({ "email_verified": true }),
        ] {
            assert_eq!(app.as_user(Method::Get, ME, &saying("user_1", claims.clone())).await.status, 200, "{claims}");
        }
        assert_eq!((app.owner_of("cus_1").await, app.owner_of("cus_2").await), (json!(null), json!(null)));
    });
}

#[test]
fn what_stripe_says_of_a_customers_user_goes_before_an_address() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        // Said before: the customer is not unlinked.
        app.take_unlinked("cus_1", "ada@example.com").await;
        let session = |customer: &str| {
            json!({
                "id": format!("cs_{customer}"), "object": "checkout.session", "mode": "subscription", "customer": customer,
                "payment_status": "paid", "created": START, "client_reference_id": "user_9", "metadata": {},
            })
        };
        app.take("evt_cs_1", "checkout.session.completed", session("cus_1")).await;
        app.as_user(Method::Get, ME, &with_email("user_1", "ada@example.com")).await;
        assert_eq!(app.owner_of("cus_1").await, "user_9");
        // Said after.
        app.take_unlinked("cus_2", "ada@example.com").await;
        app.as_user(Method::Get, ME, &with_email("user_1", "ada@example.com")).await;
        assert_eq!(app.owner_of("cus_2").await, "user_1");
        app.take("evt_cs_2", "checkout.session.completed", session("cus_2")).await;
        assert_eq!(app.owner_of("cus_2").await, "user_9");
    });
}

#[test]
fn a_user_chooses_what_they_are_called() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        let user = saying("user_1", json!({ "name": "Ada" }));
        let called = async |body: Value| app.change(&user, body).await.json()["name"].clone();
        assert_eq!(called(json!({})).await, "Ada");
        assert_eq!(called(json!({ "name": " Countess of Lovelace " })).await, "Countess of Lovelace");
        assert_eq!(
            app.as_user(Method::Get, PROFILE, &user).await.json()["name"],
            "Countess of Lovelace",
            "whatever the token says"
        );
        assert_eq!(called(json!({ "name": null })).await, json!(null));
        assert_eq!(app.as_user(Method::Get, ME, &user).await.json()["name"], json!(null));
        assert_eq!(
            app.as_user(Method::Get, ME, &signed_in("user_2", "user")).await.json()["name"],
            json!(null),
            "another's stays"
        );
        for bad in [json!(""), json!("  "), json!("a\nb"), json!("a".repeat(201)), json!(5)] {
            let refused = app.change(&user, json!({ "name": bad })).await;
            assert_eq!(
                refused.refused_parameter(),
                (422, "invalid_parameter".to_owned(), Some("name".to_owned())),
                "{bad}"
            );
        }
        let form = app.client.req(Method::Patch, PROFILE).header(user.clone()).header(ContentType::Form).body("name=x");
        assert_eq!(TestResponse::of(form).await.refusal(), (415, "unsupported_media_type".to_owned()));
    });
}

#[rocket::async_test]
async fn only_who_is_signed_in_has_a_profile() {
    let app = TestApp::on(db_that_is_away()).await;
    let expired = json!({ "sub": "user_1", "exp": START - 15 });
    let expired = bearer(&sign_token(&json!({ "alg": "HS256" }), &expired, AUTH_SECRET));
    for (method, path) in [(Method::Get, ME), (Method::Get, PROFILE), (Method::Patch, PROFILE)] {
        let send = async |user: Option<&Header<'static>>| {
            let mut request = app.client.req(method, path).header(ContentType::JSON).body("{}");
            if let Some(user) = user {
                request.add_header(user.clone());
            }
            TestResponse::of(request).await.refusal()
        };
        assert_eq!(send(None).await, (401, "unauthorized".to_owned()), "{method} {path}");
        assert_eq!(send(Some(&expired)).await, (401, "unauthorized".to_owned()), "{method} {path}");
        let good = signed_in("user_1", "user");
        assert_eq!(send(Some(&good)).await, (503, "database_unavailable".to_owned()), "{method} {path}");
    }
}
