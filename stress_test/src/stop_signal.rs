//! A signal that stops a run early; every thread sees it. The first reason stands.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunEnd {
    /// Every image was offered.
    Complete,
    /// Ctrl-C or SIGTERM.
    Interrupted,
    /// The timeout.
    TimedOut,
    /// Too many failures in a row.
    GivenUp,
}

/// Starts lowered.
#[derive(Default)]
pub struct StopSignal {
    why: OnceLock<RunEnd>,
    raised: AtomicBool,
}

impl StopSignal {
    /// Stops the run, for this reason unless there is one already.
    pub fn raise(&self, why: RunEnd) {
        let _ = self.why.set(why);
        self.raised.store(true, Ordering::Relaxed);
    }

    /// The flag, for code that only needs to see it.
    pub(crate) fn flag(&self) -> &AtomicBool {
        &self.raised
    }

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
