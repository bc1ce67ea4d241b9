//! An operation of the OpenAPI document, as the parts of an endpoint tell of it.

use std::borrow::Cow;
use std::ops::RangeInclusive;

use rocket::Route;
use rocket::http::{Method, Status};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use crate::http::error::ApiError;

/// Makes the schema of a type.
pub type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// The schema of `T`.
pub fn schema_of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// The schema of a file, whose bytes need not be text.
pub fn schema_of_file(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "format": "binary" })
}

/// What can be asked of one route.
#[derive(Clone)]
pub struct Operation {
    /// The method.
    pub method: Method,
    /// `/api/api-keys/{id}`
    pub path: String,
    /// What it does, in a sentence.
    pub summary: &'static str,
    /// Who may ask: whoever shows one of these; anybody where there are none.
    pub access: Vec<Scheme>,
    /// Whether something in the request itself may stand in their place.
    pub is_access_optional: bool,
    /// What is read of path, query and headers.
    pub parameters: Vec<Parameter>,
    /// The body, if one is read.
    pub body: Option<Body>,
    /// What it answers where it does what was asked.
    pub successes: Vec<Success>,
    /// Errors that stand for all of the same status and code.
    pub refusals: Vec<ApiError>,
}

/// Something that a caller shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scheme {
    /// Its name in the document.
    pub name: &'static str,
    /// Where it is shown.
    pub place: Place,
    /// What it is.
    pub description: &'static str,
}

/// Where a caller shows something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In `Authorization: Bearer …`.
    Bearer,
    /// In the header of that name.
    Header(&'static str),
    /// In the cookie of that name.
    Cookie(&'static str),
}

/// Something that is read of the path, the query or the headers.
#[derive(Clone)]
pub struct Parameter {
    /// Its name.
    pub name: Cow<'static, str>,
    /// `path`, `query` or `header`.
    pub place: &'static str,
    /// What it is.
    pub description: Cow<'static, str>,
    /// Whether it has to be there.
    pub is_required: bool,
    /// Its JSON Schema.
    pub schema: Value,
}

/// A body.
#[derive(Clone)]
pub struct Body {
    /// Of which types it may be.
    pub media_types: &'static [&'static str],
    /// What is in it.
    pub schema: SchemaOf,
    /// Whether it has to be there.
    pub is_required: bool,
}

/// An answer to what was done.
#[derive(Clone)]
pub struct Success {
    /// Its status.
    pub status: Status,
    /// Its body's type and schema, if it has one.
    pub content: Option<(&'static str, SchemaOf)>,
    /// Headers that mean something: name, and what.
    pub headers: &'static [(&'static str, &'static str)],
}

impl Operation {
    /// Of a route, of which so far only what Rocket knows is known.
    pub(super) fn of(route: &Route, summary: &'static str) -> Self {
        let mut parameters = Vec::new();
        let segments = route.uri.path().split('/').map(|segment| {
            let Some(name) = segment.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')) else {
                return segment.to_owned();
            };
            parameters.push(Parameter::of_path(name));
            format!("{{{name}}}")
        });
        let path = segments.collect::<Vec<_>>().join("/");
        Self {
            method: route.method,
            path,
            summary,
            access: Vec::new(),
            is_access_optional: false,
            parameters,
            body: None,
            successes: Vec::new(),
            refusals: Vec::new(),
        }
    }

    /// Whether what it does changes something.
    pub fn is_unsafe(&self) -> bool {
        !matches!(self.method, Method::Get | Method::Head | Method::Options)
    }

    /// Adds an answer with a body.
    pub fn succeed(&mut self, status: Status, media_type: &'static str, schema: SchemaOf) {
        self.successes.push(Success { status, content: Some((media_type, schema)), headers: &[] });
    }

    /// Adds an answer without a body.
    pub fn succeed_empty(&mut self, status: Status) {
        self.successes.push(Success { status, content: None, headers: &[] });
    }

    /// Gives the answer these statuses.
    pub(super) fn succeed_with(&mut self, statuses: &[Status]) {
        let Some(first) = self.successes.first().cloned() else { return };
        self.successes = statuses.iter().map(|status| Success { status: *status, ..first.clone() }).collect();
    }

    /// Adds an error, unless one of that status and code is there.
    pub fn refuse(&mut self, error: impl Into<ApiError>) {
        let error = error.into();
        if !self.refusals.iter().any(|known| (known.status, known.code) == (error.status, error.code)) {
            self.refusals.push(error);
        }
    }
}

impl Parameter {
    fn of_path(name: &str) -> Self {
        Self {
            name: name.to_owned().into(),
            place: "path",
            description: "".into(),
            is_required: true,
            schema: json!({ "type": "string" }),
        }
    }

    /// A header that may be left out, of so many characters.
    pub fn header(name: &'static str, characters: RangeInclusive<usize>, description: &'static str) -> Self {
        let (min, max) = characters.into_inner();
        Self {
            name: name.into(),
            place: "header",
            description: description.into(),
            is_required: false,
            schema: json!({ "type": "string", "minLength": min, "maxLength": max }),
        }
    }

    /// It is one of these.
    pub fn one_of(self, values: &[&str]) -> Self {
        Self { schema: json!({ "type": "string", "enum": values }), ..self }
    }

    /// It is a moment.
    pub fn time(self) -> Self {
        Self { schema: json!({ "type": "string", "format": "date-time" }), ..self }
    }

    /// It is a number within these.
    pub fn number(self, min: i64, max: i64, default: i64) -> Self {
        Self { schema: json!({ "type": "integer", "minimum": min, "maximum": max, "default": default }), ..self }
    }

    /// It is `true` or `false`.
    pub fn switch(self) -> Self {
        Self { schema: json!({ "type": "boolean", "default": false }), ..self }
    }

    /// It has to be there.
    pub fn required(self) -> Self {
        Self { is_required: true, ..self }
    }
}

/// A text in the query string that may be left out.
pub fn query(name: &'static str, description: &'static str) -> Parameter {
    Parameter {
        name: name.into(),
        place: "query",
        description: description.into(),
        is_required: false,
        schema: json!({ "type": "string" }),
    }
}
