//! Embeds the migrations: every file of `migrations/<engine>/NNNN_what_for.sql`, in the order of its numbers.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    // A file that is added would not be noticed otherwise.
    println!("cargo::rerun-if-changed=migrations");
    let folder = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("migrations");
    let mut code = String::from("Migrations {\n");
    for engine in ["sqlite", "postgres"] {
        writeln!(code, "    {engine}: &[{}],", migrations(&folder.join(engine))).expect("a text takes everything");
    }
    code.push('}');
    let to = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it")).join("migrations.rs");
    fs::write(to, code).expect("cargo's folder can be written to");
}

fn migrations(folder: &Path) -> String {
    let files = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<_> = files.map(|file| file.expect("a folder can be read").path()).collect();
    files.sort();
    files.iter().map(|file| migration(file)).collect()
}

fn migration(file: &Path) -> String {
    println!("cargo::rerun-if-changed={}", file.display());
    let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let Some((version, name)) = stem.split_once('_') else { panic!("{}: not NNNN_what_for.sql", file.display()) };
    let version: i64 = version.parse().unwrap_or_else(|_| panic!("{}: begins with no number", file.display()));
    let name = name.replace('_', " ");
    let file = file.to_str().unwrap_or_else(|| panic!("{}: a name that is no text", file.display()));
    format!("\n        Migration {{ version: {version}, name: {name:?}, sql: include_str!({file:?}) }},")
}
