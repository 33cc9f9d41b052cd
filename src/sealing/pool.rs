//! The threads that encrypt and decrypt, and the queue of what they are to do.
//!
//! rayon starts the threads, one a core, and ends them; its own scheduler is not used. Each thread loops over one queue
//! of ours for as long as the node runs. A rayon thread that has run out of work looks for more some 30 times and yields
//! its core each time before it sleeps: with three nodes on two cores that made 17 context switches for each image of
//! 40 kB instead of 8, and took 6 % of the throughput. The channels of crossbeam yield, too.
//!
//! What is sealed and what is opened take turns: an upload does not stand behind a crowd that downloads.

use std::collections::VecDeque;
use std::sync::Arc;

use super::mailbox::{Letters, Mailbox};
use super::outlet::Outlet;
use super::segment::Segment;
use super::spare::{Spare, Spared};
use crate::priority;
use crate::seal::{SEGMENT_BYTES, SegmentCipher};
use crate::vital;

/// One thread for each core, at the workers' priority.
pub(crate) struct SealingPool {
    desk: Arc<Desk>,
    threads: rayon::ThreadPool,
}

/// What the threads share.
struct Desk {
    /// Unbounded, but each worker waits for at most a few entries.
    queue: Mailbox<Work, WorkQueue>,
    spare: Spare,
}

/// What waits for a thread.
#[derive(Default)]
struct WorkQueue {
    to_seal: VecDeque<Work>,
    others: VecDeque<Work>,
    /// Whose turn it is, if there are both.
    is_turn_of_others: bool,
}

impl Letters<Work> for WorkQueue {
    fn push(&mut self, work: Work) {
        match work {
            Work::Seal(_) => self.to_seal.push_back(work),
            Work::Call(_) | Work::End => self.others.push_back(work),
        }
    }

    fn pop(&mut self) -> Option<Work> {
        let (first, second) = match self.is_turn_of_others {
            true => (&mut self.others, &mut self.to_seal),
            false => (&mut self.to_seal, &mut self.others),
        };
        self.is_turn_of_others = !self.is_turn_of_others;
        first.pop_front().or_else(|| second.pop_front())
    }

    fn is_empty(&self) -> bool {
        self.to_seal.is_empty() && self.others.is_empty()
    }
}

impl Desk {
    /// The right to have a thread wait for a disk, if nothing waits to be sealed.
    fn spare(&self) -> Option<Spared> {
        self.spare.take().filter(|_| self.queue.is_empty())
    }
}

enum Work {
    Seal(Job),
    Call(Box<dyn FnOnce() + Send>),
    /// For the thread that takes it.
    End,
}

/// A segment to be sealed.
pub(crate) struct Job {
    pub(crate) cipher: Arc<SegmentCipher>,
    /// Its number in the file.
    pub(crate) index: u32,
    /// The last of the file?
    pub(crate) last: bool,
    pub(crate) segment: Segment,
    /// Where it goes when it is sealed.
    pub(crate) outlet: Arc<Outlet>,
}

impl SealingPool {
    pub(crate) fn new() -> Result<SealingPool, rayon::ThreadPoolBuildError> {
        let threads = rayon::ThreadPoolBuilder::new()
            .thread_name(|i| format!("seal {i}"))
            .start_handler(|_| priority::give_way_to_heartbeat())
            // Whoever waits for what the thread had taken would wait for ever.
            .panic_handler(|_| vital::end("seal"))
            .build()?;
        let desk = Arc::new(Desk {
            queue: Mailbox::default(),
            spare: Spare::of(threads.current_num_threads()),
        });
        let there = Arc::clone(&desk);
        threads.spawn_broadcast(move |_| work(&there));
        Ok(SealingPool { desk, threads })
    }

    /// Seals a segment as soon as a thread has time.
    pub(crate) fn seal(&self, job: Job) {
        self.desk.queue.put(Work::Seal(job));
    }

