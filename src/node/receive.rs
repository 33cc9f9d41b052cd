//! Taking an image in: read, check, seal, write, make durable, say so.
//!
//! ```text
//! worker   read segment i+1, CRC and digest │ write segment i │ read segment i+2 │ …
//! pool               seal segment i         │     seal segment i+1     │ …
//! ```
//!
//! A thread of the pool that can be spared also writes what was sealed ([`crate::sealing::outlet`]).
//!
//! A worker never waits while it holds a block that it has not written: neither for a second block nor for a
//! sender that stalls.

use super::admit::{Admitted, Offer};
use super::commit::commit;
use super::counters::Counters;
use super::error::Error;
use super::etag::etag;
use super::intake::Intake;
use super::random::random;
use super::received::Received;
use super::sealer::Sealer;
use super::shared::Node;
use crate::http::body::Body;
use crate::image_id::ImageId;
use crate::report::Receipt;
use crate::seal::{self, Header, SegmentCipher};
use crate::socket::Socket;
use crate::version::WriteOutcome;

/// Segments of one upload that are read, sealed and written at a time: one of each. More would take blocks from other
/// uploads.
const IN_FLIGHT_MAX: usize = 3;

/// Receives the body, seals it, stores it under `id` and counts it.
pub(crate) fn receive(
    node: &Node,
    socket: &mut Socket,
    body: &mut Body,
    id: &ImageId,
    (offer, admitted): (&Offer, Admitted),
) -> Result<Receipt, Error> {
    let outcome = store(node, socket, body, id, (offer, admitted));
    match &outcome {
        Ok(receipt) => {
            Counters::add(&node.counters.images, 1);
            Counters::add(&node.counters.bytes, receipt.bytes);
        }
        Err(_) => Counters::add(&node.counters.uploads_failed, 1),
    }
    outcome
}

fn store(
    node: &Node,
    socket: &mut Socket,
    body: &mut Body,
    id: &ImageId,
    (offer, admitted): (&Offer, Admitted),
) -> Result<Receipt, Error> {
    let Admitted { version, view, draft } = admitted;
    let header = Header::new(version, random()?);
    let cipher = SegmentCipher::new(node.keyset.primary(), &header, &id.associated_data());
    let mut sealer = Sealer::new(node, cipher, draft);
    let mut intake = Intake::new(node, socket, body, offer.digest.is_some());
    let mut index = 0;
    loop {
        let mut segment = intake.segment(index, &mut sealer)?;
        if index == 0 {
            segment.set_header(&header.encode());
        }
        let last = intake.is_done();
        sealer.begin(index, last, segment);
        if last {
            break;
        }
        sealer.write_until(IN_FLIGHT_MAX - 1)?;
        index += 1;
    }
    let bytes = intake.finish(offer.digest)?;
    sealer.write_until(0)?;
    // Headers and tags are not counted, and the ciphertext is as long as the image.
    log::info!(
        "Node {}: Image encrypted ({bytes} bytes -> {bytes} bytes)",
        node.id
    );
    let mut draft = sealer.into_draft();
    // Of an image whose length was not said, this is known now.
    let whole = draft.bytes();
    node.store.reserve(&mut draft, id, whole)?;
    let committed = commit(node, id, Received::new(draft, header, view), &offer.conditions)?;
    let placed_by = &committed.standing;
    Ok(Receipt {
        user: id.user().to_owned(),
        name: id.name().to_owned(),
        bytes,
        sealed_bytes: seal::sealed_bytes(bytes),
        node: committed.node,
        version: Some(committed.header.version()),
        term: placed_by.view.map_or(0, |view| view.term),
        view: placed_by.view.map_or_else(String::new, |view| view.to_string()),
        alive: placed_by.view.map(|_| placed_by.roster.placed().to_vec()),
        etag: etag(&committed.header),
        durability: Some(node.store.durability().to_string()),
        replaced: committed.outcome == WriteOutcome::Replaced,
    })
}
