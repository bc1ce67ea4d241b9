//! The query string of a request, read by name.

use rocket::Request;
use rocket::outcome::Outcome;
use rocket::request::{self, FromRequest};

use crate::http::error::ApiError;

/// The members of a query string, percent-decoded. Of one that comes twice the first counts; unknown ones are no fault.
pub struct Query(Vec<(String, String)>);

impl Query {
    /// The value of `name`, if it is there, blank or not.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    /// The value of `name` read by `read`; `what` completes "has to be …" when it cannot be read.
    pub fn read<T>(
        &self,
        name: &'static str,
        what: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, ApiError> {
        let Some(text) = self.text(name) else { return Ok(None) };
        read(text).map(Some).ok_or_else(|| ApiError::invalid_parameter(name, format!("`{name}` has to be {what}")))
    }

    /// `true` or `false`; left out is `false`.
    pub fn switch(&self, name: &'static str) -> Result<bool, ApiError> {
        self.read(name, "`true` or `false`", |text| text.parse().ok()).map(Option::unwrap_or_default)
    }
}

#[rocket::async_trait]
impl<'r> FromRequest<'r> for Query {
    type Error = std::convert::Infallible;

    async fn from_request(request: &'r Request<'_>) -> request::Outcome<Self, Self::Error> {
        let members = request.uri().query().into_iter().flat_map(|query| query.segments());
        Outcome::Success(Self(members.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()))
    }
}

#[cfg(test)]
impl<const N: usize> From<[(&str, &str); N]> for Query {
    fn from(members: [(&str, &str); N]) -> Self {
        Self(members.map(|(name, value)| (name.to_owned(), value.to_owned())).into())
    }
}
