//! What nodes say to each other, and its bytes.
//!
//! Every datagram carries its sender's role ([`Stance`]) and one [`Message`]. Any datagram may be lost, late or
//! duplicated: each says what is true now, none depends on an earlier one, and the next heartbeat repeats what
//! matters. All numbers are big-endian:
//!
//! ```text
//! stance    0 seeks      term 8 · has a last leader 1 · last leader 4
//!           1 follows    term 8 · leader 4 · view number 8 · established 1
//!           2 leads      term 8 · view number 8 · established 1 · count 2 · (alive id 4 · takes images 1) × count,
//!                        ids rising
//! message   0 heartbeat  count 2 · (id 4 · silent for, in ms, 2) × count, ids rising
//!           1 probe   2 election   3 answer   4 coordinator   5 leave
//!           6 rival      incarnation 8 · silent for, in ms, 4 · the receiver is counted 1
//! ```
//!
//! Each value has one encoding and every other one is refused, so that decoding and encoding are inverses.
//! Does not know whether the sender is authentic: the datagram around it does.

use std::time::Duration;

use crate::members::NODES_MAX;
use crate::roster::{NodeId, Roster, ViewId};

/// A term and its leader. Every term has at most one leader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Reign {
    /// 0: before the first leader.
    pub(super) term: u64,
    pub(super) leader: Option<NodeId>,
}

/// A node's role in the election.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stance {
    /// It has no leader now.
    Seeks {
        /// The term of the last leader it had; 0 if none.
        term: u64,
        /// The last leader it had, possibly itself.
        last: Option<NodeId>,
    },
    /// It follows another node.
    Follows {
        /// The leader's term.
        term: u64,
        /// The leader.
        leader: NodeId,
        /// The number of the leader's view that the sender goes by.
        number: u64,
        /// What the leader says about itself, see [`Stance::Leads`].
        established: bool,
    },
    /// It leads, and this is its view: the one that its followers place uploads by.
    Leads {
        /// Its term.
        term: u64,
        /// Counts its views in this term, from 1.
        number: u64,
        /// It has led for some time, or succeeded a leader that failed: a higher id does not replace it at once.
        established: bool,
        /// Who is alive.
        roster: Roster,
    },
}

impl Stance {
    /// The last reign that the sender took part in.
    pub(super) fn reign(&self, sender: NodeId) -> Reign {
        let (term, leader) = match self {
            Stance::Seeks { term, last } => (*term, *last),
            Stance::Follows { term, leader, .. } => (*term, Some(*leader)),
            Stance::Leads { term, .. } => (*term, Some(sender)),
        };
        Reign { term, leader }
    }

    /// The view that the sender goes by; none without a leader.
    pub fn view(&self, sender: NodeId) -> Option<ViewId> {
        let (term, leader, number) = match self {
            Stance::Seeks { .. } => return None,
            Stance::Follows {
                term, leader, number, ..
            } => (*term, *leader, *number),
            Stance::Leads { term, number, .. } => (*term, sender, *number),
        };
        Some(ViewId { term, leader, number })
    }
}

/// What a node says to a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// From every node to every other, ten times a second: "I am alive, and I hear these peers". The list is the
    /// second opinion: a node that does not hear a peer learns here that others do. If lost, the next one repeats it.
    Heartbeat {
        /// Every peer the sender has heard lately, in rising order of id.
        hears: Vec<Hears>,
    },
    /// To a peer that has fallen silent: "answer at once". The answer is a heartbeat, which ends the suspicion.
    Probe,
    /// From a node without a leader to every higher one it believes alive: "take over, or tell me who leads".
    Election,
    /// To the sender of an election message: "I am higher and alive, I take over". The sender stops asking for a while.
    Answer,
    /// From a new leader to all, at once: "I lead". If lost, the leader's next heartbeat says the same.
    Coordinator,
    /// From a node that is stopping, with each heartbeat until it is gone: "count me out now". If all are lost, the
    /// failure detector finds it silent half a second later.
    Leave,
    /// To each of two processes that have one id, and to a process whose incarnation is lower than a known one: "I know
    /// another life of you". If lost, the next datagram of the receiver is answered by another one.
    Rival(Rival),
}

