//! Who may be in the cluster and where: node id → `host:port`, from `cluster.toml` or built in.
//!
//! TCP on that port serves HTTP, UDP on the same number carries heartbeats. Addresses stay text: a host name
//! is resolved again at each connection, because it may move.
//!
//! ```toml
//! [nodes]
//! 1 = "127.0.0.1:8001"
//! 2 = "127.0.0.1:8002"
//! ```

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;

use crate::roster::NodeId;

/// The most nodes a cluster file may name: the longest heartbeat has to fit into one packet.
pub const NODES_MAX: usize = 100;

/// Every configured node, in the order of their ids; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Members(BTreeMap<NodeId, String>);

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
    nodes: BTreeMap<String, String>,
}

/// Nodes 1, 2, 3 on loopback: what runs when nothing was prepared.
impl Default for Members {
    fn default() -> Members {
        Members(
            (1..=3)
                .map(|id| (NodeId(id), format!("127.0.0.1:{}", 8000 + id)))
                .collect(),
        )
    }
}

impl Members {
    /// Reads the text of a cluster file.
    pub fn parse(text: &str) -> Result<Members, Error> {
        let file: ClusterFile =
            toml::from_str(text).map_err(|e| Error(format!("not a cluster file: {}", e.message())))?;
        let mut nodes = BTreeMap::new();
        for (id, address) in file.nodes {
            let id = id
                .parse()
                .map_err(|_| Error(format!("node id {id:?} is not a whole number")))?;
            check_address(&address)?;
            if nodes.values().any(|other| *other == address) {
                return Err(Error(format!("{address} is given to two nodes")));
            }
            if nodes.insert(NodeId(id), address).is_some() {
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
        self.0.get(&id).map(String::as_str)
    }

    /// Ids and addresses in rising order of id.
    pub fn iter(&self) -> impl Iterator<Item = (NodeId, &str)> {
        self.0.iter().map(|(id, address)| (*id, address.as_str()))
    }

    /// The ids of all nodes, in rising order.
    pub fn ids(&self) -> impl Iterator<Item = NodeId> {
        self.0.keys().copied()
    }

    /// These addresses, and those of `older` for nodes that have none here.
    #[must_use]
    pub(crate) fn and(&self, older: &Members) -> Members {
        let mut both = older.0.clone();
        both.extend(self.0.clone());
        Members(both)
    }

    /// The nodes with these ids alone; `None`: there are none.
    pub(crate) fn only(&self, ids: &[NodeId]) -> Option<Members> {
        let listed = self.0.iter().filter(|(id, _)| ids.contains(id));
        let nodes: BTreeMap<NodeId, String> = listed.map(|(id, address)| (*id, address.clone())).collect();
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
            ("[nodes]\n1 = 5", "invalid type"),
            ("[nods]\n1 = \"x:1\"", "unknown field"),
            ("nodes", "not a cluster file"),
        ] {
            let refusal = Members::parse(text).unwrap_err().to_string();
            assert!(refusal.contains(reason), "{text:?} gave {refusal:?}");
        }
    }
}
