//! Why a run ends before its time: said once, seen by every thread.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::verdict::End;

/// Raised by whoever has a reason to stop; the first reason stands.
#[derive(Default)]
pub struct Halt {
    why: OnceLock<End>,
    raised: AtomicBool,
}

impl Halt {
    /// Stops the run.
    pub fn raise(&self, why: End) {
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
    pub fn end(&self) -> End {
        self.why.get().copied().unwrap_or(End::Complete)
    }
}
