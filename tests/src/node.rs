//! Programs in JavaScript, run by Node with the packages of `tests/node`. Where something of that is not installed, tests
//! fail with what to install.

use std::path::{Path, PathBuf};

use tokio::process::Command;

use crate::process::on_path;
use crate::script::Script;

/// The folder of the programs and of their packages.
pub fn programs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("node")
}

/// Starts `program`, in its own folder.
pub fn start(program: &Path, arguments: &[&str]) -> Script {
    let mut command = Command::new(on_path("node", "nodejs"));
    command
        .arg(program)
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("CHROMIUM", on_path("chromium", "chromium"))
        .current_dir(program.parent().expect("a program is in a folder"));
    Script::start(command)
}

/// Where to put pictures of what is looked at, for whoever wants to see them.
pub fn pictures() -> Option<String> {
    std::env::var("TOLLGATE_PICTURES").ok()
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
