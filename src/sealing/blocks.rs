//! The memory that images pass through: a fixed number of 1 MiB blocks, and a budget for stalled uploads.
//!
//! Memory is bounded here and nowhere else: an upload that finds no free block waits, and TCP makes its sender
//! wait. No thread holds a block while it waits for a second one, so there is always one that goes on.
//!
//! Blocks are shared fairly: uploads and downloads that wait take turns, of each the clients, and nobody passes those who
//! wait. A part is never lent to downloads: a crowd of them does not keep an upload waiting. A client that neither stalls
//! nor gets on may keep its block for [`HOLD_TIME_MAX`] while others wait.

#![allow(
    clippy::disallowed_methods,
    reason = "how long a block was held is measured here"
)]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::mailbox::Mailbox;
use crate::seal::SEGMENT_BYTES;
use crate::store::direct::DIRECT_BYTES_ALIGNMENT;
use crate::turns::Turns;

/// How many stalled uploads may keep a segment's worth of bytes outside the pool.
const STALLED_SEGMENTS_MAX: usize = 12;
/// The part of the blocks that downloads never have.
const UPLOADS_PART: usize = 4;
/// How long a client may keep a block while others wait for one: it needs no longer at 200 kB/s. A crowd of slow clients
/// shares the blocks in turn; a client that sends or takes a byte now and then is treated as one that stalls.
const HOLD_TIME_MAX: Duration = Duration::from_secs(5);

/// The blocks of a node. A clone shares them.
#[derive(Clone)]
pub struct Blocks(Arc<BlockPool>);

struct BlockPool {
    state: Mutex<FreeBlocks>,
    /// Stalled uploads, oldest first; `true`: told to give up.
    stalled: Mutex<Vec<Arc<AtomicBool>>>,
}

struct FreeBlocks {
    /// Blocks not in use. The last one returned goes out first: it is still in the processor's cache.
    free: Vec<Vec<u8>>,
    /// Blocks that are not allocated yet.
    unallocated: usize,
    /// How many more blocks downloads may have.
    for_downloads: usize,
    /// Where those wait who found none. While somebody waits there is no free block that he may have.
    waiting: Waiting,
}

#[derive(Default)]
struct Waiting {
    uploads: Turns<Place>,
    downloads: Turns<Place>,
    /// Whose turn it is, if both wait.
    is_download_turn: bool,
}

/// Where one waits for a block.
type Place = Arc<Mailbox<Vec<u8>>>;

/// Which way the bytes of a block go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Upload,
    Download,
}

/// One stalled upload's right to keep a segment in memory outside the pool, until dropped.
pub(crate) struct StallAllowance {
    pool: Arc<BlockPool>,
    revoked: Arc<AtomicBool>,
}

/// A segment's worth of memory, aligned for O_DIRECT. Goes back to the pool when dropped.
pub struct Block {
    memory: Vec<u8>,
    start: usize,
    direction: Direction,
    held_since: Instant,
    pool: Arc<BlockPool>,
}

impl Blocks {
    /// `count` blocks, each of which takes memory only when it is first needed.
    pub fn new(count: usize) -> Blocks {
        let state = FreeBlocks {
            free: Vec::with_capacity(count),
            unallocated: count,
            for_downloads: count - count / UPLOADS_PART,
            waiting: Waiting::default(),
        };
        Blocks(Arc::new(BlockPool {
            state: Mutex::new(state),
            stalled: Mutex::new(Vec::new()),
        }))
    }

    /// How many nobody holds.
    pub(crate) fn free(&self) -> usize {
        let state = self.0.lock();
        state.free.len() + state.unallocated
    }

    /// A block, if one is free now.
    pub(crate) fn try_take(&self, direction: Direction) -> Option<Block> {
        let memory = self.0.lock().take_free(direction)?;
        Some(self.block(memory, direction))
    }

    /// A block for what the node does by itself, as [`take_for`](Blocks::take_for).
    pub fn take(&self) -> Block {
        self.take_for(Direction::Upload, Ipv4Addr::UNSPECIFIED.into())
    }

    /// A block, as soon as one is free and it is this client's turn. The caller must hold none.
    pub(crate) fn take_for(&self, direction: Direction, client: IpAddr) -> Block {
        let mut state = self.0.lock();
        let memory = match state.take_free(direction) {
            Some(memory) => memory,
            None => {
                let place = Arc::new(Mailbox::default());
                state.waiting.of(direction).push(client, Arc::clone(&place));
                drop(state);
                place.take()
            }
        };
        self.block(memory, direction)
    }

