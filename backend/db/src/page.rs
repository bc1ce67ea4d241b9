//! Pages of a list: `{"data", "hasMore", "nextCursor"}`.
//!
//! A page begins after the last row of the one before, by key, so that rows which come or go meanwhile make none be
//! seen twice or left out.

use std::cmp::Reverse;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::DateTime;
use schemars::JsonSchema;
use serde::Serialize;
use tollgate_shared::Timestamp;

/// The most rows that one page holds.
pub const LIMIT_MAX: usize = 100;
/// The rows of a page, where nobody says how many.
pub const LIMIT_DEFAULT: usize = 25;

/// The longest id that a cursor may hold, in bytes: an event's, 255 characters of up to four bytes.
const CURSOR_ID_BYTES_MAX: usize = 1020;

/// Which page a caller asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// How many rows at most, 1 to [`LIMIT_MAX`].
    pub limit: usize,
    /// The last row that the caller has seen; none for the first page.
    pub after: Option<Position>,
}

/// Where a row stands in a list that is ordered by time, then id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The row's time.
    pub at: Timestamp,
    /// The row's id.
    pub id: String,
}

impl Page {
    /// How many rows to ask the database for: one more than the page holds, to know whether there are more.
    pub fn rows_wanted(&self) -> i64 {
        self.limit as i64 + 1
    }

    /// The page out of up to [`Page::rows_wanted`] rows.
    pub fn list<T>(&self, mut rows: Vec<T>, position: impl Fn(&T) -> Position) -> List<T> {
        let has_more = rows.len() > self.limit;
        rows.truncate(self.limit);
        let next_cursor = if has_more { rows.last().map(|last| position(last).to_cursor()) } else { None };
        List { data: rows, has_more, next_cursor }
    }

    /// The page out of several lists, the newest first, of each of which up to [`Page::rows_wanted`] rows were read.
    pub fn merge<T>(&self, mut rows: Vec<T>, position: impl Fn(&T) -> Position) -> List<T> {
        rows.sort_by_cached_key(|row| {
            let Position { at, id } = position(row);
            Reverse((at, id))
        });
        self.list(rows, position)
    }

    /// After which position its rows stand, in a list that has the newest first.
    pub fn start(&self) -> Position {
        self.after.clone().unwrap_or_else(Position::end)
    }
}

impl Position {
    /// Before the first row of a list that has the newest first: both engines' times end with the year 9999 or later.
    pub fn end() -> Self {
        let at =
            DateTime::from_timestamp(253_402_300_799, 0).expect("the last second of 9999 is one that chrono knows");
        Self { at, id: String::new() }
    }

    /// Opaque to callers: `base64url(micros "." id)`.
    pub fn to_cursor(&self) -> String {
        URL_SAFE_NO_PAD.encode(format!("{}.{}", self.at.timestamp_micros(), self.id))
    }

    /// The position of a cursor of ours.
    pub fn from_cursor(cursor: &str) -> Option<Self> {
        if cursor.len() > CURSOR_ID_BYTES_MAX * 4 / 3 + 40 {
            return None;
        }
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
        let (micros, id) = text.split_once('.')?;
        let position = Self { at: DateTime::from_timestamp_micros(micros.parse().ok()?)?, id: id.to_owned() };
        // One spelling each: what we would not have written is not ours.
        (!id.is_empty() && !id.contains('\0') && position.to_cursor() == cursor).then_some(position)
    }
}

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "{T}List")]
pub struct List<T> {
    /// The rows.
    pub data: Vec<T>,
    /// Whether there are rows after these.
    pub has_more: bool,
    /// The `cursor` of the next page; `null` on the last.
    pub next_cursor: Option<String>,
}

impl<T> List<T> {
    /// The same page with each row seen as something else.
    pub fn map<U>(self, each: impl FnMut(T) -> U) -> List<U> {
        List { data: self.data.into_iter().map(each).collect(), has_more: self.has_more, next_cursor: self.next_cursor }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tollgate_shared::clock::from_unix;

    use super::*;

    fn position(seconds: i64, id: &str) -> Position {
        Position { at: from_unix(seconds).unwrap(), id: id.to_owned() }
    }

    #[test]
    fn a_cursor_that_is_not_ours_leads_nowhere() {
        let other_spellings = [
            URL_SAFE_NO_PAD.encode("+5.evt_1"),
            URL_SAFE_NO_PAD.encode("5."),
            URL_SAFE_NO_PAD.encode("5.a\0"),
            URL_SAFE_NO_PAD.encode("9223372036854775807.evt_1"),
            URL_SAFE_NO_PAD.encode(format!("5.{}", "x".repeat(5000))),
        ];
        for bad in ["", "x", "evt_1", "MQ", "////"].into_iter().chain(other_spellings.iter().map(String::as_str)) {
            assert_eq!(Position::from_cursor(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_page_knows_whether_there_is_another_and_where_it_begins() {
        let page = Page { limit: 2, after: None };
        let last = page.list(vec![1, 2], |row| position(*row, "x"));
        assert_eq!((last.has_more, last.next_cursor), (false, None));
        let first = page.list(vec![1, 2, 3], |row| position(*row, "x"));
        assert_eq!((first.data, first.has_more), (vec![1, 2], true));
        let cursor = first.next_cursor.unwrap();
        assert_eq!(Position::from_cursor(&cursor), Some(position(2, "x")));
    }

    proptest! {
        #[test]
        fn a_cursor_leads_back_to_its_position(micros in 0..4_000_000_000_000_000_i64, id in "[^\0]{1,255}") {
            let position = Position { at: DateTime::from_timestamp_micros(micros).unwrap(), id };
            prop_assert_eq!(Position::from_cursor(&position.to_cursor()), Some(position));
        }

        #[test]
        fn no_cursor_makes_it_panic(cursor: String) {
            let _ = Position::from_cursor(&cursor);
        }
    }
}
