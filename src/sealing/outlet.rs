//! Where the sealed segments of one upload go: to the worker that receives it, or straight into its draft.
//!
//! A worker that writes does not read meanwhile, and a disk that has nothing to write waits for it. So a thread of the pool
//! that is not needed otherwise writes, one for an upload: two would wait for each other, since a file that grows is
//! written by one at a time.

use std::collections::VecDeque;
use std::io;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use super::mailbox::Mailbox;
use super::segment::Segment;
use super::spare::Spared;

/// Writes bytes at an offset.
type Write = Box<dyn Fn(u64, &[u8]) -> io::Result<()> + Send + Sync>;

#[derive(Default)]
pub(crate) struct Outlet {
    letters: Mailbox<SealedSegment>,
    write: OnceLock<Write>,
    /// What the thread of the pool that writes for this upload writes next; none if there is no such thread.
    next: Mutex<Option<VecDeque<(u64, Segment)>>>,
}

/// What became of a segment; each is told of once.
pub(crate) enum SealedSegment {
    /// It is to be written at this offset.
    Unwritten(u64, Segment),
    /// A whole block at this offset was written, or not.
    Written(u64, io::Result<()>),
}

impl Outlet {
    /// From now on segments that fill a block may be written here.
    pub(crate) fn may_write(&self, write: impl Fn(u64, &[u8]) -> io::Result<()> + Send + Sync + 'static) {
        self.write.get_or_init(|| Box::new(write));
    }

    /// Waits until something became of a segment.
    pub(crate) fn take(&self) -> SealedSegment {
        self.letters.take()
    }

    /// Takes a sealed segment from a thread of the pool, and has that thread write if it can be spared. Nothing becomes of
    /// a segment that nobody waits for.
    pub(super) fn deliver(&self, offset: u64, segment: Segment, spare: impl FnOnce() -> Option<Spared>) {
        let Some(write) = self.write.get().filter(|_| segment.is_whole_block()) else {
            return self.letters.put(SealedSegment::Unwritten(offset, segment));
        };
        let mut next = self.lock();
        if let Some(next) = &mut *next {
            return next.push_back((offset, segment));
        }
        let Some(_spared) = spare() else {
            return self.letters.put(SealedSegment::Unwritten(offset, segment));
        };
        *next = Some(VecDeque::new());
        drop(next);
        self.write_all(write, offset, segment);
    }

    fn write_all(&self, write: &Write, mut offset: u64, mut segment: Segment) {
        loop {
            let written = write(offset, segment.sealed());
            // The block goes back before the worker, which may want it, hears of it.
            drop(segment);
            self.letters.put(SealedSegment::Written(offset, written));
            let mut next = self.lock();
            match next.as_mut().and_then(VecDeque::pop_front) {
                Some(more) => (offset, segment) = more,
                None => {
                    *next = None;
                    return;
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<VecDeque<(u64, Segment)>>> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;
    use std::sync::Arc;

    use super::super::blocks::{Blocks, Direction};
    use super::super::spare::Spare;
    use super::*;
    use crate::seal::SEGMENT_BYTES;

    /// A segment that fills a block, with this byte everywhere.
    fn whole(blocks: &Blocks, byte: u8) -> Segment {
        let mut segment = Segment::new(1);
        segment.move_into(blocks.take());
        let count = segment.unfilled().len();
        segment.unfilled().fill(byte);
        segment.advance(count);
        segment.text_and_tag_mut().fill(byte);
        segment
    }

    #[test]
    fn one_thread_writes_and_what_others_seal_meanwhile_waits_for_it() {
        let (blocks, outlet, spare) = (Blocks::new(3), Outlet::default(), Spare::of(2));
        let file = Arc::new(tempfile::tempfile().unwrap());
        let written = Arc::clone(&file);
        outlet.may_write(move |offset, bytes: &[u8]| written.write_all_at(bytes, offset));
        let mut small = Segment::new(0);
        small.advance(0);
        outlet.deliver(0, small, || spare.take());
        assert!(
            matches!(outlet.take(), SealedSegment::Unwritten(0, _)),
            "it fills no block"
        );
        outlet.deliver(7, whole(&blocks, 1), || None);
        assert!(
            matches!(outlet.take(), SealedSegment::Unwritten(7, _)),
            "no thread can be spared"
        );

        let end = SEGMENT_BYTES as u64;
        outlet.deliver(0, whole(&blocks, 2), || spare.take());
        assert!(matches!(outlet.take(), SealedSegment::Written(0, Ok(()))));
        assert!(spare.take().is_some(), "the thread is free again");

        *outlet.lock() = Some(VecDeque::new());
        outlet.deliver(end, whole(&blocks, 3), || unreachable!("one writes already"));
        assert!(outlet.letters.is_empty());
        outlet.write_all(outlet.write.get().unwrap(), 2 * end, whole(&blocks, 4));
        assert!(matches!(outlet.take(), SealedSegment::Written(offset, Ok(())) if offset == 2 * end));
        assert!(matches!(outlet.take(), SealedSegment::Written(offset, Ok(())) if offset == end));
        assert!(outlet.lock().is_none() && blocks.try_take(Direction::Upload).is_some());
        for (index, byte) in [(0, 2), (1, 3), (2, 4)] {
            let mut found = vec![0; SEGMENT_BYTES];
            file.read_exact_at(&mut found, index * end).unwrap();
            assert!(found.iter().all(|found| *found == byte), "segment {index}");
        }
    }
}
