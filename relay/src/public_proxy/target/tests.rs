use http::HeaderValue;
use proptest::prelude::*;

use super::*;

fn is_public(target: &str) -> bool {
    let judged = Target::judge(target);
    if let Ok(good) = judged {
        assert_eq!(good.path_and_query, target, "a target was mended");
    }
    judged.is_ok()
}

fn headers(fields: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(http::HeaderName::try_from(*name).unwrap(), HeaderValue::from_str(value).unwrap());
    }
    headers
}

#[test]
fn each_public_prefix_is_open_itself_and_below() {
    for prefix in &PREFIXES {
        for target in [prefix.path.to_owned(), format!("{}/x", prefix.path), format!("{}?a=b", prefix.path)] {
            assert_eq!(Target::judge(&target).map(|target| target.prefix), Ok(prefix), "{target}");
        }
    }
}

#[test]
fn what_only_begins_like_a_public_prefix_is_not_public() {
    for prefix in &PREFIXES {
        for target in [format!("{}X", prefix.path), format!("{}-x/y", prefix.path), format!("{}.json", prefix.path)] {
            assert!(!is_public(&target), "{target}");
        }
    }
}

#[test]
fn routes_of_the_private_network_are_not_public() {
    for target in [
        "",
        "/",
        "*",
        "/api",
        "/api/admin",
        "/api/admin/customers",
        "/api/dlq",
        "/api/monitoring/health",
        "/api/analytics/trends",
        "/api/cron/analytics",
        "/api/stripe/webhooks",
        "/api/stripe/webhooks/handler",
        "/api/stripe/webhooks/replay",
        "/api/stripe/Webhooks/replay",
        "/api/stripe/%77ebhooks/replay",
        "/api/stripe/%2577ebhooks/replay",
        "/api/stripe/webhooks%3fx/replay",
        "/api/stripe/webhooks%3Bx/replay",
        "/api/webhooks/stripe",
        "/v1/customers/cus_1",
        "/subscriptions/internal/stripe-webhook",
        "/metrics",
        "/ready",
        "/console",
        "/openapi.json",
        "/API/health",
        "/api/%68ealth",
        "api/health",
        "/.well-known",
    ] {
        assert!(!is_public(target), "{target}");
    }
}

#[test]
fn the_intake_s_name_elsewhere_is_nothing_special() {
    assert!(is_public("/api/stripe/webhooks-of-mine"));
    assert!(is_public("/api/widgets/webhooks"));
}

#[test]
fn what_is_not_in_normal_form_is_refused_not_mended() {
    for path in [
        "/./x",
        "/../x",
        "/x/..",
        "/x/.",
        "/.",
        "/..",
        "/../../api/admin",
        "//x",
        "/x//y",
        "/",
        "/x/",
        "/%2e",
        "/%2E%2e/x",
        "/a%2eb",
        "/%2fx",
        "/x%2Fy",
        "/%5c",
        "/%5C..",
        "/a\\b",
        "/a;b",
        "/;/x",
        "/..;/x",
        "/..%3b/x",
        "/%3f/x",
        "/%00",
        "/%0a",
        "/%0D",
        "/%1f",
        "/%7f",
        "/a\u{1}",
        "/a\tb",
        "/a b",
        "/é",
        "/%",
        "/%2",
        "/%zz",
        "/%+1",
        "/a%2%65",
        "/%c0%ae",
        "/%c0%af",
        "/%ff",
        "/%252e%252e/x",
        "/%252f",
        "/%255c",
        "/%2500",
        "/%25252e",
        "/%25252525252e",
        "/%2525252541",
        "/%25%32%65",
        "/a#b",
        "/a\"b",
        "/<",
        "/{a}",
        "/a|b",
        "/a^b",
        "/`",
    ] {
        for prefix in ["/api/health", "/api/events", "/.well-known/jwks.json"] {
            assert!(!is_public(&format!("{prefix}{path}")), "{prefix}{path}");
        }
    }
}

#[test]
fn escapes_that_hide_nothing_pass_as_they_are() {
    for path in [
        "/%41",
        "/a%20b",
        "/caf%C3%A9",
        "/%E2%82%ac",
        "/50%25",
        "/a%2541",
        "/%252541",
        "/a%3Ab:c@d",
        "/~x-._!$&'()*+,=",
        "/...",
        "/..a",
        "/.hidden",
        "/a%3fb",
        "/a%23b",
        "/a%3bb",
    ] {
        assert!(is_public(&format!("/api/widgets{path}")), "{path}");
    }
}

