//! What a request leaves behind: its `X-Request-Id` on the answer, and one line in the log.

use rocket::fairing::{Fairing, Info, Kind};
use rocket::{Data, Request, Response};
use tollgate_shared::request_id::REQUEST_ID_HEADER;
use tracing::debug;

use super::context::RequestContext;
use crate::app::App;

/// Opens each request's [`RequestContext`] and closes it with the header and the access line.
pub struct AccessLog;

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

        // The route as we wrote it: a path may hold a licence key.
        let route = request.route().map_or("-", |route| route.uri.as_str());
        let method = request.method().as_str();
        let status = response.status().code;
        metrics::counter!("tollgate_backend_requests_total", "route" => route.to_owned(), "status" => status.to_string())
            .increment(1);
        let took = App::of(request).clock.now() - context.started_at;
        debug!(
            request_id = %context.request_id,
            traceparent = %context.trace,
            http.method = method,
            http.route = route,
            http.status = status,
            micros = took.num_microseconds(),
            "answered {method} {route} with {status}"
        );
    }
}
