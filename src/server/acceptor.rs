//! The acceptor: a thread that accepts connections, keeps those with nothing to read, and gives the others to workers.
//!
//! An idle connection costs no worker, and neither does one whose head arrives a byte at a time or whose refused
//! body is still being sent: they are parked here, and epoll says when something can be read. This thread never waits
//! for a client, so no client can delay the others.
//!
//! ```text
//! accept ──► parked ──(something to read)──► queue ──► worker ──► parked again, or draining, or closed
//!                                    └─(its client has its share)─► waiting ──┘
//! ```
//!
//! No address can take everything. Of the workers and of the connections a quarter is for addresses that have few; whoever has
//! its share waits until one of its own is done. When no connection is left, the one that has been idle longest of the
//! address that has most makes room. While clients that are in their share wait for a worker, transfers have to be faster.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "this room owns the listener"
)]

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::TrySendError;
use rustix::event::{Timespec, epoll};

use super::acceptor_handle::{Return, Returns};
use super::answers;
use super::connection::{Connection, HEAD_TIME_MAX, IDLE_TIME_MAX, WAIT_TIME_MAX};
use super::error::Error;
use super::quota::{self, Permit, Quota};
use super::service::Service;
use super::status;
use super::workers::Workers;
use crate::http::answer::Answer;
use crate::http::head::{self, Framing};
use crate::node::counters::Counters;
use crate::socket::Socket;
use crate::turns::Turns;
use crate::vital;

/// How long a client may go on sending a refused body. If the connection were closed at once, it could not read why.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(2);
/// How many bytes of such a body are read.
const DRAIN_BYTES_MAX: usize = 64 << 20;
/// How many of them at a time.
const SCRATCH_BYTES: usize = 64 << 10;
/// Connections accepted before the others are looked at again.
const ACCEPTS_AT_ONCE: usize = 64;
/// Pause after EMFILE.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Idle connections that are closed after EMFILE.
const EVICTED_AT_ONCE: usize = 16;
/// Time between two warnings of EMFILE.
const WARNING_INTERVAL: Duration = Duration::from_secs(10);
/// How often parked connections that waited too long are looked for.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// Events taken from epoll at a time.
const EVENTS: usize = 256;

/// The longest head that this thread reads itself.
const HEALTH_HEAD_BYTES_MAX: usize = 1024;

const LISTENER: u64 = 0;
const WAKER: u64 = 1;
const FIRST_CONNECTION: u64 = 2;

struct Parked {
    connection: Connection,
    until: Instant,
    /// Bytes that are still thrown away; `None` for a connection that waits for its next request.
    draining: Option<usize>,
}

/// A connection with a request that waits for a worker.
struct WaitingConnection {
    connection: Connection,
    since: Instant,
}

/// The thread's own state.
pub(crate) struct Acceptor {
    listener: TcpListener,
    epoll: OwnedFd,
    service: Arc<Service>,
    returns: Returns,
    parked: HashMap<u64, Parked>,
    next_token: u64,
    /// Connections that a worker serves or that are in the queue for one.
    worker_quota: Arc<Quota>,
    /// Connections whose clients have their share of the workers.
    waiting: Turns<WaitingConnection>,
    /// How many may wait, here and in the queue of the workers.
    waiting_max: usize,
    /// People were told that clients wait for a worker.
    is_pressure_told: bool,
    /// What a client is told that gets no connection. Made once: such clients come by the thousand.
    full_answer: Vec<u8>,
    paused_until: Option<Instant>,
    next_warning: Instant,
    next_sweep: Instant,
    scratch: Vec<u8>,
}

