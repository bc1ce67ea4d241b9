//! Whole rows: every type of column, every verb.

use std::collections::BTreeSet;
use std::slice;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::json;
use tollgate_shared::Timestamp;
use tollgate_shared::clock::from_unix;

use super::*;
use crate::{Faults, Json, Lock, Operation, Record, Tx, record};

record! {
    /// A row of a table of the tests', with a column of every type.
    pub(super) struct Specimen in "specimens" {
        /// The key.
        pub id: String,
        /// A raw identifier, and a word of SQL.
        pub r#type: Option<String>,
        /// Under a constraint of its own.
        pub nick: Option<String>,
        /// A number.
        pub amount: i64,
        /// A number, or none.
        pub quantity: Option<i64>,
        /// Yes or no.
        pub deleted: bool,
        /// Yes, no or neither.
        pub livemode: Option<bool>,
        /// An instant.
        pub seen_at: Timestamp,
        /// An instant, or none.
        pub ended_at: Option<Timestamp>,
        /// A document.
        pub history: Json<serde_json::Value>,
        /// A document, or none.
        pub inferred: Option<Json<Vec<String>>>,
        /// Bytes.
        pub payload: Bytes,
        /// Bytes, or none.
        pub sealed: Option<Bytes>,
    }
}

const POSTGRES: &str = r#"CREATE TABLE specimens (
    id TEXT COLLATE "C" PRIMARY KEY, type TEXT, nick TEXT UNIQUE, amount BIGINT NOT NULL, quantity BIGINT,
    deleted BOOLEAN NOT NULL, livemode BOOLEAN, seen_at TIMESTAMPTZ NOT NULL, ended_at TIMESTAMPTZ,
    history JSON NOT NULL, inferred JSON, payload BYTEA NOT NULL, sealed BYTEA
)"#;
const SQLITE: &str = "CREATE TABLE specimens (
    id TEXT PRIMARY KEY, type TEXT, nick TEXT UNIQUE, amount INTEGER NOT NULL, quantity INTEGER,
    deleted INTEGER NOT NULL, livemode INTEGER, seen_at TEXT NOT NULL, ended_at TEXT,
    history TEXT NOT NULL CHECK (json_valid(history)), inferred TEXT CHECK (json_valid(inferred)),
    payload BLOB NOT NULL, sealed BLOB
) STRICT";

/// Makes the table.
pub(super) async fn with_table(db: &Db) {
    let mut tx = db.write().await.unwrap();
    let table = if db.engine() == Engine::Postgres { POSTGRES } else { SQLITE };
    tx.batch(table).await.unwrap();
    tx.commit().await.unwrap();
}

pub(super) fn specimen(id: &str) -> Specimen {
    Specimen {
        id: id.to_owned(),
        r#type: Some("invoice.paid".to_owned()),
        nick: None,
        amount: 2900,
        quantity: Some(1),
        deleted: false,
        livemode: Some(true),
        seen_at: from_unix(1_700_000_000).unwrap(),
        ended_at: from_unix(1_700_000_001),
        history: Json(json!({ "a": [1, null, "x"] })),
        inferred: Some(Json(vec!["y".to_owned()])),
        payload: Bytes::from_static(b"{\"id\": \"evt_1\"}"),
        sealed: Some(Bytes::from_static(b"\x00\xff\xfe")),
    }
}

fn nulls(id: &str) -> Specimen {
    Specimen {
        r#type: None,
        nick: None,
        quantity: None,
        livemode: None,
        ended_at: None,
        inferred: None,
        sealed: None,
        ..specimen(id)
    }
}

pub(super) fn keys(keys: &[&str]) -> BTreeSet<String> {
    keys.iter().map(|key| (*key).to_owned()).collect()
}

async fn insert(tx: &mut Tx, rows: &[Specimen]) -> Result<Vec<String>, DbError> {
    tx.insert(&rows.iter().collect::<Vec<_>>()).await
}

/// What the database makes of `row`.
async fn stored(db: &Db, row: &Specimen) -> Specimen {
    let mut tx = db.write().await.unwrap();
    tx.upsert(&[row]).await.unwrap();
    let mut rows: Vec<Specimen> = tx.load("id", &keys(&[&row.id]), Lock::ForUpdate).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(rows.len(), 1);
    rows.remove(0)
}

