//! The company's own gateway to apps: it knows their makers' services, and we know it alone.

use reqwest::StatusCode;
use serde::Serialize;
use serde_json::Value;
use tollgate_shared::Clock;

use super::webhook::{Webhook, WebhookConfig};
use super::{Outcome, Outgoing};

/// `PUSH_WEBHOOK_URL`.
#[derive(Debug)]
pub(super) struct Gateway {
    webhook: Webhook,
    clock: Clock,
}

/// What it is sent.
#[derive(Serialize)]
struct Push<'m> {
    platform: &'m str,
    token: &'m str,
    title: &'m str,
    body: &'m str,
    url: Option<&'m str>,
    data: &'m Value,
}

impl Gateway {
    pub(super) fn new(config: &WebhookConfig, clock: &Clock) -> Self {
        Self { webhook: Webhook::new(config), clock: clock.clone() }
    }

    /// Hands a message over that is for the app `token`.
    pub(super) async fn send(&self, message: &Outgoing, platform: &str, token: &str) -> Outcome {
        let Outgoing { title, body, url, data, .. } = message;
        let push = Push { platform, token, title, body, url: url.as_deref(), data };
        let push = serde_json::to_vec(&push).expect("texts and a JSON value are JSON");
        let answer = match self.webhook.post(&message.id, self.clock.now(), push).await {
            Ok(answer) => answer,
            Err(why) => return Outcome::later(format!("no answer of the gateway: {why}")),
        };
        match answer.status {
            status if status.is_success() => Outcome::Sent,
            StatusCode::GONE => Outcome::Gone,
            status => {
                Outcome::Later { error: format!("the gateway answered {}", status.as_u16()), after: answer.retry_after }
            }
        }
    }
}
