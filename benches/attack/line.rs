//! An attacker's connection, in the clear or under TLS, that never waits.

use std::net::TcpStream;

use rustix::net::{RecvFlags, SendFlags, recv, send};

#[cfg(feature = "tls")]
use rustls::ClientConnection;

pub struct Line {
    stream: TcpStream,
    #[cfg(feature = "tls")]
    session: Option<ClientConnection>,
}

impl Line {
    pub fn new(stream: TcpStream) -> Line {
        Line {
            stream,
            #[cfg(feature = "tls")]
            session: None,
        }
    }

    /// The same under TLS: the handshake goes on with each [`Line::pump`], and what was sent waits for it.
    #[cfg(feature = "tls")]
    pub fn under_tls(stream: TcpStream, mut session: ClientConnection) -> Line {
        session.set_buffer_limit(None);
        Line {
            stream,
            session: Some(session),
        }
    }

    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Goes on with what the session has to say and to hear.
    #[cfg(feature = "tls")]
    pub fn pump(&mut self) {
        let Some(session) = &mut self.session else {
            return;
        };
        let mut wire = NonBlocking(&self.stream);
        // Whoever was cut is noticed by its socket.
        if session.is_handshaking() && session.read_tls(&mut wire).is_ok() {
            let _ = session.process_new_packets();
        }
        while session.wants_write() && session.write_tls(&mut wire).is_ok() {}
    }

    #[cfg(not(feature = "tls"))]
    pub fn pump(&mut self) {}

    /// What does not go out at once does not go out; under TLS it goes out when there is room.
    pub fn send(&mut self, bytes: &[u8]) {
        #[cfg(feature = "tls")]
        if let Some(session) = &mut self.session {
            let _ = std::io::Write::write(&mut session.writer(), bytes);
            return self.pump();
        }
        let _ = send(&self.stream, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
    }

    /// Takes so many bytes off the wire, whatever they are.
    pub fn take(&mut self, count: usize) {
        #[cfg(feature = "tls")]
        if self
            .session
            .as_ref()
            .is_some_and(|session| session.is_handshaking())
        {
            return self.pump();
        }
        let mut bytes = vec![0; count];
        let _ = recv(&self.stream, &mut bytes[..], RecvFlags::DONTWAIT);
    }
}

#[cfg(feature = "tls")]
struct NonBlocking<'l>(&'l TcpStream);

#[cfg(feature = "tls")]
impl std::io::Read for NonBlocking<'_> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let (_, count) = recv(self.0, buf, RecvFlags::DONTWAIT)?;
        Ok(count)
    }
}

#[cfg(feature = "tls")]
impl std::io::Write for NonBlocking<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        Ok(send(self.0, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)?)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
