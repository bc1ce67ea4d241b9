//! Which bytes of a file are wanted: `Range` (RFC 9110, section 14), one or many.
//!
//! electron-updater's differential download names up to a thousand ranges at once and wants them in one
//! `multipart/byteranges`, in its own order.

use std::fmt::Write as _;
use std::ops::Range;

/// How many ranges are given at once. More are answered with the whole, as RFC 9110 lets us.
const RANGES_MAX: usize = 4096;

/// What is to be sent of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// All of it.
    Whole,
    /// These bytes, each not empty and within the file.
    Parts(Vec<Range<u64>>),
    /// Nothing of it is where the ranges are.
    Unsatisfiable,
}

impl Wanted {
    /// What a `Range` header wants of a file of `size` bytes. One that cannot be read is none (section 14.2). So is one of
    /// which all ranges together are longer than the file: whoever wants the same bytes again and again gets them once.
    pub fn of(header: Option<&str>, size: u64) -> Self {
        let Some(sets) = header.and_then(ranges) else { return Self::Whole };
        let mut parts = Vec::with_capacity(sets.len());
        for set in sets {
            let part = match set {
                Spec::From(first, last) => first..last.map_or(size, |last| last.saturating_add(1).min(size)),
                Spec::Last(bytes) => size.saturating_sub(bytes)..size,
            };
            if part.start < part.end {
                parts.push(part);
            }
        }
        if parts.is_empty() {
            return Self::Unsatisfiable;
        }
        let bytes = parts.iter().fold(0_u64, |sum, part| sum.saturating_add(part.end - part.start));
        if bytes > size { Self::Whole } else { Self::Parts(parts) }
    }
}

/// One range, as it is written.
enum Spec {
    From(u64, Option<u64>),
    Last(u64),
}

/// The ranges of a header; none where it cannot be read.
fn ranges(header: &str) -> Option<Vec<Spec>> {
    let (unit, sets) = header.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let mut specs = Vec::new();
    for set in sets.split(',').map(str::trim).filter(|set| !set.is_empty()) {
        if specs.len() == RANGES_MAX {
            return None;
        }
        let (first, last) = set.split_once('-')?;
        let (first, last) = (first.trim(), last.trim());
        specs.push(match (first, last) {
            ("", last) => Spec::Last(number(last)?),
            (first, "") => Spec::From(number(first)?, None),
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                if last < first {
                    return None;
                }
                Spec::From(first, Some(last))
            }
        });
    }
    (!specs.is_empty()).then_some(specs)
}

/// A number of digits alone; one that is too large is as good as the largest.
fn number(text: &str) -> Option<u64> {
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().unwrap_or(u64::MAX))
}

/// A piece of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// What stands between parts.
    Text(String),
    /// Bytes of the file.
    Bytes(Range<u64>),
}

/// `Content-Range` of a part.
pub fn content_range(part: &Range<u64>, size: u64) -> String {
    format!("bytes {}-{}/{size}", part.start, part.end - 1)
}

/// The body of `multipart/byteranges` with these parts (section 14.6). It begins with the boundary itself: electron-updater
/// takes no line before it.
pub fn multipart(parts: &[Range<u64>], size: u64, boundary: &str, media_type: &str) -> Vec<Piece> {
    let mut pieces = Vec::with_capacity(2 * parts.len() + 1);
    for (index, part) in parts.iter().enumerate() {
        let mut head = String::new();
        let line = if index == 0 { "" } else { "\r\n" };
        let range = content_range(part, size);
        let _ = write!(head, "{line}--{boundary}\r\nContent-Type: {media_type}\r\nContent-Range: {range}\r\n\r\n");
        pieces.push(Piece::Text(head));
        pieces.push(Piece::Bytes(part.clone()));
    }
    pieces.push(Piece::Text(format!("\r\n--{boundary}--\r\n")));
    pieces
}

/// How many bytes these are.
pub fn length(pieces: &[Piece]) -> u64 {
    let length = |piece: &Piece| match piece {
        Piece::Text(text) => text.len() as u64,
        Piece::Bytes(part) => part.end - part.start,
    };
    pieces.iter().map(length).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::single_range_in_vec_init, reason = "a list of one range is meant")]
    #[test]
    fn ranges_are_cut_to_the_file() {
        let of = |header: &str| Wanted::of(Some(header), 100);
        for (header, parts) in [
            ("bytes=0-0", vec![0..1]),
            ("bytes=10-19", vec![10..20]),
            ("bytes=90-", vec![90..100]),
            ("bytes=90-200", vec![90..100]),
            ("bytes=-5", vec![95..100]),
            ("bytes=-500", vec![0..100]),
            ("Bytes = 1-2 , 5-6", vec![1..3, 5..7]),
            ("bytes=50-59,,0-9", vec![50..60, 0..10]),
            ("bytes=0-9,100-", vec![0..10]),
            ("bytes=0-99999999999999999999999", vec![0..100]),
        ] {
            assert_eq!(of(header), Wanted::Parts(parts), "{header}");
        }
        for header in ["bytes=100-", "bytes=100-200", "bytes=-0", "bytes=500-,600-"] {
            assert_eq!(of(header), Wanted::Unsatisfiable, "{header}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_the_whole() {
        for header in
            ["", "bytes", "bytes=", "bytes=a-b", "bytes=5-1", "bytes=1", "lines=1-2", "bytes=+1-2", "bytes=0-1,x"]
        {
            assert_eq!(Wanted::of(Some(header), 100), Wanted::Whole, "{header}");
        }
        assert_eq!(Wanted::of(None, 100), Wanted::Whole);
        assert_eq!(Wanted::of(Some("bytes=0-"), 0), Wanted::Unsatisfiable);
    }

    #[test]
    fn who_wants_the_same_again_and_again_gets_it_once() {
        assert_eq!(Wanted::of(Some("bytes=0-99,0-99"), 100), Wanted::Whole);
        let many = format!("bytes={}", vec!["0-0"; RANGES_MAX + 1].join(","));
        assert_eq!(Wanted::of(Some(&many), 1 << 20), Wanted::Whole);
        let thousand: Vec<_> = (0..1000).map(|number| format!("{}-{}", number * 10, number * 10 + 4)).collect();
        let Wanted::Parts(parts) = Wanted::of(Some(&format!("bytes={}", thousand.join(", "))), 10_000) else {
            panic!("they are within the file")
        };
        assert_eq!(parts.len(), 1000);
    }

    #[test]
    fn several_parts_stand_between_boundaries() {
        let pieces = multipart(&[0..2, 5..6], 9, "b", "application/zip");
        let bytes = b"012345678";
        let mut body = Vec::new();
        for piece in &pieces {
            match piece {
                Piece::Text(text) => body.extend_from_slice(text.as_bytes()),
                Piece::Bytes(part) => body.extend_from_slice(&bytes[part.start as usize..part.end as usize]),
            }
        }
        let expected = "--b\r\nContent-Type: application/zip\r\nContent-Range: bytes 0-1/9\r\n\r\n01\r\n\
                        --b\r\nContent-Type: application/zip\r\nContent-Range: bytes 5-5/9\r\n\r\n5\r\n--b--\r\n";
        assert_eq!(String::from_utf8(body).unwrap(), expected);
        assert_eq!(length(&pieces), expected.len() as u64);
    }
}
