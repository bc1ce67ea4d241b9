//! Pushes to browsers: Web Push (RFC 8030), encrypted for the one browser (RFC 8291), under our name (RFC 8292).
//!
//! A browser is known by an endpoint at its maker's service, which it got from there and gave to us. That address is
//! whatever a user sent: only hosts of a fixed list are called ([`hosts`]).

mod encryption;
pub mod hosts;
pub mod vapid;

use reqwest::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE};
use reqwest::{StatusCode, Url};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use tollgate_shared::{Clock, Rng};

use self::encryption::{PLAIN_BYTES_MAX, Receiver};
use self::hosts::PushHosts;
use self::vapid::VapidKey;
use super::answer::{Answer, why_none};
use super::webhook::{NoClient, client};
use super::{Outcome, Outgoing};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

/// How long a service keeps a push for a browser that is off: a day, in seconds.
const TTL: u32 = 86_400;

/// How long a topic may be (RFC 8030, 5.4).
const TOPIC_CHARACTERS: usize = 32;

/// Under whose name pushes are sent.
#[derive(Clone, Debug)]
pub struct PushConfig {
    /// `VAPID_PRIVATE_KEY`.
    pub key: VapidKey,
    /// `VAPID_SUBJECT`: where a push service finds us when something is wrong.
    pub subject: String,
}

/// Whether these are a browser's keys, as it gives them by `PushSubscription.toJSON()`: a point on P-256 and 16 bytes.
pub fn are_keys(p256dh: &str, auth: &str) -> bool {
    Receiver::parse(p256dh, auth).is_some()
}

/// Pushes under one key.
#[derive(Debug)]
pub(super) struct WebPush {
    config: PushConfig,
    public_key: String,
    hosts: PushHosts,
    http: Result<reqwest::Client, NoClient>,
    clock: Clock,
    rng: Rng,
}

/// What a browser's service worker is given.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Push<'m> {
    title: &'m str,
    body: &'m str,
    url: Option<&'m str>,
    template: &'m str,
    notification_id: Option<&'m str>,
}

impl WebPush {
    pub(super) fn new(config: &PushConfig, hosts: &PushHosts, clock: &Clock, rng: &Rng) -> Self {
        let any = Url::parse("https://push.example").expect("it is an address");
        Self {
            public_key: config.key.public_key(),
            config: config.clone(),
            hosts: hosts.clone(),
            http: client(&any),
            clock: clock.clone(),
            rng: rng.clone(),
        }
    }

    pub(super) fn public_key(&self) -> &str {
        &self.public_key
    }

    /// Hands a message over that is for the browser at `endpoint`.
    pub(super) async fn send(&self, message: &Outgoing, endpoint: &str, p256dh: &str, auth: &str) -> Outcome {
        // The list may have become shorter since.
        let Some(endpoint) = self.hosts.endpoint(endpoint) else {
            return Outcome::refused("host_not_allowed", "the push service is not one of PUSH_HOSTS");
        };
        let Some(receiver) = Receiver::parse(p256dh, auth) else {
            return Outcome::refused("invalid_keys", "the device's keys cannot be used");
        };
        let Some(push) = push(message) else {
            return Outcome::refused("too_long", "there is no room for the push's title and address");
        };
        let http = match &self.http {
            Ok(http) => http,
            Err(why) => return Outcome::later(why.to_string()),
        };
        let now = self.clock.now();
        let authorization = self.config.key.authorization(&self.config.subject, &endpoint, now);
        let request = http
            .post(endpoint)
            .header("ttl", TTL)
            .header("urgency", if message.urgent { "high" } else { "normal" })
            .header("topic", topic(&message.topic))
            .header(AUTHORIZATION, authorization)
            .header(CONTENT_ENCODING, "aes128gcm")
            .header(CONTENT_TYPE, "application/octet-stream")
            .body(receiver.seal(&push, &self.rng));
        match request.send().await {
            Ok(response) => outcome(&Answer::of(&response, now)),
            Err(error) => Outcome::later(format!("no answer of the push service: {}", why_none(&error))),
        }
    }
}

