//! The pool of workers: threads that serve connections with blocking reads and writes.
//!
//! Threads are started as they are needed, up to the number that is configured, and then stay. They run at lower
//! priority than the heartbeat: a node that is busy must not look dead.

#![allow(clippy::disallowed_methods, reason = "this room owns the worker threads")]

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use super::connection::Connection;

/// How much nicer than the heartbeat thread everything is that works for clients: a third of its share where both
/// want a core. It hardly ever does; more niceness would only give way to strangers on the same machine (at 10, one
/// upload beside a compiler took twice as long).
const NICENESS: i32 = 5;
/// What a worker's stack may grow to; buffers are on the heap.
const STACK_BYTES: usize = 256 << 10;

/// The accept thread's end of the pool. Dropping it lets the workers end when the queue is empty.
pub struct Workers {
    queue: Sender<Connection>,
    template: Arc<Template>,
    threads: Vec<thread::JoinHandle<()>>,
    threads_max: usize,
}

/// Serves a connection; sees the queue, to tell whether others wait.
type Serve = dyn Fn(Connection, &Receiver<Connection>) + Send + Sync;

struct Template {
    queue: Receiver<Connection>,
    idle: AtomicUsize,
    serve: Box<Serve>,
}

impl Workers {
    /// A pool of at most `threads_max` threads behind a queue of `queue_max` connections, all of which `serve`.
    /// `serve` sees the queue, to tell whether others wait.
    pub fn new(
        threads_max: usize,
        queue_max: usize,
        serve: impl Fn(Connection, &Receiver<Connection>) + Send + Sync + 'static,
    ) -> Workers {
        let (sender, queue) = bounded(queue_max);
        let template = Template {
            queue,
            idle: AtomicUsize::new(0),
            serve: Box::new(serve),
        };
        Workers {
            queue: sender,
            template: Arc::new(template),
            threads: Vec::new(),
            threads_max,
        }
    }

    /// Queues a connection, and starts one more worker if all of them are busy and more are allowed.
    #[allow(
        clippy::result_large_err,
        reason = "a connection that nobody can take goes back to whoever has it"
    )]
    pub fn hand_over(&mut self, connection: Connection) -> Result<(), TrySendError<Connection>> {
        self.queue.try_send(connection)?;
        if self.queue.len() > self.template.idle.load(Ordering::Acquire)
            && self.threads.len() < self.threads_max
        {
            match self.spawn() {
                Ok(thread) => self.threads.push(thread),
                Err(e) => log::warn!("cannot start worker {}: {e}", self.threads.len() + 1),
            }
        }
        Ok(())
    }

    fn spawn(&self) -> io::Result<thread::JoinHandle<()>> {
        let template = Arc::clone(&self.template);
        thread::Builder::new()
            .name(format!("worker {}", self.threads.len() + 1))
            .stack_size(STACK_BYTES)
            .spawn(move || {
                lower_priority();
                work(&template);
            })
    }
}

fn work(template: &Template) {
    loop {
        template.idle.fetch_add(1, Ordering::AcqRel);
        let next = template.queue.recv();
        template.idle.fetch_sub(1, Ordering::AcqRel);
        match next {
            Ok(connection) => (template.serve)(connection, &template.queue),
            Err(_) => return,
        }
    }
}

/// Makes the calling thread yield to the heartbeat. Where that is not allowed, the default has to do.
pub fn lower_priority() {
    let _ = rustix::process::setpriority_process(None, NICENESS);
}

impl Drop for Workers {
    /// Waits for what is being served.
    fn drop(&mut self) {
        let (disconnected, _) = bounded(0);
        drop(std::mem::replace(&mut self.queue, disconnected));
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