impl Acceptor {
    /// Prepares the thread's state.
    pub(crate) fn new(
        listener: TcpListener,
        service: Arc<Service>,
        returns: Returns,
        waiting_max: usize,
    ) -> io::Result<Acceptor> {
        listener.set_nonblocking(true)?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(
            &epoll,
            &listener,
            epoll::EventData::new_u64(LISTENER),
            epoll::EventFlags::IN,
        )?;
        epoll::add(
            &epoll,
            &*returns.waker,
            epoll::EventData::new_u64(WAKER),
            epoll::EventFlags::IN,
        )?;
        let mut full_answer = Vec::new();
        answers::refusal(&Error::ConnectionQuota).encode(&mut full_answer, false, false);
        Ok(Acceptor {
            listener,
            epoll,
            worker_quota: Arc::clone(&service.workers),
            service,
            returns,
            parked: HashMap::new(),
            next_token: FIRST_CONNECTION,
            waiting: Turns::default(),
            waiting_max,
            is_pressure_told: false,
            full_answer,
            paused_until: None,
            next_warning: Instant::now(),
            next_sweep: Instant::now() + SWEEP_INTERVAL,
            scratch: vec![0; SCRATCH_BYTES],
        })
    }

    /// Starts the thread. It runs until the door is closed; then it accepts no more, closes idle connections, and gives
    /// the workers back, who finish what they serve.
    pub(crate) fn start(self, workers: Workers) -> io::Result<thread::JoinHandle<Workers>> {
        vital::spawn("accept", move || self.run(workers))
    }

    fn run(mut self, workers: Workers) -> Workers {
        let mut events = Vec::with_capacity(EVENTS);
        while !self.service.is_closed() {
            let timeout = Timespec::try_from(self.patience()).expect("a second fits a timespec");
            events.clear();
            let spare = rustix::buffer::spare_capacity(&mut events);
            // Interrupted is the only error that a valid epoll gives; nothing happened then.
            let _ = epoll::wait(&self.epoll, spare, Some(&timeout));
            // First, whatever else is ready: a probe must not stand behind a thousand requests.
            self.accept(&workers);
            for event in &events {
                match event.data.u64() {
                    LISTENER => {}
                    WAKER => self.take_returns(&workers),
                    token => self.readable(token, &workers),
                }
            }
            self.dispatch_waiting(&workers);
            self.sweep(&workers);
        }
        // Whoever waits has been let in: nobody comes after them.
        while let Some(WaitingConnection { connection, .. }) = self.waiting.pop() {
            self.queue(connection, &workers);
        }
        workers
    }

    /// How long until the clock asks for something.
    fn patience(&self) -> Duration {
        let wake = self
            .paused_until
            .map_or(self.next_sweep, |until| until.min(self.next_sweep));
        wake.saturating_duration_since(Instant::now())
    }

    fn accept(&mut self, workers: &Workers) {
        if self.paused_until.is_some() {
            return;
        }
        for _ in 0..ACCEPTS_AT_ONCE {
            let (stream, peer) = match self.listener.accept() {
                Ok(accepted) => accepted,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                Err(e) if is_exhausted(&e) => return self.pause(),
                // The client went away before it was accepted.
                Err(_) => continue,
            };
            Counters::add(&self.service.node.counters.connections_accepted, 1);
            let client = quota::client_of(peer.ip());
            let Some(permit) = self.seat(client) else {
                Counters::add(&self.service.node.counters.connections_refused, 1);
                if self.service.tls.is_none() {
                    let _ = rustix::net::send(
                        &stream,
                        &self.full_answer,
                        rustix::net::SendFlags::DONTWAIT | rustix::net::SendFlags::NOSIGNAL,
                    );
                }
                continue;
            };
            let session = self.service.tls.as_ref().map(|tls| tls.load().accept());
            let pressure = Arc::clone(&self.service.pressure);
            if let Ok(socket) = Socket::new(stream, session, client, pressure) {
                let connection = Connection::new(socket, permit);
                if connection.socket.has_input() {
                    self.dispatch(connection, workers);
                } else {
                    self.park(connection, IDLE_TIME_MAX, None);
                }
            }
        }
    }

    /// A permit for one more connection. If none is left, the longest idle one of the address that has most makes room.
    fn seat(&mut self, client: IpAddr) -> Option<Permit> {
        let connections = Arc::clone(&self.service.connections);
        connections.take(client).or_else(|| {
            let greediest = connections.greediest(client)?;
            let of_it = self
                .parked
                .iter()
                .filter(|(_, parked)| parked.connection.address() == greediest);
            let (token, _) = of_it.min_by_key(|(_, parked)| parked.until)?;
            drop(self.unpark(*token));
            connections.take(client)
        })
    }

