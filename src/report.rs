//! The JSON that nodes speak: receipts, listings, the state of a node. Written and read by this one definition.
//!
//! Unknown fields are ignored and missing ones have a default where one makes sense, so that an older client can talk
//! to a newer node.

use serde::{Deserialize, Serialize};

use crate::lease::times::Times;
use crate::roster::{NodeId, ViewId};
use crate::version::{Version, WriteOutcome};

/// The answer to an upload: what is promised once the image is durable.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Receipt {
    /// Whose image.
    pub user: String,
    /// Its name.
    pub name: String,
    /// Bytes of the image.
    pub bytes: u64,
    /// Bytes of the sealed file.
    #[serde(default)]
    pub sealed_bytes: u64,
    /// The node that holds it.
    pub node: NodeId,
    /// Its place in the order of all writes: of two receipts for one name, the later version is the image.
    #[serde(default)]
    pub version: Option<Version>,
    /// The term of the view that placed it there.
    #[serde(default)]
    pub term: u64,
    /// The name of that view, `term.leader.number`.
    #[serde(default)]
    pub view: String,
    /// The alive ids of that view, where the node says so.
    #[serde(default)]
    pub alive: Option<Vec<NodeId>>,
    /// The entity tag, with its quotes.
    #[serde(default)]
    pub etag: String,
    /// `fsync`, or `rename` where a power loss is not survived.
    #[serde(default)]
    pub durability: Option<String>,
    /// Whether an older image of that name is gone.
    #[serde(default)]
    pub replaced: bool,
}

/// `GET /images/{user}/`: one page of a user's images, of one node or of the whole cluster.
///
/// ```json
/// {"user":"alice","images":[{"name":"cat.png","bytes":1234,"modified":1790000000,"node":2,
///  "version":"1790000000123.0.2"}],"next":null,"missing":[]}
/// ```
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
pub struct Page {
    /// Whose images.
    #[serde(default)]
    pub user: String,
    /// In the order of their names.
    pub images: Vec<Item>,
    /// The name to continue `?after=`; none on the last page.
    #[serde(default)]
    pub next: Option<String>,
    /// Nodes that could not be asked: what they alone hold is missing, and so is what they may hold in a newer version.
    #[serde(default)]
    pub missing: Vec<NodeId>,
}

/// One image of a [`Page`].
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Item {
    /// With its `.png`.
    pub name: String,
    /// Bytes of the image.
    pub bytes: u64,
    /// Seconds since 1970.
    #[serde(default)]
    pub modified: u64,
    /// Who holds it.
    #[serde(default)]
    pub node: Option<NodeId>,
    /// The write that it is of.
    #[serde(default)]
    pub version: Option<Version>,
    /// A tombstone. Only nodes ask for these, with `?local&versions`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub deleted: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// `GET /images/{user}/{name}?version`: what a node itself holds of a name, and what it knows of nodes that are away.
/// Nodes ask each other for it.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Holding {
    /// Who answers.
    pub node: NodeId,
    /// The view that it goes by; none without a leader.
    pub view: Option<ViewId>,
    /// What it holds; none if it holds nothing.
    pub copy: Option<HeldCopy>,
    /// For each node that is away: when a copy on it that counts can have been written; no times, if it holds none.
    pub away: Vec<(NodeId, Times)>,
}

/// The answer to a node that declares a write: it was noted.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Noted {
    /// Who answers.
    pub node: NodeId,
}

/// The answer to a node that hands over a copy.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct TakenOver {
    /// The name is new here, an older copy was replaced, or a newer one was here already.
    pub outcome: WriteOutcome,
}

/// The answer to `POST /rebalance`.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Rebalance {
    /// Who answers.
    pub node: NodeId,
    /// The view that images are moved by; another one begins anew.
    pub view: ViewId,
    /// What lies here and is assigned to other nodes, tombstones included; none while it was not counted yet.
    pub misplaced: Option<u64>,
}

/// A copy of an image, or the trace of a delete.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct HeldCopy {
    /// The write that it is of.
    pub version: Version,
    /// A tombstone.
    pub deleted: bool,
    /// The entity tag, with its quotes; empty for a tombstone.
    pub etag: String,
    /// Seconds since 1970.
    pub modified: u64,
}

