//! Several events in one body: RFC 7464 JSON text sequences, each text between a byte 0x1E and a line feed.
//!
//! 0x1E can stand in no JSON text (control characters are escaped there), so the frame needs no lengths.

/// The media type of a sequence.
pub const MEDIA_TYPE: &str = "application/json-seq";
/// What a backend that takes both forms says in `Accept-Post`.
pub const ACCEPT_POST: &str = "application/json, application/json-seq";
/// How many events one request may hold.
pub const EVENTS_MAX: usize = 256;

const RECORD_SEPARATOR: u8 = 0x1e;

/// Appends one text to a sequence.
pub fn push(sequence: &mut Vec<u8>, text: &[u8]) {
    sequence.push(RECORD_SEPARATOR);
    sequence.extend_from_slice(text);
    sequence.push(b'\n');
}

/// The texts of a sequence, in order, without their frame. Bytes before the first separator are one text too, so that
/// nothing that was sent goes unanswered.
pub fn split(sequence: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (head, rest) = match sequence.iter().position(|byte| *byte == RECORD_SEPARATOR) {
        Some(first) => (&sequence[..first], Some(&sequence[first + 1..])),
        None => (sequence, None),
    };
    let head = (!head.trim_ascii().is_empty()).then_some(head);
    let records = rest.into_iter().flat_map(|rest| rest.split(|byte| *byte == RECORD_SEPARATOR));
    head.into_iter().chain(records).map(|text| text.strip_suffix(b"\n").unwrap_or(text))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_empty_body_holds_nothing_and_an_empty_record_holds_an_empty_text() {
        assert_eq!(split(b"").count(), 0);
        assert_eq!(split(b"\x1e\n").collect::<Vec<_>>(), [b""]);
    }

    #[test]
    fn bytes_before_the_first_separator_are_a_text() {
        assert_eq!(split(b"{}\x1e{}\n").collect::<Vec<_>>(), [b"{}", b"{}"]);
    }

    proptest! {
        #[test]
        fn what_was_framed_comes_out_again(texts: Vec<String>) {
            let texts: Vec<_> = texts.iter().map(|text| serde_json::to_vec(text).unwrap()).collect();
            let mut sequence = Vec::new();
            for text in &texts {
                push(&mut sequence, text);
            }
            prop_assert_eq!(split(&sequence).map(<[u8]>::to_vec).collect::<Vec<_>>(), texts);
        }
    }
}
