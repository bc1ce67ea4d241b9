//! Who gets past each guard and what the others are told, through Rocket's local client.

use chrono::Duration;
use rocket::http::{ContentType, Header, Method};
use rocket::local::asynchronous::Client;
use rocket::{delete, get, post, routes};
use serde_json::{Value, json};
use tollgate_db::Db;
use tollgate_shared::clock::from_unix;

use super::session::tests::{seal_v5, v5_header};
use super::{Cron, Operator, User};
use crate::http::auth::mint::{self, Subject};
use crate::on_each_engine;
use crate::server;
use crate::testing::{
    ADMIN_KEY, AUTH_SECRET, CRON_SECRET, INTERNAL_KEY, START, TestApp, TestResponse, bearer, config, db_that_is_away,
    sign_token, signed_in,
};

#[get("/for/users")]
fn for_users(user: User) -> String {
    format!("{} {}", user.id, user.is_admin)
}

#[get("/for/operators")]
fn for_operators(operator: Operator) -> String {
    format!("{} {:?}", operator.actor, operator.claimed_name)
}

#[get("/for/cron")]
fn for_cron(_caller: Cron) -> &'static str {
    "cron"
}

#[post("/for/users")]
fn users_change(user: User) -> String {
    user.id
}

#[post("/for/operators")]
fn operators_change(operator: Operator) -> String {
    operator.actor
}

#[delete("/for/users")]
fn users_delete(user: User) -> String {
    user.id
}

const GUARDED: [&str; 3] = ["/for/users", "/for/operators", "/for/cron"];

struct Guards(Client);

impl Guards {
    /// For whatever needs no database: guards that refuse, and those of operators.
    async fn with(variables: &[(&str, &str)]) -> Self {
        Self::on(db_that_is_away(), variables).await
    }

    async fn on(db: Db, variables: &[(&str, &str)]) -> Self {
        let app = TestApp::with(db, variables).await;
        let rocket = server::rocket(app.inner, app.inbox);
        let ours = routes![for_users, for_operators, for_cron, users_change, users_delete, operators_change];
        let rocket = rocket.mount("/", ours);
        Self(Client::untracked(rocket).await.unwrap())
    }

    async fn get(&self, path: &str, headers: impl IntoIterator<Item = Header<'static>>) -> TestResponse {
        let mut request = self.0.req(Method::Get, path.to_owned());
        for header in headers {
            request.add_header(header);
        }
        TestResponse::of(request).await
    }

    async fn refusal(&self, path: &str, headers: impl IntoIterator<Item = Header<'static>>) -> (u16, String) {
        self.get(path, headers).await.refusal()
    }
}

fn unauthorized() -> (u16, String) {
    (401, "unauthorized".to_owned())
}

fn forbidden() -> (u16, String) {
    (403, "forbidden".to_owned())
}

fn token(header: Value, claims: Value, secret: &str) -> Header<'static> {
    bearer(&sign_token(&header, &claims, secret))
}

#[test]
fn a_signed_in_user_is_known_by_id_and_role() {
    on_each_engine!(async |db| {
        let guards = Guards::on(db, &[]).await;
        assert_eq!(guards.get("/for/users", [signed_in("user_1", "user")]).await.body, "user_1 false");
        assert_eq!(guards.get("/for/users", [signed_in("user_1", "admin")]).await.body, "user_1 true");
    });
}

#[rocket::async_test]
async fn while_auth_secret_rolls_both_are_good() {
    let guards = Guards::with(&[("AUTH_SECRET", "new-secret, old-secret")]).await;
    let claims = json!({ "sub": "user_1", "role": "admin", "exp": START + 60 });
    for (secret, is_good) in [("new-secret", true), ("old-secret", true), ("older-secret", false), (AUTH_SECRET, false)]
    {
        let response = guards.get("/for/operators", [token(json!({ "alg": "HS256" }), claims.clone(), secret)]).await;
        assert_eq!(response.status == 200, is_good, "{secret}: {response:?}");
    }
}

