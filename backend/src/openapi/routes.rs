//! The document, and the page to read it, for whoever can reach the backend itself.

use std::sync::OnceLock;

use rocket::http::Header;
use rocket::response::content::{RawCss, RawHtml};
use rocket::serde::json::Json;
use rocket::{Responder, State, get, routes};
use serde_json::Value;

use super::document::Document;
use super::page::{Page, STYLE};
use crate::http::endpoint::{Argument, Endpoint, Operation, endpoint};

/// The routes of this module.
pub fn routes() -> Vec<Endpoint> {
    let mut routes = vec![endpoint!(document, "This document")];
    routes.extend(Endpoint::unlisted(routes![page, style]));
    routes
}

/// What is published; made when somebody first asks for it.
pub struct Published {
    endpoints: Vec<Endpoint>,
    document: OnceLock<Document>,
    page: OnceLock<Page>,
}

impl Published {
    /// Of these endpoints.
    pub fn of(endpoints: Vec<Endpoint>) -> Self {
        Self { endpoints, document: OnceLock::new(), page: OnceLock::new() }
    }

    fn document(&self) -> &Document {
        self.document.get_or_init(|| Document::of(&self.endpoints))
    }

    fn page(&self) -> &Page {
        self.page.get_or_init(|| Page::of(self.document()))
    }
}

impl Argument for &State<Published> {
    fn describe(_: &mut Operation) {}
}

#[get("/openapi.json")]
async fn document(published: &State<Published>) -> Json<&Value> {
    Json(&published.document().0)
}

/// Nothing runs in it, and nothing but its own style is loaded.
const CONTENT_SECURITY_POLICY: &str =
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

#[derive(Responder)]
struct Strict<T> {
    body: T,
    policy: Header<'static>,
    sniffing: Header<'static>,
}

impl<T> Strict<T> {
    fn of(body: T) -> Self {
        let policy = Header::new("Content-Security-Policy", CONTENT_SECURITY_POLICY);
        Self { body, policy, sniffing: Header::new("X-Content-Type-Options", "nosniff") }
    }
}

/// The document as a page.
#[get("/docs")]
fn page(published: &State<Published>) -> Strict<RawHtml<&str>> {
    Strict::of(RawHtml(&published.page().0))
}

#[get("/docs/style.css")]
fn style() -> Strict<RawCss<&'static str>> {
    Strict::of(RawCss(STYLE))
}
