//! How a node is asked: sockets, requests, answers.
//!
//! ```text
//! acceptor → queue → worker → serve → handle → node
//! ```
//!
//! - [`config`]: everything that can be set
//! - [`acceptor`]: the thread that accepts connections and keeps the idle ones; [`acceptor_handle`]: how it gets them back
//! - [`workers`]: the threads that serve, and their queue
//! - [`quota`]: how much each address may have; [`gate`]: which requests are let in; [`authorize`]: who may do what;
//!   [`rate`]: how often
//! - [`connection`]: one client's connection
//! - [`mod@serve`]: request after request; [`request`]: what a head asks for; [`handle`]: one request, from head to answer
//! - [`relay`]: what another node takes is passed on to it, if that is wanted
//! - [`answers`]: the one table of statuses; [`error`]: what it says of a refused request
//! - [`download`]: conditions and ranges of an image that is sent
//! - [`exchange`]: what became of a request; [`traffic`]: how many of which kind, how long they
//!   took; `access_line`: the line about it
//! - [`html`]: a list as a page
//! - [`status`], [`metrics`] in an [`exposition`], [`process`]: what a node says about itself; [`survey`]: what all of them say; [`mod@page`]: for
//!   people with a browser
//! - [`service`]: what acceptor and workers share
//!
//! Knows nothing of placement, sealing and files: that is `node`'s.

pub(crate) mod acceptor;
pub(crate) mod acceptor_handle;
mod access_line;
pub(crate) mod answers;
pub(crate) mod authorize;
mod certificate_watch;
pub mod config;
pub(crate) mod connection;
pub(crate) mod download;
pub(crate) mod error;
pub(crate) mod exchange;
pub(crate) mod exposition;
pub(crate) mod gate;
pub(crate) mod handle;
pub(crate) mod html;
pub(crate) mod metrics;
pub(crate) mod page;
pub(crate) mod process;
pub(crate) mod quota;
pub(crate) mod rate;
pub(crate) mod relay;
pub(crate) mod request;
pub(crate) mod serve;
pub(crate) mod service;
pub(crate) mod status;
pub(crate) mod survey;
pub(crate) mod traffic;
pub(crate) mod workers;

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Mutex, RwLock};
use std::thread;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;

use self::acceptor::Acceptor;
use self::acceptor_handle::AcceptorHandle;
use self::authorize::Access;
use self::certificate_watch::CertificateWatch;
use self::config::Config;
use self::gate::Gate;
use self::quota::Quota;
use self::rate::Rate;
use self::relay::Relays;
use self::serve::serve;
use self::service::Service;
use self::survey::Surveys;
use self::traffic::Traffic;
use self::workers::Workers;
use crate::cluster::settings::ClusterSettings;
use crate::cluster::{Cluster, time};
use crate::condition::ConditionCell;
use crate::lease::CLOCK_LEAD_MS;
use crate::lease::knowledge::Knowledge;
use crate::members::Members;
use crate::node::counters::Counters;
use crate::node::disk::DiskWatch;
use crate::node::leave;
use crate::node::listings::Listings;
use crate::node::misplaced::Misplaced;
use crate::node::names::NameLocks;
use crate::node::peers::Peers;
use crate::node::settle::Settling;
use crate::node::shared::Node;
use crate::node::transfers::Transfers;
use crate::roster::NodeId;
use crate::sealing::blocks::Blocks;
use crate::sealing::pool::SealingPool;
use crate::secrets;
use crate::store::Store;
use crate::store::memory::CLOCK_AGE_MS_MAX;
use crate::ticket::TicketKey;
use crate::tls::files::NodeFiles;
use crate::tls::settings::{ClientTls, ServerTls};
use crate::version::{Clock, Time};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;

/// A running node.
pub struct Server {
    service: Arc<Service>,
    listen: SocketAddr,
    allow_hosts: Vec<String>,
    secrets: PathBuf,
    tls_files: Option<NodeFiles>,
    certificate_watch: Option<CertificateWatch>,
    acceptor: thread::JoinHandle<Workers>,
    settling: Settling,
    grace: Duration,
    disk_watch: DiskWatch,
}

