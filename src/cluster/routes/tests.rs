//! Routes on loopback, with names that the tests give addresses to.

#![allow(clippy::disallowed_types, reason = "the peer of a test")]

use super::*;
use crate::election::HEALTH_TIMEOUT;
use crate::election::datagram::ClusterKey;
use crate::election::event::{Input, Output, Settings};
use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

const OWN: NodeId = NodeId(1);
const FROM: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
const PEER: NodeId = NodeId(2);
const PATIENCE: Duration = Duration::from_secs(30);

fn members(lines: &str) -> Members {
    Members::parse(&format!("[nodes]\n1 = \"127.0.0.1:1\"\n{lines}")).unwrap()
}

fn routes(lines: &str, look_up: fn(&str) -> io::Result<Vec<SocketAddr>>) -> Routes {
    Routes::with_resolver(OWN, FROM, &members(lines), Resolver::new(look_up))
}

fn never(name: &str) -> io::Result<Vec<SocketAddr>> {
    panic!("{name} was looked up");
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// Lets `RENEW_EVERY` pass, unless a name is being looked up: that takes no time here.
fn let_time_pass(routes: &Routes, now: &mut Instant) {
    let is_busy = |peer: &NodeId| routes.resolver.busy_since(*peer).is_some();
    if !routes.peers.keys().any(is_busy) {
        *now += RENEW_EVERY;
    }
    thread::park_timeout(Duration::from_micros(100));
}

/// Renews again and again until `done`. Returns everything that was told.
fn renew_until(
    routes: &mut Routes,
    now: &mut Instant,
    heard: &[NodeId],
    done: impl Fn(&Routes) -> bool,
) -> Vec<String> {
    let heard = heard.iter().copied().collect();
    let started = Instant::now();
    let mut told = Vec::new();
    while !done(routes) {
        assert!(started.elapsed() < PATIENCE, "waited in vain: {told:?}");
        let_time_pass(routes, now);
        told.extend(routes.renew(*now, &heard));
    }
    told
}

/// Three nodes. Node 3 hears both others; 1 and 2 do not hear each other. Returns node 1.
fn knows_node_2_by_hearsay() -> Election {
    let ids = [1, 2, 3].map(NodeId);
    let mut nodes = ids.map(|own| {
        Election::new(Settings {
            own,
            members: ids.to_vec(),
            key: ClusterKey::new(&[7; 32]),
            incarnation: 1,
            health_timeout: HEALTH_TIMEOUT,
            port: 0,
        })
    });
    let mut arriving: Vec<(usize, Vec<u8>)> = Vec::new();
    for ms in 0..5_000 {
        let now = Duration::from_millis(ms);
        let mut outputs = Vec::new();
        for (to, bytes) in std::mem::take(&mut arriving) {
            let node: &mut Election = &mut nodes[to];
            let steps = node.step(
                now,
                Input::Datagram {
                    bytes: &bytes,
                    source: None,
                },
            );
            outputs.extend(steps.into_iter().map(|output| (to, output)));
        }
        for (at, node) in nodes.iter_mut().enumerate() {
            if node.deadline() <= now {
                let steps = node.step(now, Input::Tick);
                outputs.extend(steps.into_iter().map(|output| (at, output)));
            }
        }
        for (from, output) in outputs {
            if let Output::Send { to, bytes } = output
                && (from == 2 || to == NodeId(3))
            {
                arriving.push((usize::try_from(to.0).unwrap() - 1, bytes));
            }
        }
    }
    let [first, ..] = nodes;
    first
}

#[test]
fn a_datagram_is_from_the_host_of_its_peer_whatever_the_socket_calls_it() {
    let routes = routes("2 = \"127.0.0.1:8002\"\n", never);
    for (source, from) in [
        ("127.0.0.1:9", Some("127.0.0.1:9")),
        ("[::ffff:127.0.0.1]:9", Some("127.0.0.1:9")),
        ("127.0.0.2:8002", None),
        ("[::1]:8002", None),
    ] {
        assert_eq!(
            routes.on_host_of(PEER, address(source)),
            from.map(address),
            "{source}"
        );
    }
    assert_eq!(routes.on_host_of(NodeId(3), address("127.0.0.1:9")), None);
}

#[test]
fn a_host_name_is_looked_up_beside_the_heartbeat() {
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    peer.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let port = peer.local_addr().unwrap().port();
    let mut routes = Routes::new(OWN, FROM, &members(&format!("2 = \"localhost:{port}\"\n")));
    let mut now = Instant::now();
    // The name may stand for an IPv6 address first: then it takes another round.
    renew_until(&mut routes, &mut now, &[], |routes| {
        routes.send(PEER, b"hello");
        peer.recv(&mut [0; 8]).is_ok()
    });
    assert_eq!(routes.send(NodeId(3), b"to nobody"), Delivery::Unknown);
}

#[test]
fn a_peer_that_only_others_hear_is_looked_up_again() {
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    fn moves_later(_: &str) -> io::Result<Vec<SocketAddr>> {
        let host = match ASKED.fetch_add(1, Ordering::Relaxed) {
            0 => "127.0.0.9:7",
            _ => "127.0.0.2:7",
        };
        Ok(vec![address(host)])
    }
    let election = knows_node_2_by_hearsay();
    let (_, state, silent) = election.peers().next().unwrap();
    assert!(state.is_present() && silent.is_none(), "{state} {silent:?}");
    let mut routes = routes("2 = \"moves.example:7\"\n3 = \"127.0.0.3:7\"\n", moves_later);
    let started = Instant::now();
    while routes.leads_to(PEER) != Some(address("127.0.0.2:7")) {
        assert!(started.elapsed() < PATIENCE, "the name was not looked up again");
        routes.refresh(&election);
        thread::park_timeout(Duration::from_millis(10));
    }
}

#[test]
fn a_name_server_that_hangs_holds_up_one_name_and_one_thread() {
    static HANGING: AtomicUsize = AtomicUsize::new(0);
    fn hangs(name: &str) -> io::Result<Vec<SocketAddr>> {
        if name.starts_with("slow") {
            HANGING.fetch_add(1, Ordering::Relaxed);
            loop {
                thread::park();
            }
        }
        Ok(vec![address("127.0.0.3:7")])
    }
    let mut routes = routes("2 = \"slow.example:7\"\n3 = \"quick.example:7\"\n", hangs);
    let mut now = Instant::now();
    let mut told = renew_until(&mut routes, &mut now, &[], |routes| {
        routes.leads_to(NodeId(3)).is_some() && HANGING.load(Ordering::Relaxed) > 0
    });
    let end = now + LOOK_UP_SLOW + 3 * RENEW_EVERY;
    while now < end {
        now += RENEW_EVERY;
        told.extend(routes.renew(now, &BTreeSet::from([NodeId(3)])));
    }
    assert_eq!(HANGING.load(Ordering::Relaxed), 1);
    let [sentence] = &told[..] else {
        panic!("told {told:?}");
    };
    let beginning = "Node 1: slow.example of Node 2 cannot be looked up (no answer for 1";
    assert!(sentence.starts_with(beginning), "{sentence}");
}

#[test]
fn a_name_that_cannot_be_looked_up_is_told_of_once_in_ten_minutes() {
    fn unknown(_: &str) -> io::Result<Vec<SocketAddr>> {
        Err(io::Error::other("name or service not known"))
    }
    let mut routes = routes("2 = \"node-b.example:7\"\n", unknown);
    let begun = Instant::now();
    let (mut now, mut told) = (begun, Vec::new());
    let started = Instant::now();
    while told.len() < 2 {
        assert!(started.elapsed() < PATIENCE, "told {told:?}");
        let_time_pass(&routes, &mut now);
        let sentences = routes.renew(now, &BTreeSet::new());
        told.extend(sentences.into_iter().map(|sentence| (now - begun, sentence)));
    }
    assert!(told[1].0 - told[0].0 >= TELL_EVERY, "{told:?}");
    let beginning = "Node 1: node-b.example of Node 2 cannot be looked up (name or service not known): ";
    assert!(told[0].1.starts_with(beginning), "{told:?}");
}

#[test]
fn a_new_address_is_taken_once_the_peer_is_silent() {
    static ADDRESS: Mutex<&str> = Mutex::new("127.0.0.2:7");
    fn moves(_: &str) -> io::Result<Vec<SocketAddr>> {
        Ok(vec![address(*ADDRESS.lock().unwrap())])
    }
    let leads_to = |to: &str| {
        let to = address(to);
        move |routes: &Routes| routes.leads_to(PEER) == Some(to)
    };
    let mut routes = routes("2 = \"moves.example:7\"\n", moves);
    let mut now = Instant::now();
    renew_until(&mut routes, &mut now, &[], leads_to("127.0.0.2:7"));
    renew_until(&mut routes, &mut now, &[], |routes| {
        routes.resolver.busy_since(PEER).is_some()
    });
    *ADDRESS.lock().unwrap() = "127.0.0.9:7";
    // The last look-up may say so, but the peer is heard where it was.
    renew_until(&mut routes, &mut now, &[PEER], |routes| {
        routes.resolver.busy_since(PEER).is_none()
    });
    assert!(leads_to("127.0.0.2:7")(&routes));
    renew_until(&mut routes, &mut now, &[], leads_to("127.0.0.9:7"));
}

#[test]
fn a_learnt_address_and_the_configured_one_are_tried_in_turn() {
    let mut routes = routes("2 = \"127.0.0.2:7\"\n", never);
    let (configured, learnt) = (address("127.0.0.2:7"), address("127.0.0.5:7"));
    routes.learn(PEER, address("127.0.0.2:7"));
    assert_eq!(routes.leads_to(PEER), Some(configured));
    routes.learn(PEER, address("[::ffff:127.0.0.5]:7"));
    assert_eq!(routes.leads_to(PEER), Some(learnt));
    routes.learn(NodeId(9), address("127.0.0.5:7"));
    let (mut now, heard) = (Instant::now(), BTreeSet::from([PEER]));
    for expected in [configured, learnt, configured] {
        now += RENEW_EVERY;
        routes.renew(now, &heard);
        assert_ne!(routes.leads_to(PEER), Some(expected), "it is heard");
        routes.renew(now, &BTreeSet::new());
        assert_eq!(routes.leads_to(PEER), Some(expected));
        let moved: Vec<(NodeId, SocketAddr)> = routes.moved().collect();
        assert_eq!(!moved.is_empty(), expected == learnt, "{moved:?}");
        // Its datagrams go on coming from there.
        routes.learn(PEER, address("127.0.0.5:7"));
        assert_eq!(routes.leads_to(PEER), Some(expected));
    }
}

/// A double was counted where the cluster file does not have its node. It ends, and the right one has started.
#[test]
fn the_route_to_an_ended_process_goes_to_the_next_one() {
    let mut routes = routes("2 = \"127.0.0.2:7\"\n", never);
    let (configured, learnt) = (address("127.0.0.2:7"), address("127.0.0.5:7"));
    routes.follow(PEER, learnt);
    assert_eq!(
        routes.leads_to(PEER),
        Some(configured),
        "the cluster file has it there"
    );
    routes.learn(PEER, learnt);
    routes.follow(PEER, configured);
    assert_eq!(routes.leads_to(PEER), Some(configured));
    assert_eq!(routes.moved().count(), 0);
}

#[test]
fn a_change_of_members_keeps_the_routes_that_have_not_changed() {
    fn found(_: &str) -> io::Result<Vec<SocketAddr>> {
        Ok(vec![address("127.0.0.8:7")])
    }
    let mut routes = routes(
        "2 = \"127.0.0.2:7\"\n3 = \"127.0.0.3:7\"\n4 = \"127.0.0.4:7\"\n",
        found,
    );
    routes.learn(PEER, address("127.0.0.5:7"));
    let changed = "2 = \"127.0.0.2:7\"\n3 = \"127.0.0.6:7\"\n4 = \"named.example:7\"\n5 = \"127.0.0.7:7\"\n";
    routes.set_members(OWN, &members(changed));
    let leads_to = [2, 3, 4, 5].map(|id| routes.leads_to(NodeId(id)).unwrap().to_string());
    assert_eq!(
        leads_to,
        ["127.0.0.5:7", "127.0.0.6:7", "127.0.0.4:7", "127.0.0.7:7"]
    );
    // Also while it is heard where it was before.
    let everybody = [2, 3, 4, 5].map(NodeId);
    let mut now = Instant::now();
    renew_until(&mut routes, &mut now, &everybody, |routes| {
        routes.leads_to(NodeId(4)) == Some(address("127.0.0.8:7"))
    });
    routes.set_members(OWN, &members("5 = \"127.0.0.7:7\"\n"));
    assert_eq!(routes.leads_to(PEER), None);
    assert_eq!(routes.leads_to(NodeId(5)), Some(address("127.0.0.7:7")));
}
