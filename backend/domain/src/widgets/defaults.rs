//! The widgets that a new customer starts with: the operator's `widgets.json`, judged strictly.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

/// How big the file may be: it is copied into the database for each customer, so that more is a mistake.
const FILE_BYTES_MAX: u64 = 256 << 10;
/// How many widgets a customer may start with, for the same reason.
const WIDGETS_MAX: usize = 100;

/// The widgets that a new customer starts with, in the file's order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WidgetDefaults(Vec<WidgetDefault>);

/// One of them.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WidgetDefault {
    /// Unique among them.
    pub name: String,
    /// An object: whatever the pages that show the widget want to know.
    pub config: Value,
}

/// Why a file of widgets cannot be used. Fit to follow "the file of widgets".
#[derive(Debug, thiserror::Error)]
pub enum WidgetsError {
    /// It is not there, or not to be read.
    #[error("cannot be read: {}", .0.kind())]
    Unreadable(#[source] io::Error),
    /// It is bigger than any such file.
    #[error("is larger than {FILE_BYTES_MAX} bytes")]
    TooLarge,
    /// It is no JSON, or has no such form.
    #[error("is not a list of `{{\"name\", \"config\"}}`: {0}")]
    NotAList(#[source] serde_json::Error),
    /// There are more than a customer may start with.
    #[error("has more than {WIDGETS_MAX} widgets")]
    TooMany,
    /// A widget has no name.
    #[error("widget number {number} has a blank name")]
    Nameless {
        /// Its number, counted from 1.
        number: usize,
    },
    /// Two widgets have one name.
    #[error("widget `{name}` is there twice")]
    Duplicate {
        /// That name.
        name: String,
    },
    /// A widget's configuration is no object.
    #[error("widget `{name}`: `config` is not an object")]
    ConfigNotAnObject {
        /// Its name.
        name: String,
    },
}

impl WidgetDefaults {
    /// Reads the file at `path`.
    pub fn load(path: &Path) -> Result<Self, WidgetsError> {
        let bytes = fs::metadata(path).map_err(WidgetsError::Unreadable)?.len();
        if bytes > FILE_BYTES_MAX {
            return Err(WidgetsError::TooLarge);
        }
        Self::parse(&fs::read_to_string(path).map_err(WidgetsError::Unreadable)?)
    }

    /// Reads the text of such a file.
    pub fn parse(text: &str) -> Result<Self, WidgetsError> {
        let widgets: Vec<WidgetDefault> = serde_json::from_str(text).map_err(WidgetsError::NotAList)?;
        if widgets.len() > WIDGETS_MAX {
            return Err(WidgetsError::TooMany);
        }
        let mut names = HashSet::new();
        for (index, WidgetDefault { name, config }) in widgets.iter().enumerate() {
            if name.trim().is_empty() {
                return Err(WidgetsError::Nameless { number: index + 1 });
            }
            if !names.insert(name) {
                return Err(WidgetsError::Duplicate { name: name.clone() });
            }
            if !config.is_object() {
                return Err(WidgetsError::ConfigNotAnObject { name: name.clone() });
            }
        }
        Ok(Self(widgets))
    }

    /// Each of them, in the file's order.
    pub fn iter(&self) -> std::slice::Iter<'_, WidgetDefault> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widgets_are_given_in_the_order_of_the_file() {
        let text = r#"[{"name": "b", "config": {"theme": "light"}}, {"name": "a", "config": {}}]"#;
        let widgets = WidgetDefaults::parse(text).unwrap();
        let names: Vec<_> = widgets.iter().map(|widget| &*widget.name).collect();
        assert_eq!(names, ["b", "a"]);
        assert_eq!(widgets.iter().next().unwrap().config["theme"], "light");
    }

    #[test]
    fn no_widgets_are_widgets_too() {
        assert_eq!(WidgetDefaults::parse("[]").unwrap(), WidgetDefaults::default());
    }

    #[test]
    fn each_mistake_is_named() {
        for (text, expected) in [
            ("{}", "is not a list of `{\"name\", \"config\"}`: invalid type: map, expected a sequence at line 1"),
            (r#"[{"name": "a"}]"#, "missing field `config`"),
            (r#"[{"name": "a", "config": {}, "colour": 1}]"#, "unknown field `colour`"),
            (r#"[{"name": "a", "config": {}}"#, "EOF while parsing a list"),
            (r#"[{"name": " ", "config": {}}]"#, "widget number 1 has a blank name"),
            (r#"[{"name": "a", "config": {}}, {"name": "a", "config": {}}]"#, "widget `a` is there twice"),
            (r#"[{"name": "a", "config": []}]"#, "widget `a`: `config` is not an object"),
        ] {
            let said = WidgetDefaults::parse(text).expect_err(text).to_string();
            assert!(said.contains(expected), "{text}: {said}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_or_too_large_or_has_too_many_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("widgets.json");
        assert_eq!(WidgetDefaults::load(&path).unwrap_err().to_string(), "cannot be read: entity not found");
        std::fs::write(&path, format!("[]{}", " ".repeat(256 << 10))).unwrap();
        assert!(matches!(WidgetDefaults::load(&path), Err(WidgetsError::TooLarge)));
        let many: Vec<_> = (0..101).map(|n| serde_json::json!({"name": n.to_string(), "config": {}})).collect();
        std::fs::write(&path, serde_json::to_vec(&many).unwrap()).unwrap();
        assert!(matches!(WidgetDefaults::load(&path), Err(WidgetsError::TooMany)));
    }

    #[test]
    fn the_file_at_the_root_of_the_project_can_be_used() {
        let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../widgets.json"));
        assert!(WidgetDefaults::load(path).unwrap().iter().any(|widget| widget.name == "default"));
    }
}
