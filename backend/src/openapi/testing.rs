//! Whether what the routes answer in tests is what the document says: its statuses, its codes, its shapes.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use jsonschema::Validator;
use jsonschema::draft202012;
use rocket::http::Method;
use serde_json::{Map, Value, json};

use super::document::Document;
use crate::server;
use crate::testing::TestResponse;

/// Made of the routes, as the copy in the tree is.
static DOCUMENT: LazyLock<Value> = LazyLock::new(|| Document::of(&server::endpoints()).0);
static VALIDATORS: LazyLock<Mutex<HashMap<String, Validator>>> = LazyLock::new(Mutex::default);

/// Panics where the document does not know `response`, which a request to `path` was answered with.
pub(crate) fn check(method: Method, path: &str, response: &TestResponse) {
    let Some((template, operations)) = operations_of(path) else { return };
    let Some(operation) = operations.get(method.as_str().to_lowercase()) else { return };
    let name = format!("{method} {template} {}", response.status);
    if response.status == 500 && operation["responses"].get("500").is_none() {
        // A fault of ours may come of any route.
        return;
    }
    let known = operation["responses"].get(response.status.to_string());
    let known = known.unwrap_or_else(|| panic!("{name} is not in the document: {response:?}"));
    let known = known["$ref"].as_str().map_or(known, referred_to);
    let Some(content) = known["content"].as_object() else {
        assert!(response.body.is_empty(), "{name} has a body");
        return;
    };
    let media_type = response.header("content-type").and_then(|value| value.split(';').next()).unwrap_or_default();
    let content = content.get(media_type).unwrap_or_else(|| panic!("{name} is not {media_type} in the document"));
    if media_type == "application/json" {
        let mut validators = VALIDATORS.lock().unwrap_or_else(PoisonError::into_inner);
        let validator = validators.entry(name.clone()).or_insert_with(|| validator(&content["schema"]));
        let errors: Vec<_> = validator.iter_errors(&response.json()).map(|error| error.to_string()).collect();
        drop(validators);
        assert!(errors.is_empty(), "{name} is not as the document says: {errors:#?}\n{}", response.body);
    }
}

fn validator(schema: &Value) -> Validator {
    let mut components = json!({ "schemas": {} });
    gather(schema, components["schemas"].as_object_mut().expect("it was just made"));
    let whole = json!({ "components": components, "allOf": [schema] });
    let options = draft202012::options().should_validate_formats(true);
    options.build(&whole).expect("the document's schemas are schemas")
}

/// Puts those schemas into `found` that `schema` refers to. Each test is a process of its own, so that it pays for no others.
fn gather(schema: &Value, found: &mut Map<String, Value>) {
    match schema {
        Value::Object(members) => {
            if let Some(reference) = members.get("$ref").and_then(Value::as_str) {
                let name = reference.rsplit('/').next().unwrap_or_default();
                if !found.contains_key(name) {
                    let referred_to = referred_to(reference);
                    found.insert(name.to_owned(), referred_to.clone());
                    gather(referred_to, found);
                }
            }
            members.values().for_each(|member| gather(member, found));
        }
        Value::Array(values) => values.iter().for_each(|value| gather(value, found)),
        _ => {}
    }
}

/// What a reference in the document refers to.
fn referred_to(reference: &str) -> &'static Value {
    DOCUMENT.pointer(reference.trim_start_matches('#')).expect("a test checks that it is there")
}

/// The path of the document that `path` is one of, and what can be asked there. Segments that are given go before those that
/// may be anything.
fn operations_of(path: &str) -> Option<(&'static str, &'static Value)> {
    let path = path.split('?').next().unwrap_or_default();
    let paths = DOCUMENT["paths"].as_object().expect("it has paths").iter();
    let fitting = paths.filter(|(template, _)| {
        let segments = template.split('/').zip(path.split('/'));
        template.split('/').count() == path.split('/').count()
            && segments.into_iter().all(|(known, given)| known == given || known.starts_with('{') && !given.is_empty())
    });
    fitting
        .min_by_key(|(template, _)| template.matches('{').count())
        .map(|(template, operations)| (&**template, operations))
}