/// Another life of a node, as one of its peers knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rival {
    /// The incarnation of that other life.
    pub incarnation: u64,
    /// For how long the peer has not heard it, in milliseconds.
    pub silent_ms: u32,
    /// The peer counts the receiver, and not the other life.
    pub is_receiver_counted: bool,
}

/// A peer, as the sender of a heartbeat hears it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hears {
    /// The peer.
    pub peer: NodeId,
    /// How long ago the sender heard it itself, in whole milliseconds.
    pub silent_ms: u16,
}

impl Hears {
    /// Rounds `silent` down to milliseconds, and limits it to 16 bits.
    pub(crate) fn new(peer: NodeId, silent: Duration) -> Hears {
        let silent_ms = u16::try_from(silent.as_millis()).unwrap_or(u16::MAX);
        Hears { peer, silent_ms }
    }
}

pub(super) fn encode(stance: &Stance, message: &Message, bytes: &mut Vec<u8>) {
    match stance {
        Stance::Seeks { term, last } => {
            bytes.push(0);
            bytes.extend(term.to_be_bytes());
            bytes.push(u8::from(last.is_some()));
            bytes.extend(last.map_or(0, |id| id.0).to_be_bytes());
        }
        Stance::Follows {
            term,
            leader,
            number,
            established,
        } => {
            bytes.push(1);
            bytes.extend(term.to_be_bytes());
            bytes.extend(leader.0.to_be_bytes());
            bytes.extend(number.to_be_bytes());
            bytes.push(u8::from(*established));
        }
        Stance::Leads {
            term,
            number,
            established,
            roster,
        } => {
            bytes.push(2);
            bytes.extend(term.to_be_bytes());
            bytes.extend(number.to_be_bytes());
            bytes.push(u8::from(*established));
            encode_count(roster.ids().len(), bytes);
            for id in roster.ids() {
                bytes.extend(id.0.to_be_bytes());
                bytes.push(u8::from(roster.places_on(*id)));
            }
        }
    }
    match message {
        Message::Heartbeat { hears } => {
            bytes.push(0);
            encode_count(hears.len(), bytes);
            for heard in hears {
                bytes.extend(heard.peer.0.to_be_bytes());
                bytes.extend(heard.silent_ms.to_be_bytes());
            }
        }
        Message::Probe => bytes.push(1),
        Message::Election => bytes.push(2),
        Message::Answer => bytes.push(3),
        Message::Coordinator => bytes.push(4),
        Message::Leave => bytes.push(5),
        Message::Rival(rival) => {
            bytes.push(6);
            bytes.extend(rival.incarnation.to_be_bytes());
            bytes.extend(rival.silent_ms.to_be_bytes());
            bytes.push(u8::from(rival.is_receiver_counted));
        }
    }
}

fn encode_count(count: usize, bytes: &mut Vec<u8>) {
    assert!(count <= NODES_MAX, "no list is longer than the cluster");
    let count = u16::try_from(count).expect("a cluster has fewer than 65,536 nodes");
    bytes.extend(count.to_be_bytes());
}

