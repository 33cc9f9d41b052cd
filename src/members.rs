//! Who may be in the cluster and where: node id → `host:port`, and the URL that clients are sent to, from `cluster.toml`
//! or built in.
//!
//! TCP on that port serves HTTP, UDP on the same number carries heartbeats. Addresses stay text: a host name
//! is resolved again at each connection, because it may move.
//!
//! ```toml
//! [nodes]
//! 1 = "127.0.0.1:8001"
//! 2 = { address = "127.0.0.1:8002", url = "https://images-2.example.org" }
//! ```

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;

use crate::roster::NodeId;

/// The most nodes a cluster file may name: the longest heartbeat has to fit into one packet.
pub const NODES_MAX: usize = 100;

/// Every configured node, in the order of their ids; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Members(BTreeMap<NodeId, Place>);

/// Where a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    /// `host:port`, for nodes and for our clients.
    address: String,
    /// Where redirects send clients, if that is elsewhere: the node is behind a proxy, or has a name outside.
    url: Option<String>,
}

/// Why a cluster file was refused.
#[derive(Debug, PartialEq, Eq)]
pub struct Error(String);

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Error {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClusterFile {
    nodes: BTreeMap<String, PlaceEntry>,
}

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "a node is \"host:port\", or { address = \"host:port\", url = \"https://name\" }"
)]
enum PlaceEntry {
    Address(String),
    Place(FullPlace),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FullPlace {
    address: String,
    url: Option<String>,
}

impl From<PlaceEntry> for Place {
    fn from(entry: PlaceEntry) -> Place {
        match entry {
            PlaceEntry::Address(address) => Place { address, url: None },
            PlaceEntry::Place(FullPlace { address, url }) => Place { address, url },
        }
    }
}

/// Nodes 1, 2, 3 on loopback: what runs when nothing was prepared.
impl Default for Members {
    fn default() -> Members {
        let place = |id| Place {
            address: format!("127.0.0.1:{}", 8000 + id),
            url: None,
        };
        Members((1..=3).map(|id| (NodeId(id), place(id))).collect())
    }
}

impl Members {
    /// Reads the text of a cluster file.
    pub fn parse(text: &str) -> Result<Members, Error> {
        let file: ClusterFile =
            toml::from_str(text).map_err(|e| Error(format!("not a cluster file: {}", e.message())))?;
        let mut nodes: BTreeMap<NodeId, Place> = BTreeMap::new();
        for (id, entry) in file.nodes {
            let id = id
                .parse()
                .map_err(|_| Error(format!("node id {id:?} is not a whole number")))?;
            let place = Place::from(entry);
            check_address(&place.address)?;
            place.url.iter().try_for_each(|url| check_url(url))?;
            for other in nodes.values() {
                if other.address == place.address {
                    return Err(Error(format!("{} is given to two nodes", place.address)));
                }
                if let Some(url) = place.url.as_ref().filter(|url| other.url.as_ref() == Some(url)) {
                    return Err(Error(format!(
                        "{url} is given to two nodes: a redirect has to name one"
                    )));
                }
            }
            if nodes.insert(NodeId(id), place).is_some() {
                return Err(Error(format!("node {id} is named twice")));
            }
        }
        match nodes.len() {
            0 => Err(Error("[nodes] names no node".to_owned())),
            1..=NODES_MAX => Ok(Members(nodes)),
            many => Err(Error(format!("{many} nodes; at most {NODES_MAX} are supported"))),
        }
    }

    /// `host:port` of a node, if it is a member.
    pub fn address(&self, id: NodeId) -> Option<&str> {
        self.0.get(&id).map(|place| place.address.as_str())
    }

    /// The URL of a node, as the file gives it, without a slash at the end.
    pub fn url(&self, id: NodeId) -> Option<&str> {
        self.0.get(&id)?.url.as_deref()
    }

    /// Where a redirect to a member sends clients: its URL, or else its address by the scheme that nodes speak.
    pub(crate) fn base_url(&self, id: NodeId, scheme: &str) -> Option<String> {
        let place = self.0.get(&id)?;
        let at_address = || [scheme, "://", &place.address].concat();
        Some(place.url.clone().unwrap_or_else(at_address))
    }

    /// Ids and addresses in rising order of id.
    pub fn iter(&self) -> impl Iterator<Item = (NodeId, &str)> {
        self.0.iter().map(|(id, place)| (*id, place.address.as_str()))
    }

    /// The ids of all nodes, in rising order.
    pub fn ids(&self) -> impl Iterator<Item = NodeId> {
        self.0.keys().copied()
    }

    /// These places, and those of `older` for nodes that have none here.
    #[must_use]
    pub(crate) fn and(&self, older: &Members) -> Members {
        let mut both = older.0.clone();
        both.extend(self.0.clone());
        Members(both)
    }

    /// The nodes with these ids alone; `None`: there are none.
    pub(crate) fn only(&self, ids: &[NodeId]) -> Option<Members> {
        let listed = self.0.iter().filter(|(id, _)| ids.contains(id));
        let nodes: BTreeMap<NodeId, Place> = listed.map(|(id, place)| (*id, place.clone())).collect();
        (!nodes.is_empty()).then_some(Members(nodes))
    }