/// `GET /cluster`: what a node says about itself and the others. With a token that is not an admin's: who the nodes are,
/// where they are, and who of them takes what.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Status {
    /// Who answers.
    pub node: NodeId,
    /// Where it is asked, as its cluster file has it.
    #[serde(default)]
    pub address: String,
    /// Where redirects send clients, if its cluster file gives it a URL of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The leader that it follows, if any.
    pub leader: Option<NodeId>,
    /// The term of the view below.
    pub term: u64,
    /// The view: the ids that uploads are placed by, in rising order.
    pub alive: Vec<NodeId>,
    /// Nodes of the view that take no images at present, and go on answering reads.
    #[serde(default)]
    pub reading: Vec<NodeId>,
    /// Whether it can take images, or why not; see [`Condition`](crate::condition::Condition).
    #[serde(default)]
    pub condition: String,
    /// Images in its folder, counted a while ago; none while they were not counted yet.
    #[serde(default)]
    pub images_held: Option<u64>,
    /// Bytes of these, as they are stored.
    #[serde(default)]
    pub bytes_held: Option<u64>,
    /// The disk under the images; none if it does not say.
    #[serde(default)]
    pub disk: Option<DiskRoom>,
    /// The name of that view, `term.leader.number`; empty without a leader.
    #[serde(default)]
    pub view: String,
    /// Whether the node takes writes.
    #[serde(default)]
    pub ready: bool,
    /// Whether all members are there and every image lies on the node that it is assigned to, as far as the node knows.
    #[serde(default)]
    pub settled: bool,
    /// What lies here and is assigned to other nodes in the present view, tombstones included; none while it was not
    /// counted.
    #[serde(default)]
    pub misplaced: Option<u64>,
    /// What a person has to know, in sentences.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// The others, as this node hears them.
    #[serde(default)]
    pub peers: Vec<Peer>,
    /// Everything the node counts, by name.
    #[serde(default)]
    pub counters: serde_json::Value,
    /// Open connections.
    #[serde(default)]
    pub connections: usize,
    /// `fsync` or `rename`.
    #[serde(default)]
    pub durability: Option<String>,
    /// Who gets in: `tokens`, or `open` to everybody who can connect.
    #[serde(default)]
    pub access: String,
    /// Dropped datagrams, by cause.
    #[serde(default)]
    pub rejections: serde_json::Value,
    /// The last changes of membership, oldest first.
    #[serde(default)]
    pub history: Vec<Change>,
    /// The server's process.
    #[serde(default)]
    pub process: Option<Process>,
    /// When it started, in milliseconds since 1970 by its own clock; 0 from nodes that do not say.
    #[serde(default)]
    pub started_unix_ms: u64,
    /// How long uploads took that this node took, from the first byte of the head to the receipt.
    #[serde(default)]
    pub upload_durations: Durations,
    /// Of the program.
    #[serde(default)]
    pub version: String,
}

/// `GET /cluster?all`: what every member says about itself, gathered by one of them.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct ClusterState {
    /// Who has asked the others.
    pub node: NodeId,
    /// In rising order of id.
    pub nodes: Vec<Status>,
    /// Members that are not alive in its view, or have not answered.
    #[serde(default)]
    pub missing: Vec<NodeId>,
}

/// The room on the disk under the images.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct DiskRoom {
    /// Bytes that are free for images.
    pub free_bytes: u64,
    /// Bytes in all.
    pub total_bytes: u64,
}

/// How long something took, in buckets: only how many there were in each is kept.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Durations {
    /// The longest duration of each bucket but the last, in seconds, in rising order.
    pub bounds: Vec<f64>,
    /// How many were in each bucket: one more than bounds.
    pub counts: Vec<u64>,
    /// All of them together, in seconds.
    pub sum_seconds: f64,
    /// How many there were.
    pub count: u64,
}

/// Another node, as one hears it.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Peer {
    /// Its id.
    pub id: NodeId,
    /// Where it is asked.
    #[serde(default)]
    pub address: String,
    /// Where redirects send clients, if the cluster file gives it a URL of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// `unknown`, `alive`, `suspect`, `dead`, `left` or `apart`.
    #[serde(default)]
    pub state: String,
    /// What it said of itself when it was heard last; see [`Condition`](crate::condition::Condition).
    #[serde(default)]
    pub condition: String,
    /// How far its wall clock is ahead of this node's, in milliseconds, as far as that can be known from heartbeats.
    #[serde(default)]
    pub clock_offset_ms: Option<i64>,
    /// Milliseconds since it was last heard, if ever.
    #[serde(default)]
    pub last_heard_ms: Option<u64>,
}

/// One change of membership: of a peer, or of the leader.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Change {
    /// When, in milliseconds since 1970 by the clock of the node that reports it.
    pub unix_ms: u64,
    /// Who changed.
    pub peer: NodeId,
    /// Its state before.
    pub from: String,
    /// Its state after.
    pub to: String,
    /// Why.
    pub cause: String,
}

/// The process behind a node.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq)]
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

    #[test]
    fn what_a_node_writes_a_client_reads() {
        let receipt = Receipt {
            user: "alice".to_owned(),
            name: "cat.png".to_owned(),
            bytes: 7,
            sealed_bytes: 63,
            node: NodeId(2),
            version: Some("1790000000000.1.2".parse().unwrap()),
            term: 5,
            view: "5.3.1".to_owned(),
            alive: Some(vec![NodeId(1), NodeId(2)]),
            etag: "\"ab\"".to_owned(),
            durability: Some("fsync".to_owned()),
            replaced: true,
        };
        let text = serde_json::to_string(&receipt).unwrap();
        assert_eq!(
            text,
            r#"{"user":"alice","name":"cat.png","bytes":7,"sealed_bytes":63,"node":2,"version":"1790000000000.1.2","term":5,"view":"5.3.1","alive":[1,2],"etag":"\"ab\"","durability":"fsync","replaced":true}"#
        );
        assert_eq!(serde_json::from_str::<Receipt>(&text).unwrap(), receipt);
        let item = Item {
            name: "cat.png".to_owned(),
            bytes: 1234,
            modified: 1_790_000_000,
            node: Some(NodeId(2)),
            version: None,
            deleted: false,
        };
        let page = Page {
            user: "alice".to_owned(),
            images: vec![item],
            next: None,
            missing: Vec::new(),
        };
        assert_eq!(
            serde_json::to_string(&page).unwrap(),
            r#"{"user":"alice","images":[{"name":"cat.png","bytes":1234,"modified":1790000000,"node":2,"version":null}],"next":null,"missing":[]}"#
        );
    }
}
