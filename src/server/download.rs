//! Sending an image: read a segment, verify it, decrypt it, send it.
//!
//! Nothing leaves that was not verified. If a later segment turns out to be damaged, the connection is cut before
//! the announced length is reached, so that no client takes the part for the whole. A range is answered from the
//! segments it touches, after the last one was verified too: a file that lost its end would go unseen otherwise.

use std::ops::Range;

use httpdate::HttpDate;

use super::Node;
use super::blocks::Block;
use super::connection::{Connection, Pace, is_stall};
use super::counters::Counters;
use super::request::Get;
use crate::http::answer::Answer;
use crate::image_id::ImageId;
use crate::seal::{self, HEADER_BYTES, Header, SEGMENT_BYTES, SegmentCipher, TAG_BYTES};
use crate::store::Sealed;

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
    let mut source = match Source::open(node, id, sealed) {
        Ok(source) => source,
        Err(answer) => return Sent::Answer(answer),
    };
    let whole = if get.sealed {
        sealed.bytes()
    } else {
        source.plain_bytes
    };
    let etag = if get.sealed {
        source.etag.replacen('"', "\"sealed-", 1)
    } else {
        source.etag.clone()
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
    let outcome = if get.sealed {
        source.send_sealed(connection, range, &head, reply)
    } else {
        source.send_plain(connection, range, &head, reply)
    };
    match outcome {
        Ok(()) => Sent::Whole,
        Err(Trouble::BeforeHead(answer)) => Sent::Answer(answer),
        Err(Trouble::AfterHead) => Sent::Cut,
    }
}

/// How the answer goes out.
pub struct Reply {
    /// The content is left out.
    pub head_only: bool,
    /// The connection will be used again.
    pub keep_alive: bool,
}

enum Trouble {
    BeforeHead(Answer),
    AfterHead,
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

/// A sealed file that is being opened.
struct Source<'n> {
    node: &'n Node,
    id: &'n ImageId,
    sealed: &'n Sealed,
    header: Header,
    etag: String,
    plain_bytes: u64,
    cipher: Option<SegmentCipher>,
}

