//! What a build without the feature `tls` has of certificates: types without values, and a sentence.

use std::convert::Infallible;
use std::time::SystemTime;

use super::files::{ClientFiles, NodeFiles};
use super::session::Session;

const NOT_BUILT: &str =
    "this program was built without TLS: cargo build --release --features tls, or make build TLS=1";

/// What a node shows to whoever connects. There is none.
#[derive(Clone)]
pub struct ServerTls(Infallible);

/// Whom a client believes, and what it shows. There is none.
#[derive(Clone)]
pub struct ClientTls(Infallible);

impl ServerTls {
    /// Says that this build has no TLS.
    pub fn load(_: &NodeFiles) -> Result<ServerTls, String> {
        Err(NOT_BUILT.to_owned())
    }

    pub(crate) fn accept(&self) -> Session {
        match self.0 {}
    }

    pub(crate) fn complaints(&self, _host: &str, _now: SystemTime) -> Vec<String> {
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
