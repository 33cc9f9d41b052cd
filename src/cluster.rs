//! The UDP sockets, and the one thread that feeds the election and publishes its view.
//!
//! - `heartbeat`: the thread; `shared`: what it publishes, and what it is asked for
//! - `routes`, `route`, `resolver`: the way to each peer
//! - `report`: membership for people; `warnings`: what they have to know, in sentences
//! - [`time`]: its clocks
//!
//! Workers read the view through an `Arc` that nobody locks.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the heartbeat needs a clock and a socket"
)]

mod heartbeat;
mod report;
mod resolver;
mod route;
mod routes;
pub(crate) mod settings;
mod shared;
pub(crate) mod time;
mod warnings;

use std::io;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use rustix::event::{EventfdFlags, eventfd};
use rustix::net::sockopt::set_socket_recv_buffer_size;

use self::heartbeat::HeartbeatThread;
use self::report::{History, Report};
use self::settings::ClusterSettings;
use self::shared::Shared;
use self::time::BootClock;
use crate::election::datagram::ClusterKey;
use crate::election::event::View;
use crate::election::{self, Election};
use crate::lease::Leases;
use crate::lease::standing::Standing;
use crate::members::Members;
use crate::roster::ViewId;
use crate::vital;

/// Holds datagrams while the heartbeat thread waits for a core.
const RECEIVE_BUFFER_BYTES: usize = 1 << 20;

/// A running member. Dropping it stops the thread and tells the others nothing, like a crash.
pub(crate) struct Cluster {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Cluster {
    /// Binds the socket and starts the thread. Fails if the address is taken or not ours.
    pub(crate) fn start(settings: ClusterSettings) -> io::Result<Cluster> {
        let socket = UdpSocket::bind(settings.listen)?;
        socket.set_nonblocking(true)?;
        set_socket_recv_buffer_size(&socket, RECEIVE_BUFFER_BYTES)?;
        let ClusterSettings { own, ref members, .. } = settings;
        let election = Election::new(election::event::Settings {
            own,
            members: members.ids().collect(),
            key: ClusterKey::new(&settings.key),
            incarnation: settings.incarnation,
            health_timeout: settings.health_timeout,
            port: socket.local_addr()?.port(),
        });
        let shared = Arc::new(Shared {
            view: ArcSwap::from_pointee(election.view().clone()),
            standing: ArcSwap::from_pointee(Standing::nothing(own)),
            members: ArcSwap::from_pointee(members.clone()),
            report: ArcSwap::from_pointee(Report::of(members, &election, &History::default())),
            outlived_by: ArcSwapOption::empty(),
            time: BootClock::start(),
            condition: Arc::clone(&settings.condition),
            clean: ArcSwapOption::empty(),
            wanted: ArcSwapOption::empty(),
            reincarnation: ArcSwapOption::empty(),
            leave: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            wake: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        });
        let mut leases = Leases::new(
            own,
            members.ids(),
            settings.folder,
            &settings.met,
            settings.companions.clone(),
        );
        if let Some(knowledge) = &settings.knowledge {
            leases.recall(knowledge, time::wall_ms());
        }
        let heartbeat = HeartbeatThread::new(settings, socket, (election, leases), Arc::clone(&shared));
        let thread = vital::spawn("cluster", move || heartbeat.run())?;
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

    /// The members that this node goes by at present. Never waits.
    pub(crate) fn members(&self) -> Arc<Members> {
        self.shared.members.load_full()
    }

    /// These are to be the members from now on: ids once all nodes want them, addresses at once.
    pub(crate) fn set_members(&self, members: Members) {
        self.shared.wanted.store(Some(Arc::new(members)));
        self.shared.wake();
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

    /// The incarnation of an ended life of this node that others take for later than this one; it needs a higher one.
    pub(crate) fn outlived_by(&self) -> Option<u64> {
        self.shared.outlived_by.load().as_deref().copied()
    }

    /// Goes on with a higher incarnation, which is durable.
    pub(crate) fn reincarnate(&self, incarnation: u64) {
        self.shared.outlived_by.store(None);
        self.shared.reincarnation.store(Some(Arc::new(incarnation)));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roster::NodeId;
    use std::collections::BTreeSet;
    use std::thread;
    use std::time::Instant;
    use zeroize::Zeroizing;

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
            is_at_home: true,
            key: Zeroizing::new([7; 32]),
            image_keys: vec![1],
            condition: Arc::default(),
            incarnation,
            health_timeout: election::HEALTH_TIMEOUT,
            clock: Arc::default(),
            folder: own.0.into(),
            met: BTreeSet::new(),
            companions: BTreeSet::new(),
            knowledge: None,
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
