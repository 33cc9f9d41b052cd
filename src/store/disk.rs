//! The disk under the images: how much room is left, how much there has to be, and whether it can be written.

use std::os::unix::fs::FileExt;

use rustix::fs::{StatVfsMountFlags, fstatvfs};

use super::error::{Error, failed};
use super::work::WorkFolder;
use crate::durable::Folder;

/// With less room than this, or less than [`PERCENT_FREE_MIN`] of the disk, whichever is less, a node takes no images
/// unless something else is set.
const BYTES_FREE_MIN: u64 = 64 << 20;
/// See [`BYTES_FREE_MIN`]; the same for files.
const PERCENT_FREE_MIN: u64 = 5;
/// With fewer files (inodes) than this, or less than [`PERCENT_FREE_MIN`] of them, a node takes no images.
const FILES_FREE_MIN: u64 = 1024;
/// What has to become free beyond the minimum before images are taken again is at most this part of all that is not the
/// minimum: it can be reached.
const ROOM_AGAIN_PART: u64 = 4;
/// As much is written to see whether a disk can be written: more than file systems keep in their own structures.
const TRIAL_BYTES: usize = 64 << 10;

/// The room on a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) bytes: Remaining,
    /// How many more files there can be. A file system that does not limit them says 0 of 0.
    pub(crate) files: Remaining,
    /// It is mounted for reading only.
    pub(crate) is_read_only: bool,
}

/// What is left of what there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Remaining {
    pub(crate) free: u64,
    pub(crate) total: u64,
}

/// How much room a disk must have for its node to take images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MinFree {
    /// 64 MiB or 5 % of the disk, whichever is less; and files for 1024 images or 5 % of them.
    #[default]
    Usual,
    /// So many bytes; 0 turns this off. Files as usual.
    Bytes(u64),
    /// So much of the disk, and of its files; 0 turns this off.
    Percent(u8),
}

impl MinFree {
    /// Understands `BYTES` and `PERCENT%`; `None` if it is neither.
    pub fn parse(text: &str) -> Option<MinFree> {
        match text.strip_suffix('%') {
            Some(percent) => percent
                .parse()
                .ok()
                .filter(|percent| *percent < 100)
                .map(MinFree::Percent),
            None => text.parse().ok().map(MinFree::Bytes),
        }
    }

    /// The bytes that have to be free on a disk of `total`.
    fn bytes(self, total: u64) -> u64 {
        match self {
            MinFree::Usual => BYTES_FREE_MIN.min(part(total, PERCENT_FREE_MIN)),
            MinFree::Bytes(bytes) => bytes,
            MinFree::Percent(percent) => part(total, u64::from(percent)),
        }
    }

    fn files(self, total: u64) -> u64 {
        match self {
            MinFree::Bytes(0) => 0,
            MinFree::Usual | MinFree::Bytes(_) => FILES_FREE_MIN.min(part(total, PERCENT_FREE_MIN)),
            MinFree::Percent(percent) => part(total, u64::from(percent)),
        }
    }

    /// Whether there is too little. Once there was (`was_short`), about twice as much has to be free for images to be taken
    /// again: or every image that comes and goes would change it.
    pub(crate) fn is_short(self, room: &Room, was_short: bool) -> bool {
        let is_short = |share: Remaining, least: u64| {
            let more = least.min(share.total.saturating_sub(least) / ROOM_AGAIN_PART);
            share.free < if was_short { least + more } else { least }
        };
        is_short(room.bytes, self.bytes(room.bytes.total))
            || is_short(room.files, self.files(room.files.total))
    }

    /// What is free and what has to be, for people.
    pub(crate) fn describe(self, room: &Room) -> String {
        let least = self.bytes(room.bytes.total);
        let mib = |bytes: u64| bytes >> 20;
        let files = match room.files {
            Remaining { total: 0, .. } => String::new(),
            Remaining { free, total } => format!(", {free} of {total} files"),
        };
        format!(
            "{} of {} MiB free{files}; {} MiB are kept free (--disk-min-free)",
            mib(room.bytes.free),
            mib(room.bytes.total),
            mib(least)
        )
    }
}

