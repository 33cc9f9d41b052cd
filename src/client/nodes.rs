//! The members of a cluster as a client sees them: one kept-alive connection to each, and which of them answer.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::connection::NodeConnection;
use super::error::Error;
use crate::http::response::Response;
use crate::http::target::Target;
use crate::members::Members;
use crate::roster::{NodeId, Roster};

/// How long a node that did not answer is left alone, unless another one names it; doubled each further time.
const BACKOFF_MIN: Duration = Duration::from_millis(500);
const BACKOFF_DOUBLINGS_MAX: u32 = 4;

/// How long to wait for what.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For a connection.
    pub connect: Duration,
    /// For the answer to an offer, which every node gives at once.
    pub offer: Duration,
    /// For each read or write of a body, and for a receipt.
    pub body: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience {
            connect: Duration::from_secs(1),
            offer: Duration::from_secs(2),
            body: Duration::from_secs(30),
        }
    }
}

pub(super) struct Nodes {
    members: BTreeMap<NodeId, Member>,
    pub(super) patience: Patience,
    /// Who is believed to be alive: decides only who is asked first.
    pub(super) alive: Roster,
}

struct Member {
    address: String,
    connection: Option<NodeConnection>,
    /// Not offered anything before this, since it did not answer.
    backs_off_until: Option<Instant>,
    /// How often in a row it did not answer.
    silences: u32,
}

impl Nodes {
    pub(super) fn new(members: &Members, patience: Patience) -> Nodes {
        let member = |address: &str| Member {
            address: address.to_owned(),
            connection: None,
            backs_off_until: None,
            silences: 0,
        };
        let members: BTreeMap<NodeId, Member> = members
            .iter()
            .map(|(id, address)| (id, member(address)))
            .collect();
        let first = *members.keys().next().expect("a cluster has at least one member");
        Nodes {
            alive: Roster::new(first, members.keys().copied()),
            members,
            patience,
        }
    }

    /// Ids and addresses in rising order of id.
    pub(super) fn members(&self) -> impl Iterator<Item = (NodeId, &str)> {
        self.members
            .iter()
            .map(|(id, member)| (*id, member.address.as_str()))
    }

    pub(super) fn contains(&self, id: NodeId) -> bool {
        self.members.contains_key(&id)
    }

    /// The members that answered lately, or have been left alone for long enough.
    pub(super) fn responsive(&self) -> impl Iterator<Item = NodeId> {
        let now = Instant::now();
        let responsive = move |member: &Member| member.backs_off_until.is_none_or(|until| until <= now);
        self.members
            .iter()
            .filter(move |(_, member)| responsive(member))
            .map(|(id, _)| *id)
    }

    /// The connection to a node, kept or new; the caller gives it back with `keep`.
    pub(super) fn take(&mut self, id: NodeId) -> Result<NodeConnection, Error> {
        let connect = self.patience.connect;
        let member = self.member(id);
        match member.connection.take() {
            Some(connection) => Ok(connection),
            None => NodeConnection::open(&member.address, connect),
        }
    }

    /// The node has answered with `response`, which was read to its end.
    pub(super) fn keep(&mut self, id: NodeId, connection: NodeConnection, response: &Response) {
        let member = self.member(id);
        member.backs_off_until = None;
        member.silences = 0;
        if response.keep_alive {
            member.connection = Some(connection);
        }
    }

    /// The node did not answer.
    pub(super) fn back_off(&mut self, id: NodeId) {
        let member = self.member(id);
        let doublings = member.silences.min(BACKOFF_DOUBLINGS_MAX);
        member.backs_off_until = Some(Instant::now() + BACKOFF_MIN * 2_u32.pow(doublings));
        member.silences += 1;
    }

    /// The member that `Location` points at, and the target to ask it for.
    pub(super) fn located(&self, location: &str) -> Option<(NodeId, String)> {
        let authority = Target::parse(location).ok()?.authority?;
        let (id, _) = self.members().find(|(_, address)| *address == authority)?;
        let path = location.split_once("://")?.1.strip_prefix(authority)?;
        Some((id, path.to_owned()))
    }

    fn member(&mut self, id: NodeId) -> &mut Member {
        self.members.get_mut(&id).expect("only members are asked")
    }
}
