//! `server ID`: one node of a cluster, ready without anything prepared.

mod config;
mod drain;
mod limits;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use pixseal::cluster_file;
use pixseal::durable::Durability;
use pixseal::journal;
use pixseal::roster::NodeId;
use pixseal::server::Server;
use pixseal::server::config::Config;
use pixseal::standard_output::{print, say};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

const USAGE: &str = "\
Usage: server ID [options]
       server --drain ID [--images DIR]
       server --undrain ID [--images DIR]

Runs node ID of a pixseal cluster. Without options, nodes 1, 2 and 3 are 127.0.0.1:8001 to 8003,
images go to images/, and keys are made in secrets/ by whichever node starts first.
If secrets/ has tokens (seal token add USER), nobody gets in without one.
SIGHUP reads the cluster file, the tokens and the certificates again; SIGTERM stops the node.

Options:
    --cluster FILE         the nodes and their addresses (default cluster.toml, if it is there)
    --listen ADDR          listen on this ip:port instead of the address that others are told
    --allow-host HOST      answer for this name too, as that of a proxy (may be repeated)
    --relay                pass on what another node takes, instead of redirecting clients there: for
                           clients that cannot send a body twice, and a proxy with one name
    --images DIR           folder of the sealed images (default images)
    --secrets DIR          folder of the keys and tokens (default secrets)
    --cert FILE --key FILE --ca FILE
                           speak TLS: this node's certificate and key, and the authority of all nodes'
                           certificates, in PEM (docs/tls.md)
    --client-ca FILE       with these, only clients whose certificate is of this authority get in
    --insecure-allow-remote
                           listen where others can connect, although there are no tokens
    --metrics-open         /metrics needs no token
    --token-rate N         requests a second that each token may make here (default: no limit)
    --workers N            threads that serve requests, at most (default 640)
    --queue N              connections that may wait for one of them (default 640)
    --connections N        open connections, at most (default 4096)
    --connections-per-address N
                           the same from one address (default 1024)
    --blocks N             buffers of 1 MiB that transfers share (default 24)
    --body-max BYTES       the longest image (default 67108864)
    --pixels-max N         the most pixels an image may have (default 268435456)
    --png HOW              strict: images as the PNG specification has them (default); lenient: also what libpng
                           opens with a warning (docs/http.md)
    --disk-min-free BYTES|PERCENT%
                           with less room on its disk a node takes no images (default 64 MiB or 5%,
                           whichever is less; 0: only when a write fails)
    --user-quota BYTES     what the images of each user may take in this node's folder (default: no limit)
    --health-timeout MS    a peer that is silent for this long is dead (default 600)
    --durability HOW       fsync: a receipt outlives a power loss (default); rename: only a crash
    --log FORMAT           text (default), or json: one object a line
    --grace SECS           SIGTERM: how long transfers may take to end, then they are cut (default 30)
    --drain ID             have node ID take no images, whether it runs or not: it goes on answering reads
    --undrain ID           have it take images again
    --help                 print this
    --version              print the version

The environment variable RUST_LOG sets what is printed: error, warn, info (default), debug, off.
";

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
    let matches = config::options()
        .parse(args)
        .map_err(|e| format!("{e} (see server --help)"))?;
    if matches.opt_present("help") {
        return print(USAGE);
    }
    if matches.opt_present("version") {
        return say(format_args!("pixseal {}", env!("CARGO_PKG_VERSION")));
    }
    if let Some(said) = drain::drain(&matches)? {
        return say(said);
    }
    let cluster_file = matches.opt_str("cluster");
    let mut config = config::config(&matches)?;
    let format = config::log_format(&matches)?;
    let (level, unknown) = config::log_level(std::env::var("RUST_LOG").ok().as_deref());
    // Registered before anything is started: a signal that comes early must not end the process half-way.
    let mut signals =
        Signals::new([SIGTERM, SIGINT, SIGHUP]).map_err(|e| format!("cannot wait for signals: {e}"))?;
    limits::raise_descriptor_limit();
    let shorter = limits::heed_file_size_limit(&mut config)?;
    journal::install(level, format, config.id).map_err(|e| format!("cannot start the journal: {e}"))?;
    limits::keep_memory_private();
    if let Some(unknown) = unknown {
        log::warn!("Node {}: {unknown}", config.id);
    }
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
    log::info!(
        "Node {id}: Serving {}://{listen}, images in {images}, durability {durability}",
        server.scheme()
    );
    if durability == Durability::Rename {
        log::warn!("Node {id}: --durability rename: receipts do not outlive a power loss");
    }
    while signals.forever().next() == Some(SIGHUP) {
        reload_members(&server, id, cluster_file);
        reload_tokens(&server, id);
        reload_tls(&server, id);
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
fn reload_members(server: &Server, id: NodeId, file: Option<&str>) {
    let name = file.unwrap_or(cluster_file::DEFAULT);
    let members = match cluster_file::read(file) {
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

/// Reads the certificates again. Files that cannot be used change nothing.
fn reload_tls(server: &Server, id: NodeId) {
    match server.reload_tls() {
        Ok(true) => log::info!(
            "Node {id}: SIGHUP: certificates and authorities are read again, for connections from now on"
        ),
        Ok(false) => {}
        Err(why) => log::error!("Node {id}: SIGHUP: {why}; certificates stay as they were"),
    }
}

/// Reads the tokens again. A file that cannot be used changes nothing.
fn reload_tokens(server: &Server, id: NodeId) {
    match server.reload_tokens() {
        Ok(Some(count)) => log::info!("Node {id}: SIGHUP: tokens known: {count}; nobody gets in without one"),
        Ok(None) => {}
        Err(why) => log::error!("Node {id}: SIGHUP: {why}; nothing has changed"),
    }
}
