//! Processor time and memory of this process and this machine, from /proc.

use std::fs;

use rustix::process::{Resource, getrlimit};

/// What this process has used so far.
#[derive(Clone, Copy, Default)]
pub(crate) struct ProcessUsage {
    /// User and system, in seconds.
    pub(crate) cpu_seconds: f64,
    /// The largest resident memory, in bytes.
    pub(crate) rss_bytes_max: u64,
}

impl ProcessUsage {
    /// Of this process, now; zeros without /proc.
    pub(crate) fn now() -> ProcessUsage {
        ProcessUsage {
            cpu_seconds: fs::read_to_string("/proc/self/stat")
                .ok()
                .and_then(|stat| cpu_seconds(&stat))
                .unwrap_or(0.0),
            rss_bytes_max: kilobytes("/proc/self/status", "VmHWM:").unwrap_or(0) << 10,
        }
    }
}

/// Memory that is available without swapping, in bytes.
pub(crate) fn memory_available() -> Option<u64> {
    kilobytes("/proc/meminfo", "MemAvailable:").map(|kilobytes| kilobytes << 10)
}

/// How many files this process may have open; `None` is no limit.
pub(crate) fn files_max() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

fn kilobytes(path: &str, field: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(field))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// Fields 14 and 15 of proc(5) stat, counted after the name, which may hold spaces and parentheses.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let after_name = stat.rsplit_once(')')?.1;
    let mut ticks = after_name
        .split_whitespace()
        .skip(11)
        .map(|field| field.parse::<u64>().ok());
    let ticks = ticks.next()?? + ticks.next()??;
    Some(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_parentheses_do_not_confuse() {
        let fields = "S 1 1 1 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 1 0 100";
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        assert_eq!(
            cpu_seconds(&format!("7 (a) b (c)) {fields}")),
            Some(300.0 / ticks)
        );
        assert_eq!(cpu_seconds("7 (a"), None);
    }

    #[test]
    fn this_process_uses_memory() {
        assert!(ProcessUsage::now().rss_bytes_max > 100_000);
        assert!(memory_available().unwrap() > 1_000_000);
    }
}
