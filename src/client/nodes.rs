//! The members of a cluster as a client sees them: one kept-alive connection to each, and which of them answer.
//!
//! The cluster file of a client may be older than the cluster: a node that names an unknown one is asked who the members
//! are. What it says is believed as far as it adds to the file, since the file names it or a node that the file names.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::bearer_token::BearerToken;
use super::connection::NodeConnection;
use super::error::Error;
use crate::http::response::Response;
use crate::http::target::Target;
use crate::members::{Members, NODES_MAX};
use crate::report::Status;
use crate::roster::{NodeId, Roster};
use crate::tls::settings::ClientTls;

/// How long a node that did not answer is left alone, unless another one names it; doubled each further time.
const BACKOFF_MIN: Duration = Duration::from_millis(500);
const BACKOFF_DOUBLINGS_MAX: u32 = 4;
/// A node is not asked again for members that it did not name, for this long.
const LEARN_AGAIN: Duration = Duration::from_secs(1);

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
    /// Shown with every request.
    pub(super) token: Option<BearerToken>,
    /// Whom to believe, and what to show to them; none: plain HTTP.
    pub(super) tls: Option<ClientTls>,
    /// Uploads that would replace an image are refused.
    pub(super) only_new: bool,
    /// When a node was last asked who the members are.
    learnt: Option<Instant>,
}

struct Member {
    /// Where it is asked.
    address: String,
    /// Where nodes say that it is, if that is somewhere else: asked there once it does not answer at `address`.
    other_address: Option<String>,
    /// What redirects call it, if not by its address. It is asked at its address all the same.
    url: Option<String>,
    connection: Option<NodeConnection>,
    /// Not offered anything before this, since it did not answer.
    backs_off_until: Option<Instant>,
    /// How often in a row it did not answer.
    silences: u32,
}

