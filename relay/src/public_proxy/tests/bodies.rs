//! Bodies in both directions: piece by piece, bounded, and gone when nobody wants them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Incoming;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};

use super::super::TimeLimits;
use super::super::upload::BODY_BYTES_MAX;
use super::harness::{
    BOTH, Backend, Gate, Pieces, TestRelay, code, large, next_piece, piecewise, respond, soon, text, whole,
};
use super::{SHORT, STREAM, impatient};
use crate::backend::address::BackendHttp;
use crate::body::{Body, empty};

#[tokio::test]
async fn a_response_arrives_piece_by_piece_before_its_end() {
    for http in BOTH {
        for kind in ["application/octet-stream", "text/event-stream; charset=utf-8"] {
            let (pieces, body) = piecewise();
            let body = Arc::new(std::sync::Mutex::new(Some(body)));
            let backend = Backend::start(http, move |_| {
                let body = body.lock().unwrap().take().unwrap();
                async move { respond(200, &[("content-type", kind)], body) }
            })
            .await;
            let relay = TestRelay::before(backend.addr, http).await;
            let mut body = relay.get("/api/events/KEY", &[STREAM]).await.into_body();
            for piece in ["one\n\n", "two\n\n"] {
                pieces.send(Ok(piece)).unwrap();
                assert_eq!(next_piece(&mut body).await.unwrap().unwrap(), piece);
            }
            drop(pieces);
            assert!(next_piece(&mut body).await.is_none());
        }
    }
}

#[tokio::test]
async fn a_request_is_passed_on_piece_by_piece_before_its_end() {
    for http in BOTH {
        let (seen, mut arrived) = mpsc::unbounded_channel();
        let backend = Backend::start(http, move |request: Request<Incoming>| {
            let seen = seen.clone();
            async move {
                let mut body = request.into_body();
                while let Some(piece) = next_piece(&mut body).await {
                    seen.send(piece.unwrap()).unwrap();
                }
                respond(201, &[], text("done"))
            }
        })
        .await;
        let relay = TestRelay::before(backend.addr, http).await;
        let (pieces, body) = piecewise();
        let sending = async {
            for piece in ["one", "two"] {
                pieces.send(Ok(piece)).unwrap();
                assert_eq!(arrived.recv().await.unwrap(), piece);
            }
            drop(pieces);
        };
        let (response, ()) = tokio::join!(relay.send("POST", "/api/support", &[], body), soon(sending));
        assert_eq!(response.status(), 201);
        assert_eq!(whole(response).await, "done");
    }
}

