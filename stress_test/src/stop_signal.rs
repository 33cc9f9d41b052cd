//! Why a run ends before its time: said once, seen by every thread.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::judgement::RunEnd;

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
    pub fn flag(&self) -> &AtomicBool {
        &self.raised
    }

    /// Whether anybody raised it.
    pub fn is_raised(&self) -> bool {
        self.raised.load(Ordering::Relaxed)
    }

    /// The reason; `Complete` if there is none.
    pub fn end(&self) -> RunEnd {
        self.why.get().copied().unwrap_or(RunEnd::Complete)
    }
}
