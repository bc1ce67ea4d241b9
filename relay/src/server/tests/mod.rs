//! The relay from outside: real listeners, a real journal, and a small HTTP server in the backend's place.

mod admin;
mod answers;
mod backend;
mod catch_up;
mod drain;
mod forwarding;
mod limits;
mod refusing;
mod slow_disk;
mod stand;
mod strangers;
mod tls;
