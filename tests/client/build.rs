//! Generates the client. progenitor reads OpenAPI 3.0 and the document is 3.1, so that what the older one says otherwise is
//! put into its words before; nothing is added to it.

use std::path::Path;
use std::{env, fs};

use progenitor_impl::Generator;
use serde_json::{Map, Value, json};

fn main() {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    println!("cargo::rerun-if-changed={}", document.display());
    let text = fs::read_to_string(document).expect("the document is in the tree");
    let mut document: Value = serde_json::from_str(&text).expect("it is JSON");
    document["openapi"] = "3.0.3".into();
    document["info"]["license"] = json!({ "name": document["info"]["license"]["name"] });
    for operations in members(&mut document["paths"]) {
        for operation in members(operations) {
            in_one_form(operation);
        }
    }
    // A stream of events is for an EventSource.
    document["paths"].as_object_mut().expect("it has paths").remove("/api/events/{key}");
    in_older_words(&mut document);

    let spec = serde_json::from_value(document).expect("it is OpenAPI 3.0 now");
    let client = Generator::default().generate_tokens(&spec).expect("a client can be made of it");
    let path = Path::new(&env::var_os("OUT_DIR").expect("cargo sets it")).join("client.rs");
    fs::write(path, client.to_string()).expect("the folder is there");
}

fn members(of: &mut Value) -> impl Iterator<Item = &mut Value> {
    of.as_object_mut().into_iter().flat_map(Map::values_mut)
}

/// progenitor wants one form of all that an operation refuses, and one type of body.
fn in_one_form(operation: &mut Value) {
    let error = json!({ "application/json": { "schema": { "$ref": "#/components/schemas/Error" } } });
    for (status, response) in operation["responses"].as_object_mut().expect("there are some") {
        if status.as_str() >= "400" {
            *response = json!({ "description": "", "content": error });
        }
    }
    if let Some(content) = operation.pointer_mut("/requestBody/content").and_then(Value::as_object_mut) {
        content.remove("application/json-seq");
        if let Some(file) = content.get_mut("application/octet-stream") {
            file["schema"]["format"] = "binary".into();
        }
    }
}

/// OpenAPI 3.0 has `nullable`, and neither lists of types nor constants nor schemas that are `true`.
fn in_older_words(value: &mut Value) {
    match value {
        Value::Object(schema) => {
            if let Some(constant) = schema.remove("const") {
                schema.insert("enum".to_owned(), json!([constant]));
            }
            if let Some(Value::Array(types)) = schema.get("type") {
                let own = types.iter().find(|one| *one != "null").cloned().unwrap_or_default();
                schema.insert("type".to_owned(), own);
                schema.insert("nullable".to_owned(), true.into());
            }
            if let Some(Value::Array(options)) = schema.get_mut("anyOf") {
                let all = options.len();
                options.retain(|option| option["type"] != "null");
                if options.len() == 1 && all == 2 {
                    let own = schema.remove("anyOf").unwrap_or_default();
                    schema.insert("allOf".to_owned(), own);
                    schema.insert("nullable".to_owned(), true.into());
                }
            }
            for (name, member) in schema.iter_mut() {
                if *member == true && !["required", "nullable", "additionalProperties", "default"].contains(&&**name) {
                    *member = json!({});
                }
                in_older_words(member);
            }
        }
        Value::Array(values) => values.iter_mut().for_each(in_older_words),
        _ => {}
    }
}
