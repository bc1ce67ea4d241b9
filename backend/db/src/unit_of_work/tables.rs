//! What a unit of work holds of each table.

use std::any::Any;
use std::collections::BTreeMap;

use chrono::DateTime;
use serde_json::{Map, Value as JsonValue};
use tollgate_shared::clock::rfc3339;

use crate::column::Column;
use crate::record::Record;
use crate::value::{Kind, Value};
use crate::writes::Writes;

/// A table, whatever its rows are.
pub(super) trait Table: Any + Send + Sync {
    /// The table's name; empty where nothing is written.
    fn name(&self) -> &'static str;
    /// The tables whose rows have to be there before those of this one.
    fn references(&self) -> &'static [&'static str];
    fn release_savepoint(&mut self);
    fn rollback(&mut self);
    /// Leaves out rows that are as they were loaded.
    fn forget_unchanged(&mut self) {}
    /// Whether it can be left out of what is written: nothing of it has changed, and something hardly ever does.
    fn can_be_left_out(&self) -> bool {
        false
    }
    fn add_to(&self, writes: Writes) -> Writes;
    fn effects(&self) -> Vec<Effect<'_>>;
    /// What has changed since the last savepoint.
    fn drafts(&self) -> Vec<Draft>;
    /// The same by name alone.
    fn drafted_effects(&self) -> Vec<Effect<'_>>;
}

/// What may be announced.
pub trait Announcement: Send + Sync + 'static {}

/// A row that was written, by name alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Effect<'a> {
    /// The table.
    pub table: &'static str,
    /// The row's key.
    pub key: &'a str,
    /// Whether it was not there before.
    pub is_new: bool,
}

/// A row that has changed since the last savepoint.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    /// The table.
    pub table: &'static str,
    /// The row's key.
    pub key: String,
    /// Its columns at the last savepoint, as in [`columns_of`]; none for a new row.
    pub before: Option<Map<String, JsonValue>>,
    /// Its columns now.
    pub after: Map<String, JsonValue>,
}

/// A row by the names of its columns. Bytes are left out: what is kept as bytes is sealed, or a payload.
pub fn columns_of<T: Record>(row: &T) -> Map<String, JsonValue> {
    let shown = |(index, column): (usize, &Column)| {
        let value = match row.value(index) {
            Value::Null if column.kind == Kind::Bytes => return None,
            Value::Null => JsonValue::Null,
            Value::Text(text) => text.into_owned().into(),
            Value::Integer(number) => number.into(),
            Value::Boolean(is) => is.into(),
            Value::Time(micros) => DateTime::from_timestamp_micros(micros).map(rfc3339).into(),
            Value::Json(text) => serde_json::from_str(&text).unwrap_or_default(),
            Value::Bytes(_) => return None,
        };
        Some((column.name.to_owned(), value))
    };
    T::COLUMNS.iter().enumerate().filter_map(shown).collect()
}

fn draft<T: Record>(before: Option<&T>, after: &T) -> Draft {
    let key = <T as Record>::key(after).to_owned();
    Draft { table: T::TABLE, key, before: before.map(columns_of), after: columns_of(after) }
}

/// The rows of one table that are replaced as they change.
pub(super) struct Rows<T> {
    rows: BTreeMap<String, Versions<T>>,
    /// The keys of those that have a draft.
    drafted: Vec<String>,
    /// Whether most transactions change none of them.
    pub(super) seldom_change: bool,
}

/// One row, as it was at each stage. In one place, so that a look at it is one walk down the tree.
struct Versions<T> {
    /// As it is in the database.
    loaded: Option<T>,
    /// At the last savepoint, where it has changed.
    changed: Option<T>,
    /// Since the last savepoint.
    draft: Option<T>,
}

impl<T> Default for Rows<T> {
    fn default() -> Self {
        Self { rows: BTreeMap::new(), drafted: Vec::new(), seldom_change: false }
    }
}

impl<T> Default for Versions<T> {
    fn default() -> Self {
        Self { loaded: None, changed: None, draft: None }
    }
}

impl<T> Versions<T> {
    fn before(&self) -> Option<&T> {
        self.changed.as_ref().or(self.loaded.as_ref())
    }

    fn now(&self) -> Option<&T> {
        self.draft.as_ref().or(self.before())
    }
}

impl<T: Record> Rows<T> {
    pub(super) fn get(&self, key: &str) -> Option<&T> {
        self.rows.get(key)?.now()
    }

    pub(super) fn before(&self, key: &str) -> Option<&T> {
        self.rows.get(key)?.before()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &T> {
        self.rows.values().filter_map(Versions::now)
    }

    pub(super) fn add_loaded(&mut self, rows: Vec<T>) {
        for row in rows {
            let key = row.key().to_owned();
            self.rows.entry(key).or_default().loaded = Some(row);
        }
    }

    pub(super) fn insert(&mut self, row: T) {
        let key = row.key().to_owned();
        let versions = self.rows.entry(key.clone()).or_default();
        if versions.draft.replace(row).is_none() {
            self.drafted.push(key);
        }
    }

    /// Those that have changed since the last savepoint, with how they were at that.
    pub(super) fn drafts_of(&self) -> impl Iterator<Item = (Option<&T>, &T)> {
        let drafted = self.drafted.iter().filter_map(|key| self.rows.get(key));
        drafted.filter(|row| row.now() != row.before()).filter_map(|row| Some((row.before(), row.now()?)))
    }

    /// Those that have changed, with how they were in the database.
    pub(super) fn changes(&self) -> impl Iterator<Item = (Option<&T>, &T)> {
        self.rows.values().filter_map(|row| Some((row.loaded.as_ref(), row.changed.as_ref()?)))
    }
}

impl<T: Record> Table for Rows<T> {
    fn name(&self) -> &'static str {
        T::TABLE
    }

