//! TLS (RFC 8446 and RFC 5246, by rustls): who a node is, whom it believes, and sessions over a connected socket.
//!
//! - [`files`]: where certificates, keys and authorities are
//! - [`settings`]: what was read of them, for both ends; `own_certificate`: whether others believe this node
//! - [`session`]: one connection's records
//!
//! A build without the feature `tls` has the same types, of which there are no values: the files in `absent`.
//!
//! Knows nothing of HTTP, of nodes, or of waiting: how long a read may take is the socket's affair.

pub mod files;
#[cfg(feature = "tls")]
mod own_certificate;
#[cfg_attr(not(feature = "tls"), path = "tls/absent/session.rs")]
pub(crate) mod session;
#[cfg_attr(not(feature = "tls"), path = "tls/absent/settings.rs")]
pub mod settings;

use std::fmt;
use std::io;

use self::files::ClientFiles;
use self::settings::ClientTls;

/// What the options `--ca`, `--cert` and `--key` of a program mean; none: plain HTTP. An error is one sentence.
pub fn client_of([ca, cert, key]: [Option<String>; 3]) -> Result<Option<ClientTls>, String> {
    let files = ClientFiles::of_options(ca, cert, key)?;
    files.as_ref().map(ClientTls::load).transpose()
}

/// Whoever connected sent plain HTTP where TLS is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct PlainHttp;

impl fmt::Display for PlainHttp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("plain HTTP where TLS is spoken")
    }
}

impl std::error::Error for PlainHttp {}

/// Whether a session could not begin because the other end sent plain HTTP.
pub(crate) fn is_plain_http(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<PlainHttp>())
}
