//! What a build without the feature `tls` has of TLS: types without values, and a sentence.

use std::convert::Infallible;
use std::io::{self, Read, Write};

use super::files::{ClientFiles, NodeFiles};

const NOT_BUILT: &str =
    "this program was built without TLS: cargo build --release --features tls, or make build TLS=1";

/// What a node shows to whoever connects. There is none.
#[derive(Clone)]
pub struct ServerTls(Infallible);

/// Whom a client believes, and what it shows. There is none.
#[derive(Clone)]
pub struct ClientTls(Infallible);

/// A session. There is none.
pub(crate) struct Session(Infallible);

impl ServerTls {
    /// Says that this build has no TLS.
    pub fn load(_: &NodeFiles) -> Result<ServerTls, String> {
        Err(NOT_BUILT.to_owned())
    }

    pub(crate) fn accept(&self) -> Session {
        match self.0 {}
    }
}

impl ClientTls {
    /// Says that this build has no TLS.
    pub fn load(_: &ClientFiles) -> Result<ClientTls, String> {
        Err(NOT_BUILT.to_owned())
    }

    pub(crate) fn connect(&self, _host: &str) -> Result<Session, String> {
        match self.0 {}
    }
}

impl Session {
    pub(crate) fn read(&mut self, _wire: impl Read + Write, _buf: &mut [u8]) -> io::Result<usize> {
        match self.0 {}
    }

    pub(crate) fn write(&mut self, _wire: impl Read + Write, _bytes: &[u8]) -> io::Result<usize> {
        match self.0 {}
    }

    pub(crate) fn close(&mut self, _wire: impl Write) {
        match self.0 {}
    }

    pub(crate) fn has_input(&self) -> bool {
        match self.0 {}
    }

    pub(crate) fn has_output(&self) -> bool {
        match self.0 {}
    }

    pub(crate) fn is_established(&self) -> bool {
        match self.0 {}
    }

    pub(crate) fn is_midway(&self) -> bool {
        match self.0 {}
    }

    pub(crate) fn moved(&self) -> u64 {
        match self.0 {}
    }

    pub(crate) fn release_if_empty(&mut self) {
        match self.0 {}
    }
}
