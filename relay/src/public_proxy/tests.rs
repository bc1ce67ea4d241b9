//! The pass-through between real sockets: a backend of either version of HTTP behind it, a client before it.

mod away;
mod bodies;
mod harness;
mod heads;

use std::fmt::Write;
use std::net::SocketAddr;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;

use self::harness::{config, respond, text};
use super::{ProxyConfig, TimeLimits};
use crate::backend::address::BackendHttp;
use crate::body::Body;

const STREAM: (&str, &str) = ("accept", "text/event-stream");
const APP: (&str, &str) = ("origin", "https://app.example");
const SHORT: Duration = Duration::from_millis(50);

/// Responds with what it was asked: method, target and headers, a line each.
async fn echo(request: Request<Incoming>) -> Response<Body> {
    let target = request.uri().path_and_query().unwrap();
    let mut said = format!("{} {target}\n", request.method());
    for (name, value) in request.headers() {
        writeln!(said, "{name}: {}", value.to_str().unwrap()).unwrap();
    }
    respond(200, &[], text(said))
}

fn impatient(backend: SocketAddr, http: BackendHttp, times: TimeLimits) -> ProxyConfig {
    ProxyConfig { times, ..config(backend, http) }
}