#[rocket::async_test]
async fn who_shows_nothing_that_counts_is_asked_to_sign_in() {
    let guards = Guards::with(&[("ADMIN_API_KEY", ADMIN_KEY)]).await;
    let header = |value: &'static str| Header::new("authorization", value);
    let good = || signed_in("user_1", "admin");
    let basic = || Header::new("authorization", good().value().replace("Bearer", "Basic"));
    for path in GUARDED {
        for headers in [
            vec![],
            vec![header("")],
            vec![header("Bearer")],
            vec![header("Bearer ")],
            vec![header("hunter2")],
            vec![header("Bearer hunter2")],
            vec![header("Bearer a.b.c")],
            vec![basic()],
            vec![good(), good()],
            vec![Header::new("x-internal-api-key", INTERNAL_KEY)],
            vec![bearer(INTERNAL_KEY)],
        ] {
            let response = guards.get(path, headers.clone()).await;
            assert_eq!(response.refusal(), unauthorized(), "{path}: {headers:?}");
            assert_eq!(response.header("www-authenticate"), Some("Bearer"));
            assert!(!response.body.contains("hunter2") && !response.body.contains(INTERNAL_KEY));
        }
    }
}

#[rocket::async_test]
async fn a_token_that_is_not_good_opens_nothing() {
    let guards = Guards::with(&[]).await;
    let hs256 = || json!({ "alg": "HS256", "typ": "JWT" });
    let good = || json!({ "sub": "user_1", "role": "admin", "exp": START + 60 });
    for (why, header, claims, secret) in [
        ("expired", hs256(), json!({ "sub": "user_1", "role": "admin", "exp": START - 15 }), AUTH_SECRET),
        (
            "not yet",
            hs256(),
            json!({ "sub": "user_1", "role": "admin", "exp": START + 60, "nbf": START + 16 }),
            AUTH_SECRET,
        ),
        ("no exp", hs256(), json!({ "sub": "user_1", "role": "admin" }), AUTH_SECRET),
        ("exp is a text", hs256(), json!({ "sub": "user_1", "role": "admin", "exp": "2099-01-01" }), AUTH_SECRET),
        ("another secret", hs256(), good(), "another-secret"),
        ("no secret", hs256(), good(), ""),
        ("no algorithm", json!({ "alg": "none" }), good(), AUTH_SECRET),
        ("the secret as an RSA key", json!({ "alg": "RS256" }), good(), AUTH_SECRET),
        ("another hash", json!({ "alg": "HS512" }), good(), AUTH_SECRET),
        ("crit", json!({ "alg": "HS256", "crit": ["exp"] }), good(), AUTH_SECRET),
    ] {
        for path in ["/for/users", "/for/operators"] {
            let refusal = guards.refusal(path, [token(header.clone(), claims.clone(), secret)]).await;
            assert_eq!(refusal, unauthorized(), "{path}: {why}");
        }
    }
    for sub in [json!(null), json!(""), json!("a".repeat(256)), json!(5)] {
        let claims = json!({ "sub": sub, "exp": START + 60 });
        assert_eq!(guards.refusal("/for/users", [token(hs256(), claims, AUTH_SECRET)]).await, unauthorized(), "{sub}");
    }
}

#[rocket::async_test]
async fn a_user_who_is_no_admin_is_no_operator() {
    let guards = Guards::with(&[("ADMIN_API_KEY", ADMIN_KEY)]).await;
    for role in ["user", "", "Admin", "administrator"] {
        assert_eq!(guards.refusal("/for/operators", [signed_in("user_1", role)]).await, forbidden(), "{role}");
    }
    assert_eq!(guards.get("/for/operators", [signed_in("user_1", "admin")]).await.body, "user_1 None");
}