    /// Whether a thread waits for a block: who can do without one should give it back.
    pub(crate) fn are_scarce(&self) -> bool {
        !self.0.lock().waiting.is_empty()
    }

    /// Allows a stalled upload to keep a segment outside the pool. If too many do, none is allowed now, and the one
    /// that has stalled for longest is told to give up: a client that stalls for a moment must not pay for those that
    /// do nothing else.
    pub(crate) fn allow_stall(&self) -> Option<StallAllowance> {
        let mut stalled = self.0.stalled.lock().unwrap_or_else(PoisonError::into_inner);
        if stalled.len() >= STALLED_SEGMENTS_MAX {
            if let Some(longest) = stalled.iter().find(|revoked| !revoked.load(Ordering::Relaxed)) {
                longest.store(true, Ordering::Relaxed);
            }
            return None;
        }
        let revoked = Arc::new(AtomicBool::new(false));
        stalled.push(Arc::clone(&revoked));
        Some(StallAllowance {
            pool: Arc::clone(&self.0),
            revoked,
        })
    }

    fn block(&self, memory: Vec<u8>, direction: Direction) -> Block {
        Block {
            start: memory.as_ptr().align_offset(DIRECT_BYTES_ALIGNMENT),
            memory,
            direction,
            held_since: Instant::now(),
            pool: Arc::clone(&self.0),
        }
    }
}

impl BlockPool {
    fn lock(&self) -> MutexGuard<'_, FreeBlocks> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FreeBlocks {
    fn take_free(&mut self, direction: Direction) -> Option<Vec<u8>> {
        let is_download = direction == Direction::Download;
        if is_download && self.for_downloads == 0 {
            return None;
        }
        let memory = match self.free.pop() {
            Some(memory) => memory,
            None => {
                self.unallocated = self.unallocated.checked_sub(1)?;
                vec![0; SEGMENT_BYTES + DIRECT_BYTES_ALIGNMENT]
            }
        };
        self.for_downloads -= usize::from(is_download);
        Some(memory)
    }

    /// Takes back a block that went this way, and lends it to whoever is next.
    fn give_back(&mut self, memory: Vec<u8>, direction: Direction) {
        self.for_downloads += usize::from(direction == Direction::Download);
        match self.waiting.pop(self.for_downloads > 0) {
            Some((place, next)) => {
                self.for_downloads -= usize::from(next == Direction::Download);
                place.put(memory);
            }
            None => self.free.push(memory),
        }
    }
}

impl Waiting {
    fn of(&mut self, direction: Direction) -> &mut Turns<Place> {
        match direction {
            Direction::Upload => &mut self.uploads,
            Direction::Download => &mut self.downloads,
        }
    }

    /// Where the one waits who is next, and which way he goes.
    fn pop(&mut self, may_be_download: bool) -> Option<(Place, Direction)> {
        let turns: &[Direction] = match (may_be_download, self.is_download_turn) {
            (false, _) => &[Direction::Upload],
            (true, true) => &[Direction::Download, Direction::Upload],
            (true, false) => &[Direction::Upload, Direction::Download],
        };
        let next = turns
            .iter()
            .find_map(|direction| Some((self.of(*direction).pop()?, *direction)));
        self.is_download_turn = !matches!(next, Some((_, Direction::Download)));
        next
    }

    fn is_empty(&self) -> bool {
        self.uploads.is_empty() && self.downloads.is_empty()
    }
}

impl Block {
    /// The whole block.
    pub fn bytes(&self) -> &[u8] {
        &self.memory[self.start..self.start + SEGMENT_BYTES]
    }

    /// The whole block, to be written.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + SEGMENT_BYTES]
    }

    /// Whether it was held for so long that others, who wait, should have it.
    pub(crate) fn is_overdue(&self) -> bool {
        self.held_since.elapsed() >= HOLD_TIME_MAX && !self.pool.lock().waiting.is_empty()
    }

    /// It is kept all the same, as if it had just been taken.
    pub(crate) fn hold_on(&mut self) {
        self.held_since = Instant::now();
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        let memory = std::mem::take(&mut self.memory);
        self.pool.lock().give_back(memory, self.direction);
    }
}

impl StallAllowance {
    /// Whether others need the memory, and this upload has stalled for longest.
    pub(crate) fn is_revoked(&self) -> bool {
        self.revoked.load(Ordering::Relaxed)
    }
}