fn part(total: u64, percent: u64) -> u64 {
    total / 100 * percent + total % 100 * percent / 100
}

/// The room on the disk of a folder.
pub(super) fn room(folder: &Folder) -> Result<Room, Error> {
    let disk = fstatvfs(folder.file()).map_err(|e| failed("look at", folder.path(), &e.into()))?;
    let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
    Ok(Room {
        bytes: Remaining {
            free: bytes(disk.f_bavail),
            total: bytes(disk.f_blocks),
        },
        files: Remaining {
            free: disk.f_favail,
            total: disk.f_files,
        },
        is_read_only: disk.f_flag.contains(StatVfsMountFlags::RDONLY),
    })
}

/// Creates a file, fills it, makes it durable and removes it.
pub(super) fn try_write(work: &WorkFolder) -> Result<(), Error> {
    let temporary = work.create_temporary()?;
    let written = temporary.file().write_all_at(&[0; TRIAL_BYTES], 0);
    let written = written.map_err(|e| failed("write", &temporary.path(), &e));
    let synced = written.and_then(|()| Ok(temporary.sync()?));
    drop(temporary);
    let synced = synced.and_then(|()| Ok(work.folder().sync()?));
    work.faults.note(synced)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn room(free: u64, total: u64) -> Room {
        Room {
            bytes: Remaining { free, total },
            files: Remaining { free: 0, total: 0 },
            is_read_only: false,
        }
    }

    #[test]
    fn a_minimum_is_bytes_or_a_part() {
        for (text, expected) in [
            ("0", Some(MinFree::Bytes(0))),
            ("1000", Some(MinFree::Bytes(1000))),
            ("0%", Some(MinFree::Percent(0))),
            ("99%", Some(MinFree::Percent(99))),
            ("100%", None),
            ("%", None),
            ("", None),
            ("-1", None),
            ("5 %", None),
            ("64M", None),
        ] {
            assert_eq!(MinFree::parse(text), expected, "{text}");
        }
    }

    #[test]
    fn a_disk_is_short_below_the_minimum_and_until_there_is_clearly_more() {
        for (min_free, total, least, again) in [
            (MinFree::Usual, 1 << 40, 64 * MIB, 128 * MIB),
            (MinFree::Usual, 100 * MIB, 5 * MIB, 10 * MIB),
            (MinFree::Bytes(1000), 1 << 40, 1000, 2000),
            (MinFree::Percent(10), 1000, 100, 200),
            // Twice as much is more than there is.
            (MinFree::Percent(60), 1000, 600, 700),
            (MinFree::Bytes(0), 1000, 0, 0),
        ] {
            let is_short = |free, was_short| min_free.is_short(&room(free, total), was_short);
            assert!(!is_short(least, false), "{min_free:?}");
            assert!(!is_short(again, true), "{min_free:?}");
            if least > 0 {
                assert!(is_short(least - 1, false), "{min_free:?}");
                assert!(is_short(again - 1, true), "{min_free:?}");
            }
        }
    }

    #[test]
    fn files_run_out_like_bytes_unless_that_is_turned_off() {
        let files = |free, total| Room {
            files: Remaining { free, total },
            ..room(1 << 40, 1 << 40)
        };
        assert!(MinFree::Usual.is_short(&files(1023, 1 << 20), false));
        assert!(!MinFree::Usual.is_short(&files(1024, 1 << 20), false));
        assert!(MinFree::Bytes(1).is_short(&files(0, 1000), false));
        assert!(!MinFree::Bytes(0).is_short(&files(0, 1000), false));
        assert!(
            !MinFree::Usual.is_short(&files(0, 0), false),
            "a file system without a limit"
        );
    }
}
