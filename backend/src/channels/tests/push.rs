//! A push service, where the browser opens each push by the package `http-ece` and the service checks its signature by
//! `py-vapid`.

use serde_json::Value;
use tokio::time::timeout;
use tollgate_tests::python;
use tollgate_tests::script::Script;

use super::*;
use crate::channels::push::vapid::VapidKey;

/// A push service with one browser, and channels that know it.
struct Scene {
    service: Script,
    endpoint: String,
    p256dh: String,
    auth: String,
    channels: Channels,
    clock: Clock,
}

impl Scene {
    async fn start() -> Self {
        let mut service = python::start("push_service.py", &[]);
        let said = service.next().await.unwrap();
        let [endpoint, p256dh, auth] =
            ["endpoint", "p256dh", "auth"].map(|name| said[name].as_str().unwrap().to_owned());
        let key = VapidKey::draw(&Rng::system()).private_key();
        let config = config(&[
            ("VAPID_PRIVATE_KEY", &key),
            ("VAPID_SUBJECT", "mailto:ops@example.com"),
            ("PUSH_HOSTS", "127.0.0.1"),
        ]);
        let clock = Clock::system();
        let channels = Channels::new(&config.channels, None, &clock, &Rng::system());
        assert!(channels.configured(Kind::WebPush));
        Self { service, endpoint, p256dh, auth, channels, clock }
    }

    /// A message to the browser, by a service that answers `status`.
    fn message(&self, status: u16) -> Outgoing {
        message(To::WebPush {
            endpoint: format!("{}/{status}", self.endpoint),
            p256dh: self.p256dh.clone(),
            auth: self.auth.clone(),
        })
    }

    async fn send(&self, message: &Outgoing) -> Outcome {
        timeout(PATIENCE, self.channels.send(message)).await.unwrap()
    }

    async fn got(&mut self) -> Value {
        self.service.next().await.unwrap()
    }
}

#[rocket::async_test]
async fn a_browser_opens_a_push_and_its_service_knows_who_sent_it() {
    let mut scene = Scene::start().await;
    assert_eq!(scene.send(&scene.message(201)).await, Outcome::Sent);
    let got = scene.got().await;
    assert_eq!(
        got["push"],
        json!({
            "title": "Zahlung nötig",
            "body": "Noch zwei Tage.",
            "url": "https://pay.example.com/account",
            "template": "grace_ending",
            "notificationId": "ntf_1",
        })
    );
    assert_eq!((&got["verified"], got["key"].as_str()), (&json!(true), scene.channels.public_key()));
    let origin = Url::parse(&scene.endpoint).unwrap().origin().ascii_serialization();
    assert_eq!((&got["claims"]["aud"], &got["claims"]["sub"]), (&json!(origin), &json!("mailto:ops@example.com")));
    let left = got["claims"]["exp"].as_i64().unwrap() - scene.clock.now().timestamp();
    assert!((1..=24 * 3600).contains(&left), "{left}");
    let headers = &got["headers"];
    let of = ["ttl", "urgency", "content-encoding"].map(|name| headers[name].as_str().unwrap());
    assert_eq!(of, ["86400", "high", "aes128gcm"]);

    // The same message once more has the same topic, by which it takes the place of the first.
    let again = Outgoing { urgent: false, ..scene.message(201) };
    assert_eq!(scene.send(&again).await, Outcome::Sent);
    let again = scene.got().await;
    assert_eq!((&again["headers"]["topic"], &again["headers"]["urgency"]), (&headers["topic"], &json!("normal")));
    assert_eq!(headers["topic"].as_str().unwrap().len(), 32);
}

#[rocket::async_test]
async fn a_push_of_a_long_text_is_one_that_each_service_takes() {
    let mut scene = Scene::start().await;
    let long = Outgoing { body: "ü".repeat(4000), ..scene.message(201) };
    assert_eq!(scene.send(&long).await, Outcome::Sent);
    let got = scene.got().await;
    assert!(got["bytes"].as_u64().unwrap() <= 4096, "{}", got["bytes"]);
    assert!(got["push"]["body"].as_str().unwrap().starts_with("üü"));
}

#[rocket::async_test]
async fn what_a_push_service_says_is_what_comes_of_a_push() {
    let mut scene = Scene::start().await;
    let later = |status: u16, after: Option<u64>| Outcome::Later {
        error: format!("the push service answered {status}"),
        after: after.map(Duration::from_secs),
    };
    let refused = |status: u16| Outcome::refused(status.to_string(), format!("the push service answered {status}"));
    for (status, expected) in [
        (404, Outcome::Gone),
        (410, Outcome::Gone),
        (400, refused(400)),
        (413, refused(413)),
        (429, later(429, Some(120))),
        (503, later(503, Some(120))),
        (403, later(403, None)),
        (500, later(500, None)),
        // Nobody is asked but who was named.
        (307, later(307, None)),
    ] {
        assert_eq!(scene.send(&scene.message(status)).await, expected, "{status}");
        assert_eq!(scene.got().await["path"], format!("/wpush/{status}"));
    }
}

#[rocket::async_test]
async fn a_push_goes_nowhere_but_to_a_listed_host() {
    let scene = Scene::start().await;
    let mut elsewhere = scene.message(201);
    let To::WebPush { endpoint, .. } = &mut elsewhere.to else { unreachable!("it is a push") };
    *endpoint = endpoint.replace("127.0.0.1", "localhost");
    let sent = scene.send(&elsewhere).await;
    assert!(matches!(&sent, Outcome::Refused { code, .. } if code == "host_not_allowed"), "{sent:?}");
}

#[rocket::async_test]
async fn a_service_that_is_not_there_is_tried_again() {
    let mut scene = Scene::start().await;
    drop(std::mem::replace(&mut scene.service, python::start("gateway.py", &["whsec_YWRh"])));
    let sent = scene.send(&scene.message(201)).await;
    let is_later =
        matches!(&sent, Outcome::Later { error, after: None } if error.starts_with("no answer of the push service: "));
    assert!(is_later, "{sent:?}");
}
