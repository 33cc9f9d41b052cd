//! Taking a copy from another node: the sealed file as it is, every tag verified, kept if it is newer than what is here.

use std::sync::{Arc, PoisonError};

use super::commit;
use super::error::Error;
use super::opening::{Opener, Stored};
use super::received::Received;
use super::shared::Node;
use crate::http::body::{self, Body};
use crate::image_id::ImageId;
use crate::seal::{HEADER_BYTES, Header, SEGMENT_BYTES};
use crate::sealing::blocks::Direction;
use crate::socket::pace::Pace;
use crate::socket::{Socket, is_stall};
use crate::store::draft::Draft;
use crate::store::held::Base;
use crate::ticket::{Claims, Purpose};
use crate::version::{Version, WriteOutcome};

/// Whether this node takes copies of this name; asked before any of the body is read.
pub(crate) fn admit(node: &Node, id: &ImageId, sealed_bytes: u64) -> Result<Draft, Error> {
    let limit = crate::seal::sealed_bytes(node.body_bytes_max);
    let is_able = node.condition.get().takes_images();
    if !node.cluster.standing().takes(id.user(), id.name()) || node.is_leaving() || !is_able {
        return Err(Error::NotPlaced);
    }
    if sealed_bytes > limit {
        return Err(Error::TooLarge(node.body_bytes_max));
    }
    Ok(node.store.begin()?)
}

/// Receives a sealed file of `sealed_bytes` bytes and keeps it: a copy that is misplaced on another node, or an upload
/// that another node has received.
pub(crate) fn image(
    node: &Node,
    (socket, body): (&mut Socket, &mut Body),
    id: &ImageId,
    (claims, sealed_bytes): (&Claims, u64),
    mut draft: Draft,
) -> Result<WriteOutcome, Error> {
    let version = claims.version;
    let mut opened_by = None;
    let mut index = 0;
    let mut done = 0;
    // One at a time has a block for this: nodes that hand over must not take them all from uploads.
    let _turn = node.taking_over.lock().unwrap_or_else(PoisonError::into_inner);
    while done < sealed_bytes {
        let mut block = node.blocks.take_for(Direction::Upload, socket.client());
        let wanted =
            usize::try_from(sealed_bytes - done).map_or(SEGMENT_BYTES, |left| left.min(SEGMENT_BYTES));
        read_exact(socket, body, &mut block.bytes_mut()[..wanted])?;
        draft.write(done, &block.bytes()[..wanted])?;
        if index == 0 {
            let header: &[u8; HEADER_BYTES] = block.bytes().first_chunk().expect("a block is longer");
            let header = Header::parse(header).map_err(|_| Error::Damaged)?;
            if header.version() != version {
                return Err(Error::Damaged);
            }
            opened_by = Some((header, Arc::new(Opener::new(node, id, header, sealed_bytes))));
        }
        let (_, opener) = opened_by.as_ref().expect("made with the first segment");
        let opener = Arc::clone(opener);
        let stored = Stored::new(block, index, wanted);
        node.pool.begin(move || opener.open(stored).map(drop)).wait()?;
        done += wanted as u64;
        index += 1;
    }
    let (header, _) = opened_by.ok_or(Error::Damaged)?;
    draft.sync()?;
    if claims.purpose == Purpose::Upload {
        return commit::take_over(node, id, &mut Received::new(draft, header, claims.view));
    }
    keep(node, id, version, || {
        node.store.keep(&mut draft, id, version, Base::Any)
    })
}

/// Keeps a tombstone.
pub(crate) fn tombstone(node: &Node, id: &ImageId, version: Version) -> Result<WriteOutcome, Error> {
    keep(node, id, version, || node.store.bury(id, version, Base::Any))
}

fn keep(
    node: &Node,
    id: &ImageId,
    version: Version,
    change: impl FnOnce() -> Result<WriteOutcome, crate::store::error::Error>,
) -> Result<WriteOutcome, Error> {
    let _lock = node.names.lock(id);
    let view = node.cluster.standing().view.ok_or(Error::NotPlaced)?;
    node.clock.observe(version.time, node.wall_ms());
    let write = commit::in_view(node, id, (version, view), change)?.ok_or(Error::NotPlaced)?;
    node.store.sync_images()?;
    Ok(write.outcome)
}

fn read_exact(socket: &mut Socket, body: &mut Body, buf: &mut [u8]) -> Result<(), Error> {
    let (mut done, mut pace) = (0, Pace::default());
    while done < buf.len() {
        let (inbox, mut wire) = socket.reader(&mut pace);
        match body.read(inbox, &mut wire, &mut buf[done..]) {
            Ok(0) => return Err(Error::Lost("the copy ended too early".to_owned())),
            Ok(count) => done += count,
            Err(body::Error::Wire(e)) if is_stall(&e) => {
                socket
                    .await_input(&mut pace)
                    .map_err(|e| Error::Lost(e.to_string()))?;
            }
            Err(e) => return Err(Error::Lost(format!("{e:?}"))),
        }
    }
    Ok(())
}