    /// No file descriptors are left. Trying again at once would spin, so accepting pauses, and the connections that have
    /// been idle longest are closed.
    fn pause(&mut self) {
        let mut idle: Vec<(Instant, u64)> = self
            .parked
            .iter()
            .map(|(token, parked)| (parked.until, *token))
            .collect();
        idle.sort_unstable();
        for (_, token) in idle.into_iter().take(EVICTED_AT_ONCE) {
            drop(self.unpark(token));
        }
        let flags = epoll::EventFlags::empty();
        let _ = epoll::modify(
            &self.epoll,
            &self.listener,
            epoll::EventData::new_u64(LISTENER),
            flags,
        );
        let now = Instant::now();
        self.paused_until = Some(now + ACCEPT_PAUSE);
        if now >= self.next_warning {
            self.next_warning = now + WARNING_INTERVAL;
            log::warn!("no file descriptors are left: raise the limit (ulimit -n) or lower --connections");
        }
    }

    fn take_returns(&mut self, workers: &Workers) {
        let mut counter = [0; 8];
        let _ = rustix::io::read(&*self.returns.waker, &mut counter[..]);
        while let Ok(back) = self.returns.queue.try_recv() {
            match back {
                // What is already here raises no event any more.
                Return::Park(connection) if connection.socket.has_input() => {
                    self.dispatch(connection, workers)
                }
                Return::Park(connection) => self.park(connection, IDLE_TIME_MAX, None),
                Return::Yield(connection) if connection.socket.has_next() => {
                    self.dispatch(connection, workers)
                }
                Return::Yield(mut connection) => {
                    connection.release_buffers();
                    self.park(connection, IDLE_TIME_MAX, None);
                }
                Return::Drain(connection) => self.park(connection, DRAIN_TIME_MAX, Some(DRAIN_BYTES_MAX)),
            }
        }
    }

    fn park(&mut self, connection: Connection, patience: Duration, draining: Option<usize>) {
        let until = connection
            .head_since
            .map_or(Instant::now() + patience, |since| since + HEAD_TIME_MAX);
        let token = self.next_token;
        self.next_token += 1;
        let flags = epoll::EventFlags::IN | epoll::EventFlags::RDHUP;
        if epoll::add(
            &self.epoll,
            connection.socket.stream(),
            epoll::EventData::new_u64(token),
            flags,
        )
        .is_ok()
        {
            self.parked.insert(
                token,
                Parked {
                    connection,
                    until,
                    draining,
                },
            );
        }
    }

    fn unpark(&mut self, token: u64) -> Option<Parked> {
        let parked = self.parked.remove(&token)?;
        let _ = epoll::delete(&self.epoll, parked.connection.socket.stream());
        Some(parked)
    }

    fn readable(&mut self, token: u64, workers: &Workers) {
        if let Some(Parked {
            connection,
            draining: Some(left),
            ..
        }) = self.parked.get_mut(&token)
        {
            match connection.socket.discard(&mut self.scratch) {
                Some(count) if count < *left => *left -= count,
                _ => drop(self.unpark(token)),
            }
        } else if let Some(parked) = self.unpark(token) {
            self.dispatch(parked.connection, workers);
        }
    }

    fn dispatch(&mut self, mut connection: Connection, workers: &Workers) {
        if asks_for_health(&connection) {
            // A node is alive also when all its workers are busy.
            self.refuse(connection, &status::healthz());
            return;
        }
        let client = connection.address();
        // Behind those of its own that wait.
        if !self.waiting.has(client) {
            connection.worker_permit = self.worker_quota.take(client);
        }
        if connection.worker_permit.is_some() {
            return self.queue(connection, workers);
        }
        if self.waiting.len() + workers.queued() >= self.waiting_max {
            Counters::add(&self.service.node.counters.queue_full, 1);
            return self.refuse(connection, &answers::refusal(&Error::WorkerQuota));
        }
        let since = Instant::now();
        self.waiting.push(client, WaitingConnection { connection, since });
        self.publish_waiting();
    }

