//! The query string of a request, read by name.

use chrono::{DateTime, SubsecRound as _};
use rocket::Request;
use rocket::http::Status;
use rocket::outcome::Outcome;
use rocket::request::{self, FromRequest};
use tollgate_shared::Timestamp;

use crate::http::endpoint::{Argument, Operation};
use crate::http::error::ApiError;

/// The members of a query string, percent-decoded. Of one that comes twice the first counts; unknown ones are no fault.
pub struct Query(Vec<(String, String)>);

impl Query {
    /// That of `request`.
    pub fn of(request: &Request<'_>) -> Self {
        let members = request.uri().query().into_iter().flat_map(|query| query.segments());
        Self(members.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

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

    /// A moment in RFC 3339.
    pub fn time(&self, name: &'static str) -> Result<Option<Timestamp>, ApiError> {
        self.read(name, A_TIME, time)
    }
}

/// What a parameter that is a time has to be.
pub const A_TIME: &str = "a time such as `2026-11-27T09:30:00Z`";

/// A moment in RFC 3339.
pub fn time(text: &str) -> Option<Timestamp> {
    // Cut as all times of ours are.
    Some(DateTime::parse_from_rfc3339(text).ok()?.to_utc().trunc_subsecs(6))
}

#[rocket::async_trait]
impl<'r> FromRequest<'r> for Query {
    type Error = std::convert::Infallible;

    async fn from_request(request: &'r Request<'_>) -> request::Outcome<Self, Self::Error> {
        Outcome::Success(Self::of(request))
    }
}

impl Argument for Query {
    fn describe(operation: &mut Operation) {
        operation.refuse(ApiError::of_status(Status::UnprocessableEntity));
    }
}

#[cfg(test)]
impl<const N: usize> From<[(&str, &str); N]> for Query {
    fn from(members: [(&str, &str); N]) -> Self {
        Self(members.map(|(name, value)| (name.to_owned(), value.to_owned())).into())
    }
}

#[cfg(test)]
mod tests {
    use tollgate_shared::clock::rfc3339;

    use super::*;

    #[test]
    fn a_time_is_read_in_any_zone_and_nothing_else_is_one() {
        let time = |text: &str| Query::from([("from", text)]).time("from").map(|time| time.map(rfc3339));
        assert_eq!(time("2026-11-27T09:30:00Z"), Ok(Some("2026-11-27T09:30:00Z".to_owned())));
        assert_eq!(time("2026-11-27T09:30:00.1234567+01:00"), Ok(Some("2026-11-27T08:30:00.123456Z".to_owned())));
        for bad in ["", "now", "2026-11-27", "2026-11-27T09:30:00", "1750000000"] {
            assert_eq!(time(bad).unwrap_err().param.as_deref(), Some("from"), "{bad}");
        }
        assert_eq!(Query::from([]).time("from"), Ok(None));
    }
}
