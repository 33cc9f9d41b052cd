//! Taking an image in: read, check, seal, write, make durable, say so.
//!
//! ```text
//! worker   read segment i+1, CRC and digest │ write segment i │ read segment i+2 │ …
//! pool               seal segment i         │     seal segment i+1     │ …
//! ```
//!
//! A worker never waits while it holds a block that it has not written: neither for a second block nor for a
//! sender that stalls.

use super::admit::{Admitted, Put};
use super::counters::Counters;
use super::error::Error;
use super::etag::etag;
use super::intake::Intake;
use super::sealer::Sealer;
use super::shared::Node;
use crate::durable::{Outcome, Replace};
use crate::http::body::Body;
use crate::image_id::ImageId;
use crate::report::Receipt;
use crate::seal::{self, Header, RANDOM_BYTES, SegmentCipher};
use crate::socket::Socket;

/// Segments of one upload that may be sealed while the next is read. One keeps both sides busy; more would take
/// blocks from other uploads and gain nothing.
const SEALING_AT_ONCE: usize = 2;

/// Receives the body, seals it, stores it under `id` and counts it.
pub(crate) fn receive(
    node: &Node,
    socket: &mut Socket,
    body: &mut Body,
    id: &ImageId,
    (put, admitted): (&Put, Admitted<'_>),
) -> Result<Receipt, Error> {
    let outcome = store(node, socket, body, id, (put, admitted));
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
    (put, admitted): (&Put, Admitted<'_>),
) -> Result<Receipt, Error> {
    let Admitted { view, draft } = admitted;
    let header = Header::new(random()?);
    let cipher = SegmentCipher::new(node.keyset.primary(), &header, &id.associated_data());
    let mut sealer = Sealer::new(node, cipher, draft);
    let mut intake = Intake::new(node, socket, body, put.digest.is_some());
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
        sealer.write_until(SEALING_AT_ONCE - 1)?;
        index += 1;
    }
    let bytes = intake.finish(put.digest)?;
    sealer.write_until(0)?;
    // Headers and tags are not counted, and AES-CTR adds nothing.
    log::info!(
        "Node {}: Image encrypted ({bytes} bytes -> {bytes} bytes)",
        node.id
    );
    let replace = if put.only_new {
        Replace::Refused
    } else {
        Replace::Allowed
    };
    let outcome = sealer.into_draft().commit(id, replace)?;
    Ok(Receipt {
        user: id.user().to_owned(),
        name: id.name().to_owned(),
        bytes,
        sealed_bytes: seal::sealed_bytes(bytes),
        node: node.id,
        term: view.term,
        alive: Some(view.roster.ids().to_vec()),
        etag: etag(&header),
        durability: Some(node.store.durability().to_string()),
        replaced: outcome == Outcome::Replaced,
    })
}

#[allow(
    clippy::disallowed_methods,
    reason = "the edge draws the random bytes that sealing takes as an argument"
)]
fn random() -> Result<[u8; RANDOM_BYTES], Error> {
    let mut bytes = [0; RANDOM_BYTES];
    getrandom::fill(&mut bytes).map_err(|e| Error::Random(e.to_string()))?;
    Ok(bytes)
}
