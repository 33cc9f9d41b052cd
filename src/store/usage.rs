//! How many bytes each user's images take in the folder, where users have a quota.
//!
//! They are counted when the node starts, and now and then afterwards, since others may use the folder too; in between this
//! follows what the node itself stores and removes. What changes while they are counted may be off until the next time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What users take, and how much that may be.
pub(crate) struct Usage {
    quota: u64,
    tally: Mutex<UserBytes>,
}

#[derive(Default)]
struct UserBytes {
    stored: HashMap<String, i64>,
    /// What is promised to uploads that are being received.
    arriving: HashMap<String, u64>,
    /// What has changed since counting began, if it is going on.
    changed: Option<HashMap<String, i64>>,
}

/// Why an upload has no place: the user's images take `used` bytes of `quota`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverQuota {
    /// Bytes that they take.
    pub used: u64,
    /// Bytes that they may take.
    pub quota: u64,
}

/// The place of an upload that is being received, until dropped.
pub(crate) struct Reservation {
    usage: Arc<Usage>,
    user: String,
    bytes: u64,
}

impl Usage {
    pub(super) fn new(quota: u64) -> Usage {
        Usage {
            quota,
            tally: Mutex::default(),
        }
    }

    /// A place for `bytes` of `user`, which take that of `replaced` bytes.
    pub(super) fn reserve(
        self: &Arc<Usage>,
        user: &str,
        bytes: u64,
        replaced: u64,
    ) -> Result<Reservation, OverQuota> {
        let mut tally = self.lock();
        let arriving = tally.arriving.get(user).copied().unwrap_or(0);
        let used = tally.stored(user).saturating_add(arriving);
        let more = bytes.saturating_sub(replaced);
        // Who is over the quota already may still replace images by smaller ones.
        if more > 0 && used.saturating_add(more) > self.quota {
            return Err(OverQuota {
                used,
                quota: self.quota,
            });
        }
        *tally.arriving.entry(user.to_owned()).or_default() += more;
        Ok(Reservation {
            usage: Arc::clone(self),
            user: user.to_owned(),
            bytes: more,
        })
    }

    /// An image of `user` has come, or one has gone.
    pub(super) fn change(&self, user: &str, came: u64, went: u64) {
        let change = signed(came) - signed(went);
        let mut tally = self.lock();
        add(&mut tally.stored, user, change);
        if let Some(changed) = &mut tally.changed {
            add(changed, user, change);
        }
    }

    /// To be called before all images are counted.
    pub(super) fn begin_counting(&self) {
        self.lock().changed = Some(HashMap::new());
    }

    /// So much was found of each user since [`Usage::begin_counting`]; none: not all could be counted.
    pub(super) fn finish_counting(&self, found: Option<HashMap<String, u64>>) {
        let mut tally = self.lock();
        let changed = tally.changed.take().unwrap_or_default();
        let Some(found) = found else {
            return;
        };
        tally.stored = found
            .into_iter()
            .map(|(user, bytes)| (user, signed(bytes)))
            .collect();
        for (user, change) in changed {
            add(&mut tally.stored, &user, change);
        }
    }

    fn lock(&self) -> MutexGuard<'_, UserBytes> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UserBytes {
    fn stored(&self, user: &str) -> u64 {
        let stored = self.stored.get(user).copied().unwrap_or(0);
        u64::try_from(stored).unwrap_or(0)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut tally = self.usage.lock();
        if let Some(arriving) = tally.arriving.get_mut(&self.user) {
            *arriving -= self.bytes;
            if *arriving == 0 {
                tally.arriving.remove(&self.user);
            }
        }
    }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

fn add(to: &mut HashMap<String, i64>, user: &str, change: i64) {
    if change == 0 {
        return;
    }
    let bytes = to.entry(user.to_owned()).or_default();
    *bytes = bytes.saturating_add(change);
    if *bytes == 0 {
        to.remove(user);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn over(used: u64) -> Option<OverQuota> {
        Some(OverQuota { used, quota: 100 })
    }

    #[test]
    fn what_arrives_and_what_is_stored_make_up_the_quota() {
        let usage = Arc::new(Usage::new(100));
        let first = usage.reserve("alice", 60, 0).unwrap();
        assert_eq!(usage.reserve("alice", 41, 0).err(), over(60));
        let second = usage.reserve("alice", 40, 0).unwrap();
        assert!(usage.reserve("bob", 100, 0).is_ok(), "users do not share");
        drop(second);
        usage.change("alice", 60, 0);
        drop(first);
        assert_eq!(usage.reserve("alice", 41, 0).err(), over(60));
        assert!(
            usage.reserve("alice", 100, 60).is_ok(),
            "it takes the place of the other"
        );
        usage.change("alice", 0, 60);
        assert!(usage.reserve("alice", 100, 0).is_ok());
        assert!(usage.lock().stored.is_empty() && usage.lock().arriving.is_empty());
    }

    #[test]
    fn who_has_too_much_may_have_less_but_not_more() {
        let usage = Arc::new(Usage::new(100));
        usage.change("alice", 300, 0);
        assert!(usage.reserve("alice", 50, 50).is_ok());
        assert_eq!(usage.reserve("alice", 51, 50).err(), over(300));
        assert_eq!(usage.reserve("alice", u64::MAX, 0).err(), over(300));
    }

    #[test]
    fn counting_finds_what_others_did_and_forgets_nothing_meanwhile() {
        let usage = Arc::new(Usage::new(100));
        usage.change("alice", 10, 0);
        usage.change("bob", 10, 0);
        usage.begin_counting();
        usage.change("alice", 5, 0);
        usage.finish_counting(Some(HashMap::from([("alice".to_owned(), 70)])));
        assert_eq!(usage.reserve("alice", 26, 0).err(), over(75));
        assert!(usage.reserve("bob", 100, 0).is_ok(), "another one has removed it");
        usage.begin_counting();
        usage.finish_counting(None);
        assert_eq!(usage.reserve("alice", 26, 0).err(), over(75));
    }
}
