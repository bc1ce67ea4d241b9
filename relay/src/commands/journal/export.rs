//! `journal export`: events as lines of compact JSON.

use std::collections::HashSet;
use std::io::Write;
use std::path::Path;
use tollgate_journal::reader::{Reader, Selection};

use super::CommandError;

/// Writes the events of `selection`, in order of arrival, each once.
pub(super) fn export(dir: &Path, selection: &Selection, output: &mut impl Write) -> Result<(), CommandError> {
    let mut reader = Reader::new(dir);
    let mut seen = HashSet::new();
    for found in reader.select(selection)? {
        let Some(entry) = reader.entry(&found)? else { continue };
        if seen.insert(entry.event_id) {
            output.write_all(&compact(&entry.body))?;
            output.write_all(b"\n")?;
        }
    }
    Ok(())
}

/// JSON without the white space between its tokens. All else stays as it is: numbers and escapes above all, which a
/// parser would write in its own way.
fn compact(json: &[u8]) -> Vec<u8> {
    let mut compacted = Vec::with_capacity(json.len());
    let (mut in_string, mut escaped) = (false, false);
    for byte in json {
        if in_string {
            in_string = escaped || *byte != b'"';
            escaped = !escaped && *byte == b'\\';
        } else if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
            continue;
        } else {
            in_string = *byte == b'"';
        }
        compacted.push(*byte);
    }
    compacted
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[test]
    fn compact_json_loses_white_space_between_tokens_and_nothing_else() {
        let json = b" {\r\n\t\"a b\" : [ 1.50 , 1E+2, 12345678901234567890123 ],\n \"q\\\" \\\\\" : \" \\u0041 \" } \n";
        let expected = r#"{"a b":[1.50,1E+2,12345678901234567890123],"q\" \\":" \u0041 "}"#;
        assert_eq!(String::from_utf8(compact(json)).unwrap(), expected);
    }

    proptest! {
        #[test]
        fn compact_json_is_the_same_value_on_one_line(texts: Vec<String>, number: i64) {
            let value = serde_json::json!({"texts": texts, "n": number, "nested": [{"x": null}, []]});
            let pretty = serde_json::to_vec_pretty(&value).unwrap();
            let compacted = compact(&pretty);
            prop_assert!(!compacted.contains(&b'\n'));
            prop_assert_eq!(&compacted, &serde_json::to_vec(&value).unwrap());
            prop_assert_eq!(serde_json::from_slice::<Value>(&compacted).unwrap(), value);
        }
    }
}
