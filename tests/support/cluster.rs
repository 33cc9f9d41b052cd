//! Nodes as users run them: real child processes on free ports, ended when dropped.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;

use pixseal::balancer;
use pixseal::image_id::ImageId;
use pixseal::members::Members;
use pixseal::roster::{NodeId, Roster};
use pixseal::secrets;
use pixseal::tokens::Rights;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::address::free_address;
#[cfg(feature = "tls")]
use super::certificate::{self, Authority};
use super::observer::{Observer, OutputReader, Tap};
use super::wait_for;
use super::wire::{self, ReceivedAnswer, Wire};

/// The end of a node's log that is shown when its test fails.
const LOG_LINES_SHOWN: usize = 40;

/// One node: its place on disk, and its process while it runs.
pub struct TestNode {
    pub id: u32,
    pub address: SocketAddr,
    /// Its log, and its images unless all nodes share a folder of them.
    pub root: PathBuf,
    /// The text of the cluster file that it is given.
    pub members: String,
    /// A command line that the server's own is appended to.
    pub prefix: Vec<String>,
    /// Its options, but those for its files.
    pub options: Vec<String>,
    /// What is shown to it, if it has tokens.
    pub token: Option<String>,
    /// How it is known, if it speaks TLS.
    #[cfg(feature = "tls")]
    pub tls: Option<std::sync::Arc<rustls::ClientConfig>>,
    server: PathBuf,
    images: PathBuf,
    secrets: PathBuf,
    process: Option<NodeProcess>,
    tap: Option<Tap>,
}

struct NodeProcess {
    child: Child,
    /// Reads what the child prints, if an observer wants to know.
    reader: Option<OutputReader>,
}

/// Nodes 1, 2, 3 … with one set of keys.
pub struct TestCluster {
    pub nodes: Vec<TestNode>,
    root: tempfile::TempDir,
}

/// What differs from one cluster to another.
pub struct Layout {
    /// The server program.
    pub server: PathBuf,
    /// Options of each node.
    pub options: Vec<String>,
    /// All nodes write into one folder, as on one machine; otherwise each has its own, as on many.
    pub one_folder: bool,
    /// Where the cluster's folder is made.
    pub parent: PathBuf,
}

impl Default for Layout {
    fn default() -> Layout {
        Layout {
            server: PathBuf::from(env!("CARGO_BIN_EXE_server")),
            options: Vec::new(),
            one_folder: false,
            parent: std::env::temp_dir(),
        }
    }
}

impl TestCluster {
    /// `count` nodes that follow the highest of them.
    pub fn start(count: u32) -> TestCluster {
        TestCluster::with(count, &[])
    }

    /// The same, each started with `options`.
    pub fn with(count: u32, options: &[&str]) -> TestCluster {
        let mut cluster = TestCluster::prepare(count, options);
        cluster.start_all();
        cluster
    }

    /// Folders and addresses of `count` nodes, none of which runs.
    pub fn prepare(count: u32, options: &[&str]) -> TestCluster {
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        TestCluster::lay_out(
            count,
            Layout {
                options,
                ..Layout::default()
            },
        )
    }

    /// The same, with more to choose.
    pub fn lay_out(count: u32, layout: Layout) -> TestCluster {
        let folder = tempfile::Builder::new()
            .prefix("cluster-")
            .tempdir_in(layout.parent);
        let folder = folder.unwrap();
        let addresses: Vec<SocketAddr> = (0..count).map(|_| free_address()).collect();
        let lines = (1..)
            .zip(&addresses)
            .map(|(id, address)| format!("{id} = \"{address}\"\n"));
        let members = format!("[nodes]\n{}", lines.collect::<String>());
        let node = |(id, address): (u32, SocketAddr)| {
            let root = folder.path().join(id.to_string());
            fs::create_dir(&root).unwrap();
            let images = if layout.one_folder { folder.path() } else { &root };
            TestNode {
                id,
                address,
                members: members.clone(),
                prefix: Vec::new(),
                server: layout.server.clone(),
                images: images.join("images"),
                secrets: folder.path().join("secrets"),
                options: layout.options.clone(),
                token: None,
                #[cfg(feature = "tls")]
                tls: None,
                process: None,
                tap: None,
                root,
            }
        };
        let nodes = (1..).zip(addresses).map(node).collect();
        TestCluster { nodes, root: folder }
    }

