//! Sending an image: read a segment, verify it, decrypt it, send it.
//!
//! Nothing leaves that was not verified. If a later segment turns out to be damaged, the connection is cut before
//! the announced length is reached, so that no client takes the part for the whole. A range is answered from the
//! segments it touches, after the last one was verified too: a file that lost its end would go unseen otherwise.

use std::ops::{ControlFlow, Range};

use httpdate::HttpDate;

use super::Node;
use super::connection::{Connection, Pace, is_stall};
use super::counters::Counters;
use super::opening::{Fault, Opened, Source, Stored};
use super::request::Get;
use crate::http::answer::Answer;
use crate::image_id::ImageId;
use crate::seal::{self, Header, SEGMENT_BYTES};
use crate::sealing::blocks::Blocks;
use crate::store::sealed::Sealed;

/// What became of a download.
pub enum Sent {
    /// An answer that has no image in it.
    Answer(Answer),
    /// The head went out and all of the content followed.
    Whole,
    /// The head went out, and then something failed: the connection must be closed.
    Cut,
}

/// The entity tag of the file with this header. Every sealing has a salt of its own, so the tag changes with every
/// upload, also with one of the same bytes.
pub fn etag(header: &Header) -> String {
    let salt = &header.encode()[1..=16];
    let hex: String = salt.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("\"{hex}\"")
}

/// Answers a GET or HEAD for an image that this node holds.
pub fn send(
    node: &Node,
    connection: &Connection,
    id: &ImageId,
    get: &Get,
    sealed: &Sealed,
    reply: &Reply,
) -> Sent {
    let source = match Source::new(node, id, sealed) {
        Ok(source) => source,
        Err(fault) => return Sent::Answer(not_opened(node, id, &fault)),
    };
    let (whole, etag) = if get.sealed {
        let etag = etag(source.header()).replacen('"', "\"sealed-", 1);
        (sealed.bytes(), etag)
    } else {
        (source.plain_bytes(), etag(source.header()))
    };
    let described = |status| {
        describe(status, get.sealed)
            .field("ETag", &etag)
            .field("Last-Modified", HttpDate::from(sealed.modified()))
    };
    if get
        .if_none_match
        .as_deref()
        .is_some_and(|tags| lists_tag(tags, &etag))
    {
        return Sent::Answer(described(304));
    }
    // RFC 9110 section 14.2: a range is defined for GET, and HEAD tells of the whole.
    let wanted = get
        .range
        .as_deref()
        .filter(|_| !reply.head_only && get.if_range.as_deref().is_none_or(|tag| tag == etag));
    let (status, range) = match wanted.map_or(Asked::Whole, |range| parse_range(range, whole)) {
        Asked::Whole => (described(200), 0..whole),
        Asked::Part(range) => {
            let part = format!("bytes {}-{}/{whole}", range.start, range.end - 1);
            (described(206).field("Content-Range", part), range)
        }
        Asked::Nothing => {
            let text = format_args!("The image has {whole} bytes.");
            return Sent::Answer(
                Answer::text(416, text).field("Content-Range", format_args!("bytes */{whole}")),
            );
        }
    };
    let head = status.announcing(range.end - range.start);
    if reply.head_only {
        return Sent::Answer(head);
    }
    let mut bytes = Vec::new();
    super::dated(head).encode(&mut bytes, reply.keep_alive, false);
    let mut outgoing = Outgoing {
        connection,
        blocks: &node.blocks,
        head: Some(bytes),
        pace: Pace::default(),
    };
    let send = if get.sealed { send_sealed } else { send_plain };
    match send(&source, &mut outgoing, &range) {
        Ok(()) => {
            if !get.sealed {
                Counters::add(&node.counters.images_sent, 1);
                Counters::add(&node.counters.bytes_sent, range.end - range.start);
            }
            Sent::Whole
        }
        Err(Trouble::Gone) => Sent::Cut,
        Err(Trouble::NotOpened(fault)) => {
            let answer = not_opened(node, id, &fault);
            if outgoing.head.is_some() {
                Sent::Answer(answer)
            } else {
                Sent::Cut
            }
        }
    }
}

/// How the answer goes out.
pub struct Reply {
    /// The content is left out.
    pub head_only: bool,
    /// The connection will be used again.
    pub keep_alive: bool,
}

/// Why not everything was sent.
enum Trouble {
    /// What should go out does not open.
    NotOpened(Fault),
    /// The client went away, or is too slow.
    Gone,
}

