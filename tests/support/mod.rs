//! Real nodes for tests: child processes with folders of their own, ended when dropped.
//!
//! Each test process has a loopback address to itself, made from its process id, and counts ports up on it, so that
//! no two tests ever want the same port and none has to guess a free one.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "several test programs share this, each uses a part, and a test fails by panicking"
)]

pub mod picture;
pub mod wire;

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use wire::Answer;

/// How long anything may take that should happen soon. Generous, since tests share two cores with each other.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// How often a condition is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
const FIRST_PORT: u16 = 24_000;
/// How much of a node's log is shown when its test fails.
const LOG_LINES_SHOWN: usize = 40;

static PORTS: AtomicU16 = AtomicU16::new(FIRST_PORT);

/// Waits until `condition` gives something; panics with `what` when it takes too long.
pub fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(outcome) = condition() {
            return outcome;
        }
        assert!(
            Instant::now() < end,
            "waited {} s in vain: {what}",
            PATIENCE.as_secs()
        );
        thread::sleep(LOOK_AGAIN);
    }
}

/// An address that nobody else on this machine uses.
pub fn fresh_address() -> SocketAddr {
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    let host = IpAddr::V4(Ipv4Addr::new(127, 64 | high, middle, low));
    SocketAddr::new(host, PORTS.fetch_add(1, Ordering::Relaxed))
}

/// One node: its place on disk, and its process while it runs.
pub struct Node {
    pub id: u32,
    pub address: SocketAddr,
    /// Its images, its secrets and its log; `images/`, `secrets/`, `log`.
    pub root: PathBuf,
    cluster_file: PathBuf,
    options: Vec<String>,
    child: Option<Child>,
}

/// Nodes 1, 2, 3 … with one set of keys and a folder of images each.
pub struct Cluster {
    pub nodes: Vec<Node>,
    root: tempfile::TempDir,
}

impl Cluster {
    /// `count` nodes that have agreed on a leader.
    pub fn start(count: u32) -> Cluster {
        Cluster::with(count, &[])
    }

    /// The same, each started with `options`.
    pub fn with(count: u32, options: &[&str]) -> Cluster {
        let mut cluster = Cluster::prepare(count, options);
        for node in &mut cluster.nodes {
            node.start();
        }
        cluster.await_agreement();
        cluster
    }

    /// Folders and addresses of `count` nodes, none of which runs.
    pub fn prepare(count: u32, options: &[&str]) -> Cluster {
        let root = tempfile::tempdir().unwrap();
        let cluster_file = root.path().join("cluster.toml");
        let addresses: Vec<SocketAddr> = (0..count).map(|_| fresh_address()).collect();
        let mut text = "[nodes]\n".to_owned();
        for (id, address) in (1..).zip(&addresses) {
            text.push_str(&format!("{id} = \"{address}\"\n"));
        }
        fs::write(&cluster_file, text).unwrap();
        let node = |(id, address): (u32, SocketAddr)| Node {
            id,
            address,
            root: root.path().join(id.to_string()),
            cluster_file: cluster_file.clone(),
            options: options.iter().map(|option| (*option).to_owned()).collect(),
            child: None,
        };
        let nodes: Vec<Node> = (1..).zip(addresses).map(node).collect();
        for node in &nodes {
            fs::create_dir(&node.root).unwrap();
        }
        Cluster { nodes, root }
    }

    /// Where everything of this cluster is, the keys (`secrets/`) included.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// Node `id`.
    pub fn node(&self, id: u32) -> &Node {
        &self.nodes[id as usize - 1]
    }

    /// Node `id`, to be stopped or started.
    pub fn node_mut(&mut self, id: u32) -> &mut Node {
        &mut self.nodes[id as usize - 1]
    }

    /// Waits until every running node sees exactly the running nodes, and all follow one of them. Returns that one.
    pub fn await_agreement(&self) -> u32 {
        let running: Vec<u32> = self
            .nodes
            .iter()
            .filter(|n| n.child.is_some())
            .map(|n| n.id)
            .collect();
        wait_for("all nodes agree on a leader and on who is alive", || {
            let states: Option<Vec<Value>> = running.iter().map(|id| self.node(*id).state()).collect();
            let states = states?;
            let leader = states[0]["leader"].as_u64()?;
            let agree = states.iter().all(|state| {
                state["leader"] == states[0]["leader"]
                    && state["term"] == states[0]["term"]
                    && state["alive"] == serde_json::json!(running)
            });
            agree.then(|| u32::try_from(leader).unwrap())
        })
    }

