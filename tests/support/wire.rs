//! HTTP as a test speaks it: bytes on a socket, sent as they are, and answers read strictly.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::PATIENCE;

/// How long a connection may be silent before a test calls it a hang.
pub const SILENCE_MAX: Duration = PATIENCE;

/// An answer with all of its content.
#[derive(Clone, Debug)]
pub struct ReceivedAnswer {
    pub status: u16,
    /// Names in lower case.
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl ReceivedAnswer {
    /// The value of a field; its name in lower case.
    pub fn field(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The content as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The content as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The node that it names, and what to ask that one for; `None` if it is no redirect.
    pub fn redirect(&self) -> Option<(SocketAddr, String)> {
        let location = self.field("location").filter(|_| self.status == 307)?;
        let (_, rest) = location.split_once("://")?;
        let (address, path) = rest.split_once('/')?;
        Some((address.parse().unwrap(), format!("/{path}")))
    }

    /// Whether the server announced that it closes.
    pub fn closes(&self) -> bool {
        self.field("connection") == Some("close")
    }
}

/// A connection on which a test says what it likes.
pub struct Wire {
    stream: TcpStream,
    #[cfg(feature = "tls")]
    session: Option<rustls::ClientConnection>,
    inbox: Vec<u8>,
}

impl Wire {
    /// A new connection.
    pub fn connect(address: SocketAddr) -> Wire {
        Wire::try_connect(address).unwrap()
    }

    /// A new connection, if somebody listens.
    pub fn try_connect(address: SocketAddr) -> io::Result<Wire> {
        let stream = TcpStream::connect_timeout(&address, SILENCE_MAX)?;
        stream.set_read_timeout(Some(SILENCE_MAX))?;
        stream.set_write_timeout(Some(SILENCE_MAX))?;
        stream.set_nodelay(true)?;
        Ok(Wire {
            stream,
            #[cfg(feature = "tls")]
            session: None,
            inbox: Vec::new(),
        })
    }

    /// The same over TLS, with a server whose certificate is for `address`. The handshake comes with the first bytes.
    #[cfg(feature = "tls")]
    pub fn try_connect_tls(
        address: SocketAddr,
        tls: &std::sync::Arc<rustls::ClientConfig>,
    ) -> io::Result<Wire> {
        let session = rustls::ClientConnection::new(tls.clone(), address.ip().into());
        Ok(Wire {
            session: Some(session.map_err(io::Error::other)?),
            ..Wire::try_connect(address)?
        })
    }

    /// The socket itself.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends bytes. A server that has refused and closed meanwhile is no error: its answer tells.
    pub fn send(&mut self, bytes: &[u8]) {
        #[cfg(feature = "tls")]
        if let Some(session) = &mut self.session {
            let _ = rustls::Stream::new(session, &mut self.stream).write_all(bytes);
            return;
        }
        let _ = self.stream.write_all(bytes);
    }

    /// Tells the server that nothing more comes.
    pub fn finish_sending(&self) {
        let _ = self.stream.shutdown(std::net::Shutdown::Write);
    }

    /// The next answer; `None` if the server closes instead. 100 Continue counts as one.
    pub fn answer(&mut self) -> Option<ReceivedAnswer> {
        self.read_answer(false)
    }

    /// The next answer, which is one to HEAD: it has no content whatever it announces.
    pub fn answer_to_head(&mut self) -> Option<ReceivedAnswer> {
        self.read_answer(true)
    }

    fn read_answer(&mut self, to_head: bool) -> Option<ReceivedAnswer> {
        let head_bytes = loop {
            if let Some(at) = self.inbox.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if !self.more() {
                assert!(
                    self.inbox.is_empty(),
                    "half an answer: {}",
                    self.inbox.escape_ascii()
                );
                return None;
            }
        };
        let head = String::from_utf8(self.inbox.drain(..head_bytes).collect()).unwrap();
        let (status, fields) = parse_head(&head);
        let length = fields.iter().find(|(name, _)| name == "content-length");
        let length = length.map_or(0, |(_, value)| value.parse().unwrap());
        let has_body = !(to_head || status < 200 || status == 204 || status == 304);
        let wanted = if has_body { length } else { 0 };
        while self.inbox.len() < wanted {
            assert!(
                self.more(),
                "the content ends after {} of {wanted} bytes",
                self.inbox.len()
            );
        }
        let body = self.inbox.drain(..wanted).collect();
        Some(ReceivedAnswer { status, fields, body })
    }

    /// Everything that comes until the server closes.
    pub fn rest(&mut self) -> Vec<u8> {
        while self.more() {}
        std::mem::take(&mut self.inbox)
    }

    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        #[cfg(feature = "tls")]
        if let Some(session) = &mut self.session {
            return rustls::Stream::new(session, &mut self.stream).read(room);
        }
        self.stream.read(room)
    }

    /// One read; false at the end. A reset is an end: the server had enough.
    fn more(&mut self) -> bool {
        let mut room = [0; 16 << 10];
        match self.read(&mut room) {
            Ok(0) => false,
            Ok(count) => {
                self.inbox.extend_from_slice(&room[..count]);
                true
            }
            Err(e)
                if matches!(
                    e.kind(),
                    io::ErrorKind::ConnectionReset
                        | io::ErrorKind::UnexpectedEof
                        | io::ErrorKind::InvalidData
                ) =>
            {
                false
            }
            // A socket with a timeout is interrupted when the process was stopped for a moment.
            Err(e) if e.kind() == io::ErrorKind::Interrupted => self.more(),
            Err(e) => panic!("the server neither answers nor closes: {e}"),
        }
    }
}

fn parse_head(head: &str) -> (u16, Vec<(String, String)>) {
    let mut lines = head.trim_end().split("\r\n");
    let status_line = lines.next().unwrap();
    let code = status_line
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3));
    let status = code.and_then(|code| code.parse().ok());
    let status = status.unwrap_or_else(|| panic!("no status line: {status_line:?}"));
    let field = |line: &str| {
        let (name, value) = line
            .split_once(": ")
            .unwrap_or_else(|| panic!("no field: {line:?}"));
        (name.to_ascii_lowercase(), value.to_owned())
    };
    (status, lines.map(field).collect())
}

