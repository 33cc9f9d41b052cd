//! One HTTP request, sent to a node and followed wherever the nodes send it, and what is known of it afterwards.
//!
//! Every request has connections of its own: a kept one that broke would leave open whether the request was read.
//! Trusts nothing: an answer that is no HTTP, or is cut, is no answer.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// More redirects than any cluster needs.
const HOPS_MAX: u32 = 5;
const HEAD_BYTES_MAX: usize = 64 << 10;
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);

/// An answer with all of its content.
pub(crate) struct Answer {
    pub(crate) status: u16,
    fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Who gave it.
    pub(crate) node: u32,
}

impl Answer {
    /// The value of a field; its name in lower case.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// What became of a request.
pub(crate) enum Outcome {
    /// A final answer; whether the node had the whole request, content included, before it.
    Answered { answer: Answer, complete: bool },
    /// No node can have had the whole request.
    NotSent(&'static str),
    /// The connection was cut or silent: it happened, will happen, or never does.
    Unknown(&'static str),
}

/// A request as a client puts it.
pub(crate) struct Request<'r> {
    pub(crate) method: &'r str,
    pub(crate) path: &'r str,
    /// Further field lines, each with its CRLF.
    pub(crate) fields: String,
    pub(crate) body: Option<&'r [u8]>,
    /// Waits for `100 Continue` before the body.
    pub(crate) offers: bool,
    /// For the whole of it.
    pub(crate) patience: Duration,
}

/// Sends `request` to node `first` of `addresses`, which are those of node 1, 2, 3 …
pub(crate) fn send(addresses: &[SocketAddr], first: u32, request: &Request<'_>) -> Outcome {
    let deadline = Instant::now() + request.patience;
    let (mut node, mut path) = (first, request.path.to_owned());
    for _ in 0..=HOPS_MAX {
        let address = addresses[node as usize - 1];
        let (answer, complete) = match Exchange::run(address, request, &path, deadline) {
            Ok(answered) => answered,
            Err(Cut::NotSent(why)) => return Outcome::NotSent(why),
            Err(Cut::Unknown(why)) => return Outcome::Unknown(why),
        };
        let answer = Answer { node, ..answer };
        let place = (answer.status == 307).then(|| answer.field("location")).flatten();
        let Some(place) = place.and_then(|location| place_of(addresses, location)) else {
            return Outcome::Answered { answer, complete };
        };
        (node, path) = place;
    }
    Outcome::NotSent("sent in circles")
}

fn place_of(addresses: &[SocketAddr], location: &str) -> Option<(u32, String)> {
    let (authority, path) = location.strip_prefix("http://")?.split_once('/')?;
    let at = addresses
        .iter()
        .position(|address| address.to_string() == authority)?;
    Some((u32::try_from(at).unwrap() + 1, format!("/{path}")))
}

enum Cut {
    NotSent(&'static str),
    Unknown(&'static str),
}

struct Exchange {
    stream: TcpStream,
    inbox: Vec<u8>,
    deadline: Instant,
}

impl Exchange {
    /// The final answer of one node, and whether it had the whole request by then.
    fn run(
        address: SocketAddr,
        request: &Request<'_>,
        path: &str,
        deadline: Instant,
    ) -> Result<(Answer, bool), Cut> {
        let stream = TcpStream::connect_timeout(&address, CONNECT_PATIENCE)
            .map_err(|_| Cut::NotSent("no connection"))?;
        let mut exchange = Exchange {
            stream,
            inbox: Vec::new(),
            deadline,
        };
        let Request {
            method,
            fields,
            body,
            offers,
            ..
        } = request;
        let mut message =
            format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{fields}");
        if let Some(body) = body {
            message.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        if *offers {
            message.push_str("Expect: 100-continue\r\n");
        }
        message.push_str("\r\n");
        let mut message = message.into_bytes();
        if !offers {
            message.extend_from_slice(body.unwrap_or_default());
        }
        exchange.send(&message).map_err(|why| {
            if *offers {
                Cut::NotSent(why)
            } else {
                Cut::Unknown(why)
            }
        })?;
        if *offers {
            let early = exchange.answer(method).map_err(Cut::NotSent)?;
            if early.status != 100 {
                return Ok((early, false));
            }
            exchange.send(body.unwrap_or_default()).map_err(Cut::Unknown)?;
        }
        loop {
            let answer = exchange.answer(method).map_err(Cut::Unknown)?;
            if answer.status != 100 {
                return Ok((answer, true));
            }
        }
    }

    fn time_left(&self) -> Result<Duration, &'static str> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            Err("no answer in time")
        } else {
            Ok(left)
        }
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), &'static str> {
        let left = self.time_left()?;
        let sent = self
            .stream
            .set_write_timeout(Some(left))
            .and_then(|()| self.stream.write_all(bytes));
        match sent {
            // A node that has refused and closed says why.
            Err(e)
                if matches!(
                    e.kind(),
                    io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
                ) =>
            {
                Ok(())
            }
            Err(_) => Err("not sent in time"),
            Ok(()) => Ok(()),
        }
    }

    /// One read; false at the end.
    fn more(&mut self) -> Result<bool, &'static str> {
        let left = self.time_left()?;
        let mut room = [0; 32 << 10];
        let read = self
            .stream
            .set_read_timeout(Some(left))
            .and_then(|()| self.stream.read(&mut room));
        match read {
            Ok(count) => {
                self.inbox.extend_from_slice(&room[..count]);
                Ok(count > 0)
            }
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                Err("no answer in time")
            }
            Err(_) => Err("the connection was cut"),
        }
    }

    fn answer(&mut self, method: &str) -> Result<Answer, &'static str> {
        let head_bytes = loop {
            if let Some(at) = self.inbox.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if self.inbox.len() > HEAD_BYTES_MAX || !self.more()? {
                return Err("the connection was cut");
            }
        };
        let head: Vec<u8> = self.inbox.drain(..head_bytes).collect();
        let (status, fields) = parse_head(&head).ok_or("no HTTP")?;
        let length = fields.iter().find(|(name, _)| name == "content-length");
        let length: usize = length
            .map_or(Ok(0), |(_, value)| value.parse())
            .map_err(|_| "no HTTP")?;
        let is_bodiless = method == "HEAD" || status < 200 || status == 204 || status == 304;
        let wanted = if is_bodiless { 0 } else { length };
        while self.inbox.len() < wanted {
            if !self.more()? {
                return Err("the connection was cut");
            }
        }
        let body = self.inbox.drain(..wanted).collect();
        Ok(Answer {
            status,
            fields,
            body,
            node: 0,
        })
    }
}

fn parse_head(head: &[u8]) -> Option<(u16, Vec<(String, String)>)> {
    let text = std::str::from_utf8(head).ok()?;
    let mut lines = text.trim_end().split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    let fields = lines
        .map(|line| {
            line.split_once(':')
                .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        })
        .collect::<Option<_>>()?;
    Some((status, fields))
}
