//! Hostile requests on a real socket, in tables: each with the statuses that are right for it, each followed in the
//! same bytes by a second request that must not be answered, and each followed by a healthy client.
//!
//! - `framing`: where a message ends
//! - `heads`: what a request asks, and for whom
//! - `limits`: how much of everything
//! - `chunks`: chunked bodies
//! - `names`: what images may be called
//! - `pictures`: what is a PNG

mod chunks;
mod framing;
mod heads;
mod limits;
mod names;
mod pictures;

use crate::support::cluster::TestCluster;
use crate::support::picture;
use crate::support::wire::Wire;

/// Requests in all tables together; a table that is cut down by mistake is noticed.
const ROWS_MIN: usize = 1000;
/// What hostile uploads ask for.
const PUT: &str = "PUT /images/alice/cat.png";
/// What the healthy client reads.
const HEALTHY: &str = "/images/healthy/picture.png";

/// A hostile request and what may come of it.
#[derive(Clone)]
struct Case {
    what: String,
    bytes: Vec<u8>,
    /// The statuses of the one answer. None at all: the server may only close.
    accepted: &'static [u16],
    end: End,
}

/// How the connection ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// The server answers and closes, although the client goes on sending.
    Closed,
    /// The client stops half-way, and the server closes.
    CutShort,
    /// The server answers, and the next request is answered too: nothing was in doubt.
    Open,
}

impl Case {
    fn closing(what: impl Into<String>, accepted: &'static [u16], bytes: impl Into<Vec<u8>>) -> Case {
        Case {
            what: what.into(),
            bytes: bytes.into(),
            accepted,
            end: End::Closed,
        }
    }

    fn ending(mut self, end: End) -> Case {
        self.end = end;
        self
    }
}

/// What a smuggler hopes to have answered. Twice, in case the first is swallowed in part.
fn smuggled(host: &str) -> Vec<u8> {
    format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n")
        .repeat(2)
        .into_bytes()
}

/// A request line with `Host`, further field lines and a body.
fn request(line: &str, host: &str, fields: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("{line} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n");
    [head.as_bytes(), body].concat()
}

/// An upload with these fields, whose body looks like a request.
fn put(host: &str, accepted: &'static [u16], fields: &str) -> Case {
    Case::closing(
        format!("PUT with {fields:?}"),
        accepted,
        request(PUT, host, fields, &smuggled(host)),
    )
}

/// The statuses of all answers until the server closes.
fn statuses(wire: &mut Wire) -> Vec<u16> {
    let mut seen = Vec::new();
    while let Some(answer) = wire.answer() {
        seen.push(answer.status);
    }
    seen
}

fn play(cluster: &TestCluster, row: &Case) -> Result<(), String> {
    let node = cluster.node(1);
    let host = node.address.to_string();
    let mut wire = Wire::connect(node.address);
    let seen = match row.end {
        End::Closed => {
            wire.send(&[&row.bytes[..], &smuggled(&host)].concat());
            statuses(&mut wire)
        }
        End::CutShort => {
            wire.send(&row.bytes);
            wire.finish_sending();
            statuses(&mut wire)
        }
        End::Open => {
            wire.send(&row.bytes);
            let first = wire.answer().map(|answer| answer.status);
            wire.send(&request("GET /healthz", &host, "Connection: close\r\n", b""));
            let mut seen: Vec<u16> = first.into_iter().collect();
            seen.extend(statuses(&mut wire).into_iter().filter(|status| *status != 200));
            seen
        }
    };
    let right = match seen[..] {
        [] => row.accepted.is_empty(),
        [status] => row.accepted.contains(&status),
        _ => false,
    };
    if right {
        Ok(())
    } else {
        Err(format!(
            "{}: {seen:?} instead of one of {:?}",
            row.what, row.accepted
        ))
    }
}