/// The body of an upload whose length is not said: in chunks of `size` bytes.
pub fn chunked(image: &[u8], size: usize) -> Vec<u8> {
    let mut body = Vec::new();
    for piece in image.chunks(size) {
        body.extend(format!("{:x}\r\n", piece.len()).bytes());
        body.extend(piece);
        body.extend(b"\r\n");
    }
    body.extend(b"0\r\n\r\n");
    body
}

/// The head of an upload with a length; `more` is further field lines, each with its CRLF.
pub fn put_head(address: SocketAddr, target: &str, length: usize, more: &str) -> Vec<u8> {
    format!("PUT {target} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {length}\r\n{more}\r\n").into_bytes()
}

/// The field that shows a token, with its CRLF.
pub fn authorization(token: Option<&str>) -> String {
    token.map_or_else(String::new, |token| format!("Authorization: Bearer {token}\r\n"))
}

/// A request without a body on a connection of its own; `None` if the server is not there or says nothing.
pub fn try_ask(address: SocketAddr, method: &str, target: &str) -> Option<ReceivedAnswer> {
    try_ask_as(address, method, target, None)
}

/// The same with a token.
pub fn try_ask_as(
    address: SocketAddr,
    method: &str,
    target: &str,
    token: Option<&str>,
) -> Option<ReceivedAnswer> {
    let shown = authorization(token);
    ask_on(Wire::try_connect(address).ok()?, (method, target), &shown)
}

/// A request without a body, the only one on this connection. `fields` are whole lines, each with its CRLF.
pub fn ask_on(mut wire: Wire, (method, target): (&str, &str), fields: &str) -> Option<ReceivedAnswer> {
    let host = wire.stream.peer_addr().ok()?;
    let head = format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n{fields}Connection: close\r\n\r\n");
    wire.send(head.as_bytes());
    wire.read_answer(method == "HEAD")
}

/// An upload with a length, on a connection of its own.
pub fn put(address: SocketAddr, target: &str, image: &[u8]) -> ReceivedAnswer {
    put_as(address, target, image, None)
}

/// The same with a token.
pub fn put_as(address: SocketAddr, target: &str, image: &[u8], token: Option<&str>) -> ReceivedAnswer {
    put_on(Wire::connect(address), target, image, token)
}

/// The same on this connection.
pub fn put_on(mut wire: Wire, target: &str, image: &[u8], token: Option<&str>) -> ReceivedAnswer {
    let address = wire.stream.peer_addr().unwrap();
    wire.send(&put_head(address, target, image.len(), &authorization(token)));
    wire.send(image);
    wire.answer().expect("an upload is answered")
}

/// The last of the answers to a request that is redirected: `ask` asks the node that one names.
pub fn follow(
    mut answer: ReceivedAnswer,
    ask: impl Fn(SocketAddr, &str) -> ReceivedAnswer,
) -> ReceivedAnswer {
    while let Some((address, target)) = answer.redirect() {
        answer = ask(address, &target);
    }
    answer
}
