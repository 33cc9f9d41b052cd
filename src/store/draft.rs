//! An image on its way into the store: bytes, then durable, then a name.

use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::direct::{DIRECT_BYTES_ALIGNMENT, DIRECT_BYTES_MIN, set_direct};
use super::error::{Error, failed};
use super::faults::Faults;
use super::usage::Reservation;
use crate::durable::{Durability, Folder, Replace, TemporaryFile};
use crate::image_id::ImageId;

/// An image under a temporary name. It vanishes when dropped, unless it is committed.
pub(crate) struct Draft {
    temporary: TemporaryFile,
    durability: Durability,
    faults: Arc<Faults>,
    direct: bool,
    /// How far it reaches.
    bytes: u64,
    /// Its place in what its user may have, until it has its name.
    pub(super) reservation: Option<Reservation>,
}

impl Draft {
    pub(super) fn new(temporary: TemporaryFile, durability: Durability, faults: Arc<Faults>) -> Draft {
        Draft {
            temporary,
            durability,
            faults,
            direct: false,
            bytes: 0,
            reservation: None,
        }
    }

    /// Writes `bytes` at `offset`. Large writes from aligned memory bypass the page cache, which is faster
    /// than going through it and leaves it to others (1.0 against 0.7 GB/s where this was measured).
    pub(crate) fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
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
        self.set_direct(direct);
        let written = self.temporary.file().write_all_at(bytes, offset);
        self.was_written(offset, bytes.len(), written)
    }

    fn set_direct(&mut self, direct: bool) {
        if direct != self.direct {
            self.direct = set_direct(self.temporary.file(), direct);
        }
    }

    /// What another thread may write aligned blocks with, at an offset, if they go past the page cache. Should this one write
    /// its tail meanwhile, they go through it, which is slower and as right.
    pub(crate) fn writer(&mut self) -> Option<impl Fn(u64, &[u8]) -> io::Result<()> + Send + Sync + 'static> {
        self.set_direct(true);
        let file = self.direct.then(|| self.temporary.share())?;
        Some(move |offset, bytes: &[u8]| file.write_all_at(bytes, offset))
    }

    /// What became of `count` bytes at `offset` that were written with [`Draft::writer`].
    pub(crate) fn was_written(
        &mut self,
        offset: u64,
        count: usize,
        written: io::Result<()>,
    ) -> Result<(), Error> {
        self.bytes = self.bytes.max(offset + count as u64);
        self.faults
            .note(written.map_err(|e| failed("write", &self.temporary.path(), &e)))
    }

    /// Makes the bytes durable. Once only: see [`TemporaryFile::sync`].
    pub(crate) fn sync(&self) -> Result<(), Error> {
        match self.durability {
            Durability::Fsync => self.faults.note(self.temporary.sync().map_err(Error::from)),
            Durability::Rename => Ok(()),
        }
    }

    /// Gives the bytes their name.
    pub(super) fn rename(&mut self, images: &Folder, id: &ImageId, replace: Replace) -> Result<(), Error> {
        let renamed = self.temporary.rename(images, id.file_name().as_ref(), replace);
        self.faults.note(renamed.map(drop).map_err(Error::from))
    }

    /// Bytes written so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// To be called before [`Draft::read`]: reads come in any length.
    pub(crate) fn prepare_to_read(&mut self) {
        self.set_direct(false);
    }

    /// Fills all of `buf` with the bytes from `offset` on.
    pub(crate) fn read_exact(&self, offset: u64, buf: &mut [u8]) -> Result<(), Error> {
        let read = self.temporary.file().read_exact_at(buf, offset);
        read.map_err(|e| failed("read", &self.temporary.path(), &e))
    }

    /// Fills `buf` with bytes from `offset` on, and returns how many; 0 at the end.
    pub(crate) fn read(&self, offset: u64, buf: &mut [u8]) -> Result<usize, Error> {
        let count = self.temporary.file().read_at(buf, offset);
        count.map_err(|e| failed("read", &self.temporary.path(), &e))
    }
}