/// Stance and message, if `bytes` are exactly what [`encode`] writes for this sender.
pub(super) fn decode(sender: NodeId, bytes: &[u8]) -> Option<(Stance, Message)> {
    let mut reader = Reader(bytes);
    let stance = reader.stance(sender)?;
    let message = reader.message()?;
    reader.0.is_empty().then_some((stance, message))
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn stance(&mut self, sender: NodeId) -> Option<Stance> {
        let tag = self.byte()?;
        let term = self.take().map(u64::from_be_bytes)?;
        match tag {
            0 => {
                let has_last = self.flag()?;
                let last = self.id()?;
                let canonical = has_last || last == NodeId(0);
                canonical.then_some(Stance::Seeks {
                    term,
                    last: has_last.then_some(last),
                })
            }
            1 => Some(Stance::Follows {
                term,
                leader: self.id()?,
                number: self.number()?,
                established: self.flag()?,
            }),
            2 => Some(Stance::Leads {
                term,
                number: self.number()?,
                established: self.flag()?,
                roster: self.roster(sender)?,
            }),
            _ => None,
        }
    }

    fn message(&mut self) -> Option<Message> {
        match self.byte()? {
            0 => Some(Message::Heartbeat { hears: self.hears()? }),
            1 => Some(Message::Probe),
            2 => Some(Message::Election),
            3 => Some(Message::Answer),
            4 => Some(Message::Coordinator),
            5 => Some(Message::Leave),
            6 => Some(Message::Rival(Rival {
                incarnation: self.number()?,
                silent_ms: self.take().map(u32::from_be_bytes)?,
                is_receiver_counted: self.flag()?,
            })),
            _ => None,
        }
    }

    fn roster(&mut self, sender: NodeId) -> Option<Roster> {
        let listed = (0..self.count()?).map(|_| Some((self.id()?, self.flag()?)));
        let listed: Vec<(NodeId, bool)> = listed.collect::<Option<_>>()?;
        let rising = listed.is_sorted_by(|a, b| a.0 < b.0);
        let placed: Vec<NodeId> = listed
            .iter()
            .filter(|(_, placed)| *placed)
            .map(|(id, _)| *id)
            .collect();
        let ids = || listed.iter().map(|(id, _)| *id);
        let whole = rising && ids().any(|id| id == sender) && !placed.is_empty();
        whole.then(|| Roster::new(sender, ids()).placed_on(|id| placed.contains(&id)))
    }

    fn hears(&mut self) -> Option<Vec<Hears>> {
        let hears: Vec<Hears> = (0..self.count()?).map(|_| self.heard()).collect::<Option<_>>()?;
        hears.is_sorted_by(|a, b| a.peer < b.peer).then_some(hears)
    }

    fn heard(&mut self) -> Option<Hears> {
        Some(Hears {
            peer: self.id()?,
            silent_ms: self.take().map(u16::from_be_bytes)?,
        })
    }

    fn count(&mut self) -> Option<usize> {
        let count = usize::from(self.take().map(u16::from_be_bytes)?);
        (count <= NODES_MAX).then_some(count)
    }

    fn id(&mut self) -> Option<NodeId> {
        self.take().map(u32::from_be_bytes).map(NodeId)
    }

    fn number(&mut self) -> Option<u64> {
        self.take().map(u64::from_be_bytes)
    }

    fn flag(&mut self) -> Option<bool> {
        match self.byte()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    fn byte(&mut self) -> Option<u8> {
        self.take().map(|[byte]| byte)
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::{any, prop_assert_eq, prop_oneof, proptest};

    proptest! {
        /// Holders of the key send such bytes too: they may run another version.
        #[test]
        fn whatever_is_understood_is_written_the_same_way(
            bytes in vec(prop_oneof![0..6_u8, any::<u8>()], 0..64), sender in 0..3_u32
        ) {
            if let Some((stance, message)) = decode(NodeId(sender), &bytes) {
                let mut again = Vec::new();
                encode(&stance, &message, &mut again);
                prop_assert_eq!(again, bytes);
            }
        }
    }

    #[test]
    fn lists_out_of_order_or_without_their_sender_are_refused() {
        let leads = |ids: &[u8]| {
            let mut bytes = vec![
                2,
                0,
                0,
                0,
                0,
                0,
                0,
                0,
                1,
                0,
                0,
                0,
                0,
                0,
                0,
                0,
                1,
                0,
                0,
                u8::try_from(ids.len()).unwrap(),
            ];
            ids.iter().for_each(|id| bytes.extend([0, 0, 0, *id, 1]));
            bytes.push(4);
            decode(NodeId(2), &bytes).is_some()
        };
        assert!(leads(&[2]) && leads(&[1, 2, 3]));
        assert!(!leads(&[]) && !leads(&[1, 3]) && !leads(&[2, 1]) && !leads(&[2, 2]));
    }
}
