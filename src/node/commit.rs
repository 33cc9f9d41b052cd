//! The end of a write: it gets its place among all versions, and is confirmed once no reader can miss it.
//!
//! ```text
//! sync ─► version of this view? ─► name lock ─► conditions ─► declare ─► assigned here? ─► rename ─► sync of the folder ─► confirm
//!         └► seal again                                                └► hand over, the receipt is that node's
//! ```
//!
//! Writes of one name are taken by one node at a time (`lease`), and by that one under the lock of the name. A write
//! whose name was assigned to another node while it arrived is handed over before it is acknowledged, so that nothing
//! is left in the wrong place.
//!
//! A version is of the view in which it was drawn. When the view has changed since, another node may have judged
//! conditions and taken a later write that the node that takes this one does not have: with its old version this one
//! would be acknowledged and gone. So it gets a new one, which is later than everything in earlier views.
//!
//! A node may stand still between looking at the view and the rename, so that a write gets its name when another node takes
//! the name already. Such a write must not appear between the judging of another one's conditions and its rename. In one
//! folder the rename fails if anything has changed since (`Base`). With folders of their own, the node that is assigned
//! the name tells nobody what it holds while it judges (`Node::judging`); so whoever is told has the write that was judged.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, SystemTime};

use super::conditions::{Conditions, Decision, ImageState};
use super::error::Error;
use super::hand_over::{self, Given};
use super::intent::declare;
use super::lookup::{Lookup, lookup, own_copy};
use super::names::NameLock;
use super::pause::pause;
use super::received::Received;
use super::shared::Node;
use crate::image_id::ImageId;
use crate::lease::standing::Standing;
use crate::roster::{NodeId, ViewId};
use crate::seal::Header;
use crate::store;
use crate::store::held::Base;
use crate::version::{Newest, Version, WriteOutcome};

/// How long a write that is received waits for a node that takes it.
const PLACE_TIME_MAX: Duration = Duration::from_secs(5);
/// How long a write that is stored waits until it may be acknowledged.
const CONFIRM_TIME_MAX: Duration = Duration::from_secs(3);

/// A write that is stored and confirmed.
pub(crate) struct Committed {
    /// The node that has it.
    pub(crate) node: NodeId,
    pub(crate) header: Header,
    pub(crate) outcome: WriteOutcome,
    /// By what the node was chosen.
    pub(crate) standing: Arc<Standing>,
}

/// A write or a delete that was stored here, and may be confirmed.
pub(super) struct StoredWrite {
    pub(super) outcome: WriteOutcome,
    version: Version,
    /// The view in which it was stored.
    view: ViewId,
    /// It was stored before anybody could take the name in another view.
    is_in_time: bool,
}

/// Stores a received image under its name, here or on the node that it is assigned to by now.
pub(crate) fn commit(
    node: &Node,
    id: &ImageId,
    mut received: Received,
    conditions: &Conditions,
) -> Result<Committed, Error> {
    received.draft.sync()?;
    let deadline = node.cluster.now() + PLACE_TIME_MAX;
    loop {
        let standing = node.cluster.standing();
        if let Some(view) = standing.view.filter(|_| standing.is_ready) {
            if view != received.view {
                received.renew(node, id, view)?;
            }
            if let Some((holder, outcome)) = place(node, id, &mut received, conditions, &standing)? {
                return Ok(Committed {
                    node: holder,
                    header: received.header,
                    outcome,
                    standing,
                });
            }
        }
        if node.cluster.now() >= deadline {
            return Err(if received.may_be_elsewhere {
                Error::Unconfirmed
            } else {
                Error::NotPlaced
            });
        }
        pause();
    }
}

/// Stores a received image on the node that takes it in this view, and says which one that is.
fn place(
    node: &Node,
    id: &ImageId,
    received: &mut Received,
    conditions: &Conditions,
    standing: &Standing,
) -> Result<Option<(NodeId, WriteOutcome)>, Error> {
    if standing.takes(id.user(), id.name()) {
        let taken = take(node, id, received, conditions)?;
        return Ok(taken.map(|outcome| (node.id, outcome)));
    }
    if !conditions.are_empty() {
        return Ok(None);
    }
    match hand_over::upload(node, id, received, standing) {
        // A later write was stored there already, and may have been read.
        Given::Taken(_, WriteOutcome::Superseded) => received.renew(node, id, received.view)?,
        Given::Taken(to, outcome) => return Ok(Some((to, outcome))),
        Given::Refused => {}
        Given::Unknown => received.may_be_elsewhere = true,
    }
    Ok(None)
}

/// Stores a received image here and has that confirmed, if the conditions hold and this node takes writes of the name.
fn take(
    node: &Node,
    id: &ImageId,
    received: &mut Received,
    conditions: &Conditions,
) -> Result<Option<WriteOutcome>, Error> {
    let _confirmation = node.confirmations.read().unwrap_or_else(PoisonError::into_inner);
    let Some(write) = keep(node, id, received, conditions)? else {
        return Ok(None);
    };
    node.store.sync_images()?;
    confirm(node, id, &write)?;
    Ok(Some(write.outcome))
}

