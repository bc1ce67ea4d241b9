//! A backend that is away, busy or silent.

use http::{Request, Response};
use hyper::body::Incoming;

use super::super::TimeLimits;
use super::harness::{BOTH, Backend, TestRelay, code, nobody, respond, soon, text, whole};
use super::{APP, SHORT, STREAM, echo, impatient};
use crate::body::{Body, empty};

#[tokio::test]
async fn a_backend_that_is_away_is_said_to_be_for_every_one_who_asks() {
    for http in BOTH {
        let (_socket, nobody) = nobody();
        let relay = TestRelay::before(nobody, http).await;
        let asked = (0..100).map(|_| relay.get("/api/license", &[APP]));
        for response in futures_util::future::join_all(asked).await {
            assert_eq!(response.status(), 502);
            assert!(response.headers().contains_key("retry-after"));
            assert_eq!(response.headers()["access-control-allow-origin"], "https://app.example");
            assert_eq!(code(response).await, "backend_unavailable");
        }
    }
}

#[tokio::test]
async fn a_stream_whose_backend_is_away_is_told_when_to_reconnect() {
    for http in BOTH {
        let (_socket, nobody) = nobody();
        let relay = TestRelay::before(nobody, http).await;
        let mut times = Vec::new();
        for _ in 0..5 {
            times.push(retry_ms(relay.get("/api/events/KEY?machineId=m", &[STREAM]).await).await);
        }
        assert!(times.iter().all(|ms| (2_000..10_000).contains(ms)), "{times:?}");
        assert!(times.iter().any(|ms| *ms != times[0]), "{times:?}");
        assert_eq!(relay.get("/api/events/KEY", &[("accept", "application/json")]).await.status(), 502);
        assert_eq!(relay.get("/api/events/KEY/missed", &[STREAM]).await.status(), 502);
    }
}

#[tokio::test]
async fn a_stream_is_never_told_that_the_backend_is_busy() {
    for http in BOTH {
        for status in [429, 500, 502, 503, 504] {
            let backend = Backend::start(http, move |_| async move { respond(status, &[], text("no")) }).await;
            let relay = TestRelay::before(backend.addr, http).await;
            retry_ms(relay.get("/api/events/KEY", &[STREAM, ("origin", "null")]).await).await;
            let other = relay.get("/api/license", &[]).await;
            assert_eq!(other.status(), status);
            assert_eq!(whole(other).await, "no");
        }
        for status in [204, 403, 404] {
            let backend = Backend::start(http, move |_| async move { respond(status, &[], empty()) }).await;
            let relay = TestRelay::before(backend.addr, http).await;
            assert_eq!(relay.get("/api/events/KEY", &[STREAM]).await.status(), status);
        }
    }
}

#[tokio::test]
async fn a_backend_that_says_nothing_is_given_up() {
    for http in BOTH {
        let backend = Backend::start(http, never).await;
        let relay =
            TestRelay::of(&impatient(backend.addr, http, TimeLimits { head: SHORT, ..TimeLimits::default() })).await;
        assert_eq!(code(relay.get("/api/license", &[]).await).await, "backend_unavailable");
        assert_eq!(code(relay.send("POST", "/api/license", &[], text("{}")).await).await, "backend_unavailable");
        retry_ms(relay.get("/api/events/KEY", &[STREAM]).await).await;
    }
}

#[tokio::test]
async fn a_backend_that_goes_and_comes_back_is_found_again() {
    for http in BOTH {
        let backend = Backend::start(http, echo).await;
        let relay = TestRelay::before(backend.addr, http).await;
        assert_eq!(relay.get("/api/license", &[]).await.status(), 200);
        backend.stop();
        while relay.get("/api/license", &[]).await.status() != 502 {}
        let _back = Backend::start_at(backend.addr, http, echo).await;
        let found = async { while relay.get("/api/license", &[]).await.status() != 200 {} };
        soon(found).await;
    }
}

/// Reads a stream that only says when to reconnect.
async fn retry_ms(response: Response<Incoming>) -> u64 {
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let body = whole(response).await;
    body.strip_prefix("retry: ").and_then(|rest| rest.strip_suffix("\n\n")).unwrap().parse().unwrap()
}

async fn never(_: Request<Incoming>) -> Response<Body> {
    std::future::pending().await
}

#[tokio::test]
async fn a_backend_that_speaks_another_version_of_http_is_away() {
    let [two, one] = BOTH;
    for (spoken, expected) in [(one, two), (two, one)] {
        let backend = Backend::start(spoken, echo).await;
        let relay = TestRelay::before(backend.addr, expected).await;
        assert_eq!(code(relay.get("/api/license", &[]).await).await, "backend_unavailable");
        retry_ms(relay.get("/api/events/KEY", &[STREAM]).await).await;
    }
}
