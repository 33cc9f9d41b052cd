//! The rayon pool, and the segments that wait for it.
//!
//! Segments wait in one queue, and whoever in the pool has time takes the next two of it, of one upload or of two, and
//! seals them together: that is cheaper than one after the other (see `seal`). One that is alone is sealed alone, at
//! once: nothing waits for company.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::segment::Segment;
use super::workers;
use crate::seal::{self, Plain, SegmentCipher};

/// One thread a core, at the workers' priority.
pub struct Pool {
    threads: rayon::ThreadPool,
    /// Unbounded, but never longer than uploads may have segments: each has one or two here.
    waiting: Sender<Job>,
    queue: Receiver<Job>,
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
    pub done: Sender<(u32, Segment)>,
}

impl Pool {
    /// Starts the threads.
    pub fn new() -> Result<Pool, rayon::ThreadPoolBuildError> {
        let threads = rayon::ThreadPoolBuilder::new()
            .thread_name(|i| format!("seal {i}"))
            .start_handler(|_| workers::lower_priority())
            .build()?;
        let (waiting, queue) = unbounded();
        Ok(Pool {
            threads,
            waiting,
            queue,
        })
    }

    /// Seals a segment as soon as a thread has time.
    pub fn seal(&self, job: Job) {
        self.waiting.send(job).expect("this end keeps a receiver");
        let queue = self.queue.clone();
        self.threads.spawn(move || seal_waiting(&queue));
    }

    /// Does `work` in the pool while this thread does `meanwhile`, and waits for both.
    pub fn beside<A: Send, B>(
        &self,
        work: impl FnOnce() -> A + Send,
        meanwhile: impl FnOnce() -> B,
    ) -> (A, B) {
        let mut done = None;
        let other = self.threads.in_place_scope(|scope| {
            scope.spawn(|_| done = Some(work()));
            meanwhile()
        });
        (done.expect("a scope ends after what it spawned"), other)
    }

    /// Does `work` in the pool, and waits for it.
    pub fn install<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.threads.install(work)
    }
}

/// One turn for each segment that came: whoever finds nothing is here for one that somebody took along.
fn seal_waiting(queue: &Receiver<Job>) {
    let Ok(mut one) = queue.try_recv() else { return };
    let Ok(mut two) = queue.try_recv() else {
        one.cipher
            .seal(one.index, one.last, one.segment.text_and_tag_mut());
        return one.deliver();
    };
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

    fn deliver(self) {
        // An upload that was given up has no more use for its segments.
        let _ = self.done.send((self.index, self.segment));
    }
}
