//! The memory that images pass through: a fixed number of 1 MiB blocks, and a budget for stalled uploads.
//!
//! Memory is bounded here and nowhere else: an upload that finds no free block waits, and TCP makes its sender
//! wait. Nobody holds a block while waiting for a second one (see `upload`), so somebody always goes on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use crate::seal::SEGMENT_BYTES;
use crate::store::direct::DIRECT_BYTES_ALIGNMENT;

/// How many stalled uploads may keep a segment's worth of bytes outside the pool.
pub const STALLED_SEGMENTS_MAX: usize = 12;

/// The pool. Cloning it shares it.
#[derive(Clone)]
pub struct Blocks(Arc<Pool>);

struct Pool {
    state: Mutex<State>,
    returned: Condvar,
    /// Whoever has leave, in the order in which they stalled, with whether it is revoked.
    stalled: Mutex<Vec<Arc<AtomicBool>>>,
}

struct State {
    /// Blocks that nobody uses. The last one returned goes out first: it is the one still in the cache.
    free: Vec<Vec<u8>>,
    /// Blocks that were never needed so far and take no memory.
    unmade: usize,
    waiting: usize,
}

/// The right of one stalled upload to keep a segment outside the pool, until dropped.
pub struct Leave {
    pool: Arc<Pool>,
    revoked: Arc<AtomicBool>,
}

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
            stalled: Mutex::new(Vec::new()),
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

    /// Leave to keep a segment outside the pool. If too many have it there is none now, but whoever has stalled for
    /// longest is told to make room: a client that stalls for a moment must not pay for those who do nothing else.
    pub fn leave(&self) -> Option<Leave> {
        let mut stalled = self.0.stalled.lock().unwrap_or_else(PoisonError::into_inner);
        if stalled.len() >= STALLED_SEGMENTS_MAX {
            if let Some(longest) = stalled.iter().find(|revoked| !revoked.load(Ordering::Relaxed)) {
                longest.store(true, Ordering::Relaxed);
            }
            return None;
        }
        let revoked = Arc::new(AtomicBool::new(false));
        stalled.push(Arc::clone(&revoked));
        Some(Leave {
            pool: Arc::clone(&self.0),
            revoked,
        })
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

impl Leave {
    /// Whether somebody needs the room, and this upload has stalled for longest.
    pub fn is_revoked(&self) -> bool {
        self.revoked.load(Ordering::Relaxed)
    }
}

impl Drop for Leave {
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
        let leaves: Vec<_> = std::iter::from_fn(|| blocks.leave()).take(100).collect();
        assert_eq!(leaves.len(), STALLED_SEGMENTS_MAX);
        let revoked: Vec<bool> = leaves.iter().map(Leave::is_revoked).collect();
        assert!(
            revoked[0] && !revoked[1..].contains(&true),
            "the longest makes room"
        );
        drop(leaves);
        assert!(blocks.leave().is_some_and(|leave| !leave.is_revoked()));
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
