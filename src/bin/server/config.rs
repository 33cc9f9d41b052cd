//! What the arguments mean: everything that can be set for a node, checked.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use getopts::{Matches, Options};
use log::LevelFilter;
use pixseal::cluster_file;
use pixseal::durable::Durability;
use pixseal::election;
use pixseal::image::Rules;
use pixseal::journal::LogFormat;
use pixseal::roster::NodeId;
use pixseal::server::config::{Config, GRACE, Limits};
use pixseal::store::disk::MinFree;
use pixseal::tls::files::{Identity, NodeFiles};

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
        "user-quota",
        "health-timeout",
        "durability",
        "png",
        "grace",
        "log",
        "token-rate",
        "cert",
        "key",
        "ca",
        "client-ca",
        "drain",
        "undrain",
    ] {
        options.optopt("", name, "", "");
    }
    options
        .optmulti("", "allow-host", "", "")
        .optflag("", "relay", "")
        .optflag("", "metrics-open", "")
        .optflag("", "insecure-allow-remote", "");
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
        png_rules: png_rules(matches)?,
        allow_hosts: allow_hosts(matches)?,
        relay: matches.opt_present("relay"),
        user_quota: some_number(matches, "user-quota")?,
        token_rate: some_number(matches, "token-rate")?,
        metrics_open: matches.opt_present("metrics-open"),
        insecure_allow_remote: matches.opt_present("insecure-allow-remote"),
        tls: tls(matches)?,
        members,
    })
}

fn png_rules(matches: &Matches) -> Result<Rules, String> {
    match matches.opt_str("png").as_deref() {
        None | Some("strict") => Ok(Rules::Strict),
        Some("lenient") => Ok(Rules::Lenient),
        Some(other) => Err(format!("--png is strict or lenient, not {other:?}")),
    }
}

/// Certificates and authorities are given together or not at all.
fn tls(matches: &Matches) -> Result<Option<NodeFiles>, String> {
    let identity = Identity::of_options(matches.opt_str("cert"), matches.opt_str("key"))?;
    let (ca, client_ca) = (matches.opt_str("ca"), matches.opt_str("client-ca"));
    match (identity, ca) {
        (Some(identity), Some(ca)) => Ok(Some(NodeFiles {
            identity,
            ca: ca.into(),
            client_ca: client_ca.map(PathBuf::from),
        })),
        (None, None) if client_ca.is_none() => Ok(None),
        _ => Err(
            "--cert, --key and --ca go together, with or without --client-ca: they make a node speak TLS"
                .to_owned(),
        ),
    }
}

/// What `RUST_LOG` asks to be printed, and what of it is not understood here, if that leaves nothing. Other programs take
/// directives there for parts of them, as in `hyper=warn`: these do not concern this one.
pub(super) fn log_level(text: Option<&str>) -> (LevelFilter, Option<String>) {
    let Some(text) = text else {
        return (LevelFilter::Info, None);
    };
    let words = || text.split(',').map(str::trim).filter(|word| !word.is_empty());
    let level = words().filter_map(|word| word.parse().ok()).next_back();
    let is_of_others = words().all(|word| word.contains('='));
    match level {
        Some(level) => (level, None),
        None if is_of_others => (LevelFilter::Info, None),
        None => {
            let unknown =
                format!("RUST_LOG={text} is not a level (error, warn, info, debug, off): info is printed");
            (LevelFilter::Info, Some(unknown))
        }
    }
}

pub(super) fn log_format(matches: &Matches) -> Result<LogFormat, String> {
    match matches.opt_str("log").as_deref() {
        None | Some("text") => Ok(LogFormat::Text),
        Some("json") => Ok(LogFormat::Json),
        Some(other) => Err(format!("--log is text or json, not {other:?}")),
    }
}

pub(super) fn node_id(text: &str) -> Result<NodeId, String> {
    let id = text.parse().map(NodeId);
    id.map_err(|_| format!("{text:?} is not a node id: ids are whole numbers"))
}

/// A folder, which is called like the option that sets it.
pub(super) fn folder(matches: &Matches, name: &str) -> PathBuf {
    PathBuf::from(matches.opt_str(name).unwrap_or_else(|| name.to_owned()))
}

/// Names that people have for a node: of a proxy in front of it, or in their DNS.
fn allow_hosts(matches: &Matches) -> Result<Vec<String>, String> {
    let hosts = matches.opt_strs("allow-host");
    let is_host = |host: &str| {
        !host.is_empty()
            && host
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b))
    };
    match hosts.iter().find(|host| !is_host(host)) {
        None => Ok(hosts),
        Some(odd) => Err(format!(
            "--allow-host takes a host, as in images.example or images.example:8443, not {odd:?}"
        )),
    }
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

/// A number for which there is no default.
fn some_number(matches: &Matches, name: &str) -> Result<Option<u64>, String> {
    let is_given = matches.opt_present(name);
    is_given.then(|| number(matches, name, 0)).transpose()
}

fn count(matches: &Matches, name: &str, default: usize) -> Result<usize, String> {
    let number = number(matches, name, default as u64)?;
    usize::try_from(number).map_err(|_| format!("--{name} {number} is too large"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_mean_by_rust_log_keeps_no_server_from_starting() {
        for (text, level, is_understood) in [
            (None, LevelFilter::Info, true),
            (Some(""), LevelFilter::Info, true),
            (Some("warn"), LevelFilter::Warn, true),
            (Some("DEBUG"), LevelFilter::Debug, true),
            (Some("hyper=warn"), LevelFilter::Info, true),
            (Some("hyper=warn, error"), LevelFilter::Error, true),
            (Some("warn,hyper=debug,"), LevelFilter::Warn, true),
            (Some("loud"), LevelFilter::Info, false),
        ] {
            let (found, unknown) = log_level(text);
            assert_eq!((found, unknown.is_none()), (level, is_understood), "{text:?}");
        }
    }
}