#[rocket::async_test]
async fn the_admin_key_makes_an_operator_where_there_is_one() {
    let guards = Guards::with(&[("ADMIN_API_KEY", ADMIN_KEY)]).await;
    let named = |name: &'static str| Header::new("x-operator", name);
    assert_eq!(guards.get("/for/operators", [bearer(ADMIN_KEY)]).await.body, "key None");
    assert_eq!(guards.get("/for/operators", [bearer(ADMIN_KEY), named("Ada")]).await.body, r#"key Some("Ada")"#);
    let refused = guards.get("/for/operators", [bearer(ADMIN_KEY), named("Ada"), named("Charles")]).await;
    assert_eq!(refused.refused_parameter(), (422, "invalid_parameter".to_owned(), Some("X-Operator".to_owned())));
    // Who is known by a token does not call himself otherwise.
    let by_token = guards.get("/for/operators", [signed_in("user_1", "admin"), named("Charles")]).await;
    assert_eq!(by_token.body, "user_1 None");

    for wrong in ["an-admin-ke", "AN-ADMIN-KEY", "an-admin-key,"] {
        assert_eq!(guards.refusal("/for/operators", [bearer(wrong)]).await, unauthorized(), "{wrong}");
    }
    // It is nobody's sign-in.
    assert_eq!(guards.refusal("/for/users", [bearer(ADMIN_KEY)]).await, unauthorized());
    let without = Guards::with(&[]).await;
    assert_eq!(without.refusal("/for/operators", [bearer(ADMIN_KEY)]).await, unauthorized());
}

#[rocket::async_test]
async fn any_cron_secret_opens_the_timetable_and_nothing_else_does() {
    let guards = Guards::with(&[("CRON_SECRET", "new-cron, old-cron"), ("ADMIN_API_KEY", ADMIN_KEY)]).await;
    for good in ["new-cron", "old-cron"] {
        assert_eq!(guards.get("/for/cron", [bearer(good)]).await.body, "cron", "{good}");
        for path in ["/for/users", "/for/operators"] {
            assert_eq!(guards.refusal(path, [bearer(good)]).await, unauthorized(), "{path}");
        }
    }
    for bad in [bearer(CRON_SECRET), bearer(ADMIN_KEY), bearer("new-cron, old-cron"), signed_in("user_1", "admin")] {
        assert_eq!(guards.refusal("/for/cron", [bad.clone()]).await, unauthorized(), "{bad:?}");
    }
    assert_eq!(guards.refusal("/for/cron", [bearer("new-cron"), bearer("new-cron")]).await, unauthorized());
}

/// Under this secret are the sessions that Auth.js made.
const SESSION_SECRET: (&str, &str) = ("AUTH_SECRET", "another, test-secret");

/// The sessions that Auth.js made, each with the name of its cookie.
fn sessions() -> Vec<(String, String)> {
    let list: Vec<Value> = serde_json::from_str(include_str!("../../../tests/auth_sessions.json")).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    list.iter().map(|made| (text(&made["cookie"]), text(&made["token"]))).collect()
}

fn cookie(value: impl Into<String>) -> Header<'static> {
    Header::new("cookie", value.into())
}

#[test]
fn a_session_of_authjs_signs_in_by_cookie_and_as_bearer_token() {
    on_each_engine!(async |db| {
        let guards = Guards::on(db, &[SESSION_SECRET, ("AUTH_ISSUER", "us"), ("AUTH_AUDIENCE", "api")]).await;
        for (name, session) in sessions() {
            let (begin, end) = session.split_at(100);
            for headers in [
                vec![bearer(&session)],
                vec![cookie(format!("theme=dark; {name}={session}; x=y"))],
                vec![cookie("theme=dark"), cookie(format!("{name}={session}"))],
                vec![cookie(format!("{name}.1={end}; {name}.0={begin}"))],
                vec![cookie(format!("__Secure-authjs.session-token=spoilt; {name}={session}"))],
            ] {
                if name.starts_with("__Secure-authjs") && headers[0].value().contains("spoilt") {
                    continue;
                }
                let response = guards.get("/for/users", headers.clone()).await;
                assert_eq!(response.body, "user_1 false", "{name}: {headers:?}");
            }
        }
    });
}

#[rocket::async_test]
async fn a_session_that_is_not_good_opens_nothing() {
    let guards = Guards::with(&[SESSION_SECRET]).await;
    let (name, session) = sessions().swap_remove(0);
    let spoilt = session.replace("RwN5", "RwN6");
    for headers in [
        vec![cookie(format!("{name}=hunter2"))],
        vec![cookie(format!("{name}={spoilt}"))],
        vec![cookie(format!("{name}.1={session}"))],
        vec![cookie(format!("authjs.csrf-token={session}"))],
        vec![cookie(format!("__Secure-{name}={session}"))],
        vec![cookie(format!("next-auth.session-token={session}"))],
        vec![bearer(&spoilt)],
        // Whoever sends a token means it, whatever else there is.
        vec![bearer("hunter2"), cookie(format!("{name}={session}"))],
    ] {
        for path in ["/for/users", "/for/operators"] {
            let response = guards.get(path, headers.clone()).await;
            assert_eq!(response.refusal(), unauthorized(), "{path}: {headers:?}");
            assert_eq!(response.header("www-authenticate"), Some("Bearer"));
            assert!(!response.body.contains("hunter2") && !response.body.contains(&session[..40]));
        }
    }
    // It says of nobody that they are an operator.
    let refusal = guards.refusal("/for/operators", [cookie(format!("{name}={session}"))]).await;
    assert_eq!(refusal, forbidden());
}

