//! A client of the backend, generated from `docs/openapi.json`: that it compiles is half of what it is for.

#![allow(warnings, clippy::all, clippy::pedantic, reason = "it is generated")]

include!(concat!(env!("OUT_DIR"), "/client.rs"));