impl From<Fault> for Trouble {
    fn from(fault: Fault) -> Trouble {
        Trouble::NotOpened(fault)
    }
}

fn describe(status: u16, sealed: bool) -> Answer {
    let media_type = if sealed {
        "application/octet-stream"
    } else {
        "image/png"
    };
    // A stored image is somebody's upload: no browser may take it for a page, or run what it may hold.
    Answer::empty(status)
        .field("Content-Type", media_type)
        .field("X-Content-Type-Options", "nosniff")
        .field("Content-Security-Policy", "default-src 'none'; sandbox")
        .field("Cross-Origin-Resource-Policy", "same-origin")
        .field("Cache-Control", "private")
        .field("Accept-Ranges", "bytes")
}

/// RFC 9110 section 13.1.2; weak tags compare equal to strong ones here.
fn lists_tag(tags: &str, etag: &str) -> bool {
    tags.split(',')
        .map(str::trim)
        .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Whole,
    Part(Range<u64>),
    Nothing,
}

/// RFC 9110 section 14.1.2. What is malformed, or asks for several parts, is answered with the whole.
fn parse_range(field: &str, whole: u64) -> Asked {
    let Some((first, last)) = field
        .strip_prefix("bytes=")
        .and_then(|range| range.trim().split_once('-'))
    else {
        return Asked::Whole;
    };
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        // More digits than fit are a number all the same, and a large one.
        digits.then(|| text.parse().unwrap_or(u64::MAX))
    };
    let range = match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => first..last.saturating_add(1).min(whole),
        (Some(first), None) if last.is_empty() => first..whole,
        (None, Some(suffix)) if first.is_empty() => whole.saturating_sub(suffix)..whole,
        _ => return Asked::Whole,
    };
    if range.start < range.end {
        Asked::Part(range)
    } else {
        Asked::Nothing
    }
}

/// Sends `range` of the image. Three things go on at a time:
///
/// ```text
/// worker   send segment i, read segment i+2 │ send segment i+1, read segment i+3 │ …
/// rayon    open segment i+1                 │ open segment i+2                   │ …
/// ```
fn send_plain(source: &Source<'_>, outgoing: &mut Outgoing<'_>, range: &Range<u64>) -> Result<(), Trouble> {
    let end = seal::segments(source.plain_bytes()) - 1;
    let first = seal::segment_at(range.start);
    let last = seal::segment_at(range.end.saturating_sub(1).max(range.start));
    if last != end && *range != (0..source.plain_bytes()) {
        source.segment_and_next(end, end)?;
    }
    let mut ready = source.segment_and_next(first, last)?;
    outgoing.head()?;
    let mut at = range.start;
    while let Some(stalled_at) = send_from(source, outgoing, ready, at..range.end, last)? {
        // Others need the blocks, and this client takes its time: verify again when it is ready.
        outgoing.await_room()?;
        at = stalled_at;
        ready = source.segment_and_next(seal::segment_at(at), last)?;
    }
    Ok(())
}

/// Sends `range`, which begins in the segment that is `ready` and ends in segment `last`. Returns where it stopped if
/// the client stalls while others wait for a block; by then it has given its own back.
fn send_from(
    source: &Source<'_>,
    outgoing: &mut Outgoing<'_>,
    (mut front, mut back): (Opened, Option<Stored>),
    range: Range<u64>,
    last: u32,
) -> Result<Option<u64>, Trouble> {
    loop {
        let unread = front.index() + 1 + u32::from(back.is_some());
        let send_and_read = || {
            if let ControlFlow::Break(stalled_at) = outgoing.send_part(front.text(), front.place(), &range)? {
                return Ok(ControlFlow::Break(stalled_at));
            }
            let block = front.into_block();
            let read = (unread <= last).then(|| source.read(unread, block)).transpose()?;
            Ok::<_, Trouble>(ControlFlow::Continue(read))
        };
        let (opened, sent) = match back {
            Some(back) => {
                let (opened, sent) = source.open_beside(back, send_and_read);
                (Some(opened), sent?)
            }
            None => (None, send_and_read()?),
        };
        let read = match sent {
            ControlFlow::Continue(read) => read,
            ControlFlow::Break(stalled_at) => return Ok(Some(stalled_at)),
        };
        (front, back) = match (opened.transpose()?, read) {
            (Some(opened), read) => (opened, read),
            (None, Some(read)) => source.open_and_read_next(read, last)?,
            (None, None) => return Ok(None),
        };
    }
}

