//! Programs in JavaScript, run by Node with the packages of `tests/node`. Where something of that is not installed, tests
//! fail with what to install.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use crate::engines::temporary_folder;
use crate::process::on_path;
use crate::wait::LONG;

/// The folder of the programs and of their packages.
pub fn programs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("node")
}

/// A running program that prints a JSON value a line. Dropping it kills it.
#[derive(Debug)]
pub struct Node {
    lines: Lines<BufReader<ChildStdout>>,
    _child: Child,
    /// Below the process, so that it outlives it.
    _folder: TempDir,
}

impl Node {
    /// Starts `program`, in its own folder.
    pub fn start(program: &Path, arguments: &[&str]) -> Self {
        // Whatever a browser leaves behind goes with this folder.
        let folder = temporary_folder();
        let mut child = Command::new(on_path("node", "nodejs"))
            .arg(program)
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("CHROMIUM", on_path("chromium", "chromium"))
            .envs(["HOME", "TMPDIR"].map(|name| (name, folder.path())))
            .current_dir(program.parent().expect("a program is in a folder"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("could not start {}: {error}", program.display()));
        let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        Self { lines, _child: child, _folder: folder }
    }

    /// What it prints next; none at its end.
    pub async fn next(&mut self) -> Option<Value> {
        let line = self.lines.next_line().await.expect("what it prints is text")?;
        Some(serde_json::from_str(&line).unwrap_or_else(|_| panic!("it printed no JSON: {line}")))
    }

    /// Reads what it prints until that `holds`.
    pub async fn next_where(&mut self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let mut seen = Vec::new();
        let found = timeout(LONG, async {
            loop {
                let said = self.next().await.unwrap_or_else(|| panic!("it ended before this: {what}"));
                if holds(&said) {
                    return said;
                }
                seen.push(said);
            }
        });
        let found = found.await.ok();
        found.unwrap_or_else(|| panic!("it never said this: {what}, but {seen:?}"))
    }
}

/// Makes the packages of `tests/node` known to programs in `folder`.
pub fn lend_packages(folder: &Path) {
    std::os::unix::fs::symlink(packages(), folder.join("node_modules")).expect("a link can be made");
}

/// The packages, which `npm ci` puts there.
pub fn packages() -> PathBuf {
    let packages = programs().join("node_modules");
    assert!(packages.is_dir(), "the packages of `tests/node` are not there: run `npm ci --prefix tests/node`");
    packages
}
