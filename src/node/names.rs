//! One at a time for each name: what looks at a name and then changes it must not be overtaken in between.

use std::collections::HashSet;
use std::sync::{Condvar, Mutex, PoisonError};

use crate::image_id::ImageId;

#[derive(Default)]
pub(crate) struct NameLocks {
    taken: Mutex<HashSet<ImageId>>,
    released: Condvar,
}

/// The lock on one name, until dropped.
pub(crate) struct NameLock<'l> {
    locks: &'l NameLocks,
    id: ImageId,
}

impl NameLocks {
    /// Waits until nobody else has this name.
    pub(crate) fn lock(&self, id: &ImageId) -> NameLock<'_> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        while !taken.insert(id.clone()) {
            taken = self.released.wait(taken).unwrap_or_else(PoisonError::into_inner);
        }
        NameLock {
            locks: self,
            id: id.clone(),
        }
    }
}

impl Drop for NameLock<'_> {
    fn drop(&mut self) {
        let mut taken = self.locks.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.remove(&self.id);
        drop(taken);
        // Those who wait may want different names.
        self.locks.released.notify_all();
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
        let _other = locks.lock(&ImageId::new("alice", "dog.png").unwrap());
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
