//! The two clocks of the heartbeat thread.
#![allow(
    clippy::disallowed_methods,
    reason = "the edge tells the time to the rooms that must not look"
)]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

/// Time since a start, the time that the machine was suspended included: whoever slept was away.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BootClock {
    started: Duration,
}

impl BootClock {
    /// Starts at 0.
    pub(crate) fn start() -> BootClock {
        BootClock {
            started: since_boot(),
        }
    }

    pub(crate) fn elapsed(self) -> Duration {
        since_boot().saturating_sub(self.started)
    }
}

fn since_boot() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    Duration::try_from(time).expect("the time since boot is not negative")
}

/// The wall clock, in milliseconds since 1970.
pub(crate) fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
