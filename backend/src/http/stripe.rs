//! What a user is told of a call to Stripe that gave nothing, and what he can do about it.

use reqwest::StatusCode;
use rocket::http::Status;

use crate::http::error::ApiError;
use crate::stripe_api::error::{CallError, Refusal};

/// When to come again where Stripe does not say, in seconds.
const RETRY_SECONDS: u32 = 5;

impl From<CallError> for ApiError {
    fn from(error: CallError) -> Self {
        match &error {
            CallError::Unreachable(_) => unavailable(None),
            CallError::Lost(_) => Self::new(
                Status::GatewayTimeout,
                "stripe_timeout",
                "Stripe did not answer in time, so that it is not known whether this was done; the same request with the \
                 same Idempotency-Key tells",
            ),
            CallError::Refused(refusal) => Self::of_refusal(refusal),
            CallError::UnexpectedResponse(_) => not_understood(&error),
        }
    }
}

impl ApiError {
    fn of_refusal(refusal: &Refusal) -> Self {
        match refusal.status.as_u16() {
            402 if refusal.needs_customer() => Self::payment_action_required(refusal.client_secret.as_deref()),
            402 => Self::new(
                Status::PaymentRequired,
                "card_declined",
                "the payment was declined; use another card, or ask the bank that issued this one",
            )
            .with_more("declineCode", refusal.decline_code.as_ref().or(refusal.code.as_ref())),
            _ if refusal.has_no("customer") => Self::no_customer(),
            _ if refusal.wants_payment_method() => Self::new(
                Status::PaymentRequired,
                "payment_method_required",
                "there is nothing to pay with; add a card in the billing portal, then try again",
            ),
            _ if refusal.is_idempotency_mismatch() => Self::new(
                Status::UnprocessableEntity,
                "idempotency_mismatch",
                "something else was asked before with this Idempotency-Key; take another one",
            ),
            _ if refusal.is_transient() => unavailable(refusal.retry_after.map(|after| after.as_secs())),
            _ => not_understood(refusal),
        }
    }

    /// 402: the bank wants to hear from the customer, who confirms the payment by `client_secret`.
    pub fn payment_action_required(client_secret: Option<&str>) -> Self {
        Self::new(
            Status::PaymentRequired,
            "payment_action_required",
            "the customer's bank wants the payment confirmed: do that with the client secret, and it is done; where there is \
             none, use another card",
        )
        .with_more("clientSecret", client_secret)
    }

    /// Whether that is it.
    pub fn is_payment_action_required(&self) -> bool {
        self.code == "payment_action_required"
    }

    /// Whether the user is no customer at Stripe, not yet or no longer.
    pub fn is_no_customer(&self) -> bool {
        self.code == Self::no_customer().code
    }

    /// 503: without a key nobody can ask Stripe.
    pub fn stripe_not_configured() -> Self {
        Self::new(
            Status::ServiceUnavailable,
            "stripe_not_configured",
            "this needs Stripe, whose key is not set here: STRIPE_SECRET_KEY",
        )
    }
}

/// Whatever a call to Stripe may come to. Even an end may charge something, which a bank declines.
pub fn failures() -> [ApiError; 7] {
    let lost = CallError::Lost(None);
    let declined = Refusal::of_status(StatusCode::PAYMENT_REQUIRED);
    let unconfirmed =
        Refusal { client_secret: Some(String::new()), ..Refusal::of_status(StatusCode::PAYMENT_REQUIRED) };
    let unpayable =
        Refusal { code: Some("resource_missing".to_owned()), ..Refusal::of_status(StatusCode::BAD_REQUEST) };
    let [declined, unconfirmed, unpayable] =
        [declined, unconfirmed, unpayable].map(|refusal| ApiError::of_refusal(&refusal));
    [
        ApiError::stripe_not_configured(),
        unavailable(None),
        not_understood(&lost),
        lost.into(),
        declined,
        unconfirmed,
        unpayable,
    ]
}

