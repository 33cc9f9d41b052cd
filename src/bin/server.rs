//! `server ID`: one node of a cluster, ready without anything prepared.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use getopts::{Matches, Options};
use log::LevelFilter;
use pixseal::durable::Durability;
use pixseal::election;
use pixseal::journal;
use pixseal::members::Members;
use pixseal::roster::NodeId;
use pixseal::seal;
use pixseal::server::Server;
use pixseal::server::config::{Config, GRACE, Limits};
use pixseal::store::disk::MinFree;
use pixseal::store::drain;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;

const USAGE: &str = "\
Usage: server ID [options]
       server --drain ID [--images DIR]
       server --undrain ID [--images DIR]

Runs node ID of a pixseal cluster. Without options, nodes 1, 2 and 3 are 127.0.0.1:8001 to 8003,
images go to images/, and keys are made in secrets/ by whichever node starts first.
SIGHUP reads the cluster file again; SIGTERM stops the node.

Options:
    --cluster FILE         the nodes and their addresses (default cluster.toml, if it is there)
    --listen ADDR          listen on this ip:port instead of the address that others are told
    --images DIR           folder of the sealed images (default images)
    --secrets DIR          folder of the keys (default secrets)
    --workers N            threads that serve requests, at most (default 640)
    --queue N              connections that may wait for one of them (default 640)
    --connections N        open connections, at most (default 4096)
    --connections-per-address N
                           the same from one address (default 1024)
    --blocks N             buffers of 1 MiB that transfers share (default 24)
    --body-max BYTES       the longest image (default 67108864)
    --pixels-max N         the most pixels an image may have (default 268435456)
    --disk-min-free BYTES|PERCENT%
                           with less room on its disk a node takes no images (default 64 MiB or 5%,
                           whichever is less; 0: only when a write fails)
    --health-timeout MS    a peer that is silent for this long is dead (default 600)
    --durability HOW       fsync: a receipt outlives a power loss (default); rename: only a crash
    --grace SECS           SIGTERM: how long transfers may take to end, then they are cut (default 30)
    --drain ID             have node ID take no images, whether it runs or not: it goes on answering reads
    --undrain ID           have it take images again
    --help                 print this
    --version              print the version

The environment variable RUST_LOG sets what is printed: error, warn, info (default), debug, off.
";

/// Read if it is there and no other is named.
const CLUSTER_FILE: &str = "cluster.toml";

fn main() -> ExitCode {
    match run(std::env::args().skip(1).collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("server: {why}");
            ExitCode::from(2)
        }
    }
}

fn run(args: Vec<String>) -> Result<(), String> {
    let matches = options()
        .parse(args)
        .map_err(|e| format!("{e} (see server --help)"))?;
    if matches.opt_present("help") {
        print!("{USAGE}");
        return Ok(());
    }
    if matches.opt_present("version") {
        println!("pixseal {}", env!("CARGO_PKG_VERSION"));
        return Ok(());
    }
    if let Some(said) = drain(&matches)? {
        println!("{said}");
        return Ok(());
    }
    let cluster_file = matches.opt_str("cluster");
    let mut config = config(&matches)?;
    let level = match std::env::var("RUST_LOG") {
        Ok(text) => text
            .parse()
            .map_err(|_| format!("RUST_LOG={text} is not a level: error, warn, info, debug, off"))?,
        Err(_) => LevelFilter::Info,
    };
    // Registered before anything is started: a signal that comes early must not end the process half-way.
    let mut signals =
        Signals::new([SIGTERM, SIGINT, SIGHUP]).map_err(|e| format!("cannot wait for signals: {e}"))?;
    raise_descriptor_limit();
    let shorter = heed_file_size_limit(&mut config)?;
    journal::install(level).map_err(|e| format!("cannot start the journal: {e}"))?;
    if let Some(why) = shorter {
        log::warn!("Node {}: {why}", config.id);
    }
    let outcome = serve(config, &mut signals, cluster_file.as_deref());
    log::logger().flush();
    outcome
}

fn serve(config: Config, signals: &mut Signals, cluster_file: Option<&str>) -> Result<(), String> {
    let Config {
        id,
        listen,
        durability,
        ..
    } = config;
    let images = config.images.display().to_string();
    let server = Server::start(config)?;
    log::info!("Node {id}: Serving http://{listen}, images in {images}, durability {durability}");
    if durability == Durability::Rename {
        log::warn!("Node {id}: --durability rename: receipts do not outlive a power loss");
    }
    while signals.forever().next() == Some(SIGHUP) {
        reload(&server, id, cluster_file);
    }
    // A second signal ends the process without waiting for what is being served.
    for signal in [SIGTERM, SIGINT] {
        let now = Arc::new(AtomicBool::new(true));
        signal_hook::flag::register_conditional_shutdown(signal, 1, now)
            .map_err(|e| format!("cannot wait for signals: {e}"))?;
    }
    server.stop();
    log::info!("Node {id}: Stopped");
    Ok(())
}

