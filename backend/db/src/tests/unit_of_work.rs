//! Rows of several types: what one event does, what is undone, and in which order they are written.

use tollgate_shared::Rng;
use tollgate_shared::clock::from_unix;

use super::*;
use crate::record;
use crate::tx::Lock;
use crate::unit_of_work::{Announcement, Change, Effect, UnitOfWork};

record! {
    /// What has parts. Its table's name comes after theirs, and what it is a part of itself after that.
    pub(super) struct Whole in "wholes" references "yards" {
        /// The key.
        pub id: String,
        /// Where it is.
        pub yard_id: String,
        /// Something that changes.
        pub state: String,
    }
}

record! {
    /// A part.
    pub(super) struct Part in "parts" references "wholes", "yards" {
        /// The key.
        pub id: String,
        /// What it is a part of.
        pub whole_id: String,
    }
}

record! {
    /// Where wholes are.
    pub(super) struct Yard in "yards" {
        /// The key.
        pub id: String,
        /// Something that changes.
        pub state: String,
    }
}

#[derive(Debug, PartialEq)]
struct Note(&'static str);

impl Announcement for Note {}

/// The same on both engines but for the types' names.
const TABLES: &str = "CREATE TABLE yards (id TEXT PRIMARY KEY, state TEXT NOT NULL);
    CREATE TABLE wholes (id TEXT PRIMARY KEY, yard_id TEXT NOT NULL REFERENCES yards (id), state TEXT NOT NULL);
    CREATE TABLE parts (id TEXT PRIMARY KEY, whole_id TEXT NOT NULL REFERENCES wholes (id))";

async fn with_tables(db: &Db) {
    let mut tx = db.write().await.unwrap();
    tx.batch(TABLES).await.unwrap();
    tx.commit().await.unwrap();
}

fn work() -> UnitOfWork {
    UnitOfWork::new(from_unix(1_700_000_000).unwrap(), Rng::seeded(1))
}

fn yard(id: &str, state: &str) -> Yard {
    Yard { id: id.to_owned(), state: state.to_owned() }
}

fn whole(id: &str, yard: &str, state: &str) -> Whole {
    Whole { id: id.to_owned(), yard_id: yard.to_owned(), state: state.to_owned() }
}

fn part(id: &str, whole: &str) -> Part {
    Part { id: id.to_owned(), whole_id: whole.to_owned() }
}

#[test]
fn what_is_referenced_is_written_first() {
    on_each_engine!(async |db: Db| {
        with_tables(&db).await;
        let mut work = work();
        work.append(part("p1", "w1"));
        work.insert(whole("w1", "y1", "new"));
        work.insert(yard("y1", "new"));
        work.release_savepoint();
        let mut tx = db.write().await.unwrap();
        let changes = work.write(&mut tx).await.unwrap();
        tx.commit().await.unwrap();
        let tables: Vec<_> = changes.effects().iter().map(|effect| effect.table).collect();
        assert_eq!(tables, ["yards", "wholes", "parts"]);
    });
}

#[test]
fn changed_rows_are_written_and_given_back_and_others_are_not() {
    on_each_engine!(async |db: Db| {
        with_tables(&db).await;
        let mut tx = db.write().await.unwrap();
        tx.upsert(&[&yard("y1", "a"), &yard("y2", "a")]).await.unwrap();
        let mut work = work();
        work.add_loaded(vec![yard("y1", "a"), yard("y2", "a")]);
        work.insert(yard("y1", "b"));
        work.insert(yard("y2", "b"));
        work.release_savepoint();
        assert_eq!(work.before("y1"), Some(&yard("y1", "b")));
        work.insert(yard("y2", "a"));
        work.insert(yard("y3", "new"));
        work.release_savepoint();
        let changes = work.write(&mut tx).await.unwrap();
        let of_yards: Vec<_> = changes.of::<Yard>().collect();
        let (before, changed, new) = (yard("y1", "a"), yard("y1", "b"), yard("y3", "new"));
        let expected = [Change { before: Some(&before), after: &changed }, Change { before: None, after: &new }];
        assert_eq!(of_yards, expected);
        let effect = |key, is_new| Effect { table: "yards", key, is_new };
        assert_eq!(changes.effects(), [effect("y1", false), effect("y3", true)]);
        let keys = ["y1", "y2", "y3"].map(str::to_owned).into();
        let stored: Vec<Yard> = tx.load("id", &keys, Lock::None).await.unwrap();
        assert_eq!(stored, [changed, yard("y2", "a"), new]);
    });
}

#[test]
fn a_rollback_undoes_one_event_and_no_other() {
    let mut work = work();
    work.add_loaded(vec![yard("y1", "loaded")]);
    work.insert(yard("y1", "first"));
    work.append(part("p1", "w1"));
    work.announce(Note("first"));
    work.release_savepoint();
    work.insert(yard("y1", "second"));
    work.insert(yard("y2", "second"));
    work.append(part("p2", "w1"));
    work.append_if_absent(part("p3", "w1"));
    work.announce(Note("second"));
    assert_eq!(work.get::<Yard>("y1").map(|row| &*row.state), Some("second"));
    work.rollback();
    assert_eq!(work.all().collect::<Vec<&Yard>>(), [&yard("y1", "first")]);
    work.release_savepoint();
    assert_eq!(work.appended().collect::<Vec<&Part>>(), [&part("p1", "w1")]);
}

#[test]
fn what_is_announced_comes_back_with_the_changes() {
    on_each_engine!(async |db: Db| {
        let mut work = work();
        work.announce(Note("first"));
        work.release_savepoint();
        work.announce(Note("second"));
        work.rollback();
        let mut tx = db.write().await.unwrap();
        let changes = work.write(&mut tx).await.unwrap();
        assert_eq!(changes.announced::<Note>(), [Note("first")]);
        assert_eq!(changes.effects(), []);
    });
}

#[test]
fn an_appended_row_that_is_there_already_fails_or_stays_out() {
    on_each_engine!(async |db: Db| {
        with_tables(&db).await;
        let mut tx = db.write().await.unwrap();
        tx.upsert(&[&yard("y1", "")]).await.unwrap();
        tx.upsert(&[&whole("w1", "y1", "")]).await.unwrap();
        tx.upsert(&[&part("p1", "w1")]).await.unwrap();
        tx.commit().await.unwrap();
        let mut optional = work();
        optional.append_if_absent(part("p1", "w1"));
        optional.append_if_absent(part("p2", "w1"));
        optional.release_savepoint();
        let mut tx = db.write().await.unwrap();
        optional.write(&mut tx).await.unwrap();
        tx.commit().await.unwrap();
        let mut strict = work();
        strict.append(part("p2", "w1"));
        strict.release_savepoint();
        let mut tx = db.write().await.unwrap();
        let failure = strict.write(&mut tx).await.unwrap_err();
        assert!(matches!(failure, DbError::Constraint { .. }), "{failure:?}");
    });
}