#[test]
fn a_query_passes_as_it_is_unless_it_has_control_bytes() {
    for query in ["", "?", "a=%2F..&b=//", "..;/%5c\\", "%", "a=é", "x=/api/admin", "a#b", "%00", "a b", "?"] {
        assert!(is_public(&format!("/api/health?{query}")), "{query:?}");
    }
    for query in ["a\n", "\0", "a=\u{7f}", "\t"] {
        assert!(!is_public(&format!("/api/health?{query}")), "{query:?}");
    }
}

#[test]
fn a_target_has_a_longest_length() {
    let longest = format!("/api/health?{}", "a".repeat(TARGET_BYTES_MAX - "/api/health?".len()));
    assert!(is_public(&longest));
    assert_eq!(Target::judge(&format!("{longest}a")), Err(Refusal::TooLong));
}

#[test]
fn the_absolute_form_is_good_for_the_host_of_the_header_alone() {
    let judge = |target: &str, version, fields: &[(&str, &str)]| {
        let uri: Uri = target.parse().unwrap();
        Target::of(&uri, version, &headers(fields)).map(|target| target.path_and_query.to_owned())
    };
    let good = Ok("/api/health?a".to_owned());
    let absolute = "http://relay.example:3000/api/health?a";
    assert_eq!(judge(absolute, Version::HTTP_11, &[("host", "Relay.example:3000")]), good);
    assert_eq!(judge(absolute, Version::HTTP_2, &[]), good);
    assert_eq!(judge("/api/health?a", Version::HTTP_11, &[("host", "any.example")]), good);
    assert_eq!(judge("/api/health?a", Version::HTTP_10, &[]), good);
    for other in [&[("host", "relay.example")][..], &[("host", "other.example:3000")], &[]] {
        assert_eq!(judge(absolute, Version::HTTP_11, other), Err(Refusal::NotPublic), "{other:?}");
    }
    assert_eq!(judge(absolute, Version::HTTP_2, &[("host", "other.example")]), Err(Refusal::NotPublic));
    for foreign in ["ftp://relay.example/api/health", "http://me@relay.example/api/health", "relay.example:3000", "*"] {
        assert_eq!(
            judge(foreign, Version::HTTP_11, &[("host", "relay.example")]),
            Err(Refusal::NotPublic),
            "{foreign}"
        );
    }
    assert_eq!(judge("/api/health", Version::HTTP_11, &[("host", "a"), ("host", "a")]), Err(Refusal::Hosts));
}

#[test]
fn a_stream_is_a_get_of_one_key_that_does_not_rule_streams_out() {
    let is_stream = |method: Method, target: &str, accept: &[&str]| {
        let fields: Vec<_> = accept.iter().map(|value| ("accept", *value)).collect();
        Target::judge(target).unwrap().is_stream(&method, &headers(&fields))
    };
    for accept in [
        &["text/event-stream"][..],
        &["Text/Event-Stream; q=0.1"],
        &["application/json", "text/event-stream"],
        &["application/json;q=0.5, text/event-stream;q=0.9"],
        &["*/*"],
        &["text/*"],
        &[],
        &[""],
    ] {
        assert!(is_stream(Method::GET, "/api/events/KEY?machineId=m", accept), "{accept:?}");
    }
    for accept in ["application/json", "text/event-stream;q=0", "*/*, text/event-stream; q=0.0", "text/html"] {
        assert!(!is_stream(Method::GET, "/api/events/KEY", &[accept]), "{accept}");
    }
    for (method, target) in [
        (Method::POST, "/api/events/KEY"),
        (Method::HEAD, "/api/events/KEY"),
        (Method::GET, "/api/events"),
        (Method::GET, "/api/events/KEY/missed"),
        (Method::GET, "/api/events/acknowledge?eventId=1"),
        (Method::GET, "/api/health/sse"),
        (Method::GET, "/api/license/KEY"),
    ] {
        assert!(!is_stream(method, target, &["text/event-stream"]), "{target}");
    }
}