impl Server {
    /// Takes the port, opens folder and keys, joins the cluster and begins to serve. An error is one sentence.
    pub fn start(config: Config) -> Result<Server, String> {
        let (listen, limits, grace) = (config.listen, config.limits, config.grace);
        let folder = config.secrets.clone();
        let secrets = secrets::load_or_create(&folder).map_err(|e| e.to_string())?;
        let access = access(&config)?;
        let tls = config.tls.as_ref().map(load_tls).transpose()?;
        let (tls_files, (tls, tls_of_peers)) = (config.tls.clone(), tls.unzip());
        let listener = listen_on(listen).map_err(|e| cannot_listen(listen, &e))?;
        let gate = ArcSwap::from_pointee(Gate::new(&config.members, listen, &config.allow_hosts));
        let (allow_hosts, relay) = (config.allow_hosts.clone(), config.relay);
        let (node, met) = start_node(config, secrets, tls_of_peers)?;
        let cannot_start = |e: io::Error| format!("cannot start a thread: {e}");
        // Before the first request.
        let disk_watch = DiskWatch::start(Arc::clone(&node)).map_err(cannot_start)?;
        let cannot_watch = |e: io::Error| format!("cannot watch connections: {e}");
        let (acceptor, returns) = AcceptorHandle::new().map_err(cannot_watch)?;
        let service = Arc::new(Service {
            node: Arc::clone(&node),
            gate,
            access: ArcSwap::from_pointee(access),
            tls: tls.map(ArcSwap::from_pointee),
            certificate_complaints: ArcSwap::default(),
            connections: Quota::capped(limits.connections_max, limits.connections_per_address_max),
            acceptor,
            waiting: AtomicUsize::new(0),
            workers: Quota::shared_fairly(limits.workers),
            limits,
            relays: Relays::new(limits.workers),
            relays_all: relay,
            surveys: Surveys::default(),
            pressure: Arc::default(),
            is_remote: !listen.ip().is_loopback(),
            closed: AtomicBool::new(false),
            traffic: Traffic::default(),
            started_ms: time::wall_ms(),
        });
        let acceptor =
            Acceptor::new(listener, Arc::clone(&service), returns, limits.queue).map_err(cannot_watch)?;
        tell_who_gets_in(&service);
        let serving = Arc::clone(&service);
        let workers = Workers::new(limits.workers, limits.queue, move |connection, queue| {
            serve(&serving, connection, queue);
            // The client may have others that wait for this worker.
            if serving.do_others_wait() {
                serving.acceptor.wake();
            }
        });
        let acceptor = workers
            .and_then(|workers| acceptor.start(workers))
            .map_err(cannot_start)?;
        let settling = Settling::start(node, met).map_err(cannot_start)?;
        let certificate_watch = CertificateWatch::start(&service).map_err(cannot_start)?;
        Ok(Server {
            service,
            listen,
            allow_hosts,
            secrets: folder,
            tls_files,
            certificate_watch,
            acceptor,
            settling,
            grace,
            disk_watch,
        })
    }

    /// These are to be the members from now on: their addresses at once, their ids once all nodes that are there want them
    /// too.
    pub fn set_members(&self, members: Members) {
        let node = &self.service.node;
        let hosts = members.and(&node.members());
        self.service
            .gate
            .store(Arc::new(Gate::new(&hosts, self.listen, &self.allow_hosts)));
        node.cluster.set_members(members);
    }

    /// Reads the tokens again, and returns how many there are; `None`: there is no file of them, and there was none. An error
    /// changes nothing: whoever takes the file away does not open the node to everybody.
    pub fn reload_tokens(&self) -> Result<Option<usize>, String> {
        let loaded = secrets::load_tokens(&self.secrets).map_err(|e| e.to_string())?;
        let access = self.service.access.load();
        let count = loaded.as_ref().map(|tokens| tokens.iter().count());
        if loaded.is_none() && access.tokens.is_some() {
            return Err(format!(
                "{} is gone: the tokens that it held stay good until this node is restarted",
                self.secrets.join(secrets::TOKENS_FILE).display()
            ));
        }
        self.service.access.store(Arc::new(Access {
            tokens: loaded,
            is_metrics_open: access.is_metrics_open,
            rate: access.rate.clone(),
        }));
        Ok(count)
    }

