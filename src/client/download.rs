//! One image read back, wherever it lies.

use std::time::Instant;

use super::connection::NodeConnection;
use super::error::{Error, ErrorKind};
use super::{Client, RoundRobin, target_of};
use crate::balancer;
use crate::http::body::Body;
use crate::http::response::Response;
use crate::image_id::ImageId;
use crate::roster::NodeId;

/// The longest explanation that is read with a refusal, in bytes.
const EXPLANATION_BYTES_MAX: usize = 64 << 10;

/// An image on its way: read it to the end and give it back to [`Client::finish`].
pub struct Download {
    /// Who sends it.
    pub node: NodeId,
    /// The head of the answer.
    pub response: Response,
    body: Body,
    connection: NodeConnection,
}

impl Download {
    /// Reads into `buf` (not empty) and returns how much; 0 is the end of the image.
    pub fn read(&mut self, buf: &mut [u8], deadline: Instant) -> Result<usize, Error> {
        self.connection.read(&mut self.body, buf, deadline)
    }
}

impl Client {
    /// Finds an image: asks `first` or the node it is assigned to, follows redirects, and tries again until the
    /// deadline while nodes are busy or do not answer. `None`: every node said that it has no such image.
    pub fn download(
        &mut self,
        image: &ImageId,
        first: Option<NodeId>,
        deadline: Instant,
    ) -> Result<Option<Download>, Error> {
        let assigned = balancer::assigned(image.user(), image.name(), &self.alive);
        let mut route = RoundRobin::new(self, Some(first.unwrap_or(assigned)), &target_of(image));
        loop {
            let (node, target) = route.next(self);
            let (mut connection, response) = match self.request(node, "GET", &target, "") {
                Ok(answer) => answer,
                Err(error) => {
                    route.record_failure(deadline, error)?;
                    continue;
                }
            };
            if response.status == 200 {
                let body = Body::new(response.framing);
                return Ok(Some(Download {
                    node,
                    response,
                    body,
                    connection,
                }));
            }
            let text = connection.read_all(&response, EXPLANATION_BYTES_MAX, deadline)?;
            self.keep(node, connection, &response);
            let error = Error {
                kind: ErrorKind::of_status(response.status),
                text: format!(
                    "node {node} answered {}: {}",
                    response.status,
                    String::from_utf8_lossy(&text).trim_end()
                ),
            };
            match response.status {
                307 => route.redirect(self, &response)?,
                404 => return Ok(None),
                503 => route.record_failure(deadline, error)?,
                _ => return Err(error),
            }
        }
    }

    /// Keeps the connection of a download for the next request, if the image was read to its end.
    pub fn finish(&mut self, download: Download) {
        if download.body.is_done() {
            self.keep(download.node, download.connection, &download.response);
        }
    }
}
