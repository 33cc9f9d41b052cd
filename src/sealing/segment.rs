//! One segment of an upload while it arrives: in a small buffer first, in a block once it proves to be large.
//!
//! A sender that trickles must not hold a block, so every segment begins in memory that grows with what has
//! arrived. One that stalls in the middle of a block gives the block back if others wait for it, and goes on
//! in memory of its own, which only so many may have.
//!
//! Layout, the same in both kinds of memory: what comes before the plaintext (the file header, in segment 0),
//! the plaintext, space for the tag.

use super::blocks::{Block, Blocks, StallAllowance};
use crate::seal::{HEADER_BYTES, SEGMENT_BYTES, TAG_BYTES};

/// What a segment may hold before it is given a block.
const SMALL_BYTES_MAX: usize = 64 << 10;
/// What a new segment allocates first.
const FIRST_BYTES: usize = 16 << 10;

enum Memory {
    Small(Vec<u8>),
    Stalled {
        bytes: Vec<u8>,
        allowance: StallAllowance,
    },
    Block(Block),
}

/// A segment that is being filled, sealed or written.
pub(crate) struct Segment {
    memory: Memory,
    /// Where the plaintext begins.
    start: usize,
    /// Plaintext bytes so far.
    filled: usize,
}

impl Segment {
    /// An empty segment number `index` of a file.
    pub(crate) fn new(index: u32) -> Segment {
        let start = if index == 0 { HEADER_BYTES } else { 0 };
        Segment {
            memory: Memory::Small(vec![0; start + TAG_BYTES]),
            start,
            filled: 0,
        }
    }

    /// Plaintext bytes that a full segment holds.
    pub(crate) fn capacity(&self) -> usize {
        SEGMENT_BYTES - self.start - TAG_BYTES
    }

    /// Whether no more plaintext fits.
    pub(crate) fn is_full(&self) -> bool {
        self.filled == self.capacity()
    }

    /// Whether the small buffer is used up and a block is due.
    pub(crate) fn wants_block(&self) -> bool {
        let used = self.start + self.filled + TAG_BYTES;
        matches!(&self.memory, Memory::Small(_)) && used >= SMALL_BYTES_MAX && !self.is_full()
    }

    /// Whether it fills a block, so that it can be written past the page cache.
    pub(crate) fn is_whole_block(&self) -> bool {
        self.is_full() && matches!(self.memory, Memory::Block(_))
    }

    /// Whether a block is held.
    #[cfg(test)]
    fn holds_block(&self) -> bool {
        matches!(self.memory, Memory::Block(_))
    }

    /// Moves what has arrived into `block`.
    pub(crate) fn move_into(&mut self, mut block: Block) {
        let used = self.start + self.filled;
        block.bytes_mut()[..used].copy_from_slice(&self.bytes()[..used]);
        self.memory = Memory::Block(block);
    }

    /// Whether the sender has stalled for so long that others need the memory.
    pub(crate) fn is_revoked(&self) -> bool {
        matches!(&self.memory, Memory::Stalled { allowance, .. } if allowance.is_revoked())
    }

    /// Whether this holds memory that others may need: a block, or a stall allowance.
    pub(crate) fn can_be_reclaimed(&self) -> bool {
        !matches!(self.memory, Memory::Small(_))
    }

    /// Whether it is in a block that others, who wait, should have by now.
    pub(crate) fn is_overdue(&self) -> bool {
        matches!(&self.memory, Memory::Block(block) if block.is_overdue())
    }

    /// The sender stalls, or does not get on: gives the block back if others wait for one and this upload may keep memory
    /// of its own.
    pub(crate) fn yield_block(&mut self, blocks: &Blocks) {
        let Memory::Block(block) = &mut self.memory else {
            return;
        };
        if !blocks.are_scarce() {
            return;
        }
        let Some(allowance) = blocks.allow_stall() else {
            block.hold_on();
            return;
        };
        let used = self.start + self.filled;
        let mut kept = Vec::with_capacity(SEGMENT_BYTES);
        kept.extend_from_slice(&self.bytes()[..used]);
        self.memory = Memory::Stalled {
            bytes: kept,
            allowance,
        };
    }

