//! The UDP sockets, and the one thread that feeds the election and publishes its view.
//!
//! The thread waits for a datagram or the deadline, drains the socket, steps the election and performs its outputs. It
//! never waits for a lock, a file, a resolver or a worker, and logs only when the membership changes. Workers read the
//! view through an `Arc` that nobody locks.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the heartbeat needs a clock and a socket"
)]

mod report;
mod resolver;
mod route;
mod routes;

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::net::sockopt::set_socket_recv_buffer_size;
use zeroize::Zeroizing;

use self::report::{History, Report};
use self::route::Delivery;
use self::routes::Routes;
use crate::election::datagram::{ClusterKey, DATAGRAM_BYTES_MAX};
use crate::election::detector::{Cause, PeerState, Transition};
use crate::election::{self, Election, Input, Output, View};
use crate::members::Members;
use crate::roster::NodeId;

/// Most datagrams read before timers are checked: more than a socket's buffer holds, unless it is flooded.
const DRAIN_MAX: usize = 1024;
/// Holds datagrams while this thread waits for a core.
const RECEIVE_BUFFER_BYTES: usize = 1 << 20;
const REPORT_EVERY: Duration = Duration::from_millis(100);

/// What membership needs to know.
pub(crate) struct ClusterSettings {
    pub(crate) own: NodeId,
    pub(crate) members: Members,
    /// Where heartbeats are received.
    pub(crate) listen: SocketAddr,
    /// The secret that all nodes share.
    pub(crate) key: Zeroizing<[u8; 32]>,
    /// Greater than at every earlier start of this node, and greater than 0.
    pub(crate) incarnation: u64,
    /// A peer that nobody has heard for this long is dead; see [`election::HEALTH_TIMEOUT`].
    pub(crate) health_timeout: Duration,
}

/// A running member. Dropping it stops the thread and tells the others nothing, like a crash.
pub(crate) struct Cluster {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    view: ArcSwap<View>,
    report: ArcSwap<Report>,
    leave: AtomicBool,
    stop: AtomicBool,
    /// An eventfd that ends the thread's wait.
    wake: OwnedFd,
}

impl Cluster {
    /// Binds the socket and starts the thread. Fails if the address is taken or not ours.
    pub(crate) fn start(settings: ClusterSettings) -> io::Result<Cluster> {
        let ClusterSettings {
            own,
            members,
            listen,
            key,
            incarnation,
            health_timeout,
        } = settings;
        let socket = UdpSocket::bind(listen)?;
        socket.set_nonblocking(true)?;
        set_socket_recv_buffer_size(&socket, RECEIVE_BUFFER_BYTES)?;
        let election = Election::new(election::Settings {
            own,
            members: members.iter().map(|(id, _)| id).collect(),
            key: ClusterKey::new(&key),
            incarnation,
            health_timeout,
        });
        let history = History::default();
        let shared = Arc::new(Shared {
            view: ArcSwap::from_pointee(election.view().clone()),
            report: ArcSwap::from_pointee(Report::of(&members, &election, &history)),
            leave: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            wake: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        });
        let heartbeat = HeartbeatThread {
            own,
            routes: Routes::new(own, &members),
            members,
            socket,
            election,
            history,
            started: Instant::now(),
            refused: Vec::new(),
            reported: None,
            shared: Arc::clone(&shared),
        };
        let thread = thread::Builder::new()
            .name("cluster".to_owned())
            .spawn(move || heartbeat.run())?;
        Ok(Cluster {
            shared,
            thread: Some(thread),
        })
    }

    /// What uploads are placed by at present. Never waits.
    pub(crate) fn view(&self) -> Arc<View> {
        self.shared.view.load_full()
    }

    /// The state of membership for people, at most about 100 ms old. Never waits.
    pub(crate) fn report(&self) -> Arc<Report> {
        self.shared.report.load_full()
    }

