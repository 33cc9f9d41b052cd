//! Whose upload it is, decided before any of its body is read.
//!
//! Placement is computed by each node alone, from the view that it follows. A node that is not the one assigned
//! refuses and names the other; it accepts what another node sent on.

use std::sync::Arc;

use super::counters::Counters;
use super::error::Error;
use super::shared::Node;
use crate::balancer::{self, Verdict};
use crate::election::View;
use crate::image_id::ImageId;
use crate::roster::NodeId;
use crate::store;
use crate::store::draft::Draft;

/// After this many redirects an upload is told to come back later: two nodes see different clusters.
const HOPS_MAX: u32 = 2;

/// The particulars of an upload.
pub(crate) struct Put {
    /// From where it was redirected.
    pub(crate) referral: Referral,
    /// Do not replace an image of that name.
    pub(crate) only_new: bool,
    /// SHA-256 of the image.
    pub(crate) digest: Option<[u8; 32]>,
}

/// Where an upload came from: a client, or another node's redirect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Referral {
    /// The term of the node that redirected last.
    pub(crate) term: u64,
    /// How many nodes redirected.
    pub(crate) hops: u32,
}

/// Who takes an upload.
pub(crate) enum Admission<'n> {
    Here(Admitted<'n>),
    /// Node `to`, in `term`; the client is redirected for the `hop`th time.
    At {
        to: NodeId,
        term: u64,
        hop: u32,
    },
}

/// An upload that this node takes.
pub(crate) struct Admitted<'n> {
    /// What the node knew when it took the upload.
    pub(crate) view: Arc<View>,
    /// Where its bytes are written; vanishes if the upload is not stored.
    pub(crate) draft: Draft<'n>,
}

/// Admits an upload of `length` bytes, if the client said how many. If it is admitted here, the client may send the body.
pub(crate) fn admit<'n>(
    node: &'n Node,
    id: &ImageId,
    put: &Put,
    length: Option<u64>,
) -> Result<Admission<'n>, Error> {
    let view = node.cluster.view();
    let referral = put.referral;
    match balancer::verdict(node.id, id.user(), id.name(), &view.roster) {
        // The node that redirected knew at least as much as this one does.
        Verdict::Theirs(_) if (1..=HOPS_MAX).contains(&referral.hops) && referral.term >= view.term => {}
        Verdict::Theirs(_) if referral.hops >= HOPS_MAX => return Err(Error::Disagreement),
        Verdict::Theirs(to) => {
            log::info!(
                "Node {}: Request assigned to Node {to} (round-robin), rejecting",
                node.id
            );
            Counters::add(&node.counters.uploads_redirected, 1);
            return Ok(Admission::At {
                to,
                term: view.term,
                hop: referral.hops + 1,
            });
        }
        Verdict::Mine => {}
    }
    if node.is_leaving() {
        return Err(Error::Leaving);
    }
    if length.is_some_and(|length| length > node.body_bytes_max) {
        return Err(Error::TooLarge(node.body_bytes_max));
    }
    if put.only_new && node.store.find(id)?.is_some() {
        return Err(store::error::Error::Taken.into());
    }
    // Before the client is asked for the body: a folder that cannot be written would have it sent for nothing.
    let draft = node.store.begin()?;
    log::info!(
        "Node {}: Assigned to me via load balancing (alive nodes: {})",
        node.id,
        view.roster
    );
    log::info!("Node {}: Processing image upload...", node.id);
    Ok(Admission::Here(Admitted { view, draft }))
}