/// What a form, or a script that did not ask first, can send.
fn forms() -> [Option<ContentType>; 4] {
    [None, Some(ContentType::Form), Some(ContentType::FormData), Some(ContentType::Plain)]
}

#[rocket::async_test]
async fn no_form_of_another_site_acts_for_an_operator() {
    let guards = Guards::with(&[SESSION_SECRET]).await;
    let claims = json!({ "sub": "ada", "role": "admin", "exp": START + 60 });
    // Under the first secret, as its header does not say under which.
    let session = seal_v5(&v5_header(), &claims, "another", "authjs.session-token");
    let send = async |signed_in: Header<'static>, content_type: Option<ContentType>| {
        let mut request = guards.0.post("/for/operators").header(signed_in);
        if let Some(content_type) = content_type {
            request.add_header(content_type);
        }
        TestResponse::of(request).await
    };
    let by_cookie = cookie(format!("authjs.session-token={session}"));
    for content_type in forms() {
        let refused = send(by_cookie.clone(), content_type.clone()).await;
        assert_eq!(refused.refusal(), (415, "unsupported_media_type".to_owned()), "{content_type:?}");
        // No other site has the token itself.
        assert_eq!(send(bearer(&session), content_type).await.body, "ada");
    }
    assert_eq!(send(by_cookie, Some(ContentType::JSON)).await.body, "ada");
}

#[test]
fn no_form_of_another_site_changes_anything() {
    on_each_engine!(async |db| {
        let guards = Guards::on(db, &[SESSION_SECRET]).await;
        let (name, session) = sessions().swap_remove(0);
        let send = async |method: Method, path: &'static str, content_type: Option<ContentType>| {
            let mut request = guards.0.req(method, path).header(cookie(format!("{name}={session}")));
            if let Some(content_type) = content_type {
                request.add_header(content_type);
            }
            TestResponse::of(request).await
        };
        for content_type in forms() {
            let refused = send(Method::Post, "/for/users", content_type.clone()).await;
            assert_eq!(refused.refusal(), (415, "unsupported_media_type".to_owned()), "{content_type:?}");
        }
        let refused = send(Method::Delete, "/for/users", Some(ContentType::Plain)).await;
        assert_eq!(refused.refusal(), (415, "unsupported_media_type".to_owned()));
        for (method, content_type) in [(Method::Post, Some(ContentType::JSON)), (Method::Delete, None)] {
            assert_eq!(send(method, "/for/users", content_type).await.body, "user_1", "{method}");
        }
    });
}

#[rocket::async_test]
async fn a_token_of_our_own_is_bound_to_our_issuer_and_audience() {
    let bound = [("AUTH_ISSUER", "https://app.example.com"), ("AUTH_AUDIENCE", "tollgate")];
    let guards = Guards::with(&bound).await;
    assert_eq!(guards.refusal("/for/operators", [signed_in("user_1", "admin")]).await, unauthorized());
    let config = config(&bound);
    let subject = Subject { id: "ada", email: None, is_admin: true };
    let now = from_unix(START).unwrap();
    let minted = |lasts: i64| bearer(&mint::token(&config, now, Duration::seconds(lasts), &subject));
    assert_eq!(guards.get("/for/operators", [minted(60)]).await.body, "ada None");
    assert_eq!(guards.refusal("/for/operators", [minted(-15)]).await, unauthorized());
}

#[rocket::async_test]
async fn without_the_issuers_keys_nobody_can_say_and_a_secret_still_counts() {
    let guards = Guards::with(&[("AUTH_JWKS_URL", "http://127.0.0.1:1/")]).await;
    let by_key = token(json!({ "alg": "ES256", "kid": "a" }), json!({ "sub": "user_1", "exp": START + 60 }), "");
    let refused = guards.get("/for/users", [by_key]).await;
    assert_eq!(refused.refusal(), (503, "auth_unavailable".to_owned()));
    assert_eq!(refused.header("retry-after"), Some("5"));
    assert_eq!(guards.get("/for/operators", [signed_in("ada", "admin")]).await.body, "ada None");
}
