//! The committed corpora of the fuzz targets, each file through the very function that the target calls.

#![allow(clippy::unwrap_used, reason = "a test, its own functions included, may panic")]

#[path = "../../../fuzz/checks/journal_recovery.rs"]
mod journal_recovery;

use std::fs;
use std::path::Path;

/// The files of one target's corpus; there have to be some.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let inputs: Vec<_> = files.map(|file| fs::read(file.unwrap().path()).unwrap()).collect();
    assert!(!inputs.is_empty(), "{} is empty", folder.display());
    inputs
}

#[test]
fn journal_recovery_holds_for_its_corpus() {
    for input in corpus("journal_recovery") {
        journal_recovery::check(&input);
    }
}