fn all_rows(host: &str) -> Vec<Case> {
    let rows: Vec<Case> = [
        framing::rows(host),
        heads::rows(host),
        limits::rows(host),
        chunks::rows(host),
        names::rows(host),
        pictures::broken_rows(host),
    ]
    .into_iter()
    .flatten()
    .collect();
    assert!(rows.len() >= ROWS_MIN, "{} rows", rows.len());
    rows
}

/// The whole table once more, from strangers and from a user whose token is for other images than alice's and the healthy
/// client's: nothing of it gets further than without tokens, and nothing changes.
#[test]
fn with_tokens_no_hostile_request_gets_further() {
    let mut cluster = TestCluster::prepare(1, &[]);
    let owner = cluster.add_token("healthy", "read,write,delete,list");
    let rogue = cluster.add_token("rogue", "read,write,delete,list");
    cluster.show_token(&owner);
    cluster.start_all();
    let node = cluster.node(1);
    let host = node.address.to_string();
    assert_eq!(node.put(HEALTHY, &picture::noise(10, 10, 1)).status, 201);
    let files = node.files();
    let shown = format!("\r\nAuthorization: Bearer {rogue}\r\nHost:");
    let (mut wrong, mut refused) = (Vec::new(), 0);
    for row in all_rows(&host) {
        let mut as_rogue = row.clone();
        if let Some(at) = find(&row.bytes, b"\r\nHost:") {
            as_rogue.bytes.splice(at..at + b"\r\nHost:".len(), shown.bytes());
        }
        // Heads that are as long as they may be are too long with a token.
        let more: &[u16] = if row.accepted == [200] { &[431] } else { &[] };
        for row in [row, as_rogue] {
            let mut wire = Wire::connect(node.address);
            wire.send(&row.bytes);
            wire.finish_sending();
            for status in statuses(&mut wire) {
                refused += usize::from(matches!(status, 401 | 403));
                if !row.accepted.contains(&status) && !more.contains(&status) && !matches!(status, 401 | 403)
                {
                    wrong.push(format!(
                        "{}: {status} instead of one of {:?}",
                        row.what, row.accepted
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} rows:\n{}", wrong.len(), wrong.join("\n"));
    assert!(
        refused > ROWS_MIN / 2,
        "only {refused} were refused for want of a token"
    );
    assert_eq!(node.files(), files);
}

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}

#[test]
fn every_hostile_request_is_refused_once_and_harms_nobody() {
    let cluster = TestCluster::start(1);
    let node = cluster.node(1);
    let host = node.address.to_string();
    let image = picture::noise(10, 10, 1);
    assert_eq!(node.put(HEALTHY, &image).status, 201);
    let rows = all_rows(&host);
    let mut wrong = Vec::new();
    for row in &rows {
        wrong.extend(play(&cluster, row).err());
        let healthy = node.ask("GET", HEALTHY);
        assert!(
            healthy.status == 200 && healthy.body == image,
            "after {}: {}",
            row.what,
            healthy.status
        );
        assert_eq!(
            node.files(),
            ["encrypted_picture.healthy.png"],
            "after {}",
            row.what
        );
    }
    let list = wrong.join("\n");
    assert!(
        wrong.is_empty(),
        "{} of {} rows:\n{list}",
        wrong.len(),
        rows.len()
    );
}

#[test]
fn the_same_bytes_one_at_a_time_are_judged_the_same() {
    let cluster = TestCluster::start(1);
    let node = cluster.node(1);
    let host = node.address.to_string();
    let rows = [framing::rows(&host), heads::rows(&host), chunks::rows(&host)];
    let short = rows
        .into_iter()
        .flatten()
        .filter(|row| row.end == End::Closed && row.bytes.len() < 300);
    for row in short {
        let mut wire = Wire::connect(node.address);
        for byte in row.bytes.iter().copied().chain(smuggled(&host)) {
            wire.send(&[byte]);
        }
        let seen = statuses(&mut wire);
        assert!(
            seen.len() == 1 && row.accepted.contains(&seen[0]),
            "{}: {seen:?} instead of one of {:?}",
            row.what,
            row.accepted
        );
    }
    assert_eq!(node.files(), [""; 0]);
}
