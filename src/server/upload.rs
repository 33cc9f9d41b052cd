//! Taking an image in: read, check, seal, write, make durable, say so.
//!
//! ```text
//! worker   read segment i+1, CRC and digest │ write segment i │ read segment i+2 │ …
//! rayon              seal segment i         │     seal segment i+1     │ …
//! ```
//!
//! A worker never waits while it holds a block that it has not written: neither for a second block nor for a
//! sender that stalls.

use std::sync::Arc;

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::Node;
use super::connection::{Connection, Pace, is_stall, is_too_slow};
use super::front::busy;
use super::request::Put;
use crate::election::View;
use crate::http::answer::Answer;
use crate::http::body::{Body, Error as BodyError};
use crate::image::{Check, Error as Refusal};
use crate::image_id::ImageId;
use crate::roster::Roster;
use crate::seal::{Header, RANDOM_BYTES, SEGMENT_BYTES, SegmentCipher};
use crate::sealing::blocks::Block;
use crate::sealing::mailbox::Mailbox;
use crate::sealing::pool::Job;
use crate::sealing::segment::Segment;
use crate::store;
use crate::store::draft::{Draft, Outcome, Replace};

/// Segments of one upload that may be sealed while the next is read. One keeps both sides busy; more would take
/// blocks from other uploads and gain nothing.
const SEALING_AT_ONCE: usize = 2;

/// Why an upload was not stored. Nothing of it is kept.
pub enum Failure {
    /// The client is told.
    Refused(Answer),
    /// The client is gone.
    Lost(String),
}

/// What is promised to the client once the image is durable.
#[derive(Serialize)]
pub struct Receipt {
    user: String,
    name: String,
    /// Bytes of the image.
    bytes: u64,
    /// Bytes of the sealed file.
    sealed_bytes: u64,
    /// The node that holds it.
    node: u32,
    /// The term of the view that placed it there.
    term: u64,
    /// The alive ids of that view.
    alive: Roster,
    etag: String,
    /// `fsync`, or `rename` where a power loss is not survived.
    durability: String,
    /// Whether an older image of that name is gone.
    replaced: bool,
}

impl Receipt {
    /// Bytes of the image.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// 201 for a new name, 200 for one that was taken.
    pub fn answer(&self) -> Answer {
        let json = serde_json::to_vec(self).expect("a receipt has only plain fields");
        let status = if self.replaced { 200 } else { 201 };
        Answer::json(status, json).field("ETag", &self.etag)
    }
}

/// Where an upload goes: the view that assigned it to this node, and the draft that its bytes are written to.
pub struct Place<'n> {
    /// What the node knew when it took the upload.
    pub view: Arc<View>,
    /// Vanishes if the upload is not stored.
    pub draft: Draft<'n>,
}

/// Receives the body, seals it and stores it under `id`.
pub fn receive(
    node: &Node,
    connection: &mut Connection,
    body: &mut Body,
    id: &ImageId,
    put: &Put,
    place: Place<'_>,
) -> Result<Receipt, Failure> {
    let Place { view, draft } = place;
    let header = Header::new(random()?);
    let cipher = SegmentCipher::new(node.keyset.primary(), &header, &id.associated_data());
    let mut sealing = Sealing::new(node, cipher, draft);
    let mut intake = Intake::new(node, connection, body, put);
    let mut index = 0;
    loop {
        let mut segment = intake.segment(index, &mut sealing)?;
        if index == 0 {
            segment.set_header(&header.encode());
        }
        let last = intake.is_done();
        sealing.begin(index, last, segment);
        if last {
            break;
        }
        sealing.write_until(SEALING_AT_ONCE - 1)?;
        index += 1;
    }
    intake.verify(put.digest)?;
    sealing.write_until(0)?;
    let bytes = intake.bytes;
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
    let outcome = sealing.draft.commit(id, replace).map_err(|e| not_stored(&e))?;
    Ok(Receipt {
        user: id.user().to_owned(),
        name: id.name().to_owned(),
        bytes,
        sealed_bytes: crate::seal::sealed_bytes(bytes),
        node: node.id.0,
        term: view.term,
        alive: view.roster.clone(),
        etag: super::download::etag(&header),
        durability: node.store.durability().to_string(),
        replaced: outcome == Outcome::Replaced,
    })
}

#[allow(
    clippy::disallowed_methods,
    reason = "the edge draws the random bytes that sealing takes as an argument"
)]
fn random() -> Result<[u8; RANDOM_BYTES], Failure> {
    let mut bytes = [0; RANDOM_BYTES];
    getrandom::fill(&mut bytes)
        .map_err(|e| Failure::Refused(Answer::text(500, format_args!("No random numbers: {e}"))))?;
    Ok(bytes)
}

/// The receiving half: bytes from the wire into segments, past the checks.
struct Intake<'u> {
    node: &'u Node,
    connection: &'u mut Connection,
    body: &'u mut Body,
    check: Check,
    digest: Option<Sha256>,
    pace: Pace,
    /// Bytes of the image so far.
    bytes: u64,
    /// The sender kept a whole segment coming, so the next one may start in a block.
    flows: bool,
}