    /// Where the next plaintext goes; empty only if the segment is full or wants a block.
    pub(crate) fn unfilled(&mut self) -> &mut [u8] {
        let (used, capacity) = (self.start + self.filled, SEGMENT_BYTES - TAG_BYTES);
        let grown = match &self.memory {
            Memory::Small(_) if used + TAG_BYTES < FIRST_BYTES => FIRST_BYTES,
            Memory::Small(_) => SMALL_BYTES_MAX,
            Memory::Stalled { .. } | Memory::Block(_) => SEGMENT_BYTES,
        };
        if let Memory::Small(bytes) | Memory::Stalled { bytes, .. } = &mut self.memory
            && bytes.len() < grown
        {
            bytes.resize(grown, 0);
        }
        let end = grown.saturating_sub(TAG_BYTES).min(capacity);
        &mut self.bytes_mut()[used..end]
    }

    /// Notes that `count` bytes of [`Segment::unfilled`] were filled, and returns them.
    pub(crate) fn advance(&mut self, count: usize) -> &[u8] {
        let from = self.start + self.filled;
        self.filled += count;
        &self.bytes()[from..from + count]
    }

    /// Writes the file header before the plaintext of segment 0.
    pub(crate) fn set_header(&mut self, header: &[u8; HEADER_BYTES]) {
        assert_eq!(self.start, HEADER_BYTES, "only segment 0 begins with a header");
        self.bytes_mut()[..HEADER_BYTES].copy_from_slice(header);
    }

    /// The plaintext and the space for its tag: what sealing works on.
    pub(crate) fn text_and_tag_mut(&mut self) -> &mut [u8] {
        let (start, end) = (self.start, self.start + self.filled + TAG_BYTES);
        &mut self.bytes_mut()[start..end]
    }

    /// Header, ciphertext and tag: what goes to the file.
    pub(crate) fn sealed(&self) -> &[u8] {
        &self.bytes()[..self.start + self.filled + TAG_BYTES]
    }

    fn bytes(&self) -> &[u8] {
        match &self.memory {
            Memory::Small(bytes) | Memory::Stalled { bytes, .. } => bytes,
            Memory::Block(block) => block.bytes(),
        }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        match &mut self.memory {
            Memory::Small(bytes) | Memory::Stalled { bytes, .. } => bytes,
            Memory::Block(block) => block.bytes_mut(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fills a segment in steps, with a block from the moment it wants one, and returns its plaintext.
    fn fill(index: u32, step: usize, stall_at: Option<usize>) -> (Segment, Vec<u8>) {
        let blocks = Blocks::new(1);
        let (mut segment, mut expected) = (Segment::new(index), Vec::new());
        while !segment.is_full() {
            if segment.wants_block() {
                segment.move_into(blocks.take());
            }
            if stall_at.is_some_and(|at| expected.len() >= at && segment.holds_block()) {
                std::thread::scope(|scope| {
                    let waiter = scope.spawn(|| drop(blocks.take()));
                    while !blocks.are_scarce() {
                        std::thread::yield_now();
                    }
                    segment.yield_block(&blocks);
                    assert!(!segment.holds_block() && !segment.is_revoked());
                    waiter.join().unwrap();
                });
            }
            let buf = segment.unfilled();
            let count = step.min(buf.len());
            assert!(count > 0);
            for (i, byte) in buf[..count].iter_mut().enumerate() {
                *byte = ((expected.len() + i) % 251).to_le_bytes()[0];
            }
            let came = segment.advance(count).to_vec();
            expected.extend(came);
        }
        (segment, expected)
    }

    #[test]
    fn bytes_survive_every_move() {
        for (index, step, stall_at) in [
            (0, 1000, None),
            (1, 1 << 20, None),
            (0, 70_000, Some(200_000)),
            (3, 999, Some(0)),
        ] {
            let (mut segment, expected) = fill(index, step, stall_at);
            assert_eq!(expected.len(), segment.capacity());
            assert!(
                expected
                    .iter()
                    .enumerate()
                    .all(|(i, byte)| *byte == (i % 251).to_le_bytes()[0])
            );
            let text_bytes = segment.filled;
            assert!(segment.text_and_tag_mut()[..text_bytes] == expected[..]);
            assert_eq!(segment.sealed().len(), SEGMENT_BYTES);
        }
    }

    #[test]
    fn a_small_segment_takes_no_block() {
        let mut segment = Segment::new(0);
        segment.set_header(&[9; HEADER_BYTES]);
        segment.unfilled()[..3].copy_from_slice(b"png");
        segment.advance(3);
        assert!(!segment.wants_block());
        assert_eq!(segment.sealed().len(), HEADER_BYTES + 3 + TAG_BYTES);
        assert_eq!(segment.sealed()[..HEADER_BYTES], [9; HEADER_BYTES]);
    }
}
