//! Who is signed in at the page: by the company's own application, or by a link that is exchanged here for a cookie.

use rocket::http::Status;
use rocket::outcome::Outcome;
use rocket::request::{self, FromRequest};
use rocket::serde::json::Json;
use rocket::{Request, State, delete, get, post};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tracing::info;

use crate::app::App;
use crate::http::auth::{Authenticator, Remembered, SignedInBy, is_secure, refuse_forms, spend};
use crate::http::body::JsonBody;
use crate::http::endpoint::{Argument, Endpoint, Operation, endpoint};
use crate::http::error::ApiError;

/// The routes of this module.
pub(super) fn routes() -> Vec<Endpoint> {
    vec![
        endpoint!(show, "Whether somebody is signed in, and where else they could do it"),
        endpoint!(begin, "Exchanges a link for a cookie, once").refuses([ApiError::of_status(Status::Unauthorized)]),
        endpoint!(end, "Signs out whoever signed in by a link"),
    ]
}

/// Whether somebody is signed in, and where else they could do it.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Session")]
struct SessionView {
    /// Null for who is not signed in.
    signed_in_by: Option<SignedInBy>,
    /// `APP_URL`.
    app_url: Option<String>,
}

/// Whoever sent the request, signed in or not.
struct Visitor {
    signed_in_by: Option<SignedInBy>,
    /// Whether they came by https.
    is_secure: bool,
}

#[rocket::async_trait]
impl<'r> FromRequest<'r> for Visitor {
    type Error = ();

    async fn from_request(request: &'r Request<'_>) -> request::Outcome<Self, ()> {
        if let Err(error) = refuse_forms(request) {
            return Outcome::Error((error.refuse(request), ()));
        }
        let signed_in_by = Authenticator::signed_in_by(request).await;
        Outcome::Success(Self { signed_in_by, is_secure: is_secure(request) })
    }
}

#[get("/account/session")]
async fn show(visitor: Visitor, app: &State<App>) -> Json<SessionView> {
    let app_url = app.config.app_url.as_ref().map(ToString::to_string);
    Json(SessionView { signed_in_by: visitor.signed_in_by, app_url })
}

/// The token in a link.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "SignInByLink")]
struct Begin {
    link: String,
}

impl Argument for Visitor {
    fn describe(operation: &mut Operation) {
        if operation.is_unsafe() {
            operation.refuse(ApiError::unsupported_media_type());
        }
    }
}

impl Argument for &State<Authenticator> {
    fn describe(_: &mut Operation) {}
}

#[post("/account/session", data = "<body>")]
async fn begin(
    visitor: Visitor,
    body: JsonBody<Begin>,
    app: &State<App>,
    authenticator: &State<Authenticator>,
) -> Result<Remembered, ApiError> {
    let now = app.clock.now();
    let link = authenticator.open_link(&body.0.link, now).await?;
    spend(app, &link).await?;
    info!(link.id = %link.id, "somebody signed in by link {}", link.id);
    Ok(Remembered(authenticator.begin_visit(&link, now, visitor.is_secure)))
}

#[delete("/account/session")]
async fn end(visitor: Visitor) -> Remembered {
    Remembered(Authenticator::end_visit(visitor.is_secure))
}
