//! Who is signed in at the console: by the operators' key, a token of an admin's, or a link that the command line printed.

use std::num::NonZeroU32;

use rocket::http::Status;
use rocket::outcome::Outcome;
use rocket::request::{self, FromRequest};
use rocket::serde::json::Json;
use rocket::{Request, State, delete, get, post};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tollgate_db::UnitOfWork;
use tollgate_domain::audit::acts::{self, Act, ActedBy};
use tollgate_domain::console;
use tollgate_shared::{Clock, Timestamp};
use tracing::info;

use crate::app::App;
use crate::http::auth::console::{self as cookies, AtConsole};
use crate::http::auth::{Authenticator, Operator, Remembered, is_secure, readable_name, refuse_forms, spend};
use crate::http::body::JsonBody;
use crate::http::client_network::ClientNetwork;
use crate::http::context::RequestContext;
use crate::http::endpoint::{Argument, Endpoint, Operation, endpoint};
use crate::http::error::ApiError;
use crate::http::rate_limit::RateLimit;

/// How often an address may try to sign in.
const SIGN_INS_PER_MINUTE: NonZeroU32 = NonZeroU32::new(10).expect("ten is not zero");

/// What whoever signs in by the key is called where they do not say.
const KEY_HOLDER: &str = "key";

/// What the audit trail calls a session.
const TARGET: &str = "console_session";

/// The routes of this module.
pub(super) fn routes() -> Vec<Endpoint> {
    let refused = [ApiError::of_status(Status::Unauthorized), ApiError::of_status(Status::Forbidden)];
    vec![
        endpoint!(show, "Who is signed in, as the audit trail names them"),
        endpoint!(begin, "Signs an operator in at the console: by ADMIN_API_KEY, a token of an admin's, or a link")
            .refuses(refused),
        endpoint!(end, "Signs them out"),
    ]
}

/// How often each address has tried to sign in, in this process.
pub struct SignInLimit(RateLimit<Option<ClientNetwork>>);

impl SignInLimit {
    /// None has.
    pub fn new(clock: Clock) -> Self {
        Self(RateLimit::per_minute(SIGN_INS_PER_MINUTE, clock))
    }
}

impl Argument for &State<SignInLimit> {
    fn describe(operation: &mut Operation) {
        operation.refuse(ApiError::rate_limited(1));
    }
}

/// Whoever is at the console.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ConsoleSession")]
struct SessionView {
    actor: String,
}

#[get("/console/session")]
async fn show(operator: Operator) -> Json<SessionView> {
    Json(SessionView { actor: operator.actor })
}

/// Whoever wants to sign in or out: from where, and whether by https.
struct Visitor {
    network: Option<ClientNetwork>,
    is_secure: bool,
}

#[rocket::async_trait]
impl<'r> FromRequest<'r> for Visitor {
    type Error = ();

    async fn from_request(request: &'r Request<'_>) -> request::Outcome<Self, ()> {
        if let Err(error) = refuse_forms(request) {
            return Outcome::Error((error.refuse(request), ()));
        }
        // No relay passes these on: whoever is at the other end of the connection is who asks.
        let network = request.remote().map(|peer| ClientNetwork::of(peer.ip()));
        Outcome::Success(Self { network, is_secure: is_secure(request) })
    }
}

impl Argument for Visitor {
    fn describe(operation: &mut Operation) {
        operation.refuse(ApiError::unsupported_media_type());
    }
}

/// By what somebody signs in: one of the three.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "ConsoleSignIn")]
struct SignIn {
    /// `ADMIN_API_KEY`.
    key: Option<String>,
    /// What its holder is called in the audit trail.
    name: Option<String>,
    /// A JWT with the role `admin`, or such a session of Auth.js.
    token: Option<String>,
    /// What stands behind `#link=` in what `tollgate-backend console-link` prints.
    link: Option<String>,
}

#[post("/console/session", data = "<body>")]
async fn begin(
    visitor: Visitor,
    body: JsonBody<SignIn>,
    context: &RequestContext,
    limit: &State<SignInLimit>,
    authenticator: &State<Authenticator>,
    app: &State<App>,
) -> Result<Remembered, ApiError> {
    limit.0.check(&visitor.network)?;
    let name = body.0.name(app, authenticator, app.clock.now()).await?;
    let actor = format!("console:{name}");
    let token = hex::encode(app.rng.bytes::<32>());
    remember(app, context, &actor, &token).await?;
    info!(request_id = %context.request_id, "an operator signed in at the console");
    Ok(Remembered(cookies::cookie_of(token, visitor.is_secure)))
}

impl SignIn {
    /// What whoever signs in is called; 401 where what they show is not good, 403 where it is no operator's.
    async fn name(self, app: &App, authenticator: &Authenticator, now: Timestamp) -> Result<String, ApiError> {
        match self {
            Self { key: Some(key), name, token: None, link: None } => {
                let is_good = app.config.admin_api_key.as_ref().is_some_and(|ours| ours.matches(key.as_bytes()));
                if !is_good {
                    return Err(ApiError::unauthorized("this is not ADMIN_API_KEY, or none is set"));
                }
                match name.filter(|name| !name.trim().is_empty()) {
                    Some(name) => readable_name(&name).ok_or_else(unreadable_name),
                    None => Ok(KEY_HOLDER.to_owned()),
                }
            }
            Self { key: None, token: Some(token), link: None, .. } => authenticator.operator(&token, now).await,
            Self { key: None, token: None, link: Some(link), .. } => {
                let link = authenticator.open_console_link(&link, now).await?;
                spend(app, &link).await?;
                Ok(link.user_id)
            }
            _ => Err(ApiError::invalid_parameter("key", "sign in by one of `key`, `token` and `link`")),
        }
    }
}

fn unreadable_name() -> ApiError {
    ApiError::invalid_parameter("name", "`name` has to be 1 to 64 characters")
}

/// Remembers a session of `actor`, and forgets those that are over.
async fn remember(app: &App, context: &RequestContext, actor: &str, token: &str) -> Result<(), ApiError> {
    let mut tx = app.begin_write().await?;
    console::forget(&mut tx, app.clock.now()).await?;
    let mut work = UnitOfWork::new(app.clock.now(), app.rng.clone());
    let id = console::begin(&mut work, cookies::hash(token), actor.to_owned());
    record(&mut work, context, actor, ("console.sign_in", &id));
    work.release_savepoint();
    work.write(&mut tx).await?;
    tx.commit().await?;
    Ok(())
}

#[delete("/console/session")]
async fn end(
    visitor: Visitor,
    at: AtConsole,
    context: &RequestContext,
    app: &State<App>,
) -> Result<Remembered, ApiError> {
    if let Some(session) = at.0 {
        let mut tx = app.begin_write().await?;
        if console::end(&mut tx, &session.id).await? {
            let mut work = UnitOfWork::new(app.clock.now(), app.rng.clone());
            record(&mut work, context, &session.actor, ("console.sign_out", &session.id));
            work.release_savepoint();
            work.write(&mut tx).await?;
        }
        tx.commit().await?;
    }
    Ok(Remembered(cookies::ended_cookie(visitor.is_secure)))
}

fn record(work: &mut UnitOfWork, context: &RequestContext, actor: &str, (action, id): (&'static str, &str)) {
    let request_id = context.request_id.to_string();
    let by = ActedBy { actor: actor.to_owned(), claimed_name: None, request_id, reason: None };
    acts::record(work, &by, Act { action, target: (TARGET, id), before: None, after: None });
}
