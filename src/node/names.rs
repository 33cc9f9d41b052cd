//! One at a time for each name: what looks at a name and then changes it must not be overtaken in between.

use std::collections::HashSet;
use std::sync::{Condvar, Mutex, PoisonError};

use crate::image_id::ImageId;

#[derive(Default)]
pub(crate) struct NameLocks {
    names: Mutex<Names>,
    released: Condvar,
}

#[derive(Default)]
struct Names {
    locked: HashSet<ImageId>,
    /// Threads that wait for a name. Waking nobody costs a system call, and that is the usual case.
    waiting: usize,
}

/// The lock on one name, until dropped.
pub(crate) struct NameLock<'l> {
    locks: &'l NameLocks,
    id: &'l ImageId,
}

impl NameLocks {
    /// Waits until nobody else has this name.
    pub(crate) fn lock<'l>(&'l self, id: &'l ImageId) -> NameLock<'l> {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        while !names.locked.insert(id.clone()) {
            names.waiting += 1;
            names = self.released.wait(names).unwrap_or_else(PoisonError::into_inner);
            names.waiting -= 1;
        }
        NameLock { locks: self, id }
    }
}

impl Drop for NameLock<'_> {
    fn drop(&mut self) {
        let mut names = self.locks.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.locked.remove(self.id);
        let is_awaited = names.waiting > 0;
        drop(names);
        if is_awaited {
            // Those who wait may want different names.
            self.locks.released.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn one_at_a_time_has_a_name() {
        let (locks, inside) = (NameLocks::default(), AtomicUsize::new(0));
        let id = ImageId::new("alice", "cat.png").unwrap();
        let other = ImageId::new("alice", "dog.png").unwrap();
        let _other = locks.lock(&other);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        let _lock = locks.lock(&id);
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        inside.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
    }
}
