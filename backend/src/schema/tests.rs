//! What the compiler cannot check: both schemas match, every record is of its table, every statement can be prepared.

use std::collections::{BTreeMap, BTreeSet};

use tollgate_db::testing::{Database, block_on};
use tollgate_db::{Db, Engine, Kind};

use super::testing::{migrated, on};
use super::{MIGRATIONS, source};

/// A column as a schema has it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stored {
    kind: Kind,
    nullable: bool,
}

type Schema = BTreeMap<(String, String), Stored>;

async fn postgres_schema(db: &Db) -> Schema {
    let sql = "SELECT table_name::text, column_name::text, data_type::text, is_nullable::text
               FROM information_schema.columns WHERE table_schema = 'public'";
    let columns: Vec<(String, String, String, String)> = db.read().await.unwrap().sql(sql).all().await.unwrap();
    let stored = |(table, column, kind, nullable): (String, String, String, String)| {
        let kind = match kind.as_str() {
            "text" => Kind::Text,
            "bigint" => Kind::Integer,
            "boolean" => Kind::Boolean,
            "timestamp with time zone" => Kind::Time,
            "json" => Kind::Json,
            "bytea" => Kind::Bytes,
            other => panic!("{table}.{column} is {other}, which tollgate-db does not know"),
        };
        ((table, column), Stored { kind, nullable: nullable == "YES" })
    };
    columns.into_iter().map(stored).collect()
}

/// SQLite's storage class, whether null, and whether it is checked to be JSON.
type Loose = (String, bool, bool);

async fn sqlite_schema(db: &Db) -> BTreeMap<(String, String), Loose> {
    let sql = "SELECT t.name, c.name, c.type, c.\"notnull\" = 1 OR c.pk > 0, s.sql
               FROM pragma_table_list AS t
               JOIN pragma_table_info(t.name) AS c
               JOIN sqlite_schema AS s ON s.name = t.name
               WHERE t.schema = 'main' AND t.type = 'table' AND t.name NOT LIKE 'sqlite%'";
    let columns: Vec<(String, String, String, bool, String)> = db.read().await.unwrap().sql(sql).all().await.unwrap();
    let loose = |(table, column, class, not_null, sql): (String, String, String, bool, String)| {
        let is_json = sql.contains(&format!("json_valid({column})"));
        ((table, column), (class, !not_null, is_json))
    };
    columns.into_iter().map(loose).collect()
}

fn loosely(stored: &Stored) -> Loose {
    let class = match stored.kind {
        Kind::Text | Kind::Time | Kind::Json => "TEXT",
        Kind::Integer | Kind::Boolean => "INTEGER",
        Kind::Bytes => "BLOB",
    };
    (class.to_owned(), stored.nullable, stored.kind == Kind::Json)
}

async fn both() -> (Database, Db, Database, Db) {
    let (sqlite, postgres) = (migrated(Engine::Sqlite).await, migrated(Engine::Postgres).await);
    let (on_sqlite, on_postgres) = (sqlite.open(), postgres.open());
    (sqlite, on_sqlite, postgres, on_postgres)
}

#[test]
fn both_engines_have_the_same_versions_by_the_same_names() {
    let names =
        |engine| MIGRATIONS.of(engine).iter().map(|migration| (migration.version, migration.name)).collect::<Vec<_>>();
    assert_eq!(names(Engine::Sqlite), names(Engine::Postgres));
    assert!(names(Engine::Sqlite).len() > 6, "these are the migrations: {MIGRATIONS:?}");
}

#[test]
fn both_engines_have_the_same_tables_and_columns() {
    block_on(async {
        let (_sqlite, on_sqlite, _postgres, on_postgres) = both().await;
        let wanted: BTreeMap<_, _> =
            postgres_schema(&on_postgres).await.iter().map(|(name, stored)| (name.clone(), loosely(stored))).collect();
        assert_eq!(sqlite_schema(&on_sqlite).await, wanted);
        assert!(wanted.len() > 20, "these are the migrations: {wanted:?}");
    });
}

#[test]
fn both_engines_have_the_same_indexes_and_unique_constraints() {
    block_on(async {
        let (_sqlite, on_sqlite, _postgres, on_postgres) = both().await;
        // A constraint's index is known by its columns; its name is the engine's.
        let sql = "SELECT t.relname::text, CASE WHEN k.oid IS NULL THEN i.relname::text ELSE '' END, x.indisunique,
                          (SELECT string_agg(a.attname, ' ' ORDER BY n.place)
                           FROM unnest(x.indkey::int2[]) WITH ORDINALITY AS n (number, place)
                           JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = n.number),
                          x.indpred IS NOT NULL
                   FROM pg_index x
                   JOIN pg_class i ON i.oid = x.indexrelid
                   JOIN pg_class t ON t.oid = x.indrelid
                   LEFT JOIN pg_constraint k ON k.conindid = i.oid AND k.contype IN ('p', 'u')
                   WHERE t.relnamespace = 'public'::regnamespace";
        let on_server: Vec<(String, String, bool, String, bool)> =
            on_postgres.read().await.unwrap().sql(sql).all().await.unwrap();
        let sql = "SELECT t.name, CASE i.origin WHEN 'c' THEN i.name ELSE '' END, i.\"unique\",
                          (SELECT group_concat(n.name, ' ') FROM pragma_index_info(i.name) AS n), i.partial
                   FROM pragma_table_list AS t JOIN pragma_index_list(t.name) AS i
                   WHERE t.schema = 'main' AND t.name NOT LIKE 'sqlite%'";
        let in_file: Vec<(String, String, bool, String, bool)> =
            on_sqlite.read().await.unwrap().sql(sql).all().await.unwrap();
        // The key of a table of numbers is its row's number on SQLite, which needs no index.
        let without_versions = |indexes: Vec<(String, String, bool, String, bool)>| -> BTreeSet<_> {
            indexes.into_iter().filter(|(table, ..)| table != "schema_migrations").collect()
        };
        assert_eq!(without_versions(in_file), without_versions(on_server));
    });
}

