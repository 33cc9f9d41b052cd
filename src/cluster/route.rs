//! One connected UDP socket to one peer.
//!
//! A connected socket reports what an unconnected one does not: that the port on the peer's host is closed. The kernel
//! accepts that ICMP error only for the address and ports that we have sent to. A connected socket also keeps the
//! address that it began with, so the routes to peers that are not heard are reconnected from time to time.
//!
//! It sends from the address that the node listens at, if that is one address: peers answer there, and tell two nodes
//! with one id apart by it. The kernel would take that of the interface.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "cluster owns the UDP sockets"
)]

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

#[derive(Default)]
pub(super) struct Route {
    /// Where it sends from; the kernel's choice if this is none, or not possible.
    from: Option<IpAddr>,
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
    /// A route to nowhere, of a node that listens at `from`.
    pub(super) fn new(from: IpAddr) -> Route {
        Route {
            from: Some(from).filter(|ip| !ip.is_unspecified()),
            connected: None,
        }
    }

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
        let own = self.from.map(|from| connect(from, address));
        let socket = own
            .filter(Result::is_ok)
            .unwrap_or_else(|| connect(any(address), address));
        if let Ok(socket) = socket {
            self.connected = Some((address, socket));
        }
    }

    pub(super) fn leads_to(&self) -> Option<SocketAddr> {
        self.connected.as_ref().map(|(address, _)| *address)
    }
}

fn any(address: SocketAddr) -> IpAddr {
    match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

fn connect(from: IpAddr, address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((from, 0))?;
    socket.connect(address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    /// Whom a datagram is from that was sent by a node which listens at `from`.
    fn sender(from: &str) -> IpAddr {
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        peer.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut route = Route::new(from.parse().unwrap());
        route.connect(peer.local_addr().unwrap());
        route.send(b"hello");
        peer.recv_from(&mut [0; 8]).unwrap().1.ip()
    }

    #[test]
    fn a_node_sends_from_where_it_listens_if_it_can() {
        for (listens, sends) in [
            ("127.0.0.7", "127.0.0.7"),
            ("0.0.0.0", "127.0.0.1"),
            ("::", "127.0.0.1"),
            ("::1", "127.0.0.1"),
            ("192.0.2.1", "127.0.0.1"),
        ] {
            assert_eq!(sender(listens).to_string(), sends, "{listens}");
        }
    }

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