    fn references(&self) -> &'static [&'static str] {
        T::REFERENCES
    }

    fn release_savepoint(&mut self) {
        for key in self.drafted.drain(..) {
            if let Some(versions) = self.rows.get_mut(&key) {
                versions.changed = versions.draft.take();
            }
        }
    }

    fn rollback(&mut self) {
        for key in self.drafted.drain(..) {
            if let Some(versions) = self.rows.get_mut(&key) {
                versions.draft = None;
            }
        }
    }

    fn forget_unchanged(&mut self) {
        for versions in self.rows.values_mut() {
            if versions.changed == versions.loaded {
                versions.changed = None;
            }
        }
    }

    fn can_be_left_out(&self) -> bool {
        self.seldom_change && self.changes().next().is_none()
    }

    fn add_to(&self, writes: Writes) -> Writes {
        writes.upsert(&self.changes().map(|(_, row)| row).collect::<Vec<_>>())
    }

    fn effects(&self) -> Vec<Effect<'_>> {
        let of_row = |(loaded, row): (Option<&T>, _)| Effect {
            table: T::TABLE,
            key: <T as Record>::key(row),
            is_new: loaded.is_none(),
        };
        self.changes().map(of_row).collect()
    }

    fn drafts(&self) -> Vec<Draft> {
        self.drafts_of().map(|(before, row)| draft(before, row)).collect()
    }

    fn drafted_effects(&self) -> Vec<Effect<'_>> {
        let drafted = self.drafted.iter().filter_map(|key| self.rows.get_key_value(key));
        let changed = drafted.filter(|(_, row)| row.now() != row.before());
        changed.map(|(key, row)| Effect { table: T::TABLE, key, is_new: row.before().is_none() }).collect()
    }
}

/// Rows that are only ever added.
pub(super) struct AppendOnly<T> {
    pub(super) released: Vec<T>,
    /// Since the last savepoint.
    pub(super) draft: Vec<T>,
}

impl<T> Default for AppendOnly<T> {
    fn default() -> Self {
        Self { released: Vec::new(), draft: Vec::new() }
    }
}

impl<T: Record> Table for AppendOnly<T> {
    fn name(&self) -> &'static str {
        T::TABLE
    }

    fn references(&self) -> &'static [&'static str] {
        T::REFERENCES
    }

    fn release_savepoint(&mut self) {
        self.released.append(&mut self.draft);
    }

    fn rollback(&mut self) {
        self.draft.clear();
    }

    fn add_to(&self, writes: Writes) -> Writes {
        writes.append(&self.released.iter().collect::<Vec<_>>())
    }

    fn effects(&self) -> Vec<Effect<'_>> {
        self.released.iter().map(|row| Effect { table: T::TABLE, key: row.key(), is_new: true }).collect()
    }

    fn drafts(&self) -> Vec<Draft> {
        self.draft.iter().map(|row| draft(None, row)).collect()
    }

    fn drafted_effects(&self) -> Vec<Effect<'_>> {
        self.draft.iter().map(|row| Effect { table: T::TABLE, key: row.key(), is_new: true }).collect()
    }
}

/// Rows that are added where none is yet.
pub(super) struct AppendIfAbsent<T>(pub(super) AppendOnly<T>);

impl<T> Default for AppendIfAbsent<T> {
    fn default() -> Self {
        Self(AppendOnly::default())
    }
}

impl<T: Record> Table for AppendIfAbsent<T> {
    fn name(&self) -> &'static str {
        T::TABLE
    }

    fn references(&self) -> &'static [&'static str] {
        T::REFERENCES
    }

    fn release_savepoint(&mut self) {
        self.0.release_savepoint();
    }

    fn rollback(&mut self) {
        self.0.rollback();
    }

    fn add_to(&self, writes: Writes) -> Writes {
        writes.insert(&self.0.released.iter().collect::<Vec<_>>())
    }

    fn effects(&self) -> Vec<Effect<'_>> {
        self.0.effects()
    }

    fn drafts(&self) -> Vec<Draft> {
        self.0.drafts()
    }

    fn drafted_effects(&self) -> Vec<Effect<'_>> {
        self.0.drafted_effects()
    }
}

/// What was announced.
pub(super) struct Announcements<T> {
    pub(super) released: Vec<T>,
    /// Since the last savepoint.
    pub(super) draft: Vec<T>,
}

impl<T> Default for Announcements<T> {
    fn default() -> Self {
        Self { released: Vec::new(), draft: Vec::new() }
    }
}

impl<T: Announcement> Table for Announcements<T> {
    fn name(&self) -> &'static str {
        ""
    }

    fn references(&self) -> &'static [&'static str] {
        &[]
    }

    fn release_savepoint(&mut self) {
        self.released.append(&mut self.draft);
    }

    fn rollback(&mut self) {
        self.draft.clear();
    }

    fn add_to(&self, writes: Writes) -> Writes {
        writes
    }

    fn effects(&self) -> Vec<Effect<'_>> {
        Vec::new()
    }

    fn drafts(&self) -> Vec<Draft> {
        Vec::new()
    }

    fn drafted_effects(&self) -> Vec<Effect<'_>> {
        Vec::new()
    }
}
