//! The workers: threads that serve connections with blocking reads and writes.
//!
//! Some threads are started with the node, more as they are needed, up to the number that is configured; then they
//! stay. They run at lower priority than the heartbeat: a node that is busy must not look dead.
//!
//! Workers start each other: one that takes a connection and leaves fewer idle workers than waiting connections starts
//! two, so that the number of workers doubles at each step. The acceptor must not start them: a new thread needs memory,
//! and the lock of the address space may be held by a worker of lower priority that waits for a core. At the start of a
//! storm that kept the acceptor from accepting for up to 400 ms. For the same reason some are started with the node:
//! without them, 82 of 7,680 connections that came to a new cluster 64 at a time, on two busy cores, waited 100 to
//! 530 ms for a worker; with them none did.
//!
//! A panic costs the connection that was being served. The worker goes on: one that ended would count as started for
//! ever, and the node would serve nobody once all had.

#![allow(clippy::disallowed_methods, reason = "this room owns the worker threads")]

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use super::connection::Connection;
use crate::priority;

/// Workers started with the node: idle, they add 0.6 MiB to the resident memory.
const STARTED_AT_FIRST: usize = 64;
/// Workers that one that takes a connection may start before it serves.
const STARTED_AT_ONCE: usize = 2;
/// A worker's stack; buffers are on the heap.
const STACK_BYTES: usize = 256 << 10;

/// How often the end of the workers is looked for.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// The acceptor's end of the pool. Dropping it lets the workers end when the queue is empty.
pub(crate) struct Workers {
    queue: Sender<Connection>,
    pool: Arc<WorkerPool>,
}

/// Serves a connection; sees the queue, to tell whether others wait.
type Serve = dyn Fn(Connection, &Receiver<Connection>) + Send + Sync;

/// What the workers share.
struct WorkerPool {
    queue: Receiver<Connection>,
    serve: Box<Serve>,
    threads_max: usize,
    started: AtomicUsize,
    /// Workers that wait for a connection, or will as soon as they run.
    idle: AtomicUsize,
    threads: Mutex<Vec<thread::JoinHandle<()>>>,
}

impl Workers {
    /// At most `threads_max` threads behind a queue of `queue_max` connections. An error if not even one thread can be
    /// started.
    pub(crate) fn new(
        threads_max: usize,
        queue_max: usize,
        serve: impl Fn(Connection, &Receiver<Connection>) + Send + Sync + 'static,
    ) -> io::Result<Workers> {
        let (sender, queue) = bounded(queue_max);
        let pool = WorkerPool {
            queue,
            serve: Box::new(serve),
            threads_max,
            started: AtomicUsize::new(0),
            idle: AtomicUsize::new(0),
            threads: Mutex::new(Vec::new()),
        };
        let pool = Arc::new(pool);
        start_worker(&pool)?;
        if let Err(e) = (1..STARTED_AT_FIRST).try_for_each(|_| start_worker(&pool)) {
            log::warn!("not all workers could be started at once: {e}");
        }
        Ok(Workers { queue: sender, pool })
    }

    /// Queues a connection for the next worker that has time.
    #[allow(
        clippy::result_large_err,
        reason = "a connection that no worker can take goes back to the caller"
    )]
    pub(crate) fn hand_over(&self, connection: Connection) -> Result<(), TrySendError<Connection>> {
        self.queue.try_send(connection)
    }

    /// Connections that wait for a worker.
    pub(crate) fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Takes no more connections, and waits until all are served or `is_over`; then the others are left to themselves.
    pub(crate) fn finish(self, is_over: impl Fn() -> bool) {
        let Workers { queue, pool } = self;
        drop(queue);
        loop {
            // A worker that starts another one does so before it ends.
            let mut threads = pool.threads.lock().unwrap_or_else(PoisonError::into_inner);
            threads.retain(|thread| !thread.is_finished());
            let are_finished = threads.is_empty();
            drop(threads);
            if are_finished || is_over() {
                return;
            }
            thread::sleep(LOOK_AGAIN);
        }
    }
}

/// Starts one more worker, if more are allowed.
fn start_worker(pool: &Arc<WorkerPool>) -> io::Result<()> {
    let one_more = |started| (started < pool.threads_max).then_some(started + 1);
    let Ok(before) = pool
        .started
        .fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more)
    else {
        return Ok(());
    };
    pool.idle.fetch_add(1, Ordering::AcqRel);
    let shared = Arc::clone(pool);
    let spawned = thread::Builder::new()
        .name(format!("worker {}", before + 1))
        .stack_size(STACK_BYTES)
        .spawn(move || {
            priority::give_way_to_heartbeat();
            work(&shared);
        });
    match spawned {
        Ok(thread) => {
            let mut threads = pool.threads.lock().unwrap_or_else(PoisonError::into_inner);
            threads.push(thread);
            Ok(())
        }
        Err(e) => {
            pool.idle.fetch_sub(1, Ordering::AcqRel);
            pool.started.fetch_sub(1, Ordering::AcqRel);
            Err(e)
        }
    }
}

fn work(pool: &Arc<WorkerPool>) {
    while let Ok(connection) = pool.queue.recv() {
        pool.idle.fetch_sub(1, Ordering::AcqRel);
        for _ in 0..STARTED_AT_ONCE {
            // One stays idle for the next connection.
            if pool.idle.load(Ordering::Acquire) <= pool.queue.len()
                && let Err(e) = start_worker(pool)
            {
                log::warn!("cannot start one more worker: {e}");
            }
        }
        let served = catch_unwind(AssertUnwindSafe(|| (pool.serve)(connection, &pool.queue)));
        if served.is_err() {
            // The panic itself was printed when it happened. Locks that it held are taken over as they are by whoever comes next.
            log::error!(
                "A worker panicked, and the connection that it served was closed; the node goes on. Please report the \
                 panic above."
            );
        }
        pool.idle.fetch_add(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_types, reason = "a worker serves a connection")]
mod tests {
    use super::*;
    use crate::server::quota::Quota;
    use crate::socket::Socket;
    use std::io::Read;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn a_panic_costs_one_connection_and_no_worker() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let quota = Quota::capped(4, 4);
        let workers = Workers::new(1, 4, |connection, _| {
            assert_ne!(
                connection.socket.inbox.unread(),
                b"",
                "nobody has written here: a panic"
            );
        });
        let workers = workers.unwrap();
        for _ in 0..3 {
            let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (stream, peer) = listener.accept().unwrap();
            let connection = Connection::new(
                Socket::new(stream, None, peer.ip(), Arc::default()).unwrap(),
                quota.take(peer.ip()).unwrap(),
            );
            assert!(workers.hand_over(connection).is_ok());
            assert_eq!(client.read(&mut [0]).unwrap(), 0, "the connection is closed");
        }
        workers.finish(|| false);
        assert_eq!(quota.used(), 0);
    }

    #[test]
    fn a_worker_that_does_not_end_is_left_alone() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let quota = Quota::capped(1, 1);
        let workers = Workers::new(1, 1, |_, _| {
            loop {
                thread::park();
            }
        });
        let workers = workers.unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, peer) = listener.accept().unwrap();
        let connection = Connection::new(
            Socket::new(stream, None, peer.ip(), Arc::default()).unwrap(),
            quota.take(peer.ip()).unwrap(),
        );
        assert!(workers.hand_over(connection).is_ok());
        workers.finish(|| true);
        assert_eq!(quota.used(), 1, "the connection is still being served");
    }
}
