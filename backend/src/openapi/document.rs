//! The OpenAPI document (3.1), made of what each endpoint says of itself.
//!
//! <https://spec.openapis.org/oas/v3.1.1.html>. Its schemas are JSON Schema 2020-12, made of the very types that routes
//! read and answer, so that the document cannot say another thing than they do.

use std::collections::BTreeMap;

use rocket::http::Status;
use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{Schema, SchemaGenerator};
use serde_json::{Map, Value, json};
use tollgate_shared::ErrorBody;

use super::shared;
use crate::http::endpoint::{Endpoint, Operation, Parameter, Place, Scheme, Success, schema_of};
use crate::http::error::ApiError;

/// The document, as JSON.
#[derive(Clone, Debug, PartialEq)]
pub struct Document(pub Value);

/// Makes schemas: of what is read a member may be left out, of what is answered none is.
struct Generators {
    reads: SchemaGenerator,
    answers: SchemaGenerator,
}

impl Document {
    /// Of these endpoints.
    pub fn of(endpoints: &[Endpoint]) -> Self {
        let settings = SchemaSettings::draft2020_12().with(|settings| {
            settings.definitions_path = "/components/schemas".into();
            settings.meta_schema = None;
            settings.transforms = vec![Box::new(RecursiveTransform(mark_times))];
        });
        let mut schemas = Generators {
            reads: settings.clone().for_deserialize().into_generator(),
            answers: settings.for_serialize().into_generator(),
        };
        let mut operations: Vec<_> = endpoints.iter().filter_map(|endpoint| endpoint.operation.as_ref()).collect();
        operations.sort_by_key(|operation| (&*operation.path, operation.method as usize));
        let mut paths = Map::new();
        let mut schemes = BTreeMap::new();
        for operation in operations {
            schemes.extend(operation.access.iter().map(|scheme| (scheme.name, security_scheme(scheme))));
            let path = paths.entry(&operation.path).or_insert_with(|| json!({}));
            path[operation.method.as_str().to_lowercase()] = schemas.operation(operation);
        }
        let mut components = json!(shared::share(&mut paths));
        components["schemas"] = schemas.definitions().into();
        components["securitySchemes"] = json!(schemes);
        Self(json!({
            "openapi": "3.1.1",
            "info": {
                "title": "Tollgate",
                "version": env!("CARGO_PKG_VERSION"),
                "description": include_str!("introduction.md"),
                "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
            },
            "paths": paths,
            "components": components,
        }))
    }
}

impl Document {
    /// As text for people, as it is kept in `docs/openapi.json`.
    pub fn pretty(&self) -> String {
        format!("{:#}", self.0)
    }
}

impl Generators {
    fn operation(&mut self, operation: &Operation) -> Value {
        let mut described = json!({
            "operationId": operation_id(operation),
            "summary": operation.summary,
            "tags": [tag(&operation.path)],
            "security": requirements(operation),
            "responses": self.responses(operation),
        });
        if !operation.parameters.is_empty() {
            described["parameters"] = operation.parameters.iter().map(parameter).collect();
        }
        if let Some(body) = &operation.body {
            let schema = (body.schema)(&mut self.reads);
            let content: Map<_, _> = body.media_types.iter().map(|name| content(name, schema.as_value())).collect();
            described["requestBody"] = json!({ "required": body.is_required, "content": content });
        }
        described
    }

    /// By status. What is refused has the form of an error, unless the endpoint answers that status itself.
    fn responses(&mut self, operation: &Operation) -> Map<String, Value> {
        let mut responses = Map::new();
        let mut refusals: BTreeMap<u16, Vec<&ApiError>> = BTreeMap::new();
        for refusal in &operation.refusals {
            refusals.entry(refusal.status.code).or_default().push(refusal);
        }
        for success in &operation.successes {
            refusals.remove(&success.status.code);
            responses.insert(success.status.code.to_string(), self.success(success));
        }
        for (status, mut errors) in refusals {
            // The same ones are the same answer, whichever guard named them first.
            errors.sort_by_key(|error| error.code);
            responses.insert(status.to_string(), self.refusal(&errors));
        }
        responses
    }

    fn success(&mut self, success: &Success) -> Value {
        let mut response = json!({ "description": success.status.reason_lossy() });
        if let Some((media_type, schema)) = success.content {
            response["content"] = [content(media_type, schema(&mut self.answers).as_value())].into_iter().collect();
        }
        let headers = success.headers.iter().map(|(name, what)| header(name, what, "string"));
        add_headers(&mut response, headers.collect());
        response
    }

