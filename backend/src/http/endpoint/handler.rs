//! What a handler's signature says.

use rocket::State;
use rocket::http::Status;
use rocket::response::status::{Custom, NoContent};
use rocket::serde::json::Json;
use schemars::JsonSchema;

use super::operation::{Operation, schema_of};
use crate::app::App;
use crate::http::context::RequestContext;
use crate::http::error::ApiError;

/// Something in a handler's signature, and what it means to a caller.
pub trait Argument {
    /// Says it.
    fn describe(operation: &mut Operation);
}

/// What a handler gives back, and how a caller sees it.
pub trait Answers {
    /// Says it.
    fn describe(operation: &mut Operation);
}

/// A handler: a function of arguments that speak for themselves.
pub trait Handler<Arguments> {
    /// Says all that its signature does.
    fn describe(operation: &mut Operation);
}

macro_rules! handler_of {
    ($($argument:ident)*) => {
        impl<H, F, $($argument,)*> Handler<($($argument,)*)> for H
        where
            H: Fn($($argument),*) -> F,
            F: Future,
            F::Output: Answers,
            $($argument: Argument,)*
        {
            fn describe(operation: &mut Operation) {
                $($argument::describe(operation);)*
                <F::Output as Answers>::describe(operation);
            }
        }
    };
}

handler_of!();
handler_of!(A);
handler_of!(A B);
handler_of!(A B C);
handler_of!(A B C D);
handler_of!(A B C D E);
handler_of!(A B C D E F2);
handler_of!(A B C D E F2 G);

/// A part of the path, which is in the route already.
impl Argument for &str {
    fn describe(_: &mut Operation) {}
}

/// Who asks, and since when, is nothing that a caller says.
impl Argument for &RequestContext {
    fn describe(_: &mut Operation) {}
}

/// Whoever has the app has the database.
impl Argument for &State<App> {
    fn describe(operation: &mut Operation) {
        operation.refuse(ApiError::database_unavailable());
    }
}

impl<T: Answers> Answers for Result<T, ApiError> {
    fn describe(operation: &mut Operation) {
        T::describe(operation);
    }
}

impl<T: JsonSchema> Answers for Json<T> {
    fn describe(operation: &mut Operation) {
        operation.succeed(Status::Ok, "application/json", schema_of::<T>);
    }
}

/// Which statuses these are stands beside the handler's name.
impl<T: Answers> Answers for (Status, T) {
    fn describe(operation: &mut Operation) {
        T::describe(operation);
    }
}

/// The same in its other form.
impl<T: Answers> Answers for Custom<T> {
    fn describe(operation: &mut Operation) {
        T::describe(operation);
    }
}

impl Answers for NoContent {
    fn describe(operation: &mut Operation) {
        operation.succeed_empty(Status::NoContent);
    }
}
