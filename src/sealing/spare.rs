//! Which threads of the pool may wait for a disk instead of sealing: all but one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many more may. A clone shares the number.
#[derive(Clone)]
pub(super) struct Spare(Arc<AtomicUsize>);

/// A thread that may, until this is dropped.
pub(crate) struct Spared(Spare);

impl Spare {
    /// Of so many threads in all.
    pub(super) fn of(threads: usize) -> Spare {
        Spare(Arc::new(AtomicUsize::new(threads.saturating_sub(1))))
    }

    pub(super) fn take(&self) -> Option<Spared> {
        let less = |left: usize| left.checked_sub(1);
        let taken = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        taken.is_ok().then(|| Spared(self.clone()))
    }
}

impl Drop for Spared {
    fn drop(&mut self) {
        self.0.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thread_is_never_spared() {
        let spare = Spare::of(3);
        let (one, two) = (spare.take(), spare.take());
        assert!(one.is_some() && two.is_some() && spare.take().is_none());
        drop(one);
        assert!(spare.take().is_some());
        assert!(Spare::of(1).take().is_none());
    }
}
