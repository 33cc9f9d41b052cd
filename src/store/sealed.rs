//! A stored image, and how its bytes are read.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "part of the store, which is the edge to the file system"
)]

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::OnceLock;
use std::time::SystemTime;

use super::direct::{DIRECT_BYTES_ALIGNMENT, DIRECT_BYTES_MIN, set_direct};
use super::error::{Error, failed};
use super::recent::Recent;
use crate::durable::Folder;

/// A stored image, open for reading. It stays readable when the name is replaced or removed meanwhile.
pub struct Sealed<'s> {
    images: &'s Folder,
    recent: &'s Recent,
    file: File,
    /// Of the file, in `images`.
    name: String,
    bytes: u64,
    modified: SystemTime,
    inode: u64,
    /// Whether blocks are read past the page cache; decided with the first of them.
    pub(super) direct: OnceLock<bool>,
}

impl<'s> Sealed<'s> {
    /// The image in `file`, which was opened in `images` under `name`; none if it is not a regular file.
    pub(super) fn new(
        images: &'s Folder,
        recent: &'s Recent,
        file: File,
        name: String,
    ) -> Result<Option<Sealed<'s>>, Error> {
        let unknown = |e: io::Error| failed("look at", &images.path().join(&name), &e);
        let metadata = file.metadata().map_err(unknown)?;
        let modified = metadata.modified().map_err(unknown)?;
        Ok(metadata.is_file().then(|| Sealed {
            images,
            recent,
            file,
            name,
            bytes: metadata.len(),
            modified,
            inode: metadata.ino(),
            direct: OnceLock::new(),
        }))
    }

    /// Size of the sealed file, in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// When the image got its name.
    pub(crate) fn modified(&self) -> SystemTime {
        self.modified
    }

    /// Fills `buf` with the first bytes of the file; fewer in it are an error. Not to be used after
    /// [`read_block`](Sealed::read_block).
    pub(crate) fn read_start(&self, buf: &mut [u8]) -> Result<(), Error> {
        self.file.read_exact_at(buf, 0).map_err(|e| self.unreadable(&e))
    }

    /// Fills `block` with the bytes at `offset`, as far as there are any, and returns how many. Address, length and
    /// offset are multiples of 4096.
    ///
    /// A large file that was not read lately is read past the page cache, as it was written: filling the cache
    /// took more of the processor than all the rest of a download (1.6 against 0.4 s/GB where this was measured).
    pub fn read_block(&self, offset: u64, block: &mut [u8]) -> Result<usize, Error> {
        let left = self.bytes.saturating_sub(offset);
        let bytes = usize::try_from(left).map_or(block.len(), |left| left.min(block.len()));
        let wanted = if self.is_direct() {
            bytes.next_multiple_of(DIRECT_BYTES_ALIGNMENT)
        } else {
            bytes
        };
        let mut done = 0;
        while done < bytes {
            match self.file.read_at(&mut block[done..wanted], offset + done as u64) {
                Ok(0) => return Err(self.unreadable(&io::ErrorKind::UnexpectedEof.into())),
                Ok(count) => done += count,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(self.unreadable(&e)),
            }
        }
        Ok(bytes)
    }

    fn unreadable(&self, error: &io::Error) -> Error {
        failed("read", &self.images.path().join(&self.name), error)
    }

    fn is_direct(&self) -> bool {
        *self.direct.get_or_init(|| {
            self.bytes >= DIRECT_BYTES_MIN as u64
                && !self.recent.note(self.inode, self.modified)
                && set_direct(&self.file, true)
        })
    }
}
