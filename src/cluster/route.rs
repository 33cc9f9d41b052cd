//! One connected UDP socket to one peer.
//!
//! A connected socket reports what an unconnected one does not: that the port on the peer's host is closed. The kernel
//! accepts that ICMP error only for the address and ports that we have sent to. A connected socket also keeps the
//! address that it began with, so the routes to peers that are not heard are reconnected from time to time.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "cluster owns the UDP sockets"
)]

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

#[derive(Default)]
pub(super) struct Route {
    connected: Option<(SocketAddr, UdpSocket)>,
}

/// What became of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delivery {
    /// On its way, or lost.
    Unknown,
    /// An earlier datagram found the port closed. This one was sent all the same.
    PortClosed,
}

impl Route {
    pub(super) fn send(&self, bytes: &[u8]) -> Delivery {
        let Some((_, socket)) = &self.connected else {
            return Delivery::Unknown;
        };
        match socket.send(bytes) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                // The kernel reported the earlier error instead of sending. If this fails too, the datagram is lost.
                let _ = socket.send(bytes);
                Delivery::PortClosed
            }
            // A full queue, no way to the host: the next heartbeat tries again.
            Ok(_) | Err(_) => Delivery::Unknown,
        }
    }

    /// Takes a new socket. While there is no way to `address`, the old one is kept: it works again when the network does.
    pub(super) fn connect(&mut self, address: SocketAddr) {
        if let Ok(socket) = connect(address) {
            self.connected = Some((address, socket));
        }
    }

    pub(super) fn leads_to(&self) -> Option<SocketAddr> {
        self.connected.as_ref().map(|(address, _)| *address)
    }
}

fn connect(address: SocketAddr) -> io::Result<UdpSocket> {
    let any: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    #[test]
    fn a_closed_port_is_told() {
        let held = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = held.local_addr().unwrap();
        let mut route = Route::default();
        assert_eq!(route.send(b"to nobody"), Delivery::Unknown);
        assert_eq!(route.leads_to(), None);
        route.connect(address);
        assert_eq!(route.leads_to(), Some(address));
        assert_eq!(route.send(b"hello"), Delivery::Unknown);
        drop(held);
        let started = Instant::now();
        while route.send(b"hello") == Delivery::Unknown {
            assert!(
                started.elapsed() < Duration::from_secs(30),
                "nobody said that the port is closed"
            );
        }
    }
}
