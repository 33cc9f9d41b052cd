//! One image read back, wherever it lies.

use std::time::Instant;

use super::connection::{Connection, Failure};
use super::{Client, Route, cause_of, target_of};
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
    connection: Connection,
}

impl Download {
    /// Reads into `room` (not empty) and returns how much; 0 is the end of the image.
    pub fn read(&mut self, room: &mut [u8], deadline: Instant) -> Result<usize, Failure> {
        self.connection.read(&mut self.body, room, deadline)
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
    ) -> Result<Option<Download>, Failure> {
        let assigned = balancer::assigned(image.user(), image.name(), &self.alive);
        let mut route = Route::new(self, Some(first.unwrap_or(assigned)), &target_of(image));
        loop {
            let (node, target) = route.next(self);
            let (mut connection, response) = match self.request(node, "GET", &target, "") {
                Ok(answer) => answer,
                Err(failure) => {
                    route.setback(deadline, failure)?;
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
            let failure = Failure {
                cause: cause_of(response.status),
                text: format!(
                    "node {node} answered {}: {}",
                    response.status,
                    String::from_utf8_lossy(&text).trim_end()
                ),
            };
            match response.status {
                307 => route.redirect(self, &response)?,
                404 => return Ok(None),
                503 => route.setback(deadline, failure)?,
                _ => return Err(failure),
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