/// Stores an upload that another node has received, as it is, and has that confirmed; if this node takes writes of the
/// name in the very view in which that one drew the version. [`WriteOutcome::Superseded`]: a later one is here already.
pub(crate) fn take_over(node: &Node, id: &ImageId, received: &mut Received) -> Result<WriteOutcome, Error> {
    let _confirmation = node.confirmations.read().unwrap_or_else(PoisonError::into_inner);
    let lock = node.names.lock(id);
    let time = received.version().time;
    if time <= node.cluster.standing().floor {
        // Its node has not heard of all that this one comes after.
        return Ok(WriteOutcome::Superseded);
    }
    node.clock.observe(time, node.wall_ms());
    let write = rename(node, id, received, Base::Any)?.ok_or(Error::NotPlaced)?;
    drop(lock);
    if write.outcome != WriteOutcome::Superseded {
        node.store.sync_images()?;
        confirm(node, id, &write)?;
    }
    Ok(write.outcome)
}

/// Gives a received image its name, if the conditions hold and this node takes writes of the name.
fn keep(
    node: &Node,
    id: &ImageId,
    received: &mut Received,
    conditions: &Conditions,
) -> Result<Option<StoredWrite>, Error> {
    let _lock = node.names.lock(id);
    if conditions.are_empty() {
        let write = rename(node, id, received, Base::Any)?;
        let outcome = write.as_ref().map(|write| write.outcome);
        if outcome != Some(WriteOutcome::Superseded) {
            return Ok(write);
        }
    }
    // Writes of one name take effect in the order in which they end, and one with conditions after what it was judged by.
    let judging = node.judging.lock(id);
    let held = own_copy(node, id)?.map(|copy| copy.version);
    let lookup = allowed(node, id, conditions, Some(&judging))?;
    let newest = held.max(lookup.newest.version());
    if let Some(newest) = newest.filter(|newest| *newest > received.version()) {
        node.goes_on_after(newest);
        received.renew(node, id, received.view)?;
    }
    if lookup.view != Some(received.view) {
        return Ok(None);
    }
    unless_changed(rename(node, id, received, Base::Version(held)))
}

/// Gives a received image its name, unless something newer has it or the folder does not hold `base`, if this node takes
/// writes of the name in the view of the version.
fn rename(
    node: &Node,
    id: &ImageId,
    received: &mut Received,
    base: Base,
) -> Result<Option<StoredWrite>, Error> {
    let (version, view) = (received.version(), received.view);
    in_view(node, id, (version, view), || {
        node.store.keep(&mut received.draft, id, version, base)
    })
}

/// What came of a write; `None` if something else was written since its conditions were judged: they have to be judged again.
fn unless_changed(write: Result<Option<StoredWrite>, Error>) -> Result<Option<StoredWrite>, Error> {
    match write {
        Err(Error::Store(store::error::Error::Changed)) => Ok(None),
        write => write,
    }
}

/// Writes a tombstone and removes the image, if there is one and the conditions hold. `false`: there is none.
pub(crate) fn bury(node: &Node, id: &ImageId, conditions: &Conditions) -> Result<bool, Error> {
    let deadline = node.cluster.now() + PLACE_TIME_MAX;
    loop {
        // Before the lock of the name, as in `commit`: a node that leaves waits for those who have this one.
        let confirmation = node.confirmations.read().unwrap_or_else(PoisonError::into_inner);
        let lock = node.names.lock(id);
        let judging = node.judging.lock(id);
        let held = own_copy(node, id)?.map(|copy| copy.version);
        let lookup = look(node, id, Some(&judging))?;
        match lookup.newest {
            Newest::Image { .. } => {}
            Newest::Deleted(_) | Newest::Absent if conditions.judge_write(None) == Decision::Failed => {
                return Err(Error::Precondition);
            }
            Newest::Deleted(version) => {
                // An earlier try may have failed at its sync.
                node.store.finish_delete(id, version)?;
                return Ok(false);
            }
            Newest::Absent => return Ok(false),
            Newest::Unknown(nodes) => return Err(Error::Unknown(nodes)),
        }
        judge(conditions, &lookup)?;
        if let Newest::Image { version, .. } = lookup.newest {
            node.goes_on_after(version);
        }
        let version = node.next_version();
        let buried = match lookup.view {
            Some(view) => unless_changed(in_view(node, id, (version, view), || {
                node.store.bury(id, version, Base::Version(held))
            }))?,
            None => None,
        };
        drop(judging);
        drop(lock);
        if let Some(write) = buried {
            node.store.sync_images()?;
            confirm(node, id, &write)?;
            return Ok(true);
        }
        drop(confirmation);
        if node.cluster.now() >= deadline {
            return Err(Error::NotPlaced);
        }
        pause();
    }
}