impl<'n> Source<'n> {
    fn open(node: &'n Node, id: &'n ImageId, sealed: &'n Sealed) -> Result<Source<'n>, Answer> {
        let mut header = [0; HEADER_BYTES];
        sealed.read(0, &mut header).map_err(|_| damaged(node, id))?;
        let header = Header::parse(&header).map_err(|_| damaged(node, id))?;
        let plain_bytes = seal::plain_bytes(sealed.bytes()).ok_or_else(|| damaged(node, id))?;
        Ok(Source {
            node,
            id,
            sealed,
            header,
            etag: etag(&header),
            plain_bytes,
            cipher: None,
        })
    }

    fn send_plain(
        &mut self,
        connection: &Connection,
        range: Range<u64>,
        head: &Answer,
        reply: &Reply,
    ) -> Result<(), Trouble> {
        let last = seal::segments(self.plain_bytes) - 1;
        let (first_touched, _) = seal::position(range.start);
        let (last_touched, _) = seal::position(range.end.saturating_sub(1).max(range.start));
        if last_touched != last && range != (0..self.plain_bytes) {
            self.segment(last).map_err(Trouble::BeforeHead)?;
        }
        let mut outgoing = Outgoing::new(connection);
        for index in first_touched..=last_touched {
            let start = if index == 0 { 0 } else { segment_start(index) };
            let end = start + seal::segment_plain_bytes(index) as u64;
            let from = usize::try_from(range.start.max(start) - start).expect("within a segment");
            let to = usize::try_from(range.end.min(end) - start).expect("within a segment");
            let mut opened = match (self.segment(index), index == first_touched) {
                (Ok(opened), _) => opened,
                (Err(answer), true) => return Err(Trouble::BeforeHead(answer)),
                (Err(_), false) => return Err(Trouble::AfterHead),
            };
            if index == first_touched {
                outgoing.head(head, reply)?;
            }
            let mut at = from;
            while let Some(stalled_at) = outgoing.send(&self.node.blocks, opened.text(), at, to)? {
                // Others need the block, and this client takes its time: verify again when it is ready.
                drop(opened);
                outgoing.await_room()?;
                opened = self.segment(index).map_err(|_| Trouble::AfterHead)?;
                at = stalled_at;
            }
        }
        Counters::add(&self.node.counters.images_sent, 1);
        Counters::add(&self.node.counters.bytes_sent, range.end - range.start);
        Ok(())
    }

    /// The file as stored, unverified: whoever has the keyset verifies it.
    fn send_sealed(
        &self,
        connection: &Connection,
        range: Range<u64>,
        head: &Answer,
        reply: &Reply,
    ) -> Result<(), Trouble> {
        let mut outgoing = Outgoing::new(connection);
        outgoing.head(head, reply)?;
        let mut at = range.start;
        while at < range.end {
            let count =
                usize::try_from((range.end - at).min(SEGMENT_BYTES as u64)).expect("at most a segment");
            let mut block = self.node.blocks.take();
            self.sealed
                .read(at, &mut block.bytes_mut()[..count])
                .map_err(|_| Trouble::AfterHead)?;
            match outgoing.send(&self.node.blocks, &block.bytes()[..count], 0, count)? {
                None => at += count as u64,
                Some(stalled_at) => {
                    drop(block);
                    outgoing.await_room()?;
                    at += stalled_at as u64;
                }
            }
        }
        Ok(())
    }

    /// Segment `index`, verified and decrypted.
    fn segment(&mut self, index: u32) -> Result<Opened, Answer> {
        let place = seal::segment_range(index, self.sealed.bytes());
        let last = place.end == self.sealed.bytes();
        let bytes = usize::try_from(place.end - place.start).expect("a segment fits memory");
        let mut block = self.node.blocks.take();
        let buf = &mut block.bytes_mut()[..bytes];
        self.sealed
            .read(place.start, buf)
            .map_err(|_| damaged(self.node, self.id))?;
        // In the pool, as sealing is: if every worker that holds a block computed at once, whatever else the node does
        // would wait for a core behind all of them.
        let cipher = &mut self.cipher;
        let (keys, header, data) = (
            self.node.keyset.enabled(),
            &self.header,
            self.id.associated_data(),
        );
        let opened = self.node.pool.install(|| match cipher {
            Some(cipher) => cipher.open(index, last, buf),
            None => {
                SegmentCipher::find(keys, header, &data, index, last, buf).map(|found| *cipher = Some(found))
            }
        });
        opened.map_err(|_| damaged(self.node, self.id))?;
        Ok(Opened {
            block,
            bytes: bytes - TAG_BYTES,
        })
    }
}

/// Where the plaintext of segment `index` (not 0) begins.
fn segment_start(index: u32) -> u64 {
    let others = u64::from(index - 1) * seal::segment_plain_bytes(1) as u64;
    seal::segment_plain_bytes(0) as u64 + others
}

struct Opened {
    block: Block,
    bytes: usize,
}

impl Opened {
    fn text(&self) -> &[u8] {
        &self.block.bytes()[..self.bytes]
    }
}

/// The sending half: bytes to a client that may be slow.
struct Outgoing<'c> {
    connection: &'c Connection,
    pace: Pace,
}

impl<'c> Outgoing<'c> {
    fn new(connection: &'c Connection) -> Outgoing<'c> {
        Outgoing {
            connection,
            pace: Pace::default(),
        }
    }

    fn head(&mut self, head: &Answer, reply: &Reply) -> Result<(), Trouble> {
        let mut bytes = Vec::new();
        super::dated(head.clone()).encode(&mut bytes, reply.keep_alive, false);
        self.connection.write_all(&bytes).map_err(|_| Trouble::AfterHead)
    }

    /// Sends `text[at..to]`. Returns where it stopped if the client stalls while others wait for a block.
    fn send(
        &mut self,
        blocks: &super::blocks::Blocks,
        text: &[u8],
        mut at: usize,
        to: usize,
    ) -> Result<Option<usize>, Trouble> {
        while at < to {
            match self.connection.write_some(&text[at..to], &mut self.pace) {
                Ok(count) => at += count,
                Err(e) if is_stall(&e) && blocks.are_scarce() => return Ok(Some(at)),
                Err(e) if is_stall(&e) => {}
                Err(_) => return Err(Trouble::AfterHead),
            }
        }
        Ok(None)
    }

    fn await_room(&mut self) -> Result<(), Trouble> {
        self.connection
            .await_room(&mut self.pace)
            .map_err(|_| Trouble::AfterHead)
    }
}

fn damaged(node: &Node, id: &ImageId) -> Answer {
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

    #[test]
    fn segments_begin_where_positions_say() {
        for index in 1..5 {
            assert_eq!(seal::position(segment_start(index)), (index, 0));
        }
    }
}
