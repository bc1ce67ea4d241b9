//! What a POST with an `Idempotency-Key` is answered, by the route that makes API keys, on both engines.

use std::sync::Arc;
use std::time::Duration;

use rocket::http::{ContentType, Header};
use serde_json::json;
use tollgate_db::{DbError, Faults, Moment};
use tollgate_domain::apply::Touched;
use tollgate_domain::idempotency::{self, Known, Request};
use tollgate_shared::Rng;

use crate::app::App;
use crate::on_each_engine;
use crate::testing::{AUTH_SECRET, START, TestApp, TestResponse, bearer, db_that_is_away, sign_token, signed_in};

const PATH: &str = "/api/api-keys";

impl TestApp {
    async fn keyed(&self, user: &str, path: &str, key: &str, body: &str) -> TestResponse {
        let request = self.client.post(path.to_owned()).header(signed_in(user, "user")).header(ContentType::JSON);
        TestResponse::of(request.header(Header::new("Idempotency-Key", key.to_owned())).body(body)).await
    }

    async fn keys_of_user_1(&self) -> usize {
        self.see(PATH).await.json()["data"].as_array().unwrap().len()
    }
}

#[test]
fn a_post_that_is_sent_twice_is_done_once() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db.clone()).await;
        app.subscriber("cus_1", "user_1").await;
        let first = app.keyed("user_1", PATH, "k", r#"{"name": "a"}"#).await;
        assert_eq!((first.status, first.header("idempotent-replayed")), (201, None));
        app.inner.clock.advance(Duration::from_secs(1800));
        // At another replica, spelt otherwise.
        let replica = app.replica(db).await;
        let again = replica.keyed("user_1", PATH, "k", r#"{ "name":"a" }"#).await;
        assert_eq!((again.status, again.header("idempotent-replayed")), (201, Some("true")));
        assert_eq!(again.body, first.body, "the key is shown again");
        assert_eq!(app.keys_of_user_1().await, 2, "the subscription's, and one");

        let mut tx = app.inner.read().await.unwrap();
        let rows: Vec<(Option<Vec<u8>>,)> =
            tx.sql("SELECT answer FROM remembered_requests WHERE status = 201").all().await.unwrap();
        let answer = rows[0].0.as_ref().unwrap();
        assert!(!answer.windows(8).any(|bytes| bytes == b"tg_test_"), "it is kept encrypted");
    });
}

#[test]
fn a_key_names_one_request_of_one_user_and_route() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        app.subscriber("cus_1", "user_1").await;
        app.subscriber("cus_2", "user_2").await;
        let first = app.keyed("user_1", PATH, "k", "{}").await.json();
        let id = first["id"].as_str().unwrap();
        let mismatch = app.keyed("user_1", PATH, "k", r#"{"name": "other"}"#).await;
        assert_eq!(mismatch.refusal(), (422, "idempotency_mismatch".to_owned()));
        let of_another_user = app.keyed("user_2", PATH, "k", "{}").await;
        assert_eq!((of_another_user.status, of_another_user.header("idempotent-replayed")), (201, None));
        let of_another_route = app.keyed("user_1", &format!("{PATH}/{id}/roll"), "k", "{}").await;
        assert_eq!((of_another_route.status, of_another_route.header("idempotent-replayed")), (201, None));
        let rolled = of_another_route.json();
        let of_another_path = format!("{PATH}/{}/roll", rolled["id"].as_str().unwrap());
        let mismatch = app.keyed("user_1", &of_another_path, "k", "{}").await;
        assert_eq!(mismatch.refusal(), (422, "idempotency_mismatch".to_owned()));
    });
}

#[test]
fn two_at_once_with_one_key_make_one() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db.clone()).await;
        let replica = app.replica(db).await;
        app.subscriber("cus_1", "user_1").await;
        let (one, other) = tokio::join!(app.keyed("user_1", PATH, "k", "{}"), replica.keyed("user_1", PATH, "k", "{}"));
        assert_eq!(app.keys_of_user_1().await, 2, "{one:?} {other:?}");
        let made = [&one, &other].into_iter().find(|answer| answer.status == 201).unwrap();
        for answer in [&one, &other] {
            if answer.status == 201 {
                assert_eq!(answer.body, made.body);
            } else {
                assert_eq!(answer.refusal(), (409, "idempotency_in_progress".to_owned()));
            }
        }
    });
}

