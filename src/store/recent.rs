//! Which files were read lately.
//!
//! A file that is read once and then not for long, as by a client that checks or copies everything, would only push
//! out of the page cache what others ask for again and again. So the first read goes past the cache, and the
//! second goes through it (admission on the second access, as in 2Q, Johnson and Shasha, VLDB 1994).

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

/// How many files are remembered, at the most; 8 bytes each.
const FILES: usize = 16 << 10;

/// The files that were read lately. A file is forgotten when another one needs its slot, which costs a read from
/// the disk and nothing else.
pub(super) struct Recent(Box<[AtomicU64]>);

impl Recent {
    pub(super) fn new() -> Recent {
        Recent((0..FILES).map(|_| AtomicU64::new(0)).collect())
    }

    /// Remembers the file with this inode number as it was `modified`, and returns whether it was remembered.
    pub(super) fn note(&self, inode: u64, modified: SystemTime) -> bool {
        let nanos = modified
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| since.as_nanos());
        // Inode numbers are given out in a row, so neighbours do not share a slot; 0 is an empty one.
        #[allow(
            clippy::cast_possible_truncation,
            reason = "the low bits tell two versions apart"
        )]
        let version = (nanos as u64 ^ inode.rotate_left(32)) | 1;
        let slot = usize::try_from(inode % FILES as u64).expect("below FILES");
        self.0[slot].swap(version, Ordering::Relaxed) == version
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_file_is_known_the_second_time_until_it_changes_or_another_takes_its_slot() {
        let recent = Recent::new();
        let (then, now) = (
            SystemTime::UNIX_EPOCH + Duration::from_secs(1),
            SystemTime::UNIX_EPOCH + Duration::from_secs(2),
        );
        assert!(!recent.note(5, then));
        assert!(!recent.note(6, then));
        assert!(recent.note(5, then) && recent.note(5, then));
        assert!(!recent.note(5, now), "another version");
        assert!(!recent.note(5 + FILES as u64, now));
        assert!(!recent.note(5, now), "its slot was taken");
    }
}