    /// Queues those that waited and may have a worker now.
    fn dispatch_waiting(&mut self, workers: &Workers) {
        let quota = Arc::clone(&self.worker_quota);
        while let Some((permit, WaitingConnection { mut connection, .. })) =
            self.waiting.pop_where(|client| quota.take(client))
        {
            connection.worker_permit = Some(permit);
            self.queue(connection, workers);
        }
        self.publish_waiting();
    }

    fn publish_waiting(&self) {
        self.service.waiting.store(self.waiting.len(), Ordering::Relaxed);
    }

    fn queue(&mut self, connection: Connection, workers: &Workers) {
        match workers.hand_over(connection) {
            Ok(()) => {}
            Err(TrySendError::Full(connection) | TrySendError::Disconnected(connection)) => {
                Counters::add(&self.service.node.counters.queue_full, 1);
                self.refuse(connection, &answers::refusal(&Error::QueueFull));
            }
        }
    }

    /// Answers from this thread, and lets the client finish what it is sending.
    fn refuse(&mut self, mut connection: Connection, answer: &Answer) {
        connection.worker_permit = None;
        let mut bytes = Vec::new();
        answer.encode(&mut bytes, false, false);
        connection.socket.write_at_once(&bytes);
        connection.socket.finish_sending();
        self.park(connection, DRAIN_TIME_MAX, Some(DRAIN_BYTES_MAX));
    }

    /// Has transfers be faster while clients wait for a worker.
    fn press(&mut self, workers: &Workers) {
        let node = &self.service.node;
        let do_clients_wait = workers.queued() > 0 || node.listings.are_waited_for();
        let factor = self.service.pressure.update(do_clients_wait);
        if self.service.pressure.is_high() && !self.is_pressure_told {
            self.is_pressure_told = true;
            log::warn!(
                "Node {}: clients wait for a worker: as long as that lasts, transfers have to be faster, and the slowest are cut",
                node.id
            );
        }
        if factor == 1 && self.is_pressure_told {
            self.is_pressure_told = false;
            log::info!("Node {}: clients do not wait for a worker any more", node.id);
        }
    }

    fn sweep(&mut self, workers: &Workers) {
        let now = Instant::now();
        if self.paused_until.is_some_and(|until| now >= until) {
            self.paused_until = None;
            let data = epoll::EventData::new_u64(LISTENER);
            let _ = epoll::modify(&self.epoll, &self.listener, data, epoll::EventFlags::IN);
        }
        if now < self.next_sweep {
            return;
        }
        self.next_sweep = now + SWEEP_INTERVAL;
        self.press(workers);
        for WaitingConnection { connection, .. } in
            self.waiting.take_while(|one| now >= one.since + WAIT_TIME_MAX)
        {
            Counters::add(&self.service.node.counters.queue_full, 1);
            self.refuse(connection, &answers::refusal(&Error::WorkerQuota));
        }
        self.publish_waiting();
        let late: Vec<u64> = self
            .parked
            .iter()
            .filter(|(_, parked)| now >= parked.until)
            .map(|(token, _)| *token)
            .collect();
        for token in late {
            if let Some(parked) = self.unpark(token).filter(|parked| parked.draining.is_none()) {
                self.expire(parked.connection);
            }
        }
    }

    /// Closes an idle connection; one with half a head is told why.
    fn expire(&mut self, mut connection: Connection) {
        if connection.head_since.take().is_some() {
            self.refuse(connection, &answers::refusal(&Error::HeadTooSlow));
        }
    }
}

/// Whether all that arrived is one whole `GET /healthz`, which everybody may ask under any name. A worker answers everything
/// else, and everything under TLS: this thread decrypts nothing.
fn asks_for_health(connection: &Connection) -> bool {
    let mut bytes = [0; HEALTH_HEAD_BYTES_MAX];
    let count = connection.socket.peek(&mut bytes);
    if !bytes.starts_with(b"GET /healthz ") || !connection.socket.inbox.unread().is_empty() {
        return false;
    }
    match head::parse(&bytes[..count]) {
        Ok(Some((head, length))) => length == count && head.framing == Framing::None,
        Ok(None) | Err(_) => false,
    }
}

fn is_exhausted(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(
        Errno::from_io_error(error),
        Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)
    )
}
