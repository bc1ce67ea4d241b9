//! Programs in Python, run with the packages of `tests/python`. Where they are not installed, tests fail with how to do it.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use tokio::process::Command;
use tokio::time::timeout;

use crate::script::Script;
use crate::wait::LONG;

/// Runs a program of `tests/python` to its end, and gives the JSON that it prints.
pub async fn run(program: &str, arguments: &[&str]) -> Value {
    let child = command(program, arguments).stdin(Stdio::null()).kill_on_drop(true).output();
    let output = timeout(LONG, child).await.unwrap_or_else(|_| panic!("{program} did not end"));
    let output = output.unwrap_or_else(|error| panic!("could not start {program}: {error}"));
    let complaints = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{program} printed no JSON: {complaints}"))
}

/// Starts a program of `tests/python` that runs until it is dropped.
pub fn start(program: &str, arguments: &[&str]) -> Script {
    Script::start(command(program, arguments))
}

fn command(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(installed("python"));
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("python").join(program)).args(arguments).env_clear();
    command
}

/// A program of the virtual environment, in the folder of what is built.
pub fn installed(program: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a running test has a path");
    let found = test.ancestors().map(|folder| folder.join("python/bin").join(program)).find(|path| path.is_file());
    found.unwrap_or_else(|| {
        panic!(
            "the packages of `tests/python` are not there: run `python3 -m venv target/python` and \
             `target/python/bin/pip install -r tests/python/requirements.txt`"
        )
    })
}
