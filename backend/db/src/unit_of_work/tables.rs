//! What a unit of work holds of each table.

use std::any::Any;
use std::collections::BTreeMap;
use std::mem;

use crate::record::Record;
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
    fn add_to(&self, writes: Writes) -> Writes;
    fn effects(&self) -> Vec<Effect<'_>>;
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

/// The rows of one table that are replaced as they change.
pub(super) struct Rows<T> {
    pub(super) loaded: BTreeMap<String, T>,
    pub(super) changed: BTreeMap<String, T>,
    /// Since the last savepoint.
    pub(super) draft: BTreeMap<String, T>,
}

impl<T> Default for Rows<T> {
    fn default() -> Self {
        Self { loaded: BTreeMap::new(), changed: BTreeMap::new(), draft: BTreeMap::new() }
    }
}

impl<T: Record> Rows<T> {
    pub(super) fn get(&self, key: &str) -> Option<&T> {
        self.draft.get(key).or_else(|| self.before(key))
    }

    pub(super) fn before(&self, key: &str) -> Option<&T> {
        self.changed.get(key).or_else(|| self.loaded.get(key))
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &T> {
        let in_changed = self.changed.values().filter(|row| !self.draft.contains_key(row.key()));
        let only_loaded = self
            .loaded
            .values()
            .filter(|row| !self.draft.contains_key(row.key()) && !self.changed.contains_key(row.key()));
        self.draft.values().chain(in_changed).chain(only_loaded)
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
        // `append` would build the whole tree anew for the few rows of one event.
        self.changed.extend(mem::take(&mut self.draft));
    }

    fn rollback(&mut self) {
        self.draft.clear();
    }

    fn forget_unchanged(&mut self) {
        self.changed.retain(|key, row| self.loaded.get(key) != Some(row));
    }

    fn add_to(&self, writes: Writes) -> Writes {
        writes.upsert(&self.changed.values().collect::<Vec<_>>())
    }

    fn effects(&self) -> Vec<Effect<'_>> {
        let of_row = |key| Effect { table: T::TABLE, key, is_new: !self.loaded.contains_key::<str>(key) };
        self.changed.keys().map(String::as_str).map(of_row).collect()
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
}
