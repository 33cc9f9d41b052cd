//! The accept thread: takes connections in, keeps the quiet ones, and hands over those with something to read.
//!
//! An idle connection costs no worker, and neither does one whose head arrives a byte at a time or whose refused
//! body is still being sent: they wait here, and epoll says when one of them moves. Whatever this thread does is
//! done without waiting, so that nobody can hold up the door.
//!
//! ```text
//! accept ──► parked ──(something to read)──► queue ──► worker ──► parked again, or draining, or closed
//! ```

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "this room owns the listener"
)]

use std::collections::HashMap;
use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TrySendError, unbounded};
use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};

use super::connection::{Connection, HEAD_TIME_MAX, IDLE_TIME_MAX, Seats};
use super::counters::Counters;
use super::gate::Gate;
use super::workers::Workers;
use crate::http::answer::Answer;
use crate::http::head::{self, Framing};

/// How long a client may go on sending what was refused, so that it gets to read why.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(2);
/// How much of it is read.
const DRAIN_BYTES_MAX: usize = 64 << 20;
/// How much of it is read in one go.
const SCRATCH_BYTES: usize = 64 << 10;
/// Connections accepted before the others are looked at again.
const ACCEPTS_AT_ONCE: usize = 64;
/// How long accepting rests when there are no file descriptors left.
const ACCEPT_REST: Duration = Duration::from_millis(100);
/// Idle connections that are closed when there are no file descriptors left.
const EVICTED_AT_ONCE: usize = 16;
/// How often it is said that there are none left.
const WARNING_INTERVAL: Duration = Duration::from_secs(10);
/// How often the parked connections are looked through for those that waited too long.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// Events taken from epoll at a time.
const EVENTS: usize = 256;

/// The longest head that this thread reads itself.
const HEALTH_HEAD_BYTES_MAX: usize = 1024;

const LISTENER: u64 = 0;
const WAKER: u64 = 1;
const FIRST_CONNECTION: u64 = 2;

/// How workers and the rest of the program speak to the accept thread.
#[derive(Clone)]
pub struct Desk {
    returns: Sender<Return>,
    waker: Arc<OwnedFd>,
    closing: Arc<AtomicBool>,
}

enum Return {
    /// Nothing to read at the moment.
    Park(Connection),
    /// Answered before its body was read; the rest of the body is thrown away.
    Drain(Connection),
}

impl Desk {
    /// Gives a connection back that has nothing to read at the moment.
    pub fn park(&self, mut connection: Connection) {
        connection.inbox.release_if_empty();
        connection.outbox = Vec::new();
        connection.turn = None;
        self.send(Return::Park(connection));
    }

    /// Gives a connection back whose client is still sending what was refused.
    pub fn drain(&self, mut connection: Connection) {
        connection.finish_sending();
        connection.turn = None;
        self.send(Return::Drain(connection));
    }

    /// Whether the node is going away, and connections should end with their current request.
    pub fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    /// Stops accepting and closes idle connections; requests that are being served go on.
    pub fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
        self.wake();
    }

    fn send(&self, connection: Return) {
        // If the accept thread is gone, so is the use for the connection, which closes as it is dropped.
        if self.returns.send(connection).is_ok() {
            self.wake();
        }
    }

    fn wake(&self) {
        // The only failure is a counter that is full, and then the thread will wake anyway.
        let _ = rustix::io::write(&*self.waker, &1_u64.to_ne_bytes());
    }
}

struct Parked {
    connection: Connection,
    until: Instant,
    /// Bytes that are still thrown away; `None` for a connection that waits for its next request.
    draining: Option<usize>,
}

/// The accept thread's own state.
pub struct Front {
    listener: TcpListener,
    epoll: OwnedFd,
    desk: Desk,
    returns: Receiver<Return>,
    parked: HashMap<u64, Parked>,
    next_token: u64,
    seats: Arc<Seats>,
    turns: Arc<Seats>,
    gate: Arc<Gate>,
    counters: Arc<Counters>,
    resting_until: Option<Instant>,
    next_warning: Instant,
    next_sweep: Instant,
    scratch: Vec<u8>,
}