/// What a write with these conditions comes after, if they hold. `judging` is the lock by which they stay so until it has
/// its name.
fn allowed(
    node: &Node,
    id: &ImageId,
    conditions: &Conditions,
    judging: Option<&NameLock<'_>>,
) -> Result<Lookup, Error> {
    let lookup = look(node, id, judging)?;
    if let Newest::Unknown(nodes) = &lookup.newest
        && !conditions.are_empty()
    {
        return Err(Error::Unknown(nodes.clone()));
    }
    judge(conditions, &lookup)?;
    Ok(lookup)
}

/// Whether the conditions hold now; asked before a body is received, and again before it gets its name.
pub(crate) fn check(node: &Node, id: &ImageId, conditions: &Conditions) -> Result<(), Error> {
    allowed(node, id, conditions, None).map(drop)
}

fn judge(conditions: &Conditions, lookup: &Lookup) -> Result<(), Error> {
    let state = lookup.state.as_ref().map(|(etag, modified)| ImageState {
        etag,
        modified: *modified,
    });
    match conditions.judge_write(state) {
        Decision::Go => Ok(()),
        Decision::NotModified | Decision::Failed => Err(Error::Precondition),
    }
}

/// What the name holds, for a node that is assigned it: without asking, where that is certain. `judging`: see [`lookup`].
fn look(node: &Node, id: &ImageId, judging: Option<&NameLock<'_>>) -> Result<Lookup, Error> {
    let standing = node.cluster.standing();
    if let Some(found) = look_alone(node, id, &standing)? {
        return Ok(found);
    }
    Ok(lookup(node, id, judging)?)
}

fn look_alone(node: &Node, id: &ImageId, standing: &Standing) -> Result<Option<Lookup>, Error> {
    if !standing.is_settled || standing.assigned(id.user(), id.name()) != node.id {
        return Ok(None);
    }
    let copy = own_copy(node, id)?;
    if !node.is_alone(standing) {
        return Ok(None);
    }
    let (newest, state) = match copy {
        None => (Newest::Absent, None),
        Some(copy) if copy.deleted => (Newest::Deleted(copy.version), None),
        Some(copy) => {
            let newest = Newest::Image {
                version: copy.version,
                node: node.id,
            };
            let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(copy.modified);
            (newest, Some((copy.etag, modified)))
        }
    };
    Ok(Some(Lookup {
        newest,
        state,
        view: standing.view,
    }))
}

/// Makes a change if this node takes writes of the name in this very view, and the others know of it. Nobody reports this
/// node as clean in a later view while that goes on: see `settle`.
pub(super) fn in_view(
    node: &Node,
    id: &ImageId,
    (version, view): (Version, ViewId),
    change: impl FnOnce() -> Result<WriteOutcome, crate::store::error::Error>,
) -> Result<Option<StoredWrite>, Error> {
    if !declare(node, id, (version, view)) {
        return Ok(None);
    }
    let _commits = node.commits.read().unwrap_or_else(PoisonError::into_inner);
    // Before the view is looked at: whoever installs the next one finds it.
    node.clock.store(version.time);
    let standing = node.cluster.standing();
    if standing.view != Some(view) || !standing.takes(id.user(), id.name()) {
        return Ok(None);
    }
    let outcome = change()?;
    Ok(Some(StoredWrite {
        outcome,
        version,
        view,
        // Whoever takes the name in a later view finds it, then.
        is_in_time: node.has_lease(&standing),
    }))
}

/// Waits until all nodes of the view have heard of a reserve that covers this version, and would hear of any view in
/// which somebody else takes the name: then no later reader can be told of an earlier state.
///
/// One that may have come too late for what others did in a later view counts only if it is the newest there: a write with
/// conditions may have been judged without it, and is later. One whose conditions are being judged is waited for.
fn confirm(node: &Node, id: &ImageId, write: &StoredWrite) -> Result<(), Error> {
    let deadline = node.cluster.now() + CONFIRM_TIME_MAX;
    let mut is_in_time = write.is_in_time;
    loop {
        let now = node.cluster.now();
        let standing = node.cluster.standing();
        let is_known = is_in_time || standing.view == Some(write.view);
        if is_known && standing.confirms(now, write.version.time) {
            return Ok(());
        }
        if now >= deadline {
            return Err(Error::Unconfirmed);
        }
        if !is_known && standing.is_ready {
            match lookup(node, id, None)?.newest {
                Newest::Unknown(_) => {}
                newest if newest.version() == Some(write.version) => is_in_time = true,
                Newest::Image { .. } | Newest::Deleted(_) | Newest::Absent => return Err(Error::Unconfirmed),
            }
        }
        pause();
    }
}
