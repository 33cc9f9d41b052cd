//! O_DIRECT: past the page cache.

#![allow(
    clippy::disallowed_types,
    reason = "part of the store, which is the edge to the file system"
)]

use std::fs::File;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

/// O_DIRECT wants file offset, length and address in multiples of the logical block size; 4 KiB covers every
/// device in use.
pub(crate) const DIRECT_BYTES_ALIGNMENT: usize = 4096;
/// Writes, and files to be read, below this go through the page cache: setting O_DIRECT up costs more than it saves
/// there.
pub(super) const DIRECT_BYTES_MIN: usize = 256 << 10;

/// Has the file read and written past the page cache, or through it, and returns whether it is past it now: a file
/// system without O_DIRECT refuses the flag.
pub(super) fn set_direct(file: &File, direct: bool) -> bool {
    let set = |flags: OFlags| {
        let wanted = if direct {
            flags | OFlags::DIRECT
        } else {
            flags - OFlags::DIRECT
        };
        fcntl_setfl(file, wanted)
    };
    fcntl_getfl(file).and_then(set).is_ok() && direct
}
