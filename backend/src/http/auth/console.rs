//! An operator who signed in at the console: by a cookie that says nothing by itself. Its hash is in the database, with who
//! it is of.
//!
//! A browser sends a cookie by itself, whoever wrote the page that makes it: so what changes something has to come from a
//! page of this very origin, by what browsers say of that and no page can.

use chrono::Duration;
use rocket::Request;
use rocket::http::{Cookie, Method};
use rocket::request::{self, FromRequest};
use sha2::{Digest as _, Sha256};
use tollgate_db::DbError;
use tollgate_domain::console::{self, ConsoleSession, LASTS};
use tracing::debug;

use super::link::cookie;
use super::user::refuse_forms;
use super::{outcome, session};
use crate::app::App;
use crate::http::endpoint::{Argument, Operation, Place, Scheme};
use crate::http::error::ApiError;

/// The cookie of the console.
const CONSOLE_COOKIE: &str = "tollgate_console";

/// Whoever is signed in at the console, if somebody is.
pub struct AtConsole(pub Option<ConsoleSession>);

#[rocket::async_trait]
impl<'r> FromRequest<'r> for AtConsole {
    type Error = ();

    async fn from_request(request: &'r Request<'_>) -> request::Outcome<Self, ()> {
        outcome(request, of(request).await.map(Self))
    }
}

impl Argument for AtConsole {
    fn describe(operation: &mut Operation) {
        operation.refuse(ApiError::database_unavailable());
        if operation.is_unsafe() {
            operation.refuse(of_another_origin());
            operation.refuse(ApiError::unsupported_media_type());
        }
    }
}

/// What the console's users show.
pub(super) const CONSOLE: Scheme = Scheme {
    name: "console",
    place: Place::Cookie(CONSOLE_COOKIE),
    description: "A sign-in at the console. What would change something has to come from a page of this origin.",
};

/// The session that `request` shows, where it is good; 403 where it would change something and comes from elsewhere.
pub(super) async fn of(request: &Request<'_>) -> Result<Option<ConsoleSession>, ApiError> {
    let Some(token) = session::cookie(request.headers().get("cookie"), CONSOLE_COOKIE) else { return Ok(None) };
    let app = App::of(request);
    let now = app.clock.now();
    let found = console::find(&mut app.read().await?, &hash(token)).await?;
    let Some(session) = found.filter(|session| session.is_good(now)) else { return Ok(None) };
    let is_safe = matches!(request.method(), Method::Get | Method::Head | Method::Options);
    if !is_safe && !is_of_this_origin(request) {
        return Err(of_another_origin());
    }
    refuse_forms(request)?;
    if session.is_to_be_noted(now)
        && let Err(failure) = note_use(app, &session).await
    {
        // Whatever needs the database says so itself.
        debug!(reason = failure.class(), "could not note the use of a session of the console: {failure}");
    }
    Ok(Some(session))
}

async fn note_use(app: &App, session: &ConsoleSession) -> Result<(), DbError> {
    let mut tx = app.begin_write().await?;
    console::note_use(&mut tx, &session.id, app.clock.now()).await?;
    tx.commit().await
}

/// Whether a browser says that a page of ours made the request.
fn is_of_this_origin(request: &Request<'_>) -> bool {
    let headers = request.headers();
    let is_ours = |origin: &str| {
        let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
        // HTTP/2 has the authority in the target; it is then in no header, and `Sec-Fetch-Site` is.
        host.is_some_and(|host| headers.get_one("host").is_some_and(|ours| ours.eq_ignore_ascii_case(host)))
    };
    headers.get_one("sec-fetch-site") == Some("same-origin") || headers.get_one("origin").is_some_and(is_ours)
}

fn of_another_origin() -> ApiError {
    let message = "with the console's cookie this takes requests from its own pages alone";
    ApiError { message: message.into(), ..ApiError::forbidden() }
}

/// What there is in the database of what a cookie holds. It is long and random: nobody finds it by trying.
pub fn hash(token: &str) -> String {
    hex::encode(Sha256::digest(token))
}

/// The cookie that holds `token`.
pub fn cookie_of(token: String, is_secure: bool) -> Cookie<'static> {
    cookie(CONSOLE_COOKIE, token, LASTS, is_secure)
}

/// The cookie that takes its place, and is over.
pub fn ended_cookie(is_secure: bool) -> Cookie<'static> {
    cookie(CONSOLE_COOKIE, String::new(), Duration::zero(), is_secure)
}
