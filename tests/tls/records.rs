//! Records that are cut, mixed, out of place or no records at all, and what a parked connection must not sleep over.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConnection;

use crate::TlsCluster;
use crate::support::certificate::client_config;
use crate::support::picture;
use crate::support::random::Random;
use crate::support::wire::{self, Wire};

const PATIENCE: Duration = Duration::from_secs(30);

/// A session whose records a test sends as it likes.
struct Records {
    session: ClientConnection,
    stream: TcpStream,
}

impl Records {
    /// After the handshake.
    fn open(cluster: &TlsCluster) -> Records {
        let node = cluster.nodes.node(1);
        let stream = TcpStream::connect(node.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let config = client_config(&cluster.authority.file, None);
        let mut session = ClientConnection::new(config, node.address.ip().into()).unwrap();
        session.set_buffer_limit(None);
        let mut records = Records { session, stream };
        while records.session.is_handshaking() {
            records.session.complete_io(&mut records.stream).unwrap();
        }
        records
    }

    /// The records of these bytes, sealed and not sent.
    fn seal(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut records = Vec::new();
        self.session.writer().write_all(bytes).unwrap();
        while self.session.wants_write() {
            self.session.write_tls(&mut records).unwrap();
        }
        records
    }

    fn send(&mut self, records: &[u8]) {
        let _ = self.stream.write_all(records);
    }

    /// All that comes, until so many answers have; fewer if the node closes before.
    fn answers(&mut self, wanted: usize) -> usize {
        let (mut text, mut room) = (Vec::new(), vec![0; 16 << 10]);
        let count = |text: &[u8]| text.windows(9).filter(|nine| nine == b"HTTP/1.1 ").count();
        while count(&text) < wanted {
            match rustls::Stream::new(&mut self.session, &mut self.stream).read(&mut room) {
                Ok(0) | Err(_) => break,
                Ok(read) => text.extend_from_slice(&room[..read]),
            }
        }
        count(&text)
    }
}

const HEALTHZ: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// Whether the node still does what it should.
fn assert_well(cluster: &TlsCluster) {
    let node = cluster.nodes.node(1);
    assert_eq!(node.ask("GET", "/healthz").status, 200);
    assert_eq!(
        node.put("/images/alice/well.png", &picture::dot()).status / 100,
        2
    );
    assert!(!node.log().contains("panicked"), "{}", node.log());
}

#[test]
fn requests_that_come_in_one_record_are_all_answered() {
    let cluster = TlsCluster::start(1, &[]);
    let mut records = Records::open(&cluster);
    // More than a read of heads takes at a time, so that some is left in the session when the first is answered.
    let many = HEALTHZ.repeat(300);
    let sealed = records.seal(&many);
    records.send(&sealed);
    assert_eq!(records.answers(300), 300);
    assert_well(&cluster);
}

#[test]
fn the_same_while_others_wait_for_the_only_worker() {
    let cluster = TlsCluster::start(1, &["--workers", "1"]);
    let mut all: Vec<Records> = (0..8).map(|_| Records::open(&cluster)).collect();
    // A worker gives a connection back after each request then. A record of so many that end where a read of heads ends
    // leaves some in the session and nothing else that could be read: no event tells of them any more.
    let mut request = HEALTHZ[..HEALTHZ.len() - 2].to_vec();
    request.extend(b"X: ");
    request.resize(124, b'x');
    request.extend(b"\r\n\r\n");
    for records in &mut all {
        let sealed = records.seal(&request.repeat(128));
        records.send(&sealed);
    }
    for records in &mut all {
        assert_eq!(records.answers(128), 128);
    }
}

#[test]
fn a_record_may_come_a_byte_at_a_time_and_a_head_in_many_records() {
    let cluster = TlsCluster::start(1, &[]);
    let mut records = Records::open(&cluster);
    let sealed = records.seal(HEALTHZ);
    for byte in &sealed {
        records.send(&[*byte]);
    }
    assert_eq!(records.answers(1), 1);
    for byte in HEALTHZ {
        let sealed = records.seal(&[*byte]);
        records.send(&sealed);
    }
    assert_eq!(records.answers(1), 1);
}

#[test]
fn an_upload_in_tiny_records_and_in_large_ones_is_the_same() {
    let cluster = TlsCluster::start(1, &[]);
    let node = cluster.nodes.node(1);
    let image = picture::sized(150_000);
    for (number, size) in [1, 7, 1000, 16_384, 150_000].into_iter().enumerate() {
        let image = if size == 1 { picture::dot() } else { image.clone() };
        let path = format!("/images/alice/{number}.png");
        let mut records = Records::open(&cluster);
        let mut sealed = records.seal(&wire::put_head(node.address, &path, image.len(), ""));
        for piece in image.chunks(size) {
            sealed.extend(records.seal(piece));
        }
        records.send(&sealed);
        assert_eq!(records.answers(1), 1);
        assert!(node.ask("GET", &path).body == image, "{size}");
    }
}

#[test]
fn records_that_were_tampered_with_end_the_connection_and_nothing_is_kept() {
    let cluster = TlsCluster::start(1, &[]);
    let node = cluster.nodes.node(1);
    let image = picture::sized(100_000);
    let mut random = Random::new(16);
    for round in 0..60 {
        let path = format!("/images/alice/tampered{round}.png");
        let mut records = Records::open(&cluster);
        let mut sealed = records.seal(&wire::put_head(node.address, &path, image.len(), ""));
        let head = sealed.len();
        sealed.extend(records.seal(&image));
        let at = head + random.below(sealed.len() - head);
        match round % 6 {
            // A bit is wrong.
            0 => sealed[at] ^= 1 << random.below(8),
            // Cut off, and the connection closed.
            1 => sealed.truncate(at),
            // Cut out of the middle.
            2 => {
                sealed.drain(head..at);
            }
            // Once more.
            3 => {
                let again = sealed[head..at].to_vec();
                sealed.splice(head..head, again);
            }
            // Of another session.
            4 => {
                let foreign = Records::open(&cluster).seal(&image);
                sealed.splice(head.., foreign);
            }
            // In the clear in between.
            _ => {
                sealed.splice(at..at, HEALTHZ.iter().copied());
            }
        }
        records.send(&sealed);
        let _ = records.stream.shutdown(Shutdown::Write);
        assert_eq!(records.answers(1), 0, "round {round}");
        assert_eq!(node.ask("GET", &path).status, 404, "round {round}");
    }
    assert_eq!(node.files().len(), 0);
    assert_well(&cluster);
}

#[test]
fn handshakes_that_are_broken_or_never_end_hold_nobody_up() {
    let cluster = TlsCluster::start(1, &["--workers", "2"]);
    let address = cluster.nodes.node(1).address;
    let config = client_config(&cluster.authority.file, None);
    let mut session = ClientConnection::new(Arc::clone(&config), address.ip().into()).unwrap();
    let mut hello = Vec::new();
    session.write_tls(&mut hello).unwrap();
    let mut held = Vec::new();
    let mut random = Random::new(7);
    for round in 0..60 {
        let mut stream = TcpStream::connect(address).unwrap();
        let mut bytes = hello.clone();
        match round % 4 {
            0 => bytes.truncate(random.below(bytes.len())),
            1 => {
                let at = 5 + random.below(bytes.len() - 5);
                bytes[at] ^= 0xff;
            }
            2 => bytes.extend(vec![0x17; 1000]),
            _ => bytes = (0..1000).map(|_| random.byte()).collect(),
        }
        let _ = stream.write_all(&bytes);
        held.push(stream);
    }
    assert_well(&cluster);
}

#[test]
fn plain_http_is_told_that_this_is_tls() {
    let cluster = TlsCluster::start(1, &[]);
    let address = cluster.nodes.node(1).address;
    let answer = wire::ask_on(Wire::connect(address), ("GET", "/images/alice/cat.png"), "").unwrap();
    assert!(
        answer.status == 400 && answer.text().contains("https://"),
        "{}",
        answer.text()
    );
    let answer = wire::put(address, "/images/alice/cat.png", &picture::sized(100_000));
    assert_eq!(answer.status, 400);
    assert_well(&cluster);
}