#[test]
fn every_table_of_sqlite_is_strict() {
    on(Engine::Sqlite, async |db| {
        let sql = "SELECT name FROM pragma_table_list
                   WHERE schema = 'main' AND type = 'table' AND strict = 0 AND name NOT LIKE 'sqlite%'";
        let lax: Vec<(String,)> = db.read().await.unwrap().sql(sql).all().await.unwrap();
        assert_eq!(lax, []);
    });
}

/// Else its order would not be that of our sets, in which locks are taken.
#[test]
fn every_id_of_postgresql_is_ordered_by_its_bytes() {
    on(Engine::Postgres, async |db| {
        let sql = "SELECT table_name || '.' || column_name FROM information_schema.columns
                   WHERE table_schema = 'public' AND data_type = 'text' AND collation_name IS DISTINCT FROM 'C'
                     AND (column_name = 'id' OR column_name LIKE '%\\_id')
                     AND (table_name, column_name) NOT IN (('customers', 'plan_id'), ('subscriptions', 'plan_id'), ('licenses', 'plan_id'))";
        let otherwise: Vec<(String,)> = db.read().await.unwrap().sql(sql).all().await.unwrap();
        assert_eq!(otherwise, []);
    });
}

#[test]
fn every_record_is_of_its_table() {
    block_on(async {
        let postgres = migrated(Engine::Postgres).await;
        let schema = postgres_schema(&postgres.open()).await;
        let records = source::records();
        assert!(records.len() >= 10, "{} records were found", records.len());
        for record in records {
            for (column, kind, nullable) in &record.columns {
                let stored = schema.get(&(record.table.clone(), column.clone()));
                let wanted = Stored { kind: *kind, nullable: *nullable };
                assert_eq!(stored, Some(&wanted), "{}: {}.{column}", record.place, record.table);
            }
            // Not every record has every column; one that is written has those that may not be null.
        }
    });
}

/// Or a unit of work would write a child before its parent.
#[test]
fn every_foreign_key_is_declared_by_its_record() {
    block_on(async {
        let (_sqlite, on_sqlite, _postgres, on_postgres) = both().await;
        let in_file = "SELECT t.name, k.\"table\" FROM pragma_table_list AS t JOIN pragma_foreign_key_list(t.name) AS k
                       WHERE t.schema = 'main'";
        let on_server = "SELECT conrelid::regclass::text, confrelid::regclass::text FROM pg_constraint
                         WHERE contype = 'f' AND connamespace = 'public'::regnamespace";
        let tables: BTreeSet<_> = source::records().into_iter().map(|record| record.table).collect();
        let declared = source::records().into_iter();
        let declared: BTreeSet<(String, String)> = declared
            .flat_map(|record| record.references.into_iter().map(move |parent| (record.table.clone(), parent)))
            .collect();
        for (db, sql) in [(on_sqlite, in_file), (on_postgres, on_server)] {
            let keys: Vec<(String, String)> = db.read().await.unwrap().sql(sql).all().await.unwrap();
            let of_records = keys.into_iter().filter(|(table, _)| tables.contains(table));
            assert_eq!(of_records.collect::<BTreeSet<_>>(), declared, "{:?}", db.engine());
        }
    });
}

#[test]
fn every_statement_can_be_prepared_on_both_engines() {
    block_on(async {
        let (places, statements): (Vec<_>, Vec<_>) = source::statements().into_iter().unzip();
        assert!(statements.len() >= 15, "{} statements were found", statements.len());
        let mut refused = Vec::new();
        for engine in [Engine::Sqlite, Engine::Postgres] {
            for (index, why) in migrated(engine).await.refused(&statements).await {
                refused.push(format!("{} on {engine:?}: {why}\n{}", places[index], statements[index]));
            }
        }
        assert!(refused.is_empty(), "{}", refused.join("\n\n"));
    });
}

/// Tables that hold a few rows, however long the product is in use.
const SMALL_TABLES: [&str; 2] = ["schema_migrations", "settings"];

#[test]
fn no_statement_reads_a_whole_table_on_either_engine() {
    block_on(async {
        let (places, statements): (Vec<_>, Vec<_>) =
            source::statements().into_iter().filter(|(place, _)| !is_test(place)).unzip();
        assert!(statements.len() >= 15, "{} statements were found", statements.len());
        let mut slow = Vec::new();
        for engine in [Engine::Sqlite, Engine::Postgres] {
            for (index, step) in migrated(engine).await.slow(&statements, &SMALL_TABLES).await {
                slow.push(format!("{} on {engine:?}: {step}\n{}", places[index], statements[index]));
            }
        }
        assert!(slow.is_empty(), "{}", slow.join("\n\n"));
    });
}

fn is_test(place: &str) -> bool {
    place.contains("tests") || place.contains("testing")
}
