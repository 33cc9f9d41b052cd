//! Whose upload it is, decided before any of its body is read.
//!
//! Placement is computed by each node alone, from the view that it follows. A node that is not the one assigned
//! refuses and names the other.

use std::sync::Arc;
use std::time::Duration;

use super::commit;
use super::conditions::Conditions;
use super::counters::Counters;
use super::error::Error;
use super::pause::pause;
use super::shared::Node;
use super::unable::unable;
use crate::image_id::ImageId;
use crate::lease::standing::Standing;
use crate::roster::{NodeId, ViewId};
use crate::seal::sealed_bytes;
use crate::store::draft::Draft;
use crate::ticket::Claims;
use crate::version::Version;

/// After this many redirects a request is told to come back later: nodes go by different views.
const HOPS_MAX: u8 = 2;
/// How long a request waits for a leader, and for all nodes to follow it.
const READY_TIME_MAX: Duration = Duration::from_millis(1500);

/// The particulars of an upload.
pub(crate) struct Offer {
    /// Who redirected it here, if a node did.
    pub(crate) referral: Option<Claims>,
    pub(crate) conditions: Conditions,
    /// SHA-256 of the image.
    pub(crate) digest: Option<[u8; 32]>,
}

/// Who takes an upload.
pub(crate) enum Admission {
    Here(Admitted),
    At(Referred),
}

/// Another node takes the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Referred {
    pub(crate) to: NodeId,
    pub(crate) view: ViewId,
    /// How often the request was redirected, this time included.
    pub(crate) hops: u8,
}

/// An upload that this node takes.
pub(crate) struct Admitted {
    /// The place of the write among all others.
    pub(crate) version: Version,
    /// The view in which it was drawn.
    pub(crate) view: ViewId,
    /// Where its bytes are written; vanishes if the upload is not stored.
    pub(crate) draft: Draft,
}

/// Admits an upload of `length` bytes, if the client said how many. If it is admitted here, the client may send the body.
pub(crate) fn admit(
    node: &Node,
    id: &ImageId,
    offer: &Offer,
    length: Option<u64>,
) -> Result<Admission, Error> {
    let assigned = assign(node, id, offer.referral.as_ref()).map_err(|error| match (error, unable(node)) {
        (Error::NotReady, Some((condition, why))) => Error::Unable(condition, why),
        (error, _) => error,
    });
    let BegunWrite {
        standing,
        view,
        version,
    } = match assigned? {
        Ok(begun) => begun,
        Err(referred) => {
            log::info!(
                "Node {}: Request assigned to Node {} (round-robin), rejecting",
                node.id,
                referred.to
            );
            Counters::add(&node.counters.uploads_redirected, 1);
            return Ok(Admission::At(referred));
        }
    };
    // The leader leaves this node out as soon as it hears of it.
    if let Some((condition, why)) = unable(node) {
        return Err(Error::Unable(condition, why));
    }
    if length.is_some_and(|length| length > node.body_bytes_max) {
        return Err(Error::TooLarge(node.body_bytes_max));
    }
    if !offer.conditions.are_empty() {
        commit::check(node, id, &offer.conditions)?;
    }
    // Before the client is asked for the body: a folder that cannot be written would have it sent for nothing.
    let mut draft = node.store.begin()?;
    if let Some(length) = length {
        node.store.reserve(&mut draft, id, sealed_bytes(length))?;
    }
    log::info!(
        "Node {}: Assigned to me via load balancing (alive nodes: {})",
        node.id,
        standing.roster
    );
    log::info!("Node {}: Processing image upload...", node.id);
    Ok(Admission::Here(Admitted { version, view, draft }))
}

/// A write that begins, on the node that takes it.
pub(crate) struct BegunWrite {
    standing: Arc<Standing>,
    view: ViewId,
    version: Version,
}

/// Whether this node takes writes of this name, or which other one does.
/// Waits a moment for a leader, and for a view that another node has redirected by. A node that leaves waits for nothing.
///
/// A version is drawn before the lease is looked at: a node that was paused must not begin a write with a clock that has
/// not heard of what others wrote meanwhile.
pub(crate) fn assign(
    node: &Node,
    id: &ImageId,
    referral: Option<&Claims>,
) -> Result<Result<BegunWrite, Referred>, Error> {
    let deadline = node.cluster.now() + READY_TIME_MAX;
    loop {
        let is_leaving = node.is_leaving();
        let standing = node.cluster.standing();
        let is_behind = referral.is_some_and(|claims| standing.view < Some(claims.view));
        if let Some(view) = standing.view
            && !is_behind
        {
            let to = standing.assigned(id.user(), id.name());
            if to != node.id {
                return refer(to, view, referral).map(Err);
            }
            let version = node.next_version();
            if !is_leaving && standing.is_ready && node.has_lease(&standing) {
                return Ok(Ok(BegunWrite {
                    standing,
                    view,
                    version,
                }));
            }
        }
        if is_leaving {
            return Err(Error::Leaving);
        }
        if node.cluster.now() >= deadline {
            return Err(Error::NotReady);
        }
        pause();
    }
}

/// A redirect to another node, unless there were too many.
pub(crate) fn refer(to: NodeId, view: ViewId, referral: Option<&Claims>) -> Result<Referred, Error> {
    let before = referral.map_or(0, |claims| claims.hops);
    if before >= HOPS_MAX {
        return Err(Error::Disagreement);
    }
    let hops = before + 1;
    Ok(Referred { to, view, hops })
}