    /// Tells all others, now and until this is dropped, that this node is stopping. From then on it has no leader.
    pub(crate) fn leave(&self) {
        self.shared.leave.store(true, Ordering::Release);
        self.shared.wake();
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        self.shared.wake();
        if let Some(thread) = self.thread.take() {
            // A panic in it was printed when it happened.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn wake(&self) {
        // Fails only if the counter is full: then the thread is about to wake.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }
}

struct HeartbeatThread {
    own: NodeId,
    members: Members,
    socket: UdpSocket,
    routes: Routes,
    election: Election,
    history: History,
    started: Instant,
    /// Peers whose port was found closed since the last round.
    refused: Vec<NodeId>,
    /// When the last report was made; `None`: something has changed since.
    reported: Option<Duration>,
    shared: Arc<Shared>,
}

impl HeartbeatThread {
    fn run(mut self) {
        let mut stop = false;
        while !stop {
            self.wait();
            self.drain();
            for peer in std::mem::take(&mut self.refused) {
                self.step(Input::Refused(peer));
            }
            // Read before `leave`: whoever sets both sets `leave` first.
            stop = self.shared.stop.load(Ordering::Acquire);
            if self.shared.leave.swap(false, Ordering::AcqRel) {
                self.step(Input::Leave);
            }
            if self.started.elapsed() >= self.election.deadline() {
                self.step(Input::Tick);
                self.routes.refresh(&self.election);
            }
            self.report();
        }
    }

    /// Waits for a datagram, a wake-up or the deadline.
    fn wait(&self) {
        let left = self.election.deadline().saturating_sub(self.started.elapsed());
        let timeout = Timespec::try_from(left).expect("a deadline is never centuries away");
        let mut waiting = [
            PollFd::new(&self.socket, PollFlags::IN),
            PollFd::new(&self.shared.wake, PollFlags::IN),
        ];
        // An interrupted wait is as good: whatever has arrived is read next.
        let _ = poll(&mut waiting, Some(&timeout));
        let _ = rustix::io::read(&self.shared.wake, &mut [0; 8]);
    }

    fn drain(&mut self) {
        // One byte more than the longest datagram: a longer one is truncated to a length that the election refuses.
        let mut bytes = [0; DATAGRAM_BYTES_MAX + 1];
        for _ in 0..DRAIN_MAX {
            match self.socket.recv(&mut bytes) {
                Ok(length) => self.step(Input::Datagram(&bytes[..length])),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // An error of an earlier datagram, reported here: more datagrams may follow it.
                Err(_) => {}
            }
        }
    }

    fn step(&mut self, input: Input<'_>) {
        for output in self.election.step(self.started.elapsed(), input) {
            match output {
                Output::Send { to, bytes } => self.send(to, &bytes),
                Output::Publish(view) => self.publish(&view),
                Output::Note(transition) => self.note(transition),
            }
        }
    }

    fn send(&mut self, to: NodeId, bytes: &[u8]) {
        if self.routes.send(to, bytes) == Delivery::PortClosed {
            self.refused.push(to);
        }
    }

    fn publish(&mut self, view: &View) {
        let before = self.shared.view.swap(Arc::new(view.clone()));
        match view.leader {
            Some(leader) => log::info!(
                "Node {}: Leader is Node {leader} (term {}, alive nodes: {})",
                self.own,
                view.term,
                view.roster
            ),
            None => log::info!("Node {}: No leader (alive nodes: {})", self.own, view.roster),
        }
        self.history.add_leader_change(&before, view);
        self.reported = None;
    }

    fn note(&mut self, transition: Transition) {
        let Transition { peer, to, cause, .. } = transition;
        match (to, cause) {
            (_, Cause::Slept(late)) => {
                log::info!("Node {}: was not running for {} ms", self.own, late.as_millis());
            }
            (PeerState::Left, _) => log::info!("Node {}: Node {peer} has left", self.own),
            _ => log::info!("Node {}: Node {peer} is {to} ({cause})", self.own),
        }
        self.history.add(transition);
        self.reported = None;
    }

    fn report(&mut self) {
        let now = self.started.elapsed();
        if self.reported.is_none_or(|at| now >= at + REPORT_EVERY) {
            self.reported = Some(now);
            let report = Report::of(&self.members, &self.election, &self.history);
            self.shared.report.store(Arc::new(report));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    struct Three {
        members: Members,
        nodes: Vec<Option<Cluster>>,
    }

    impl Three {
        /// On ports that were free a moment ago: another process may have taken one since, then on others.
        fn start() -> Three {
            let attempts = (0..10).filter_map(|_| {
                let held: Vec<UdpSocket> = (0..3).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
                let lines = held
                    .iter()
                    .zip(1..)
                    .map(|(socket, id)| format!("{id} = \"{}\"\n", socket.local_addr().unwrap()));
                let members = Members::parse(&format!("[nodes]\n{}", lines.collect::<String>())).unwrap();
                drop(held);
                let nodes = (1..=3)
                    .map(|id| start(&members, id, 1).ok().map(Some))
                    .collect::<Option<_>>()?;
                Some(Three { members, nodes })
            });
            attempts.take(1).next().expect("three free ports in ten attempts")
        }

        fn wait_until(&self, leader: u32, alive: &str) {
            let started = Instant::now();
            let agreed = |node: &Cluster| {
                let view = node.view();
                view.leader == Some(NodeId(leader)) && view.roster.to_string() == alive
            };
            while !self.nodes.iter().flatten().all(agreed) {
                assert!(
                    started.elapsed() < PATIENCE,
                    "no agreement on {leader} and {alive}"
                );
                thread::park_timeout(Duration::from_millis(5));
            }
        }
    }

    fn start(members: &Members, id: u32, incarnation: u64) -> io::Result<Cluster> {
        let own = NodeId(id);
        Cluster::start(ClusterSettings {
            own,
            members: members.clone(),
            listen: members.address(own).unwrap().parse().unwrap(),
            key: Zeroizing::new([7; 32]),
            incarnation,
            health_timeout: election::HEALTH_TIMEOUT,
        })
    }

    #[test]
    fn three_nodes_agree_and_survive_a_crash_a_leave_and_a_return() {
        let mut three = Three::start();
        three.wait_until(3, "[1, 2, 3]");
        three.nodes[2] = None;
        three.wait_until(2, "[1, 2]");
        three.nodes[2] = Some(start(&three.members, 3, 2).unwrap());
        three.wait_until(3, "[1, 2, 3]");
        three.nodes[0].take().unwrap().leave();
        three.wait_until(3, "[2, 3]");

        let report = three.nodes[2].as_ref().unwrap().report();
        assert_eq!(report.peers[1].state, "alive");
        assert_eq!(report.rejections.forged, 0);
        assert!(report.history.iter().any(|change| change.to == "leader"));
    }

    #[test]
    fn a_taken_port_is_an_error() {
        let three = Three::start();
        let error = start(&three.members, 1, 2).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }
}