/// Sends `range` of the file as stored, unverified: whoever has the keyset verifies it.
fn send_sealed(source: &Source<'_>, outgoing: &mut Outgoing<'_>, range: &Range<u64>) -> Result<(), Trouble> {
    outgoing.head()?;
    let mut at = range.start;
    while at < range.end {
        let index = u32::try_from(at / SEGMENT_BYTES as u64).expect("segments are counted in 32 bits");
        let start = u64::from(index) * SEGMENT_BYTES as u64;
        let stored = source.read(index, outgoing.blocks.take())?;
        at = match outgoing.send_part(stored.bytes(), start, &(at..range.end))? {
            ControlFlow::Continue(()) => start + stored.bytes().len() as u64,
            ControlFlow::Break(stalled_at) => {
                drop(stored);
                outgoing.await_room()?;
                stalled_at
            }
        };
    }
    Ok(())
}

/// The sending half: bytes to a client that may be slow.
struct Outgoing<'c> {
    connection: &'c Connection,
    blocks: &'c Blocks,
    /// Not yet sent.
    head: Option<Vec<u8>>,
    pace: Pace,
}

impl Outgoing<'_> {
    fn head(&mut self) -> Result<(), Trouble> {
        let head = self.head.take().expect("a head goes out once");
        self.connection.write_all(&head).map_err(|_| Trouble::Gone)
    }

    /// Sends what of `bytes`, which lie at `place` in the whole, is in `range`. Breaks off where it stopped, as a place
    /// in the whole, if the client stalls while others wait for a block.
    fn send_part(
        &mut self,
        bytes: &[u8],
        place: u64,
        range: &Range<u64>,
    ) -> Result<ControlFlow<u64>, Trouble> {
        let within =
            |at: u64| usize::try_from(at.saturating_sub(place)).map_or(bytes.len(), |at| at.min(bytes.len()));
        let (mut at, to) = (within(range.start), within(range.end));
        while at < to {
            match self.connection.write_some(&bytes[at..to], &mut self.pace) {
                Ok(count) => at += count,
                Err(e) if is_stall(&e) && self.blocks.are_scarce() => {
                    return Ok(ControlFlow::Break(place + at as u64));
                }
                Err(e) if is_stall(&e) => {}
                Err(_) => return Err(Trouble::Gone),
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn await_room(&mut self) -> Result<(), Trouble> {
        self.connection
            .await_room(&mut self.pace)
            .map_err(|_| Trouble::Gone)
    }
}

fn not_opened(node: &Node, id: &ImageId, fault: &Fault) -> Answer {
    match fault {
        Fault::Unreadable(error) => super::store_answer(error),
        Fault::Damaged => {
            Counters::add(&node.counters.images_damaged, 1);
            log::error!(
                "Node {}: the sealed file of {id} does not open: damaged, or sealed with another key",
                node.id
            );
            Answer::text(
                500,
                "The stored image is damaged, or was sealed with a key that this node does not have.",
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_the_rfc_says() {
        for (field, asked) in [
            ("bytes=0-0", Asked::Part(0..1)),
            ("bytes=0-", Asked::Part(0..10)),
            ("bytes=9-", Asked::Part(9..10)),
            ("bytes=2-100", Asked::Part(2..10)),
            ("bytes=-3", Asked::Part(7..10)),
            ("bytes=-100", Asked::Part(0..10)),
            ("bytes=5-99999999999999999999999", Asked::Part(5..10)),
            ("bytes=10-", Asked::Nothing),
            ("bytes=10-12", Asked::Nothing),
            ("bytes=-0", Asked::Nothing),
            ("bytes=99999999999999999999999-", Asked::Nothing),
            ("bytes=5-2", Asked::Whole),
            ("bytes=-", Asked::Whole),
            ("bytes=a-b", Asked::Whole),
            ("bytes=0-1,3-4", Asked::Whole),
            ("pages=1-2", Asked::Whole),
            ("", Asked::Whole),
        ] {
            assert_eq!(parse_range(field, 10), asked, "{field}");
        }
    }

    #[test]
    fn entity_tags_match_in_lists() {
        assert!(lists_tag("\"a\", W/\"b\"", "\"b\"") && lists_tag("*", "\"b\""));
        assert!(!lists_tag("\"a\"", "\"b\"") && !lists_tag("", "\"b\""));
    }
}
