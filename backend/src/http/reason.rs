//! Why somebody does something, in their own words.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::http::error::ApiError;

/// How long an operator's reason may be, which the audit trail keeps: a paragraph, with a link to a ticket.
const REASON_CHARACTERS_MAX: usize = 1000;

/// How long a user's reason may be: Stripe's own comments hold no more.
const COMMENT_CHARACTERS_MAX: usize = 500;

/// The body of a request that has to say why, and nothing else.
#[derive(Deserialize, JsonSchema)]
pub struct Reason {
    reason: String,
}

impl Reason {
    /// What it says; 422 where that is nothing, or too much.
    pub fn readable(self) -> Result<String, ApiError> {
        readable(&self.reason)
    }
}

/// A body that may say why, and be left out.
#[derive(Default, Deserialize, JsonSchema)]
pub struct MaybeReason {
    reason: Option<String>,
}

impl MaybeReason {
    /// What it says; blank is nothing, and 422 is what is too long.
    pub fn readable(self) -> Result<Option<String>, ApiError> {
        maybe_readable(self.reason)
    }
}

/// The reason that may stand in `text`; blank is none, and 422 is what is too long.
pub fn maybe_readable(text: Option<String>) -> Result<Option<String>, ApiError> {
    text.filter(|text| !text.trim().is_empty()).map(|text| readable(&text)).transpose()
}

/// The reason that stands in `text`; 422 where that is none, or too long.
pub fn readable(text: &str) -> Result<String, ApiError> {
    let reason = text.trim();
    if (1..=REASON_CHARACTERS_MAX).contains(&reason.chars().count()) {
        return Ok(reason.to_owned());
    }
    let message = format!("`reason` has to say why, in 1 to {REASON_CHARACTERS_MAX} characters");
    Err(ApiError::invalid_parameter("reason", message))
}

/// The reason that a user may give; blank is none, and 422 is what is too long.
pub fn comment(text: Option<String>) -> Result<Option<String>, ApiError> {
    let comment = text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    if comment.as_ref().is_some_and(|comment| comment.chars().count() > COMMENT_CHARACTERS_MAX) {
        let message = format!("`reason` has at most {COMMENT_CHARACTERS_MAX} characters");
        return Err(ApiError::invalid_parameter("reason", message));
    }
    Ok(comment)
}