    /// Does `work` as soon as a thread has time.
    pub(crate) fn begin<A: Send + 'static>(&self, work: impl FnOnce() -> A + Send + 'static) -> Pending<A> {
        let done = Arc::new(Mailbox::default());
        let there = Arc::clone(&done);
        self.desk
            .queue
            .put(Work::Call(Box::new(move || there.put(work()))));
        Pending(done)
    }

    /// See [`Desk::spare`].
    pub(crate) fn spare(&self) -> Option<Spared> {
        self.desk.spare()
    }
}

/// What a thread of the pool is doing. If nobody waits for it, what comes out of it is dropped.
pub(crate) struct Pending<A>(Arc<Mailbox<A>>);

impl<A> Pending<A> {
    /// Waits until it is done.
    pub(crate) fn wait(self) -> A {
        self.0.take()
    }
}

impl Drop for SealingPool {
    fn drop(&mut self) {
        for _ in 0..self.threads.current_num_threads() {
            self.desk.queue.put(Work::End);
        }
    }
}

/// What each thread of the pool does until it is told to end.
fn work(desk: &Desk) {
    loop {
        match desk.queue.take() {
            Work::Seal(job) => job.run(|| desk.spare()),
            Work::Call(call) => call(),
            Work::End => return,
        }
    }
}

impl Job {
    fn run(mut self, spare: impl FnOnce() -> Option<Spared>) {
        let Job { index, last, .. } = self;
        self.cipher.seal(index, last, self.segment.text_and_tag_mut());
        let offset = u64::from(index) * SEGMENT_BYTES as u64;
        self.outlet.deliver(offset, self.segment, spare);
    }
}

#[cfg(test)]
mod tests {
    use super::super::outlet::SealedSegment;
    use super::*;
    use crate::keyset::{KEY_BYTES, Key};
    use crate::seal::{Header, SALT_AND_PREFIX_BYTES};

    #[test]
    fn a_segment_to_be_sealed_waits_for_one_other_thing_at_most() {
        let mut queue = WorkQueue::default();
        for _ in 0..5 {
            queue.push(Work::Call(Box::new(|| ())));
        }
        for index in 0..2 {
            queue.push(Work::Seal(job(index)));
        }
        let order: Vec<bool> = std::iter::from_fn(|| queue.pop())
            .map(|work| matches!(work, Work::Seal(_)))
            .collect();
        assert_eq!(order, [true, false, true, false, false, false, false]);
        assert!(queue.is_empty());
    }

    fn cipher() -> Arc<SegmentCipher> {
        let header = Header::of([5; SALT_AND_PREFIX_BYTES]);
        let key = Key::new([7; KEY_BYTES]);
        Arc::new(SegmentCipher::new(&key, &header, b"alice/cat.png"))
    }

    fn job(index: u32) -> Job {
        Job {
            cipher: cipher(),
            index,
            last: true,
            segment: Segment::new(index),
            outlet: Arc::default(),
        }
    }

    #[test]
    fn all_that_waits_is_done() {
        let pool = SealingPool::new().unwrap();
        let cipher = cipher();
        let outlet = Arc::new(Outlet::default());
        for number in 0..100_u8 {
            let mut segment = Segment::new(0);
            segment.unfilled()[..2].copy_from_slice(&[number, 1]);
            segment.advance(2);
            pool.seal(Job {
                cipher: Arc::clone(&cipher),
                index: 0,
                last: true,
                segment,
                outlet: Arc::clone(&outlet),
            });
            if number % 3 == 0 {
                assert_eq!(pool.begin(move || number).wait(), number);
            }
        }
        let mut numbers: Vec<u8> = Vec::new();
        for _ in 0..100 {
            let SealedSegment::Unwritten(0, mut segment) = outlet.take() else {
                panic!("nothing writes it");
            };
            let buf = segment.text_and_tag_mut();
            cipher.open(0, true, buf).unwrap();
            assert_eq!(buf[1], 1);
            numbers.push(buf[0]);
        }
        numbers.sort_unstable();
        assert_eq!(numbers, (0..100).collect::<Vec<u8>>());
    }
}
