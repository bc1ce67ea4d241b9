//! What both tiers must know of an event before anything else: its id and its type.

use std::borrow::Cow;

use serde::Deserialize;

/// The two members that make a JSON object an event; all else is for the backend to judge.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct EventHead<'a> {
    /// `evt_…`, 1 to 255 characters.
    #[serde(borrow)]
    pub id: Cow<'a, str>,
    /// For example `invoice.paid`.
    #[serde(borrow, rename = "type")]
    pub event_type: Cow<'a, str>,
}

/// The body is not an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a JSON object with a string id of 1 to 255 characters and a string type")]
pub struct NotAnEvent;

impl<'a> EventHead<'a> {
    /// Reads the head of `body`, which has to be valid JSON from its first byte to its last.
    pub fn parse(body: &'a [u8]) -> Result<Self, NotAnEvent> {
        // serde would also take a JSON array of two strings for the struct.
        if body.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
            return Err(NotAnEvent);
        }
        let text = std::str::from_utf8(body).map_err(|_| NotAnEvent)?;
        let head: Self = serde_json::from_str(text).map_err(|_| NotAnEvent)?;
        let id_fits = (1..=255).contains(&head.id.chars().count());
        if id_fits { Ok(head) } else { Err(NotAnEvent) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_with_an_id_and_a_type_is_an_event_whatever_else_it_holds() {
        let head =
            EventHead::parse(br#" {"object":"v2.core.event","type":"x.y","n":[1,{}],"id":"evt_\u0031"} "#).unwrap();
        assert_eq!((&*head.id, &*head.event_type), ("evt_1", "x.y"));
    }

    #[test]
    fn anything_else_is_not() {
        let long = format!(r#"{{"id":"{}","type":"x"}}"#, "e".repeat(256));
        for body in [
            "",
            "[]",
            r#"["evt_1","x"]"#,
            "null",
            "{}",
            r#"{"id":"evt_1"}"#,
            r#"{"id":1,"type":"x"}"#,
            r#"{"id":"","type":"x"}"#,
            r#"{"id":"a","type":null}"#,
            r#"{"id":"a","type":"x"} x"#,
            r#"{"id":"a","type":"x""#,
            &long,
        ] {
            assert_eq!(EventHead::parse(body.as_bytes()), Err(NotAnEvent), "{body}");
        }
        assert_eq!(EventHead::parse(b"{\"id\":\"a\xff\",\"type\":\"x\"}"), Err(NotAnEvent));
    }
}
