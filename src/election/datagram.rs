//! The datagram: who says something to whom, in which life, as the how-manieth, and the proof of it.
//!
//! ```text
//!   0  magic "pxs" and version 1      4
//!   4  cluster                        8   names the key without telling it; other clusters are not forgers
//!  12  sender                         4
//!  16  receiver                       4   what was said to one node cannot be played to another
//!  20  incarnation of the sender      8   grows with each start of the node
//!  28  sequence                       8   strictly rising within the incarnation
//!  36  echo: receiver's incarnation   8   the newest datagram that the sender had from the receiver
//!  44  echo: receiver's sequence      8
//!  52  length of what follows         2
//!  54  stance and message             see the message room
//!   …  HMAC-SHA256 of all before     32
//! ```
//!
//! A sequence number is the sender's own clock in microseconds since its start (or one more than the last, if
//! that is more). So an echo tells the node it comes back to how old it is, on that node's own clock, and proves
//! that the sender lived and heard it then: a replayed recording cannot do that, in this life of the receiver or
//! in the next, and neither can a peer that we hear but that does not hear us.
//!
//! Checks a datagram for itself only; what came before it is the link's matter. Holds no clock.

use hmac::{Hmac, KeyInit, Mac};
use serde::Serialize;
use sha2::Sha256;

use super::message::{self, Message, Stance};
use crate::members::NODES_MAX;
use crate::roster::NodeId;

/// Nothing longer is read from the network: header, the longest stance, the longest heartbeat, and the tag.
pub const DATAGRAM_BYTES_MAX: usize = HEADER_BYTES + (12 + 4 * NODES_MAX) + (3 + 6 * NODES_MAX) + TAG_BYTES;

const HEADER_BYTES: usize = 54;
const TAG_BYTES: usize = 32;
const CLUSTER_BYTES: usize = 8;
const MAGIC: [u8; 4] = *b"pxs\x01";

/// Everything a datagram says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// Who says it.
    pub sender: NodeId,
    /// To whom.
    pub receiver: NodeId,
    /// Which life of the sender, and which datagram of it.
    pub stamp: Stamp,
    /// The newest stamp the sender had from the receiver.
    pub echo: Stamp,
    /// Where the sender stands.
    pub stance: Stance,
    /// What it says.
    pub message: Message,
}

/// One moment in the lives of a node. Ordered by time; all zeros is before every life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp {
    /// Grows with each start of the node; never 0 for a node that lives.
    pub incarnation: u64,
    /// Microseconds since that start, strictly rising.
    pub sequence: u64,
}

/// Why a datagram was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// Not one of our datagrams: wrong length, version or form.
    Malformed,
    /// Another cluster's.
    Foreign,
    /// The tag does not fit.
    Forged,
    /// Meant for another node.
    Misdirected,
    /// From a node that is not a member.
    Stranger,
    /// Not newer than what its sender said before: a replay, a duplicate, or overtaken on the way.
    Replayed,
    /// Authentic, but without a fresh echo: its sender has not heard us lately. The first one of each life is.
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
    /// Of the 32 bytes that all nodes share.
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

    /// The bytes to send.
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
        bytes.extend([0, 0]);
        message::encode(&datagram.stance, &datagram.message, &mut bytes);
        let body = u16::try_from(bytes.len() - HEADER_BYTES).expect("no body comes near 64 KiB");
        bytes[HEADER_BYTES - 2..HEADER_BYTES].copy_from_slice(&body.to_be_bytes());
        let tag = self.mac.clone().chain_update(&bytes).finalize().into_bytes();
        bytes.extend(tag);
        bytes
    }

    /// What `bytes` say, if they come from a holder of the key: first the length, then the tag in constant time,
    /// and only then anything inside.
    pub fn decode(&self, bytes: &[u8]) -> Result<Datagram, Rejection> {
        let (signed, tag) = bytes
            .split_last_chunk::<TAG_BYTES>()
            .ok_or(Rejection::Malformed)?;
        let (header, body) = signed
            .split_first_chunk::<HEADER_BYTES>()
            .ok_or(Rejection::Malformed)?;
        let length = usize::from(u16::from_be_bytes(field(header, 52)));
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
            stance,
            message,
        })
    }
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
