//! What nodes say in JSON, as far as our clients read it. Unknown fields are ignored: an older client can talk to a
//! newer node.

use serde::Deserialize;

use crate::roster::NodeId;

/// The answer to a stored upload.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Receipt {
    /// Whose image.
    pub user: String,
    /// Its name.
    pub name: String,
    /// Its size, before sealing.
    pub bytes: u64,
    /// Who stored it.
    pub node: NodeId,
    /// The term of the view that it was placed by.
    #[serde(default)]
    pub term: u64,
    /// The alive ids of that view, where the node says so.
    #[serde(default)]
    pub alive: Option<Vec<NodeId>>,
    /// `fsync` or `rename`.
    #[serde(default)]
    pub durability: Option<String>,
}

/// `GET /images/{user}/`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
pub struct List {
    /// In the order that the node gave.
    pub images: Vec<Item>,
    /// The last name of a page after which there is another one.
    #[serde(default)]
    pub next: Option<String>,
    /// Nodes that could not be asked; their images are missing.
    #[serde(default)]
    pub missing: Vec<NodeId>,
}

/// One image of a list.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Item {
    /// With its `.png`.
    pub name: String,
    /// Before sealing.
    pub bytes: u64,
    /// Seconds since 1970, or a date as the node writes it.
    #[serde(default)]
    pub modified: serde_json::Value,
    /// Who holds it.
    #[serde(default)]
    pub node: Option<NodeId>,
}

/// `GET /cluster`.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub struct Status {
    /// Who answers.
    pub node: NodeId,
    /// Whom it follows, if anybody.
    pub leader: Option<NodeId>,
    /// Of the view below.
    pub term: u64,
    /// The view: alive ids in rising order.
    pub alive: Vec<NodeId>,
    /// The others, as this node hears them.
    #[serde(default)]
    pub peers: Vec<Peer>,
    /// Everything it counts, by name.
    #[serde(default)]
    pub counters: serde_json::Value,
    /// `fsync` or `rename`.
    #[serde(default)]
    pub durability: Option<String>,
    /// The server's process.
    #[serde(default)]
    pub process: Option<Process>,
}

/// Another node, as one hears it.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub struct Peer {
    /// Its id.
    pub id: NodeId,
    /// Where it is asked.
    #[serde(default)]
    pub address: String,
    /// `alive`, `suspect` or `dead`.
    #[serde(default)]
    pub state: String,
    /// Milliseconds since it was last heard, if ever.
    #[serde(default)]
    pub last_heard_ms: Option<u64>,
}

/// The process behind a node.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
pub struct Process {
    /// Its id on its own machine.
    pub pid: u32,
    /// Resident memory, in bytes.
    #[serde(default)]
    pub rss_bytes: u64,
    /// The largest resident memory so far, in bytes.
    #[serde(default)]
    pub rss_peak_bytes: u64,
    /// Processor time, user and system, in seconds.
    #[serde(default)]
    pub cpu_seconds: f64,
}

impl Status {
    /// A counter by name, or 0.
    pub fn counter(&self, name: &str) -> u64 {
        self.counters
            .get(name)
            .and_then(serde_json::Value::as_u64)
            .unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_fields_are_ignored_and_missing_ones_have_a_default() {
        let receipt: Receipt =
            serde_json::from_str(r#"{"user":"u","name":"n.png","bytes":7,"node":2,"colour":"red"}"#).unwrap();
        assert_eq!((receipt.node, receipt.term, receipt.alive), (NodeId(2), 0, None));
        let status: Status = serde_json::from_str(
            r#"{"node":1,"leader":null,"term":4,"alive":[1,3],"counters":{"images":5},"new":{}}"#,
        )
        .unwrap();
        assert_eq!((status.counter("images"), status.counter("bytes")), (5, 0));
        assert_eq!(status.leader, None);
    }
}