#[test]
fn a_request_whose_process_died_is_taken_over() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        app.subscriber("cus_1", "user_1").await;
        let request = Request::new("user_1", "POST /api/api-keys", "k", PATH, b"{}");
        let sealer = &app.inner.settings.sealer;
        let claimed = app
            .inner
            .write(&Touched::request(&request.id), |work| idempotency::claim(work, sealer, &request, "who died"))
            .await;
        let Known::Claimed(dead) = claimed.unwrap().0 else { panic!("nobody had it") };
        let refused = app.keyed("user_1", PATH, "k", "{}").await;
        assert_eq!(refused.refusal(), (409, "idempotency_in_progress".to_owned()));
        app.inner.clock.advance(Duration::from_secs(30));
        assert_eq!(app.keyed("user_1", PATH, "k", "{}").await.status, 201);

        // It was only slow: what it would write is not written.
        let answer = idempotency::Answer { status: 201, body: b"{}".to_vec() };
        let late = app
            .inner
            .write(&Touched::request(&request.id), |work| idempotency::answer(work, sealer, &dead, &answer))
            .await;
        assert!(late.is_err());
        assert_eq!(app.keys_of_user_1().await, 2);
    });
}

#[test]
fn a_refusal_is_given_again_as_one_of_the_new_request() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        let first = app.keyed("user_1", PATH, "k", "{}").await;
        assert_eq!(first.refusal(), (404, "no_customer".to_owned()));
        app.subscriber("cus_1", "user_1").await;
        let again = app.keyed("user_1", PATH, "k", "{}").await;
        assert_eq!(again.refusal(), (404, "no_customer".to_owned()));
        assert_eq!(again.header("idempotent-replayed"), Some("true"));
        assert_ne!(again.request_id, first.request_id);
        app.inner.clock.advance(Duration::from_secs(24 * 3600));
        let user = sign_in_later();
        let request = app.client.post(PATH).header(user).header(ContentType::JSON);
        let later = TestResponse::of(request.header(Header::new("Idempotency-Key", "k")).body("{}")).await;
        assert_eq!((later.status, later.header("idempotent-replayed")), (201, None), "a day later it is forgotten");
    });
}

/// `user_1`, whose token is good for two days.
fn sign_in_later() -> Header<'static> {
    let claims = json!({ "sub": "user_1", "exp": START + 2 * 24 * 3600 });
    bearer(&sign_token(&json!({ "alg": "HS256" }), &claims, AUTH_SECRET))
}

#[test]
fn whatever_fails_a_repeat_makes_exactly_one() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db.clone()).await;
        app.subscriber("cus_1", "user_1").await;
        let faults = Arc::new(Faults::default());
        let failing = App { db: db.with_faults(faults.clone()), rng: Rng::system(), ..app.inner.clone() };
        let failing = TestApp::of(failing).await;
        let mut made = 1;
        for moment in [Moment::Before, Moment::ReplyLost] {
            for nth in 1.. {
                let key = format!("{moment:?} {nth}");
                faults.arm(nth, moment, DbError::Unavailable { reason: "cut off".into() });
                let first = failing.keyed("user_1", PATH, &key, "{}").await;
                let failed = !faults.is_armed();
                faults.disarm();
                app.inner.clock.advance(Duration::from_secs(30));
                let again = app.keyed("user_1", PATH, &key, "{}").await;
                made += 1;
                assert_eq!(again.status, 201, "{key}: {first:?} {again:?}");
                if first.status == 201 {
                    assert_eq!(
                        (again.header("idempotent-replayed"), &again.body),
                        (Some("true"), &first.body),
                        "{key}"
                    );
                }
                let count = app.see(&format!("{PATH}?limit=100")).await.json()["data"].as_array().unwrap().len();
                assert_eq!(count, made, "{key}: {first:?}");
                if !failed {
                    break;
                }
                assert!(nth < 40, "it does not end");
            }
        }
    });
}

#[rocket::async_test]
async fn a_key_that_is_none_is_refused() {
    let app = TestApp::on(db_that_is_away()).await;
    for key in ["", "  ", "a\tb", &"x".repeat(256)] {
        let refused = app.keyed("user_1", PATH, key, "{}").await;
        assert_eq!(refused.refused_parameter().2.as_deref(), Some("Idempotency-Key"), "{key:?}");
    }
    assert_eq!(app.keyed("user_1", PATH, &"x".repeat(255), "{}").await.status, 503);
    assert_eq!(app.keyed("user_1", PATH, "k", "{").await.refusal(), (400, "invalid_json".to_owned()));
    assert_eq!(app.keyed("user_1", PATH, "k", "").await.status, 503, "no body is an empty one");
    let form = app.client.post(PATH).header(signed_in("user_1", "user")).header(ContentType::Form).body("a=b");
    assert_eq!(TestResponse::of(form).await.refusal(), (415, "unsupported_media_type".to_owned()));
    let bare = app.client.post(PATH).header(signed_in("user_1", "user"));
    assert_eq!(TestResponse::of(bare).await.refusal(), (415, "unsupported_media_type".to_owned()));
}
