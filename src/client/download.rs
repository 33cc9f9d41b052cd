//! One image read back from the node that holds it.

use std::time::Instant;

use super::ask::Answered;
use super::connection::NodeConnection;
use super::error::Error;
use super::nodes::Nodes;
use super::round_robin::RoundRobin;
use crate::balancer;
use crate::http::body::Body;
use crate::http::head::Framing;
use crate::http::response::Response;
use crate::image_id::ImageId;
use crate::roster::NodeId;

/// The longest text that is read with an error status, in bytes.
const ERROR_TEXT_BYTES_MAX: usize = 64 << 10;

/// An image that is being received: read it to the end and give it back to [`Client::finish`].
///
/// [`Client::finish`]: crate::client::Client::finish
pub struct Download {
    /// The node that sends it.
    pub node: NodeId,
    pub(crate) response: Response,
    body: Body,
    connection: NodeConnection,
    begins_at: u64,
}

/// The beginning of an image, from an earlier download.
#[derive(Clone, Copy, Debug)]
pub struct HeldPart<'h> {
    /// The entity tag of that image, with its quotes.
    pub etag: &'h str,
    /// How many bytes of it are there.
    pub bytes: u64,
}

impl Download {
    /// Its entity tag, with its quotes, if the node sent one.
    pub fn etag(&self) -> Option<&str> {
        self.response.etag.as_deref()
    }

    /// How many bytes are received in all, if the node says so.
    pub fn bytes(&self) -> Option<u64> {
        match self.response.framing {
            Framing::Length(bytes) => Some(bytes),
            Framing::None => Some(0),
            Framing::Chunked => None,
        }
    }

    /// How many bytes of the image come before what is received: those that were held, if the image is still the same.
    pub fn begins_at(&self) -> u64 {
        self.begins_at
    }

    /// Reads into `buf` (not empty) and returns how many bytes; 0 is the end of the image.
    pub fn read(&mut self, buf: &mut [u8], deadline: Instant) -> Result<usize, Error> {
        self.connection.read(&mut self.body, buf, deadline)
    }
}

impl Nodes {
    /// `None`: a node said that no node has such an image.
    pub(super) fn download(
        &mut self,
        image: &ImageId,
        first: Option<NodeId>,
        held: Option<HeldPart<'_>>,
        deadline: Instant,
    ) -> Result<Option<Download>, Error> {
        // RFC 9110 section 13.1.5: the rest if the image is the same, and otherwise the whole. All of it may be there already, so
        // the last byte is asked for once more.
        let begins_at = held.map_or(0, |held| held.bytes.saturating_sub(1));
        let fields = held.filter(|_| begins_at > 0).map_or_else(String::new, |held| {
            format!("Range: bytes={begins_at}-\r\nIf-Range: {}\r\n", held.etag)
        });
        let assigned = balancer::assigned(image.user(), image.name(), &self.alive);
        let mut nodes = RoundRobin::new(self, Some(first.unwrap_or(assigned)), &image.target());
        loop {
            let (node, target) = nodes.next();
            let (mut connection, response) =
                match self.request(node, "GET", &target, &fields, self.patience.body) {
                    Ok(answer) => answer,
                    Err(error) => {
                        nodes.record_failure(deadline, error)?;
                        continue;
                    }
                };
            if matches!(response.status, 200 | 206) {
                let body = Body::new(response.framing);
                let begins_at = if response.status == 206 { begins_at } else { 0 };
                return Ok(Some(Download {
                    begins_at,
                    node,
                    response,
                    body,
                    connection,
                }));
            }
            let content = connection.read_all(&response, ERROR_TEXT_BYTES_MAX, deadline)?;
            self.keep(node, connection, &response);
            let answered = Answered {
                node,
                response,
                content,
            };
            match answered.response.status {
                307 => nodes.redirect(self, node, &answered.response)?,
                404 => return Ok(None),
                503 => nodes.record_failure(deadline, answered.error())?,
                _ => return Err(answered.error()),
            }
        }
    }

    pub(super) fn finish(&mut self, download: Download) {
        if download.body.is_done() {
            self.keep(download.node, download.connection, &download.response);
        }
    }
}
