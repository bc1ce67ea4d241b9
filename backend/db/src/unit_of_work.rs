//! The rows that a transaction touches, in memory: loaded at once, changed by plain code, written at once.
//!
//! It knows rows by their type and no table by name, so that a new table needs no line here. What one event does stays
//! apart until [`UnitOfWork::release_savepoint`], so that an event which fails half-way ([`UnitOfWork::rollback`])
//! leaves its neighbours in the same transaction untouched.

mod tables;

use std::any::{Any, TypeId};
use std::collections::BTreeMap;
use std::fmt;

use tollgate_shared::{Rng, Timestamp, ids};

use crate::error::DbError;
use crate::record::Record;
use crate::tx::Tx;
use crate::unit_of_work::tables::{Announcements, AppendIfAbsent, AppendOnly, Rows, Table};

pub use crate::unit_of_work::tables::{Announcement, Draft, Effect, columns_of};

/// Rows by type, and the present and the randomness by which they are changed.
pub struct UnitOfWork {
    now: Timestamp,
    rng: Rng,
    /// A dozen at most: a walk along them is cheaper than a hash.
    tables: Vec<(TypeId, Box<dyn Table>)>,
}

impl UnitOfWork {
    /// Without any row yet. All that is done in it is done at `now`.
    pub fn new(now: Timestamp, rng: Rng) -> Self {
        Self { now, rng, tables: Vec::new() }
    }

    /// The present, which stands still.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Randomness that is fit for keys.
    pub fn rng(&self) -> &Rng {
        &self.rng
    }

    /// A new id such as `lic_0192f0c1a2b37c4d8e5f60718293a4b5`; `prefix` is without the underscore.
    pub fn new_id(&self, prefix: &str) -> String {
        ids::new_id(prefix, self.now, &self.rng)
    }

    /// Takes in rows as they are in the database. Without rows too the table is then a part of what is written: always
    /// the same tables are one prepared statement.
    pub fn add_loaded<T: Record>(&mut self, rows: Vec<T>) {
        self.table_mut::<Rows<T>>().add_loaded(rows);
    }

    /// The same for a table of which most transactions change nothing: it is written only by one that does. Each such
    /// table doubles the number of prepared statements, so there should be few of them.
    pub fn add_seldom_changed<T: Record>(&mut self, rows: Vec<T>) {
        self.add_loaded(rows);
        self.table_mut::<Rows<T>>().seldom_change = true;
    }

    /// The row as it is now.
    pub fn get<T: Record>(&self, key: &str) -> Option<&T> {
        self.table::<Rows<T>>()?.get(key)
    }

    /// A copy of the row as it is now, to change and [`insert`](Self::insert) again.
    pub fn get_cloned<T: Record>(&self, key: &str) -> Option<T> {
        self.get(key).cloned()
    }

    /// The row as it was at the last savepoint: before the event at hand.
    pub fn before<T: Record>(&self, key: &str) -> Option<&T> {
        self.table::<Rows<T>>()?.before(key)
    }

    /// The rows that are new or have changed since the last savepoint: what the event at hand did.
    pub fn drafts_of<T: Record>(&self) -> impl Iterator<Item = Change<'_, T>> {
        let rows = self.table::<Rows<T>>().into_iter();
        rows.flat_map(Rows::drafts_of).map(|(before, after)| Change { before, after })
    }

    /// Every row as it is now.
    pub fn all<T: Record>(&self) -> impl Iterator<Item = &T> {
        self.table::<Rows<T>>().into_iter().flat_map(Rows::all)
    }

    /// Puts a new row in, or one that has changed in the place of what was there.
    pub fn insert<T: Record>(&mut self, row: T) {
        self.table_mut::<Rows<T>>().insert(row);
    }

    /// Adds a row that nothing may forbid: one that a unique constraint refuses fails the whole transaction.
    pub fn append<T: Record>(&mut self, row: T) {
        self.table_mut::<AppendOnly<T>>().draft.push(row);
    }

    /// Changes the rows that were appended by [`append`](Self::append) since the last savepoint.
    pub fn amend_appended<T: Record>(&mut self, amend: impl FnMut(&mut T)) {
        self.table_mut::<AppendOnly<T>>().draft.iter_mut().for_each(amend);
    }

    /// Adds a row unless a unique constraint says that it is there already, which then stays as it is.
    pub fn append_if_absent<T: Record>(&mut self, row: T) {
        self.table_mut::<AppendIfAbsent<T>>().0.draft.push(row);
    }

    /// Makes the table of `T` a part of what is written, whether or not rows will be appended to it; see
    /// [`add_loaded`](Self::add_loaded).
    pub fn expect_appended<T: Record>(&mut self) {
        self.table_mut::<AppendOnly<T>>();
    }

    /// The same for a table that rows are added to by [`append_if_absent`](Self::append_if_absent).
    pub fn expect_appended_if_absent<T: Record>(&mut self) {
        self.table_mut::<AppendIfAbsent<T>>();
    }

    /// Rows that were appended, by either verb, in order; without those since the last savepoint.
    pub fn appended<T: Record>(&self) -> impl Iterator<Item = &T> {
        appended(&self.tables)
    }

    /// Says something to whoever reads the [`Changes`]; it is written nowhere.
    pub fn announce<T: Announcement>(&mut self, announcement: T) {
        self.table_mut::<Announcements<T>>().draft.push(announcement);
    }

    /// What was announced so far, in order; without what was since the last savepoint.
    pub fn announced<T: Announcement>(&self) -> impl Iterator<Item = &T> {
        self.table::<Announcements<T>>().into_iter().flat_map(|announcements| &announcements.released)
    }

    /// What has changed since the last savepoint. A row that [`append_if_absent`](Self::append_if_absent) added counts,
    /// though it may be there already.
    pub fn drafts(&self) -> Vec<Draft> {
        self.tables.iter().flat_map(|(_, table)| table.drafts()).collect()
    }

    /// What has changed since the last savepoint, by name alone; as [`drafts`](Self::drafts) otherwise.
    pub fn drafted_effects(&self) -> Vec<Effect<'_>> {
        self.tables.iter().flat_map(|(_, table)| table.drafted_effects()).collect()
    }

    /// The rows that were appended by [`append`](Self::append) since the last savepoint.
    pub fn draft_appended<T: Record>(&self) -> &[T] {
        self.table::<AppendOnly<T>>().map_or(&[], |table| &table.draft)
    }

    /// Ends one event: what it did counts from here on.
    pub fn release_savepoint(&mut self) {
        for (_, table) in &mut self.tables {
            table.release_savepoint();
        }
    }

    /// Undoes everything since the last savepoint.
    pub fn rollback(&mut self) {
        for (_, table) in &mut self.tables {
            table.rollback();
        }
    }

    /// Writes what has changed, in one statement. What was done since the last savepoint is not a part of it.
    pub async fn write(mut self, tx: &mut Tx) -> Result<Changes, DbError> {
        self.rollback();
        for (_, table) in &mut self.tables {
            table.forget_unchanged();
        }
        let tables = in_order_of_references(self.tables);
        let written = tables.iter().filter(|(_, table)| !table.can_be_left_out());
        let writes = written.fold(tx.writes(), |writes, (_, table)| table.add_to(writes));
        tx.write(writes).await?;
        Ok(Changes { tables })
    }

    fn table<T: Any>(&self) -> Option<&T> {
        table(&self.tables)
    }

    fn table_mut<T: Table + Default>(&mut self) -> &mut T {
        let id = TypeId::of::<T>();
        let index = self.tables.iter().position(|(known, _)| *known == id).unwrap_or_else(|| {
            self.tables.push((id, Box::new(T::default())));
            self.tables.len() - 1
        });
        let table: &mut dyn Any = &mut *self.tables[index].1;
        table.downcast_mut().expect("a table stands beside its own type")
    }
}

