//! The client's side of the cluster: upload, read, list, remove, ask for the state.
//!
//! Keeps one connection to each node, blocks, and limits every wait. A [`Client`] belongs to one thread; threads that
//! work in parallel have one each. Retries happen here, not in the server: a node that just died is unreachable
//! until the others have noticed, and an upload that ended in doubt may be sent again.
//!
//! - [`error`]: what can go wrong
//! - [`bearer_token`]: the token that is shown to the nodes
//! - [`connection`]: one connection, a request out, an answer in
//! - [`nodes`]: the connections to all members, and which of them answer
//! - [`ask`]: requests without a body, and their answers
//! - [`download`]: one image read back from the node that holds it
//! - [`upload`]: one image to be uploaded, and what happened to it
//!
//! Private: `round_robin` and `backoff` choose which node is asked next and when, `offers` offers an image round after
//! round, `pending_upload` sends it to the node that accepts it.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "an edge: sockets, deadlines, and waiting before an offer is repeated"
)]

pub mod ask;
mod backoff;
pub mod bearer_token;
pub mod connection;
pub mod download;
pub mod error;
pub mod nodes;
mod offers;
mod pending_upload;
mod round_robin;
pub mod upload;

use std::time::Instant;

use self::ask::Answered;
use self::bearer_token::BearerToken;
use self::download::{Download, HeldPart};
use self::error::Error;
use self::nodes::{Nodes, Patience};
use self::pending_upload::PendingUpload;
use self::upload::{Terms, Upload, UploadBody};
use crate::balancer;
use crate::http::target::encode;
use crate::image_id::ImageId;
use crate::members::Members;
use crate::report::{Page, Rebalance, Status};
use crate::roster::NodeId;
use crate::tls::settings::ClientTls;

/// A thread's access to the nodes of a cluster.
pub struct Client {
    nodes: Nodes,
    /// Where pieces of files are read; grows to the largest so far.
    buf: Vec<u8>,
}

impl Client {
    /// A client that has not connected to any node yet.
    pub fn new(members: &Members, patience: Patience) -> Client {
        Client {
            nodes: Nodes::new(members, patience),
            buf: Vec::new(),
        }
    }

    /// Shows this token with every request.
    pub fn with_token(mut self, token: Option<BearerToken>) -> Client {
        self.nodes.token = token;
        self
    }

    /// Speaks TLS, and believes only nodes that can show who they are; none: plain HTTP.
    pub fn with_tls(mut self, tls: Option<ClientTls>) -> Client {
        self.nodes.tls = tls;
        self
    }

    /// Uploads of names that exist are refused, as [`ErrorKind::PreconditionFailed`].
    ///
    /// [`ErrorKind::PreconditionFailed`]: error::ErrorKind::PreconditionFailed
    pub fn only_new(mut self, only_new: bool) -> Client {
        self.nodes.only_new = only_new;
        self
    }

    /// Ids and addresses of the members, in rising order of id.
    pub fn members(&self) -> impl Iterator<Item = (NodeId, &str)> {
        self.nodes.members()
    }

    /// What one node says about itself and the cluster.
    pub fn status(&mut self, id: NodeId) -> Result<Status, Error> {
        self.nodes.status(id)
    }

    /// Asks one node and reads the whole answer, whatever its status.
    pub fn ask(&mut self, id: NodeId, method: &str, target: &str) -> Result<Answered, Error> {
        self.nodes.ask(id, method, target)
    }

    /// Has one node move what is assigned to others to them, for some seconds, and asks what there is left.
    pub fn rebalance(&mut self, id: NodeId) -> Result<Rebalance, Error> {
        let answered = self.nodes.ask(id, "POST", "/rebalance")?;
        match answered.response.status {
            202 => answered.json(),
            _ => Err(answered.error()),
        }
    }

    /// A user's images on the whole cluster, page after page. Any node that answers will do.
    pub fn list(&mut self, user: &str, deadline: Instant) -> Result<Page, Error> {
        let mut whole = Page::default();
        loop {
            let page = self.page(user, whole.next.as_deref(), deadline)?;
            whole.images.extend(page.images);
            whole.missing.extend(
                page.missing
                    .iter()
                    .filter(|id| !whole.missing.contains(id))
                    .collect::<Vec<_>>(),
            );
            whole.next = page.next;
            if whole.next.is_none() {
                return Ok(whole);
            }
        }
    }

    /// One page of that list: the first, or the one that begins after the name `after`.
    pub fn page(&mut self, user: &str, after: Option<&str>, deadline: Instant) -> Result<Page, Error> {
        let after = after.map_or_else(String::new, |name| format!("?after={}", encode(name)));
        let answered = self
            .nodes
            .fetch(None, "GET", &format!("/images/{user}/{after}"), deadline)?;
        match answered.response.status {
            200 => answered.json(),
            _ => Err(answered.error()),
        }
    }

    /// Removes an image from whichever node holds it. `false`: no node has it.
    pub fn remove(&mut self, image: &ImageId, deadline: Instant) -> Result<bool, Error> {
        let first = balancer::assigned(image.user(), image.name(), &self.nodes.alive);
        let answered = self
            .nodes
            .fetch(Some(first), "DELETE", &image.target(), deadline)?;
        match answered.response.status {
            200 | 202 | 204 => Ok(true),
            404 => Ok(false),
            _ => Err(answered.error()),
        }
    }

    /// Finds an image: asks `first` or the node it is assigned to, follows redirects, and tries again until the
    /// deadline while nodes are busy or do not answer. `None`: every node said that it has no such image.
    pub fn download(
        &mut self,
        image: &ImageId,
        first: Option<NodeId>,
        deadline: Instant,
    ) -> Result<Option<Download>, Error> {
        self.nodes.download(image, first, None, deadline)
    }

    /// The same, of which a part is there already: what is received begins at [`Download::begins_at`].
    pub fn resume(
        &mut self,
        image: &ImageId,
        held: Option<HeldPart<'_>>,
        deadline: Instant,
    ) -> Result<Option<Download>, Error> {
        self.nodes.download(image, None, held, deadline)
    }

    /// Keeps the connection of a download for the next request, if the image was read to its end.
    pub fn finish(&mut self, download: Download) {
        self.nodes.finish(download);
    }

    /// Offers `image`, sends the body to the node that accepts it, and reads the receipt; offers it again, until
    /// the deadline, while no node accepts it or the connection breaks.
    pub fn upload(&mut self, image: &ImageId, body: UploadBody<'_>, terms: Terms<'_>) -> Upload {
        PendingUpload::new(&mut self.nodes, &mut self.buf, image, body, terms).run()
    }
}