    /// A name that `user`'s image would have to have to be assigned to node `id` while all nodes are alive.
    pub fn name_on(&self, id: u32, user: &str) -> String {
        let all = self.nodes.iter().map(|n| pixseal::roster::NodeId(n.id));
        let roster = pixseal::roster::Roster::new(pixseal::roster::NodeId(id), all);
        (0..)
            .map(|i| format!("picture_{i}.png"))
            .find(|name| pixseal::balancer::assigned(user, name, &roster).0 == id)
            .unwrap()
    }
}

impl Node {
    /// Starts the process. It serves when this returns.
    pub fn start(&mut self) {
        self.launch();
        wait_for("the node serves", || {
            if let Some(status) = self.child.as_mut().unwrap().try_wait().unwrap() {
                panic!(
                    "node {} ended at its start ({status}):\n{}",
                    self.id,
                    self.log_end()
                );
            }
            wire::try_ask(self.address, "GET", "/healthz").filter(|answer| answer.status == 200)
        });
    }

    /// Starts the process and does not wait for it.
    pub fn launch(&mut self) {
        assert!(self.child.is_none(), "node {} runs already", self.id);
        let child = self.command().spawn().unwrap();
        self.child = Some(child);
    }

    /// The command that starts this node, for tests that change it.
    pub fn command(&self) -> Command {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log_path())
            .unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_server"));
        command
            .arg(self.id.to_string())
            .arg("--cluster")
            .arg(&self.cluster_file);
        command.arg("--images").arg(self.images());
        command.arg("--secrets").arg(self.secrets());
        command.args(&self.options).current_dir(&self.root);
        command.env_remove("RUST_LOG").stdin(Stdio::null());
        command.stdout(log.try_clone().unwrap()).stderr(log);
        command
    }

    /// Takes over a process that was started from [`Node::command`].
    pub fn adopt(&mut self, child: Child) {
        assert!(self.child.is_none(), "node {} runs already", self.id);
        self.child = Some(child);
    }

    /// Ends the process at once, as a power loss of the process would.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Asks the process to end and waits until it did.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.await_end()
    }

    /// Waits until the process ends by itself.
    pub fn await_end(&mut self) -> ExitStatus {
        let mut child = self.child.take().unwrap();
        wait_for("the node ends", || child.try_wait().unwrap())
    }

    /// Sends a signal: STOP freezes the node, CONT lets it go on.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(self.child.as_ref().unwrap()), signal).unwrap();
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Folder of the sealed images.
    pub fn images(&self) -> PathBuf {
        self.root.join("images")
    }

    /// Folder of the keys, which all nodes of the cluster share.
    pub fn secrets(&self) -> PathBuf {
        self.root.parent().unwrap().join("secrets")
    }

    /// Everything this node has printed so far, results and warnings together.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// What lies in the images folder and in the work folder beside it, in the order of the names. The file that
    /// counts the starts of the node is left out.
    pub fn files(&self) -> Vec<String> {
        let mut names = Vec::new();
        for folder in [self.images(), self.images().join(".pixseal")] {
            for entry in fs::read_dir(folder).into_iter().flatten() {
                names.push(entry.unwrap().file_name().into_string().unwrap());
            }
        }
        names.retain(|name| name != ".pixseal" && !name.ends_with(".incarnation"));
        names.sort();
        names
    }

    /// `/cluster`, if the node answers.
    pub fn state(&self) -> Option<Value> {
        let answer = wire::try_ask(self.address, "GET", "/cluster")?;
        serde_json::from_slice(&answer.body).ok()
    }

    /// A request without a body, on a connection of its own.
    pub fn ask(&self, method: &str, target: &str) -> Answer {
        wire::try_ask(self.address, method, target)
            .unwrap_or_else(|| panic!("node {} gave no answer to {method} {target}", self.id))
    }

    /// An upload with a length, on a connection of its own.
    pub fn put(&self, target: &str, image: &[u8]) -> Answer {
        let mut wire = wire::Wire::connect(self.address);
        wire.send(&wire::put_head(self.address, target, image.len(), ""));
        wire.send(image);
        wire.answer().expect("an upload is answered")
    }

    fn log_path(&self) -> PathBuf {
        self.root.join("log")
    }

    fn log_end(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            eprintln!("--- node {} said last:\n{}", self.id, self.log_end());
        }
    }
}
