//! What a process has cost and holds, from `/proc`.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use sqlx::{Connection, PgConnection};

/// How long a tick of `/proc/<pid>/stat` is: a hundredth of a second in every build of Linux (`USER_HZ`).
const TICK: Duration = Duration::from_millis(10);

/// User and system time of a process so far, with that of children that have ended and were waited for.
pub(crate) fn of_process(pid: u32) -> Result<Duration> {
    let times = fields(pid)?;
    let ticks: u64 = times.cpu_ticks.iter().sum();
    Ok(TICK * u32::try_from(ticks).context("more CPU time than a year holds")?)
}

/// Resident memory of a process, in bytes.
pub(crate) fn resident_bytes(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS in /proc")?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().context("VmRSS is no number")?;
    Ok(kib * 1024)
}

/// How many files and sockets a process has open.
pub(crate) fn descriptors(pid: u32) -> Result<usize> {
    Ok(fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}

/// How many it may have open, and how many it could allow itself.
pub(crate) fn descriptor_limits(pid: u32) -> Result<(u64, u64)> {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits"))?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).context("no limit of open files")?;
    let mut columns = line.split_whitespace().map(|column| column.parse().unwrap_or(u64::MAX));
    columns.next().zip(columns.next()).context("not two limits of open files")
}

/// A PostgreSQL server, found by the process that serves one of its connections.
pub(crate) struct PostgresServer {
    postmaster: u32,
    /// Held open: the process that serves it is how the server was found.
    _connection: PgConnection,
}

impl PostgresServer {
    /// The server behind `url`, on this machine.
    pub(crate) async fn find(url: &str) -> Result<Self> {
        let mut connection = PgConnection::connect(url).await?;
        let pid: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut connection).await?;
        let postmaster = fields(u32::try_from(pid)?)?.parent;
        Ok(Self { postmaster, _connection: connection })
    }

    /// User and system time of all of its processes so far.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        let mut all = of_process(self.postmaster)?;
        for entry in fs::read_dir("/proc")? {
            let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            // A process may end between the listing and the reading; its time is then its parent's.
            if fields(pid).is_ok_and(|fields| fields.parent == self.postmaster) {
                all += of_process(pid).unwrap_or_default();
            }
        }
        Ok(all)
    }
}

struct Fields {
    parent: u32,
    /// User, system, and both of children that have ended.
    cpu_ticks: [u64; 4],
}

fn fields(pid: u32) -> Result<Fields> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).with_context(|| format!("process {pid} is gone"))?;
    parse(&stat).context("/proc/<pid>/stat is not as proc(5) says")
}

fn parse(stat: &str) -> Option<Fields> {
    // The second field is the program's name in brackets, which may hold anything.
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks = |index: usize| fields.get(index)?.parse().ok();
    Some(Fields { parent: fields.get(1)?.parse().ok()?, cpu_ticks: [ticks(11)?, ticks(12)?, ticks(13)?, ticks(14)?] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_blanks_does_not_shift_the_fields() {
        let stat = "12 (a) b (c) S 7 12 12 0 -1 4194304 100 0 0 0 31 32 33 34 20 0 1 0 1 1 1";
        let fields = parse(stat).unwrap();
        assert_eq!((fields.parent, fields.cpu_ticks), (7, [31, 32, 33, 34]));
    }

    #[test]
    fn this_process_holds_memory() {
        assert!(resident_bytes(std::process::id()).unwrap() > 0);
    }
}