/// What a [`UnitOfWork`] wrote: what bells are rung by, effects recorded and mails sent.
pub struct Changes {
    tables: Vec<(TypeId, Box<dyn Table>)>,
}

/// A row that was written, or is to be, and how it was before.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change<'a, T> {
    /// None for a new row.
    pub before: Option<&'a T>,
    /// As it was written.
    pub after: &'a T,
}

impl Changes {
    /// The rows of one type that are new or have changed.
    pub fn of<T: Record>(&self) -> impl Iterator<Item = Change<'_, T>> {
        let rows = table::<Rows<T>>(&self.tables).into_iter();
        rows.flat_map(Rows::changes).map(|(before, after)| Change { before, after })
    }

    /// The rows of one type that were appended, in order.
    pub fn appended<T: Record>(&self) -> impl Iterator<Item = &T> {
        appended(&self.tables)
    }

    /// What was announced, in order.
    pub fn announced<T: Announcement>(&self) -> &[T] {
        table::<Announcements<T>>(&self.tables).map_or(&[], |announcements| &announcements.released)
    }

    /// Every row that was written, by name.
    pub fn effects(&self) -> Vec<Effect<'_>> {
        self.tables.iter().flat_map(|(_, table)| table.effects()).collect()
    }
}

/// The tables alone: rows hold keys and addresses, which no log may have.
fn write_tables(name: &str, tables: &[(TypeId, Box<dyn Table>)], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let tables: Vec<_> = tables.iter().map(|(_, table)| table.name()).collect();
    f.debug_struct(name).field("tables", &tables).finish_non_exhaustive()
}

impl fmt::Debug for UnitOfWork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_tables("UnitOfWork", &self.tables, f)
    }
}

impl fmt::Debug for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_tables("Changes", &self.tables, f)
    }
}

fn table<T: Any>(tables: &[(TypeId, Box<dyn Table>)]) -> Option<&T> {
    let id = TypeId::of::<T>();
    let (_, table) = tables.iter().find(|(known, _)| *known == id)?;
    let table: &dyn Any = &**table;
    table.downcast_ref()
}

fn appended<T: Record>(tables: &[(TypeId, Box<dyn Table>)]) -> impl Iterator<Item = &T> {
    let always = table::<AppendOnly<T>>(tables).into_iter().flat_map(|table| &table.released);
    let if_absent = table::<AppendIfAbsent<T>>(tables).into_iter().flat_map(|table| &table.0.released);
    always.chain(if_absent)
}

/// Those that others reference first: SQLite checks a foreign key as soon as its row is written. Among equals by name,
/// so that the same tables are always the same statement.
fn in_order_of_references(mut tables: Vec<(TypeId, Box<dyn Table>)>) -> Vec<(TypeId, Box<dyn Table>)> {
    let references: BTreeMap<_, _> = tables.iter().map(|(_, table)| (table.name(), table.references())).collect();
    let depth = |name: &'static str| {
        let (mut depth, mut level) = (0, vec![name]);
        // A circle of references cannot be written in any order; it ends here all the same.
        while depth < references.len() && !level.is_empty() {
            level =
                level.iter().filter_map(|name| references.get(name)).flat_map(|names| names.iter().copied()).collect();
            depth += 1;
        }
        depth
    };
    tables.sort_by_cached_key(|(_, table)| (depth(table.name()), table.name()));
    tables
}
