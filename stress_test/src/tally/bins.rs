//! Counts over time in bounded memory.

use std::time::Duration;

use crate::latency_histogram::estimate;
use crate::summary;

const BIN_FIRST: Duration = Duration::from_millis(100);
const BINS_MAX: usize = 240;

/// Counts over time, in bins that double their width when there are too many.
pub(crate) struct Bins {
    width: Duration,
    rows: Vec<[u64; 4]>,
}

impl Default for Bins {
    fn default() -> Bins {
        Bins {
            width: BIN_FIRST,
            rows: Vec::new(),
        }
    }
}

impl Bins {
    /// Counts at a moment since the first offer.
    pub(crate) fn add(&mut self, at: Duration, uploads: u64, bytes: u64, failures: u64, setbacks: u64) {
        let bin = |width: Duration| usize::try_from(at.as_nanos() / width.as_nanos()).unwrap_or(usize::MAX);
        while bin(self.width) >= BINS_MAX {
            self.width *= 2;
            let sum = |pair: &[[u64; 4]]| std::array::from_fn(|i| pair.iter().map(|row| row[i]).sum());
            self.rows = self.rows.chunks(2).map(sum).collect();
        }
        let bin = bin(self.width);
        if self.rows.len() <= bin {
            self.rows.resize(bin + 1, [0; 4]);
        }
        for (count, more) in self.rows[bin]
            .iter_mut()
            .zip([uploads, bytes, failures, setbacks])
        {
            *count += more;
        }
    }

    /// As the summary has them.
    pub(crate) fn rows(&self) -> summary::Timeline {
        let column = |i: usize| self.rows.iter().map(|row| row[i]).collect();
        summary::Timeline {
            bin_seconds: self.width.as_secs_f64(),
            uploads: column(0),
            bytes: column(1),
            failures: column(2),
            setbacks: column(3),
        }
    }

    /// Uploads and bytes per second with the intervals of their means over the bins; the last bin, which is not
    /// full, is left out when there are others.
    pub(crate) fn rates(&self) -> (summary::Estimate, summary::Estimate) {
        let full = &self.rows[..self.rows.len().saturating_sub(1).max(self.rows.len().min(1))];
        let seconds = self.width.as_secs_f64();
        let rate = |i: usize| estimate(full.iter().map(move |row| row[i] as f64 / seconds));
        (rate(0), rate(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_double_their_width_and_lose_nothing() {
        let mut bins = Bins::default();
        for second in 0..1000 {
            bins.add(Duration::from_secs(second), 1, 10, 0, 0);
        }
        let rows = bins.rows();
        assert!(rows.uploads.len() <= BINS_MAX);
        assert_eq!(
            (rows.uploads.iter().sum::<u64>(), rows.bytes.iter().sum::<u64>()),
            (1000, 10_000)
        );
        assert_eq!(rows.bin_seconds, 6.4);
        assert!((bins.rates().0.value - 1.0).abs() < 0.1);
    }
}
