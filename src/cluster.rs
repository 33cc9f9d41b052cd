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
pub(crate) mod time;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::net::sockopt::set_socket_recv_buffer_size;
use zeroize::Zeroizing;

use self::report::{History, Report};
use self::route::Delivery;
use self::routes::Routes;
use self::time::BootClock;
use crate::election::datagram::{ClusterKey, DATAGRAM_BYTES_MAX};
use crate::election::detector::{Cause, PeerState, Transition};
use crate::election::{self, Announcement, Election, Input, Output, View};
use crate::lease::{Facts, Heard, Leases, Standing};
use crate::members::Members;
use crate::roster::{NodeId, ViewId};
use crate::version::Clock;

/// Most datagrams read before timers are checked: more than a socket's buffer holds, unless it is flooded.
const DRAIN_MAX: usize = 1024;
/// Holds datagrams while this thread waits for a core.
const RECEIVE_BUFFER_BYTES: usize = 1 << 20;
const REPORT_EVERY: Duration = Duration::from_millis(100);
/// How often people are told of something that lasts.
const WARN_EVERY: Duration = Duration::from_secs(600);

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
    /// Gives the times of writes; shared with whoever writes.
    pub(crate) clock: Arc<Clock>,
    /// Names the images folder.
    pub(crate) folder: u64,
    /// Members that this folder's node has heard before.
    pub(crate) met: BTreeSet<NodeId>,
    /// Members that have used the same images folder.
    pub(crate) companions: BTreeSet<NodeId>,
}

/// A running member. Dropping it stops the thread and tells the others nothing, like a crash.
pub(crate) struct Cluster {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    view: ArcSwap<View>,
    standing: ArcSwap<Standing>,
    /// The view in which nothing of this node lies elsewhere.
    clean: ArcSwapOption<ViewId>,
    time: BootClock,
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
            clock,
            folder,
            met,
            companions,
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
            standing: ArcSwap::from_pointee(Standing::nothing(own)),
            clean: ArcSwapOption::empty(),
            time: BootClock::start(),
            report: ArcSwap::from_pointee(Report::of(&members, &election, &history)),
            leave: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            wake: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        });
        let ids = members.iter().map(|(id, _)| id);
        let heartbeat = HeartbeatThread {
            own,
            leases: Leases::new(own, ids, folder, &met, companions),
            clock,
            folder,
            clock_warnings: BTreeMap::new(),
            routes: Routes::new(own, &members),
            members,
            socket,
            election,
            history,
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

    /// What this node may do at present. Never waits.
    pub(crate) fn standing(&self) -> Arc<Standing> {
        self.shared.standing.load_full()
    }

    /// The time by which leases are counted.
    pub(crate) fn now(&self) -> Duration {
        self.shared.time.elapsed()
    }

    /// Tells the others that nothing of this node lies elsewhere, in that view.
    pub(crate) fn set_clean(&self, view: ViewId) {
        self.shared.clean.store(Some(Arc::new(view)));
        self.shared.wake();
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
    leases: Leases,
    clock: Arc<Clock>,
    folder: u64,
    /// When a person was last told that the clock of a peer is off.
    clock_warnings: BTreeMap<NodeId, Duration>,
    history: History,
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
            if self.shared.time.elapsed() >= self.election.deadline() {
                self.step(Input::Tick);
                self.routes.refresh(&self.election);
            }
            self.stand();
            self.report();
        }
    }

    /// Waits for a datagram, a wake-up or the deadline.
    fn wait(&self) {
        let left = self
            .election
            .deadline()
            .saturating_sub(self.shared.time.elapsed());
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
        let now = self.shared.time.elapsed();
        self.announce(now);
        let outputs = self.election.step(now, input);
        // What is sent says that the view is installed.
        for output in &outputs {
            if let Output::Publish(view) = output {
                self.publish(view);
            }
        }
        for output in outputs {
            match output {
                Output::Send { to, bytes } => self.send(to, &bytes),
                Output::Publish(_) => {}
                Output::Arrived { peer, reserve } => self.leases.arrived(now, peer, reserve),
                Output::Left { peer, clock } => self.leases.left(peer, clock),
                Output::Heard(heard) => self.hear(now, heard),
                Output::Note(transition) => self.note(transition),
            }
        }
    }

    /// Renews what every datagram says about this node.
    fn announce(&mut self, now: Duration) {
        let wall_ms = time::wall_ms();
        let clock = self.clock.now(wall_ms);
        // Pauses are noticed before anything that was heard during one.
        self.leases.tick(now, clock, wall_ms);
        let clean_in = self.shared.clean.load().as_deref().copied();
        self.leases.set_clean(clean_in);
        let reserve = Facts::reserve_at(clock, wall_ms);
        self.leases.announced(self.election.next_stamp(now), reserve);
        self.election.announce(Announcement {
            facts: Facts {
                clock,
                reserve,
                wall_ms,
                is_clean: false,
                folder: self.folder,
            },
            clean_in,
        });
    }

    fn hear(&mut self, now: Duration, heard: Heard) {
        // A clock that is too far ahead is not followed; `stand` tells people.
        self.clock.observe(heard.facts.clock, time::wall_ms());
        self.leases.heard(now, heard);
    }

    /// Publishes what this node may do.
    fn stand(&mut self) {
        let now = self.shared.time.elapsed();
        let wall_ms = time::wall_ms();
        self.leases.tick(now, self.clock.now(wall_ms), wall_ms);
        self.clock.observe(self.leases.floor(), wall_ms);
        let standing = self.leases.standing(now, wall_ms);
        for (peer, off) in &standing.clocks_off {
            let told = self.clock_warnings.get(peer);
            if told.is_none_or(|told| now >= *told + WARN_EVERY) {
                self.clock_warnings.insert(*peer, now);
                log::warn!(
                    "Node {}: the clock of Node {peer} is {off} ms away from this node's: set both by NTP",
                    self.own
                );
            }
        }
        self.shared.standing.store(Arc::new(standing));
    }

    fn send(&mut self, to: NodeId, bytes: &[u8]) {
        if self.routes.send(to, bytes) == Delivery::PortClosed {
            self.refused.push(to);
        }
    }

    fn publish(&mut self, view: &View) {
        let installed = view.id().map(|id| (id, view.roster.clone()));
        self.leases.install(installed, self.clock.now(time::wall_ms()));
        let before = self.shared.view.swap(Arc::new(view.clone()));
        self.stand();
        if (before.term, before.leader, &before.roster) == (view.term, view.leader, &view.roster) {
            return;
        }
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
        let now = self.shared.time.elapsed();
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
    use std::time::Instant;

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
            clock: Arc::default(),
            folder: own.0.into(),
            met: BTreeSet::new(),
            companions: BTreeSet::new(),
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
