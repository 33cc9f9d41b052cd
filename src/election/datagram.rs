//! The datagram: sender, receiver, incarnation, sequence number, echo, message, MAC.
//!
//! ```text
//!   0  magic "pxs" and version 4      4
//!   4  cluster                        8   derived from the key: tells another cluster from a forger
//!  12  sender                         4
//!  16  receiver                       4   a datagram to one node cannot be replayed to another
//!  20  incarnation of the sender      8   grows with each start of the node
//!  28  sequence                       8   strictly rising within the incarnation
//!  36  echo: receiver's incarnation   8   of the newest datagram that the sender got from the receiver
//!  44  echo: receiver's sequence      8
//!  52  facts: clock of the sender     8   see `lease`
//!  60  facts: reserve                 8
//!  68  facts: stored                  8
//!  76  facts: wall clock              8   milliseconds since 1970
//!  84  facts: images folder           8
//!  92  facts: primary key             8   fingerprint of the key that the sender seals with
//! 100  facts: condition               1   see `condition`
//! 101  link: list in force            8   digest of the member list that the sender goes by; see `lists`
//! 109  link: list wanted              8
//! 117  link: health timeout           4   in milliseconds
//! 121  link: port                     2   where the sender listens
//! 123  flags                          1   1: clean · 2: the receiver is in the sender's list · 4: the sender is apart
//! 124  length of what follows         2
//! 126  stance and message             see `message`
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
use crate::condition::Condition;
use crate::lease::facts::Facts;
use crate::members::NODES_MAX;
use crate::roster::NodeId;
use crate::version::Time;

/// The longest datagram that is accepted: header, longest stance, longest heartbeat and tag.
pub const DATAGRAM_BYTES_MAX: usize = HEADER_BYTES + (20 + 5 * NODES_MAX) + (3 + 6 * NODES_MAX) + TAG_BYTES;

/// What an Ethernet packet holds behind the heads of IPv6 and UDP. A longer datagram would be lost as soon as one of its
/// parts is.
const PACKET_BYTES_MAX: usize = 1452;
const _: () = assert!(
    DATAGRAM_BYTES_MAX <= PACKET_BYTES_MAX,
    "too many nodes for one packet"
);

const HEADER_BYTES: usize = 126;
/// Where the flags are.
const FLAGS: usize = 123;
const TAG_BYTES: usize = 32;
const CLUSTER_BYTES: usize = 8;
const MAGIC: [u8; 4] = *b"pxs\x04";
const CLEAN: u8 = 1;
const COUNTS_RECEIVER: u8 = 2;
const APART: u8 = 4;

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
    /// What it says of its member list, and of the link to the receiver.
    pub link: LinkState,
    /// The sender's role.
    pub stance: Stance,
    /// What it says to the receiver.
    pub message: Message,
}

/// What a node says of its member list, and of the link to the receiver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkState {
    /// Digest of the member list that it goes by.
    pub in_force: u64,
    /// Digest of the list that it goes by once all others want it too.
    pub wanted: u64,
    /// Its health timeout, in milliseconds.
    pub timeout_ms: u32,
    /// The UDP port that it listens at; 0 if it does not say.
    pub port: u16,
    /// The receiver is in the list that it goes by.
    pub counts_receiver: bool,
    /// It takes no part, since the lists of other nodes prevail.
    pub is_apart: bool,
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
    /// Of a second process with the id of a member that is heard.
    Double,
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
    pub double: u64,
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
            Rejection::Double => &mut self.double,
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
        for number in [
            facts.clock.0,
            facts.reserve.0,
            facts.stored.0,
            facts.wall_ms,
            facts.folder,
            facts.primary_key,
        ] {
            bytes.extend(number.to_be_bytes());
        }
        bytes.push(facts.condition.code());
        let link = &datagram.link;
        bytes.extend(link.in_force.to_be_bytes());
        bytes.extend(link.wanted.to_be_bytes());
        bytes.extend(link.timeout_ms.to_be_bytes());
        bytes.extend(link.port.to_be_bytes());
        let flags = [
            (facts.is_clean, CLEAN),
            (link.counts_receiver, COUNTS_RECEIVER),
            (link.is_apart, APART),
        ];
        bytes.push(
            flags
                .into_iter()
                .filter(|(set, _)| *set)
                .map(|(_, flag)| flag)
                .sum(),
        );
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
            link: link(header),
            stance,
            message,
        })
    }
}

/// Whom a datagram to `own` claims to be from, whoever wrote it.
pub(super) fn claimed_sender(bytes: &[u8], own: NodeId) -> Option<NodeId> {
    let header: &[u8; HEADER_BYTES] = bytes.first_chunk()?;
    let id = |at| NodeId(u32::from_be_bytes(field(header, at)));
    (id(16) == own).then(|| id(12))
}

fn facts(header: &[u8; HEADER_BYTES]) -> Option<Facts> {
    let number = |at| u64::from_be_bytes(field(header, at));
    Some(Facts {
        clock: Time(number(52)),
        reserve: Time(number(60)),
        stored: Time(number(68)),
        wall_ms: number(76),
        folder: number(84),
        primary_key: number(92),
        condition: Condition::from_code(header[100])?,
        is_clean: header[FLAGS] & CLEAN != 0,
    })
    .filter(|_| header[FLAGS] & !(CLEAN | COUNTS_RECEIVER | APART) == 0)
}

fn link(header: &[u8; HEADER_BYTES]) -> LinkState {
    LinkState {
        in_force: u64::from_be_bytes(field(header, 101)),
        wanted: u64::from_be_bytes(field(header, 109)),
        timeout_ms: u32::from_be_bytes(field(header, 117)),
        port: u16::from_be_bytes(field(header, 121)),
        counts_receiver: header[FLAGS] & COUNTS_RECEIVER != 0,
        is_apart: header[FLAGS] & APART != 0,
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
