//! What the processes of one node used, one after the other if it was restarted.

use pixseal::report::Process;

/// Processor time in seconds, memory in bytes.
#[derive(Clone, Copy, Default)]
pub(crate) struct NodeUsage {
    pid: u32,
    cpu_first: f64,
    cpu_last: f64,
    cpu_before: f64,
    rss_bytes_max: u64,
}

impl NodeUsage {
    /// Takes in what the node says about its process.
    pub(crate) fn add(&mut self, process: Process) {
        if self.pid != process.pid {
            let restarted = self.pid != 0;
            self.cpu_before += self.cpu_last - self.cpu_first;
            self.cpu_first = if restarted { 0.0 } else { process.cpu_seconds };
            self.pid = process.pid;
        }
        self.cpu_last = process.cpu_seconds;
        self.rss_bytes_max = self
            .rss_bytes_max
            .max(process.rss_bytes)
            .max(process.rss_peak_bytes);
    }

    /// Since the first call of [`add`](NodeUsage::add).
    pub(crate) fn cpu_seconds(&self) -> f64 {
        self.cpu_before + self.cpu_last - self.cpu_first
    }

    pub(crate) fn rss_bytes_max(&self) -> u64 {
        self.rss_bytes_max
    }
}
