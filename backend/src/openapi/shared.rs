//! What several operations say in the same words, said once: among the document's components, which they refer to.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;

use serde_json::{Map, Value, json};

/// Something that may be said elsewhere in the same words.
struct Part<'d> {
    /// What it is called, unless others have that name.
    name: String,
    /// What it is called then.
    long_name: String,
    value: &'d mut Value,
}

/// Replaces whatever stands in `paths` more than once by a reference, and returns what that refers to, by kind.
pub(super) fn share(paths: &mut Map<String, Value>) -> BTreeMap<&'static str, Map<String, Value>> {
    // Headers before the responses that they are in, so that those refer to them too.
    let headers = share_parts("headers", headers_of(paths));
    let responses = share_parts("responses", refusals_of(paths));
    let parameters = share_parts("parameters", parameters_of(paths));
    [("headers", headers), ("parameters", parameters), ("responses", responses)].into()
}

fn share_parts(kind: &str, parts: Vec<Part<'_>>) -> Map<String, Value> {
    let mut uses = BTreeMap::<String, usize>::new();
    for part in &parts {
        *uses.entry(part.value.to_string()).or_default() += 1;
    }
    let parts: Vec<_> = parts.into_iter().filter(|part| uses[&part.value.to_string()] > 1).collect();
    let mut named = BTreeMap::<String, BTreeSet<String>>::new();
    for part in &parts {
        named.entry(part.name.clone()).or_default().insert(part.value.to_string());
    }
    let mut shared = Map::new();
    for Part { name, long_name, value } in parts {
        let name = if named[&name].len() == 1 { name } else { long_name };
        let value = mem::replace(value, json!({ "$ref": format!("#/components/{kind}/{name}") }));
        let known = shared.entry(name.clone()).or_insert_with(|| value.clone());
        assert_eq!(*known, value, "two of the document's {kind} are called {name}");
    }
    shared
}

fn operations_of(paths: &mut Map<String, Value>) -> impl Iterator<Item = &mut Value> {
    paths.values_mut().flat_map(members_of).map(|(_, operation)| operation)
}

fn responses_of(paths: &mut Map<String, Value>) -> impl Iterator<Item = (&String, &mut Value)> {
    operations_of(paths).flat_map(|operation| members_of(&mut operation["responses"]))
}

fn members_of(value: &mut Value) -> impl Iterator<Item = (&String, &mut Value)> {
    value.as_object_mut().into_iter().flatten()
}

/// Those of the answers, by their names.
fn headers_of(paths: &mut Map<String, Value>) -> Vec<Part<'_>> {
    let answers = responses_of(paths).filter_map(|(_, response)| response.get_mut("headers"));
    let headers = answers.flat_map(members_of).map(|(name, value)| Part {
        name: name.clone(),
        long_name: format!("{name}.{}", slug(&value["description"])),
        value,
    });
    headers.collect()
}

/// By status and codes: `404.not_found`.
fn refusals_of(paths: &mut Map<String, Value>) -> Vec<Part<'_>> {
    let refusals = responses_of(paths).filter_map(|(status, value)| {
        let schema = value.pointer("/content/application~1json/schema")?;
        let codes: Vec<_> = schema
            .pointer("/allOf/1/properties/error/properties/code/enum")?
            .as_array()?
            .iter()
            .filter_map(Value::as_str)
            .collect();
        let name = format!("{status}.{}", codes.join("."));
        let long_name = format!("{status}.{}", slug(&value["description"]));
        Some(Part { name, long_name, value })
    });
    refusals.collect()
}

/// By place and name: `query.limit`.
fn parameters_of(paths: &mut Map<String, Value>) -> Vec<Part<'_>> {
    let lists = operations_of(paths).filter_map(|operation| operation.get_mut("parameters")?.as_array_mut());
    let parameters = lists.flatten().map(|value| {
        let name = [&value["in"], &value["name"]].map(|word| word.as_str().unwrap_or_default()).join(".");
        let long_name = format!("{name}.{}", slug(&value["description"]));
        Part { name, long_name, value }
    });
    parameters.collect()
}

/// A text as part of a name: `there-is-no-such-pod`.
fn slug(text: &Value) -> String {
    let words =
        text.as_str().unwrap_or_default().split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Paths with one operation each, which refuses so.
    fn refusing(refusals: &[&str]) -> Map<String, Value> {
        let schema =
            json!({ "allOf": [{}, { "properties": { "error": { "properties": { "code": { "enum": ["gone"] } } } } }] });
        let content = json!({ "application/json": { "schema": schema } });
        let paths = refusals.iter().enumerate().map(|(number, text)| {
            let responses = json!({ "404": { "description": text, "content": content } });
            (format!("/{number}"), json!({ "get": { "responses": responses } }))
        });
        paths.collect()
    }

    fn references(paths: &Map<String, Value>) -> Vec<Option<&str>> {
        paths.values().map(|path| path["get"]["responses"]["404"]["$ref"].as_str()).collect()
    }

    #[test]
    fn what_is_said_once_stays_where_it_is() {
        let mut paths = refusing(&["no pod", "no key"]);
        assert!(share(&mut paths)["responses"].is_empty());
        assert_eq!(references(&paths), [None, None]);
    }

    #[test]
    fn what_is_said_twice_has_its_codes_for_a_name() {
        let mut paths = refusing(&["no pod", "no pod", "no key"]);
        assert_eq!(share(&mut paths)["responses"]["404.gone"]["description"], "no pod");
        assert_eq!(
            references(&paths),
            [Some("#/components/responses/404.gone"); 2].into_iter().chain([None]).collect::<Vec<_>>()
        );
    }

    #[test]
    fn codes_that_say_several_things_are_told_apart_by_their_words() {
        let mut paths = refusing(&["no pod", "no pod", "no key", "no key"]);
        let shared = share(&mut paths);
        assert_eq!(shared["responses"].keys().collect::<Vec<_>>(), ["404.no-key", "404.no-pod"]);
        assert_eq!(references(&paths)[0], Some("#/components/responses/404.no-pod"));
    }
}