impl Nodes {
    pub(super) fn new(members: &Members, patience: Patience) -> Nodes {
        let members: BTreeMap<NodeId, Member> = members
            .iter()
            .map(|(id, address)| (id, Member::at(address, members.url(id))))
            .collect();
        let first = *members.keys().next().expect("a cluster has at least one member");
        Nodes {
            alive: Roster::new(first, members.keys().copied()),
            members,
            patience,
            token: None,
            tls: None,
            only_new: false,
            learnt: None,
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
        let (connect, token, tls) = (self.patience.connect, self.token.clone(), self.tls.clone());
        let open = |address: &str| {
            Ok(NodeConnection::open(address, tls.as_ref(), connect)?.with_token(token.clone()))
        };
        let member = self.member(id);
        if let Some(connection) = member.connection.take() {
            return Ok(connection);
        }
        let opened = open(&member.address);
        if opened.is_err()
            && let Some(other) = &mut member.other_address
            && let Ok(connection) = open(other)
        {
            std::mem::swap(&mut member.address, other);
            return Ok(connection);
        }
        opened
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

    /// The member that `Location` points at, and the target to ask it for. If no known member is there, the node that
    /// has sent it is asked who is.
    pub(super) fn locate(&mut self, sender: NodeId, location: &str) -> Option<(NodeId, String)> {
        let authority = Target::parse(location).ok()?.authority?;
        let (scheme, rest) = location.split_once("://")?;
        let (url, path) = (format!("{scheme}://{authority}"), rest.strip_prefix(authority)?);
        if self.member_called(&url).is_none() {
            self.learn_from(sender);
        }
        Some((self.member_called(&url)?, path.to_owned()))
    }

    fn member_called(&self, url: &str) -> Option<NodeId> {
        let has_url = |member: &Member| member.url.as_deref() == Some(url);
        let named = self.members.iter().find(|(_, member)| has_url(member));
        let scheme = if self.tls.is_some() { "https://" } else { "http://" };
        let by_address = || self.member_at(url.strip_prefix(scheme)?);
        named.map(|(id, _)| *id).or_else(by_address)
    }

    fn member_at(&self, address: &str) -> Option<NodeId> {
        let is_there =
            |member: &Member| member.address == address || member.other_address.as_deref() == Some(address);
        let (id, _) = self.members.iter().find(|(_, member)| is_there(member))?;
        Some(*id)
    }

    /// Asks a node who the members are, and who of them is alive.
    pub(super) fn learn_from(&mut self, id: NodeId) {
        self.learnt = Some(Instant::now());
        let answer = self.ask_within(id, "GET", "/cluster", self.patience.offer);
        // Whoever needs a member that is still unknown says so.
        if let Ok(status) = answer.and_then(|answered| answered.json()) {
            self.take_up(&status);
        }
    }

    /// Whether it is too early to ask for members that a node did not name when it was asked.
    pub(super) fn has_just_learnt(&self) -> bool {
        self.learnt.is_some_and(|learnt| learnt.elapsed() < LEARN_AGAIN)
    }

    /// Takes up the members that a node names. Those that are known stay, at their addresses.
    fn take_up(&mut self, status: &Status) {
        let itself = (status.node, &status.address, &status.url);
        let peers = status
            .peers
            .iter()
            .map(|peer| (peer.id, &peer.address, &peer.url));
        for (id, address, url) in peers.chain([itself]) {
            if !is_place(id, address, url.as_deref()) {
                continue;
            }
            let at_address = self.member_at(address);
            if at_address.is_none() && !self.members.contains_key(&id) && self.members.len() < NODES_MAX {
                self.members.insert(id, Member::at(address, None));
            }
            let Some(member) = self.members.get_mut(&at_address.unwrap_or(id)) else {
                continue;
            };
            if at_address.is_none() && member.address != *address {
                member.other_address = Some(address.clone());
            }
            if url.is_some() {
                member.url.clone_from(url);
            }
        }
        let first = status.alive.first().copied().unwrap_or(status.node);
        self.alive = Roster::new(first, status.alive.iter().copied());
    }

    fn member(&mut self, id: NodeId) -> &mut Member {
        self.members.get_mut(&id).expect("only members are asked")
    }
}

impl Member {
    fn at(address: &str, url: Option<&str>) -> Member {
        Member {
            address: address.to_owned(),
            other_address: None,
            url: url.map(str::to_owned),
            connection: None,
            backs_off_until: None,
            silences: 0,
        }
    }
}

/// Whether a cluster file could give this place to a node: its address becomes part of requests.
fn is_place(id: NodeId, address: &str, url: Option<&str>) -> bool {
    let url_entry = url.map_or_else(String::new, |url| format!(", url = \"{url}\""));
    let file = Members::parse(&format!(
        "[nodes]\n{id} = {{ address = \"{address}\"{url_entry} }}\n"
    ));
    file.is_ok_and(|file| file.count() == 1 && file.address(id) == Some(address) && file.url(id) == url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(file: &str) -> Nodes {
        Nodes::new(&Members::parse(file).unwrap(), Patience::default())
    }

    fn status(node: u32, address: &str, peers: &[(u32, &str)]) -> Status {
        let peers: Vec<_> = peers
            .iter()
            .map(|(id, address)| serde_json::json!({"id": id, "address": address}))
            .collect();
        let status = serde_json::json!({"node": node, "address": address, "leader": null, "term": 1,
            "alive": [1, 2], "peers": peers});
        serde_json::from_value(status).unwrap()
    }

    fn known(nodes: &Nodes) -> Vec<(u32, &str)> {
        nodes.members().map(|(id, address)| (id.0, address)).collect()
    }

    #[test]
    fn members_that_a_node_names_are_added_and_those_of_the_file_stay() {
        let mut nodes = nodes("[nodes]\n1 = \"a:1\"\n9 = \"z:1\"\n");
        nodes.take_up(&status(1, "a:1", &[(2, "b:1"), (3, "[::1]:1")]));
        assert_eq!(
            known(&nodes),
            [(1, "a:1"), (2, "b:1"), (3, "[::1]:1"), (9, "z:1")]
        );
        assert_eq!(nodes.alive, Roster::new(NodeId(1), [NodeId(2)]));
    }

    #[test]
    fn another_address_of_a_member_is_the_same_member() {
        let mut nodes = nodes("[nodes]\n1 = \"localhost:1\"\n");
        nodes.take_up(&status(1, "127.0.0.1:1", &[]));
        assert_eq!(known(&nodes), [(1, "localhost:1")]);
        assert_eq!(
            nodes.locate(NodeId(1), "http://127.0.0.1:1/images/a/b.png?ticket=x"),
            Some((NodeId(1), "/images/a/b.png?ticket=x".to_owned()))
        );
    }

    #[test]
    fn an_address_is_one_member_whatever_number_the_file_gives_it() {
        let mut nodes = nodes("[nodes]\n1 = \"b:1\"\n");
        nodes.take_up(&status(2, "b:1", &[(1, "a:1")]));
        assert_eq!(known(&nodes), [(1, "b:1")]);
        assert_eq!(nodes.member_at("a:1"), Some(NodeId(1)));
    }

    #[test]
    fn a_member_is_also_found_by_its_url_and_asked_at_its_address() {
        let mut nodes =
            nodes("[nodes]\n1 = { address = \"a:1\", url = \"https://one.example\" }\n2 = \"b:1\"\n");
        let mut told = status(1, "a:1", &[(2, "b:1")]);
        told.peers[0].url = Some("http://two.example:80".to_owned());
        nodes.take_up(&told);
        for (location, found) in [
            ("https://one.example/images/a/b.png", Some(1)),
            ("http://two.example:80/images/a/b.png", Some(2)),
            ("http://b:1/images/a/b.png", Some(2)),
            ("https://b:1/images/a/b.png", None),
            ("http://one.example/images/a/b.png", None),
        ] {
            nodes.patience.connect = Duration::from_millis(1);
            let member = nodes.locate(NodeId(1), location).map(|(id, _)| id.0);
            assert_eq!(member, found, "{location}");
        }
        assert_eq!(known(&nodes), [(1, "a:1"), (2, "b:1")]);
    }

    #[test]
    fn what_is_no_address_is_not_taken_up() {
        let mut nodes = nodes("[nodes]\n1 = \"a:1\"\n");
        let odd = [
            "",
            "b",
            "b:0",
            "b:1\r\nX: y",
            "b:1/x",
            "b:1\"\n3 = \"c:1",
            "b:1\\",
        ];
        for address in odd {
            nodes.take_up(&status(1, "a:1", &[(2, address)]));
            assert_eq!(known(&nodes), [(1, "a:1")], "{address:?}");
        }
    }

    #[test]
    fn no_node_can_name_more_members_than_a_cluster_may_have() {
        let mut nodes = nodes("[nodes]\n1 = \"a:1\"\n");
        let many: Vec<String> = (2..=400).map(|id| format!("b{id}:1")).collect();
        let peers: Vec<(u32, &str)> = (2..).zip(many.iter().map(String::as_str)).collect();
        nodes.take_up(&status(1, "a:1", &peers));
        assert_eq!(nodes.members().count(), NODES_MAX);
    }
}
