//! Whether a node can take images, and if not, why not.
//!
//! A node says it in every heartbeat. The leader leaves a node that takes no images out of the list that uploads are
//! placed by; it goes on answering reads. Holds no clock, file or socket.

use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};

/// Whether a node can take images. Of several reasons why not, the later in this order is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Condition {
    /// It takes images.
    #[default]
    Able,
    /// A person or a signal has asked it to take no more.
    Draining,
    /// Its disk has no room.
    DiskFull,
    /// Its disk can be read only.
    ReadOnly,
    /// Its disk reports errors.
    DiskFailing,
    /// It does not have the keys that the other nodes seal with.
    OtherKeys,
    /// Its images folder is not where it was: it answers nothing about images.
    FolderLost,
}

impl Condition {
    /// All of them, in the order of their codes.
    pub const ALL: [Condition; 7] = [
        Condition::Able,
        Condition::Draining,
        Condition::DiskFull,
        Condition::ReadOnly,
        Condition::DiskFailing,
        Condition::OtherKeys,
        Condition::FolderLost,
    ];

    /// Whether uploads are placed on such a node.
    pub fn takes_images(self) -> bool {
        self == Condition::Able
    }

    /// Whether such a node knows what its folder holds.
    pub fn reads_images(self) -> bool {
        self != Condition::FolderLost
    }

    /// The byte that stands for it in a datagram.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The condition that a byte stands for.
    pub fn from_code(code: u8) -> Option<Condition> {
        Condition::ALL.get(usize::from(code)).copied()
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Condition::Able => "able",
            Condition::Draining => "draining",
            Condition::DiskFull => "disk full",
            Condition::ReadOnly => "disk read-only",
            Condition::DiskFailing => "disk failing",
            Condition::OtherKeys => "other keys",
            Condition::FolderLost => "images folder lost",
        })
    }
}

/// Who finds out about a node's condition. Each says its own part, and the worst of them is the node's.
#[derive(Clone, Copy, Debug)]
pub enum ConditionSource {
    /// Whoever watches the disk.
    Disk,
    /// A person, with a mark beside the images.
    Marker,
    /// The node, which is leaving.
    Leaving,
    /// Whoever compares keys with other nodes.
    Keys,
}

const SOURCES: usize = 4;

/// The condition of a node, shared by those who find out and those who ask.
#[derive(Debug, Default)]
pub struct ConditionCell([AtomicU8; SOURCES]);

impl ConditionCell {
    /// The worst that any source says.
    pub fn get(&self) -> Condition {
        let parts = self.0.iter().map(|part| part.load(Ordering::Relaxed));
        let worst = parts.max().expect("there are sources");
        Condition::from_code(worst).expect("only conditions are set")
    }

    /// What one source says from now on.
    pub fn set(&self, source: ConditionSource, condition: Condition) {
        self.0[source as usize].store(condition.code(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_conditions_are_the_same() {
        for condition in Condition::ALL {
            assert_eq!(Condition::from_code(condition.code()), Some(condition));
        }
        assert_eq!(Condition::from_code(7), None);
    }

    #[test]
    fn the_worst_that_any_source_says_is_the_condition() {
        let cell = ConditionCell::default();
        assert_eq!(cell.get(), Condition::Able);
        cell.set(ConditionSource::Disk, Condition::DiskFull);
        cell.set(ConditionSource::Leaving, Condition::Draining);
        assert_eq!(cell.get(), Condition::DiskFull);
        cell.set(ConditionSource::Disk, Condition::Able);
        assert_eq!(cell.get(), Condition::Draining);
    }
}
