//! The least that a receiver of webhooks can be: hyper, the whole body, one check of its signature, an answer.

use std::convert::Infallible;
use std::net::SocketAddr;

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tollgate_shared::signing::Verifier;
use tollgate_shared::{Clock, Secrets};
use tollgate_tests::http::Http;
use tollgate_tests::process::{Process, Program, free_address};
use tollgate_tests::wait::{SOON, wait_until};

/// The variable that it takes its secret from.
const SECRET: &str = "BENCH_WEBHOOK_SECRET";

/// One in a process of its own. Dropping it ends it.
pub(crate) struct BareServer {
    /// Where it serves.
    pub(crate) address: SocketAddr,
    /// What is signed with.
    pub(crate) secret: String,
    process: Process,
}

impl BareServer {
    /// Starts one and waits until it answers. Its log goes into `folder`.
    pub(crate) async fn start(folder: &std::path::Path, secret: &str) -> Result<Self> {
        let address = free_address();
        let program = Program {
            name: "bare-server".to_owned(),
            path: std::env::current_exe().context("a running program has a path")?,
            arguments: vec!["bare-server".to_owned(), address.to_string()],
            environment: vec![(SECRET.to_owned(), secret.to_owned())],
            folder: folder.to_owned(),
            log: folder.join("bare-server.log"),
        };
        let process = program.start();
        let (http, url) = (Http::default(), format!("http://{address}/"));
        wait_until("the bare server answers", SOON, async || {
            http.try_send(hyper::Method::GET, &url, &[], Bytes::new()).await.is_ok()
        })
        .await;
        Ok(Self { address, secret: secret.to_owned(), process })
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }
}

/// Serves until it is killed.
pub(crate) async fn serve(address: SocketAddr) -> Result<()> {
    let secrets = std::env::var(SECRET).ok().and_then(|list| Secrets::parse(&list)).context("no secret is set")?;
    let (verifier, clock) = (Verifier::new(&secrets), Clock::system());
    let listener = TcpListener::bind(address).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (verifier, clock) = (verifier.clone(), clock.clone());
        tokio::spawn(async move {
            let service = service_fn(|request| answer(request, &verifier, &clock));
            // An error is a client that is gone.
            let _ =
                http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    verifier: &Verifier,
    clock: &Clock,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let signature = request.headers().get("stripe-signature").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let good = match request.into_body().collect().await {
        Ok(body) => verifier.verify(&signature.unwrap_or_default(), &body.to_bytes(), clock.now()).is_ok(),
        Err(_) => false,
    };
    let mut answer = Response::new(Full::new(Bytes::from_static(b"{\"received\": true}")));
    if !good {
        *answer.status_mut() = StatusCode::BAD_REQUEST;
    }
    Ok(answer)
}
