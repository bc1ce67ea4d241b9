//! Whatever calls the timetable's routes from outside.

use rocket::Request;
use rocket::http::Status;
use rocket::request::{self, FromRequest};

use super::{bearer, outcome};
use crate::app::App;
use crate::http::endpoint::{Argument, Operation, Place, Scheme};
use crate::http::error::ApiError;

/// A scheduler, which showed one of `CRON_SECRET` as its bearer token.
pub struct Cron(());

#[rocket::async_trait]
impl<'r> FromRequest<'r> for Cron {
    type Error = ();

    async fn from_request(request: &'r Request<'_>) -> request::Outcome<Self, ()> {
        let secrets = &App::of(request).config.cron_secrets;
        let shown = bearer::of(request).filter(|token| secrets.matches(token.as_bytes()));
        let refusal = || ApiError::unauthorized("send the cron secret: Authorization: Bearer <CRON_SECRET>");
        outcome(request, shown.map(|_| Self(())).ok_or_else(refusal))
    }
}

/// What it shows.
const SCHEDULER: &[Scheme] = &[Scheme { name: "cronSecret", place: Place::Bearer, description: "One of CRON_SECRET." }];

impl Argument for Cron {
    fn describe(operation: &mut Operation) {
        operation.access.extend(SCHEDULER);
        operation.refuse(ApiError::of_status(Status::Unauthorized));
    }
}
