//! The memory that images pass through: a fixed number of 1 MiB blocks, and a budget for stalled uploads.
//!
//! Memory is bounded here and nowhere else: an upload that finds no free block waits, and TCP makes its sender
//! wait. No thread holds a block while it waits for a second one, so there is always one that goes on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use crate::seal::SEGMENT_BYTES;
use crate::store::direct::DIRECT_BYTES_ALIGNMENT;

/// How many stalled uploads may keep a segment's worth of bytes outside the pool.
const STALLED_SEGMENTS_MAX: usize = 12;

/// The blocks of a node. A clone shares them.
#[derive(Clone)]
pub struct Blocks(Arc<BlockPool>);

struct BlockPool {
    state: Mutex<FreeBlocks>,
    returned: Condvar,
    /// Stalled uploads, oldest first; `true`: told to give up.
    stalled: Mutex<Vec<Arc<AtomicBool>>>,
}

struct FreeBlocks {
    /// Blocks not in use. The last one returned goes out first: it is still in the processor's cache.
    free: Vec<Vec<u8>>,
    /// Blocks that are not allocated yet.
    unallocated: usize,
    waiting: usize,
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
    pool: Arc<BlockPool>,
}

impl Blocks {
    /// `count` blocks, each of which takes memory only when it is first needed.
    pub fn new(count: usize) -> Blocks {
        let state = FreeBlocks {
            free: Vec::with_capacity(count),
            unallocated: count,
            waiting: 0,
        };
        Blocks(Arc::new(BlockPool {
            state: Mutex::new(state),
            returned: Condvar::new(),
            stalled: Mutex::new(Vec::new()),
        }))
    }

    /// A block, if one is free now.
    pub(crate) fn try_take(&self) -> Option<Block> {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.take_free(&mut state)
    }

    /// A block, as soon as one is free. The caller must hold none.
    pub fn take(&self) -> Block {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(block) = self.take_free(&mut state) {
                return block;
            }
            state.waiting += 1;
            state = self
                .0
                .returned
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
            state.waiting -= 1;
        }
    }

    /// Whether a thread waits for a block: who can do without one should give it back.
    pub(crate) fn are_scarce(&self) -> bool {
        self.0
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .waiting
            > 0
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

    fn take_free(&self, state: &mut FreeBlocks) -> Option<Block> {
        let memory = match state.free.pop() {
            Some(memory) => memory,
            None if state.unallocated == 0 => return None,
            None => {
                state.unallocated -= 1;
                vec![0; SEGMENT_BYTES + DIRECT_BYTES_ALIGNMENT]
            }
        };
        let start = memory.as_ptr().align_offset(DIRECT_BYTES_ALIGNMENT);
        Some(Block {
            memory,
            start,
            pool: Arc::clone(&self.0),
        })
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
}

impl Drop for Block {
    fn drop(&mut self) {
        let memory = std::mem::take(&mut self.memory);
        self.pool
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .free
            .push(memory);
        self.pool.returned.notify_one();
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
        assert!(blocks.try_take().is_none());
        assert_eq!(one.bytes().len(), SEGMENT_BYTES);
        assert_eq!(one.bytes().as_ptr().align_offset(DIRECT_BYTES_ALIGNMENT), 0);
        one.bytes_mut()[0] = 7;
        drop((one, two));
        assert!(blocks.try_take().is_some());
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
    fn a_thread_that_waits_is_served_when_a_block_returns() {
        let blocks = Blocks::new(1);
        let held = blocks.take();
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| drop(blocks.take()));
            while !blocks.are_scarce() {
                std::thread::yield_now();
            }
            drop(held);
            waiter.join().unwrap();
        });
        assert!(!blocks.are_scarce());
    }
}
