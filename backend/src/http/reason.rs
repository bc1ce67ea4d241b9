//! Why an operator does something, in their own words: the audit trail keeps it.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::http::error::ApiError;

/// How long a reason may be: a paragraph, with a link to a ticket.
const REASON_CHARACTERS_MAX: usize = 1000;

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

/// The reason that stands in `text`; 422 where that is none, or too long.
pub fn readable(text: &str) -> Result<String, ApiError> {
    let reason = text.trim();
    if (1..=REASON_CHARACTERS_MAX).contains(&reason.chars().count()) {
        return Ok(reason.to_owned());
    }
    let message = format!("`reason` has to say why, in 1 to {REASON_CHARACTERS_MAX} characters");
    Err(ApiError::invalid_parameter("reason", message))
}
