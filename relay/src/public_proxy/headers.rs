//! Which headers cross the relay: what a client says about itself is replaced by what the relay knows, and what belongs
//! to one connection stays on it.

use http::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, FORWARDED, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use tollgate_shared::relay_proof::RELAY_PROOF_HEADER;
use tollgate_shared::request_id::{REQUEST_ID_HEADER, TRACEPARENT_HEADER};
use tollgate_shared::{RequestId, Rng, TraceParent};

use super::forwarded::{Client, FORWARDED_FOR, FORWARDED_HOST, FORWARDED_PROTO};

/// Of one connection, whether or not its `Connection` header says so (RFC 9110 §7.6.1, and what was common before it).
const HOP_BY_HOP: [HeaderName; 11] = [
    CONNECTION,
    HeaderName::from_static("http2-settings"),
    HeaderName::from_static("keep-alive"),
    PROXY_AUTHENTICATE,
    HeaderName::from_static("proxy-authentication-info"),
    PROXY_AUTHORIZATION,
    HeaderName::from_static("proxy-connection"),
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Turns a client's headers into those for the backend.
pub(super) fn for_backend(
    mut headers: HeaderMap,
    client: &Client,
    proof: &HeaderValue,
    request_id: &RequestId,
    rng: &Rng,
) -> HeaderMap {
    drop_hop_by_hop(&mut headers);
    let forged: Vec<_> = headers.keys().filter(|name| is_the_relays(name.as_str())).cloned().collect();
    for name in forged {
        headers.remove(name);
    }
    // Host is the backend's own, and length and continuation are matters of the connection to it: hyper writes them anew.
    for name in [HOST, CONTENT_LENGTH, EXPECT] {
        headers.remove(name);
    }
    join_cookies(&mut headers);

    let text = |text: &str| HeaderValue::from_str(text).expect("addresses, hosts and ids are visible ASCII");
    headers.insert(FORWARDED_FOR, text(&client.addr.to_string()));
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static(if client.https { "https" } else { "http" }));
    if let Some(host) = &client.host {
        headers.insert(FORWARDED_HOST, text(host));
    }
    headers.insert(RELAY_PROOF_HEADER, proof.clone());
    headers.insert(REQUEST_ID_HEADER, text(request_id.as_str()));
    let given = headers.get(TRACEPARENT_HEADER).and_then(|value| value.to_str().ok()).and_then(TraceParent::parse);
    if given.is_none() {
        // The state of a trace that is not continued is of no trace.
        headers.remove(TRACESTATE);
    }
    let trace = given.map_or_else(|| TraceParent::new(rng), |given| given.child(rng));
    headers.insert(TRACEPARENT_HEADER, text(&trace.to_string()));
    headers
}

/// Takes out of a backend's headers what is not for the client.
pub(super) fn for_client(headers: &mut HeaderMap) {
    drop_hop_by_hop(headers);
    headers.remove(REQUEST_ID_HEADER);
}

/// What only the relay may say to the backend. Some servers take `_` for `-`, so it is for us too.
fn is_the_relays(name: &str) -> bool {
    let name = name.replace('_', "-");
    name.starts_with("x-forwarded-")
        // Rocket takes the client's address from this one, unless it is told otherwise.
        || ["x-internal-api-key", RELAY_PROOF_HEADER, "x-real-ip", FORWARDED.as_str()].contains(&name.as_str())
}

fn drop_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<_> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| HeaderName::try_from(name.trim()).ok())
        .collect();
    for name in named.into_iter().chain(HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// HTTP/2 lets a client send each cookie by itself; outside of it there is one header (RFC 9113 §8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let cookies: Vec<_> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if cookies.len() > 1 {
        let joined =
            HeaderValue::from_bytes(&cookies.join(&b"; "[..])).expect("values joined by plain text are a value");
        headers.insert(COOKIE, joined);
    }
}

#[cfg(test)]
mod tests {
    use proptest::proptest;

    use super::*;

