//! Watches the disk under the images, and the marker by which people drain the node: whether it can take images.
//!
//! ```text
//! every 250 ms     in place? room? read-only? what did uploads fail with? marker?  ─► the node's condition
//! every second     after writes that failed: one of our own, until it succeeds
//! every minute     how many images there are, and how large they are
//! ```
//!
//! One thread, at the workers' priority. It reads the folder's names and states and never an image.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::Duration;

use super::shared::Node;
use super::unable::unable;
use crate::condition::{Condition, ConditionSource};
use crate::priority;
use crate::store::disk::{MinFree, Room};

/// How often the disk is looked at: a node that cannot take images is assigned some for so long, and a heartbeat.
const INTERVAL: Duration = Duration::from_millis(250);
/// How often a disk whose writes failed is written to.
const TRY_EVERY: Duration = Duration::from_secs(1);
/// A disk that reported errors is believed again after so many writes; one that was full or read-only after one.
const TRIALS_AFTER_ERRORS: u32 = 3;
/// How often the images are counted.
const COUNT_EVERY: Duration = Duration::from_secs(60);
/// Counting takes at most this part of the time: less often than that in a folder with millions of images.
const COUNT_PART: u32 = 20;
/// While images are counted, the disk is looked at again after so many.
const COUNTED_BETWEEN_LOOKS: u64 = 50_000;

/// The thread that watches, until dropped.
pub(crate) struct DiskWatch {
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl DiskWatch {
    /// Looks once before it returns: no upload comes before that.
    pub(crate) fn start(node: Arc<Node>) -> io::Result<DiskWatch> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut watcher = Watcher {
            judge: Judge::new(node.min_free),
            node,
            told: Condition::Able,
            next_trial: Duration::ZERO,
            next_count: Duration::ZERO,
        };
        watcher.look();
        let thread = thread::Builder::new().name("disk".to_owned()).spawn({
            let stop = Arc::clone(&stop);
            move || {
                priority::give_way_to_heartbeat();
                while !stop.load(Ordering::Relaxed) {
                    watcher.look();
                    watcher.count_if_due();
                    thread::park_timeout(INTERVAL);
                }
            }
        })?;
        Ok(DiskWatch {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for DiskWatch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A panic in it was printed when it happened.
            let _ = thread.join();
        }
    }
}

struct Watcher {
    node: Arc<Node>,
    judge: Judge,
    /// What people were told last.
    told: Condition,
    next_trial: Duration,
    next_count: Duration,
}

impl Watcher {
    fn look(&mut self) {
        let store = &self.node.store;
        let look = Look {
            is_in_place: store.check_in_place().is_ok(),
            fault: store.take_fault(),
            room: store.room().ok(),
        };
        *self.node.room.lock().unwrap_or_else(PoisonError::into_inner) = look.room;
        let mut disk = self.judge.judge(&look);
        let now = self.node.cluster.now();
        if look.fault != Condition::Able {
            // Not at once: other uploads are about to fail in the same way.
            self.next_trial = now + TRY_EVERY;
        }
        if self.judge.wants_trial(disk) && now >= self.next_trial {
            self.next_trial = now + TRY_EVERY;
            self.judge.tried(store.try_write().is_ok());
            disk = self.judge.judge(&Look {
                fault: store.take_fault(),
                ..look
            });
        }
        self.node.condition.set(ConditionSource::Disk, disk);
        // Without its folder the node is worse than draining, and the marker is looked for again when it is back.
        if let Ok(is_draining) = store.is_draining() {
            let marked = if is_draining {
                Condition::Draining
            } else {
                Condition::Able
            };
            self.node.condition.set(ConditionSource::Marker, marked);
        }
        self.tell();
    }

    /// Says in the log what has changed, whoever has changed it.
    fn tell(&mut self) {
        let condition = self.node.condition.get();
        if condition == self.told {
            return;
        }
        self.told = condition;
        match unable(&self.node) {
            Some((_, why)) => log::warn!("Node {}: {why}", self.node.id),
            None => log::info!("Node {}: takes images again", self.node.id),
        }
    }

    fn count_if_due(&mut self) {
        let now = self.node.cluster.now();
        if now < self.next_count {
            return;
        }
        let node = Arc::clone(&self.node);
        let mut seen = 0;
        let counted = node.store.count_images(|| {
            seen += 1;
            if seen % COUNTED_BETWEEN_LOOKS == 0 {
                self.look();
            }
        });
        *node.held.lock().unwrap_or_else(PoisonError::into_inner) = counted.ok();
        let took = node.cluster.now().saturating_sub(now);
        self.next_count = now + COUNT_EVERY.max(took * COUNT_PART);
    }
}

/// What was seen at one look.
#[derive(Clone, Copy)]
struct Look {
    is_in_place: bool,
    /// What writes have failed with since the last look.
    fault: Condition,
    /// None: the disk does not say.
    room: Option<Room>,
}

/// What follows from all looks so far.
struct Judge {
    min_free: MinFree,
    /// There was too little room, and there is not clearly more yet.
    is_short: bool,
    /// What writes have failed with, until trials succeed.
    fault: Condition,
    /// Trials that have succeeded since.
    trials: u32,
}

impl Judge {
    fn new(min_free: MinFree) -> Judge {
        Judge {
            min_free,
            is_short: false,
            fault: Condition::Able,
            trials: 0,
        }
    }

