//! `tollgate-backend openapi`: what the routes take and return, for programs that make clients of it.

use std::process::ExitCode;

use crate::openapi::document::Document;
use crate::server;

pub(super) fn run() -> ExitCode {
    println!("{}", Document::of(&server::endpoints()).pretty());
    ExitCode::SUCCESS
}
