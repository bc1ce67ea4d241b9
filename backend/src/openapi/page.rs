//! The document as a page that is read: made once, of a template, without a script.

use minijinja::value::Serde;
use minijinja::{Environment, context};
use serde_json::{Map, Value};

use super::document::Document;

/// The page's style.
pub(super) const STYLE: &str = include_str!("style.css");

/// The page, as HTML.
pub struct Page(pub(super) String);

impl Page {
    /// Of the document; whatever is in that is text, and no HTML.
    pub fn of(document: &Document) -> Self {
        let mut templates = Environment::new();
        let page = templates.add_template("page.html", include_str!("page.html"));
        page.expect("the template is well-formed: a test makes the page");
        let template = templates.get_template("page.html").expect("it was just added");
        let nouns = operations_by_noun(&document.0);
        let html = template.render(context! { document => Serde(&document.0), nouns => Serde(&nouns) });
        Self(html.expect("the template goes with the document: a test makes the page"))
    }
}

/// The operations by what they are about, each with its method and path.
fn operations_by_noun(document: &Value) -> Map<String, Value> {
    let mut nouns = Map::new();
    for (path, operations) in members(&document["paths"]) {
        for (method, operation) in members(operations) {
            let mut operation = operation.clone();
            operation["method"] = method.to_uppercase().into();
            operation["path"] = path.as_str().into();
            let noun = operation["tags"][0].as_str().unwrap_or_default().to_owned();
            let known = nouns.entry(noun).or_insert_with(|| Value::Array(Vec::new()));
            known.as_array_mut().expect("it was made as a list").push(operation);
        }
    }
    nouns
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}
