//! Messages on their way to others' own programs: a mail server, a browser's push service, a gateway.

mod gateway;
mod mail;
mod push;

use serde_json::json;

use super::*;
use crate::testing::config;

/// Longer than any test waits for an answer that comes.
const PATIENCE: Duration = Duration::from_secs(30);

/// A message on its way to `to`.
pub(super) fn message(to: To) -> Outgoing {
    Outgoing {
        id: "msg_0193a5b0".to_owned(),
        template: "grace_ending".to_owned(),
        urgent: true,
        title: "Zahlung nötig".to_owned(),
        body: "Noch zwei Tage.".to_owned(),
        url: Some("https://pay.example.com/account".to_owned()),
        data: json!({ "podId": "pod_1" }),
        notification_id: Some("ntf_1".to_owned()),
        to,
        mail: None,
        topic: "msg_0193a5b0".to_owned(),
    }
}

/// Ada, at an address of the mail server.
fn ada(address: &str) -> To {
    To::Email { address: address.to_owned(), name: Some("Ada Lovelace".to_owned()) }
}

#[test]
fn a_message_that_is_shown_names_nobody() {
    let mail = Mail {
        subject: "hunter2".to_owned(),
        text: "hunter2".to_owned(),
        html: "hunter2".to_owned(),
        list_unsubscribe: Some("hunter2".to_owned()),
    };
    let hunter = || "hunter2".to_owned();
    for (to, shown) in [
        (To::Email { address: hunter(), name: Some(hunter()) }, "Email(…)"),
        (To::WebPush { endpoint: hunter(), p256dh: hunter(), auth: hunter() }, "WebPush(…)"),
        (To::App { platform: hunter(), token: hunter() }, "App(…)"),
    ] {
        let message = Outgoing {
            title: hunter(),
            body: hunter(),
            url: Some(hunter()),
            data: json!({ "hunter2": "hunter2" }),
            topic: hunter(),
            mail: Some(mail.clone()),
            ..message(to)
        };
        let seen = format!("{message:?} {mail:?}");
        assert!(!seen.contains("hunter2") && seen.contains("msg_0193a5b0") && seen.contains(shown), "{seen}");
    }
}

#[rocket::async_test]
async fn what_is_not_configured_takes_nothing() {
    let channels = Channels::new(&config(&[]).channels, None, &Clock::system(), &Rng::system());
    let nobody = || String::new();
    for to in [
        ada("ada@example.com"),
        To::WebPush { endpoint: nobody(), p256dh: nobody(), auth: nobody() },
        To::App { platform: nobody(), token: nobody() },
    ] {
        assert!(!channels.configured(to.kind()));
        let sent = channels.send(&message(to)).await;
        assert!(matches!(&sent, Outcome::Refused { code, .. } if code == "not_configured"), "{sent:?}");
    }
    assert_eq!(channels.public_key(), None);
}
