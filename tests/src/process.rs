//! Child processes: found, started with exactly the environment they are given, killed, ended in order.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tollgate_shared::Rng;

use crate::wait::wait_for;

/// The path of one of our own binaries, beside the running test in its target folder.
///
/// Panics with what to run when it is not there.
pub fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a running test has a path");
    let folders = test.ancestors().skip(1).take(2);
    folders.map(|folder| folder.join(name)).find(|path| path.is_file()).unwrap_or_else(|| {
        panic!("{name} is not beside {}: run `cargo build -p tollgate-relay -p tollgate-backend` first", test.display())
    })
}

/// The path of a program of somebody else, which `package` of Debian brings.
///
/// Panics with what to install when it is not there.
pub fn on_path(name: &str, package: &str) -> PathBuf {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&folders).map(|folder| folder.join(name)).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("`{name}` is not in PATH: install it (Debian: `apt-get install {package}`)"))
}

/// A running child. Dropping it kills it; nothing else is ever touched.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

/// What a process is started with.
#[derive(Clone, Debug)]
pub struct Program {
    /// For messages and the log's file name.
    pub name: String,
    /// The binary.
    pub path: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// All of its environment: nothing is inherited.
    pub environment: Vec<(String, String)>,
    /// Where it works: no `.env` of anyone else is there.
    pub folder: PathBuf,
    /// Standard output and error are appended here.
    pub log: PathBuf,
}

impl Program {
    /// Starts it.
    pub fn start(&self) -> Process {
        let log = File::options().create(true).append(true).open(&self.log).expect("a log file can be opened");
        let other = log.try_clone().expect("a descriptor can be duplicated");
        let child = self.command().stdin(Stdio::null()).stdout(log).stderr(other).spawn();
        let child = child.unwrap_or_else(|error| panic!("could not start {}: {error}", self.path.display()));
        Process { name: self.name.clone(), child, log: self.log.clone() }
    }

    /// Runs it to its end and returns what it printed.
    pub fn run(&self) -> Output {
        let output = self.command().stdin(Stdio::null()).output();
        output.unwrap_or_else(|error| panic!("could not run {}: {error}", self.path.display()))
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.args(&self.arguments).env_clear().envs(self.environment.iter().cloned()).current_dir(&self.folder);
        command
    }
}

impl Process {
    /// `kill -9`, and gone when this returns.
    pub fn kill(&mut self) {
        // An error means that it had ended on its own, which is what we want.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap_or_else(|error| panic!("could not signal {}: {error}", self.name));
    }

    /// What sends `kill -9` to it, at whatever moment that is called.
    pub fn killer(&self) -> impl FnOnce() + Send + 'static {
        let pid = self.pid();
        // An error means that it had ended on its own, which is what we want.
        move || {
            let _ = kill_process(pid, Signal::KILL);
        }
    }

    /// SIGTERM, then the exit status, which has to come within `limit`.
    pub async fn terminate(&mut self, limit: Duration) -> ExitStatus {
        self.signal(Signal::TERM);
        self.exited(limit).await
    }

    /// The exit status of a process that ends by itself within `limit`.
    pub async fn exited(&mut self, limit: Duration) -> ExitStatus {
        let what = format!("{} ends", self.name);
        wait_for(&what, limit, async || self.status()).await
    }

    /// The exit status, if it has ended.
    pub fn status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child of ours can be waited for")
    }

    /// Everything it has printed so far, over all its lives.
    pub fn log(&self) -> String {
        read(&self.log)
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The same, as system calls take it.
    pub fn pid(&self) -> Pid {
        i32::try_from(self.id()).ok().and_then(Pid::from_raw).expect("a process id is a positive i32")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
}

/// Listening ports for tests: below the range that the kernel gives to outgoing connections, so that no client takes
/// one (or connects to itself) while its process is down.
const PORTS: std::ops::Range<u16> = 12_000..32_000;

/// A loopback address that nobody listens on, and that is given to nobody else who asks here while this process lives:
/// the UDP port of the same number, which is of no use to anybody, is held as a sign.
pub fn free_address() -> SocketAddr {
    static HELD: Mutex<Vec<UdpSocket>> = Mutex::new(Vec::new());
    let rng = Rng::system();
    loop {
        let port = PORTS.start + u16::from_le_bytes(rng.bytes()) % (PORTS.end - PORTS.start);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let Ok(sign) = UdpSocket::bind(address) else { continue };
        if TcpListener::bind(address).is_ok() {
            HELD.lock().unwrap_or_else(PoisonError::into_inner).push(sign);
            return address;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_address_is_given_out_twice() {
        // Of so many drawn at random, two are the same nearly always.
        let addresses: BTreeSet<_> = (0..500).map(|_| free_address()).collect();
        assert_eq!(addresses.len(), 500);
    }
}