    /// Starts every node and waits until they agree.
    pub fn start_all(&mut self) {
        self.nodes.iter_mut().for_each(TestNode::launch);
        self.nodes.iter_mut().for_each(TestNode::await_service);
        self.await_agreement();
    }

    /// Has the nodes, none of which runs, speak TLS by an authority that is made for them.
    #[cfg(feature = "tls")]
    pub fn speak_tls(&mut self) -> Authority {
        let authority = Authority::new(self.root(), "ca");
        let identity = authority.sign(self.root(), "node", &self.hosts());
        let config = certificate::client_config(&authority.file, None);
        for node in &mut self.nodes {
            node.options
                .extend(certificate::options_of(&identity, &authority.file));
            node.tls = Some(config.clone());
        }
        authority
    }

    /// What certificates for the nodes have to name.
    pub fn hosts(&self) -> Vec<String> {
        vec![self.node(1).address.ip().to_string()]
    }

    /// From now on, every node that starts prints to an observer.
    pub fn observe(&mut self) -> Observer {
        let observer = Observer::default();
        for node in &mut self.nodes {
            node.tap = Some(observer.tap(node.id));
        }
        observer
    }

    /// Where everything of this cluster is, the keys (`secrets/`) included.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// Its members, as clients know them.
    pub fn members(&self) -> Members {
        Members::parse(&self.node(1).members).unwrap()
    }

    /// Node `id`.
    pub fn node(&self, id: u32) -> &TestNode {
        &self.nodes[id as usize - 1]
    }

    /// Node `id`, to be stopped or started.
    pub fn node_mut(&mut self, id: u32) -> &mut TestNode {
        &mut self.nodes[id as usize - 1]
    }

    /// A second process with the id of node `id`, as somebody starts it by mistake: it listens elsewhere and has images of
    /// its own. It does not run yet.
    pub fn double_of(&self, id: u32) -> TestNode {
        let original = self.node(id);
        let address = free_address();
        let root = self.root().join(format!("double of {id}"));
        fs::create_dir(&root).unwrap();
        let mut options = original.options.clone();
        options.extend(["--listen".to_owned(), address.to_string()]);
        TestNode {
            id,
            address,
            members: original.members.clone(),
            prefix: original.prefix.clone(),
            options,
            token: original.token.clone(),
            #[cfg(feature = "tls")]
            tls: original.tls.clone(),
            server: original.server.clone(),
            images: root.join("images"),
            secrets: original.secrets.clone(),
            process: None,
            tap: None,
            root,
        }
    }

    /// The text of a cluster file that names these nodes, and no others.
    pub fn file_of(&self, ids: &[u32]) -> String {
        let line = |id: &u32| format!("{id} = \"{}\"\n", self.node(*id).address);
        format!("[nodes]\n{}", ids.iter().map(line).collect::<String>())
    }

    /// The nodes that run.
    pub fn running(&self) -> impl Iterator<Item = &TestNode> {
        self.nodes.iter().filter(|node| node.process.is_some())
    }

    /// Makes a token for `user`, which the nodes know from their next start, or SIGHUP, on.
    pub fn add_token(&self, user: &str, rights: &str) -> String {
        let (random, rights) = (secrets::random().unwrap(), Rights::parse(rights).unwrap());
        let added = secrets::update_tokens(&self.node(1).secrets(), |tokens| {
            tokens.add(&random, user, rights, None)
        });
        added.unwrap().1.to_string()
    }

    /// From now on, this token is shown to all nodes.
    pub fn show_token(&mut self, token: &str) {
        for node in &mut self.nodes {
            node.token = Some(token.to_owned());
        }
    }

    /// Waits until every running node sees exactly the running nodes and follows the highest of them, which is how
    /// every election ends, whoever led before. Returns the leader.
    pub fn await_agreement(&self) -> u32 {
        let running: Vec<u32> = self.running().map(|node| node.id).collect();
        let leader = *running.last().unwrap();
        wait_for("all nodes agree on a leader and on who is alive", || {
            let states: Option<Vec<Value>> = self.running().map(TestNode::state).collect();
            let states = states?;
            let agree = states.iter().all(|state| {
                state["leader"] == leader
                    && state["term"] == states[0]["term"]
                    && state["alive"] == serde_json::json!(running)
            });
            agree.then_some(leader)
        })
    }

