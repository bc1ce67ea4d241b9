//! One of the two tiers: started, looked at, stopped or killed, and started again.

use std::fs;
use std::mem;
use std::net::SocketAddr;
use std::process::{ExitStatus, Output};
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use rustix::process::{Resource, Rlimit, prlimit};

use super::pair;
use crate::http::Http;
use crate::process::{Process, Program, on_path};
use crate::wait::{SOON, wait_for, wait_until};

/// A clean stop takes at most ten seconds; the rest is for a busy machine.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(20);

/// How many times a process that finds its port taken, by somebody outside of these tests, is started.
const PORT_ATTEMPTS: usize = 5;

/// One of our processes, with what it takes to start it again on the same ports and data.
#[derive(Debug)]
pub struct Tier {
    pub(super) program: Program,
    /// Where it serves.
    pub address: SocketAddr,
    /// Where `/live`, `/ready` and `/metrics` are.
    pub admin: SocketAddr,
    pub(super) process: Option<Process>,
}

impl Tier {
    /// Starts it, unless it runs, and waits until it answers at all.
    pub async fn start(&mut self, http: &Http) {
        for attempt in 1..=PORT_ATTEMPTS {
            if self.process.is_some() {
                return;
            }
            self.process = Some(self.program.start());
            let alive = wait_for(&format!("{} is alive", self.program.name), SOON, async || {
                if let Some(status) = self.process.as_mut().and_then(Process::status) {
                    return Some(Err(status));
                }
                let answer = http.try_send(Method::GET, &self.admin_url("/live"), &[], Bytes::new()).await;
                answer.is_ok_and(|answer| answer.status == 200).then_some(Ok(()))
            })
            .await;
            if let Err(status) = alive {
                self.process = None;
                let log = self.log();
                let taken = log.to_lowercase().contains("in use");
                assert!(taken && attempt < PORT_ATTEMPTS, "{} ended with {status}:\n{log}", self.program.name);
            }
        }
    }

    /// Waits until `/ready` is 200.
    pub async fn ready(&self, http: &Http) {
        let what = format!("{} is ready", self.program.name);
        wait_until(&what, SOON, async || self.is_ready(http).await).await;
    }

    /// Whether `/ready` is 200 at this moment.
    pub async fn is_ready(&self, http: &Http) -> bool {
        let answer = http.try_send(Method::GET, &self.admin_url("/ready"), &[], Bytes::new()).await;
        answer.is_ok_and(|answer| answer.status == 200)
    }

    /// The address of a path where it shows its state.
    pub fn admin_url(&self, path: &str) -> String {
        format!("http://{}{path}", self.admin)
    }

    /// The most memory that it has taken at once.
    pub fn memory_bytes_peak(&self) -> u64 {
        let id = self.process.as_ref().expect("only a running process takes memory").id();
        let status = fs::read_to_string(format!("/proc/{id}/status")).expect("a process has a status");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
        peak.and_then(|kib| kib.parse::<u64>().ok()).expect("the kernel says the peak in kB") << 10
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// What kills it with `kill -9`, at whatever moment that is called: [`Tier::kill`] is still to be called after it.
    pub fn killer(&self) -> impl FnOnce() + Send + 'static {
        self.process.as_ref().expect("only a running process is killed").killer()
    }

    /// SIGTERM, and the exit status.
    pub async fn terminate(&mut self) -> ExitStatus {
        let mut process = self.process.take().expect("only a running process is stopped");
        process.terminate(STOP_TIMEOUT).await
    }

    /// Sends SIGTERM and returns at once; [`Tier::exited`] has the end.
    pub fn ask_to_stop(&self) {
        self.process.as_ref().expect("only a running process is stopped").signal(rustix::process::Signal::TERM);
    }

    /// The exit status of a process that is about to end.
    pub async fn exited(&mut self) -> ExitStatus {
        let mut process = self.process.take().expect("only a running process ends");
        process.exited(STOP_TIMEOUT).await
    }

    /// Stops it where it is, as a paused machine does: connections stay open, nothing is answered.
    pub fn pause(&self) {
        self.process.as_ref().expect("only a running process is paused").signal(rustix::process::Signal::STOP);
    }

    /// Lets it go on after [`Tier::pause`].
    pub fn resume(&self) {
        self.process.as_ref().expect("only a paused process goes on").signal(rustix::process::Signal::CONT);
    }

    /// Lets it live where a disk is full: what cannot be written fails, and ends nothing. Takes effect at the next start.
    pub fn outlives_a_full_disk(&mut self) {
        let binary = mem::replace(&mut self.program.path, on_path("sh", "dash"));
        let binary = binary.to_str().expect("our own paths are UTF-8").to_owned();
        // A program is started with the signals ignored that whoever started it ignores.
        self.program.arguments = ["-c", "trap '' XFSZ; exec \"$0\"", &binary].map(str::to_owned).to_vec();
    }

    /// From now on no file that it writes gets longer than so many bytes, as on a disk that is full; none: there is room.
    pub fn limit_files(&self, bytes_max: Option<u64>) {
        let process = self.process.as_ref().expect("only a running process writes");
        let limit = Rlimit { current: bytes_max, maximum: None };
        prlimit(Some(process.pid()), Resource::Fsize, limit).expect("our own processes are ours to limit");
    }

    /// Changes a variable; takes effect at the next start.
    pub fn set(&mut self, name: &str, value: &str) {
        self.program.environment.retain(|(known, _)| known != name);
        self.program.environment.push(pair(name, value));
    }

    /// Removes a variable; takes effect at the next start.
    pub fn unset(&mut self, name: &str) {
        self.program.environment.retain(|(known, _)| known != name);
    }

    /// Runs the same binary in the same environment with these arguments, to its end.
    pub fn command(&self, arguments: &[&str]) -> Output {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        Program { arguments, ..self.program.clone() }.run()
    }

    /// The program as it is started, to be changed and started beside it.
    pub fn program(&self) -> Program {
        self.program.clone()
    }

    /// What it has logged, over all its lives.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.program.log).unwrap_or_default()).into_owned()
    }
}
