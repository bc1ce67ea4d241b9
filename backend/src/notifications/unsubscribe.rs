//! To end mails of one kind by a link in one of them, without a sign-in. The link changes nothing when it is opened, since
//! scanners open links; the button does, and so does a mail program by RFC 8058. Where nobody has told us our own address,
//! the link writes a mail to whoever answers to ours, a person.
//!
//! The token in it is sealed and says whose mails of which category: it is good for as long as the `ENCRYPTION_KEY` that
//! sealed it is listed.

use std::io::Cursor;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rocket::http::{ContentType, Status};
use rocket::response::{self, Responder, Response};
use rocket::{Request, State, get, post, routes};
use tollgate_db::{DbError, Tx};
use tollgate_domain::notifications::{Category, Channel};

use super::preferences::change_preferences;
use crate::app::App;
use crate::http::endpoint::Endpoint;
use crate::http::error::ApiError;
use crate::http::query::Query;

/// What a token is bound to.
const CONTEXT: &str = "unsubscribe";

/// Where links lead, on the relay's address.
const PATH: &str = "/api/notifications/unsubscribe";

/// A token is a sealed user's id, of 255 characters at most.
const TOKEN_BYTES_MAX: usize = 2048;

/// Only our own stylesheet is loaded, and the form goes nowhere else.
const CONTENT_SECURITY_POLICY: &str =
    "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The routes of this module: pages, which the document does not have.
pub(super) fn routes() -> Vec<Endpoint> {
    Endpoint::unlisted(routes![ask, end]).collect()
}

/// What stands for itself in the address of a `mailto:` (RFC 6068, 2).
const IN_ADDRESS: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'@').remove(b'.').remove(b'-').remove(b'_').remove(b'+').remove(b'~');

/// The address that ends a recipient's mails of a category, or that writes to somebody who may.
pub(super) fn way(app: &App, recipient_id: &str, category: Category) -> Option<String> {
    let by_mail = || {
        let mail = app.config.channels.mail.as_ref()?;
        let whoever_answers = mail.reply_to.as_ref().unwrap_or(&mail.from).email.to_string();
        let address = utf8_percent_encode(&whoever_answers, IN_ADDRESS);
        Some(format!("mailto:{address}?subject=unsubscribe%20{}", category.name()))
    };
    link(app, recipient_id, category).or_else(by_mail)
}

/// The address that ends a recipient's mails of a category; none where the relay's own is not known.
pub(super) fn link(app: &App, recipient_id: &str, category: Category) -> Option<String> {
    let plain = format!("{}:{recipient_id}", category.name());
    let sealed = app.settings.sealer.seal(CONTEXT, plain.as_bytes(), &app.rng);
    let mut url = app.config.public_url.as_ref()?.join(PATH).ok()?;
    url.query_pairs_mut().append_pair("token", &BASE64_URL_SAFE_NO_PAD.encode(sealed));
    Some(url.into())
}

/// Whose mails of what a token ends.
fn read(app: &App, token: &str) -> Option<(Category, String)> {
    let sealed = BASE64_URL_SAFE_NO_PAD.decode(token).ok().filter(|_| token.len() <= TOKEN_BYTES_MAX)?;
    let plain = app.settings.sealer.open(CONTEXT, &sealed)?;
    let (category, recipient) = std::str::from_utf8(&plain).ok()?.split_once(':')?;
    Some((Category::named(category)?, recipient.to_owned()))
}

/// A page, with its status.
struct Page(Status, String);

impl<'r> Responder<'r, 'static> for Page {
    fn respond_to(self, _: &'r Request<'_>) -> response::Result<'static> {
        Response::build()
            .status(self.0)
            .header(ContentType::HTML)
            .raw_header("Cache-Control", "no-store")
            .raw_header("Content-Security-Policy", CONTENT_SECURITY_POLICY)
            // The address has the token in it.
            .raw_header("Referrer-Policy", "no-referrer")
            .raw_header("X-Content-Type-Options", "nosniff")
            .sized_body(self.1.len(), Cursor::new(self.1))
            .ok()
    }
}

#[get("/api/notifications/unsubscribe")]
fn ask(query: Query, app: &State<App>) -> Page {
    match query.text("token").and_then(|token| read(app, token)) {
        Some((category, _)) => Page(Status::Ok, page("Stop these e-mails?", &question(category))),
        None => unknown(),
    }
}

#[post("/api/notifications/unsubscribe")]
async fn end(query: Query, app: &State<App>) -> Result<Page, ApiError> {
    let Some((category, recipient)) = query.text("token").and_then(|token| read(app, token)) else {
        return Ok(unknown());
    };
    // A mail to a customer may be older than its being somebody's.
    let user = user_of(&mut app.read().await?, &recipient).await?;
    change_preferences(app, user.as_ref().unwrap_or(&recipient), |row| row.turn_off(category, Channel::Email)).await?;
    let done = format!("<p>You get no more e-mails about {}.</p>", what(category));
    Ok(Page(Status::Ok, page("Done", &done)))
}

/// The user whose customer this is, if it is a customer.
async fn user_of(tx: &mut Tx, recipient: &str) -> Result<Option<String>, DbError> {
    let sql = "SELECT user_id FROM customers WHERE id = $1";
    let row: Option<(Option<String>,)> = tx.sql(sql).bind(recipient).optional().await?;
    Ok(row.and_then(|(user,)| user))
}

/// Nobody's token, or one under a key that is not listed any more.
fn unknown() -> Page {
    let text = "<p>This link cannot be used. Take the one of a newer e-mail, or change what you are told where you sign \
                in.</p>";
    Page(Status::NotFound, page("Not found", text))
}

/// What a category is called on the page.
fn what(category: Category) -> &'static str {
    match category {
        Category::Payments => "payments",
        Category::Reminders => "dates that come near",
        Category::Pods => "your pods",
        Category::Support => "your questions",
    }
}

/// The form goes to the address that the page has, with its token.
fn question(category: Category) -> String {
    format!(
        "<p>You get no more e-mails about {} then. What you see in the application stays.</p>\
         <form method=\"post\"><button type=\"submit\">Stop these e-mails</button></form>",
        what(category)
    )
}

/// A page of ours; nothing in it is anybody else's.
fn page(title: &str, body: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><meta name=\"robots\" content=\"noindex\">\
         <title>{title}</title><link rel=\"stylesheet\" href=\"/account/page.css\"></head>\
         <body><main><h1>{title}</h1>{body}</main></body></html>"
    )
}
