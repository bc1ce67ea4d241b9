//! Whoever runs the deployment.

use rocket::Request;
use rocket::request::{self, FromRequest};
use tollgate_domain::audit::acts::ActedBy;

use super::authenticator::{Authenticator, not_an_operator};
use super::console::{self, CONSOLE};
use super::user::{SESSION, refuse_forms, refuse_strangers};
use super::{bearer, outcome};
use crate::app::App;
use crate::http::context::RequestContext;
use crate::http::endpoint::{Argument, Operation, Parameter, Place, Scheme};
use crate::http::error::ApiError;

/// Where the holder of `ADMIN_API_KEY` says who he is.
const OPERATOR_HEADER: &str = "x-operator";
const CLAIMED_NAME_CHARACTERS_MAX: usize = 64;

/// Who the audit trail names for the holder of `ADMIN_API_KEY`.
const KEY_HOLDER: &str = "key";

/// Whether a request is one that only operators may make.
pub struct ForOperators(bool);

impl ForOperators {
    /// Whether `request` is.
    pub fn is(request: &Request<'_>) -> bool {
        request.local_cache(|| Self(false)).0
    }
}

/// Whether it was the console that asked: its pages do so again every few seconds, for as long as they are open.
pub struct ByConsole(bool);

impl ByConsole {
    /// Whether it asked for `request`.
    pub fn is(request: &Request<'_>) -> bool {
        request.local_cache(|| Self(false)).0
    }
}

/// An operator: a user whose token has the role `admin`, whoever showed `ADMIN_API_KEY` as a bearer token, or who signed in at
/// the console.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operator {
    /// Who it is, for the audit trail: the token's `sub`, `key`, or `console:{name}`.
    pub actor: String,
    /// What the holder of the key calls himself, in `X-Operator`: nobody has checked it.
    pub claimed_name: Option<String>,
}

impl Operator {
    /// The operator in the audit trail, who acts by the request of `context`.
    pub fn acting(self, context: &RequestContext, reason: Option<String>) -> ActedBy {
        let Self { actor, claimed_name } = self;
        ActedBy { actor, claimed_name, request_id: context.request_id.to_string(), reason }
    }
}

#[rocket::async_trait]
impl<'r> FromRequest<'r> for Operator {
    type Error = ();

    async fn from_request(request: &'r Request<'_>) -> request::Outcome<Self, ()> {
        request.local_cache(|| ForOperators(true));
        outcome(request, operator(request).await)
    }
}

async fn operator(request: &Request<'_>) -> Result<Operator, ApiError> {
    let key = App::of(request).config.admin_api_key.as_ref();
    let shown = bearer::of(request).zip(key);
    if shown.is_some_and(|(token, key)| key.matches(token.as_bytes())) {
        let claimed_name = claimed_name(request.headers().get(OPERATOR_HEADER))?;
        return Ok(Operator { actor: KEY_HOLDER.to_owned(), claimed_name });
    }
    // Whoever sends a token means it.
    if !request.headers().contains("authorization")
        && let Some(session) = console::of(request).await?
    {
        request.local_cache(|| ByConsole(true));
        return Ok(Operator { actor: session.actor, claimed_name: None });
    }
    let sign_in = Authenticator::sign_in(request).await?;
    let actor = sign_in.claims.operator().ok_or_else(not_an_operator)?;
    if sign_in.is_by_cookie() {
        refuse_forms(request)?;
    }
    Ok(Operator { actor, claimed_name: None })
}

/// What the holder of a key calls himself; blank is nothing.
fn claimed_name<'h>(mut given: impl Iterator<Item = &'h str>) -> Result<Option<String>, ApiError> {
    let (name, again) = (given.next(), given.next());
    let name = name.map(str::trim).filter(|name| !name.is_empty());
    let read = name.map(readable_name);
    if again.is_some() || read == Some(None) { Err(unreadable_name()) } else { Ok(read.flatten()) }
}

/// What somebody calls himself, if that can be read: 1 to 64 characters.
pub fn readable_name(name: &str) -> Option<String> {
    let name = name.trim();
    let is_readable =
        (1..=CLAIMED_NAME_CHARACTERS_MAX).contains(&name.chars().count()) && !name.chars().any(char::is_control);
    is_readable.then(|| name.to_owned())
}

fn unreadable_name() -> ApiError {
    ApiError::invalid_parameter("X-Operator", "`X-Operator` has to be a name: 1 to 64 characters, once")
}

/// What operators show.
const OPERATOR: &[Scheme] = &[
    Scheme { name: "operatorToken", place: Place::Bearer, description: "A user's token with `role: \"admin\"`." },
    Scheme { name: "adminKey", place: Place::Bearer, description: "ADMIN_API_KEY." },
    SESSION,
    CONSOLE,
];

impl Argument for Operator {
    fn describe(operation: &mut Operation) {
        operation.access.extend(OPERATOR);
        let name = "What the holder of ADMIN_API_KEY calls himself, for the audit trail.";
        operation.parameters.push(Parameter::header("X-Operator", 0..=CLAIMED_NAME_CHARACTERS_MAX, name));
        refuse_strangers(operation);
        operation.refuse(ApiError::database_unavailable());
        operation.refuse(not_an_operator());
        operation.refuse(unreadable_name());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_of_a_key_may_say_who_he_is_once_and_in_short() {
        let name = |given: &[&str]| claimed_name(given.iter().copied()).map_err(|error| error.param.unwrap());
        assert_eq!(name(&[]), Ok(None));
        assert_eq!(name(&[" "]), Ok(None));
        assert_eq!(name(&[" Ada Lovelace "]), Ok(Some("Ada Lovelace".to_owned())));
        assert_eq!(name(&[&"é".repeat(64)]), Ok(Some("é".repeat(64))));
        for bad in [&[&*"a".repeat(65)][..], &["a\tb"], &["Ada", "Charles"]] {
            assert_eq!(name(bad), Err("X-Operator".into()), "{bad:?}");
        }
    }
}
