//! The threads that encrypt and decrypt, and the queue of what they are to do.
//!
//! rayon starts the threads, one a core, and ends them; its own scheduler is not used. Each thread loops over one queue
//! of ours for as long as the node runs. A rayon thread that has run out of work looks for more some 30 times and yields
//! its core each time before it sleeps: with three nodes on two cores that made 17 context switches for each image of
//! 40 kB instead of 8, and took 6 % of the throughput. The channels of crossbeam yield, too.

use std::sync::Arc;

use super::mailbox::Mailbox;
use super::segment::Segment;
use crate::priority;
use crate::seal::SegmentCipher;
use crate::vital;

/// One thread for each core, at the workers' priority.
pub(crate) struct SealingPool {
    /// Unbounded, but each worker waits for at most two entries.
    queue: Arc<Mailbox<Work>>,
    threads: rayon::ThreadPool,
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
    pub(crate) done: Arc<Mailbox<(u32, Segment)>>,
}

impl SealingPool {
    pub(crate) fn new() -> Result<SealingPool, rayon::ThreadPoolBuildError> {
        let threads = rayon::ThreadPoolBuilder::new()
            .thread_name(|i| format!("seal {i}"))
            .start_handler(|_| priority::give_way_to_heartbeat())
            // Whoever waits for what the thread had taken would wait for ever.
            .panic_handler(|_| vital::end("seal"))
            .build()?;
        let queue = Arc::new(Mailbox::default());
        let there = Arc::clone(&queue);
        threads.spawn_broadcast(move |_| work(&there));
        Ok(SealingPool { queue, threads })
    }

    /// Seals a segment as soon as a thread has time.
    pub(crate) fn seal(&self, job: Job) {
        self.queue.put(Work::Seal(job));
    }

    /// Does `work` in the pool while the calling thread does `meanwhile`; returns when both are done.
    pub(crate) fn beside<A: Send + 'static, B>(
        &self,
        work: impl FnOnce() -> A + Send + 'static,
        meanwhile: impl FnOnce() -> B,
    ) -> (A, B) {
        let done = Arc::new(Mailbox::default());
        let there = Arc::clone(&done);
        self.queue.put(Work::Call(Box::new(move || there.put(work()))));
        let other = meanwhile();
        (done.take(), other)
    }
}

impl Drop for SealingPool {
    fn drop(&mut self) {
        for _ in 0..self.threads.current_num_threads() {
            self.queue.put(Work::End);
        }
    }
}

/// What each thread of the pool does until it is told to end.
fn work(queue: &Mailbox<Work>) {
    loop {
        match queue.take() {
            Work::Seal(job) => job.run(),
            Work::Call(call) => call(),
            Work::End => return,
        }
    }
}

impl Job {
    fn run(mut self) {
        let Job { index, last, .. } = self;
        self.cipher.seal(index, last, self.segment.text_and_tag_mut());
        self.deliver();
    }

    /// If the upload was given up, the segment is dropped with its mailbox.
    fn deliver(self) {
        self.done.put((self.index, self.segment));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyset::{KEY_BYTES, Key};
    use crate::seal::{Header, SALT_AND_PREFIX_BYTES};

    #[test]
    fn all_that_waits_is_done() {
        let pool = SealingPool::new().unwrap();
        let header = Header::of([5; SALT_AND_PREFIX_BYTES]);
        let cipher = Arc::new(SegmentCipher::new(
            &Key::new([7; KEY_BYTES]),
            &header,
            b"alice/cat.png",
        ));
        let done = Arc::new(Mailbox::default());
        for number in 0..100_u8 {
            let mut segment = Segment::new(0);
            segment.unfilled()[..2].copy_from_slice(&[number, 1]);
            segment.advance(2);
            pool.seal(Job {
                cipher: Arc::clone(&cipher),
                index: 0,
                last: true,
                segment,
                done: Arc::clone(&done),
            });
            if number % 3 == 0 {
                assert_eq!(pool.beside(move || number, || "meanwhile"), (number, "meanwhile"));
            }
        }
        let mut numbers: Vec<u8> = Vec::new();
        for _ in 0..100 {
            let (_, mut segment): (u32, Segment) = done.take();
            let buf = segment.text_and_tag_mut();
            cipher.open(0, true, buf).unwrap();
            assert_eq!(buf[1], 1);
            numbers.push(buf[0]);
        }
        numbers.sort_unstable();
        assert_eq!(numbers, (0..100).collect::<Vec<u8>>());
    }
}
