//! The pool of workers: threads that serve connections with blocking reads and writes.
//!
//! Some threads are there before anybody comes, more are started as they are needed, up to the number that is
//! configured, and then stay. They run at lower priority than the heartbeat: a node that is busy must not look dead.
//!
//! Workers start each other: whoever takes a connection and leaves fewer idle than wait starts two, so that a crowd is
//! served after as many steps as it doubles. The accept thread must not start them, since a new thread needs memory,
//! and the lock of the address space may be held by a worker of lower priority that waits for a core: at the start of
//! a storm that kept the door shut for up to 400 ms. For the same reason the first of them are there from the
//! beginning: without them, 82 of 7,680 connections that came to a new cluster 64 at a time, on two busy cores, waited
//! 100 to 530 ms for a worker; with them none did.

#![allow(clippy::disallowed_methods, reason = "this room owns the worker threads")]

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use super::connection::Connection;
use crate::priority;

/// How many workers are there before anybody comes: idle, they add 0.6 MiB to what is resident.
const READY: usize = 64;
/// How many workers one that takes a connection may start before it serves.
const HIRED_AT_ONCE: usize = 2;
/// What a worker's stack may grow to; buffers are on the heap.
const STACK_BYTES: usize = 256 << 10;

/// The accept thread's end of the pool. Dropping it lets the workers end when the queue is empty.
pub struct Workers {
    queue: Sender<Connection>,
    crew: Arc<Crew>,
}

/// Serves a connection; sees the queue, to tell whether others wait.
type Serve = dyn Fn(Connection, &Receiver<Connection>) + Send + Sync;

struct Crew {
    queue: Receiver<Connection>,
    serve: Box<Serve>,
    threads_max: usize,
    started: AtomicUsize,
    /// Workers that wait for a connection, or will as soon as they run.
    idle: AtomicUsize,
    threads: Mutex<Vec<thread::JoinHandle<()>>>,
}

impl Workers {
    /// A pool of at most `threads_max` threads behind a queue of `queue_max` connections, all of which `serve`.
    /// `serve` sees the queue, to tell whether others wait. An error if not even one thread can be started.
    pub fn new(
        threads_max: usize,
        queue_max: usize,
        serve: impl Fn(Connection, &Receiver<Connection>) + Send + Sync + 'static,
    ) -> io::Result<Workers> {
        let (sender, queue) = bounded(queue_max);
        let crew = Crew {
            queue,
            serve: Box::new(serve),
            threads_max,
            started: AtomicUsize::new(0),
            idle: AtomicUsize::new(0),
            threads: Mutex::new(Vec::new()),
        };
        let crew = Arc::new(crew);
        hire(&crew)?;
        if let Err(e) = (1..READY).try_for_each(|_| hire(&crew)) {
            log::warn!("not all workers could be started at once: {e}");
        }
        Ok(Workers { queue: sender, crew })
    }

    /// Queues a connection for the next worker that has time.
    #[allow(
        clippy::result_large_err,
        reason = "a connection that nobody can take goes back to whoever has it"
    )]
    pub fn hand_over(&self, connection: Connection) -> Result<(), TrySendError<Connection>> {
        self.queue.try_send(connection)
    }
}

/// Starts one more worker, if more are allowed.
fn hire(crew: &Arc<Crew>) -> io::Result<()> {
    let place = |started| (started < crew.threads_max).then_some(started + 1);
    let Ok(before) = crew
        .started
        .fetch_update(Ordering::AcqRel, Ordering::Acquire, place)
    else {
        return Ok(());
    };
    crew.idle.fetch_add(1, Ordering::AcqRel);
    let hired = Arc::clone(crew);
    let spawned = thread::Builder::new()
        .name(format!("worker {}", before + 1))
        .stack_size(STACK_BYTES)
        .spawn(move || {
            priority::give_way_to_heartbeat();
            work(&hired);
        });
    match spawned {
        Ok(thread) => {
            let mut threads = crew.threads.lock().unwrap_or_else(PoisonError::into_inner);
            threads.push(thread);
            Ok(())
        }
        Err(e) => {
            crew.idle.fetch_sub(1, Ordering::AcqRel);
            crew.started.fetch_sub(1, Ordering::AcqRel);
            Err(e)
        }
    }
}

fn work(crew: &Arc<Crew>) {
    while let Ok(connection) = crew.queue.recv() {
        crew.idle.fetch_sub(1, Ordering::AcqRel);
        for _ in 0..HIRED_AT_ONCE {
            // One is left for whoever comes next.
            if crew.idle.load(Ordering::Acquire) <= crew.queue.len()
                && let Err(e) = hire(crew)
            {
                log::warn!("cannot start one more worker: {e}");
            }
        }
        (crew.serve)(connection, &crew.queue);
        crew.idle.fetch_add(1, Ordering::AcqRel);
    }
}

impl Drop for Workers {
    /// Waits for what is being served.
    fn drop(&mut self) {
        let (disconnected, _) = bounded(0);
        drop(std::mem::replace(&mut self.queue, disconnected));
        let next = || {
            let mut threads = self.crew.threads.lock().unwrap_or_else(PoisonError::into_inner);
            threads.pop()
        };
        // A worker that starts another one does so before it ends.
        while let Some(thread) = next() {
            let _ = thread.join();
        }
    }
}
