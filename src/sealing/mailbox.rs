//! A queue where threads wait for what others put there.
//!
//! A reader sleeps at once. The channels of `crossbeam` spin and yield before they sleep, which for a segment of 40 kB costs
//! more than sealing it.

use std::collections::VecDeque;
use std::marker::PhantomData;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// A queue, in the order of arrival if nothing else is said.
pub(crate) struct Mailbox<T, L = VecDeque<T>> {
    state: Mutex<MailboxState<L>>,
    came: Condvar,
    of: PhantomData<fn() -> T>,
}

/// What lies in a mailbox, in an order of its own.
pub(crate) trait Letters<T>: Default {
    fn push(&mut self, letter: T);
    /// The next one.
    fn pop(&mut self) -> Option<T>;
    fn is_empty(&self) -> bool;
}

#[derive(Default)]
struct MailboxState<L> {
    letters: L,
    /// How many sleep until a letter comes.
    readers: usize,
}

impl<T> Letters<T> for VecDeque<T> {
    fn push(&mut self, letter: T) {
        self.push_back(letter);
    }

    fn pop(&mut self) -> Option<T> {
        self.pop_front()
    }

    fn is_empty(&self) -> bool {
        self.is_empty()
    }
}

impl<T, L: Letters<T>> Default for Mailbox<T, L> {
    fn default() -> Mailbox<T, L> {
        Mailbox {
            state: Mutex::default(),
            came: Condvar::new(),
            of: PhantomData,
        }
    }
}

impl<T, L: Letters<T>> Mailbox<T, L> {
    pub(crate) fn put(&self, letter: T) {
        let mut state = self.lock();
        state.letters.push(letter);
        let does_one_sleep = state.readers > 0;
        drop(state);
        // Without this question, each letter would cost a system call.
        if does_one_sleep {
            self.came.notify_one();
        }
    }

    /// Takes the next letter; waits for one if there is none.
    pub(crate) fn take(&self) -> T {
        let mut state = self.lock();
        loop {
            if let Some(letter) = state.letters.pop() {
                return letter;
            }
            state.readers += 1;
            state = self.came.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.readers -= 1;
        }
    }

    /// Whether no letter waits to be taken.
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().letters.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, MailboxState<L>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_arrives_in_order() {
        let mailbox: Mailbox<i32> = Mailbox::default();
        std::thread::scope(|scope| {
            scope.spawn(|| (0..1000).for_each(|i| mailbox.put(i)));
            assert!((0..1000).all(|i| mailbox.take() == i));
        });
    }
}
