//! Why a call gave nothing. Stripe's own texts are not kept: they may name whoever they are about.

use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use serde::Deserialize;

/// Why a call gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// There was no connection, so that nothing was done.
    #[error("Stripe cannot be reached")]
    Unreachable(#[source] reqwest::Error),
    /// No answer in time, or half of one: whether it was done is not known.
    #[error("Stripe did not answer")]
    Lost(#[source] Option<reqwest::Error>),
    /// It answered with an error.
    #[error("Stripe answered {0}")]
    Refused(Box<Refusal>),
    /// It answered with something that no object is.
    #[error("Stripe's response is not one that we know: {0}")]
    UnexpectedResponse(&'static str),
}

/// An error of Stripe's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: StatusCode,
    /// `error.type`: `card_error`, `idempotency_error`, …
    pub kind: Option<String>,
    /// `error.code`: `resource_missing`, `card_declined`, …
    pub code: Option<String>,
    /// `error.decline_code`: `insufficient_funds`, …
    pub decline_code: Option<String>,
    /// `error.advice_code`: `do_not_try_again`, …
    pub advice_code: Option<String>,
    /// `error.param`
    pub param: Option<String>,
    /// Of the payment that the customer has to confirm.
    pub client_secret: Option<String>,
    /// `Stripe-Should-Retry`
    pub should_retry: Option<bool>,
    /// `Retry-After`
    pub retry_after: Option<Duration>,
    /// Whether it is the answer to an earlier call of the same key.
    pub is_replayed: bool,
}

impl CallError {
    /// Whether the same call may work later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Lost(_) => true,
            Self::Refused(refusal) => refusal.is_transient(),
            Self::UnexpectedResponse(_) => false,
        }
    }

    /// What Stripe answered, where it did.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// When Stripe wants to be asked again, where it says so.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        self.refusal()?.retry_after
    }
}

/// The body of an error.
#[derive(Default, Deserialize)]
struct Body {
    #[serde(default)]
    error: Detail,
}

#[derive(Default, Deserialize)]
struct Detail {
    #[serde(rename = "type")]
    kind: Option<String>,
    code: Option<String>,
    decline_code: Option<String>,
    advice_code: Option<String>,
    param: Option<String>,
    payment_intent: Option<Intent>,
}

#[derive(Deserialize)]
struct Intent {
    status: Option<String>,
    client_secret: Option<String>,
}

impl Refusal {
    /// What `status`, the headers and the body of an answer say.
    pub(super) fn read(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        let Detail { kind, code, decline_code, advice_code, param, payment_intent } =
            serde_json::from_slice::<Body>(body).unwrap_or_default().error;
        let header = |name: &str| headers.get(name)?.to_str().ok();
        // A secret of a payment that waits for nobody is nobody's business.
        let waiting = payment_intent.filter(|intent| intent.status.as_deref() == Some("requires_action"));
        Self {
            kind,
            code,
            decline_code,
            advice_code,
            param,
            client_secret: waiting.and_then(|intent| intent.client_secret),
            should_retry: header("stripe-should-retry").and_then(|said| said.parse().ok()),
            retry_after: header("retry-after").and_then(|said| said.parse().ok()).map(Duration::from_secs),
            is_replayed: header("idempotent-replayed") == Some("true"),
            ..Self::of_status(status)
        }
    }

    /// One that says nothing but its status.
    pub(crate) fn of_status(status: StatusCode) -> Self {
        Self {
            status,
            kind: None,
            code: None,
            decline_code: None,
            advice_code: None,
            param: None,
            client_secret: None,
            should_retry: None,
            retry_after: None,
            is_replayed: false,
        }
    }

    /// Whether the same call may work later.
    pub fn is_transient(&self) -> bool {
        self.status.is_server_error() || matches!(self.status.as_u16(), 409 | 424 | 429)
    }

    /// Whether the object, or the state of it, that the call is about is not there any more.
    pub fn is_out_of_date(&self) -> bool {
        let is_ours = self.is_idempotency_mismatch() || self.code.as_deref() == Some("parameter_unknown");
        matches!(self.status.as_u16(), 400 | 404) && !is_ours
    }

    /// Whether a payment was declined.
    pub fn is_decline(&self) -> bool {
        self.status.as_u16() == 402
    }

    /// Why, in a word: the issuer's, else Stripe's own.
    pub fn reason(&self) -> Option<String> {
        self.decline_code.clone().or_else(|| self.code.clone())
    }

    /// Whether the issuer advises not to try the same payment method again.
    pub fn advises_against_another_try(&self) -> bool {
        self.advice_code.as_deref() == Some("do_not_try_again")
    }

