//! The receiving half of an upload: bytes from the socket into segments, past the checks.

use sha2::{Digest, Sha256};

use super::error::Error;
use super::sealer::Sealer;
use super::shared::Node;
use crate::http::body::{self, Body};
use crate::image::Check;
use crate::seal::SEGMENT_BYTES;
use crate::sealing::blocks::Direction;
use crate::sealing::segment::Segment;
use crate::socket::pace::Pace;
use crate::socket::{Socket, is_stall, is_too_slow};

pub(crate) struct Intake<'u> {
    node: &'u Node,
    socket: &'u mut Socket,
    body: &'u mut Body,
    check: Check,
    digest: Option<Sha256>,
    pace: Pace,
    /// Bytes of the image so far.
    bytes: u64,
    /// Bytes of the last segment never had to be waited for, so the next one may start in a block.
    sender_keeps_up: bool,
}

impl<'u> Intake<'u> {
    pub(crate) fn new(
        node: &'u Node,
        socket: &'u mut Socket,
        body: &'u mut Body,
        has_digest: bool,
    ) -> Intake<'u> {
        Intake {
            node,
            socket,
            body,
            check: Check::new(node.pixels_max, node.png_rules),
            digest: has_digest.then(Sha256::new),
            pace: Pace::default(),
            bytes: 0,
            sender_keeps_up: false,
        }
    }

    /// Whether the segment that was read last is the last of the image.
    pub(crate) fn is_done(&self) -> bool {
        self.body.is_done()
    }

    /// Reads segment `index`.
    pub(crate) fn segment(&mut self, index: u32, sealer: &mut Sealer<'_>) -> Result<Segment, Error> {
        let mut segment = Segment::new(index);
        if self.may_begin_in_block()
            && let Some(block) = self.node.blocks.try_take(Direction::Upload)
        {
            segment.move_into(block);
        }
        self.sender_keeps_up = true;
        loop {
            if segment.wants_block() {
                segment.move_into(sealer.block(self.socket.client())?);
            }
            let step = if segment.is_full() {
                let (inbox, mut wire) = self.socket.reader(&mut self.pace);
                self.body.skip_to_content(inbox, &mut wire).map(|()| 0)
            } else {
                let (inbox, mut wire) = self.socket.reader(&mut self.pace);
                self.body.read(inbox, &mut wire, segment.unfilled())
            };
            match step {
                Ok(0) => break,
                Ok(count) => {
                    self.took(segment.advance(count))?;
                    if segment.is_overdue() {
                        self.give_way(&mut segment, sealer)?;
                    }
                }
                Err(body::Error::Wire(e)) if is_stall(&e) => self.wait(&mut segment, sealer)?,
                Err(e) => return Err(not_received(e)),
            }
        }
        Ok(segment)
    }

    /// Whether a segment may begin in a block without holding it for bytes that may not come: the sender keeps up and at
    /// least half a segment is left, or all of what is left is here.
    fn may_begin_in_block(&self) -> bool {
        match self.body.remaining() {
            None => self.sender_keeps_up,
            Some(left) => {
                self.sender_keeps_up && left >= SEGMENT_BYTES as u64 / 2 || self.socket.has_arrived(left)
            }
        }
    }

    fn took(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.bytes += bytes.len() as u64;
        if self.bytes > self.node.body_bytes_max {
            return Err(Error::TooLarge(self.node.body_bytes_max));
        }
        self.check.feed(bytes).map_err(Error::Image)?;
        if let Some(digest) = &mut self.digest {
            digest.update(bytes);
        }
        Ok(())
    }

    /// Gives back the memory that others need.
    fn give_way(&mut self, segment: &mut Segment, sealer: &mut Sealer<'_>) -> Result<(), Error> {
        self.sender_keeps_up = false;
        sealer.write_until(0)?;
        segment.yield_block(&self.node.blocks);
        if segment.is_revoked() {
            return Err(Error::Stalled);
        }
        Ok(())
    }

    /// Nothing came for a tick: gives way, and waits as long as the pace allows.
    fn wait(&mut self, segment: &mut Segment, sealer: &mut Sealer<'_>) -> Result<(), Error> {
        self.give_way(segment, sealer)?;
        if segment.can_be_reclaimed() {
            // Comes back after a tick, to see whether others need the memory by then.
            return Ok(());
        }
        self.socket
            .await_input(&mut self.pace)
            .map_err(|e| not_received(body::Error::Wire(e)))
    }

    /// Judges the whole image and returns how many bytes it has.
    pub(crate) fn finish(&mut self, expected: Option<[u8; 32]>) -> Result<u64, Error> {
        self.check.finish().map_err(Error::Image)?;
        let found = self
            .digest
            .take()
            .map(|digest| <[u8; 32]>::from(digest.finalize()));
        if found != expected {
            return Err(Error::Digest);
        }
        Ok(self.bytes)
    }
}

fn not_received(error: body::Error) -> Error {
    match error {
        body::Error::Malformed(why) => Error::Body(why),
        body::Error::Ended => Error::Lost("the connection ended before the image did".to_owned()),
        body::Error::Wire(e) if is_too_slow(&e) => Error::Slow,
        body::Error::Wire(e) => Error::Lost(e.to_string()),
    }
}
