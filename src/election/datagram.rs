//! The datagram: sender, receiver, incarnation, sequence number, echo, message, MAC.
//!
//! ```text
//!   0  magic "pxs" and version 2      4
//!   4  cluster                        8   derived from the key: tells another cluster from a forger
//!  12  sender                         4
//!  16  receiver                       4   a datagram to one node cannot be replayed to another
//!  20  incarnation of the sender      8   grows with each start of the node
//!  28  sequence                       8   strictly rising within the incarnation
//!  36  echo: receiver's incarnation   8   of the newest datagram that the sender got from the receiver
//!  44  echo: receiver's sequence      8
//!  52  facts: clock of the sender     8   see `lease`
//!  60  facts: reserve                 8
//!  68  facts: wall clock              8   milliseconds since 1970
//!  76  facts: images folder           8
//!  84  facts: clean                   1   0 or 1
//!  85  length of what follows         2
//!  87  stance and message             see `message`
//!   …  HMAC-SHA256 of all before     32
//! ```
//!
//! A sequence number is the sender's clock in microseconds since its start, or the last number plus one, whichever is
//! greater. A node that gets its own number back as an echo knows from its own clock how old the echo is, and that the
//! sender was alive and heard it after that moment. A replayed recording cannot echo a recent number, neither in this
//! incarnation of the receiver nor in the next; nor can a peer that we hear but that does not hear us.
//!
//! Checks one datagram by itself; the election compares it with earlier ones. Holds no clock.

use hmac::{Hmac, KeyInit, Mac};
use serde::Serialize;
use sha2::Sha256;

use super::message::{self, Message, Stance};
use crate::lease::Facts;
use crate::members::NODES_MAX;
use crate::roster::NodeId;
use crate::version::Time;

/// The longest datagram that is accepted: header, longest stance, longest heartbeat and tag.
pub const DATAGRAM_BYTES_MAX: usize = HEADER_BYTES + (20 + 4 * NODES_MAX) + (3 + 6 * NODES_MAX) + TAG_BYTES;

const HEADER_BYTES: usize = 87;
const TAG_BYTES: usize = 32;
const CLUSTER_BYTES: usize = 8;
const MAGIC: [u8; 4] = *b"pxs\x02";

/// The content of a datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// The node that sent it.
    pub sender: NodeId,
    /// The node that it is for.
    pub receiver: NodeId,
    /// Incarnation of the sender, and its sequence number.
    pub stamp: Stamp,
    /// The newest stamp that the sender got from the receiver.
    pub echo: Stamp,
    /// What the sender says about its clock and its images.
    pub facts: Facts,
    /// The sender's role.
    pub stance: Stance,
    /// What it says to the receiver.
    pub message: Message,
}

/// One moment of a node, over all its starts. Ordered by time; all zeros is before the first start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp {
    /// Grows with each start of the node; never 0 for a running node.
    pub incarnation: u64,
    /// Microseconds since that start, strictly rising.
    pub sequence: u64,
}

/// Why a datagram was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// Not one of our datagrams: wrong length, version or form.
    Malformed,
    /// Of another cluster.
    Foreign,
    /// The tag does not fit.
    Forged,
    /// Meant for another node.
    Misdirected,
    /// From a node that is not a member.
    Stranger,
    /// Not newer than an earlier datagram of its sender: replayed, duplicated or reordered.
    Replayed,
    /// Authentic, but without a fresh echo: its sender has not heard us lately. So is the first one after each start.
    Unproven,
}

/// Dropped datagrams, by cause; see [`Rejection`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "each field counts the variant of the same name")]
pub struct Rejections {
    pub malformed: u64,
    pub foreign: u64,
    pub forged: u64,
    pub misdirected: u64,
    pub stranger: u64,
    pub replayed: u64,
    pub unproven: u64,
}

impl Rejections {
    pub(super) fn count(&mut self, rejection: Rejection) {
        let counter = match rejection {
            Rejection::Malformed => &mut self.malformed,
            Rejection::Foreign => &mut self.foreign,
            Rejection::Forged => &mut self.forged,
            Rejection::Misdirected => &mut self.misdirected,
            Rejection::Stranger => &mut self.stranger,
            Rejection::Replayed => &mut self.replayed,
            Rejection::Unproven => &mut self.unproven,
        };
        *counter += 1;
    }
}