#[tokio::test]
async fn over_http_2_many_streams_share_one_connection() {
    let http = BOTH[0];
    let backend = Backend::start(http, |_| async {
        let (pieces, body) = piecewise();
        pieces.send(Ok("event: connected\n\n")).unwrap();
        // Open for as long as somebody listens.
        tokio::spawn(async move { pieces.closed().await });
        respond(200, &[("content-type", "text/event-stream")], body)
    })
    .await;
    let relay = TestRelay::before(backend.addr, http).await;
    let mut streams = Vec::new();
    for _ in 0..150 {
        let mut body = relay.get("/api/events/KEY", &[STREAM]).await.into_body();
        assert!(next_piece(&mut body).await.unwrap().is_ok());
        streams.push(body);
    }
    assert_eq!(backend.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_client_that_goes_takes_its_stream_at_the_backend_with_it() {
    for http in BOTH {
        let (gone, mut left) = mpsc::unbounded_channel();
        let backend = Backend::start(http, move |_| {
            let gone = gone.clone();
            let (pieces, body) = piecewise();
            pieces.send(Ok("event: connected\n\n")).unwrap();
            tokio::spawn(async move {
                pieces.closed().await;
                gone.send(()).unwrap();
            });
            async { respond(200, &[("content-type", "text/event-stream")], body) }
        })
        .await;
        let relay = TestRelay::before(backend.addr, http).await;
        let mut body = relay.get("/api/events/KEY", &[STREAM]).await.into_body();
        next_piece(&mut body).await.unwrap().unwrap();
        drop(body);
        soon(left.recv()).await.unwrap();
    }
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_request_with_it_over_http_2() {
    struct Gone(Option<oneshot::Sender<()>>);
    impl Drop for Gone {
        fn drop(&mut self) {
            self.0.take().unwrap().send(()).unwrap();
        }
    }
    for http in BOTH {
        let (asked, mut began) = mpsc::unbounded_channel();
        let backend = Backend::start(http, move |_| {
            let (sender, receiver) = oneshot::channel();
            asked.send(receiver).unwrap();
            let guard = Gone(Some(sender));
            async move {
                let _guard = guard;
                std::future::pending().await
            }
        })
        .await;
        // Over HTTP/1.1 it goes at once: this limit is far from over when the test is.
        let head = if http == BackendHttp::Two { SHORT } else { TimeLimits::default().head };
        let relay = TestRelay::of(&impatient(backend.addr, http, TimeLimits { head, ..TimeLimits::default() })).await;
        let asking = TcpStream::connect(relay.addr).await.unwrap();
        asking.writable().await.unwrap();
        asking.try_write(b"GET /api/license HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
        let left = soon(began.recv()).await.unwrap();
        drop(asking);
        soon(left).await.unwrap();
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_whether_it_says_so_or_not() {
    for http in BOTH {
        let backend = Backend::start(http, |request: Request<Incoming>| async {
            let bytes = request.into_body().collect().await.map(|body| body.to_bytes().len());
            respond(200, &[], text(bytes.unwrap_or(0).to_string()))
        })
        .await;
        let relay = TestRelay::before(backend.addr, http).await;
        let most = BODY_BYTES_MAX as usize;
        let said = relay.send("POST", "/api/support", &[], large(most)).await;
        assert_eq!(whole(said).await, most.to_string());

        let one_more = format!(
            "POST /api/support HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            most + 1
        );
        let said = relay.raw(one_more.as_bytes()).await;
        assert!(said.starts_with("HTTP/1.1 413 ") && said.contains("\"body_too_large\""), "{said}");

        let (pieces, body) = piecewise();
        let piece: &'static str = "a".repeat(1 << 20).leak();
        for _ in 0..=most / piece.len() {
            pieces.send(Ok(piece)).unwrap();
        }
        assert_eq!(code(relay.send("POST", "/api/support", &[], body).await).await, "body_too_large");
    }
}

#[tokio::test]
async fn a_body_that_does_not_come_is_the_client_s_fault() {
    for http in BOTH {
        let backend = Backend::start(http, |request: Request<Incoming>| async {
            let _ = request.into_body().collect().await;
            respond(200, &[], empty())
        })
        .await;
        let relay =
            TestRelay::of(&impatient(backend.addr, http, TimeLimits { upload: SHORT, ..TimeLimits::default() })).await;
        let (pieces, body) = piecewise();
        pieces.send(Ok("{")).unwrap();
        let response = relay.send("POST", "/api/license/validate", &[], body).await;
        assert_eq!(response.status(), 408);
        assert_eq!(code(response).await, "request_timeout");
    }
}

#[tokio::test]
async fn a_response_that_breaks_off_or_stalls_is_broken_off_and_a_stream_ends() {
    for http in BOTH {
        let (opened, mut open) = mpsc::unbounded_channel();
        let backend = Backend::start(http, move |request| one_piece(&request, &opened)).await;
        let relay =
            TestRelay::of(&impatient(backend.addr, http, TimeLimits { piece: SHORT, ..TimeLimits::default() })).await;
        for (target, stalls, is_error) in
            [("/api/license", false, Some(true)), ("/api/license", true, Some(true)), ("/api/events/KEY", false, None)]
        {
            let mut body = relay.get(target, &[STREAM]).await.into_body();
            assert_eq!(next_piece(&mut body).await.unwrap().unwrap(), "one\n\n");
            let pieces = open.recv().await.unwrap();
            if !stalls {
                pieces.send(Err("broken".into())).unwrap();
            }
            let end = next_piece(&mut body).await;
            assert_eq!(end.map(|end| end.is_err()), is_error, "{target} stalls: {stalls}");
        }
    }
}

#[tokio::test]
async fn a_drain_ends_streams_cleanly_and_lets_responses_finish() {
    for http in BOTH {
        let (opened, mut open) = mpsc::unbounded_channel();
        let backend = Backend::start(http, move |request| one_piece(&request, &opened)).await;
        let relay = TestRelay::before(backend.addr, http).await;
        let mut stream = relay.get("/api/events/KEY", &[STREAM]).await.into_body();
        next_piece(&mut stream).await.unwrap().unwrap();
        let at_the_backend = open.recv().await.unwrap();
        let mut plain = relay.get("/api/license", &[]).await.into_body();
        next_piece(&mut plain).await.unwrap().unwrap();
        let rest = open.recv().await.unwrap();

        relay.proxy.drain();
        assert!(next_piece(&mut stream).await.is_none());
        soon(at_the_backend.closed()).await;
        rest.send(Ok("two")).unwrap();
        drop(rest);
        assert_eq!(next_piece(&mut plain).await.unwrap().unwrap(), "two");
        assert!(next_piece(&mut plain).await.is_none());

        let mut late = relay.get("/api/events/KEY", &[STREAM]).await;
        assert_eq!(late.status(), 200);
        assert!(next_piece(late.body_mut()).await.is_none());
    }
}

/// A response of one piece, whose rest is for the test to send.
fn one_piece(
    request: &Request<Incoming>,
    opened: &mpsc::UnboundedSender<Pieces>,
) -> impl Future<Output = Response<Body>> + Send + use<> {
    let (pieces, body) = piecewise();
    pieces.send(Ok("one\n\n")).unwrap();
    opened.send(pieces).unwrap();
    let is_stream = request.uri().path().starts_with("/api/events");
    let kind = if is_stream { "text/event-stream" } else { "text/plain" };
    std::future::ready(respond(200, &[("content-type", kind)], body))
}

#[tokio::test]
async fn clients_that_come_and_go_while_the_backend_stands_still_do_not_end_the_stream_of_another() {
    let http = BackendHttp::Two;
    let (opened, mut open) = mpsc::unbounded_channel();
    let backend = Backend::start(http, move |request| one_piece(&request, &opened)).await;
    let gate = Gate::before(backend.addr).await;
    let relay = TestRelay::before(gate.addr, http).await;
    let mut stream = relay.get("/api/events/KEY", &[STREAM]).await.into_body();
    next_piece(&mut stream).await.unwrap().unwrap();
    let pieces = open.recv().await.unwrap();
    assert_eq!(relay.get("/api/license", &[]).await.status(), 200);

    gate.close();
    // More than a server lets one client take back.
    for _ in 0..60 {
        relay.leave(b"GET /api/events/KEY HTTP/1.1\r\nhost: a\r\n\r\n").await;
        relay.leave(b"GET /api/license HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let broken = b"POST /api/license HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nnonsense\r\n";
        assert!(relay.raw(broken).await.starts_with("HTTP/1.1 400 "));
    }
    gate.open();

    assert_eq!(relay.get("/api/license", &[]).await.status(), 200);
    pieces.send(Ok("two\n\n")).unwrap();
    assert_eq!(next_piece(&mut stream).await.unwrap().unwrap(), "two\n\n");
    // One for streams and one for the rest, as before.
    assert_eq!(backend.connections.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn clients_that_take_nothing_hold_up_nobody_else() {
    for http in BOTH {
        let made = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&made);
        let backend = Backend::start(http, move |request: Request<Incoming>| {
            let counter = Arc::clone(&counter);
            async move {
                if request.uri().path() == "/api/health" {
                    return respond(200, &[], text("well"));
                }
                let endless = futures_util::stream::repeat_with(move || {
                    counter.fetch_add(1, Ordering::SeqCst);
                    Ok(Frame::data(Bytes::from_static(&[0; 16 * 1024])))
                });
                respond(200, &[], StreamBody::new(endless).boxed_unsync())
            }
        })
        .await;
        let relay = TestRelay::before(backend.addr, http).await;
        let mut silent = Vec::new();
        for _ in 0..3 {
            let mut client = TcpStream::connect(relay.addr).await.unwrap();
            client.write_all(b"GET /api/releases/latest HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
            silent.push(client);
        }
        // Until every buffer on the way to them is full, and no more is made.
        let (mut before, mut times_the_same) = (0, 0);
        while before == 0 || times_the_same < 50 {
            assert_eq!(whole(relay.get("/api/health", &[]).await).await, "well");
            let now = made.load(Ordering::SeqCst);
            times_the_same = if now == before { times_the_same + 1 } else { 0 };
            before = now;
        }
    }
}

/// A backend over HTTP/1.1 that refuses each request as soon as it has its head, and closes without reading on.
async fn refuses_early() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(socket.read_u8().await.unwrap());
                }
                let refusal = b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 7\r\nconnection: close\r\n\r\nexpired";
                socket.write_all(refusal).await.unwrap();
            });
        }
    });
    addr
}

#[tokio::test]
async fn an_early_response_to_an_upload_is_passed_on() {
    let relay = TestRelay::before(refuses_early().await, BackendHttp::One).await;
    for bytes in [1, 50_000, 5_000_000] {
        for _ in 0..10 {
            let response = relay.send("POST", "/api/support", &[], large(bytes)).await;
            assert_eq!(response.status(), 401, "{bytes} bytes");
            assert_eq!(whole(response).await, "expired");
        }
    }
}
