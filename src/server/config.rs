//! Everything that can be set for a node.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::durable::Durability;
use crate::image::Rules;
use crate::members::Members;
use crate::roster::NodeId;
use crate::store::disk::MinFree;
use crate::tls::files::NodeFiles;

/// Everything that can be set.
#[derive(Clone, Debug)]
pub struct Config {
    /// This node's id; a member.
    pub id: NodeId,
    /// Every node of the cluster.
    pub members: Members,
    /// Where to listen, TCP and UDP.
    pub listen: SocketAddr,
    /// That is where `members` has this node.
    pub is_at_home: bool,
    /// Folder of the sealed images.
    pub images: PathBuf,
    /// Folder of the keys.
    pub secrets: PathBuf,
    /// When a silent peer is dead.
    pub health_timeout: Duration,
    /// What receipts promise.
    pub durability: Durability,
    /// How long a node that stops waits for what it is receiving and sending; then it cuts it.
    pub grace: Duration,
    /// With less room on its disk the node takes no images.
    pub disk_min_free: MinFree,
    /// How many bytes the images of each user may take in the folder of this node; none: as many as there is room for.
    pub user_quota: Option<u64>,
    /// What uploads are held to.
    pub png_rules: Rules,
    /// Further hosts that this node answers for, each with a port or without.
    pub allow_hosts: Vec<String>,
    /// What another node takes is passed on to it, instead of being redirected there.
    pub relay: bool,
    /// How many requests a second each token may make at this node; none: as many as it likes.
    pub token_rate: Option<u64>,
    /// `/metrics` needs no token.
    pub metrics_open: bool,
    /// Listen where others than this machine can connect, although there are no tokens.
    pub insecure_allow_remote: bool,
    /// HTTPS, for clients and between nodes; none: plain HTTP.
    pub tls: Option<NodeFiles>,
    /// Bounds on what clients can make this node spend.
    pub limits: Limits,
}

/// The default of [`Config::grace`].
pub const GRACE: Duration = Duration::from_secs(30);

/// Bounds on what clients can make a node spend.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Worker threads, started as they are needed.
    pub workers: usize,
    /// Connections that may wait for a worker.
    pub queue: usize,
    /// The longest image, in bytes.
    pub body_bytes_max: u64,
    /// The most pixels an image may claim.
    pub pixels_max: u64,
    /// Open connections in total.
    pub connections_max: usize,
    /// Open connections from one address.
    pub connections_per_address_max: usize,
    /// Blocks of 1 MiB that uploads and downloads share.
    pub blocks: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            workers: 640,
            queue: 640,
            body_bytes_max: 64 << 20,
            pixels_max: 1 << 28,
            connections_max: 4096,
            connections_per_address_max: 1024,
            blocks: 24,
        }
    }
}
