//! An endpoint: a route of Rocket's, and what it says of itself in the OpenAPI document.
//!
//! Most of that is in the handler's signature: each guard, body and answer in it says what it means to a caller (see
//! [`Argument`] and [`Answers`]). What no signature says stands beside the handler's name, in the list of its module's routes:
//!
//! ```text
//! vec![
//!     endpoint!(show, "An API key, without what it is").refuses([KeyError::Unknown]),
//!     endpoint!(roll, "Makes an API key in the place of another").answers(&[Status::Created]).refuses([KeyError::Unknown]),
//! ]
//! ```

mod handler;
mod operation;

use rocket::Route;
use rocket::http::Status;

pub use self::handler::{Answers, Argument, Handler};
pub use self::operation::{
    Body, Operation, Parameter, Place, SchemaOf, Scheme, Success, query, schema_of, schema_of_file,
};
use crate::http::error::ApiError;

/// An endpoint of the handler with this name, and what it does, in a sentence.
macro_rules! endpoint {
    ($handler:ident, $summary:literal) => {
        $crate::http::endpoint::Endpoint::new(rocket::routes![$handler], $handler, $summary)
    };
}
pub(crate) use endpoint;

/// A route, and what it says of itself.
#[derive(Clone)]
pub struct Endpoint {
    /// The route.
    pub route: Route,
    /// None for what answers no JSON: pages, and numbers for Prometheus.
    pub operation: Option<Operation>,
}

impl Endpoint {
    /// The one of `routes`, which was made of `handler`.
    pub fn new<Arguments, H: Handler<Arguments>>(routes: Vec<Route>, _handler: H, summary: &'static str) -> Self {
        let route = routes.into_iter().next().expect("a handler has a route");
        let mut operation = Operation::of(&route, summary);
        H::describe(&mut operation);
        Self { route, operation: Some(operation) }
    }

    /// Routes that the document does not have: pages, and numbers for Prometheus.
    pub fn unlisted(routes: Vec<Route>) -> impl Iterator<Item = Self> {
        routes.into_iter().map(|route| Self { route, operation: None })
    }

    /// With which statuses it answers what it answers, where that is not 200 alone.
    pub fn answers(self, statuses: &[Status]) -> Self {
        self.with(|operation| operation.succeed_with(statuses))
    }

    /// What it refuses, besides what its guards and its body do.
    pub fn refuses<E: Into<ApiError>>(self, errors: impl IntoIterator<Item = E>) -> Self {
        self.with(|operation| errors.into_iter().for_each(|error| operation.refuse(error)))
    }

    /// What it reads of the query string.
    pub fn takes(self, parameters: impl IntoIterator<Item = Parameter>) -> Self {
        self.with(|operation| operation.parameters.extend(parameters))
    }

    fn with(mut self, say: impl FnOnce(&mut Operation)) -> Self {
        if let Some(operation) = &mut self.operation {
            say(operation);
        }
        self
    }
}