/// Reads the cluster file again. One that cannot be used changes nothing.
fn reload(server: &Server, id: NodeId, file: Option<&str>) {
    let name = file.unwrap_or(CLUSTER_FILE);
    let members = match members(file) {
        Ok(members) if members.address(id).is_some() => members,
        Ok(_) => {
            log::error!(
                "Node {id}: SIGHUP: {name} does not name this node, so nothing has changed: to take a node out, drain it, take \
                 it out of the files of all others, and stop it"
            );
            return;
        }
        Err(why) => {
            log::error!("Node {id}: SIGHUP: {why}; nothing has changed");
            return;
        }
    };
    let listed: Vec<u32> = members.ids().map(|id| id.0).collect();
    log::info!(
        "Node {id}: SIGHUP: {name} names the nodes {listed:?}; they are members once all nodes have this list"
    );
    server.set_members(members);
}

fn options() -> Options {
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

/// Does what `--drain` or `--undrain` asks, and says what happens now; `None` if neither was given.
fn drain(matches: &Matches) -> Result<Option<String>, String> {
    let (id, is_draining) = match (matches.opt_str("drain"), matches.opt_str("undrain")) {
        (None, None) => return Ok(None),
        (Some(id), None) => (id, true),
        (None, Some(id)) => (id, false),
        (Some(_), Some(_)) => return Err("--drain and --undrain are not given together".to_owned()),
    };
    if !matches.free.is_empty() {
        return Err("--drain and --undrain start no node: they take the one id after them".to_owned());
    }
    let (id, images) = (node_id(&id)?, folder(matches, "images"));
    let changed = if is_draining {
        drain::mark(&images, id)
    } else {
        drain::unmark(&images, id)
    };
    let already = if changed.map_err(|e| e.to_string())? {
        ""
    } else {
        " already"
    };
    let images = images.display();
    Ok(Some(if is_draining {
        format!(
            "Node {id} is draining{already}: if it runs, it takes no images from now on and goes on answering reads \
             (client status shows it); it stays so over restarts, until: server --undrain {id} --images {images}"
        )
    } else {
        format!("Node {id} takes images again{already}, if it runs (client status shows it)")
    }))
}

fn node_id(text: &str) -> Result<NodeId, String> {
    let id = text.parse().map(NodeId);
    id.map_err(|_| format!("{text:?} is not a node id: ids are whole numbers"))
}

/// A folder, which is called like the option that sets it.
fn folder(matches: &Matches, name: &str) -> PathBuf {
    PathBuf::from(matches.opt_str(name).unwrap_or_else(|| name.to_owned()))
}

fn config(matches: &Matches) -> Result<Config, String> {
    let [id] = &matches.free[..] else {
        return Err("name one node id, as in: server 3 (see server --help)".to_owned());
    };
    let id = node_id(id)?;
    let members = members(matches.opt_str("cluster").as_deref())?;
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

#[allow(
    clippy::disallowed_methods,
    reason = "the program reads the file that it was given"
)]
fn members(file: Option<&str>) -> Result<Members, String> {
    let path = Path::new(file.unwrap_or(CLUSTER_FILE));
    if file.is_none() && !path.exists() {
        return Ok(Members::default());
    }
    let text = std::fs::read_to_string(path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
    Members::parse(&text).map_err(|e| format!("{}: {e}", path.display()))
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

/// Connections and files share the descriptors of a process, and the usual soft limit of 1,024 is a tradition.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Without it the node works with fewer connections, and says so when they run out.
    let _ = setrlimit(Resource::Nofile, limit);
}

/// A write beyond `ulimit -f` ends a process, unless it handles the signal: then the write fails, and one upload with it.
/// Images that could not be stored are refused before they are sent: returns a sentence if that lowers the limit.
fn heed_file_size_limit(config: &mut Config) -> Result<Option<String>, String> {
    use rustix::process::{Resource, getrlimit};
    let registered = signal_hook::flag::register(SIGXFSZ, Arc::default());
    registered.map_err(|e| format!("cannot handle signals: {e}"))?;
    let Some(file_bytes_max) = getrlimit(Resource::Fsize).current else {
        return Ok(None);
    };
    let wanted = config.limits.body_bytes_max;
    let possible = seal::plain_bytes_within(file_bytes_max);
    config.limits.body_bytes_max = wanted.min(possible);
    Ok((possible < wanted).then(|| {
        format!(
            "this process may write files of at most {file_bytes_max} bytes (ulimit -f): the longest image is {possible} \
             bytes instead of {wanted} (--body-max); raise that limit to take longer ones"
        )
    }))
}
