//! The page: HTML, a stylesheet and ES modules, as they stand, and the one library that they use.

use rocket::response::{self, Responder};
use rocket::{Request, Route, get, routes};

use crate::http::assets::{Asset, SHARED};

/// The routes of this module.
pub(super) fn routes() -> Vec<Route> {
    routes![front, page, object, file]
}

/// Only what comes from here is run, shown and called, and nothing is framed. No module of ours makes HTML of a text.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The names of its pages: below each stand the objects that it has.
const PAGES: [&str; 13] = [
    "alerts",
    "audit",
    "charts",
    "cron",
    "customers",
    "dead-letters",
    "events",
    "licenses",
    "messages",
    "pods",
    "releases",
    "replay",
    "support",
];

macro_rules! assets {
    ($($name:literal),* $(,)?) => {
        [$(Asset { name: $name, text: include_str!(concat!("page/", $name)) }),*]
    };
}

/// The page itself.
const PAGE: Asset = Asset { name: "index.html", text: include_str!("page/index.html") };

/// What it is made of, beside what all pages share.
pub(super) const FILES: [Asset; 35] = assets![
    "act.js",
    "alerts.js",
    "api.js",
    "audit.js",
    "changes.js",
    "chart.js",
    "charts.js",
    "console.css",
    "cron.js",
    "customer.js",
    "customers.js",
    "dead_letters.js",
    "event.js",
    "events.js",
    "keys.js",
    "license.js",
    "licenses.js",
    "list.js",
    "machines.js",
    "main.js",
    "messages.js",
    "object.js",
    "overview.js",
    "pages.js",
    "pod.js",
    "pods.js",
    "release.js",
    "releases.js",
    "replay.js",
    "search.js",
    "sign_in.js",
    "support.js",
    "ticket.js",
    "time.js",
    "way.js",
];

/// The library that draws charts, as npm has it, with its licence.
pub(super) const VENDORED: [Asset; 3] = [
    Asset { name: "uPlot.esm.js", text: include_str!("vendor/uplot/uPlot.esm.js") },
    Asset { name: "uPlot.min.css", text: include_str!("vendor/uplot/uPlot.min.css") },
    Asset { name: "uPlot.LICENSE.txt", text: include_str!("vendor/uplot/LICENSE") },
];

/// A file of the console.
struct File(Asset);

impl<'r> Responder<'r, 'static> for File {
    fn respond_to(self, request: &'r Request<'_>) -> response::Result<'static> {
        let mut response = self.0.respond_to(request)?;
        response.set_raw_header("Content-Security-Policy", CONTENT_SECURITY_POLICY);
        Ok(response)
    }
}

#[get("/console")]
fn front() -> File {
    File(PAGE)
}

#[get("/console/<page>", rank = 2)]
fn page(page: &str) -> Option<File> {
    PAGES.contains(&page).then_some(File(PAGE))
}

/// What is shown of an object, the page's own modules find by its address.
#[get("/console/<page>/<_>", rank = 2)]
fn object(page: &str) -> Option<File> {
    self::page(page)
}

#[get("/console/files/<name>")]
fn file(name: &str) -> Option<File> {
    FILES.into_iter().chain(SHARED).chain(VENDORED).find(|asset| asset.name == name).map(File)
}
