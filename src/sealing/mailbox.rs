//! A queue where threads wait for what others put there.
//!
//! A reader sleeps at once. The channels of `crossbeam` spin and yield before they sleep, which for a segment of 40 kB costs
//! more than sealing it.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// A queue in the order of arrival.
pub(crate) struct Mailbox<T> {
    letters: Mutex<VecDeque<T>>,
    came: Condvar,
}

impl<T> Default for Mailbox<T> {
    fn default() -> Mailbox<T> {
        Mailbox {
            letters: Mutex::default(),
            came: Condvar::default(),
        }
    }
}

impl<T> Mailbox<T> {
    pub(crate) fn put(&self, letter: T) {
        self.lock().push_back(letter);
        self.came.notify_one();
    }

    /// Takes the oldest letter; waits for one if there is none.
    pub(crate) fn take(&self) -> T {
        let mut letters = self.lock();
        loop {
            match letters.pop_front() {
                Some(letter) => return letter,
                None => letters = self.came.wait(letters).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// Whether no letter waits to be taken.
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<T>> {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_arrives_in_order() {
        let mailbox = Mailbox::default();
        std::thread::scope(|scope| {
            scope.spawn(|| (0..1000).for_each(|i| mailbox.put(i)));
            assert!((0..1000).all(|i| mailbox.take() == i));
        });
    }
}
