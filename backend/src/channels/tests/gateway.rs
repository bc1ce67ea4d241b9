//! The company's gateway, which checks each call by the package of Standard Webhooks for Python.

use tokio::time::timeout;
use tollgate_tests::python;
use tollgate_tests::script::Script;

use super::*;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

struct Scene {
    gateway: Script,
    url: String,
}

impl Scene {
    async fn start() -> Self {
        let mut gateway = python::start("gateway.py", &[SECRET]);
        let url = gateway.next().await.unwrap()["url"].as_str().unwrap().to_owned();
        Self { gateway, url }
    }

    /// What comes of a message to a gateway that answers `status`.
    async fn send(&self, status: u16) -> Outcome {
        let url = format!("{}/{status}", self.url);
        let config = config(&[("PUSH_WEBHOOK_URL", &url), ("PUSH_WEBHOOK_SECRET", SECRET)]);
        let channels = Channels::new(&config.channels, None, &Clock::system(), &Rng::system());
        assert!(channels.configured(Kind::App));
        let to = To::App { platform: "ios".to_owned(), token: "hunter2".to_owned() };
        timeout(PATIENCE, channels.send(&message(to))).await.unwrap()
    }
}

#[rocket::async_test]
async fn a_gateway_gets_what_it_needs_under_a_good_signature() {
    let mut scene = Scene::start().await;
    assert_eq!(scene.send(202).await, Outcome::Sent);
    let got = scene.gateway.next().await.unwrap();
    assert_eq!(
        got["push"],
        json!({
            "platform": "ios",
            "token": "hunter2",
            "title": "Zahlung nötig",
            "body": "Noch zwei Tage.",
            "url": "https://pay.example.com/account",
            "data": { "podId": "pod_1" },
        })
    );
    assert_eq!(
        (&got["headers"]["webhook-id"], &got["headers"]["content-type"]),
        (&json!("msg_0193a5b0"), &json!("application/json"))
    );
}

#[rocket::async_test]
async fn a_gateway_says_that_an_app_is_gone_or_to_come_again() {
    let mut scene = Scene::start().await;
    assert_eq!(scene.send(410).await, Outcome::Gone);
    for status in [307, 400, 404, 413, 500] {
        let error = format!("the gateway answered {status}");
        assert_eq!(scene.send(status).await, Outcome::Later { error, after: None });
    }
    let error = "the gateway answered 503".to_owned();
    assert_eq!(scene.send(503).await, Outcome::Later { error, after: Some(Duration::from_secs(120)) });
    // A redirect is not followed: each call came where it was sent.
    for status in [410, 307, 400, 404, 413, 500, 503] {
        assert_eq!(scene.gateway.next().await.unwrap()["path"], format!("/push/{status}"));
    }
}

#[rocket::async_test]
async fn a_gateway_that_is_not_there_is_tried_again() {
    let url = {
        let scene = Scene::start().await;
        scene.url.clone()
    };
    let config = config(&[("PUSH_WEBHOOK_URL", &url), ("PUSH_WEBHOOK_SECRET", SECRET)]);
    let channels = Channels::new(&config.channels, None, &Clock::system(), &Rng::system());
    let to = To::App { platform: "ios".to_owned(), token: "hunter2".to_owned() };
    // Until the port is free, whoever has it ends the connection.
    let sent = timeout(PATIENCE, channels.send(&message(to))).await.unwrap();
    assert!(
        matches!(&sent, Outcome::Later { error, after: None } if error.starts_with("no answer of the gateway: ")),
        "{sent:?}"
    );
}
