//! How many copies lie here that are assigned to other nodes, and until when people want them moved although not all
//! nodes take images.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::roster::ViewId;

#[derive(Default)]
pub(crate) struct Misplaced(Mutex<Counted>);

#[derive(Default)]
struct Counted {
    /// Copies, tombstones included, as counted in that view.
    count: Option<(ViewId, u64)>,
    wanted_until: Duration,
}

impl Misplaced {
    /// How many there are, if they were counted in this view.
    pub(crate) fn in_view(&self, view: ViewId) -> Option<u64> {
        let count = self.with(|state| state.count);
        count
            .filter(|(counted, _)| *counted == view)
            .map(|(_, count)| count)
    }

    pub(crate) fn set(&self, view: ViewId, count: u64) {
        self.with(|state| state.count = Some((view, count)));
    }

    /// One of them went where it belongs.
    pub(crate) fn one_less(&self) {
        self.with(|state| {
            if let Some((_, count)) = &mut state.count {
                *count = count.saturating_sub(1);
            }
        });
    }

    /// People want them moved, until then.
    pub(crate) fn want_moved(&self, until: Duration) {
        self.with(|state| state.wanted_until = until);
    }

    pub(crate) fn are_wanted(&self, now: Duration) -> bool {
        self.with(|state| now < state.wanted_until)
    }

    fn with<T>(&self, act: impl FnOnce(&mut Counted) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