    /// How many nodes are configured; at least one.
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

fn check_address(address: &str) -> Result<(), Error> {
    let port_ok = |port: &str| port.parse::<u16>().is_ok_and(|port| port != 0);
    let host_ok = |host: &str| {
        let bare = host
            .strip_prefix('[')
            .and_then(|h| h.strip_suffix(']'))
            .unwrap_or(host);
        !bare.is_empty()
            && bare
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-.:_".contains(&b))
            && (bare.len() < host.len() || !bare.contains(':'))
    };
    match address.rsplit_once(':') {
        Some((host, port)) if host_ok(host) && port_ok(port) => Ok(()),
        _ => Err(Error(format!(
            "{address:?} is not host:port (IPv6 as [::1]:8001)"
        ))),
    }
}

/// Scheme, host and perhaps a port: what follows is the path of the image.
fn check_url(url: &str) -> Result<(), Error> {
    let authority = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"));
    let is_sound = authority.is_some_and(|authority| {
        let has_port = !authority.ends_with(']') && authority.rsplit_once(':').is_some();
        let with_port = if has_port {
            authority.to_owned()
        } else {
            format!("{authority}:1")
        };
        check_address(&with_port).is_ok()
    });
    if is_sound {
        return Ok(());
    }
    Err(Error(format!(
        "{url:?} is not the URL of a node: https://host or http://host:port, without a path"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_prepared_means_three_nodes_on_loopback() {
        let members = Members::default();
        assert_eq!(members.count(), 3);
        assert_eq!(members.address(NodeId(3)), Some("127.0.0.1:8003"));
        assert_eq!(members.address(NodeId(4)), None);
    }

    #[test]
    fn ids_come_sorted_as_numbers() {
        let members =
            Members::parse("[nodes]\n30 = \"c:1\"\n2 = \"a.example:1\"\n7 = \"[::1]:1\"\n").unwrap();
        let ids: Vec<u32> = members.iter().map(|(id, _)| id.0).collect();
        assert_eq!(ids, [2, 7, 30]);
    }

    #[test]
    fn a_node_may_have_a_url_beside_its_address() {
        let text = "[nodes]\n1 = { address = \"a:1\", url = \"https://one.example\" }\n2 = { address = \"b:1\" }\n3 = \"c:1\"\n";
        let members = Members::parse(text).unwrap();
        let places: Vec<_> = members
            .iter()
            .map(|(id, address)| (address, members.url(id)))
            .collect();
        assert_eq!(
            places,
            [("a:1", Some("https://one.example")), ("b:1", None), ("c:1", None)]
        );
        assert_eq!(
            members.base_url(NodeId(1), "http").as_deref(),
            Some("https://one.example")
        );
        for (scheme, url) in [("http", "http://b:1"), ("https", "https://b:1")] {
            assert_eq!(members.base_url(NodeId(2), scheme).as_deref(), Some(url));
        }
    }

    #[test]
    fn a_url_is_a_scheme_a_host_and_perhaps_a_port() {
        for url in [
            "http://h",
            "https://h.example:8443",
            "http://[::1]",
            "http://[::1]:80",
        ] {
            assert_eq!(check_url(url), Ok(()), "{url}");
        }
        for url in [
            "",
            "h",
            "ftp://h",
            "http://",
            "http://h/",
            "http://h/a",
            "http://h:0",
            "http://h:x",
            "http://a@h",
            "http://h?x",
            "http://::1",
            "http://h\r\nX: y",
        ] {
            assert!(check_url(url).is_err(), "{url:?}");
        }
    }

    #[test]
    fn bad_files_are_refused_with_a_reason() {
        for (text, reason) in [
            ("", "nodes"),
            ("[nodes]", "names no node"),
            ("[nodes]\na = \"x:1\"", "not a whole number"),
            ("[nodes]\n-1 = \"x:1\"", "not a whole number"),
            ("[nodes]\n1 = \"x\"", "host:port"),
            ("[nodes]\n1 = \"x:0\"", "host:port"),
            ("[nodes]\n1 = \"::1:80\"", "host:port"),
            ("[nodes]\n1 = \"x y:80\"", "host:port"),
            ("[nodes]\n1 = \"x:70000\"", "host:port"),
            ("[nodes]\n1 = \"x:1\"\n2 = \"x:1\"", "two nodes"),
            ("[nodes]\n1 = \"x:1\"\n01 = \"y:1\"", "twice"),
            ("[nodes]\n1 = 5", "a node is \"host:port\", or"),
            ("[nodes]\n1 = { adress = \"x:1\" }", "a node is \"host:port\", or"),
            ("[nodes]\n1 = { address = \"x\" }", "host:port"),
            (
                "[nodes]\n1 = { address = \"x:1\", url = \"h\" }\n2 = { address = \"y:1\", url = \"h\" }",
                "URL of a node",
            ),
            (
                "[nodes]\n1 = { address = \"x:1\", url = \"http://h\" }\n2 = { address = \"y:1\", url = \"http://h\" }",
                "two nodes",
            ),
            ("[nods]\n1 = \"x:1\"", "unknown field"),
            ("nodes", "not a cluster file"),
        ] {
            let refusal = Members::parse(text).unwrap_err().to_string();
            assert!(refusal.contains(reason), "{text:?} gave {refusal:?}");
        }
    }
}
