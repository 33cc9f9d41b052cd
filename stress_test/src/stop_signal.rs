//! Why a run ends before its time: said once, seen by every thread.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// How a run ended, if not by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunEnd {
    /// Every image had its turn.
    Complete,
    /// Ctrl-C or SIGTERM.
    Interrupted,
    /// The timeout.
    TimedOut,
    /// So many failures in a row that going on made no sense.
    GivenUp,
}

/// Raised by whoever has a reason to stop; the first reason stands.
#[derive(Default)]
pub struct StopSignal {
    why: OnceLock<RunEnd>,
    raised: AtomicBool,
}

impl StopSignal {
    /// Stops the run.
    pub fn raise(&self, why: RunEnd) {
        let _ = self.why.set(why);
        self.raised.store(true, Ordering::Relaxed);
    }

    /// The flag itself, for those who only look.
    pub(crate) fn flag(&self) -> &AtomicBool {
        &self.raised
    }

    /// Whether anybody raised it.
    pub(crate) fn is_raised(&self) -> bool {
        self.raised.load(Ordering::Relaxed)
    }

    /// The reason; `Complete` if there is none.
    pub(crate) fn end(&self) -> RunEnd {
        self.why.get().copied().unwrap_or(RunEnd::Complete)
    }
}

/// Raises a signal when it goes out of scope, whatever the reason: threads of a scope must not outlive a failure.
pub(crate) struct RaiseOnDrop<'a>(pub(crate) &'a StopSignal);

impl Drop for RaiseOnDrop<'_> {
    fn drop(&mut self) {
        self.0.raise(RunEnd::Complete);
    }
}
