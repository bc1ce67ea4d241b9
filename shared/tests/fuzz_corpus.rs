//! The committed corpora of the fuzz targets, each file through the very function that the target calls.

#![allow(clippy::unwrap_used, reason = "a test, its own functions included, may panic")]

#[path = "../../fuzz/checks/signature_header.rs"]
mod signature_header;

use std::fs;
use std::path::Path;

use proptest::prelude::*;

#[test]
fn signatures_are_judged_rightly_over_the_corpus() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/signature_header");
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let inputs: Vec<_> = files.map(|file| fs::read(file.unwrap().path()).unwrap()).collect();
    assert!(!inputs.is_empty(), "{} is empty", folder.display());
    for input in inputs {
        signature_header::check(&input);
    }
}

proptest! {
    #[test]
    fn signatures_are_judged_rightly_over_any_bytes(input: Vec<u8>) {
        signature_header::check(&input);
    }
}
