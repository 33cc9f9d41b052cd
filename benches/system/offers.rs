//! A load generator for the cheapest request: an offer that belongs to another node and is turned away with 307.
//!
//! Each thread holds some connections to each node. It writes one offer to every one of them, then reads the answers:
//! one write and one read an offer, and the nodes have work waiting on several connections at a time. Heads are made
//! beforehand. No body follows and none is promised: `Connection: offer` keeps the connections usable.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pixseal::balancer;
use pixseal::image_id::ImageId;
use pixseal::members::Members;
use pixseal::roster::{NodeId, Roster};

const THREADS: usize = 2;
const CONNECTIONS_PER_THREAD_AND_NODE: usize = 8;
/// Connections to the three nodes together.
pub const CONNECTIONS: usize = 3 * THREADS * CONNECTIONS_PER_THREAD_AND_NODE;
const TIME: Duration = Duration::from_secs(3);
/// Heads that each connection takes in turn.
const HEADS: usize = 64;
const ANSWER_BYTES_MAX: usize = 4096;
const PATIENCE: Duration = Duration::from_secs(5);

/// Offers for three seconds what other nodes must take, and returns how many offers were answered.
pub fn drive(members: &Members, stop: &AtomicBool) -> Result<u64, String> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| scope.spawn(move || offer(members, thread, stop)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("the generator does not panic"))
            .sum()
    })
}

struct OfferConnection {
    stream: TcpStream,
    heads: Vec<Vec<u8>>,
}

fn offer(members: &Members, thread: usize, stop: &AtomicBool) -> Result<u64, String> {
    let failed = |e: std::io::Error| format!("an offer failed: {e}");
    let mut connections = Vec::new();
    for (node, address) in members.iter() {
        for _ in 0..CONNECTIONS_PER_THREAD_AND_NODE {
            let stream = TcpStream::connect(address).map_err(failed)?;
            stream.set_nodelay(true).map_err(failed)?;
            stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
            connections.push(OfferConnection {
                stream,
                heads: heads(members, node, address, thread),
            });
        }
    }
    let (end, mut answered) = (Instant::now() + TIME, 0_u64);
    for turn in 0.. {
        if Instant::now() >= end || stop.load(Ordering::Relaxed) {
            break;
        }
        for connection in &mut connections {
            connection
                .stream
                .write_all(&connection.heads[turn % HEADS])
                .map_err(failed)?;
        }
        for connection in &mut connections {
            connection.answer()?;
            answered += 1;
        }
    }
    Ok(answered)
}

/// Offers of images that the others take.
fn heads(members: &Members, node: NodeId, address: &str, thread: usize) -> Vec<Vec<u8>> {
    let everybody = Roster::new(node, members.iter().map(|(id, _)| id));
    (0..)
        .map(|i| ImageId::new("bench", &format!("offer_{thread}_{i}.png")).expect("the name is plain"))
        .filter(|id| balancer::assigned(id.user(), id.name(), &everybody) != node)
        .take(HEADS)
        .map(|id| {
            format!(
                "PUT /images/{id} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 40000\r\n\
                 Content-Type: image/png\r\nExpect: 100-continue\r\nConnection: offer\r\n\r\n"
            )
            .into_bytes()
        })
        .collect()
}

impl OfferConnection {
    /// Reads one answer and insists on 307.
    fn answer(&mut self) -> Result<(), String> {
        let mut answer = [0; ANSWER_BYTES_MAX];
        let mut length = 0;
        while !is_whole(&answer[..length]) {
            match self.stream.read(&mut answer[length..]) {
                Ok(count @ 1..) => length += count,
                Ok(0) => return Err("an offer was not answered: the connection ended".to_owned()),
                Err(e) => return Err(format!("an offer was not answered: {e}")),
            }
        }
        if answer.starts_with(b"HTTP/1.1 307 ") {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&answer[..length]);
        Err(format!(
            "an offer was answered {}",
            text.lines().next().unwrap_or_default()
        ))
    }
}

/// Whether the answer has come with its content, which ends in the number of a node.
fn is_whole(answer: &[u8]) -> bool {
    let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else {
        return false;
    };
    let head = String::from_utf8_lossy(&answer[..end]);
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse().ok())?
    });
    length.is_some_and(|length: usize| answer.len() >= end + 4 + length)
}