impl<'u> Intake<'u> {
    fn new(node: &'u Node, connection: &'u mut Connection, body: &'u mut Body, put: &Put) -> Intake<'u> {
        Intake {
            node,
            connection,
            body,
            check: Check::new(node.limits.pixels_max),
            digest: put.digest.map(|_| Sha256::new()),
            pace: Pace::default(),
            bytes: 0,
            flows: false,
        }
    }

    /// Whether the segment that was read last is the last of the image.
    fn is_done(&self) -> bool {
        self.body.is_done()
    }

    fn segment(&mut self, index: u32, sealing: &mut Sealing<'_>) -> Result<Segment, Failure> {
        let mut segment = Segment::new(index);
        if self.may_begin_in_block()
            && let Some(block) = self.node.blocks.try_take()
        {
            segment.move_into(block);
        }
        self.flows = true;
        loop {
            if segment.wants_block() {
                segment.move_into(sealing.block()?);
            }
            let step = if segment.is_full() {
                let (inbox, mut wire) = self.connection.reader(&mut self.pace);
                self.body.skip_to_content(inbox, &mut wire).map(|()| 0)
            } else {
                let (inbox, mut wire) = self.connection.reader(&mut self.pace);
                self.body.read(inbox, &mut wire, segment.unfilled())
            };
            match step {
                Ok(0) => break,
                Ok(count) => self.took(segment.advance(count))?,
                Err(BodyError::Wire(e)) if is_stall(&e) => self.wait(&mut segment, sealing)?,
                Err(e) => return Err(not_received(e)),
            }
        }
        Ok(segment)
    }

    /// Whether no block would be held for bytes that may not come: the sender keeps them coming and there are enough to
    /// be worth a block, or all of them are here.
    fn may_begin_in_block(&self) -> bool {
        match self.body.remaining() {
            None => self.flows,
            Some(left) => self.flows && left >= SEGMENT_BYTES as u64 / 2 || self.connection.has_arrived(left),
        }
    }

    fn took(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.bytes += bytes.len() as u64;
        if self.bytes > self.node.limits.body_bytes_max {
            return Err(Failure::Refused(too_large(self.node.limits.body_bytes_max)));
        }
        self.check.feed(bytes).map_err(not_accepted)?;
        if let Some(digest) = &mut self.digest {
            digest.update(bytes);
        }
        Ok(())
    }

    /// Nothing came for a tick: others get what this upload can do without, and the pace is judged.
    fn wait(&mut self, segment: &mut Segment, sealing: &mut Sealing<'_>) -> Result<(), Failure> {
        self.flows = false;
        sealing.write_until(0)?;
        segment.yield_block(&self.node.blocks);
        if segment.is_revoked() {
            let text = "Too many uploads have stalled, and this one for longest.";
            return Err(Failure::Refused(busy(text)));
        }
        if segment.can_be_reclaimed() {
            // Back in a tick, to see whether somebody needs the memory by then.
            return Ok(());
        }
        self.connection
            .await_input(&mut self.pace)
            .map_err(|e| not_received(BodyError::Wire(e)))
    }

    fn verify(&mut self, expected: Option<[u8; 32]>) -> Result<(), Failure> {
        self.check.finish().map_err(not_accepted)?;
        let found = self
            .digest
            .take()
            .map(|digest| <[u8; 32]>::from(digest.finalize()));
        if found != expected {
            let text = "The image does not have the Content-Digest that came with it; nothing was kept.";
            return Err(Failure::Refused(Answer::text(400, text)));
        }
        Ok(())
    }
}

/// The sealing half: segments through the rayon pool into the draft.
struct Sealing<'n> {
    node: &'n Node,
    cipher: Arc<SegmentCipher>,
    draft: Draft<'n>,
    sealed: Arc<Mailbox<(u32, Segment)>>,
    in_flight: usize,
}

impl<'n> Sealing<'n> {
    fn new(node: &'n Node, cipher: SegmentCipher, draft: Draft<'n>) -> Sealing<'n> {
        Sealing {
            node,
            cipher: Arc::new(cipher),
            draft,
            sealed: Arc::default(),
            in_flight: 0,
        }
    }

    fn begin(&mut self, index: u32, last: bool, segment: Segment) {
        self.in_flight += 1;
        self.node.pool.seal(Job {
            cipher: Arc::clone(&self.cipher),
            index,
            last,
            segment,
            done: Arc::clone(&self.sealed),
        });
    }

    /// Writes sealed segments until at most `in_flight_max` are left.
    fn write_until(&mut self, in_flight_max: usize) -> Result<(), Failure> {
        while self.in_flight > in_flight_max {
            let (index, segment) = self.sealed.take();
            self.in_flight -= 1;
            let offset = u64::from(index) * SEGMENT_BYTES as u64;
            self.draft
                .write(offset, segment.sealed())
                .map_err(|e| not_stored(&e))?;
        }
        Ok(())
    }

    /// A block; if none is free, after giving back those that are held here.
    fn block(&mut self) -> Result<Block, Failure> {
        if let Some(block) = self.node.blocks.try_take() {
            return Ok(block);
        }
        self.write_until(0)?;
        Ok(self.node.blocks.take())
    }
}

/// 413, with the limit.
pub fn too_large(limit: u64) -> Answer {
    Answer::text(
        413,
        format_args!("An image has at most {limit} bytes here (--body-max)."),
    )
}

fn not_received(error: BodyError) -> Failure {
    match error {
        BodyError::Malformed(why) => {
            Failure::Refused(Answer::text(400, format_args!("Malformed body: {why}.")))
        }
        BodyError::Ended => Failure::Lost("the connection ended before the image did".to_owned()),
        BodyError::Wire(e) if is_too_slow(&e) => {
            Failure::Refused(Answer::text(408, "The upload is slower than 1 kB/s."))
        }
        BodyError::Wire(e) => Failure::Lost(e.to_string()),
    }
}

fn not_accepted(refusal: Refusal) -> Failure {
    let status = match refusal {
        Refusal::NotPng => 415,
        Refusal::Broken(_) => 422,
        Refusal::TooManyPixels { .. } => 413,
    };
    Failure::Refused(Answer::text(status, format_args!("{refusal}; nothing was kept.")))
}

fn not_stored(error: &store::Error) -> Failure {
    Failure::Refused(super::store_answer(error))
}