impl Front {
    /// Prepares the thread's state; the listener is already bound.
    pub fn new(
        listener: TcpListener,
        seats: Arc<Seats>,
        turns: Arc<Seats>,
        gate: Arc<Gate>,
        counters: Arc<Counters>,
    ) -> io::Result<Front> {
        listener.set_nonblocking(true)?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let waker = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        epoll::add(
            &epoll,
            &listener,
            epoll::EventData::new_u64(LISTENER),
            epoll::EventFlags::IN,
        )?;
        epoll::add(
            &epoll,
            &*waker,
            epoll::EventData::new_u64(WAKER),
            epoll::EventFlags::IN,
        )?;
        // Unbounded, but never longer than there are seats: every entry is an open connection.
        let (sender, returns) = unbounded();
        let desk = Desk {
            returns: sender,
            waker,
            closing: Arc::new(AtomicBool::new(false)),
        };
        Ok(Front {
            listener,
            epoll,
            desk,
            returns,
            parked: HashMap::new(),
            next_token: FIRST_CONNECTION,
            seats,
            turns,
            gate,
            counters,
            resting_until: None,
            next_warning: Instant::now(),
            next_sweep: Instant::now() + SWEEP_INTERVAL,
            scratch: vec![0; SCRATCH_BYTES],
        })
    }

    /// How others speak to this thread.
    pub fn desk(&self) -> Desk {
        self.desk.clone()
    }

    /// Runs until [`Desk::close`]. Then nobody new is let in, idle connections close, and what is being served is
    /// finished.
    pub fn run(mut self, workers: Workers) {
        let mut events = Vec::with_capacity(EVENTS);
        while !self.desk.is_closing() {
            let timeout = Timespec::try_from(self.patience()).expect("a second fits a timespec");
            events.clear();
            let spare = rustix::buffer::spare_capacity(&mut events);
            // Interrupted is the only error that a valid epoll gives; nothing happened then.
            let _ = epoll::wait(&self.epoll, spare, Some(&timeout));
            for event in &events {
                match event.data.u64() {
                    LISTENER => self.accept(&workers),
                    WAKER => self.take_returns(&workers),
                    token => self.moved(token, &workers),
                }
            }
            self.sweep();
        }
        // The door closes before the last guests are served: whoever knocks now must be refused, not kept waiting.
        let Front { listener, parked, .. } = self;
        drop((listener, parked));
        drop(workers);
    }

    /// How long nothing but the clock can ask for attention.
    fn patience(&self) -> Duration {
        let wake = self
            .resting_until
            .map_or(self.next_sweep, |until| until.min(self.next_sweep));
        wake.saturating_duration_since(Instant::now())
    }

    fn accept(&mut self, workers: &Workers) {
        for _ in 0..ACCEPTS_AT_ONCE {
            let (stream, peer) = match self.listener.accept() {
                Ok(accepted) => accepted,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                Err(e) if is_exhausted(&e) => return self.rest(),
                // The client went away before it was its turn.
                Err(_) => continue,
            };
            Counters::add(&self.counters.connections_accepted, 1);
            let Some(permit) = self.seats.seat(peer.ip()) else {
                Counters::add(&self.counters.connections_refused, 1);
                let mut bytes = Vec::new();
                busy("Too many connections are open.").encode(&mut bytes, false, false);
                let _ = rustix::net::send(
                    &stream,
                    &bytes,
                    rustix::net::SendFlags::DONTWAIT | rustix::net::SendFlags::NOSIGNAL,
                );
                continue;
            };
            if let Ok(connection) = Connection::new(stream, permit) {
                if connection.has_input() {
                    self.dispatch(connection, workers);
                } else {
                    self.park(connection, IDLE_TIME_MAX, None);
                }
            }
        }
    }

    /// No file descriptors are left. Looking at the listener again at once would spin, so it rests, and the
    /// connections that have been idle longest make room.
    fn rest(&mut self) {
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
        self.resting_until = Some(now + ACCEPT_REST);
        if now >= self.next_warning {
            self.next_warning = now + WARNING_INTERVAL;
            log::warn!("no file descriptors are left: raise the limit (ulimit -n) or lower --connections");
        }
    }

