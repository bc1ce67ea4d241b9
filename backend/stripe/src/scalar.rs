//! What stands in a member as one value: texts, ids, numbers, times.
//!
//! Texts are made fit to be stored here, where they are read, so that there is one form of each: U+0000, which
//! PostgreSQL has no place for, becomes U+FFFD, and a long one is cut.

use std::borrow::Cow;

use chrono::{DateTime, SubsecRound as _, Utc};
use serde::de::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use tollgate_shared::Timestamp;
use tollgate_shared::clock::from_unix;

use crate::field::{Field, Overlay, Read, view};

/// Declares what stands in a member as one value, and how it is read from its JSON text.
macro_rules! scalar {
    ($($(#[$doc:meta])* struct $scalar:ident($type:ty) = $read:expr;)*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Debug, PartialEq)]
            pub(crate) struct $scalar(pub(crate) $type);

            impl<'de> Read<'de> for $scalar {
                fn read<D: Deserializer<'de>>(json: D) -> Result<Field<Self>, D::Error> {
                    let json = <&RawValue>::deserialize(json)?.get();
                    Ok($read(json).map_or(Field::Void, |value| Field::Set(Self(value))))
                }
            }

            impl Overlay for $scalar {
                fn overlay(&mut self, previous: Self) {
                    *self = previous;
                }
            }
        )*
    };
}

scalar! {
    /// A text, whatever it says.
    struct Text(String) = |json| text(json).map(cut);
    /// A text that says something, without the blanks around it: a name that others chose.
    struct Label(String) = label;
    /// The id of another object, which is there as its id or expanded.
    struct Id(String) = id;
    /// A whole number.
    struct Whole(i64) = whole;
    /// Unix seconds of a year from 1 to 9999.
    struct Seconds(i64) = |json| whole(json).filter(|seconds| (SECONDS_MIN..=SECONDS_MAX).contains(seconds));
    /// An instant: Unix seconds, or RFC 3339 as newer parts of Stripe write it.
    struct Instant(Timestamp) = instant;
    /// `true` or `false`.
    struct Flag(bool) = |json: &str| json.parse().ok();
    /// Whether there is an object, whatever is in it.
    struct Presence(()) = |json: &str| json.starts_with('{').then_some(());
}

impl Field<Id> {
    pub(crate) fn text(self) -> Option<String> {
        self.value().map(|Id(id)| id)
    }
}

impl Field<Text> {
    pub(crate) fn text(self) -> Option<String> {
        self.value().map(|Text(text)| text)
    }

    /// A currency's code in the one case that we use.
    pub(crate) fn currency(self) -> Option<String> {
        self.text().map(|text| text.to_ascii_lowercase())
    }
}

impl Field<Label> {
    pub(crate) fn text(self) -> Option<String> {
        self.value().map(|Label(label)| label)
    }
}

impl Field<Whole> {
    pub(crate) fn number(self) -> Option<i64> {
        self.value().map(|Whole(number)| number)
    }
}

impl Field<Seconds> {
    pub(crate) fn seconds(self) -> Option<i64> {
        self.value().map(|Seconds(seconds)| seconds)
    }
}

impl Field<Flag> {
    pub(crate) fn flag(self) -> Option<bool> {
        self.value().map(|Flag(flag)| flag)
    }
}

/// `0001-01-01T00:00:00Z`, the first that RFC 3339 and both databases can write.
const SECONDS_MIN: i64 = -62_135_596_800;
/// `9999-12-31T23:59:59Z`, the last that RFC 3339 can write.
const SECONDS_MAX: i64 = 253_402_300_799;
/// How many characters an id may have: Stripe promises no more. Beyond some kilobytes a database could not index it.
const ID_CHARS_MAX: usize = 255;
/// How many characters a label may have: as many as a value in Stripe's metadata.
const LABEL_CHARS_MAX: usize = 500;
/// Where a text is cut. The longest that we keep are addresses of hosted invoices, of some hundred bytes; nothing at
/// Stripe bounds what its own users may have written once.
const TEXT_BYTES_MAX: usize = 4096;

/// The text of a JSON string, without U+0000; absent when it is no text, as half of a surrogate pair is none.
fn text(json: &str) -> Option<Cow<'_, str>> {
    let inside = json.strip_prefix('"')?.strip_suffix('"')?;
    // Only an escape can write U+0000.
    if !inside.contains('\\') {
        return Some(Cow::Borrowed(inside));
    }
    serde_json::from_str(json).ok().map(|text: String| Cow::Owned(storable(Cow::Owned(text))))
}

/// `text` without U+0000, which PostgreSQL has no place for.
pub(crate) fn storable(text: Cow<'_, str>) -> String {
    if text.contains('\0') { text.replace('\0', "\u{FFFD}") } else { text.into_owned() }
}

/// A text's first [`TEXT_BYTES_MAX`] bytes, as far as they are whole characters.
fn cut(text: Cow<'_, str>) -> String {
    match text {
        Cow::Borrowed(text) => text[..text.floor_char_boundary(TEXT_BYTES_MAX)].to_owned(),
        Cow::Owned(mut text) => {
            text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
            text
        }
    }
}

fn label(json: &str) -> Option<String> {
    let text = text(json)?;
    let label = text.trim();
    (!label.is_empty() && label.chars().nth(LABEL_CHARS_MAX).is_none()).then(|| label.to_owned())
}

fn id(json: &str) -> Option<String> {
    if json.starts_with('{') {
        let object: Field<Identified> = serde_json::from_str(json).ok()?;
        let Text(id) = object.value()?.id.value()?;
        return fit_id(id);
    }
    fit_id(text(json)?.into_owned())
}

/// An id that can be one.
pub(crate) fn fit_id(id: String) -> Option<String> {
    (!id.is_empty() && id.chars().nth(ID_CHARS_MAX).is_none()).then_some(id)
}

view! {
    /// Any object that has an id.
    struct Identified { id: Text, }
}

fn whole(json: &str) -> Option<i64> {
    if !json.starts_with(|first: char| first == '-' || first.is_ascii_digit()) {
        return None;
    }
    json.parse().ok().or_else(|| {
        let number = json.parse::<f64>().ok()?;
        // Beyond 2^53 a double does not say which whole number it is.
        (number.fract() == 0.0 && number.abs() <= (1_u64 << 53) as f64).then_some(number as i64)
    })
}

fn instant(json: &str) -> Option<Timestamp> {
    let at = match text(json) {
        Some(text) => DateTime::parse_from_rfc3339(&text).ok()?.with_timezone(&Utc).trunc_subsecs(6),
        None => from_unix(whole(json)?)?,
    };
    (SECONDS_MIN..=SECONDS_MAX).contains(&at.timestamp()).then_some(at)
}
