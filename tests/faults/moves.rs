//! A node that listens elsewhere than the others' cluster files say.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::support::address::free_address;
use crate::support::cluster::TestCluster;
use crate::{await_ready_of, await_silence, await_warning, logged};

/// Nodes 1 and 2 hear node 3 at its new address, say so once, and are told of it.
fn await_found(cluster: &mut TestCluster, old: SocketAddr) {
    await_ready_of(cluster, &[1, 2, 3]);
    let new = cluster.node(3).address;
    let moved = format!("Node 3 ({old}) was not heard from there and is heard from {new}: if it has moved");
    for id in [1, 2] {
        await_warning(
            cluster.node(id),
            &[&moved, "cluster file of every node and send each SIGHUP"],
        );
    }
    let corrected = cluster.file_of(&[1, 2, 3]);
    for id in [1, 2] {
        cluster.node_mut(id).reload(&corrected);
    }
    cluster.nodes.iter().for_each(await_silence);
    await_ready_of(cluster, &[1, 2, 3]);
    for id in [1, 2] {
        assert_eq!(logged(cluster.node(id), &moved), 1);
    }
}

/// The same port of another host that is nobody's: see `free_address`.
fn another_host(address: SocketAddr) -> SocketAddr {
    let IpAddr::V4(host) = address.ip() else {
        panic!("{address} is not an IPv4 address");
    };
    let [_, _, middle, low] = host.octets();
    SocketAddr::new(Ipv4Addr::new(127, 32, middle, low).into(), address.port())
}

#[test]
fn a_node_that_moved_before_it_was_ever_heard_is_found() {
    let mut cluster = TestCluster::prepare(3, &[]);
    let old = cluster.node(3).address;
    let moved = cluster.node_mut(3);
    moved.address = another_host(free_address());
    moved.members = moved
        .members
        .replace(&old.to_string(), &moved.address.to_string());
    for id in [1, 2, 3] {
        cluster.node_mut(id).start();
    }
    await_found(&mut cluster, old);
}

/// Its own file still has the old address, too.
#[test]
fn a_node_that_moves_while_the_others_run_is_found() {
    let mut cluster = TestCluster::start(3);
    assert!(cluster.node_mut(3).stop().success());
    let moved = cluster.node_mut(3);
    let old = moved.address;
    moved.address = free_address();
    moved.options = vec!["--listen".to_owned(), moved.address.to_string()];
    moved.start();
    await_found(&mut cluster, old);
}