    /// Reads certificates, keys and authorities again: whoever connects from now on is shown them. `false`: this node speaks
    /// plain HTTP. An error changes nothing.
    pub fn reload_tls(&self) -> Result<bool, String> {
        let (Some(files), Some(current)) = (&self.tls_files, &self.service.tls) else {
            return Ok(false);
        };
        let (tls, tls_of_peers) = load_tls(files)?;
        current.store(Arc::new(tls));
        self.service.node.peers.set_tls(tls_of_peers);
        if let Some(watch) = &self.certificate_watch {
            watch.look_again();
        }
        Ok(true)
    }

    /// What this node is asked by: `http` or `https`.
    pub fn scheme(&self) -> &'static str {
        self.service.node.scheme()
    }

    /// Leaves the cluster, and returns once everything has ended that this node was doing, or when the grace is over.
    /// Then the process is to end: clients whose transfers are cut are still being served.
    pub fn stop(self) {
        let Server {
            service,
            acceptor,
            settling,
            grace,
            disk_watch,
            ..
        } = self;
        let node = &service.node;
        let deadline = leave::drain(node, grace);
        leave::tell(node, deadline);
        service.close();
        let is_over = || node.cluster.now() >= deadline;
        // It waits for nobody. If it has panicked, the process is ending.
        let Ok(workers) = acceptor.join() else {
            return;
        };
        settling.finish(is_over);
        workers.finish(is_over);
        drop(disk_watch);
        let cut = node.transfers.in_progress();
        if !cut.is_empty() {
            log::info!(
                "Node {}: The grace of {} s is over; {cut} {} cut",
                node.id,
                grace.as_secs(),
                cut.verb()
            );
        }
    }
}

/// Opens the images folder and joins the cluster. Returns the members that this node has heard before as well.
fn start_node(
    config: Config,
    secrets: secrets::Secrets,
    tls: Option<ClientTls>,
) -> Result<(Arc<Node>, BTreeSet<NodeId>), String> {
    let listen = config.listen;
    let mut store = Store::open(&config.images, config.id, config.durability).map_err(|e| e.to_string())?;
    if let Some(bytes) = config.user_quota {
        store.set_user_quota(bytes).map_err(|e| e.to_string())?;
    }
    let random = secrets::random().map_err(|e| e.to_string())?;
    let memory = store.begin_life(now(), u64::from_be_bytes(*random));
    let memory = memory.map_err(|e| e.to_string())?;
    let mut met = memory.met.clone();
    if let Some(why) = &memory.unkept {
        log::warn!(
            "Node {}: {why}: it starts all the same, and answers reads; its incarnation {} comes from the clock, and is written \
             down once the disk can be written",
            config.id,
            memory.incarnation
        );
        // A life that the disk could not remember may have heard any of them.
        met.extend(config.members.ids());
    }
    let knowledge = memory.known.as_deref().and_then(recall);
    let clock = start_clock(memory.clock, knowledge.as_ref());
    let tickets = TicketKey::new(&secrets.cluster_key);
    let condition = Arc::new(ConditionCell::default());
    let cluster = Cluster::start(ClusterSettings {
        own: config.id,
        members: config.members,
        listen,
        is_at_home: config.is_at_home,
        image_keys: secrets.keyset.fingerprints(&secrets.cluster_key),
        key: secrets.cluster_key,
        incarnation: memory.incarnation,
        health_timeout: config.health_timeout,
        condition: Arc::clone(&condition),
        clock: Arc::clone(&clock),
        folder: memory.folder,
        met,
        companions: memory.companions,
        knowledge,
    })
    .map_err(|e| cannot_listen(listen, &e))?;
    let node = Node {
        id: config.id,
        keyset: Arc::new(secrets.keyset),
        store,
        cluster,
        clock,
        tickets,
        peers: Peers::new(tls),
        names: NameLocks::default(),
        judging: NameLocks::default(),
        commits: RwLock::new(()),
        confirmations: RwLock::new(()),
        listings: Listings::default(),
        taking_over: Mutex::new(()),
        pool: SealingPool::new().map_err(|e| format!("cannot start the pool that seals: {e}"))?,
        blocks: Blocks::new(config.limits.blocks),
        counters: Counters::default(),
        body_bytes_max: config.limits.body_bytes_max,
        pixels_max: config.limits.pixels_max,
        png_rules: config.png_rules,
        condition,
        transfers: Transfers::default(),
        misplaced: Misplaced::default(),
        min_free: config.disk_min_free,
        held: Mutex::default(),
        room: Mutex::default(),
    };
    Ok((Arc::new(node), memory.met))
}

