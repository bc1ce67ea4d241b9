//! The answer by which a browser remembers who signed in, or no longer does.

use rocket::Request;
use rocket::http::{Cookie, Status};
use rocket::response::{self, Responder, Response};

use crate::http::endpoint::{Answers, Operation};

/// 204 with a cookie.
pub struct Remembered(pub Cookie<'static>);

impl Answers for Remembered {
    fn describe(operation: &mut Operation) {
        operation.succeed_empty(Status::NoContent);
    }
}

impl<'r> Responder<'r, 'static> for Remembered {
    fn respond_to(self, _: &'r Request<'_>) -> response::Result<'static> {
        Response::build().status(Status::NoContent).raw_header("Set-Cookie", self.0.to_string()).ok()
    }
}
