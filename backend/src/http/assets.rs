//! Files of our own pages, which are in the binary: what browsers are told beside each.

use std::io::Cursor;

use rocket::Request;
use rocket::http::{ContentType, Status};
use rocket::response::{self, Responder, Response};
use sha2::{Digest as _, Sha256};

/// Only what comes from here is run, shown and called; nothing is framed, and no text is ever made into HTML.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; \
     require-trusted-types-for 'script'; trusted-types 'none'";

/// Modules that each of our pages uses, beside its own.
pub const SHARED: [Asset; 3] = [
    Asset { name: "call.js", text: include_str!("assets/call.js") },
    Asset { name: "dom.js", text: include_str!("assets/dom.js") },
    Asset { name: "format.js", text: include_str!("assets/format.js") },
];

/// A file of a page.
#[derive(Clone, Copy, Debug)]
pub struct Asset {
    /// What it is called in its folder.
    pub name: &'static str,
    /// What is in it.
    pub text: &'static str,
}

impl Asset {
    fn content_type(self) -> ContentType {
        let extension = self.name.rsplit('.').next().and_then(ContentType::from_extension);
        extension.unwrap_or(ContentType::Plain)
    }

    /// What the file is known by: another text has another one.
    fn etag(self) -> String {
        let digest = hex::encode(Sha256::digest(self.text));
        format!("\"{}\"", &digest[..32])
    }
}

impl<'r> Responder<'r, 'static> for Asset {
    fn respond_to(self, request: &'r Request<'_>) -> response::Result<'static> {
        let etag = self.etag();
        let is_known = request.headers().get_one("if-none-match").is_some_and(|known| known.contains(&etag));
        let mut response = Response::build();
        response
            .raw_header("ETag", etag)
            // A new release is seen at once, and an old one is not sent twice.
            .raw_header("Cache-Control", "no-cache")
            .raw_header("Content-Security-Policy", CONTENT_SECURITY_POLICY)
            .raw_header("Cross-Origin-Opener-Policy", "same-origin")
            .raw_header("Referrer-Policy", "no-referrer")
            .raw_header("X-Content-Type-Options", "nosniff");
        if is_known {
            response.status(Status::NotModified);
        } else {
            response.header(self.content_type()).sized_body(self.text.len(), Cursor::new(self.text));
        }
        response.ok()
    }
}
