//! HTTP/1.1 over anything that reads and writes: heads, bodies and answers, for both ends of a connection.
//!
//! Knows nothing of images, nodes or sockets. Splitting a head into fields is httparse's; what is ours is the
//! framing of RFC 9112 section 6, which decides where one message ends and the next begins. Where that section
//! speaks of an error, or leaves a choice that two parties could take differently, the message is refused and
//! the connection ends: a lenient reading is how one request is smuggled inside another.
//!
//! - [`inbox`]: bytes that arrived and are not yet consumed
//! - [`head`]: request heads and how their bodies are framed
//! - [`target`]: what a request line points at, decoded once
//! - [`accept`]: which media type a client prefers
//! - [`body`]: request and answer bodies, fixed or chunked
//! - [`answer`]: what a server sends back
//! - [`response`]: the same, as a client reads it
//!
//! Left out on purpose: HTTP/2, pipelining order beyond one at a time, content codings, trailers (read, bounded
//! and dropped).

pub(crate) mod accept;
pub mod answer;
pub mod body;
pub mod head;
pub mod inbox;
pub mod response;
pub mod target;

/// The longest request line, in bytes with its CRLF.
pub const REQUEST_LINE_BYTES_MAX: usize = 8 << 10;
/// The longest head, request line and empty line included, in bytes.
pub const HEAD_BYTES_MAX: usize = 16 << 10;
/// The most fields in one head.
pub const FIELDS_MAX: usize = 100;
/// The longest chunk-size line with its extensions and CRLF, in bytes.
pub const CHUNK_LINE_BYTES_MAX: usize = 256;
/// All trailer fields of a chunked body together, in bytes.
pub const TRAILER_BYTES_MAX: usize = 4 << 10;
