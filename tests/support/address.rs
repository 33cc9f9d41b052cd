//! Addresses for servers: free for TCP and UDP, and used by nobody else.
//!
//! Each test process has a loopback address to itself, made from its process id, and counts ports up on it, below
//! those that the kernel gives to clients. So no two tests want the same port and none has to guess a free one.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};

const FIRST_PORT: u16 = 12_000;

static PORTS: AtomicU16 = AtomicU16::new(FIRST_PORT);

/// An address that nobody else on this machine uses.
pub fn free_address() -> SocketAddr {
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    let host = IpAddr::V4(Ipv4Addr::new(127, 64 | high, middle, low));
    loop {
        let address = SocketAddr::new(host, PORTS.fetch_add(1, Ordering::Relaxed));
        // A server that listens on all addresses may hold the port.
        if TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok() {
            return address;
        }
    }
}
