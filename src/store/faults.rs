//! What the writes of a store have failed with lately: whoever watches the disk takes it from here.

use std::sync::atomic::{AtomicU8, Ordering};

use super::error::Error;
use crate::condition::Condition;

/// The worst fault since it was taken last.
#[derive(Default)]
pub(crate) struct Faults(AtomicU8);

impl Faults {
    /// Passes on what came of a write, and remembers what it says of the disk.
    pub(super) fn note<T>(&self, outcome: Result<T, Error>) -> Result<T, Error> {
        if let Err(error) = &outcome {
            self.0.fetch_max(error.condition().code(), Ordering::Relaxed);
        }
        outcome
    }

    /// The worst fault since this was called last; [`Condition::Able`] if there was none.
    pub(super) fn take(&self) -> Condition {
        let code = self.0.swap(Condition::Able.code(), Ordering::Relaxed);
        Condition::from_code(code).expect("only conditions are noted")
    }
}