/// What an answer means (RFC 8030, 5 and 7.3; what each of the services does besides is the same).
fn outcome(answer: &Answer) -> Outcome {
    let code = answer.status.as_u16();
    let error = format!("the push service answered {code}");
    match answer.status {
        status if status.is_success() => Outcome::Sent,
        StatusCode::NOT_FOUND | StatusCode::GONE => Outcome::Gone,
        StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE => Outcome::refused(code.to_string(), error),
        // 401 and 403 too: they are about our key, which somebody may mend.
        _ => Outcome::Later { error, after: answer.retry_after },
    }
}

/// What is sent of a message, as JSON: with so much of its body as there is room for. `None` where there is none even for the
/// rest.
fn push(message: &Outgoing) -> Option<Vec<u8>> {
    let Outgoing { title, url, template, notification_id, .. } = message;
    let mut body = message.body.as_str();
    loop {
        let push = Push { title, body, url: url.as_deref(), template, notification_id: notification_id.as_deref() };
        let json = serde_json::to_vec(&push).expect("texts are JSON");
        if json.len() <= PLAIN_BYTES_MAX {
            return Some(json);
        }
        if body.is_empty() {
            return None;
        }
        body = &body[..body.floor_char_boundary(body.len() / 2)];
    }
}

/// A topic of the characters that one may have, the same for the same text.
fn topic(text: &str) -> String {
    let mut topic = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(text));
    topic.truncate(TOPIC_CHARACTERS);
    topic
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::Value;

    use super::*;
    use crate::channels::To;
    use crate::channels::tests::message;

    fn with_body(body: &str) -> Outgoing {
        let nobody = To::App { platform: String::new(), token: String::new() };
        Outgoing { body: body.to_owned(), ..message(nobody) }
    }

    #[test]
    fn a_long_body_is_cut_to_what_there_is_room_for() {
        let body = |said: &str| {
            let json = push(&with_body(said)).unwrap();
            assert!(json.len() <= PLAIN_BYTES_MAX, "{}", json.len());
            let push: Value = serde_json::from_slice(&json).unwrap();
            assert_eq!(push["notificationId"], "ntf_1");
            push["body"].as_str().unwrap().to_owned()
        };
        assert_eq!(body("Noch zwei Tage."), "Noch zwei Tage.");
        assert_eq!(body(&"ü".repeat(3000)), "ü".repeat(1500));
        // Each takes six bytes of JSON.
        assert_eq!(body(&"\u{1}".repeat(4000)).len(), 500);
        let mut endless = with_body("");
        endless.url = Some("x".repeat(PLAIN_BYTES_MAX));
        assert_eq!(push(&endless), None);
    }

    #[test]
    fn a_topic_is_of_32_characters_and_one_a_text() {
        let made = topic("msg_0193a5b0c1d27e3f8a4b5c6d7e8f9a0b");
        let is_of_the_alphabet = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        assert!(made.len() == TOPIC_CHARACTERS && made.bytes().all(is_of_the_alphabet), "{made}");
        assert_eq!(topic("msg_0193a5b0c1d27e3f8a4b5c6d7e8f9a0b"), made);
        assert_ne!(topic("msg_0193a5b0c1d27e3f8a4b5c6d7e8f9a0c"), made);
    }

    #[test]
    fn what_a_push_service_answers_decides_what_comes_of_it() {
        let after = Some(Duration::from_secs(7));
        let of = |status: u16| outcome(&Answer { status: status.try_into().unwrap(), retry_after: after });
        for status in [200, 201, 202, 204] {
            assert_eq!(of(status), Outcome::Sent, "{status}");
        }
        for status in [404, 410] {
            assert_eq!(of(status), Outcome::Gone, "{status}");
        }
        for status in [400, 413] {
            assert!(matches!(of(status), Outcome::Refused { code, .. } if code == status.to_string()), "{status}");
        }
        for status in [301, 307, 401, 403, 408, 429, 500, 502, 503] {
            let error = format!("the push service answered {status}");
            assert_eq!(of(status), Outcome::Later { error, after }, "{status}");
        }
    }
}