    fn judge(&mut self, look: &Look) -> Condition {
        if !look.is_in_place {
            return Condition::FolderLost;
        }
        if look.fault != Condition::Able {
            self.fault = self.fault.max(look.fault);
            self.trials = 0;
        }
        let Some(room) = &look.room else {
            return self.fault.max(Condition::DiskFailing);
        };
        self.is_short = self
            .min_free
            .is_short(room, self.is_short || look.fault == Condition::DiskFull);
        let seen = match (room.is_read_only, self.is_short) {
            (true, _) => Condition::ReadOnly,
            (false, true) => Condition::DiskFull,
            (false, false) => Condition::Able,
        };
        self.fault.max(seen)
    }

    /// Whether one more write is to show that the disk can be written again. On a disk that is short of room, it would
    /// take the rest from uploads that are being received.
    fn wants_trial(&self, condition: Condition) -> bool {
        let is_hopeless = condition == Condition::FolderLost || self.is_short;
        self.fault != Condition::Able && !is_hopeless
    }

    fn tried(&mut self, succeeded: bool) {
        if !succeeded {
            self.trials = 0;
            return;
        }
        self.trials += 1;
        if self.fault != Condition::DiskFailing || self.trials >= TRIALS_AFTER_ERRORS {
            self.fault = Condition::Able;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::disk::Remaining;

    fn look(free: u64, fault: Condition) -> Look {
        Look {
            is_in_place: true,
            fault,
            room: Some(Room {
                bytes: Remaining { free, total: 1000 },
                files: Remaining { free: 0, total: 0 },
                is_read_only: false,
            }),
        }
    }

    fn judge() -> Judge {
        Judge::new(MinFree::Bytes(100))
    }

    #[test]
    fn a_disk_without_room_is_full_until_there_is_clearly_more() {
        let mut judge = judge();
        for (free, expected) in [
            (100, Condition::Able),
            (99, Condition::DiskFull),
            (199, Condition::DiskFull),
            (200, Condition::Able),
            (100, Condition::Able),
        ] {
            assert_eq!(judge.judge(&look(free, Condition::Able)), expected, "{free}");
        }
    }

    #[test]
    fn an_upload_without_room_makes_the_disk_full_until_there_is_room_and_a_trial_succeeds() {
        let mut judge = judge();
        assert_eq!(judge.judge(&look(150, Condition::DiskFull)), Condition::DiskFull);
        assert!(
            !judge.wants_trial(Condition::DiskFull),
            "there is no room for one"
        );
        assert_eq!(judge.judge(&look(200, Condition::Able)), Condition::DiskFull);
        assert!(judge.wants_trial(Condition::DiskFull));
        judge.tried(false);
        assert_eq!(judge.judge(&look(200, Condition::Able)), Condition::DiskFull);
        judge.tried(true);
        assert_eq!(judge.judge(&look(200, Condition::Able)), Condition::Able);
        assert!(!judge.wants_trial(Condition::Able));
    }

    #[test]
    fn a_disk_that_failed_is_believed_after_several_trials_in_a_row() {
        let mut judge = judge();
        let failing = look(500, Condition::DiskFailing);
        assert_eq!(judge.judge(&failing), Condition::DiskFailing);
        judge.tried(true);
        judge.tried(true);
        // One fails, as the store noted.
        judge.tried(false);
        assert_eq!(judge.judge(&failing), Condition::DiskFailing);
        for trial in 1..=TRIALS_AFTER_ERRORS {
            assert_eq!(
                judge.judge(&look(500, Condition::Able)),
                Condition::DiskFailing,
                "{trial}"
            );
            judge.tried(true);
        }
        assert_eq!(judge.judge(&look(500, Condition::Able)), Condition::Able);
    }

    #[test]
    fn what_the_disk_says_of_itself_is_believed_at_once() {
        let mut judge = judge();
        let mut read_only = look(500, Condition::Able);
        read_only.room.as_mut().unwrap().is_read_only = true;
        assert_eq!(judge.judge(&read_only), Condition::ReadOnly);
        let silent = Look {
            room: None,
            ..read_only
        };
        assert_eq!(judge.judge(&silent), Condition::DiskFailing);
        let lost = Look {
            is_in_place: false,
            ..silent
        };
        assert_eq!(judge.judge(&lost), Condition::FolderLost);
        assert_eq!(judge.judge(&look(500, Condition::Able)), Condition::Able);
    }
}
