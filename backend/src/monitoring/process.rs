//! What the operating system knows of this process, under the names that Prometheus's own clients use.

use std::fs;
use std::io;

use super::exposition::Exposition;

/// Clock ticks in a second: what Linux has reported times in on every architecture for as long as there is `/proc`.
const TICKS_A_SECOND: f64 = 100.0;

/// Adds the process's numbers; nothing where there is no `/proc`.
pub fn expose(exposition: &mut Exposition) {
    // A system without `/proc` has none of them, and no scrape fails for that.
    let _ = try_expose(exposition);
}

fn try_expose(exposition: &mut Exposition) -> io::Result<()> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let status = fs::read_to_string("/proc/self/status")?;
    let descriptors = fs::read_dir("/proc/self/fd")?.count();
    if let Some(seconds) = cpu_seconds(&stat) {
        let help = "Processor time that the process has used";
        exposition.counter("process_cpu_seconds_total", help, [(String::new(), seconds)]);
    }
    if let Some(bytes) = resident_bytes(&status) {
        exposition.gauge("process_resident_memory_bytes", "Memory that the process occupies", bytes);
    }
    exposition.gauge("process_open_fds", "Open file descriptors", descriptors as f64);
    if let Some(most) = descriptors_max() {
        exposition.gauge("process_max_fds", "File descriptors that the process may have open", most as f64);
    }
    Ok(())
}

/// How many file descriptors the process may have open; none where there is no `/proc`.
pub fn descriptors_max() -> Option<usize> {
    soft_limit(&fs::read_to_string("/proc/self/limits").ok()?)
}

/// User and system time: the 14th and 15th field. The second one is the program's name, which may hold anything.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, after_the_name) = stat.rsplit_once(')')?;
    let mut fields = after_the_name.split_whitespace().skip(11);
    let ticks = fields.next()?.parse::<f64>().ok()? + fields.next()?.parse::<f64>().ok()?;
    Some(ticks / TICKS_A_SECOND)
}

fn resident_bytes(status: &str) -> Option<f64> {
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.trim().strip_suffix("kB")?;
    Some(kib.trim().parse::<f64>().ok()? * 1024.0)
}

fn soft_limit(limits: &str) -> Option<usize> {
    let soft = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?.split_whitespace().next()?;
    soft.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_from_what_the_kernel_writes() {
        let stat = "1 (a) name) S 0 1 1 0 -1 4194560 9 0 0 0 150 50 0 0 20 0 4 0 12 1 2 3";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!(resident_bytes("Name:\tx\nVmRSS:\t    2048 kB\n"), Some(2_097_152.0));
        let limits = "Max open files            1024                 1048576              files     \n";
        assert_eq!(soft_limit(limits), Some(1024));
    }
}
