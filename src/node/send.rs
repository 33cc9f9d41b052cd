//! Sending an image: read a segment, verify it, decrypt it, send it.
//!
//! Nothing leaves that was not verified. If a later segment turns out to be damaged, the connection must be cut before
//! the announced length is reached, so that no client takes the part for the whole. A range is answered from the
//! segments it touches, after the last one was verified too: a file that lost its end would go unseen otherwise.

use std::io;
use std::ops::{ControlFlow, Range};

use super::counters::Counters;
use super::error::Error;
use super::opening::Source;
use super::segments::Segments;
use super::shared::Node;
use crate::image_id::ImageId;
use crate::seal::{self, SEGMENT_BYTES};
use crate::sealing::blocks::{Block, Blocks};
use crate::socket::pace::Pace;
use crate::socket::{Socket, is_stall};
use crate::store::sealed::Sealed;

/// In which form an image is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Verified and decrypted.
    Image,
    /// The file as stored, unverified: whoever has the keyset verifies it.
    Sealed,
}

/// Not everything was sent.
pub(crate) struct Unsent {
    pub(crate) error: Error,
    /// The head went out: no other answer can follow.
    pub(crate) begun: bool,
}

/// Opens a stored image.
pub(crate) fn open<'n>(node: &'n Node, id: &ImageId, sealed: Sealed) -> Result<Source<'n>, Error> {
    Source::new(node, id, sealed).inspect_err(|e| note_damage(node, id, e))
}

/// Sends `head` and then `range` of the image. The head is held back until the first segment was verified.
pub(crate) fn send(
    node: &Node,
    socket: &mut Socket,
    (id, source): (&ImageId, &Source<'_>),
    form: Form,
    head: Vec<u8>,
    range: &Range<u64>,
) -> Result<(), Unsent> {
    let mut outgoing = Outgoing {
        socket,
        blocks: &node.blocks,
        head: Some(head),
        pace: Pace::default(),
    };
    let outcome = match form {
        Form::Image => send_plain(source, &mut outgoing, range),
        Form::Sealed => send_sealed(source, &mut outgoing, range),
    };
    if outcome.is_ok() && form == Form::Image {
        Counters::add(&node.counters.images_sent, 1);
        Counters::add(&node.counters.bytes_sent, range.end - range.start);
    }
    outcome.map_err(|error| {
        note_damage(node, id, &error);
        Unsent {
            error,
            begun: outgoing.head.is_none(),
        }
    })
}

fn note_damage(node: &Node, id: &ImageId, error: &Error) {
    if matches!(error, Error::Damaged) {
        Counters::add(&node.counters.images_damaged, 1);
        log::error!(
            "Node {}: the sealed file of {id} does not open: damaged, or sealed with another key",
            node.id
        );
    }
}

/// Sends `range` of the image. Three things go on at a time, if the pool can spare a thread that reads; otherwise the worker
/// reads before it sends.
///
/// ```text
/// worker   send segment i   │ send segment i+1 │ …
/// pool     open segment i+1 │ open segment i+2 │ …
/// pool     read segment i+2 │ read segment i+3 │ …
/// ```
fn send_plain(source: &Source<'_>, outgoing: &mut Outgoing<'_>, range: &Range<u64>) -> Result<(), Error> {
    let client = outgoing.socket.client();
    let count = seal::segments(source.plain_bytes());
    let end = 1 + seal::segment_at(range.end.saturating_sub(1).max(range.start));
    if end != count && *range != (0..source.plain_bytes()) {
        Segments::new(source, count - 1..count).next(client)?;
    }
    let mut at = range.start;
    loop {
        let mut segments = Segments::new(source, seal::segment_at(at)..end);
        let mut stalled_at = None;
        while let Some(segment) = segments.next(client)? {
            outgoing.head()?;
            let part = outgoing.send_part(
                segment.block(),
                segment.text(),
                segment.offset(),
                &(at..range.end),
            )?;
            if let ControlFlow::Break(offset) = part {
                stalled_at = Some(offset);
                break;
            }
        }
        let Some(stalled_at) = stalled_at else {
            return Ok(());
        };
        // Others need the blocks, and this client takes its time: verify again when it is ready.
        drop(segments);
        outgoing.await_output()?;
        at = stalled_at;
    }
}

fn send_sealed(source: &Source<'_>, outgoing: &mut Outgoing<'_>, range: &Range<u64>) -> Result<(), Error> {
    outgoing.head()?;
    let mut at = range.start;
    while at < range.end {
        let index = u32::try_from(at / SEGMENT_BYTES as u64).expect("segments are counted in 32 bits");
        let start = u64::from(index) * SEGMENT_BYTES as u64;
        let block = source.block(outgoing.socket.client());
        let stored = source.read(index, block)?;
        at = match outgoing.send_part(stored.block(), stored.bytes(), start, &(at..range.end))? {
            ControlFlow::Continue(()) => start + stored.bytes().len() as u64,
            ControlFlow::Break(stalled_at) => {
                drop(stored);
                outgoing.await_output()?;
                stalled_at
            }
        };
    }
    Ok(())
}

/// The sending half: bytes to a client that may be slow.
struct Outgoing<'c> {
    socket: &'c mut Socket,
    blocks: &'c Blocks,
    /// Not yet sent.
    head: Option<Vec<u8>>,
    pace: Pace,
}

impl Outgoing<'_> {
    /// Sends the head, if it was not sent before.
    fn head(&mut self) -> Result<(), Error> {
        let head = self.head.take().unwrap_or_default();
        self.socket.write_all(&head).map_err(|e| lost(&e))
    }

    /// Sends the part of `bytes` that is in `range`; `bytes` are in `block`, and lie at `offset` in the whole. If the client
    /// stalls or does not get on while others wait for a block, breaks with the offset in the whole where it stopped.
    fn send_part(
        &mut self,
        block: &Block,
        bytes: &[u8],
        offset: u64,
        range: &Range<u64>,
    ) -> Result<ControlFlow<u64>, Error> {
        let within = |at: u64| {
            usize::try_from(at.saturating_sub(offset)).map_or(bytes.len(), |at| at.min(bytes.len()))
        };
        let (mut at, to) = (within(range.start), within(range.end));
        while at < to {
            let written = if self.blocks.are_scarce() {
                self.socket.write_briefly(&bytes[at..to], &mut self.pace)
            } else {
                self.socket.write_some(&bytes[at..to], &mut self.pace)
            };
            match written {
                Ok(count) => {
                    at += count;
                    if at < to && block.is_overdue() {
                        return Ok(ControlFlow::Break(offset + at as u64));
                    }
                }
                Err(e) if is_stall(&e) && self.blocks.are_scarce() => {
                    return Ok(ControlFlow::Break(offset + at as u64));
                }
                Err(e) if is_stall(&e) => {}
                Err(e) => return Err(lost(&e)),
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn await_output(&mut self) -> Result<(), Error> {
        self.socket.await_output(&mut self.pace).map_err(|e| lost(&e))
    }
}

fn lost(error: &io::Error) -> Error {
    Error::Lost(error.to_string())
}
