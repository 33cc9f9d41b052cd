//! A stored image, and how its bytes are read.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "part of the store, which is the edge to the file system"
)]

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use super::direct::{DIRECT_BYTES_ALIGNMENT, DIRECT_BYTES_MIN, set_direct};
use super::error::{Error, failed};
use super::recent::Recent;
use crate::durable::Folder;
use crate::seal::{HEADER_BYTES, Header};
use crate::version::Version;

/// A stored image, open for reading. It stays readable when the name is replaced or removed meanwhile.
pub struct Sealed {
    images: Arc<Folder>,
    recent: Arc<Recent>,
    file: File,
    /// Of the file, in `images`.
    name: String,
    bytes: u64,
    header: Option<Header>,
    /// When the file was written here.
    written: SystemTime,
    inode: u64,
    /// Whether blocks are read past the page cache; decided with the first of them.
    pub(super) direct: OnceLock<bool>,
}

impl Sealed {
    /// The image in `file`, which was opened in `images` under `name`; none if it is not a regular file.
    pub(super) fn new(
        images: &Arc<Folder>,
        recent: &Arc<Recent>,
        file: File,
        name: String,
    ) -> Result<Option<Sealed>, Error> {
        let unknown = |e: io::Error| failed("look at", &images.path().join(&name), &e);
        let metadata = file.metadata().map_err(unknown)?;
        let written = metadata.modified().map_err(unknown)?;
        if !metadata.is_file() {
            return Ok(None);
        }
        let mut header = [0; HEADER_BYTES];
        let header = match file.read_exact_at(&mut header, 0) {
            Ok(()) => Header::parse(&header).ok(),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => None,
            Err(e) => return Err(failed("read", &images.path().join(&name), &e)),
        };
        Ok(Some(Sealed {
            images: Arc::clone(images),
            recent: Arc::clone(recent),
            file,
            name,
            bytes: metadata.len(),
            header,
            written,
            inode: metadata.ino(),
            direct: OnceLock::new(),
        }))
    }

    /// Size of the sealed file, in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The header of the file; none if it is damaged.
    pub fn header(&self) -> Option<&Header> {
        self.header.as_ref()
    }

    /// The write that the file is of; of a damaged file, the one before all others.
    pub fn version(&self) -> Version {
        self.header.as_ref().map(Header::version).unwrap_or_default()
    }

    /// When the image was written. That is the same wherever the file has been handed over to.
    pub fn modified(&self) -> SystemTime {
        match self.version().time.ms() {
            0 => self.written,
            ms => self
                .written
                .min(SystemTime::UNIX_EPOCH + Duration::from_millis(ms)),
        }
    }

    /// Fills `buf` with bytes from `offset` on, and returns how many; 0 at the end. Not to be used after
    /// [`read_block`](Sealed::read_block).
    pub(crate) fn read_piece(&self, offset: u64, buf: &mut [u8]) -> Result<usize, Error> {
        let count = self.file.read_at(buf, offset);
        count.map_err(|e| self.unreadable(&e))
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
                && !self.recent.note(self.inode, self.written)
                && set_direct(&self.file, true)
        })
    }
}
