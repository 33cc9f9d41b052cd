//! How scarce workers are: while clients wait for one, slow transfers are too expensive.

use std::sync::atomic::{AtomicU32, Ordering};

/// The minimum speed of a transfer is doubled at most so often: to 64 kB/s.
const DOUBLINGS_MAX: u32 = 6;
/// See [`Pressure::is_high`].
const HIGH: u64 = 8;

/// By how much the minimum speed of transfers is raised. It rises in steps, so that the slowest are cut first.
#[derive(Default)]
pub(crate) struct Pressure(AtomicU32);

impl Pressure {
    /// To be called in regular intervals: whether clients wait at the moment. Returns by what the minimum speed is multiplied
    /// from now on.
    pub(crate) fn update(&self, do_clients_wait: bool) -> u64 {
        let before = self.0.load(Ordering::Relaxed);
        let after = match do_clients_wait {
            true => (before + 1).min(DOUBLINGS_MAX),
            false => before.saturating_sub(1),
        };
        self.0.store(after, Ordering::Relaxed);
        1 << after
    }

    /// Whether people have to know: that clients wait for a second or two is nothing.
    pub(crate) fn is_high(&self) -> bool {
        self.factor() >= HIGH
    }

    /// By what the minimum speed is multiplied.
    pub(crate) fn factor(&self) -> u64 {
        1 << self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_rises_while_clients_wait_and_falls_afterwards() {
        let pressure = Pressure::default();
        assert_eq!(pressure.update(false), 1);
        let risen: Vec<u64> = (0..8).map(|_| pressure.update(true)).collect();
        assert_eq!(risen, [2, 4, 8, 16, 32, 64, 64, 64]);
        assert_eq!((pressure.update(false), pressure.factor()), (32, 32));
        assert!(pressure.is_high());
        while pressure.update(false) > 4 {}
        assert!(!pressure.is_high());
    }
}
