//! Which page of a list a request asks for: `?limit=` and `?cursor=`.

use std::ops::Deref;

use rocket::Request;
use rocket::outcome::Outcome;
use rocket::request::{self, FromRequest};
use tollgate_db::page::{LIMIT_DEFAULT, LIMIT_MAX, Page, Position};

use super::query::Query;
use crate::http::endpoint::{Argument, Operation, query};
use crate::http::error::ApiError;

/// The page that a request asks for.
pub struct Paged(Page);

impl Deref for Paged {
    type Target = Page;

    fn deref(&self) -> &Page {
        &self.0
    }
}

#[rocket::async_trait]
impl<'r> FromRequest<'r> for Paged {
    type Error = ();

    async fn from_request(request: &'r Request<'_>) -> request::Outcome<Self, ()> {
        match requested(&Query::of(request)) {
            Ok(page) => Outcome::Success(Self(page)),
            Err(error) => Outcome::Error((error.refuse(request), ())),
        }
    }
}

impl Argument for Paged {
    fn describe(operation: &mut Operation) {
        let limit = query("limit", "How many rows the page has at most.");
        operation.parameters.push(limit.number(1, LIMIT_MAX as i64, LIMIT_DEFAULT as i64));
        operation.parameters.push(query("cursor", "The `nextCursor` of the page before."));
        Query::describe(operation);
    }
}

/// Reads `limit` and `cursor`; 422 for anything but a number from 1 to [`LIMIT_MAX`] and a cursor of ours.
fn requested(query: &Query) -> Result<Page, ApiError> {
    let limit = query.read("limit", "a number from 1 to 100", |text| {
        text.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit))
    })?;
    let after = query.read("cursor", "the `nextCursor` of the page before", Position::from_cursor)?;
    Ok(Page { limit: limit.unwrap_or(LIMIT_DEFAULT), after })
}

/// 422: the cursor is one of ours, but of another list.
pub fn not_of_this_list() -> ApiError {
    ApiError::invalid_parameter("cursor", "`cursor` has to be the `nextCursor` of the page before")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn left_out_is_the_first_page_of_25() {
        assert_eq!(requested(&Query::from([])).unwrap(), Page { limit: 25, after: None });
    }

    #[test]
    fn a_limit_outside_of_1_to_100_is_refused_by_name() {
        for good in ["1", "100"] {
            assert_eq!(requested(&Query::from([("limit", good)])).unwrap().limit.to_string(), good);
        }
        for bad in ["0", "101", "-1", "", " 5", "5.0", "many", "99999999999999999999"] {
            let error = requested(&Query::from([("limit", bad)])).unwrap_err();
            assert_eq!(
                (error.status.code, error.code, error.param.as_deref()),
                (422, "invalid_parameter", Some("limit"))
            );
        }
    }

    #[test]
    fn a_cursor_that_is_not_ours_is_refused_by_name() {
        for bad in ["", "x", "evt_1", "MQ", "////"] {
            let error = requested(&Query::from([("cursor", bad)])).unwrap_err();
            assert_eq!((error.status.code, error.param.as_deref()), (422, Some("cursor")), "{bad}");
            assert!(bad.len() < 5 || !error.message.contains(bad));
        }
    }

    #[test]
    fn a_cursor_of_ours_leads_to_the_page_after_it() {
        let last_seen = Position::from_cursor("MTc1MDAwMDAwMDAwMDAwMC5ldnRfMQ").unwrap();
        let page = requested(&Query::from([("cursor", &*last_seen.to_cursor())])).unwrap();
        assert_eq!(page.after.map(|position| position.id), Some("evt_1".to_owned()));
    }
}
