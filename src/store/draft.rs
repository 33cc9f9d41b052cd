//! An image on its way into the store: bytes, then durable, then a name.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "part of the store, which is the edge to the file system"
)]

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::direct::{DIRECT_BYTES_ALIGNMENT, DIRECT_BYTES_MIN, set_direct};
use super::{Durability, Error, Store, failed};
use crate::image_id::ImageId;

/// Whether a committed image took the place of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The name is new.
    Created,
    /// An older image of that name is gone.
    Replaced,
}

/// What to do when the name is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replace {
    /// The newer image wins.
    Allowed,
    /// Fail with [`Error::Taken`].
    Refused,
}

/// An image on its way: bytes under a temporary name.
pub struct Draft<'s> {
    store: &'s Store,
    pub(super) file: File,
    pub(super) path: PathBuf,
    direct: bool,
    committed: bool,
}

impl<'s> Draft<'s> {
    /// The draft in `file`, which is empty and lies at `path`.
    pub(super) fn new(store: &'s Store, file: File, path: PathBuf) -> Draft<'s> {
        Draft {
            store,
            file,
            path,
            direct: false,
            committed: false,
        }
    }

    /// Writes `bytes` at `offset`. Large writes from aligned memory bypass the page cache, which is faster
    /// than going through it and leaves it to others (1.0 against 0.7 GB/s where this was measured).
    pub fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        let aligned = bytes.as_ptr().align_offset(DIRECT_BYTES_ALIGNMENT) == 0
            && offset.is_multiple_of(DIRECT_BYTES_ALIGNMENT as u64)
            && bytes.len() >= DIRECT_BYTES_MIN;
        let whole = if aligned {
            bytes.len() - bytes.len() % DIRECT_BYTES_ALIGNMENT
        } else {
            0
        };
        let (body, tail) = bytes.split_at(whole);
        self.write_as(true, offset, body)?;
        self.write_as(false, offset + whole as u64, tail)
    }

    fn write_as(&mut self, direct: bool, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        if bytes.is_empty() {
            return Ok(());
        }
        if direct != self.direct {
            self.direct = set_direct(&self.file, direct);
        }
        self.file
            .write_all_at(bytes, offset)
            .map_err(failed("write", &self.path))
    }

    /// Makes the bytes durable and gives them their name. When this returns, a receipt may be sent.
    pub fn commit(mut self, id: &ImageId, replace: Replace) -> Result<Outcome, Error> {
        let store = self.store;
        if store.durability == Durability::Fsync {
            // Not tried again on failure: the kernel has dropped the dirty pages by then, and a second call
            // would succeed without them.
            self.file.sync_data().map_err(failed("sync", &self.path))?;
        }
        let target = store.images.join(id.file_name());
        let outcome = match renameat_with(CWD, &self.path, CWD, &target, RenameFlags::NOREPLACE) {
            Ok(()) => Outcome::Created,
            Err(Errno::EXIST) if replace == Replace::Refused => return Err(Error::Taken),
            Err(Errno::EXIST) => {
                fs::rename(&self.path, &target).map_err(failed("rename to", &target))?;
                Outcome::Replaced
            }
            // A file system that knows no flags: the check and the rename are two steps there.
            Err(Errno::INVAL | Errno::NOSYS) => rename_in_two_steps(&self.path, &target, replace)?,
            Err(e) => return Err(failed("rename to", &target)(e.into())),
        };
        self.committed = true;
        store.sync_folder(&store.images).inspect_err(|_| {
            // Not acknowledged, so it must not stay; an image that was replaced cannot be brought back.
            if outcome == Outcome::Created {
                let _ = fs::remove_file(&target);
            }
        })?;
        Ok(outcome)
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        if !self.committed {
            // What cannot be removed now is swept at the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn rename_in_two_steps(draft: &Path, target: &Path, replace: Replace) -> Result<Outcome, Error> {
    let exists = fs::symlink_metadata(target).is_ok();
    if exists && replace == Replace::Refused {
        return Err(Error::Taken);
    }
    fs::rename(draft, target).map_err(failed("rename to", target))?;
    Ok(if exists {
        Outcome::Replaced
    } else {
        Outcome::Created
    })
}
