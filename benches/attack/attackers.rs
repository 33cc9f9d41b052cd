//! Connections that occupy a server and send next to nothing: one thread drives all of them, a byte a second each.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketType, bind, connect, socket, sockopt};
use rustix::process::{Resource, getrlimit, setrlimit};

use crate::line::Line;
use crate::support::picture;
use crate::support::wait_for;

/// What a steady upload sends, and a steady download takes, in each beat: more than the 1 kB/s that nodes ask for.
const STEADY_BYTES: usize = 1500;
/// How often each connection sends a byte.
const BEAT: Duration = Duration::from_secs(1);
/// How often those that were cut are looked for.
const LOOK: Duration = Duration::from_millis(50);
/// How many of those that were cut come back with each look: 200 a second.
const RETURNS_AT_ONCE: usize = 10;
/// What slow readers let the kernel hold for them.
const SMALL_WINDOW_BYTES: usize = 2048;
/// What every other slow body sends at once before it slows down: enough to be given a block.
const GREEDY_BYTES: usize = 200_000;

/// What a connection does not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Sends nothing.
    Idle,
    /// Sends a head that never ends.
    SlowHeader,
    /// Sends a body that never ends.
    SlowBody,
    /// Asks for a large image and does not read it.
    SlowRead,
    /// Uploads as slowly as is allowed.
    SteadyBody,
    /// Downloads as slowly as is allowed.
    SteadyRead,
    /// Lists images, again and again, and reads the lists as slowly as is allowed.
    List,
    /// Asks for images that are not there, again and again.
    Missing,
}

impl Kind {
    /// Whether nodes have no reason to cut such a connection, as long as nobody else is in need.
    pub fn keeps_the_rules(self) -> bool {
        match self {
            Kind::Idle | Kind::SlowHeader | Kind::SlowBody | Kind::SlowRead => false,
            Kind::SteadyBody | Kind::SteadyRead | Kind::List | Kind::Missing => true,
        }
    }
}

/// The node that is attacked.
#[derive(Clone)]
pub struct Victim {
    pub address: SocketAddr,
    /// Of a large image on it.
    pub large: String,
    /// How it is known, if it speaks TLS.
    #[cfg(feature = "tls")]
    pub tls: Option<Arc<rustls::ClientConfig>>,
}

/// What an attack consists of.
#[derive(Clone)]
pub struct Plan {
    pub kinds: &'static [Kind],
    /// At any time.
    pub connections: usize,
    /// Loopback addresses that they come from, in turn.
    pub addresses: usize,
}

struct Attacker {
    kind: Kind,
    line: Line,
    opened: Instant,
}

/// How the connections fared.
pub struct AttackOutcome {
    /// How long those were open that were cut.
    pub stays: Vec<Duration>,
    /// How many were never cut.
    pub left: usize,
}

/// An attack in progress.
pub struct Attack {
    thread: thread::JoinHandle<AttackOutcome>,
    opened: Arc<AtomicUsize>,
    pressing: Arc<AtomicBool>,
    giving_up: Arc<AtomicBool>,
    count: usize,
}