    /// Waits until every running node knows that all members are there and that every image is in its place.
    pub fn await_settled(&self) {
        super::wait_for("the cluster is settled", || {
            let settled = |node: &TestNode| node.state().is_some_and(|state| state["settled"] == true);
            self.running().all(settled).then_some(())
        });
    }

    /// The nodes whose folders hold an image, for each image.
    pub fn holders(&self) -> BTreeMap<ImageId, Vec<NodeId>> {
        let mut holders: BTreeMap<ImageId, Vec<NodeId>> = BTreeMap::new();
        for node in &self.nodes {
            for entry in fs::read_dir(node.images()).unwrap() {
                let name = entry.unwrap().file_name();
                if let Some(id) = name.to_str().and_then(ImageId::from_file_name) {
                    holders.entry(id).or_default().push(NodeId(node.id));
                }
            }
        }
        holders
    }

    /// A name that `user`'s image would have to have to be assigned to node `id` while all nodes are alive.
    pub fn name_on(&self, id: u32, user: &str) -> String {
        (0..)
            .map(|i| format!("picture_{i}.png"))
            .find(|name| self.assigned(user, name) == id)
            .unwrap()
    }

    /// The node that an image is assigned to while all nodes take images.
    pub fn assigned(&self, user: &str, name: &str) -> u32 {
        let all = self.nodes.iter().map(|node| NodeId(node.id));
        balancer::assigned(user, name, &Roster::new(NodeId(1), all)).0
    }
}

impl TestNode {
    /// Starts the process. It serves when this returns.
    pub fn start(&mut self) {
        self.launch();
        self.await_service();
    }

    /// Starts the process and does not wait for it.
    pub fn launch(&mut self) {
        let mut command = self.command();
        if self.tap.is_some() {
            command.stdout(Stdio::piped());
        }
        let child = command.spawn().unwrap();
        self.adopt(child);
    }

    fn await_service(&mut self) {
        wait_for("the node serves", || {
            if let Some(status) = self.process.as_mut().unwrap().child.try_wait().unwrap() {
                panic!(
                    "node {} ended at its start ({status}):\n{}",
                    self.id,
                    self.log_end()
                );
            }
            wire::ask_on(self.try_connect().ok()?, ("GET", "/healthz"), "")
                .filter(|answer| answer.status == 200)
        });
    }

    /// The command that starts this node, for tests that change it.
    pub fn command(&self) -> Command {
        let file = self.cluster_file();
        fs::write(&file, &self.members).unwrap();
        let mut words = self.prefix.iter().map(PathBuf::from).chain([self.server.clone()]);
        let mut command = Command::new(words.next().unwrap());
        command.args(words).arg(self.id.to_string());
        command.arg("--cluster").arg(file);
        command.arg("--images").arg(self.images());
        command.arg("--secrets").arg(self.secrets());
        command.args(&self.options).current_dir(&self.root);
        command.env_remove("RUST_LOG").stdin(Stdio::null());
        let log = self.open_log();
        command.stdout(log.try_clone().unwrap()).stderr(log);
        command
    }

    /// Takes over a process that was started from [`TestNode::command`].
    pub fn adopt(&mut self, mut child: Child) {
        assert!(self.process.is_none(), "node {} runs already", self.id);
        let stdout = child.stdout.take().zip(self.tap.as_ref());
        let reader = stdout.map(|(stdout, tap)| tap.read(stdout, self.open_log()));
        self.process = Some(NodeProcess { child, reader });
    }

    /// Ends the process at once, as a power loss of the process would.
    pub fn kill(&mut self) {
        if let Some(running) = &mut self.process {
            let _ = running.child.kill();
            self.await_end();
        }
    }

