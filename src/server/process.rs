//! What this process takes from its machine.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a process reads about itself in /proc"
)]

use std::fs;

use crate::report::Process;

/// The kernel counts processor time in these, whatever its own tick: USER_HZ, fixed for user space on Linux.
const TICKS_PER_SECOND: f64 = 100.0;

pub(crate) fn read() -> Process {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = |key: &str| -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        line.and_then(|l| l.trim_end_matches("kB").trim().parse().ok())
            .unwrap_or(0)
    };
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The second field is the program's name in parentheses, which may hold anything.
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: f64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|t| t.parse::<f64>().ok())
        .sum();
    Process {
        pid: std::process::id(),
        rss_bytes: kib("VmRSS:") << 10,
        rss_peak_bytes: kib("VmHWM:") << 10,
        cpu_seconds: ticks / TICKS_PER_SECOND,
    }
}
