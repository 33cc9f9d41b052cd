//! How slow a transfer may be.

#![allow(
    clippy::disallowed_methods,
    reason = "part of the socket room, which owns deadlines"
)]

use std::io;
use std::time::{Duration, Instant};

/// The window in which a transfer must make progress.
const WINDOW: Duration = Duration::from_secs(5);
/// The progress it must make in each window: 1 kB/s, and more under [`super::pressure::Pressure`].
const BYTES_MIN: u64 = 5_000;

/// A transfer's minimum speed: so many bytes in each window. Bytes sent early do not count for a later window.
///
/// A window counts only the time spent waiting for the peer: a disk that is slow, or others that hold all the blocks,
/// are not the peer's fault.
#[derive(Default)]
pub(crate) struct Pace {
    waited: Duration,
    bytes: u64,
}

impl Pace {
    /// Takes the time of one read or write, which also says how many bytes moved. It is judged also if something moved: a
    /// byte now and then is no progress. A transfer that is too slow ends in `TimedOut`; the usual minimum is multiplied by
    /// `factor`.
    pub(super) fn time<T>(
        &mut self,
        factor: u64,
        step: impl FnOnce() -> (u64, io::Result<T>),
    ) -> io::Result<T> {
        let begun = Instant::now();
        let (moved, outcome) = step();
        self.judge(factor, begun.elapsed(), moved).and(outcome)
    }

    /// What is left of the window.
    pub(crate) fn patience(&self) -> Duration {
        WINDOW.saturating_sub(self.waited)
    }

    fn judge(&mut self, factor: u64, waited: Duration, moved: u64) -> io::Result<()> {
        self.waited += waited;
        self.bytes += moved;
        if self.waited < WINDOW {
            return Ok(());
        }
        if self.bytes < BYTES_MIN * factor {
            return Err(io::ErrorKind::TimedOut.into());
        }
        *self = Pace::default();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn early_bytes_buy_no_idleness() {
        let mut pace = Pace::default();
        assert!(pace.judge(1, WINDOW, 1 << 30).is_ok());
        let error = pace.judge(1, WINDOW, BYTES_MIN - 1).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn under_pressure_more_is_asked_for() {
        let mut pace = Pace::default();
        assert!(pace.judge(8, WINDOW, 8 * BYTES_MIN).is_ok());
        assert!(pace.judge(8, WINDOW, 8 * BYTES_MIN - 1).is_err());
    }

    #[test]
    fn a_byte_now_and_then_is_no_progress() {
        let tick = Duration::from_millis(20);
        let steps = WINDOW.as_millis() / tick.as_millis();
        let outcome = |bytes: u64| {
            let mut pace = Pace::default();
            (0..10 * steps).try_for_each(|_| pace.judge(1, tick, bytes))
        };
        assert!(outcome(1).is_err());
        assert!(outcome(BYTES_MIN.div_ceil(u64::try_from(steps).unwrap())).is_ok());
    }
}
