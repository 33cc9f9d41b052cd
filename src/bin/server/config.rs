//! What the arguments mean: everything that can be set for a node, checked.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use getopts::{Matches, Options};
use pixseal::cluster_file;
use pixseal::durable::Durability;
use pixseal::election;
use pixseal::roster::NodeId;
use pixseal::server::config::{Config, GRACE, Limits};
use pixseal::store::disk::MinFree;

pub(super) fn options() -> Options {
    let mut options = Options::new();
    for name in [
        "cluster",
        "listen",
        "images",
        "secrets",
        "workers",
        "queue",
        "connections",
        "connections-per-address",
        "blocks",
        "body-max",
        "pixels-max",
        "disk-min-free",
        "health-timeout",
        "durability",
        "grace",
        "drain",
        "undrain",
    ] {
        options.optopt("", name, "", "");
    }
    options.optflag("h", "help", "").optflag("V", "version", "");
    options
}

pub(super) fn config(matches: &Matches) -> Result<Config, String> {
    let [id] = &matches.free[..] else {
        return Err("name one node id, as in: server 3 (see server --help)".to_owned());
    };
    let id = node_id(id)?;
    let members = cluster_file::read(matches.opt_str("cluster").as_deref())?;
    let Some(address) = members.address(id) else {
        let known: Vec<String> = members.iter().map(|(id, _)| id.to_string()).collect();
        return Err(format!(
            "node {id} is not in the cluster, which has {}",
            known.join(", ")
        ));
    };
    let listen = resolve(&matches.opt_str("listen").unwrap_or_else(|| address.to_owned()))?;
    let is_at_home = resolve(address)
        .is_ok_and(|home| home == listen || listen.ip().is_unspecified() && home.port() == listen.port());
    let default = Limits::default();
    Ok(Config {
        id,
        listen,
        is_at_home,
        images: folder(matches, "images"),
        secrets: folder(matches, "secrets"),
        health_timeout: match number(matches, "health-timeout", 0)? {
            0 => election::HEALTH_TIMEOUT,
            ms => Duration::from_millis(ms),
        },
        durability: match matches.opt_str("durability").as_deref() {
            None | Some("fsync") => Durability::Fsync,
            Some("rename") => Durability::Rename,
            Some(other) => return Err(format!("--durability is fsync or rename, not {other:?}")),
        },
        grace: match matches.opt_str("grace") {
            None => GRACE,
            Some(text) => text
                .parse()
                .map(Duration::from_secs)
                .map_err(|_| format!("--grace takes a whole number of seconds, 0 or more, not {text:?}"))?,
        },
        limits: Limits {
            workers: count(matches, "workers", default.workers)?,
            queue: count(matches, "queue", default.queue)?,
            body_bytes_max: number(matches, "body-max", default.body_bytes_max)?,
            pixels_max: number(matches, "pixels-max", default.pixels_max)?,
            connections_max: count(matches, "connections", default.connections_max)?,
            connections_per_address_max: count(
                matches,
                "connections-per-address",
                default.connections_per_address_max,
            )?,
            blocks: count(matches, "blocks", default.blocks)?,
        },
        disk_min_free: match matches.opt_str("disk-min-free") {
            None => MinFree::default(),
            Some(text) => MinFree::parse(&text).ok_or_else(|| {
                format!("--disk-min-free takes bytes or a part of the disk, as in 5%, and not {text:?}")
            })?,
        },
        members,
    })
}

pub(super) fn node_id(text: &str) -> Result<NodeId, String> {
    let id = text.parse().map(NodeId);
    id.map_err(|_| format!("{text:?} is not a node id: ids are whole numbers"))
}

/// A folder, which is called like the option that sets it.
pub(super) fn folder(matches: &Matches, name: &str) -> PathBuf {
    PathBuf::from(matches.opt_str(name).unwrap_or_else(|| name.to_owned()))
}

fn resolve(address: &str) -> Result<SocketAddr, String> {
    let mut found = address
        .to_socket_addrs()
        .map_err(|e| format!("{address:?} is not an ip:port here: {e}"))?;
    found.next().ok_or_else(|| format!("{address} has no address"))
}

fn number(matches: &Matches, name: &str, default: u64) -> Result<u64, String> {
    match matches.opt_str(name) {
        None => Ok(default),
        Some(text) => match text.parse() {
            Ok(number) if number > 0 => Ok(number),
            _ => Err(format!("--{name} takes a whole number above 0, not {text:?}")),
        },
    }
}

fn count(matches: &Matches, name: &str, default: usize) -> Result<usize, String> {
    let number = number(matches, name, default as u64)?;
    usize::try_from(number).map_err(|_| format!("--{name} {number} is too large"))
}
