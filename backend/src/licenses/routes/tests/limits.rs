//! How much may be sent, and how often.

use tollgate_domain::licenses::key::LicenseKey;
use tollgate_shared::Rng;

use super::*;
use crate::http::client_network::ClientNetwork;
use crate::licenses::key_holder::{KeyHolder, LicenseLimits};

#[test]
fn a_key_may_be_asked_about_sixty_times_a_minute_from_one_address() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        let key = app.license_key().await;
        let body = json!({ "licenseKey": key, "machineId": "a" });
        let asked = async |from: &str| app.call_from(from, "validate", &body).await;
        for call in CALLS.iter().cycle().take(60) {
            assert_ne!(app.call_from("203.0.113.7", call, &body).await.status, 429, "{call}");
        }
        for call in CALLS {
            let refused = app.call_from("203.0.113.7", call, &body).await;
            assert_eq!(refused.refusal(), (429, "rate_limited".to_owned()), "{call}");
            assert_eq!(refused.header("retry-after"), Some("1"));
        }
        assert_eq!(asked("203.0.113.8").await.status, 200, "others are not held up");
        app.inner.clock.advance(Duration::from_secs(1));
        assert_eq!(asked("203.0.113.7").await.status, 200);
        assert_eq!(asked("203.0.113.7").await.status, 429);
    });
}

#[rocket::async_test]
async fn a_thousand_events_may_be_acknowledged_at_once() {
    let app = TestApp::on(db_that_is_away()).await;
    let limits = LicenseLimits::new(&app.inner);
    let holder = |network| KeyHolder { app: &app.inner, limits: &limits, network };
    let rng = Rng::seeded(99);
    let [key, another] = [LicenseKey::generate(&rng), LicenseKey::generate(&rng)];
    let [here, elsewhere] = ["203.0.113.7", "203.0.113.8"].map(|addr| ClientNetwork::of(addr.parse().unwrap()));
    for _ in 0..1000 {
        assert_eq!(holder(here).count_acknowledgement(&key), Ok(()));
    }
    let refused = holder(here).count_acknowledgement(&key).unwrap_err();
    assert_eq!((refused.status.code, refused.code, refused.retry_after_seconds), (429, "rate_limited", Some(1)));
    assert_eq!(holder(elsewhere).count_acknowledgement(&key), Ok(()));
    assert_eq!(holder(here).count_acknowledgement(&another), Ok(()));
    assert_eq!(holder(here).count(&key), Ok(()), "the other requests are counted apart");
}

#[test]
fn keys_of_nobody_are_counted_by_their_address() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        let key = app.license_key().await;
        let rng = Rng::seeded(99);
        let asked = async |from: &str, key: &str| {
            app.call_from(from, "validate", &json!({ "licenseKey": key, "machineId": "a" })).await.status
        };
        for _ in 0..30 {
            assert_eq!(asked("203.0.113.7", LicenseKey::generate(&rng).expose()).await, 200);
            assert_eq!(asked("203.0.113.7", "hunter2").await, 200);
        }
        assert_eq!(asked("203.0.113.7", LicenseKey::generate(&rng).expose()).await, 429);
        assert_eq!(asked("203.0.113.7", "hunter2").await, 429);
        assert_eq!(asked("203.0.113.7", &key).await, 200, "a key that somebody has is counted for itself");
        assert_eq!(asked("203.0.113.8", "hunter2").await, 200);
    });
}

#[test]
fn what_is_missing_or_too_long_is_refused_by_name() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        let key = app.license_key().await;
        let with = |name: &str, value: Value| {
            let mut body = json!({ "licenseKey": key, "machineId": "a" });
            body[name] = value;
            body
        };
        let long = |characters| json!("é".repeat(characters));
        for call in CALLS {
            for (param, body) in [
                ("licenseKey", json!({ "machineId": "a" })),
                ("machineId", json!({ "licenseKey": key })),
                ("machineId", with("machineId", Value::Null)),
                ("machineId", with("machineId", json!(" "))),
                ("machineId", with("machineId", long(513))),
                ("machineName", with("machineName", long(256))),
                ("platform", with("platform", long(101))),
                ("appVersion", with("appVersion", long(101))),
                ("appVersion", with("appVersion", json!(1.2))),
            ] {
                let answer = app.call_from("203.0.113.7", call, &body).await;
                let expected = (422, "invalid_parameter".to_owned(), Some(param.to_owned()));
                assert_eq!(answer.refused_parameter(), expected, "{call}");
            }
        }
        let mut longest = with("machineId", long(512));
        longest["machineName"] = long(255);
        longest["platform"] = json!("\u{0}nul\u{0}");
        longest["appVersion"] = json!("  ");
        let activated = app.call_from("203.0.113.7", "activate", &longest).await;
        assert_eq!(activated.status, 201);
        let machine = &activated.json()["machine"];
        assert_eq!((&machine["name"], &machine["appVersion"]), (&long(255), &Value::Null));
    });
}

#[test]
fn what_is_no_json_is_refused_as_anywhere_else() {
    let run = async {
        let app = TestApp::on(db_that_is_away()).await;
        for call in CALLS {
            let path = format!("/api/license/{call}");
            let form = app.client.post(&path).header(ContentType::Form).body("licenseKey=a");
            assert_eq!(TestResponse::of(form).await.refusal(), (415, "unsupported_media_type".to_owned()));
            let broken = app.client.post(&path).header(ContentType::JSON).body("{");
            assert_eq!(TestResponse::of(broken).await.refusal(), (400, "invalid_json".to_owned()));
        }
    };
    block_on(run);
}