/// The private routes, as the most lenient of servers would find them: it decodes any number of times, cuts off
/// parameters, query and fragment, takes `\` for `/` and capitals for small letters, and resolves empty and dot segments.
fn reaches_private(target: &str, decodings: usize) -> bool {
    let mut bytes = target.split('?').next().unwrap().as_bytes().to_vec();
    for _ in 0..decodings {
        let mut decoded = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            let hex =
                bytes.get(at + 1..at + 3).and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
            match (bytes[at], hex) {
                (b'%', Some(byte)) => {
                    decoded.push(byte);
                    at += 3;
                }
                (byte, _) => {
                    decoded.push(byte);
                    at += 1;
                }
            }
        }
        bytes = decoded;
    }
    let path = String::from_utf8_lossy(&bytes).to_lowercase().replace('\\', "/");
    let path = path.split(['?', '#', '\0', '\r', '\n']).next().unwrap();
    let mut resolved: Vec<&str> = Vec::new();
    for segment in path.split('/').map(|segment| segment.split(';').next().unwrap()) {
        match segment {
            "" | "." => {}
            ".." => drop(resolved.pop()),
            other => resolved.push(other),
        }
    }
    [
        "api/admin",
        "api/dlq",
        "api/monitoring",
        "api/analytics",
        "api/cron",
        "api/stripe/webhooks",
        "v1",
        "metrics",
        "subscriptions/internal",
        "console",
        "api/webhooks",
        "ready",
        "live",
    ]
    .iter()
    .any(|private| private.split('/').enumerate().all(|(index, segment)| resolved.get(index) == Some(&segment)))
}

#[test]
fn the_lenient_server_of_these_tests_does_find_private_routes() {
    for (target, decodings) in [
        ("/api/admin", 0),
        ("/api/health/../Admin", 0),
        ("/api/stripe/%77ebhooks/replay", 1),
        ("/api/health/%252e%252e/cron", 2),
        ("/api/health/..;a/..\\v1", 0),
        ("//v1//customers", 0),
    ] {
        assert!(reaches_private(target, decodings), "{target}");
    }
}

fn escaped_once(text: &str, which: u64) -> String {
    let escape = |(index, byte): (usize, u8)| match ((which >> (index % 64)) & 1, index % 2) {
        (0, _) => char::from(byte).to_string(),
        (_, 0) => format!("%{byte:02x}"),
        (_, _) => format!("%{byte:02X}"),
    };
    text.bytes().enumerate().map(escape).collect()
}

/// Targets made of what attackers make them of: pieces of public and private routes, in escapes within escapes.
fn crafted() -> impl Strategy<Value = String> {
    let segment = prop::sample::select(vec![
        "",
        ".",
        "..",
        "api",
        "admin",
        "dlq",
        "monitoring",
        "analytics",
        "cron",
        "stripe",
        "webhooks",
        "replay",
        "v1",
        "subscriptions",
        "internal",
        "metrics",
        "console",
        "health",
        "x",
        "..;",
        ";",
        "Webhooks",
        "webhooks;a",
        "a?b",
        "#",
        "%2e",
        "%252e",
        "\\..",
        "%c0%ae",
        "\u{0}",
    ]);
    let piece = (segment, prop_oneof![4 => Just(0), 1 => any::<u64>()], prop_oneof![4 => Just(0), 1 => any::<u64>()])
        .prop_map(|(segment, once, twice)| escaped_once(&escaped_once(segment, once), twice));
    let separator = prop::sample::select(vec!["/", "/", "/", "/", "//", "%2f", "%252F", "\\", "%5c", ";/"]);
    let prefix =
        prop::sample::select(PREFIXES.iter().map(|prefix| prefix.path).chain(["", "/api"]).collect::<Vec<_>>());
    (prefix, prop::collection::vec((separator, piece), 0..6)).prop_map(|(prefix, pieces)| {
        pieces.into_iter().fold(prefix.to_owned(), |target, (separator, piece)| target + separator + &piece)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn no_public_target_reaches_a_private_route_however_it_is_decoded(target in crafted()) {
        if is_public(&target) {
            for decodings in 0..=3 {
                prop_assert!(!reaches_private(&target, decodings), "{} after {} decodings", target, decodings);
            }
        }
    }

    #[test]
    fn every_target_made_of_plain_segments_under_a_public_prefix_passes(
        prefix in 0..PREFIXES.len(),
        segments in prop::collection::vec("[A-Za-z0-9_~=-]{1,12}", 0..4),
        query in prop::option::of("[!-~]{0,20}"),
    ) {
        prop_assume!(segments.first().is_none_or(|first| !first.eq_ignore_ascii_case("webhooks")));
        let mut target = PREFIXES[prefix].path.to_owned();
        for segment in &segments {
            target = target + "/" + segment;
        }
        if let Some(query) = query {
            target = target + "?" + &query;
        }
        prop_assert!(is_public(&target));
    }

    #[test]
    fn no_text_makes_it_panic(target in "/api/(health|stripe)\\PC{0,40}") {
        let _ = Target::judge(&target);
    }
}
