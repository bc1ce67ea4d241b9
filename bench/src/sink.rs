//! A backend that takes everything at once, so that what the relay costs is the relay's.

use std::convert::Infallible;
use std::net::SocketAddr;

use anyhow::Result;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tollgate_shared::{EventHead, json_seq};

/// Starts one on a free port; it ends with the runtime.
pub(crate) async fn start() -> Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let server = auto::Builder::new(TokioExecutor::new());
            tokio::spawn(async move { server.serve_connection(TokioIo::new(stream), service_fn(answer)).await });
        }
    });
    Ok(address)
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let several = request.headers().get("content-type").is_some_and(|value| value == json_seq::MEDIA_TYPE);
    let body = request.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let answer = if several {
        json!({ "results": json_seq::split(&body).map(|text| taken(text, true)).collect::<Vec<_>>() })
    } else {
        taken(&body, false)
    };
    let mut answer = Response::new(Full::new(Bytes::from(answer.to_string())));
    for (name, value) in [("content-type", "application/json"), ("accept-post", json_seq::ACCEPT_POST)] {
        answer.headers_mut().insert(name, hyper::header::HeaderValue::from_static(value));
    }
    Ok(answer)
}

fn taken(event: &[u8], with_status: bool) -> Value {
    let id = EventHead::parse(event).map(|head| head.id.into_owned()).ok();
    let mut taken = json!({ "received": true, "eventId": id, "outcome": "processed" });
    if with_status {
        taken["status"] = json!(200);
    }
    taken
}
