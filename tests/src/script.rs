//! A running program in another language that prints a JSON value a line.

use std::process::Stdio;

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use crate::engines::temporary_folder;
use crate::wait::LONG;

/// Such a program. Dropping it kills it.
#[derive(Debug)]
pub struct Script {
    lines: Lines<BufReader<ChildStdout>>,
    _child: Child,
    /// Below the process, so that it outlives it.
    _folder: TempDir,
}

impl Script {
    /// Starts `command`, with no environment but what it was given.
    pub fn start(mut command: Command) -> Self {
        // Whatever it leaves behind goes with this folder.
        let folder = temporary_folder();
        let mut child = command
            .envs(["HOME", "TMPDIR"].map(|name| (name, folder.path())))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("could not start {:?}: {error}", command.as_std()));
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
