//! The document against the routes themselves.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::document::Document;
use crate::on_each_engine;
use crate::server;
use crate::testing::{TestApp, TestResponse, db_that_is_away};

/// What is mounted and has no place in the document: pages and what they are made of, and numbers for Prometheus.
const UNLISTED: [&str; 11] = [
    "GET /account",
    "GET /account/{name}",
    "GET /api/notifications/unsubscribe",
    "POST /api/notifications/unsubscribe",
    "GET /console",
    "GET /console/files/{name}",
    "GET /console/{page}",
    "GET /console/{page}/{_}",
    "GET /docs",
    "GET /docs/style.css",
    "GET /metrics",
];

fn document() -> Value {
    Document::of(&server::endpoints()).0
}

/// `GET /api/api-keys/{id}` for each operation.
fn listed(document: &Value) -> BTreeSet<String> {
    let paths = document["paths"].as_object().expect("it has paths").iter();
    let operations = paths.flat_map(|(path, operations)| {
        operations.as_object().unwrap().keys().map(move |method| format!("{} {path}", method.to_uppercase()))
    });
    operations.collect()
}

#[rocket::async_test]
async fn every_route_is_in_the_document_and_nothing_else_is() {
    let app = TestApp::on(db_that_is_away()).await;
    let routes = app.client.rocket().routes();
    let mounted: BTreeSet<_> = routes
        .map(|route| format!("{} {}", route.method, route.uri.path().replace('<', "{").replace('>', "}")))
        .collect();
    let unlisted: BTreeSet<_> = UNLISTED.map(str::to_owned).into();
    let expected: BTreeSet<_> = mounted.difference(&unlisted).cloned().collect();
    assert_eq!(listed(&document()), expected);
    assert!(unlisted.is_subset(&mounted));
}

#[test]
fn the_copy_in_the_tree_is_the_document() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json");
    let copy = fs::read_to_string(path).unwrap_or_default();
    let document = Document::of(&server::endpoints());
    assert!(
        copy == format!("{}\n", document.pretty()),
        "docs/openapi.json is another one: run `cargo run -p tollgate-backend -- openapi > docs/openapi.json`"
    );
}

fn operations(document: &Value) -> impl Iterator<Item = &Value> {
    document["paths"].as_object().unwrap().values().flat_map(|path| path.as_object().unwrap().values())
}

#[test]
fn each_operation_has_a_name_of_its_own() {
    let document = document();
    let ids: BTreeSet<_> = operations(&document).map(|operation| operation["operationId"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), operations(&document).count());
    for id in ["getApiKeysById", "postSubscriptionsChangePlan", "getV1CustomersById", "getWellKnownJwksJson"] {
        assert!(ids.contains(id), "{id} is not among {ids:?}");
    }
}

#[test]
fn a_refusal_or_parameter_of_several_operations_is_said_once() {
    let document = document();
    let mut said = BTreeSet::new();
    for operation in operations(&document) {
        // Those, and not what an operation answers with such a status of its own accord.
        let responses = operation["responses"].as_object().unwrap().values();
        let refusals =
            responses.filter(|response| !response["content"]["application/json"]["schema"]["allOf"].is_null());
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        for part in refusals.chain(parameters).filter(|part| part["$ref"].is_null()) {
            assert!(said.insert(part.to_string()), "{} says again {part}", operation["operationId"]);
        }
    }
    let shared = |kind: &str, name: &str| document["components"][kind].get(name).is_some();
    assert!(shared("responses", "401.unauthorized") && shared("parameters", "query.limit"));
    assert!(shared("headers", "Retry-After"));
}

/// A second type of the same name gets a number after it.
#[test]
fn no_two_shapes_have_one_name() {
    let document = document();
    let names = document["components"]["schemas"].as_object().unwrap().keys();
    let numbered: Vec<_> = names.filter(|name| name.ends_with(|last: char| last.is_ascii_digit())).collect();
    assert!(numbered.is_empty(), "{numbered:?}");
}

#[test]
fn what_the_document_refers_to_is_in_it() {
    fn check(value: &Value, document: &Value) {
        match value {
            Value::Object(members) => {
                if let Some(Value::String(reference)) = members.get("$ref") {
                    let found = document.pointer(reference.trim_start_matches('#'));
                    assert!(found.is_some(), "{reference} is not there");
                }
                members.values().for_each(|member| check(member, document));
            }
            Value::Array(values) => values.iter().for_each(|value| check(value, document)),
            _ => {}
        }
    }
    let document = document();
    check(&document, &document);
}

#[test]
fn the_document_and_its_page_are_there_for_anybody() {
    on_each_engine!(async |db| {
        let app = TestApp::on(db).await;
        let answer = TestResponse::of(app.client.get("/openapi.json")).await;
        assert_eq!((answer.status, answer.json()), (200, document()));
        let page = TestResponse::of(app.client.get("/docs")).await;
        assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
        let policy = page.header("content-security-policy").expect("the page has a policy");
        assert!(policy.starts_with("default-src 'none'; style-src 'self';"), "{policy}");
        for operation in listed(&document()) {
            let (method, path) = operation.split_once(' ').unwrap();
            let title = format!("<b>{method}</b> {}</h3>", path.replace('/', "&#x2f;"));
            assert!(page.body.contains(&title), "{operation} is not on the page");
        }
        assert!(!page.body.contains("<script"));
        let style = TestResponse::of(app.client.get("/docs/style.css")).await;
        assert_eq!((style.status, style.header("content-type")), (200, Some("text/css; charset=utf-8")));
    });
}
