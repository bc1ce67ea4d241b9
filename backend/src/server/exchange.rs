//! One request and its answer: from hyper to Rocket and back.
//!
//! Rocket has no server that takes a listener of ours, and the one it has knows no time-out for a head, no limit of
//! connections, and lets go of a response whose client is gone only when something is written to it. What it does have is
//! a way in without a network, its local client; the tests use the same one.

use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::{Frame, Incoming};
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE};
use hyper::{Request, Response, StatusCode, Uri};
use rocket::http::{Header, Method};
use rocket::local::asynchronous::{Client, LocalResponse};
use tokio::io::{AsyncRead as _, AsyncReadExt as _, ReadBuf};
use tollgate_shared::request_id::REQUEST_ID_HEADER;
use tollgate_shared::{ErrorBody, RequestId};
use tracing::error;

use crate::app::App;
use crate::http::body::IncomingBody;

/// How much of a response of unknown length is handed on at once.
const CHUNK_BYTES_MAX: usize = 4 << 10;

/// A response's body: whole, or as it is made.
pub(super) type Body = Either<Full<Bytes>, Streamed>;

/// The answer to `request`, which came from `peer`.
pub(super) async fn answer(client: &'static Client, request: Request<Incoming>, peer: SocketAddr) -> Response<Body> {
    // In a task of its own: what was begun is done to its end, even if the client is gone by then.
    let dispatched = tokio::spawn(dispatch(client, request, peer));
    dispatched.await.unwrap_or_else(|_| {
        let message = "something went wrong on our side; the log has more under the request id";
        refused(client, StatusCode::INTERNAL_SERVER_ERROR, "internal_error", message)
    })
}

async fn dispatch(client: &'static Client, request: Request<Incoming>, peer: SocketAddr) -> Response<Body> {
    let (head, body) = request.into_parts();
    let Ok(method) = head.method.as_str().parse::<Method>() else {
        let message = "no route takes that method";
        return refused(client, StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message);
    };
    let mut local = client.req(method, target(&head.uri)).remote(peer);
    for (name, value) in &head.headers {
        // Rocket's headers are text; what is none is of no use to any route.
        if let Ok(value) = std::str::from_utf8(value.as_bytes()) {
            local.add_header(Header::new(name.as_str().to_owned(), value.to_owned()));
        }
    }
    IncomingBody::attach(local.inner(), body);
    respond(local.dispatch().await).await.unwrap_or_else(|failure| {
        error!("could not make a response: {failure}");
        let message = "something went wrong on our side; the log has more";
        refused(client, StatusCode::INTERNAL_SERVER_ERROR, "internal_error", message)
    })
}

/// The path and the query. Rocket answers 400 to what it cannot read.
fn target(uri: &Uri) -> String {
    uri.path_and_query().map_or_else(|| "/".to_owned(), |target| target.as_str().to_owned())
}

async fn respond(mut answer: LocalResponse<'static>) -> io::Result<Response<Body>> {
    let mut response = Response::builder().status(answer.status().code);
    for header in answer.headers().iter() {
        response = response.header(header.name.as_str(), header.value.as_bytes());
    }
    let body = match answer.body().preset_size() {
        None => Either::Right(Streamed(answer)),
        Some(size) => {
            let mut whole = Vec::with_capacity(size);
            answer.read_to_end(&mut whole).await?;
            if whole.is_empty() && size > 0 {
                // To a `HEAD`.
                response = response.header(CONTENT_LENGTH, size);
            }
            Either::Left(Full::from(whole))
        }
    };
    response.body(body).map_err(io::Error::other)
}

/// An answer that Rocket has no part in.
fn refused(client: &Client, status: StatusCode, code: &'static str, message: &str) -> Response<Body> {
    let app = client.rocket().state::<App>().expect("`server::rocket` manages the app");
    let request_id = RequestId::new(app.clock.now(), &app.rng);
    let body = ErrorBody::new(code, message, Some(request_id.as_str())).to_json();
    Response::builder()
        .status(status)
        .header(CONTENT_TYPE, "application/json")
        .header(REQUEST_ID_HEADER, request_id.as_str())
        .body(Either::Left(Full::from(body)))
        .expect("these headers are valid")
}

/// A body that is read as its client takes it, and dropped with its connection.
pub(super) struct Streamed(LocalResponse<'static>);

impl hyper::body::Body for Streamed {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        // On the stack: a stream that says nothing holds no room for what it will say.
        let mut chunk = [MaybeUninit::uninit(); CHUNK_BYTES_MAX];
        let mut chunk = ReadBuf::uninit(&mut chunk);
        ready!(Pin::new(&mut self.0).poll_read(cx, &mut chunk))?;
        let read = chunk.filled();
        Poll::Ready((!read.is_empty()).then(|| Ok(Frame::data(Bytes::copy_from_slice(read)))))
    }
}
