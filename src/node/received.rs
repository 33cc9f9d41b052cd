//! An upload that was received and sealed, but has no name yet.

use super::error::Error;
use super::opening::{Opener, Stored};
use super::random::random;
use super::shared::Node;
use crate::image_id::ImageId;
use crate::roster::ViewId;
use crate::seal::{HEADER_BYTES, Header, SEGMENT_BYTES, SegmentCipher};
use crate::store::draft::Draft;
use crate::version::Version;

pub(crate) struct Received {
    pub(crate) draft: Draft,
    pub(crate) header: Header,
    /// The view in which its version was drawn.
    pub(crate) view: ViewId,
    /// Another node was given it, as it is, and has not answered.
    pub(crate) may_be_elsewhere: bool,
}

impl Received {
    pub(crate) fn new(draft: Draft, header: Header, view: ViewId) -> Received {
        Received {
            draft,
            header,
            view,
            may_be_elsewhere: false,
        }
    }

    pub(crate) fn version(&self) -> Version {
        self.header.version()
    }

    /// The same image as a write that begins now, in `view`: a version is part of what is sealed. One that may be elsewhere
    /// cannot begin again, or it could happen twice.
    pub(crate) fn renew(&mut self, node: &Node, id: &ImageId, view: ViewId) -> Result<(), Error> {
        if self.may_be_elsewhere {
            return Err(Error::Unconfirmed);
        }
        let header = Header::new(node.next_version(), random()?);
        let cipher = SegmentCipher::new(node.keyset.primary(), &header, &id.associated_data());
        let mut draft = node.store.begin()?;
        let bytes = self.draft.bytes();
        let opener = Opener::new(node, id, self.header, bytes);
        self.draft.prepare_to_read();
        let (mut offset, mut index) = (0, 0);
        while offset < bytes {
            let mut block = node.blocks.take();
            let filled =
                usize::try_from(bytes - offset).map_or(SEGMENT_BYTES, |left| left.min(SEGMENT_BYTES));
            self.draft.read_exact(offset, &mut block.bytes_mut()[..filled])?;
            let mut block = opener.open(Stored::new(block, index, filled))?.into_block();
            let start = if index == 0 { HEADER_BYTES } else { 0 };
            block.bytes_mut()[..start].copy_from_slice(&header.encode()[..start]);
            let last = offset + filled as u64 == bytes;
            cipher.seal(index, last, &mut block.bytes_mut()[start..filled]);
            draft.write(offset, &block.bytes()[..filled])?;
            offset += filled as u64;
            index += 1;
        }
        draft.sync()?;
        *self = Received::new(draft, header, view);
        Ok(())
    }
}
