//! `--relay`, or `?relay` in a request: what another node takes is passed on to it, instead of being redirected there.
//!
//! For clients that cannot send a body twice, and for a proxy that has one name for all nodes. The other node is shown the
//! ticket that a redirect would have carried, and asked for no more than the client has asked. Bytes go through as they
//! come: nothing of an image is kept here. A request that was sent by a node is never passed on once more.

#![allow(
    clippy::disallowed_methods,
    reason = "an edge: deadlines for what another node is sent and answers"
)]

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::answers;
use super::connection::Connection;
use super::service::Service;
use crate::client::connection::NodeConnection;
use crate::client::error::Error;
use crate::http::answer::{Answer, CONTINUE};
use crate::http::body::{self, Body};
use crate::http::head::{Framing, Head};
use crate::http::response::{AnswerFields, Response};
use crate::roster::NodeId;
use crate::socket::is_stall;
use crate::socket::pace::Pace;

/// How long the other node may take to say whether it takes an upload, or has what is asked for.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);
/// How long it may take or give nothing in the middle, and how long it may take to store an upload.
const STEP_TIME_MAX: Duration = Duration::from_secs(30);
/// How much is passed on at a time.
const PIECE_BYTES: usize = 64 << 10;
/// The longest answer that is no image.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// The part of the workers that may wait for other nodes: if all did on all nodes, nobody would be left who answers.
const WORKERS_PART: usize = 2;

/// What is passed on of a request. What its framing is made of is made anew.
const REQUEST_FIELDS: [&str; 7] = [
    "if-match",
    "if-none-match",
    "if-modified-since",
    "if-unmodified-since",
    "if-range",
    "range",
    "content-digest",
];
/// What is not passed on of an answer: it is about the connection, or made anew.
const CONNECTION_FIELDS: [&str; 6] = [
    "connection",
    "keep-alive",
    "content-length",
    "transfer-encoding",
    "date",
    "location",
];

/// How many requests are passed on at the moment.
pub(crate) struct Relays {
    max: usize,
    used: AtomicUsize,
}

/// The right to pass one on, until dropped.
struct Relaying(Arc<Relays>);

impl Relays {
    /// Of a node with so many workers.
    pub(crate) fn new(workers: usize) -> Arc<Relays> {
        Arc::new(Relays {
            max: (workers / WORKERS_PART).max(1),
            used: AtomicUsize::new(0),
        })
    }

    fn begin(self: &Arc<Relays>) -> Option<Relaying> {
        let one_more = |used| (used < self.max).then_some(used + 1);
        let begun = self
            .used
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more);
        begun.is_ok().then(|| Relaying(Arc::clone(self)))
    }
}

