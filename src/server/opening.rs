//! Segments on their way out: read from the store into blocks, verified and decrypted in the rayon pool.

use std::sync::{Arc, OnceLock};

use super::Node;
use crate::image_id::ImageId;
use crate::keyset::Keyset;
use crate::seal::{self, HEADER_BYTES, Header, SEGMENT_BYTES, SegmentCipher, TAG_BYTES};
use crate::sealing::blocks::Block;
use crate::store;
use crate::store::sealed::Sealed;

/// Why a stored image does not come out.
#[derive(Debug)]
pub enum Fault {
    /// It is not what this node can open: changed, cut, or sealed with another key.
    Damaged,
    /// The disk does not give it.
    Unreadable(store::Error),
}

impl From<store::Error> for Fault {
    fn from(error: store::Error) -> Fault {
        Fault::Unreadable(error)
    }
}

/// A sealed file that is being opened.
pub struct Source<'n> {
    node: &'n Node,
    sealed: &'n Sealed<'n>,
    plain_bytes: u64,
    opener: Arc<Opener>,
}

/// What it takes to open the segments of a file, wherever that is done.
struct Opener {
    keyset: Arc<Keyset>,
    header: Header,
    associated_data: Vec<u8>,
    sealed_bytes: u64,
    /// Known once the first segment was opened.
    cipher: OnceLock<SegmentCipher>,
}

/// A segment as it is stored. Nothing of it may leave as an image, because nothing was verified.
pub struct Stored {
    block: Block,
    index: u32,
    /// How much of the block is filled; in segment 0, that begins with the header of the file.
    filled: usize,
}

/// A segment that was verified and decrypted.
pub struct Opened(Stored);

impl<'n> Source<'n> {
    /// Reads the header.
    pub fn new(node: &'n Node, id: &ImageId, sealed: &'n Sealed<'n>) -> Result<Source<'n>, Fault> {
        let plain_bytes = seal::plain_bytes(sealed.bytes()).ok_or(Fault::Damaged)?;
        let mut header = [0; HEADER_BYTES];
        sealed.read_start(&mut header)?;
        let header = Header::parse(&header).map_err(|_| Fault::Damaged)?;
        let opener = Opener {
            keyset: Arc::clone(&node.keyset),
            header,
            associated_data: id.associated_data(),
            sealed_bytes: sealed.bytes(),
            cipher: OnceLock::new(),
        };
        Ok(Source {
            node,
            sealed,
            plain_bytes,
            opener: Arc::new(opener),
        })
    }

    /// The header of the file.
    pub fn header(&self) -> &Header {
        &self.opener.header
    }

    /// Bytes of the image.
    pub fn plain_bytes(&self) -> u64 {
        self.plain_bytes
    }

    /// Reads segment `index` into `block`.
    pub fn read(&self, index: u32, mut block: Block) -> Result<Stored, Fault> {
        let offset = u64::from(index) * SEGMENT_BYTES as u64;
        let filled = self.sealed.read_block(offset, block.bytes_mut())?;
        Ok(Stored { block, index, filled })
    }

    /// Segment `index`, once there is a block for it, and the next one if it is not after `last` and there is a block
    /// for it as well. The caller holds none.
    pub fn segment_and_next(&self, index: u32, last: u32) -> Result<(Opened, Option<Stored>), Fault> {
        self.open_and_read_next(self.read(index, self.node.blocks.take())?, last)
    }

    /// Opens a segment and, meanwhile, reads the next one if it is not after `last` and there is a block for it.
    pub fn open_and_read_next(&self, stored: Stored, last: u32) -> Result<(Opened, Option<Stored>), Fault> {
        let next = stored.index + 1;
        let (opened, next) = self.open_beside(stored, || {
            let block = (next <= last).then(|| self.node.blocks.try_take()).flatten();
            block.map(|block| self.read(next, block)).transpose()
        });
        Ok((opened?, next?))
    }

    /// Opens a segment while this thread does `meanwhile`. Always in the pool, as sealing is: if every worker that holds
    /// a block computed at once, whatever else the node does would wait for a core behind all of them.
    pub fn open_beside<R>(
        &self,
        stored: Stored,
        meanwhile: impl FnOnce() -> R,
    ) -> (Result<Opened, Fault>, R) {
        let opener = Arc::clone(&self.opener);
        self.node.pool.beside(move || opener.open(stored), meanwhile)
    }
}

impl Opener {
    fn open(&self, mut stored: Stored) -> Result<Opened, Fault> {
        let (index, start) = (stored.index, stored.start());
        let last = u64::from(index) * SEGMENT_BYTES as u64 + stored.filled as u64 == self.sealed_bytes;
        let buf = &mut stored.block.bytes_mut()[start..stored.filled];
        let opened = match self.cipher.get() {
            Some(cipher) => cipher.open(index, last, buf),
            None => {
                let keys = self.keyset.enabled();
                SegmentCipher::open_with_any_key(keys, &self.header, &self.associated_data, index, last, buf)
                    .map(|found| drop(self.cipher.set(found)))
            }
        };
        opened.map_err(|_| Fault::Damaged)?;
        Ok(Opened(stored))
    }
}

impl Stored {
    /// What was read, from the beginning of the block.
    pub fn bytes(&self) -> &[u8] {
        &self.block.bytes()[..self.filled]
    }

    fn start(&self) -> usize {
        if self.index == 0 { HEADER_BYTES } else { 0 }
    }
}

impl Opened {
    /// Which segment of the file this is.
    pub fn index(&self) -> u32 {
        self.0.index
    }

    /// Where its plaintext begins in that of the file.
    pub fn place(&self) -> u64 {
        seal::segment_start(self.0.index)
    }

    /// The plaintext.
    pub fn text(&self) -> &[u8] {
        &self.0.bytes()[self.0.start()..self.0.filled - TAG_BYTES]
    }

    /// The block, for another segment.
    pub fn into_block(self) -> Block {
        self.0.block
    }
}
