//! A queue where threads wait for what others put there.
//!
//! A reader sleeps at once. The channels of `crossbeam` spin and yield before they sleep, which for a segment of 40 kB costs
//! more than sealing it.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// A queue in the order of arrival.
pub(crate) struct Mailbox<T> {
    state: Mutex<Letters<T>>,
    came: Condvar,
}

struct Letters<T> {
    waiting: VecDeque<T>,
    /// How many sleep until a letter comes.
    readers: usize,
}

impl<T> Default for Mailbox<T> {
    fn default() -> Mailbox<T> {
        Mailbox {
            state: Mutex::new(Letters {
                waiting: VecDeque::new(),
                readers: 0,
            }),
            came: Condvar::new(),
        }
    }
}

impl<T> Mailbox<T> {
    pub(crate) fn put(&self, letter: T) {
        let mut letters = self.lock();
        letters.waiting.push_back(letter);
        let does_one_sleep = letters.readers > 0;
        drop(letters);
        // Without this question, each letter would cost a system call.
        if does_one_sleep {
            self.came.notify_one();
        }
    }

    /// Takes the oldest letter; waits for one if there is none.
    pub(crate) fn take(&self) -> T {
        let mut letters = self.lock();
        loop {
            if let Some(letter) = letters.waiting.pop_front() {
                return letter;
            }
            letters.readers += 1;
            letters = self.came.wait(letters).unwrap_or_else(PoisonError::into_inner);
            letters.readers -= 1;
        }
    }

    /// Whether no letter waits to be taken.
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().waiting.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, Letters<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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