    /// The errors of one status.
    fn refusal(&mut self, errors: &[&ApiError]) -> Value {
        let descriptions: Vec<_> = errors.iter().map(|error| format!("`{}`: {}", error.code, error.message)).collect();
        let codes: Vec<_> = errors.iter().map(|error| error.code).collect();
        let form = schema_of::<ErrorBody>(&mut self.answers);
        let code = json!({ "properties": { "error": { "properties": { "code": { "enum": codes } } } } });
        let schema = json!({ "allOf": [form, code] });
        let mut response = json!({
            "description": descriptions.join("\n\n"),
            "content": { "application/json": { "schema": schema } },
        });
        let mut headers = Map::new();
        if errors.iter().any(|error| error.retry_after_seconds.is_some()) {
            headers.extend([header("Retry-After", "Seconds after which a repeat makes sense.", "integer")]);
        }
        if errors.iter().any(|error| error.status == Status::Unauthorized) {
            headers.extend([header("WWW-Authenticate", "`Bearer`.", "string")]);
        }
        add_headers(&mut response, headers);
        response
    }

    /// Every type that has a name, by its name.
    fn definitions(mut self) -> Map<String, Value> {
        let mut definitions = self.answers.take_definitions(true);
        definitions.extend(self.reads.take_definitions(true));
        definitions
    }
}

/// How the names of our times end.
const TIMES: [&str; 6] = ["At", "Start", "End", "Time", "Date", "Tick"];

/// Says of texts that are times, by our names for those, that they are. Tests check it of each that they are answered.
fn mark_times(schema: &mut Schema) {
    let is_time = |name: &str| ["at", "tick"].contains(&name) || TIMES.iter().any(|end| name.ends_with(end));
    for (name, member) in schema.get_mut("properties").and_then(Value::as_object_mut).into_iter().flatten() {
        let is_text = member["type"] == "string" || member["type"] == json!(["string", "null"]);
        if is_text && is_time(name) {
            member["format"] = "date-time".into();
        }
    }
}

fn content(media_type: &str, schema: &Value) -> (String, Value) {
    (media_type.to_owned(), json!({ "schema": schema }))
}

fn header(name: &str, description: &str, r#type: &str) -> (String, Value) {
    (name.to_owned(), json!({ "description": description, "schema": { "type": r#type } }))
}

fn add_headers(response: &mut Value, headers: Map<String, Value>) {
    if !headers.is_empty() {
        response["headers"] = headers.into();
    }
}

fn parameter(parameter: &Parameter) -> Value {
    let Parameter { name, place, description, is_required, schema } = parameter;
    let mut described = json!({ "name": name, "in": place, "required": is_required, "schema": schema });
    if !description.is_empty() {
        described["description"] = (&**description).into();
    }
    described
}

/// Any of these will do; an empty one is nothing.
fn requirements(operation: &Operation) -> Vec<Value> {
    let nothing = operation.is_access_optional.then(|| json!({}));
    operation.access.iter().map(|scheme| json!({ scheme.name: [] })).chain(nothing).collect()
}

fn security_scheme(scheme: &Scheme) -> Value {
    let description = scheme.description;
    match scheme.place {
        Place::Bearer => json!({ "type": "http", "scheme": "bearer", "description": description }),
        Place::Header(name) => json!({ "type": "apiKey", "in": "header", "name": name, "description": description }),
        Place::Cookie(name) => json!({ "type": "apiKey", "in": "cookie", "name": name, "description": description }),
    }
}

/// Segments of a path that say nothing of what it is about.
const TIERS: [&str; 2] = ["api", "v1"];

/// The noun that a path is about.
fn tag(path: &str) -> &str {
    path.split('/').find(|segment| !segment.is_empty() && !TIERS.contains(segment)).unwrap_or_default()
}

/// `GET /api/api-keys/{id}` as `getApiKeysById`. It follows from what clients are promised anyhow, so that a generated client
/// keeps its names.
fn operation_id(operation: &Operation) -> String {
    let segments = operation.path.split('/').filter(|segment| !segment.is_empty() && *segment != "api");
    let words = segments.flat_map(|segment| match segment.strip_prefix('{') {
        Some(name) => vec!["by", name.trim_end_matches('}')],
        None => segment.split(['-', '.', '_']).collect(),
    });
    let words = words.flat_map(|word| word.split('_')).filter(|word| !word.is_empty());
    words.fold(operation.method.as_str().to_lowercase(), |id, word| {
        let (first, rest) = word.split_at(1);
        id + &first.to_uppercase() + rest
    })
}