fn unavailable(retry_after_seconds: Option<u64>) -> ApiError {
    let seconds = retry_after_seconds.and_then(|seconds| seconds.try_into().ok()).filter(|seconds| *seconds > 0);
    ApiError {
        retry_after_seconds: Some(seconds.unwrap_or(RETRY_SECONDS)),
        ..ApiError::new(
            Status::ServiceUnavailable,
            "stripe_unavailable",
            "Stripe is not available at the moment; try again shortly",
        )
    }
}

/// Our call was wrong, or our key is.
fn not_understood(error: &impl std::fmt::Display) -> ApiError {
    let cause = ApiError::internal_because("stripe", format!("a call to Stripe failed: {error}")).cause;
    ApiError {
        cause,
        ..ApiError::new(
            Status::BadGateway,
            "stripe_error",
            "Stripe would not do this; the log has more under the request id",
        )
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use reqwest::StatusCode;
    use serde_json::json;

    use super::*;

    fn of(status: u16, change: impl FnOnce(&mut Refusal)) -> (u16, &'static str, Option<u32>, serde_json::Value) {
        let mut refusal = Refusal::of_status(StatusCode::from_u16(status).unwrap());
        change(&mut refusal);
        let error = ApiError::from(CallError::Refused(Box::new(refusal)));
        let more = error.more.map_or(json!(null), |more| json!({ more.name: more.value }));
        (error.status.code, error.code, error.retry_after_seconds, more)
    }

    #[test]
    fn a_declined_card_is_the_buyers_matter_and_says_why() {
        let declined = of(402, |refusal| {
            refusal.code = Some("card_declined".to_owned());
            refusal.decline_code = Some("insufficient_funds".to_owned());
        });
        assert_eq!(declined, (402, "card_declined", None, json!({ "declineCode": "insufficient_funds" })));
        let expired = of(402, |refusal| refusal.code = Some("expired_card".to_owned()));
        assert_eq!(expired, (402, "card_declined", None, json!({ "declineCode": "expired_card" })));
    }

    #[test]
    fn whoever_has_no_card_is_told_to_add_one() {
        let missing = |param: Option<&str>| {
            of(400, |refusal| {
                refusal.code = Some("resource_missing".to_owned());
                refusal.param = param.map(str::to_owned);
            })
        };
        assert_eq!(missing(None), (402, "payment_method_required", None, json!(null)));
        assert_eq!(missing(Some("items[0][price]")).0, 502, "that is a fault of ours");
    }

    #[test]
    fn whoever_stripe_has_no_longer_is_no_customer() {
        let gone = of(400, |refusal| {
            refusal.code = Some("resource_missing".to_owned());
            refusal.param = Some("customer".to_owned());
        });
        assert_eq!(gone, (404, "no_customer", None, json!(null)));
    }

    #[test]
    fn a_payment_to_be_confirmed_has_what_confirms_it() {
        let waiting = of(402, |refusal| refusal.client_secret = Some("pi_1_secret_2".to_owned()));
        assert_eq!(waiting, (402, "payment_action_required", None, json!({ "clientSecret": "pi_1_secret_2" })));
        // Of what is not made unless it is paid at once there is nothing to be confirmed.
        let unmade = of(402, |refusal| refusal.code = Some("subscription_payment_intent_requires_action".to_owned()));
        assert_eq!(unmade, (402, "payment_action_required", None, json!({ "clientSecret": null })));
    }

    #[test]
    fn what_passes_says_when_to_come_again_and_what_does_not_is_our_fault() {
        for status in [409, 424, 429, 500, 503] {
            assert_eq!(of(status, |_| {}), (503, "stripe_unavailable", Some(5), json!(null)), "{status}");
        }
        let told = of(429, |refusal| refusal.retry_after = Some(Duration::from_secs(30)));
        assert_eq!(told.2, Some(30));
        for status in [400, 401, 403, 404] {
            assert_eq!(of(status, |_| {}), (502, "stripe_error", None, json!(null)), "{status}");
        }
        let lost = ApiError::from(CallError::Lost(None));
        assert_eq!((lost.status.code, lost.code), (504, "stripe_timeout"));
    }
}