impl Attack {
    /// Opens the connections, their kinds in turn.
    pub fn start(victim: Victim, plan: &Plan) -> Attack {
        let count = plan.connections;
        let (opened, pressing) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(true)));
        let giving_up = Arc::new(AtomicBool::new(false));
        let mut pool = AttackerPool {
            victim,
            plan: plan.clone(),
            attackers: Vec::new(),
            opened: 0,
            stays: Vec::new(),
            all_opened: Arc::clone(&opened),
            greedy: picture::sized(GREEDY_BYTES * 2)[..GREEDY_BYTES].to_vec(),
        };
        let (press, give_up) = (Arc::clone(&pressing), Arc::clone(&giving_up));
        let thread = thread::spawn(move || {
            pool.press(count, &press, &give_up);
            AttackOutcome {
                stays: pool.stays,
                left: pool.attackers.len(),
            }
        });
        Attack {
            thread,
            opened,
            pressing,
            giving_up,
            count,
        }
    }

    /// Waits until every connection was opened once; some may be refused by then.
    pub fn await_all_open(&self) {
        wait_for("the attackers are there", || {
            (self.opened.load(Ordering::Relaxed) >= self.count).then_some(())
        });
    }

    /// No connection is opened any more. Returns when all are cut, or after `patience`.
    pub fn finish(self, patience: Duration) -> AttackOutcome {
        self.pressing.store(false, Ordering::Relaxed);
        let end = Instant::now() + patience;
        while Instant::now() < end && !self.thread.is_finished() {
            thread::sleep(LOOK);
        }
        self.giving_up.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

struct AttackerPool {
    victim: Victim,
    plan: Plan,
    attackers: Vec<Attacker>,
    opened: usize,
    stays: Vec<Duration>,
    all_opened: Arc<AtomicUsize>,
    greedy: Vec<u8>,
}

impl AttackerPool {
    fn press(&mut self, count: usize, pressing: &AtomicBool, giving_up: &AtomicBool) {
        let mut next_beat = Instant::now() + BEAT;
        loop {
            let keep = pressing.load(Ordering::Relaxed);
            let missing = if keep { count - self.attackers.len() } else { 0 };
            let all_were_here = self.opened >= count;
            for _ in 0..if all_were_here {
                missing.min(RETURNS_AT_ONCE)
            } else {
                missing
            } {
                self.open_one();
            }
            self.forget_cut();
            self.all_opened.store(self.opened, Ordering::Relaxed);
            self.attackers
                .iter_mut()
                .for_each(|attacker| attacker.line.pump());
            if Instant::now() >= next_beat {
                next_beat += BEAT;
                let server = self.victim.address;
                self.attackers
                    .iter_mut()
                    .for_each(|attacker| attacker.beat(server));
            }
            if (!keep && self.attackers.is_empty()) || giving_up.load(Ordering::Relaxed) {
                return;
            }
            thread::sleep(LOOK);
        }
    }

    fn open_one(&mut self) {
        let kinds = self.plan.kinds;
        let kind = kinds[self.opened % kinds.len()];
        // Each address has connections of all kinds.
        let last = u8::try_from(self.opened / kinds.len() % self.plan.addresses).unwrap() + 10;
        let from = SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, last), 0);
        let greedy = (self.opened / kinds.len()).is_multiple_of(2);
        self.opened += 1;
        let fd = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        if matches!(kind, Kind::SlowRead | Kind::SteadyRead | Kind::List) {
            sockopt::set_socket_recv_buffer_size(&fd, SMALL_WINDOW_BYTES).unwrap();
        }
        bind(&fd, &from).unwrap();
        connect(&fd, &self.victim.address).unwrap();
        let mut attacker = Attacker {
            kind,
            line: self.victim.line(TcpStream::from(fd)),
            opened: Instant::now(),
        };
        attacker.begin(
            self.victim.address,
            &self.victim.large,
            if greedy { &self.greedy } else { picture::SIGNATURE },
        );
        self.attackers.push(attacker);
    }

    /// Notes how long those were there that the server has cut, and forgets them.
    fn forget_cut(&mut self) {
        let mut watched: Vec<PollFd<'_>> = self
            .attackers
            .iter()
            .map(|attacker| PollFd::new(attacker.line.stream(), PollFlags::RDHUP))
            .collect();
        let none = Timespec::default();
        let _ = poll(&mut watched, Some(&none));
        let cut: Vec<bool> = watched.iter().map(|fd| !fd.revents().is_empty()).collect();
        let mut cut = cut.into_iter();
        let stays = &mut self.stays;
        self.attackers.retain(|attacker| {
            let is_cut = cut.next() == Some(true);
            if is_cut {
                stays.push(attacker.opened.elapsed());
            }
            !is_cut
        });
    }
}

impl Victim {
    fn line(&self, stream: TcpStream) -> Line {
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            let session = rustls::ClientConnection::new(Arc::clone(tls), self.address.ip().into());
            return Line::under_tls(stream, session.unwrap());
        }
        Line::new(stream)
    }
}

impl Attacker {
    fn begin(&mut self, server: SocketAddr, large: &str, body: &[u8]) {
        match self.kind {
            // Under TLS: not even that, but a handshake.
            Kind::Idle => self.line.pump(),
            Kind::SlowHeader => self.send(b"GET /healthz HTTP/1.1\r\nX: "),
            Kind::SlowBody | Kind::SteadyBody => {
                let head = "PUT /images/attacker/picture.png HTTP/1.1\r\nContent-Length: 20000000\r\nHost: ";
                self.send(format!("{head}{server}\r\n\r\n").as_bytes());
                self.send(body);
            }
            Kind::SlowRead | Kind::SteadyRead => self.ask(server, large),
            Kind::List => self.ask(server, "/images/crowd/"),
            Kind::Missing => self.ask(server, "/images/normal/missing.png"),
        }
    }

    fn ask(&mut self, server: SocketAddr, target: &str) {
        self.send(format!("GET {target} HTTP/1.1\r\nHost: {server}\r\n\r\n").as_bytes());
    }

    fn beat(&mut self, server: SocketAddr) {
        match self.kind {
            Kind::Idle => {}
            Kind::SlowHeader | Kind::SlowBody => self.send(b"x"),
            Kind::SlowRead => self.line.take(1),
            Kind::SteadyBody => self.send(&[b'x'; STEADY_BYTES]),
            Kind::SteadyRead => self.take(),
            Kind::List => {
                self.take();
                self.ask(server, "/images/crowd/");
            }
            Kind::Missing => {
                self.take();
                self.ask(server, "/images/normal/missing.png");
            }
        }
    }

    fn take(&mut self) {
        self.line.take(STEADY_BYTES);
    }

    fn send(&mut self, bytes: &[u8]) {
        self.line.send(bytes);
    }
}

/// A thousand connections are more than a program usually may have.
pub fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
}
