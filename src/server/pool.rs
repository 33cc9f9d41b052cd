//! The rayon pool, and the work that waits for it.
//!
//! What is to be computed waits in one queue. The threads of the pool stay at it for as long as the node runs, because
//! a rayon thread that has run out of work looks for more some 30 times, yielding its core each time, before it
//! sleeps: with three nodes on two cores that made 17 context switches for each image of 40 kB instead of 8, and took
//! 6 % of the throughput.
//!
//! Whoever takes a segment to be sealed takes the next one along, of the same upload or of another: two together are
//! cheaper than one after the other (see `seal`). One that is alone is sealed at once: nothing waits for company.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::mailbox::Mailbox;
use super::segment::Segment;
use super::workers;
use crate::seal::{self, Plain, SegmentCipher};

/// One thread a core, at the workers' priority.
pub struct Pool {
    /// Unbounded, but never longer than what workers wait for: one or two segments each.
    queue: Sender<Work>,
    /// They end when the queue does.
    _threads: rayon::ThreadPool,
}

enum Work {
    Seal(Job),
    Call(Box<dyn FnOnce() + Send>),
}

/// A segment to be sealed.
pub struct Job {
    /// The cipher of its file.
    pub cipher: Arc<SegmentCipher>,
    /// Its place in the file.
    pub index: u32,
    /// Whether it is the last.
    pub last: bool,
    /// Its plaintext.
    pub segment: Segment,
    /// Where it goes when it is sealed.
    pub done: Arc<Mailbox<(u32, Segment)>>,
}

impl Pool {
    /// Starts the threads.
    pub fn new() -> Result<Pool, rayon::ThreadPoolBuildError> {
        let threads = rayon::ThreadPoolBuilder::new()
            .thread_name(|i| format!("seal {i}"))
            .start_handler(|_| workers::lower_priority())
            .build()?;
        let (sender, queue) = unbounded();
        threads.spawn_broadcast(move |_| work(&queue));
        Ok(Pool {
            queue: sender,
            _threads: threads,
        })
    }

    /// Seals a segment as soon as a thread has time.
    pub fn seal(&self, job: Job) {
        self.send(Work::Seal(job));
    }

    /// Does `work` in the pool while this thread does `meanwhile`, and waits for both.
    pub fn beside<A: Send + 'static, B>(
        &self,
        work: impl FnOnce() -> A + Send + 'static,
        meanwhile: impl FnOnce() -> B,
    ) -> (A, B) {
        let done = Arc::new(Mailbox::default());
        let there = Arc::clone(&done);
        self.send(Work::Call(Box::new(move || there.put(work()))));
        let other = meanwhile();
        (done.take(), other)
    }

    fn send(&self, work: Work) {
        self.queue
            .send(work)
            .expect("the threads keep the other end until this one is gone");
    }
}

/// What each thread of the pool does until the queue ends.
fn work(queue: &Receiver<Work>) {
    while let Ok(work) = queue.recv() {
        let one = match work {
            Work::Seal(one) => one,
            Work::Call(call) => {
                call();
                continue;
            }
        };
        match queue.try_recv() {
            Ok(Work::Seal(two)) => seal_two(one, two),
            Ok(Work::Call(call)) => {
                seal_one(one);
                call();
            }
            Err(_) => seal_one(one),
        }
    }
}

fn seal_one(mut job: Job) {
    job.cipher
        .seal(job.index, job.last, job.segment.text_and_tag_mut());
    job.deliver();
}

fn seal_two(mut one: Job, mut two: Job) {
    seal::seal_two(one.plain(), two.plain());
    one.deliver();
    two.deliver();
}

impl Job {
    fn plain(&mut self) -> Plain<'_> {
        Plain {
            cipher: &self.cipher,
            index: self.index,
            last: self.last,
            buf: self.segment.text_and_tag_mut(),
        }
    }

    /// An upload that was given up has no more use for its segments: they go with its mailbox.
    fn deliver(self) {
        self.done.put((self.index, self.segment));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyset::{KEY_BYTES, Key};
    use crate::seal::{Header, RANDOM_BYTES};

    #[test]
    fn all_that_waits_is_done_in_company_or_alone() {
        let pool = Pool::new().unwrap();
        let header = Header::new([5; RANDOM_BYTES]);
        let cipher = Arc::new(SegmentCipher::new(
            &Key::new([7; KEY_BYTES]),
            &header,
            b"alice/cat.png",
        ));
        let done = Arc::new(Mailbox::default());
        for number in 0..100_u8 {
            let mut segment = Segment::new(0);
            segment.room()[..2].copy_from_slice(&[number, 1]);
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