/// The shared secret, ready for use. No Debug; the `hmac` crate wipes it on drop.
#[derive(Clone)]
pub struct ClusterKey {
    mac: Hmac<Sha256>,
    cluster: [u8; CLUSTER_BYTES],
}

impl ClusterKey {
    /// From the 32 bytes that all nodes share.
    pub fn new(secret: &[u8; 32]) -> ClusterKey {
        let mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of any length");
        let name = mac
            .clone()
            .chain_update(b"pixseal cluster name")
            .finalize()
            .into_bytes();
        let cluster = *name.first_chunk().expect("a SHA-256 tag has 32 bytes");
        ClusterKey { mac, cluster }
    }

    /// The bytes to send, with their tag.
    pub fn encode(&self, datagram: &Datagram) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(256);
        bytes.extend(MAGIC);
        bytes.extend(self.cluster);
        bytes.extend(datagram.sender.0.to_be_bytes());
        bytes.extend(datagram.receiver.0.to_be_bytes());
        for stamp in [datagram.stamp, datagram.echo] {
            bytes.extend(stamp.incarnation.to_be_bytes());
            bytes.extend(stamp.sequence.to_be_bytes());
        }
        let facts = &datagram.facts;
        for number in [facts.clock.0, facts.reserve.0, facts.wall_ms, facts.folder] {
            bytes.extend(number.to_be_bytes());
        }
        bytes.push(u8::from(facts.is_clean));
        bytes.extend([0, 0]);
        message::encode(&datagram.stance, &datagram.message, &mut bytes);
        let body = u16::try_from(bytes.len() - HEADER_BYTES).expect("no body comes near 64 KiB");
        bytes[HEADER_BYTES - 2..HEADER_BYTES].copy_from_slice(&body.to_be_bytes());
        let tag = self.mac.clone().chain_update(&bytes).finalize().into_bytes();
        bytes.extend(tag);
        bytes
    }

    /// The datagram in `bytes`, if a holder of the key wrote them. Checks the length first, then the tag in constant
    /// time, and reads the content last.
    pub fn decode(&self, bytes: &[u8]) -> Result<Datagram, Rejection> {
        let (signed, tag) = bytes
            .split_last_chunk::<TAG_BYTES>()
            .ok_or(Rejection::Malformed)?;
        let (header, body) = signed
            .split_first_chunk::<HEADER_BYTES>()
            .ok_or(Rejection::Malformed)?;
        let length = usize::from(u16::from_be_bytes(field(header, HEADER_BYTES - 2)));
        if bytes.len() > DATAGRAM_BYTES_MAX || body.len() != length || !header.starts_with(&MAGIC) {
            return Err(Rejection::Malformed);
        }
        if field(header, 4) != self.cluster {
            return Err(Rejection::Foreign);
        }
        let mac = self.mac.clone().chain_update(signed);
        mac.verify_slice(tag).map_err(|_| Rejection::Forged)?;
        let sender = NodeId(u32::from_be_bytes(field(header, 12)));
        let (stance, message) = message::decode(sender, body).ok_or(Rejection::Malformed)?;
        Ok(Datagram {
            sender,
            receiver: NodeId(u32::from_be_bytes(field(header, 16))),
            stamp: stamp(header, 20),
            echo: stamp(header, 36),
            facts: facts(header).ok_or(Rejection::Malformed)?,
            stance,
            message,
        })
    }
}

fn facts(header: &[u8; HEADER_BYTES]) -> Option<Facts> {
    let number = |at| u64::from_be_bytes(field(header, at));
    Some(Facts {
        clock: Time(number(52)),
        reserve: Time(number(60)),
        wall_ms: number(68),
        folder: number(76),
        is_clean: match header[84] {
            0 => false,
            1 => true,
            _ => return None,
        },
    })
}

fn stamp(header: &[u8; HEADER_BYTES], at: usize) -> Stamp {
    Stamp {
        incarnation: u64::from_be_bytes(field(header, at)),
        sequence: u64::from_be_bytes(field(header, at + 8)),
    }
}

fn field<const N: usize>(header: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    *header[at..]
        .first_chunk()
        .expect("every field lies inside the header")
}