impl Drop for StallAllowance {
    fn drop(&mut self) {
        let mut stalled = self.pool.stalled.lock().unwrap_or_else(PoisonError::into_inner);
        stalled.retain(|revoked| !Arc::ptr_eq(revoked, &self.revoked));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_aligned_and_come_back() {
        let blocks = Blocks::new(2);
        let (mut one, two) = (blocks.take(), blocks.take());
        assert!(blocks.try_take(Direction::Upload).is_none());
        assert_eq!(one.bytes().len(), SEGMENT_BYTES);
        assert_eq!(one.bytes().as_ptr().align_offset(DIRECT_BYTES_ALIGNMENT), 0);
        one.bytes_mut()[0] = 7;
        drop((one, two));
        assert!(blocks.try_take(Direction::Upload).is_some());
    }

    #[test]
    fn only_so_many_may_stall() {
        let blocks = Blocks::new(1);
        let allowances: Vec<_> = std::iter::from_fn(|| blocks.allow_stall()).take(100).collect();
        assert_eq!(allowances.len(), STALLED_SEGMENTS_MAX);
        let revoked: Vec<bool> = allowances.iter().map(StallAllowance::is_revoked).collect();
        assert!(
            revoked[0] && !revoked[1..].contains(&true),
            "the one that stalled first gives up"
        );
        drop(allowances);
        assert!(
            blocks
                .allow_stall()
                .is_some_and(|allowance| !allowance.is_revoked())
        );
    }

    #[test]
    fn nobody_passes_those_who_wait() {
        let blocks = Blocks::new(1);
        let held = blocks.take();
        let served = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            use Direction::{Download, Upload};
            for (direction, last, waiting) in [
                (Upload, 1, "first"),
                (Upload, 1, "second"),
                (Upload, 2, "other"),
                (Download, 1, "download"),
            ] {
                let count = || {
                    let mut state = blocks.0.lock();
                    state.waiting.of(Upload).len() + state.waiting.of(Download).len()
                };
                let before = count();
                let client = IpAddr::from([10, 0, 0, last]);
                let (blocks, served) = (&blocks, &served);
                scope.spawn(move || {
                    let _block = blocks.take_for(direction, client);
                    served.lock().unwrap().push(waiting);
                });
                while count() == before {
                    std::thread::yield_now();
                }
            }
            assert!(blocks.are_scarce() && blocks.try_take(Direction::Upload).is_none());
            drop(held);
        });
        assert_eq!(
            served.into_inner().unwrap(),
            ["first", "download", "other", "second"]
        );
        assert!(!blocks.are_scarce() && blocks.try_take(Direction::Upload).is_some());
    }

    #[test]
    fn a_part_is_never_lent_to_downloads() {
        use Direction::{Download, Upload};
        let blocks = Blocks::new(8);
        let client = IpAddr::from([10, 0, 0, 1]);
        let mut downloads: Vec<Block> = std::iter::from_fn(|| blocks.try_take(Download)).collect();
        assert_eq!(downloads.len(), 6);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| blocks.take_for(Download, client));
            while !blocks.are_scarce() {
                std::thread::yield_now();
            }
            // Uploads pass by, and what they give back is not for downloads.
            let uploads = [blocks.take(), blocks.take()];
            assert!(blocks.try_take(Upload).is_none());
            drop(uploads);
            assert!(blocks.are_scarce());
            downloads.pop();
            downloads.push(waiting.join().unwrap());
        });
        assert!(blocks.try_take(Download).is_none());
        drop(downloads);
        let all: Vec<Block> = std::iter::from_fn(|| blocks.try_take(Upload)).collect();
        assert_eq!(all.len(), 8, "uploads may have all");
    }

    #[test]
    fn a_block_is_overdue_only_while_others_wait() {
        let blocks = Blocks::new(1);
        let mut held = blocks.take();
        let long_ago = Instant::now().checked_sub(2 * HOLD_TIME_MAX).unwrap();
        held.held_since = long_ago;
        assert!(!held.is_overdue());
        std::thread::scope(|scope| {
            scope.spawn(|| drop(blocks.take()));
            while !blocks.are_scarce() {
                std::thread::yield_now();
            }
            assert!(held.is_overdue());
            held.hold_on();
            assert!(!held.is_overdue());
            drop(held);
        });
    }
}
