//! What a node's membership is told, and what it does in response.

use std::net::SocketAddr;
use std::time::Duration;

use super::datagram::ClusterKey;
use super::detector::Transition;
use super::message::Rival;
use crate::lease::facts::{Facts, Heard};
use crate::roster::{NodeId, Roster, ViewId};
use crate::version::Time;

/// What a node knows when it starts.
pub struct Settings {
    /// Its own id.
    pub own: NodeId,
    /// Every configured node; its own id may be among them.
    pub members: Vec<NodeId>,
    /// The shared secret.
    pub key: ClusterKey,
    /// Greater than at every earlier start, and greater than 0.
    pub incarnation: u64,
    /// A peer that nobody has heard for this long is dead. Every other time is derived from it. Of the timeouts of all
    /// nodes the longest counts: a node that wants heartbeats more often than others send them would suspect all of them.
    pub health_timeout: Duration,
    /// The UDP port that the node listens at; 0 if others need not know.
    pub port: u16,
}

/// What happens to a node.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// Time has passed. Due at [`Election::deadline`](super::Election::deadline), harmless at any time. The caller first passes in every datagram
    /// that has arrived, so that no peer is declared dead while its datagrams wait to be read.
    Tick,
    /// Bytes from the network, from anybody.
    Datagram {
        /// All of them.
        bytes: &'a [u8],
        /// Where they came from, if that is known.
        source: Option<SocketAddr>,
    },
    /// The host of a peer said that the port is closed (ICMP).
    Refused(NodeId),
    /// This node is stopping, and the others are to remove it from the roster. This cannot be undone.
    Leave,
    /// These are to be the members from now on; the node itself always is one. See [`Output::Members`].
    Members(&'a [NodeId]),
    /// A higher incarnation, which was made durable: others know a life of this node that is later than this one.
    Reincarnate(u64),
}

/// What a node does in response, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send these bytes to that member.
    Send {
        /// The member.
        to: NodeId,
        /// An encoded datagram.
        bytes: Vec<u8>,
    },
    /// Send these bytes there: to a node that is no member, or not the one that a member's address leads to.
    SendTo {
        /// Where its last datagram came from.
        address: SocketAddr,
        /// An encoded datagram.
        bytes: Vec<u8>,
    },
    /// Place uploads by this view from now on. To be done before anything is sent: the datagrams of this step say that it
    /// is done.
    Publish(View),
    /// An authentic datagram of a peer that has not left has arrived. What this node sends from now on tells the peer so, even if the
    /// peer is not heard, because it did not prove that it hears this node.
    Arrived {
        /// Who.
        peer: NodeId,
        /// See [`Facts::reserve`].
        reserve: Time,
        /// Where it came from, with the port that the peer listens at.
        address: Option<SocketAddr>,
        /// It is the first one of this life of the peer.
        is_new_life: bool,
    },
    /// A peer says that it stops, or that it takes no part at present, and what its clock shows.
    Left {
        /// Who.
        peer: NodeId,
        /// See [`Facts::clock`].
        clock: Time,
    },
    /// A peer was heard, in an authentic datagram that proves that the peer hears this node.
    Heard(Heard),
    /// The members that this node goes by from now on, in rising order: a list that was wanted, and that all others want.
    Members(Vec<NodeId>),
    /// Two processes have the id of a peer, and each has proved that it runs.
    Double {
        /// The id.
        peer: NodeId,
        /// The one that counts.
        counted: SocketAddr,
        /// The other one.
        other: SocketAddr,
    },
    /// A datagram of another cluster, whose head says that it is from a member. Anybody can say that.
    Foreign {
        /// The member.
        peer: NodeId,
        /// Where it came from.
        source: SocketAddr,
    },
    /// A peer knows another life of this node. It has proved that it says so now.
    Rival {
        /// Who says it.
        peer: NodeId,
        /// What it knows.
        rival: Rival,
    },
    /// A line for the log and the history.
    Note(Transition),
}

/// What uploads are placed by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// The term of the leader, or of the last leader; 0 before the first. Never falls.
    pub term: u64,
    /// The node that published this view. `None`: this node lists the peers that it hears itself.
    pub leader: Option<NodeId>,
    /// See [`ViewId::number`]; 0 without a leader.
    pub number: u64,
    /// The alive ids, among them this node and the leader.
    pub roster: Roster,
    /// When this node adopted it, on the clock of [`Election::step`](super::Election::step).
    pub(crate) since: Duration,
}

impl View {
    /// Its name; none without a leader.
    pub fn id(&self) -> Option<ViewId> {
        self.leader.map(|leader| ViewId {
            term: self.term,
            leader,
            number: self.number,
        })
    }
}

/// What a node tells all others in every datagram; see [`lease`](crate::lease).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Announcement {
    /// All but [`Facts::is_clean`], which depends on the view.
    pub facts: Facts,
    /// The view in which nothing of this node lies elsewhere.
    pub clean_in: Option<ViewId>,
}
