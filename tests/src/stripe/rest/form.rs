//! What a call sends, read as Stripe reads it.

use std::collections::BTreeMap;

/// Names and values of an `application/x-www-form-urlencoded` text.
pub(super) fn decode(text: &str) -> Vec<(String, String)> {
    let members = text.split('&').filter(|member| !member.is_empty());
    let pairs = members.map(|member| member.split_once('=').unwrap_or((member, "")));
    pairs.map(|(name, value)| (unescape(name), unescape(value))).collect()
}

fn unescape(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let hex: Vec<u8> = rest.by_ref().take(2).collect();
                bytes.extend(hex::decode(hex).expect("a percent sign has two digits after it"));
            }
            other => bytes.push(other),
        }
    }
    String::from_utf8(bytes).expect("it is text")
}

/// The value of `name`.
pub(super) fn get<'a>(form: &'a [(String, String)], name: &str) -> Option<&'a str> {
    form.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
}

/// The members of the map `name`.
pub(super) fn map(form: &[(String, String)], name: &str) -> BTreeMap<String, String> {
    let members = form.iter().filter_map(|(given, value)| {
        let key = given.strip_prefix(name)?.strip_prefix('[')?.strip_suffix(']')?;
        Some((key.to_owned(), value.clone()))
    });
    members.collect()
}
