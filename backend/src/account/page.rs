//! The page: HTML, a stylesheet and ES modules, as they stand.

use rocket::{Route, get, routes};

use crate::http::assets::{Asset, SHARED};

/// The routes of this module.
pub(super) fn routes() -> Vec<Route> {
    routes![page, file]
}

macro_rules! assets {
    ($($name:literal),* $(,)?) => {
        [$(Asset { name: $name, text: include_str!(concat!("page/", $name)) }),*]
    };
}

/// The page itself.
const PAGE: Asset = Asset { name: "index.html", text: include_str!("page/index.html") };

/// What it is made of, beside what all pages share.
pub(super) const FILES: [Asset; 14] = assets![
    "page.css",
    "api.js",
    "billing.js",
    "change.js",
    "checkout.js",
    "dialog.js",
    "ends.js",
    "keys.js",
    "licenses.js",
    "live.js",
    "main.js",
    "plan.js",
    "sign_in.js",
    "standing.js",
];

#[get("/account")]
fn page() -> Asset {
    PAGE
}

#[get("/account/<name>")]
fn file(name: &str) -> Option<Asset> {
    FILES.into_iter().chain(SHARED).find(|asset| asset.name == name)
}
