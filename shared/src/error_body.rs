//! The one shape of every error, from any route of either tier.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// `{"error": {"code", "message", "param", "requestId"}}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "Error"))]
pub struct ErrorBody {
    /// What went wrong.
    pub error: ErrorDetail,
}

/// What went wrong, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ErrorDetail {
    /// `snake_case`, stable: what a program decides by.
    pub code: String,
    /// What is wrong and what to do, for a person. Never what the caller sent.
    pub message: String,
    /// The parameter at fault, when there is one.
    pub param: Option<String>,
    /// The `X-Request-Id` of the answer.
    pub request_id: Option<String>,
    /// What else a program has to know, for the few codes that say more.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

impl ErrorBody {
    /// An error without a parameter.
    pub fn new(code: &str, message: &str, request_id: Option<&str>) -> Self {
        Self {
            error: ErrorDetail {
                code: code.to_owned(),
                message: message.to_owned(),
                param: None,
                request_id: request_id.map(str::to_owned),
                more: Map::new(),
            },
        }
    }

    /// Names the parameter at fault.
    pub fn with_param(mut self, param: &str) -> Self {
        self.error.param = Some(param.to_owned());
        self
    }

    /// Says something more, under a name of its own.
    pub fn with_more(mut self, name: &str, value: Value) -> Self {
        self.error.more.insert(name.to_owned(), value);
        self
    }

    /// The body's bytes.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("an error body of strings and JSON is always JSON")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_members_are_null_not_left_out() {
        let body = ErrorBody::new("not_found", "there is no such route", Some("req_123"));
        assert_eq!(
            String::from_utf8(body.to_json()).unwrap(),
            r#"{"error":{"code":"not_found","message":"there is no such route","param":null,"requestId":"req_123"}}"#
        );
    }

    #[test]
    fn what_a_code_says_more_stands_beside_the_rest() {
        let body = ErrorBody::new("full", "there is no seat", None).with_more("machines", serde_json::json!([1]));
        assert_eq!(
            String::from_utf8(body.to_json()).unwrap(),
            r#"{"error":{"code":"full","message":"there is no seat","param":null,"requestId":null,"machines":[1]}}"#
        );
    }
}