impl Drop for Relaying {
    fn drop(&mut self) {
        self.0.used.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What is passed on.
pub(crate) struct Passed<'r> {
    pub(crate) to: NodeId,
    pub(crate) method: &'static str,
    /// Path and query, with the ticket.
    pub(crate) target: String,
    /// Field lines, each with its CRLF.
    pub(crate) fields: &'r str,
    /// The answer has no content.
    pub(crate) head_only: bool,
    /// The client's connection is used again.
    pub(crate) keep_alive: bool,
}

/// What came of it.
pub(crate) enum Relayed {
    /// This is to be answered.
    Answer(Answer),
    /// The answer has gone out.
    Sent {
        status: u16,
        /// Of content.
        bytes: u64,
    },
    /// Part of the answer has gone out, or the client is gone.
    Cut,
    /// That node does not take it any more.
    Moved,
}

/// The fields of a head that are passed on.
pub(crate) fn fields(head: &Head<'_>) -> String {
    let mut lines = String::new();
    for name in REQUEST_FIELDS {
        if let Some(value) = head
            .fields
            .list(name)
            .and_then(|value| String::from_utf8(value).ok())
        {
            write!(lines, "{name}: {value}\r\n").expect("writing to memory does not fail");
        }
    }
    lines
}

/// Passes a request without a body on, and its answer back.
pub(crate) fn ask(service: &Service, connection: &mut Connection, passed: &Passed<'_>) -> Relayed {
    let Some(_relaying) = service.relays.begin() else {
        return Relayed::Answer(answers::relays_busy());
    };
    let begun = begin(service, passed, passed.fields);
    match begun {
        Err(error) => Relayed::Answer(answers::unreachable(passed.to, &error)),
        Ok((other, response, fields)) => give_back(service, connection, passed, other, (&response, &fields)),
    }
}

/// Passes an upload on, and its answer back. `continued` is set once the client was told to send the body.
pub(crate) fn upload(
    service: &Service,
    connection: &mut Connection,
    passed: &Passed<'_>,
    (content, framing, expects_continue): (&mut Body, Framing, bool),
    continued: &mut bool,
) -> Relayed {
    let Some(_relaying) = service.relays.begin() else {
        return Relayed::Answer(answers::relays_busy());
    };
    let length = match framing {
        Framing::Length(bytes) => format!("Content-Length: {bytes}\r\n"),
        Framing::None | Framing::Chunked => "Transfer-Encoding: chunked\r\n".to_owned(),
    };
    let fields = format!(
        "{length}Expect: 100-continue\r\nConnection: offer\r\n{}",
        passed.fields
    );
    let (mut other, mut response, mut answered) = match begin(service, passed, &fields) {
        Ok(begun) => begun,
        Err(error) => return Relayed::Answer(answers::unreachable(passed.to, &error)),
    };
    if response.status == 100 {
        *continued = expects_continue;
        if expects_continue && connection.socket.write_all(CONTINUE).is_err() {
            return Relayed::Cut;
        }
        match pass_body(connection, content, &mut other, framing) {
            Ok(()) | Err(Broken::Other) => {}
            Err(Broken::Client(answer)) => return answer.map_or(Relayed::Cut, Relayed::Answer),
        }
        // A node that has had enough has said why.
        (response, answered) = match other.head_with_fields(Instant::now() + STEP_TIME_MAX) {
            Ok(answer) => answer,
            Err(_) => return Relayed::Answer(answers::relay_unknown(passed.to)),
        };
    }
    give_back(service, connection, passed, other, (&response, &answered))
}

/// Sends the head and reads the first answer. A connection that was kept may have been closed meanwhile.
fn begin(
    service: &Service,
    passed: &Passed<'_>,
    fields: &str,
) -> Result<(NodeConnection, Response, AnswerFields), Error> {
    let (node, deadline) = (&service.node, Instant::now() + ANSWER_TIME_MAX);
    loop {
        let mut other = node.peers.connect_or_say(&node.members(), passed.to)?;
        let reused = other.is_reused();
        let sent = other.send_head(passed.method, &passed.target, fields, &[], deadline);
        match sent.and_then(|()| other.head_with_fields(deadline)) {
            Ok((response, fields)) => return Ok((other, response, fields)),
            Err(_) if reused && Instant::now() < deadline => {}
            Err(error) => return Err(error),
        }
    }
}

/// Which of the two ends is at fault.
enum Broken {
    /// `None`: it is gone.
    Client(Option<Answer>),
    Other,
}

fn pass_body(
    connection: &mut Connection,
    content: &mut Body,
    other: &mut NodeConnection,
    framing: Framing,
) -> Result<(), Broken> {
    let is_chunked = !matches!(framing, Framing::Length(_));
    let (mut piece, mut pace) = (vec![0; PIECE_BYTES], Pace::default());
    let mut send = |bytes: &[u8]| {
        let sent = other.send(bytes, Instant::now() + STEP_TIME_MAX);
        sent.map_err(|_| Broken::Other)
    };
    loop {
        let (inbox, mut wire) = connection.socket.reader(&mut pace);
        match content.read(inbox, &mut wire, &mut piece) {
            Ok(0) if is_chunked => return send(b"0\r\n\r\n"),
            Ok(0) => return Ok(()),
            Ok(count) if is_chunked => {
                send(format!("{count:x}\r\n").as_bytes())?;
                send(&piece[..count])?;
                send(b"\r\n")?;
            }
            Ok(count) => {
                send(&piece[..count])?;
                if content.is_done() {
                    return Ok(());
                }
            }
            Err(body::Error::Wire(e)) if is_stall(&e) => {
                let waited = connection.socket.await_input(&mut pace);
                waited.map_err(|e| Broken::Client(answers::not_received(&e)))?;
            }
            Err(body::Error::Wire(e)) => return Err(Broken::Client(answers::not_received(&e))),
            Err(body::Error::Ended) => return Err(Broken::Client(None)),
            Err(body::Error::Malformed(why)) => {
                return Err(Broken::Client(answers::failure(
                    &crate::node::error::Error::Body(why),
                )));
            }
        }
    }
}

/// Passes an answer back.
fn give_back(
    service: &Service,
    connection: &mut Connection,
    passed: &Passed<'_>,
    mut other: NodeConnection,
    (response, fields): (&Response, &AnswerFields),
) -> Relayed {
    if response.status == 307 {
        return Relayed::Moved;
    }
    let mut answer = Answer::empty(response.status);
    for (name, value) in fields {
        if !CONNECTION_FIELDS.contains(&name.as_str()) {
            answer = answer.field(name, value);
        }
    }
    let length = match response.framing {
        Framing::Length(bytes) => bytes,
        Framing::None | Framing::Chunked => 0,
    };
    if passed.head_only || length == 0 {
        keep(service, passed.to, other, response);
        return Relayed::Answer(answer.announcing(length));
    }
    if length <= ANSWER_BYTES_MAX as u64 {
        let deadline = Instant::now() + STEP_TIME_MAX;
        return match other.read_all(response, ANSWER_BYTES_MAX, deadline) {
            Err(error) => Relayed::Answer(answers::unreachable(passed.to, &error)),
            Ok(content) => {
                keep(service, passed.to, other, response);
                Relayed::Answer(answer.with_body(content))
            }
        };
    }
    let mut head = Vec::new();
    answers::dated(answer.announcing(length)).encode(&mut head, passed.keep_alive, false);
    match pass_content(connection, &head, &mut other, response) {
        true => {
            keep(service, passed.to, other, response);
            Relayed::Sent {
                status: response.status,
                bytes: length,
            }
        }
        false => Relayed::Cut,
    }
}

/// `false`: one of the two is gone.
fn pass_content(
    connection: &mut Connection,
    head: &[u8],
    other: &mut NodeConnection,
    response: &Response,
) -> bool {
    if connection.socket.write_all(head).is_err() {
        return false;
    }
    let (mut content, mut piece) = (Body::new(response.framing), vec![0; PIECE_BYTES]);
    loop {
        match other.read(&mut content, &mut piece, Instant::now() + STEP_TIME_MAX) {
            Ok(0) => return true,
            Ok(count) if connection.socket.write_all(&piece[..count]).is_ok() => {}
            Ok(_) | Err(_) => return false,
        }
    }
}

fn keep(service: &Service, to: NodeId, other: NodeConnection, response: &Response) {
    if response.keep_alive {
        service.node.peers.keep(to, other);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_workers_never_wait_for_other_nodes() {
        let relays = Relays::new(4);
        let held = [relays.begin(), relays.begin()];
        assert!(held.iter().all(Option::is_some) && relays.begin().is_none());
        drop(held);
        assert!(relays.begin().is_some());
    }
}
