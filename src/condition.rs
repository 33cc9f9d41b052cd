//! Whether a node can take images, and if not, why not.
//!
//! A node says it in every heartbeat. The leader leaves a node that takes no images out of the list that uploads are
//! placed by; it goes on answering reads. Holds no clock, file or socket.

use std::fmt;

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
}
