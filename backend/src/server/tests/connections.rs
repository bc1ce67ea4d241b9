//! Connections, on a Rocket of a few routes.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use rocket::http::{ContentType, Header, Status};
use rocket::local::asynchronous::Client;
use rocket::response::{self, Responder, Response};
use rocket::{Request, State, get, post, routes};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tollgate_db::testing::wait_until;

use crate::server::config;
use crate::server::connections::{Limits, serve};

const ROOMY: Limits = Limits { silent_max: 8, talking_max: 8 };

#[get("/hello")]
fn hello() -> &'static str {
    "hello"
}

/// Answers without a look at the body.
#[post("/hasty")]
fn hasty() -> Status {
    Status::PayloadTooLarge
}

/// What a handler is waited for and what it did, as a test sees it.
#[derive(Clone, Default)]
struct Work(Arc<Signals>);

#[derive(Default)]
struct Signals {
    has_begun: Notify,
    may_go_on: Notify,
    is_done: AtomicBool,
    has_ended: Notify,
    stream_is_gone: Notify,
}

#[get("/work")]
async fn work(work: &State<Work>) -> &'static str {
    let _under_way = UnderWay(work.inner());
    work.0.has_begun.notify_one();
    work.0.may_go_on.notified().await;
    work.0.is_done.store(true, Ordering::Relaxed);
    "done"
}

/// What a handler is at, until it is done or dropped.
struct UnderWay<'a>(&'a Work);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.0.has_ended.notify_one();
    }
}

/// A stream that says one thing and then nothing for good.
struct Quiet {
    work: Work,
    has_said: bool,
}

impl AsyncRead for Quiet {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if std::mem::replace(&mut self.has_said, true) {
            return Poll::Pending;
        }
        buf.put_slice(b"first");
        Poll::Ready(Ok(()))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        self.work.0.stream_is_gone.notify_one();
    }
}

impl<'r> Responder<'r, 'static> for Quiet {
    fn respond_to(self, _: &'r Request<'_>) -> response::Result<'static> {
        Response::build().header(ContentType::Plain).header(Header::new("x-kind", "quiet")).streamed_body(self).ok()
    }
}

#[get("/quiet")]
fn quiet(work: &State<Work>) -> Quiet {
    Quiet { work: work.inner().clone(), has_said: false }
}

struct Server {
    addr: SocketAddr,
    work: Work,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

async fn server(limits: Limits) -> Server {
    let work_signals = Work::default();
    let rocket = rocket::custom(config()).manage(work_signals.clone()).mount("/", routes![hello, hasty, work, quiet]);
    let client = Box::leak(Box::new(Client::untracked(rocket).await.unwrap()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (addr, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
    let serving = tokio::spawn(serve(listener, client, None, limits, stop.clone()));
    Server { addr, work: work_signals, stop, serving }
}

impl Server {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.addr).await.unwrap()
    }
}

async fn ask(stream: &mut TcpStream, method: &str, path: &str) {
    stream.write_all(format!("{method} {path} HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes()).await.unwrap();
}

/// Reads until `end` has come.
async fn read_to(stream: &mut TcpStream, end: &str) -> String {
    let mut read = Vec::new();
    while !read.ends_with(end.as_bytes()) {
        assert!(stream.read_buf(&mut read).await.unwrap() > 0, "{}", String::from_utf8_lossy(&read));
    }
    String::from_utf8(read).unwrap()
}

async fn is_answered(stream: &mut TcpStream) -> bool {
    ask(stream, "GET", "/hello").await;
    read_to(stream, "hello").await.starts_with("HTTP/1.1 200 ")
}

#[tokio::test]
async fn silent_connections_keep_nobody_out() {
    let server = server(Limits { silent_max: 3, talking_max: 2 }).await;
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(server.connect().await);
    }
    let mut talking = server.connect().await;
    assert!(is_answered(&mut talking).await);
    // The oldest had to go.
    assert_eq!(silent[0].read(&mut [0]).await.unwrap(), 0);
    assert!(is_answered(&mut talking).await);
}

#[tokio::test]
async fn one_too_many_waits_for_its_turn() {
    let server = server(Limits { silent_max: 3, talking_max: 1 }).await;
    let mut first = server.connect().await;
    assert!(is_answered(&mut first).await);
    let mut second = server.connect().await;
    let second = tokio::spawn(async move { is_answered(&mut second).await });
    assert!(is_answered(&mut first).await);
    assert!(!second.is_finished());
    drop(first);
    assert!(second.await.unwrap());
}

#[test]
fn limits_leave_descriptors_for_the_process_itself() {
    for (descriptors, silent_max, talking_max) in [(0, 4, 4), (80, 8, 24), (1024, 244, 732)] {
        assert_eq!(Limits::of_descriptors(descriptors), Limits { silent_max, talking_max });
    }
}

#[tokio::test]
async fn who_sends_more_than_is_read_can_still_read_why() {
    const BYTES: usize = 32 << 20;
    let server = server(ROOMY).await;
    let mut client = server.connect().await;
    let head = format!("POST /hasty HTTP/1.1\r\nhost: a\r\ncontent-length: {BYTES}\r\n\r\n");
    client.write_all(head.as_bytes()).await.unwrap();
    // Far more than fits between the two: it is read to its end, or the write fails.
    client.write_all(&vec![0; BYTES]).await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

#[tokio::test]
async fn what_was_begun_is_done_even_if_its_client_hangs_up() {
    let server = server(ROOMY).await;
    let mut client = server.connect().await;
    ask(&mut client, "GET", "/work").await;
    server.work.0.has_begun.notified().await;
    drop(client);
    // The server has seen that it is gone when the next one is served on a thread of its own.
    assert!(is_answered(&mut server.connect().await).await);
    server.work.0.may_go_on.notify_one();
    server.work.0.has_ended.notified().await;
    assert!(server.work.0.is_done.load(Ordering::Relaxed), "it was dropped half-way");
}

#[tokio::test]
async fn a_stream_is_let_go_of_when_its_client_is_gone() {
    let server = server(ROOMY).await;
    let mut client = server.connect().await;
    ask(&mut client, "GET", "/quiet").await;
    assert!(read_to(&mut client, "first\r\n").await.contains("\r\nx-kind: quiet\r\n"));
    drop(client);
    server.work.0.stream_is_gone.notified().await;
}

#[tokio::test]
async fn a_stop_ends_idle_connections_and_finishes_what_is_under_way() {
    let server = server(ROOMY).await;
    let (mut idle, mut silent, mut busy) = (server.connect().await, server.connect().await, server.connect().await);
    assert!(is_answered(&mut idle).await);
    ask(&mut busy, "GET", "/work").await;
    server.work.0.has_begun.notified().await;
    server.stop.cancel();
    assert_eq!(idle.read(&mut [0]).await.unwrap(), 0);
    assert_eq!(silent.read(&mut [0]).await.unwrap(), 0);
    wait_until("no connection is taken", async || TcpStream::connect(server.addr).await.is_err()).await;
    assert!(!server.serving.is_finished());
    server.work.0.may_go_on.notify_one();
    assert!(read_to(&mut busy, "done").await.starts_with("HTTP/1.1 200 "));
    drop((idle, silent, busy));
    server.serving.await.unwrap();
}

#[tokio::test]
async fn a_head_is_answered_with_the_length_and_no_body() {
    let server = server(ROOMY).await;
    let mut client = server.connect().await;
    ask(&mut client, "HEAD", "/hello").await;
    let head = read_to(&mut client, "\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("\r\ncontent-length: 5\r\n"), "{head}");
    assert!(is_answered(&mut client).await);
}