    fn take_returns(&mut self, workers: &Workers) {
        let mut counter = [0; 8];
        let _ = rustix::io::read(&*self.desk.waker, &mut counter[..]);
        while let Ok(back) = self.returns.try_recv() {
            match back {
                // What is already here raises no event any more.
                Return::Park(connection) if connection.has_input() => self.dispatch(connection, workers),
                Return::Park(connection) => self.park(connection, IDLE_TIME_MAX, None),
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
            connection.stream(),
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
        let _ = epoll::delete(&self.epoll, parked.connection.stream());
        Some(parked)
    }

    fn moved(&mut self, token: u64, workers: &Workers) {
        if let Some(Parked {
            connection,
            draining: Some(left),
            ..
        }) = self.parked.get_mut(&token)
        {
            match connection.discard(&mut self.scratch) {
                Some(count) if count < *left => *left -= count,
                _ => drop(self.unpark(token)),
            }
        } else if let Some(parked) = self.unpark(token) {
            self.dispatch(parked.connection, workers);
        }
    }

    fn dispatch(&mut self, mut connection: Connection, workers: &Workers) {
        if asks_for_health(&connection, &self.gate) {
            // Alive is what is asked, and a full house is alive: nobody waits for a worker to say so.
            self.refuse(connection, &Answer::text(200, "ok"));
            return;
        }
        connection.turn = self.turns.seat(connection.address());
        if connection.turn.is_none() {
            Counters::add(&self.counters.queue_full, 1);
            self.refuse(connection, &busy("Others wait for a worker as well."));
            return;
        }
        match workers.hand_over(connection) {
            Ok(()) => {}
            Err(TrySendError::Full(connection) | TrySendError::Disconnected(connection)) => {
                Counters::add(&self.counters.queue_full, 1);
                self.refuse(connection, &busy("All workers are busy."));
            }
        }
    }

    /// Answers from this thread, and lets the client finish what it is sending.
    fn refuse(&mut self, mut connection: Connection, answer: &Answer) {
        connection.turn = None;
        let mut bytes = Vec::new();
        answer.encode(&mut bytes, false, false);
        connection.write_at_once(&bytes);
        connection.finish_sending();
        self.park(connection, DRAIN_TIME_MAX, Some(DRAIN_BYTES_MAX));
    }

    fn sweep(&mut self) {
        let now = Instant::now();
        if self.resting_until.is_some_and(|until| now >= until) {
            self.resting_until = None;
            let data = epoll::EventData::new_u64(LISTENER);
            let _ = epoll::modify(&self.epoll, &self.listener, data, epoll::EventFlags::IN);
        }
        if now < self.next_sweep {
            return;
        }
        self.next_sweep = now + SWEEP_INTERVAL;
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

    /// An idle connection closes without a word; one with half a head is told why.
    fn expire(&mut self, mut connection: Connection) {
        if connection.head_since.take().is_some() {
            self.refuse(connection, &head_too_slow());
        }
    }
}

/// Whether all that arrived is one whole `GET /healthz` that the gate lets in. Anything else, and any doubt, is a
/// worker's.
fn asks_for_health(connection: &Connection, gate: &Gate) -> bool {
    let mut bytes = [0; HEALTH_HEAD_BYTES_MAX];
    let count = connection.peek(&mut bytes);
    if !bytes.starts_with(b"GET /healthz ") || !connection.inbox.unread().is_empty() {
        return false;
    }
    match head::parse(&bytes[..count]) {
        Ok(Some((head, length))) => {
            length == count && head.framing == Framing::None && gate.admit(&head, None).is_ok()
        }
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

/// 408: a head that arrives a byte at a time.
pub fn head_too_slow() -> Answer {
    Answer::text(
        408,
        format_args!("The head took over {} s.", HEAD_TIME_MAX.as_secs()),
    )
}

/// 503: come back in a second.
pub fn busy(why: &str) -> Answer {
    Answer::text(503, why).field("Retry-After", 1)
}

/// Starts the accept thread.
pub fn start(front: Front, workers: Workers) -> io::Result<thread::JoinHandle<()>> {
    thread::Builder::new()
        .name("accept".to_owned())
        .spawn(move || front.run(workers))
}
