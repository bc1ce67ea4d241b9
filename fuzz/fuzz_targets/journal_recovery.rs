//! `cargo +nightly fuzz run journal_recovery`
#![no_main]

#[path = "../checks/journal_recovery.rs"]
mod journal_recovery;

libfuzzer_sys::fuzz_target!(|data: &[u8]| journal_recovery::check(data));