    fn headers(fields: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::try_from(*name).unwrap(), HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn client() -> Client {
        Client { addr: "1.2.3.4".parse().unwrap(), https: true, host: Some("app.example:8443".into()) }
    }

    const PROOF: HeaderValue = HeaderValue::from_static("a-proof");

    fn for_backend(fields: &[(&str, &str)]) -> HeaderMap {
        let id = RequestId::parse("req_abc").unwrap();
        super::for_backend(headers(fields), &client(), &PROOF, &id, &Rng::seeded(1))
    }

    #[test]
    fn what_only_the_relay_may_say_never_passes_in_any_spelling() {
        let sent = for_backend(&[
            ("X-Internal-API-Key", "forged"),
            ("x_internal_api_key", "forged"),
            ("X-Relay-Proof", "forged"),
            ("x_relay_proof", "forged"),
            ("X-Forwarded-For", "forged"),
            ("X-Forwarded-For", "forged too"),
            ("X-Forwarded-Proto", "forged"),
            ("X-Forwarded-Host", "forged"),
            ("X-Forwarded-Port", "forged"),
            ("X-Forwarded-Anything", "forged"),
            ("X_Forwarded_For", "forged"),
            ("Forwarded", "for=forged"),
            ("X-Real-IP", "forged"),
            ("X-Request-Id", "forged"),
        ]);
        assert!(!sent.values().any(|value| value.to_str().unwrap().contains("forged")), "{sent:?}");
    }

    #[test]
    fn the_relay_says_who_asked_how_and_under_which_id() {
        let sent = for_backend(&[("host", "other"), ("content-length", "5"), ("expect", "100-continue")]);
        let said: Vec<_> = sent
            .iter()
            .filter(|(name, _)| *name != TRACEPARENT_HEADER)
            .map(|(name, value)| (name.as_str(), value))
            .collect();
        assert_eq!(
            said,
            [
                ("x-forwarded-for", &HeaderValue::from_static("1.2.3.4")),
                ("x-forwarded-proto", &HeaderValue::from_static("https")),
                ("x-forwarded-host", &HeaderValue::from_static("app.example:8443")),
                ("x-relay-proof", &PROOF),
                ("x-request-id", &HeaderValue::from_static("req_abc")),
            ]
        );
    }

    #[test]
    fn a_client_without_a_host_is_passed_on_without_one() {
        let nameless = Client { host: None, https: false, ..client() };
        let id = RequestId::parse("req_abc").unwrap();
        let sent =
            super::for_backend(headers(&[("x-forwarded-host", "forged")]), &nameless, &PROOF, &id, &Rng::seeded(1));
        assert!(!sent.contains_key(FORWARDED_HOST));
        assert_eq!(sent[FORWARDED_PROTO], "http");
    }

    #[test]
    fn headers_of_one_connection_stay_on_it_in_both_directions() {
        let fields = [
            ("connection", "keep-alive, X-Mine"),
            ("connection", "close, not a name"),
            ("x-mine", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("proxy-authorization", "Basic"),
            ("proxy-authenticate", "Basic"),
            ("te", "trailers"),
            ("trailer", "x-checksum"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "websocket"),
            ("http2-settings", "AAA"),
            ("accept", "a"),
        ];
        let sent = for_backend(&fields);
        let mut answered = headers(&fields);
        for_client(&mut answered);
        assert_eq!(answered, headers(&[("accept", "a")]));
        for (name, _) in &fields[..12] {
            assert!(!sent.contains_key(*name), "{name}");
        }
        assert_eq!(sent["accept"], "a");
    }

    #[test]
    fn naming_a_header_of_ours_in_connection_does_not_keep_it_from_the_backend() {
        let sent = for_backend(&[("connection", "x-forwarded-for, x-request-id, x-forwarded-proto")]);
        assert_eq!(
            (&sent[FORWARDED_FOR], &sent[FORWARDED_PROTO]),
            (&"1.2.3.4".parse().unwrap(), &"https".parse().unwrap())
        );
        assert_eq!(sent[REQUEST_ID_HEADER], "req_abc");
    }

    #[test]
    fn everything_else_passes_in_order_and_byte_for_byte() {
        let fields = [
            ("authorization", "Bearer a.b.c"),
            ("cookie", "a=b; c=d"),
            ("idempotency-key", "key"),
            ("last-event-id", "1.2"),
            ("x-twice", "1"),
            ("x-twice", " 2 "),
        ];
        let sent = for_backend(&fields);
        for (name, value) in &headers(&fields) {
            assert!(sent.get_all(name).iter().any(|sent| sent == value), "{name}");
        }
        assert_eq!(sent.get_all("x-twice").iter().collect::<Vec<_>>(), ["1", " 2 "]);
    }

    #[test]
    fn cookies_that_came_apart_are_joined() {
        assert_eq!(for_backend(&[("cookie", "a=b"), ("cookie", "c=d; e=f")])["cookie"], "a=b; c=d; e=f");
    }

    #[test]
    fn a_trace_is_continued_with_its_state_and_another_is_begun_without() {
        let given = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let continued = for_backend(&[("traceparent", given), ("tracestate", "a=1")]);
        let trace = continued[TRACEPARENT_HEADER].to_str().unwrap();
        assert!(trace.starts_with(&given[..36]) && trace != given, "{trace}");
        assert_eq!(continued[TRACESTATE], "a=1");
        let begun = for_backend(&[("traceparent", "nonsense"), ("tracestate", "a=1")]);
        assert!(TraceParent::parse(begun[TRACEPARENT_HEADER].to_str().unwrap()).is_some());
        assert!(!begun.contains_key(TRACESTATE));
    }

    #[test]
    fn a_backend_s_request_id_makes_way_for_ours() {
        let mut answered = headers(&[("x-request-id", "theirs"), ("retry-after", "5")]);
        for_client(&mut answered);
        assert_eq!(answered, headers(&[("retry-after", "5")]));
    }

    proptest! {
        #[test]
        fn no_connection_header_makes_it_panic(value in "[ -~]{0,60}") {
            for_backend(&[("connection", &value)]);
        }
    }
}
