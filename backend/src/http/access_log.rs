//! What a request leaves behind: its `X-Request-Id` on the answer, which nobody keeps, and one line in the log.

use rocket::fairing::{Fairing, Info, Kind};
use rocket::http::Method;
use rocket::{Data, Request, Response};
use tollgate_shared::request_id::REQUEST_ID_HEADER;
use tracing::{debug, info};

use super::auth::{ByConsole, ForOperators};
use super::context::RequestContext;
use crate::app::App;

/// Opens each request's [`RequestContext`] and closes it with the header and the access line.
pub struct AccessLog;

/// Routes whose successes are logged at `debug`.
const QUIET_ROUTES: [&str; 8] = [
    "/live",
    "/ready",
    "/metrics",
    "/api/health",
    "/api/health/sse",
    "/subscriptions/internal/stripe-webhook",
    "/api/events/<key>",
    "/api/events/acknowledge",
];

/// Routes that machines ask for every few seconds, in no time: how long answers take is to say what people wait for.
const PROBES: [&str; 5] = ["/live", "/ready", "/metrics", "/api/health", "/api/health/sse"];

#[rocket::async_trait]
impl Fairing for AccessLog {
    fn info(&self) -> Info {
        Info { name: "Access log", kind: Kind::Request | Kind::Response }
    }

    async fn on_request(&self, request: &mut Request<'_>, _: &mut Data<'_>) {
        RequestContext::of(request);
    }

    async fn on_response<'r>(&self, request: &'r Request<'_>, response: &mut Response<'r>) {
        let context = RequestContext::of(request);
        response.set_raw_header(REQUEST_ID_HEADER, context.request_id.to_string());
        // Most answers are somebody's own: what nobody said may be kept is kept nowhere.
        if !response.headers().contains("Cache-Control") {
            response.set_raw_header("Cache-Control", "no-store");
        }
        if ForOperators::is(request) {
            response.set_raw_header("X-Content-Type-Options", "nosniff");
            response.set_raw_header("Referrer-Policy", "no-referrer");
        }

        // The route as we wrote it: a path may hold a licence key.
        let route = request.route().map_or("-", |route| route.uri.as_str());
        let method = request.method().as_str();
        let status = response.status().code;
        metrics::counter!("tollgate_backend_requests_total", "route" => route.to_owned(), "status" => status.to_string())
            .increment(1);
        let app = App::of(request);
        let now = app.clock.now();
        let took = now - context.started_at;
        if !PROBES.contains(&route) {
            app.measured.response(now, took);
        }
        let seconds = took.as_seconds_f64();
        metrics::histogram!("tollgate_backend_request_seconds", "route" => route.to_owned()).record(seconds);
        macro_rules! access_line {
            ($level:ident) => {
                $level!(
                    request_id = %context.request_id,
                    traceparent = %context.trace,
                    http.method = method,
                    http.route = route,
                    http.status = status,
                    micros = took.num_microseconds(),
                    "answered {method} {route} with {status}"
                )
            };
        }
        // What says more itself when it goes well (an event's own line), or comes every few seconds, would only repeat it;
        // streams come back by the thousand, and an open page of the console reads again what it shows.
        let is_read_again = request.method() == Method::Get && ByConsole::is(request);
        if status < 400 && (QUIET_ROUTES.contains(&route) || is_read_again) {
            access_line!(debug);
        } else {
            access_line!(info);
        }
    }
}
