//! The document as a page that is read: made once, of a template, without a script.

use minijinja::value::Serde;
use minijinja::{Environment, context};

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
        let html = template.render(context! { document => Serde(&document.0) });
        Self(html.expect("the template goes with the document: a test makes the page"))
    }
}
