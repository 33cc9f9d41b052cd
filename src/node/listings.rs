//! A few listings at a time read the folder; others wait for their turn.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// So many listings read the folder at a time: each takes memory for a page, and 0.2 s of a core for 500,000 files.
const READING_AT_ONCE: usize = 4;
/// How long one more waits for its turn.
const TURN_TIME_MAX: Duration = Duration::from_secs(2);

/// Who reads the folder at the moment.
#[derive(Default)]
pub(crate) struct Listings {
    reading: Mutex<usize>,
    ended: Condvar,
}

/// The right to read the folder, until dropped.
pub(crate) struct Turn<'l>(&'l Listings);

impl Listings {
    /// `None`: too many others are reading.
    pub(crate) fn turn(&self) -> Option<Turn<'_>> {
        let reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let full = |reading: &mut usize| *reading >= READING_AT_ONCE;
        let (mut reading, waited) = self
            .ended
            .wait_timeout_while(reading, TURN_TIME_MAX, full)
            .unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() && *reading >= READING_AT_ONCE {
            return None;
        }
        *reading += 1;
        Some(Turn(self))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *self.0.reading.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.0.ended.notify_one();
    }
}
