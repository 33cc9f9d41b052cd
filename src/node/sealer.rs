//! The sealing half of an upload: segments through the pool into the draft.

use std::net::IpAddr;
use std::sync::Arc;

use super::error::Error;
use super::shared::Node;
use crate::seal::{SEGMENT_BYTES, SegmentCipher};
use crate::sealing::blocks::{Block, Direction};
use crate::sealing::outlet::{Outlet, SealedSegment};
use crate::sealing::pool::Job;
use crate::sealing::segment::Segment;
use crate::store::draft::Draft;

pub(crate) struct Sealer<'n> {
    node: &'n Node,
    cipher: Arc<SegmentCipher>,
    draft: Draft,
    outlet: Arc<Outlet>,
    in_flight: usize,
}

impl<'n> Sealer<'n> {
    pub(crate) fn new(node: &'n Node, cipher: SegmentCipher, draft: Draft) -> Sealer<'n> {
        Sealer {
            node,
            cipher: Arc::new(cipher),
            draft,
            outlet: Arc::default(),
            in_flight: 0,
        }
    }

    /// Seals a segment as soon as the pool has time.
    pub(crate) fn begin(&mut self, index: u32, last: bool, segment: Segment) {
        self.in_flight += 1;
        if segment.is_whole_block()
            && let Some(write) = self.draft.writer()
        {
            self.outlet.may_write(write);
        }
        self.node.pool.seal(Job {
            cipher: Arc::clone(&self.cipher),
            index,
            last,
            segment,
            outlet: Arc::clone(&self.outlet),
        });
    }

    /// Writes sealed segments until at most `in_flight_max` are not written.
    pub(crate) fn write_until(&mut self, in_flight_max: usize) -> Result<(), Error> {
        while self.in_flight > in_flight_max {
            let sealed = self.outlet.take();
            self.in_flight -= 1;
            match sealed {
                SealedSegment::Unwritten(offset, segment) => self.draft.write(offset, segment.sealed())?,
                SealedSegment::Written(offset, written) => {
                    self.draft.was_written(offset, SEGMENT_BYTES, written)?
                }
            }
        }
        Ok(())
    }

    /// A block for this client. If none is free, gives back those that are held here, and waits for one.
    pub(crate) fn block(&mut self, client: IpAddr) -> Result<Block, Error> {
        if let Some(block) = self.node.blocks.try_take(Direction::Upload) {
            return Ok(block);
        }
        self.write_until(0)?;
        Ok(self.node.blocks.take_for(Direction::Upload, client))
    }

    pub(crate) fn into_draft(self) -> Draft {
        self.draft
    }
}