    /// Whether it is as things stand that Stripe does not do this, and not by how it was asked. For that it has no codes, but for
    /// an item that is no more.
    pub fn is_of_state(&self) -> bool {
        let is_gone = self.param.as_deref().is_some_and(|param| param.ends_with("[id]"));
        let is_word_of_state = match self.code.as_deref() {
            None => !self.is_idempotency_mismatch(),
            Some(code) => code == "resource_missing" && is_gone,
        };
        self.status.as_u16() == 400 && is_word_of_state
    }

    /// Whether Stripe has no such object as the parameter `param` names; of what a path names, that is `id`.
    pub fn has_no(&self, param: &str) -> bool {
        self.code.as_deref() == Some("resource_missing") && self.param.as_deref() == Some(param)
    }

    /// Whether the bank wants to hear from the customer before it pays.
    pub fn needs_customer(&self) -> bool {
        let words = [self.code.as_deref(), self.decline_code.as_deref()];
        let asks = |word: &str| word == "authentication_required" || word.ends_with("payment_intent_requires_action");
        self.client_secret.is_some() || words.into_iter().flatten().any(asks)
    }

    /// Whether the customer has nothing to pay with. Of an object that is not there Stripe says by which parameter it was named.
    pub fn wants_payment_method(&self) -> bool {
        self.status.as_u16() == 400 && self.code.as_deref() == Some("resource_missing") && self.param.is_none()
    }

    /// Whether something else was asked before under the same key.
    pub fn is_idempotency_mismatch(&self) -> bool {
        self.status.as_u16() == 400 && self.kind.as_deref() == Some("idempotency_error")
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.status.as_u16())?;
        // Codes are words of Stripe's own; anything else is not repeated.
        let is_word =
            |code: &&String| code.len() <= 64 && code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        self.code.as_ref().filter(is_word).map_or(Ok(()), |code| write!(f, " {code}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> Refusal {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.parse::<reqwest::header::HeaderName>().unwrap(), value.parse().unwrap()));
        Refusal::read(StatusCode::from_u16(status).unwrap(), &headers.collect(), body.as_bytes())
    }

    #[test]
    fn what_stripe_says_of_an_error_is_read() {
        let body = r#"{"error": {"type": "card_error", "code": "card_declined", "decline_code": "insufficient_funds",
            "message": "ada@example.com has no money", "param": "items",
            "payment_intent": {"status": "requires_payment_method", "client_secret": "pi_1_secret_2"}}}"#;
        let read = read(402, &[("stripe-should-retry", "false"), ("retry-after", "3")], body);
        assert_eq!(read.decline_code.as_deref(), Some("insufficient_funds"));
        assert_eq!((read.should_retry, read.retry_after), (Some(false), Some(Duration::from_secs(3))));
        assert_eq!(read.client_secret, None, "there is nothing to confirm");
        let error = CallError::Refused(Box::new(read));
        assert_eq!(error.to_string(), "Stripe answered 402 card_declined");
        assert!(!format!("{error:?}").contains("ada@"));
    }

    #[test]
    fn a_payment_that_waits_for_the_customer_has_its_secret() {
        let body = r#"{"error": {"payment_intent": {"status": "requires_action", "client_secret": "pi_1_secret_2"}}}"#;
        assert_eq!(read(402, &[], body).client_secret.as_deref(), Some("pi_1_secret_2"));
    }

    #[test]
    fn what_cannot_be_as_things_stand_is_no_fault_of_the_call() {
        let is_of_state = |status, error: &str| read(status, &[], &format!(r#"{{"error": {error}}}"#)).is_of_state();
        for state in [
            r#"{"type": "invalid_request_error", "message": "It cannot be changed while it is paused."}"#,
            r#"{"type": "invalid_request_error", "param": "proration_date"}"#,
            r#"{"type": "invalid_request_error", "code": "resource_missing", "param": "items[0][id]"}"#,
        ] {
            assert!(is_of_state(400, state), "{state}");
            assert!(!is_of_state(404, state) && !is_of_state(402, state), "{state}");
        }
        for ours in [
            r#"{"type": "idempotency_error"}"#,
            r#"{"type": "invalid_request_error", "code": "parameter_unknown", "param": "colour"}"#,
            r#"{"type": "invalid_request_error", "code": "resource_missing", "param": "items[0][price]"}"#,
        ] {
            assert!(!is_of_state(400, ours), "{ours}");
        }
    }

    #[test]
    fn an_error_that_is_no_json_has_its_status() {
        for body in ["", "<html>", "[]", r#"{"error": "no"}"#] {
            let read = read(502, &[], body);
            assert_eq!((read.to_string(), read.is_transient()), ("502".to_owned(), true), "{body}");
        }
    }
}
