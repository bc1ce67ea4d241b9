//! A database that the first release filled is brought to the newest version, and holds what it held.
//!
//! `first_release.json` is what that release stored of the events of two customers, and what it answered about them.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tollgate_db::testing::{Database, block_on};
use tollgate_db::{Db, Engine, Migrations};

use super::MIGRATIONS;
use crate::testing::TestApp;

/// The newest version of the first release.
const FIRST_RELEASE: i64 = 7;

/// Columns of bytes, which the file holds as hexadecimal digits.
const BYTES: [&str; 2] = ["payload", "sealed"];

fn first_release() -> &'static Migrations {
    let known = MIGRATIONS.sqlite.iter().take_while(|migration| migration.version <= FIRST_RELEASE).count();
    Box::leak(Box::new(Migrations { sqlite: &MIGRATIONS.sqlite[..known], postgres: &MIGRATIONS.postgres[..known] }))
}

fn stored() -> Value {
    serde_json::from_str(include_str!("first_release.json")).unwrap()
}

fn literal(engine: Engine, column: &str, value: &Value) -> String {
    match (value, engine) {
        (Value::String(digits), Engine::Sqlite) if BYTES.contains(&column) => format!("x'{digits}'"),
        (Value::String(digits), Engine::Postgres) if BYTES.contains(&column) => format!("'\\x{digits}'"),
        (Value::String(text), _) => format!("'{}'", text.replace('\'', "''")),
        (Value::Null, _) => "NULL".to_owned(),
        (value, _) => value.to_string().to_uppercase(),
    }
}

/// Stores the rows, table by table, those of licences before those of their events.
async fn fill(db: &Db) {
    let stored = stored();
    let mut tables: Vec<_> = stored["tables"].as_object().unwrap().iter().collect();
    tables.sort_by_key(|(table, _)| *table == "license_events");
    let mut tx = db.write().await.unwrap();
    for (table, rows) in tables {
        for row in rows.as_array().unwrap() {
            let (columns, values): (Vec<_>, Vec<_>) = row
                .as_object()
                .unwrap()
                .iter()
                .map(|(column, value)| (column.as_str(), literal(db.engine(), column, value)))
                .unzip();
            let sql = format!("INSERT INTO {table} ({}) VALUES ({})", columns.join(", "), values.join(", "));
            tx.sql(sql.leak()).run().await.unwrap();
        }
    }
    tx.commit().await.unwrap();
}

/// Every row of every table, in the columns that the first release had.
async fn held(db: &Db) -> BTreeMap<String, Vec<String>> {
    let mut held = BTreeMap::new();
    for (table, rows) in stored()["tables"].as_object().unwrap() {
        let columns: Vec<_> = rows[0].as_object().unwrap().keys().collect();
        let texts = columns.iter().map(|column| match db.engine() {
            Engine::Sqlite if BYTES.contains(&column.as_str()) => format!("coalesce(hex({column}), '-')"),
            _ => format!("coalesce(CAST({column} AS TEXT), '-')"),
        });
        // What was only ever named is a payment no more.
        let kept = if table == "payments" { "WHERE seen_at IS NOT NULL" } else { "" };
        let texts = texts.collect::<Vec<_>>().join(" || ' | ' || ");
        let sql = format!("SELECT {texts} FROM {table} {kept} ORDER BY 1");
        let rows: Vec<(String,)> = db.read().await.unwrap().sql(sql.leak()).all().await.unwrap();
        held.insert(table.clone(), rows.into_iter().map(|(row,)| row).collect());
    }
    held
}

/// Whether `newer` says all that `older` said.
fn says_all_of(newer: &Value, older: &Value) -> bool {
    match (newer, older) {
        (Value::Object(newer), Value::Object(older)) => {
            older.iter().all(|(name, older)| newer.get(name).is_some_and(|newer| says_all_of(newer, older)))
        }
        (Value::Array(newer), Value::Array(older)) => {
            newer.len() == older.len() && newer.iter().zip(older).all(|(newer, older)| says_all_of(newer, older))
        }
        (newer, older) => newer == older,
    }
}

#[test]
fn what_the_first_release_stored_is_there_after_an_upgrade() {
    block_on(async {
        for engine in [Engine::Sqlite, Engine::Postgres] {
            let database = Database::empty(engine, first_release()).await;
            let old = database.open();
            old.migrate().await.unwrap();
            fill(&old).await;
            let before = held(&old).await;
            assert!(before.values().all(|rows| !rows.is_empty()), "{before:?}");
            old.close().await;

            let db = Db::open(old.url(), &MIGRATIONS).unwrap();
            db.migrate().await.unwrap();
            let after = held(&db).await;
            for (table, rows) in &before {
                assert_eq!(after[table], *rows, "{table} on {engine:?}");
            }

            let app = TestApp::on(db.clone()).await;
            for (id, answered) in stored()["answers"].as_object().unwrap() {
                let response = app.get(&format!("/v1/customers/{id}")).await.json();
                assert!(says_all_of(&response, answered), "{response:#} is not {answered:#}");
            }
            let taken = app.get("/v1/webhook-events?limit=100").await.json();
            assert_eq!(taken["data"].as_array().unwrap().len(), before["webhook_events"].len());
            // What comes next goes on from there.
            let renamed = json!({ "id": "cus_ada", "object": "customer", "email": "countess@example.com" });
            app.take("evt_new", "customer.updated", renamed).await;
            let response = app.get("/v1/customers/cus_ada").await.json();
            assert_eq!((&response["email"], &response["tier"]), (&"countess@example.com".into(), &"pro".into()));
            db.close().await;
        }
    });
}
