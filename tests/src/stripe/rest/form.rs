//! What a call sends, read as Stripe reads it.

use std::collections::BTreeMap;

/// A parameter's value, by the brackets in its name: `items[0][price]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    Text(String),
    /// Of an object by name, of an array by number.
    Members(BTreeMap<String, Sent>),
}

impl Sent {
    /// Of an object or an array.
    pub(super) fn members(&self) -> Option<&BTreeMap<String, Self>> {
        match self {
            Self::Members(members) => Some(members),
            Self::Text(_) => None,
        }
    }

    /// Of a plain value.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Members(_) => None,
        }
    }

    /// All parameters of a form.
    pub(super) fn of(form: &[(String, String)]) -> BTreeMap<String, Self> {
        let mut all = BTreeMap::new();
        for (name, value) in form {
            let mut parts = name.split('[').map(|part| part.trim_end_matches(']'));
            let first = parts.next().unwrap_or_default();
            put(&mut all, first, &parts.collect::<Vec<_>>(), value);
        }
        all
    }
}

fn put(members: &mut BTreeMap<String, Sent>, name: &str, within: &[&str], value: &str) {
    // `expand[]` is the next of its array.
    let name = if name.is_empty() { members.len().to_string() } else { name.to_owned() };
    match within {
        [] => {
            members.insert(name, Sent::Text(value.to_owned()));
        }
        [first, rest @ ..] => {
            let there = members.entry(name).or_insert_with(|| Sent::Members(BTreeMap::new()));
            if let Sent::Text(_) = there {
                *there = Sent::Members(BTreeMap::new());
            }
            if let Sent::Members(members) = there {
                put(members, first, rest, value);
            }
        }
    }
}

/// Names and values of an `application/x-www-form-urlencoded` text; `None` where it is none.
pub(super) fn decode(text: &str) -> Option<Vec<(String, String)>> {
    let members = text.split('&').filter(|member| !member.is_empty());
    let pairs = members.map(|member| member.split_once('=').unwrap_or((member, "")));
    pairs.map(|(name, value)| Some((unescape(name)?, unescape(value)?))).collect()
}

fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let hex: Vec<u8> = rest.by_ref().take(2).collect();
                bytes.extend(hex::decode(hex).ok()?);
            }
            other => bytes.push(other),
        }
    }
    String::from_utf8(bytes).ok()
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

/// The elements of the array `name`, however they are numbered.
pub(super) fn list<'a>(form: &'a [(String, String)], name: &str) -> Vec<&'a str> {
    let elements = form.iter().filter(|(given, _)| {
        let number = given.strip_prefix(name).and_then(|rest| rest.strip_prefix('[')?.strip_suffix(']'));
        number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
    });
    elements.map(|(_, value)| value.as_str()).collect()
}
