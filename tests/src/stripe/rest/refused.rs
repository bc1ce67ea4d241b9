//! How Stripe says no: <https://docs.stripe.com/api/errors>.

use serde_json::{Value, json};

use crate::stripe::verbs::Unpaid;

/// An error as Stripe answers it: status, and the members of `error`.
#[derive(Debug)]
pub(super) struct Refused(pub(super) u16, pub(super) Value);

/// What comes of a call.
pub(super) type Answer = Result<Value, Refused>;

impl Refused {
    /// The caller's own mistake.
    pub(super) fn invalid(status: u16, code: Option<&str>, message: &str) -> Self {
        let mut error = json!({ "type": "invalid_request_error", "message": message });
        if let Some(code) = code {
            error["code"] = code.into();
            error["doc_url"] = format!("https://stripe.com/docs/error-codes/{}", code.replace('_', "-")).into();
        }
        Self(status, error)
    }

    /// The same, about one parameter.
    pub(super) fn about(mut self, param: &str) -> Self {
        self.1["param"] = param.into();
        self
    }

    /// What a path names is not there.
    pub(super) fn no_such(kind: &str, id: &str) -> Self {
        Self::invalid(404, Some("resource_missing"), &format!("No such {kind}: '{id}'")).about("id")
    }

    /// What a parameter names is not there.
    pub(super) fn no_such_value(kind: &str, id: &str, param: &str) -> Self {
        Self::invalid(400, Some("resource_missing"), &format!("No such {kind}: '{id}'")).about(param)
    }

    /// A parameter is missing.
    pub(super) fn needs(param: &str) -> Self {
        Self::invalid(400, Some("parameter_missing"), &format!("Missing required param: {param}.")).about(param)
    }

    /// Nobody has connected such an account, or not to this one.
    pub(super) fn no_such_account() -> Self {
        let message = "The provided key does not have access to this account (or it does not exist).";
        Self::invalid(403, Some("account_invalid"), message)
    }

    /// There is no such call.
    pub(super) fn no_such_call(call: &str) -> Self {
        let call = call.replacen(' ', ": ", 1);
        Self::invalid(404, None, &format!("Unrecognized request URL ({call})."))
    }

    /// A payment that did not come.
    pub(super) fn unpaid(why: Unpaid) -> Self {
        let (code, decline) = match why {
            Unpaid::NeedsAction => ("subscription_payment_intent_requires_action", None),
            Unpaid::NoCard => {
                let message = "This customer has no attached payment source or default payment method.";
                return Self::invalid(400, Some("resource_missing"), message);
            }
            Unpaid::Declined(_) => why.codes(),
        };
        let mut error = json!({ "type": "card_error", "code": code, "message": reason_for_buyers(why) });
        if let Some(decline) = decline {
            error["decline_code"] = decline.into();
        }
        Self(402, error)
    }
}

/// What somebody at a screen is told.
pub(super) fn reason_for_buyers(why: Unpaid) -> &'static str {
    match why {
        Unpaid::Declined("insufficient_funds") => "Your card has insufficient funds.",
        Unpaid::Declined("expired_card") => "Your card has expired.",
        Unpaid::Declined("incorrect_cvc") => "Your card's security code is incorrect.",
        Unpaid::Declined("processing_error") => {
            "An error occurred while processing your card. Try again in a little bit."
        }
        Unpaid::Declined(_) => "Your card was declined.",
        Unpaid::NeedsAction => "Your bank wants to hear from you before this payment can be made.",
        Unpaid::NoCard => "Type in a card.",
    }
}
