//! The relay from outside: real listeners, a real journal, and a small HTTP server in the backend's place.

mod admin;
mod backend;
mod drain;
mod forwarding;
mod harness;
mod limits;
mod redelivery;
mod refusing;
mod responses;
mod slow_disk;
mod strangers;
mod tls;