/// The clock of a node that starts, later than any time that its earlier lives have used.
fn start_clock(remembered: Time, knowledge: Option<&Knowledge>) -> Arc<Clock> {
    let clock = Clock::default();
    // How far ahead the clock was when the node stopped, it does not know.
    clock.start_after(Time::from_ms(time::wall_ms()).plus_ms(CLOCK_LEAD_MS));
    // Only if the wall clock went back, it was further ahead.
    if remembered > clock.now(0).plus_ms(CLOCK_AGE_MS_MAX) {
        clock.start_after(remembered);
    }
    // What earlier lives stored, it does not know either, unless the last one has told.
    clock.store(knowledge.map_or(clock.now(0), |knowledge| knowledge.stored));
    Arc::new(clock)
}

/// What the last life of a node knew, if it can be read.
fn recall(text: &str) -> Option<Knowledge> {
    match serde_json::from_str::<Knowledge>(text) {
        Ok(knowledge) => Some(knowledge),
        Err(e) => {
            log::warn!("what this node knew of the others when it left cannot be read ({e}): it asks them");
            None
        }
    }
}

/// What a node shows to whoever connects, and what it is by when it asks others.
fn load_tls(files: &NodeFiles) -> Result<(ServerTls, ClientTls), String> {
    Ok((ServerTls::load(files)?, ClientTls::load(&files.as_client())?))
}

/// Who may do what. An error if everybody who can connect from elsewhere could do everything, and nobody wanted that.
fn access(config: &Config) -> Result<Access, String> {
    let tokens = secrets::load_tokens(&config.secrets).map_err(|e| e.to_string())?;
    let is_open_to_all = tokens.is_none() && !config.listen.ip().is_loopback();
    if is_open_to_all && !config.insecure_allow_remote {
        return Err(open_to_all(config));
    }
    Ok(Access {
        tokens,
        is_metrics_open: config.metrics_open,
        rate: config.token_rate.map(|rate| Arc::new(Rate::new(rate))),
    })
}

fn tell_who_gets_in(service: &Service) {
    match &service.access.load().tokens {
        Some(tokens) => log::info!(
            "Node {}: Tokens known: {}; nobody gets in without one",
            service.node.id,
            tokens.iter().count()
        ),
        None if service.is_remote => log::warn!("Node {}: {}", service.node.id, status::OPEN_TO_ALL),
        None => {}
    }
    if service.is_remote && service.tls.is_none() {
        log::warn!(
            "Node {}: What travels to and from this node can be read on the way, tokens too: give it a \
             certificate (docs/tls.md), put TLS in front of it (docs/proxy.md), or keep it on a network that you trust",
            service.node.id
        );
    }
}

fn open_to_all(config: &Config) -> String {
    format!(
        "whoever can reach {} could read, overwrite and delete every image, since there are no tokens: make some with `seal \
         token add USER --secrets {}` for whoever is to use this cluster, or listen on 127.0.0.1 only, or allow it with \
         --insecure-allow-remote",
        config.listen,
        config.secrets.display()
    )
}

fn cannot_listen(address: SocketAddr, error: &io::Error) -> String {
    format!("cannot listen on {address}: {error}")
}

#[allow(clippy::disallowed_types, reason = "the only listener")]
fn listen_on(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    // The library asks for 128. When more come at once, the kernel drops them, and they come back after a second.
    rustix::net::listen(&listener, BACKLOG)?;
    Ok(listener)
}

#[allow(
    clippy::disallowed_methods,
    reason = "the edge tells the time to the rooms that must not look"
)]
fn now() -> SystemTime {
    SystemTime::now()
}
