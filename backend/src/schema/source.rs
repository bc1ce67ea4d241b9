//! Our own source, read for its SQL: as text, since no macro sees all of it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use tollgate_db::Kind;

/// A use of [`record!`](tollgate_db::record).
pub(super) struct Declared {
    /// Its file.
    pub(super) place: String,
    /// Its table.
    pub(super) table: String,
    /// The tables that its foreign keys reference, as it says.
    pub(super) references: BTreeSet<String>,
    /// Name, kind, whether null.
    pub(super) columns: Vec<(String, Kind, bool)>,
}

/// Each statement given to `.sql("…")`, with its place.
pub(crate) fn statements() -> Vec<(String, String)> {
    files().iter().flat_map(|(place, text)| statements_in(place, text)).collect()
}

/// Each `record!`.
pub(super) fn records() -> Vec<Declared> {
    files().iter().flat_map(|(place, text)| records_in(place, text)).collect()
}

/// What is left out: the tests of data access itself, whose tables are their own, and what reads it.
const NOT_READ: [&str; 3] = ["db/src/tests", "src/schema", "target"];

/// Every file of the backend's crates.
fn files() -> Vec<(String, String)> {
    let root = backend();
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            let place = path.strip_prefix(&root).unwrap().display().to_string();
            if NOT_READ.contains(&&*place) {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push((place, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found
}

/// The folder of the backend's crates.
fn backend() -> PathBuf {
    let mut folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    folders.find(|folder| folder.join("migrations").is_dir()).expect("the migrations are in it").to_owned()
}

fn statements_in(place: &str, text: &str) -> Vec<(String, String)> {
    let code = without_comments(text);
    let mut found = Vec::new();
    for (at, _) in code.match_indices(".sql(") {
        let argument = code[at + ".sql(".len()..].trim_start();
        if let Some(sql) = literal(argument) {
            let line = code[..at].matches('\n').count() + 1;
            found.push((format!("{place}:{line}"), sql));
        }
    }
    found
}

/// The same lines, with those that are comments empty.
fn without_comments(text: &str) -> String {
    text.lines().map(|line| if line.trim_start().starts_with("//") { "" } else { line }).collect::<Vec<_>>().join("\n")
}

/// The string literal that `text` begins with, if it does.
fn literal(text: &str) -> Option<String> {
    if let Some(raw) = text.strip_prefix('r') {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        let (body, _) = raw[hashes..].strip_prefix('"')?.split_once(&format!("\"{}", "#".repeat(hashes)))?;
        return Some(body.to_owned());
    }
    let mut letters = text.strip_prefix('"')?.chars();
    let mut body = String::new();
    loop {
        match letters.next()? {
            '"' => return Some(body),
            '\\' => match letters.next()? {
                'n' => body.push('\n'),
                // A line that goes on in the next.
                '\n' => {
                    let rest = letters.as_str().trim_start();
                    letters = rest.chars();
                }
                letter => body.push(letter),
            },
            letter => body.push(letter),
        }
    }
}

fn records_in(place: &str, text: &str) -> Vec<Declared> {
    let code = without_comments(text);
    let declared = |body: &str| {
        let (head, fields) = body.split_once('{')?;
        let mut tables = head.split('"').skip(1).step_by(2).map(str::to_owned);
        let table = tables.next()?;
        let fields = fields.split_once('}')?.0;
        let columns = fields.lines().filter_map(|line| {
            let (name, kind) = line.trim().strip_prefix("pub ")?.trim_end_matches(',').split_once(": ")?;
            let (kind, nullable) = match kind.strip_prefix("Option<") {
                Some(inner) => (inner.strip_suffix('>')?, true),
                None => (kind, false),
            };
            let kind = match kind {
                "String" => Kind::Text,
                "i64" => Kind::Integer,
                "bool" => Kind::Boolean,
                "Timestamp" => Kind::Time,
                "Bytes" | "bytes::Bytes" => Kind::Bytes,
                _ if kind.starts_with("Json<") => Kind::Json,
                other => panic!("{place}: a column of the type {other}"),
            };
            Some((name.trim_start_matches("r#").to_owned(), kind, nullable))
        });
        Some(Declared { place: place.to_owned(), table, references: tables.collect(), columns: columns.collect() })
    };
    code.split("record! {\n").skip(1).filter_map(declared).collect()
}

#[test]
fn a_statement_is_found_whatever_its_literal_looks_like() {
    let code = concat!(
        "tx.sql(\"SELECT \\\"a\\\"\")\n// tx.sql(\"no\")\ntx\n  .sql(\n    \"SELECT 1\n     FROM t\",\n  )\n",
        "tx.sql(r#\"SELECT \"b\"\"#) tx.sql(\"x \\\n   y\") tx.sql(sql)",
    );
    let found: Vec<_> = statements_in("f.rs", code).into_iter().map(|(_, sql)| sql).collect();
    assert_eq!(found, ["SELECT \"a\"", "SELECT 1\n     FROM t", "SELECT \"b\"", "x y"]);
}

#[test]
fn a_record_is_found_with_its_columns() {
    let code = "record! {\n    /// doc\n    pub struct X in \"xs\" references \"ys\", \"zs\" {\n        /// doc\n        pub id: String,\n        pub r#type: Option<Json<Vec<u8>>>,\n    }\n}\n";
    let found = records_in("f.rs", code);
    assert_eq!(found[0].table, "xs");
    assert_eq!(found[0].references, ["ys".to_owned(), "zs".to_owned()].into());
    assert_eq!(found[0].columns, [("id".to_owned(), Kind::Text, false), ("type".to_owned(), Kind::Json, true)]);
}