    /// Asks the process to end and waits until it did.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.await_end()
    }

    /// Waits until the process ends by itself.
    pub fn await_end(&mut self) -> ExitStatus {
        // One that does not end stays ours: it is ended with the test.
        let running = self.process.as_mut().unwrap();
        let status = wait_for("the node ends", || running.child.try_wait().unwrap());
        if let Some(reader) = self.process.take().unwrap().reader {
            reader.finish();
        }
        status
    }

    /// Whether the process has ended, which it may have done by itself.
    pub fn has_ended(&mut self) -> bool {
        self.process
            .as_mut()
            .is_none_or(|running| running.child.try_wait().unwrap().is_some())
    }

    /// Sends a signal: STOP freezes the node, CONT lets it go on.
    pub fn signal(&self, signal: Signal) {
        let running = self.process.as_ref().unwrap();
        kill_process(Pid::from_child(&running.child), signal).unwrap();
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.process.as_ref().unwrap().child.id()
    }

    /// Folder of the sealed images.
    pub fn images(&self) -> PathBuf {
        self.images.clone()
    }

    /// Folder of the keys, which all nodes of the cluster share, unless one has its own.
    pub fn secrets(&self) -> PathBuf {
        self.secrets.clone()
    }

    /// From its next start on, it has a folder of keys to itself, or again the one that all share.
    pub fn has_own_secrets(&mut self, own: bool) {
        let root = if own {
            &self.root
        } else {
            self.root.parent().unwrap()
        };
        self.secrets = root.join("secrets");
    }

    /// The cluster file that it is given.
    pub fn cluster_file(&self) -> PathBuf {
        self.root.join("cluster.toml")
    }

    /// Writes another cluster file and has the node read it.
    pub fn reload(&mut self, members: &str) {
        members.clone_into(&mut self.members);
        fs::write(self.cluster_file(), members).unwrap();
        self.signal(Signal::HUP);
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
        // What a node remembers and locks is always there.
        let kept = [".pixseal", "folder", "tombstones"];
        let remembered = [".incarnation", ".clock", ".met", ".lock", ".drain"];
        names.retain(|name| {
            !kept.contains(&name.as_str()) && !remembered.iter().any(|ending| name.ends_with(ending))
        });
        names.sort();
        names
    }

    /// `/cluster`, if the node answers.
    pub fn state(&self) -> Option<Value> {
        let shown = wire::authorization(self.token());
        let answer = wire::ask_on(self.try_connect().ok()?, ("GET", "/cluster"), &shown)?;
        serde_json::from_slice(&answer.body).ok()
    }

    /// A request without a body, on a connection of its own.
    pub fn ask(&self, method: &str, target: &str) -> ReceivedAnswer {
        self.ask_as(self.token(), method, target)
    }

    /// The same with this token, or with none.
    pub fn ask_as(&self, token: Option<&str>, method: &str, target: &str) -> ReceivedAnswer {
        let wire = self.try_connect().ok();
        wire.and_then(|wire| wire::ask_on(wire, (method, target), &wire::authorization(token)))
            .unwrap_or_else(|| panic!("node {} gave no answer to {method} {target}", self.id))
    }

    /// An upload with a length, on a connection of its own.
    pub fn put(&self, target: &str, image: &[u8]) -> ReceivedAnswer {
        self.put_at(self.address, target, image)
    }

    fn put_at(&self, address: SocketAddr, target: &str, image: &[u8]) -> ReceivedAnswer {
        wire::put_on(self.connect_to(address).unwrap(), target, image, self.token())
    }

    /// A connection to it, over TLS if it speaks that.
    pub fn try_connect(&self) -> std::io::Result<Wire> {
        self.connect_to(self.address)
    }

    /// A connection to a node of its cluster.
    fn connect_to(&self, address: SocketAddr) -> std::io::Result<Wire> {
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            return Wire::try_connect_tls(address, tls);
        }
        Wire::try_connect(address)
    }

    fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// The same as [`TestNode::ask`], and redirects are followed.
    pub fn ask_through(&self, method: &str, target: &str) -> ReceivedAnswer {
        let ask = |address, target: &str| {
            let wire = self.connect_to(address).ok();
            wire.and_then(|wire| wire::ask_on(wire, (method, target), ""))
                .expect("an answer")
        };
        wire::follow(self.ask(method, target), ask)
    }

    /// The same as [`TestNode::put`], and redirects are followed.
    pub fn put_through(&self, target: &str, image: &[u8]) -> ReceivedAnswer {
        let put = |address, target: &str| self.put_at(address, target, image);
        wire::follow(self.put(target, image), put)
    }

    fn open_log(&self) -> File {
        let mut options = OpenOptions::new();
        options.create(true).append(true).open(self.log_path()).unwrap()
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

impl Drop for TestNode {
    fn drop(&mut self) {
        // Not by `kill`, which panics when the process does not end.
        if let Some(running) = &mut self.process {
            let _ = running.child.kill();
            let _ = running.child.wait();
        }
        if thread::panicking() {
            eprintln!("--- node {} said last:\n{}", self.id, self.log_end());
        }
    }
}