#[test]
fn every_type_of_column_comes_back_as_it_was() {
    on_each_engine!(async |db: Db| {
        with_table(&db).await;
        let micros = |micros| Timestamp::from_timestamp_micros(micros).unwrap();
        let plain = specimen("spe_1");
        for row in [
            plain.clone(),
            nulls("spe_1"),
            Specimen { amount: i64::MIN, quantity: Some(i64::MAX), ..plain.clone() },
            Specimen { amount: i64::MAX, quantity: Some(i64::MIN), deleted: true, ..plain.clone() },
            Specimen { livemode: Some(false), nick: Some(String::new()), ..plain.clone() },
            Specimen { r#type: Some("🦀 \"\\\n\u{1}\u{fffd}é".to_owned()), ..plain.clone() },
            Specimen { seen_at: micros(1_700_000_000_123_456), ended_at: Some(micros(-1)), ..plain.clone() },
            Specimen { seen_at: micros(0), ended_at: Some(micros(999_999)), ..plain.clone() },
            Specimen { history: Json(json!(null)), inferred: Some(Json(vec![])), ..plain.clone() },
            Specimen { history: Json(json!({ "🦀": [-1.5, 1e300, u64::MAX, i64::MIN, "\"\\"] })), ..plain.clone() },
            Specimen { payload: Bytes::new(), sealed: Some(Bytes::new()), ..plain.clone() },
            Specimen { payload: (0..=255).collect(), sealed: Some("\0text".into()), ..plain.clone() },
        ] {
            assert_eq!(stored(&db, &row).await, row);
        }
    });
}

#[test]
fn u0000_becomes_ufffd_in_texts_and_documents_and_stays_in_bytes() {
    on_each_engine!(async |db: Db| {
        with_table(&db).await;
        let row = Specimen {
            r#type: Some("a\0b".to_owned()),
            history: Json(json!({ "k\0": ["\0", "\\u0000"] })),
            payload: Bytes::from_static(b"\0"),
            ..specimen("spe_\0")
        };
        let mut tx = db.write().await.unwrap();
        assert_eq!(insert(&mut tx, slice::from_ref(&row)).await, Ok(vec!["spe_\u{fffd}".to_owned()]));
        let found: Vec<Specimen> = tx.load("id", &keys(&["spe_\0"]), Lock::None).await.unwrap();
        assert_eq!(found[0].r#type.as_deref(), Some("a\u{fffd}b"));
        assert_eq!(found[0].history, Json(json!({ "k\u{fffd}": ["\u{fffd}", "\\u0000"] })));
        assert_eq!(found[0].payload, row.payload);
        let by_query: (String,) = tx.sql("SELECT id FROM specimens WHERE type = $1").bind("a\0b").one().await.unwrap();
        assert_eq!(by_query.0, "spe_\u{fffd}");
    });
}

#[test]
fn a_payload_of_32_megabytes_comes_back_as_it_was() {
    on_each_engine!(async |db: Db| {
        with_table(&db).await;
        let payload: Bytes = (0..32 << 20).map(|n: u32| (n % 251) as u8).collect();
        let row = Specimen { payload, ..specimen("spe_1") };
        assert!(stored(&db, &row).await == row); // not `assert_eq`, which would print it
    });
}

#[test]
fn instants_sort_by_time() {
    on_each_engine!(async |db: Db| {
        with_table(&db).await;
        let mut micros = vec![-62_135_596_800_000_000, -1, 0, 1, 500_000, 999_999, 1_000_000, 1_700_000_000_000_001];
        micros.extend([1_700_000_000_100_000, 1_700_000_001_000_000, 253_402_300_799_999_999]);
        let at = |micros: i64| Timestamp::from_timestamp_micros(micros).unwrap();
        let row = |(n, micros): (usize, &i64)| Specimen { seen_at: at(*micros), ..specimen(&format!("spe_{n:02}")) };
        let rows: Vec<_> = micros.iter().enumerate().map(row).collect();
        let mut tx = db.write().await.unwrap();
        let mut reversed = rows.clone();
        reversed.reverse();
        insert(&mut tx, &reversed).await.unwrap();
        let sorted: Vec<(Timestamp,)> = tx.sql("SELECT seen_at FROM specimens ORDER BY seen_at").all().await.unwrap();
        assert_eq!(sorted, rows.iter().map(|row| (row.seen_at,)).collect::<Vec<_>>());
        // A parameter of a single statement is the same as what was stored in bulk.
        for row in &rows {
            let earlier = "SELECT count(*) FROM specimens WHERE seen_at < $1";
            let (count,): (i64,) = tx.sql(earlier).bind(row.seen_at).one().await.unwrap();
            assert_eq!(row.id, format!("spe_{count:02}"));
        }
    });
}

#[test]
fn rows_are_loaded_by_any_column_in_the_order_of_their_keys() {
    on_each_engine!(async |db: Db| {
        with_table(&db).await;
        let row = |id: &str, kind: &str| Specimen { r#type: Some(kind.to_owned()), ..specimen(id) };
        let rows = [row("b", "x"), row("a", "y"), row("Z", "x"), row("c", "z"), row("é", "x")];
        let mut tx = db.write().await.unwrap();
        insert(&mut tx, &rows).await.unwrap();
        let by = async |tx: &mut Tx, by, wanted: &[&str], lock| {
            let rows: Vec<Specimen> = tx.load(by, &keys(wanted), lock).await.unwrap();
            rows.into_iter().map(|row| row.id).collect::<Vec<_>>()
        };
        for lock in [Lock::None, Lock::ForUpdate] {
            assert_eq!(by(&mut tx, "id", &["c", "nobody", "a"], lock).await, ["a", "c"]);
            assert_eq!(by(&mut tx, "type", &["x", "y"], lock).await, ["Z", "a", "b", "é"]);
            assert_eq!(by(&mut tx, "type", &["nothing"], lock).await, [""; 0]);
        }
    });
}

#[test]
fn nothing_asked_is_no_statement() {
    on_each_engine!(async |db: Db| {
        with_table(&db).await;
        let faults = Arc::new(Faults::default());
        let mut tx = db.with_faults(Arc::clone(&faults)).write().await.unwrap();
        assert_eq!(tx.load::<Specimen>("id", &BTreeSet::new(), Lock::ForUpdate).await, Ok(vec![]));
        assert_eq!(tx.upsert::<Specimen>(&[]).await, Ok(()));
        assert_eq!(tx.insert::<Specimen>(&[]).await, Ok(vec![]));
        assert_eq!(tx.load_or_insert::<Specimen>(&[]).await, Ok(vec![]));
        let nothing = tx.writes().upsert::<Specimen>(&[]).insert::<Specimen>(&[]);
        assert_eq!(tx.write(nothing).await, Ok(()));
        assert_eq!(faults.counted(), [Operation::Begin]);
    });
}

#[test]
fn an_insert_says_what_is_new_and_leaves_alone_what_any_constraint_forbids() {
    on_each_engine!(async |db: Db| {
        with_table(&db).await;
        let named = |id: &str, nick: &str, amount| Specimen { nick: Some(nick.to_owned()), amount, ..specimen(id) };
        let mut tx = db.write().await.unwrap();
        assert_eq!(insert(&mut tx, &[named("a", "anna", 1)]).await, Ok(vec!["a".to_owned()]));
        let next = [named("a", "other", 2), named("b", "anna", 2), named("c", "carl", 2), named("c", "carla", 3)];
        assert_eq!(insert(&mut tx, &next).await, Ok(vec!["c".to_owned()]));
        let all: Vec<(String, i64)> = tx.sql("SELECT id, amount FROM specimens ORDER BY id").all().await.unwrap();
        assert_eq!(all, [("a".to_owned(), 1), ("c".to_owned(), 2)]);
    });
}

#[test]
fn an_upsert_of_hundreds_of_rows_replaces_every_column_but_the_key() {
    on_each_engine!(async |db: Db| {
        with_table(&db).await;
        let id = |n: i64| format!("spe_{n:04}");
        let rows: Vec<_> = (0..700).map(|n| specimen(&id(n))).collect();
        let change = |n| Specimen { amount: n, deleted: true, payload: vec![n as u8; 5].into(), ..nulls(&id(n)) };
        let changed: Vec<_> = (350..1050).map(change).collect();
        let mut tx = db.write().await.unwrap();
        tx.upsert(&rows.iter().collect::<Vec<_>>()).await.unwrap();
        tx.upsert(&changed.iter().collect::<Vec<_>>()).await.unwrap();
        tx.commit().await.unwrap();
        let all = (0..1050).map(id).collect();
        let found: Vec<Specimen> = db.read().await.unwrap().load("id", &all, Lock::None).await.unwrap();
        assert_eq!(found[..350], rows[..350]);
        assert_eq!(found[350..], changed);
    });
}

#[test]
fn a_key_that_stands_twice_in_an_upsert_is_refused() {
    on_each_engine!(async |db: Db| {
        with_table(&db).await;
        let mut tx = db.write().await.unwrap();
        let row = specimen("a");
        let refused = tx.upsert(&[&row, &row]).await.unwrap_err();
        assert_eq!(refused.class(), "database_error");
        assert_eq!(tx.commit().await, Err(refused));
    });
}

#[test]
fn what_is_there_is_loaded_and_what_is_not_is_inserted_in_one_statement() {
    on_each_engine!(async |db: Db| {
        with_table(&db).await;
        let known = Specimen { amount: 1, history: Json(json!({ "known": true })), ..specimen("b") };
        let mut tx = db.write().await.unwrap();
        tx.insert(&[&known]).await.unwrap();
        tx.commit().await.unwrap();
        let faults = Arc::new(Faults::default());
        let mut tx = db.clone().with_faults(Arc::clone(&faults)).write().await.unwrap();
        let placeholders = ["a", "b", "c"].map(nulls);
        let mut rows = tx.load_or_insert(&placeholders.iter().collect::<Vec<_>>()).await.unwrap();
        rows.sort_by(|a, b| a.id.cmp(&b.id));
        assert_eq!(rows, [nulls("a"), known.clone(), nulls("c")]);
        assert_eq!(faults.counted(), [Operation::Begin, Operation::Statement]);
        tx.commit().await.unwrap();
        let mut tx = db.read().await.unwrap();
        let stored: Vec<Specimen> = tx.load("id", &keys(&["a", "b", "c"]), Lock::None).await.unwrap();
        assert_eq!(stored, [nulls("a"), known, nulls("c")]);
    });
}

#[test]
fn rows_of_several_tables_are_written_in_one_statement_or_none_of_them() {
    record! {
        /// A row that refers to another.
        struct Note in "notes" {
            /// The key.
            pub id: String,
            /// What it is about.
            pub about: String,
        }
    }
    on_each_engine!(async |db: Db| {
        with_table(&db).await;
        let mut tx = db.write().await.unwrap();
        tx.batch("CREATE TABLE notes (id TEXT PRIMARY KEY, about TEXT NOT NULL REFERENCES specimens (id))")
            .await
            .unwrap();
        tx.insert(&[&specimen("a")]).await.unwrap();
        tx.commit().await.unwrap();
        let note = |id: &str, about: &str| Note { id: id.to_owned(), about: about.to_owned() };

        let faults = Arc::new(Faults::default());
        let mut tx = db.clone().with_faults(Arc::clone(&faults)).write().await.unwrap();
        let (changed, new) = (Specimen { amount: 5, ..specimen("a") }, specimen("b"));
        // One refers to a row that the same statement inserts.
        let (old, young) = (note("n1", "a"), note("n2", "b"));
        let writes = tx.writes().upsert(&[&changed, &new]).insert(&[&old, &young, &young]);
        tx.write(writes).await.unwrap();
        assert_eq!(faults.counted(), [Operation::Begin, Operation::Statement]);
        tx.commit().await.unwrap();

        let mut tx = db.write().await.unwrap();
        let (row, stray) = (specimen("c"), note("n3", "nowhere"));
        let writes = tx.writes().upsert(&[&row]).insert(&[&stray]);
        assert_eq!(tx.write(writes).await.unwrap_err().class(), "database_constraint");
        drop(tx);

        let mut tx = db.read().await.unwrap();
        let rows: Vec<Specimen> = tx.load("id", &keys(&["a", "b", "c"]), Lock::None).await.unwrap();
        assert_eq!(rows, [changed, new]);
        let notes: Vec<Note> = tx.load("id", &keys(&["n1", "n2", "n3"]), Lock::None).await.unwrap();
        assert_eq!(notes, [old, young]);
    });
}

#[test]
fn what_does_not_fit_into_one_statement_is_written_by_several() {
    on_each_engine!(async |db: Db| {
        with_table(&db).await;
        let large = Bytes::from(vec![7; 24 << 20]);
        let row = |n| Specimen { payload: large.clone(), ..nulls(&format!("spe_{n}")) };
        let rows: Vec<_> = (0..5).map(row).collect();
        let faults = Arc::new(Faults::default());
        let mut tx = db.with_faults(Arc::clone(&faults)).write().await.unwrap();
        let inserted = insert(&mut tx, &rows).await.unwrap();
        assert_eq!(inserted, ["spe_0", "spe_1", "spe_2", "spe_3", "spe_4"]);
        assert_eq!(faults.counted().len(), 1 + 3); // two, two and one of them
    });
}

#[test]
fn a_value_that_does_not_fit_its_type_is_named_by_table_and_column() {
    on_each_engine!(async |db: Db| {
        with_table(&db).await;
        let mut tx = db.write().await.unwrap();
        tx.insert(&[&specimen("a")]).await.unwrap();
        tx.sql("UPDATE specimens SET inferred = '{\"secret\": 1}'").run().await.unwrap();
        let failure = tx.load::<Specimen>("id", &keys(&["a"]), Lock::None).await.unwrap_err();
        assert_eq!(failure, DbError::Inconsistent { table: "specimens", column: "inferred".to_owned() });
        assert_eq!(
            failure.to_string(),
            "the database holds a value in inferred of specimens that does not fit its type"
        );
    });
}

#[test]
fn two_records_may_be_of_one_table() {
    record! {
        /// Part of a row.
        pub(super) struct Glimpse in "specimens" {
            /// The key.
            pub id: String,
            /// A number.
            pub amount: i64,
        }
    }
    on_each_engine!(async |db: Db| {
        with_table(&db).await;
        let mut tx = db.write().await.unwrap();
        tx.insert(&[&specimen("a")]).await.unwrap();
        let glimpses: Vec<Glimpse> = tx.load("id", &keys(&["a"]), Lock::None).await.unwrap();
        assert_eq!(glimpses, [Glimpse { id: "a".to_owned(), amount: 2900 }]);
        let whole: Vec<Specimen> = tx.load("id", &keys(&["a"]), Lock::None).await.unwrap();
        assert_eq!(whole, [specimen("a")]);
    });
}

/// As the write path asks, and as the planner answers for a table that is still small.
#[test]
fn a_load_goes_by_an_index() {
    on_each_engine!(async |db: Db| {
        with_table(&db).await;
        let mut tx = db.inbox().await.unwrap();
        if tx.engine() == Engine::Postgres {
            let sql = "EXPLAIN SELECT id FROM specimens WHERE id = ANY (ARRAY['a', 'b']) ORDER BY id FOR UPDATE";
            let plan: Vec<(String,)> = tx.sql(sql).all().await.unwrap();
            assert!(plan.iter().any(|(line,)| line.contains("specimens_pkey")), "{plan:?}");
        } else {
            let sql = "EXPLAIN QUERY PLAN SELECT id FROM specimens
                       WHERE nick IN (SELECT value FROM json_each('[\"a\"]')) ORDER BY id";
            let plan: Vec<(i64, i64, i64, String)> = tx.sql(sql).all().await.unwrap();
            assert!(plan.iter().any(|step| step.3.starts_with("SEARCH specimens USING INDEX")), "{plan:?}");
        }
    });
}

#[test]
fn a_record_knows_its_columns() {
    let names: Vec<_> = Specimen::COLUMNS.iter().map(|column| (column.name, column.nullable)).collect();
    assert_eq!(names[..4], [("id", false), ("type", true), ("nick", true), ("amount", false)]);
    assert_eq!((Specimen::TABLE, Specimen::key_column()), ("specimens", "id"));
}
