//! A sealed file being opened: its segments are read from the store into blocks, and verified and decrypted in the pool.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use super::error::Error;
use super::etag::etag;
use super::shared::Node;
use crate::image_id::ImageId;
use crate::keyset::Keyset;
use crate::seal::{self, HEADER_BYTES, Header, SEGMENT_BYTES, SegmentCipher, TAG_BYTES};
use crate::sealing::blocks::{Block, Direction};
use crate::sealing::pool::Pending;
use crate::store::sealed::Sealed;

/// A sealed file that is being opened.
pub(crate) struct Source<'n> {
    node: &'n Node,
    sealed: Arc<Sealed>,
    plain_bytes: u64,
    opener: Arc<Opener>,
}

/// What it takes to open the segments of a file, wherever that is done.
pub(crate) struct Opener {
    keyset: Arc<Keyset>,
    header: Header,
    associated_data: Vec<u8>,
    sealed_bytes: u64,
    /// Known once the first segment was opened.
    cipher: OnceLock<SegmentCipher>,
}

/// A segment as it is stored. Nothing of it is verified, so nothing of it may leave as an image.
pub(crate) struct Stored {
    block: Block,
    index: u32,
    /// How much of the block is filled; in segment 0, that begins with the header of the file.
    filled: usize,
}

/// A segment that was verified and decrypted.
pub(crate) struct Opened(Stored);

impl<'n> Source<'n> {
    /// Reads the header.
    pub(crate) fn new(node: &'n Node, id: &ImageId, sealed: Sealed) -> Result<Source<'n>, Error> {
        let plain_bytes = seal::plain_bytes(sealed.bytes()).ok_or(Error::Damaged)?;
        let header = *sealed.header().ok_or(Error::Damaged)?;
        let opener = Opener::new(node, id, header, sealed.bytes());
        Ok(Source {
            node,
            sealed: Arc::new(sealed),
            plain_bytes,
            opener: Arc::new(opener),
        })
    }

    /// The entity tag of the image.
    pub(crate) fn etag(&self) -> String {
        etag(&self.opener.header)
    }

    /// Bytes of the sealed file.
    pub(crate) fn sealed_bytes(&self) -> u64 {
        self.sealed.bytes()
    }

    /// When the image got its name.
    pub(crate) fn modified(&self) -> SystemTime {
        self.sealed.modified()
    }

    /// Bytes of the image.
    pub(crate) fn plain_bytes(&self) -> u64 {
        self.plain_bytes
    }

    /// Reads segment `index` into `block`.
    pub(crate) fn read(&self, index: u32, block: Block) -> Result<Stored, Error> {
        Stored::read(&self.sealed, index, block)
    }

    /// Verifies and decrypts a segment in the pool. Workers do not do that themselves: if every worker that holds a block
    /// computed at once, everything else in the node would wait for a core.
    pub(crate) fn open(&self, stored: Stored) -> Pending<Result<Opened, Error>> {
        let opener = Arc::clone(&self.opener);
        self.node.pool.begin(move || opener.open(stored))
    }

    /// The same with segment `index`, which is read there as well, if a thread can be spared for that.
    pub(crate) fn read_and_open(
        &self,
        index: u32,
        block: Block,
    ) -> Result<Pending<Result<Opened, Error>>, Error> {
        let Some(spared) = self.node.pool.spare() else {
            return Ok(self.open(self.read(index, block)?));
        };
        let (sealed, opener) = (Arc::clone(&self.sealed), Arc::clone(&self.opener));
        Ok(self.node.pool.begin(move || {
            let stored = Stored::read(&sealed, index, block)?;
            drop(spared);
            opener.open(stored)
        }))
    }

    /// A block, in the turn of `client`, who must hold none.
    pub(crate) fn block(&self, client: IpAddr) -> Block {
        self.node.blocks.take_for(Direction::Download, client)
    }

    /// A block, if one is free.
    pub(crate) fn try_block(&self) -> Option<Block> {
        self.node.blocks.try_take(Direction::Download)
    }
}

impl Opener {
    pub(crate) fn new(node: &Node, id: &ImageId, header: Header, sealed_bytes: u64) -> Opener {
        Opener {
            keyset: Arc::clone(&node.keyset),
            header,
            associated_data: id.associated_data(),
            sealed_bytes,
            cipher: OnceLock::new(),
        }
    }

    pub(crate) fn open(&self, mut stored: Stored) -> Result<Opened, Error> {
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
        opened.map_err(|_| Error::Damaged)?;
        Ok(Opened(stored))
    }
}

impl Stored {
    fn read(sealed: &Sealed, index: u32, mut block: Block) -> Result<Stored, Error> {
        let offset = u64::from(index) * SEGMENT_BYTES as u64;
        let filled = sealed.read_block(offset, block.bytes_mut())?;
        Ok(Stored { block, index, filled })
    }

    /// Segment `index`, in the first `filled` bytes of `block`.
    pub(crate) fn new(block: Block, index: u32, filled: usize) -> Stored {
        Stored { block, index, filled }
    }

    /// What was read, from the beginning of the block.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.block.bytes()[..self.filled]
    }

    /// Where it is.
    pub(crate) fn block(&self) -> &Block {
        &self.block
    }

    fn start(&self) -> usize {
        if self.index == 0 { HEADER_BYTES } else { 0 }
    }
}

impl Opened {
    /// Where its plaintext begins in that of the file.
    pub(crate) fn offset(&self) -> u64 {
        seal::segment_start(self.0.index)
    }

    /// The plaintext.
    pub(crate) fn text(&self) -> &[u8] {
        &self.0.bytes()[self.0.start()..self.0.filled - TAG_BYTES]
    }

    /// Where it is.
    pub(crate) fn block(&self) -> &Block {
        &self.0.block
    }

    /// The block, for another segment.
    pub(crate) fn into_block(self) -> Block {
        self.0.block
    }
}
