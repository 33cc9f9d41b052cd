//! The memory that images pass through: a fixed number of 1 MiB blocks, and a budget for stalled uploads.
//!
//! Memory is bounded here and nowhere else: an upload that finds no free block waits, and TCP makes its sender
//! wait. Nobody holds a block while waiting for a second one (see `upload`), so somebody always goes on.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use crate::seal::SEGMENT_BYTES;
use crate::store::DIRECT_BYTES_ALIGNMENT;

/// How many stalled uploads may keep a segment's worth of bytes outside the pool.
pub const STALLED_SEGMENTS_MAX: usize = 12;

/// The pool. Cloning it shares it.
#[derive(Clone)]
pub struct Blocks(Arc<Pool>);

struct Pool {
    state: Mutex<State>,
    returned: Condvar,
    stalled: AtomicUsize,
}

struct State {
    /// Blocks that nobody uses. The last one returned goes out first: it is the one still in the cache.
    free: Vec<Vec<u8>>,
    /// Blocks that were never needed so far and take no memory.
    unmade: usize,
    waiting: usize,
}

/// The right of one stalled upload to keep a segment outside the pool, until dropped.
pub struct Leave(Arc<Pool>);

/// A segment's worth of memory, aligned for O_DIRECT. Goes back to the pool when dropped.
pub struct Block {
    memory: Vec<u8>,
    start: usize,
    pool: Arc<Pool>,
}

impl Blocks {
    /// A pool of `count` blocks, none of which takes memory before it is needed.
    pub fn new(count: usize) -> Blocks {
        let state = State {
            free: Vec::with_capacity(count),
            unmade: count,
            waiting: 0,
        };
        Blocks(Arc::new(Pool {
            state: Mutex::new(state),
            returned: Condvar::new(),
            stalled: AtomicUsize::new(0),
        }))
    }

    /// A block now, or none.
    pub fn try_take(&self) -> Option<Block> {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.pick(&mut state)
    }

    /// A block, as soon as there is one. The caller must hold none.
    pub fn take(&self) -> Block {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(block) = self.pick(&mut state) {
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

    /// Whether somebody waits for a block, so that whoever can do without should give one back.
    pub fn are_scarce(&self) -> bool {
        self.0
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .waiting
            > 0
    }

    /// Leave to keep a segment outside the pool; none if too many have it.
    pub fn leave(&self) -> Option<Leave> {
        let leave = Leave(Arc::clone(&self.0));
        let others = self.0.stalled.fetch_add(1, Ordering::Relaxed);
        (others < STALLED_SEGMENTS_MAX).then_some(leave)
    }

    fn pick(&self, state: &mut State) -> Option<Block> {
        let memory = match state.free.pop() {
            Some(memory) => memory,
            None if state.unmade == 0 => return None,
            None => {
                state.unmade -= 1;
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

impl Drop for Leave {
    fn drop(&mut self) {
        self.0.stalled.fetch_sub(1, Ordering::Relaxed);
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
        let leaves: Vec<_> = std::iter::from_fn(|| blocks.leave()).take(100).collect();
        assert_eq!(leaves.len(), STALLED_SEGMENTS_MAX);
        drop(leaves);
        assert!(blocks.leave().is_some());
    }

    #[test]
    fn whoever_waits_is_served_when_a_block_returns() {
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
