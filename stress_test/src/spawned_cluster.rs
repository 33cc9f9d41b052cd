//! A cluster for one run: servers on free ports with a temporary folder, stopped and removed at the end.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "an edge: processes, files, sockets and clocks"
)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use pixseal::client::Client;
use pixseal::members::Members;
use pixseal::report::Status;
use pixseal::roster::NodeId;
use rustix::process::{Pid, Signal, kill_process};

use crate::temporary_folder::TemporaryFolder;
use crate::watch::PATIENCE;

/// Time for started nodes to agree on a leader.
const AGREE_PATIENCE: Duration = Duration::from_secs(20);
/// Time between SIGTERM and the end of the process: somewhat more than the grace of a node.
const STOP_PATIENCE: Duration = Duration::from_secs(40);
const LOOK_EVERY: Duration = Duration::from_millis(20);
const PORT_TRIES: u32 = 100;
/// How many lines of its log are shown when a node does not come up.
const LOG_LINES: usize = 5;

/// The servers are stopped when the value is dropped.
pub(crate) struct SpawnedCluster {
    /// The nodes and where they listen.
    pub(crate) members: Members,
    program: PathBuf,
    nodes: Mutex<BTreeMap<NodeId, Child>>,
    /// Last, so that the servers end before their folder is removed.
    folder: TemporaryFolder,
}

impl SpawnedCluster {
    /// Starts `count` nodes and waits until they agree on a leader.
    pub(crate) fn start(count: u32, keep: bool) -> Result<SpawnedCluster, String> {
        let program = std::env::current_exe()
            .map(|own| own.with_file_name("server"))
            .map_err(|e| format!("--spawn: this program's folder is not known: {e}"))?;
        if !program.is_file() {
            return Err(format!(
                "--spawn needs the server program beside this one: {} is missing",
                program.display()
            ));
        }
        let folder =
            TemporaryFolder::new("cluster", keep).map_err(|e| format!("--spawn: temporary folder: {e}"))?;
        let mut text = "[nodes]\n".to_owned();
        let ports = free_ports(count).map_err(|e| format!("--spawn: no free port: {e}"))?;
        for (id, port) in (1..=count).zip(ports) {
            writeln!(text, "{id} = \"127.0.0.1:{port}\"").expect("writing to memory does not fail");
        }
        fs::write(folder.path().join("cluster.toml"), &text)
            .map_err(|e| format!("--spawn: cluster.toml: {e}"))?;
        let members = Members::parse(&text).map_err(|e| format!("--spawn: {e}"))?;
        let spawned = SpawnedCluster {
            members,
            program,
            nodes: Mutex::default(),
            folder,
        };
        for id in 1..=count {
            spawned
                .launch(NodeId(id))
                .map_err(|e| format!("--spawn: node {id}: {e}"))?;
        }
        spawned.agree()?;
        Ok(spawned)
    }

    pub(crate) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// Starts a node, in the folders it had before.
    pub(crate) fn launch(&self, id: NodeId) -> io::Result<()> {
        let path = self.folder.path();
        let log = File::options()
            .append(true)
            .create(true)
            .open(path.join(format!("{id}.log")))?;
        let child = Command::new(&self.program)
            .arg(id.to_string())
            .args(["--cluster", "cluster.toml", "--secrets", "secrets", "--images"])
            .arg(format!("images-{id}"))
            .current_dir(path)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // A Ctrl-C at the terminal is meant for the run, which stops the nodes itself when it is done.
            .process_group(0)
            .spawn()?;
        self.nodes().insert(id, child);
        Ok(())
    }

    /// Sends a signal to a node that runs.
    pub(crate) fn signal(&self, id: NodeId, signal: Signal) -> io::Result<()> {
        let nodes = self.nodes();
        let child = nodes
            .get(&id)
            .ok_or_else(|| io::Error::other(format!("node {id} does not run")))?;
        Ok(kill_process(Pid::from_child(child), signal)?)
    }

    /// Waits until a stopping node has ended; kills it after [`STOP_PATIENCE`].
    pub(crate) fn await_end(&self, id: NodeId) -> io::Result<()> {
        let Some(mut child) = self.nodes().remove(&id) else {
            return Ok(());
        };
        let deadline = Instant::now() + STOP_PATIENCE;
        while child.try_wait()?.is_none() {
            if Instant::now() >= deadline {
                child.kill()?;
            }
            thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    /// Starts or resumes every node that does not run, and waits until all agree.
    pub(crate) fn recover(&self) -> Result<(), String> {
        for (id, _) in self.members.iter() {
            let gone = match self.nodes().get_mut(&id) {
                Some(child) => !matches!(child.try_wait(), Ok(None)),
                None => true,
            };
            if gone {
                self.launch(id)
                    .map_err(|e| format!("node {id} could not be started again: {e}"))?;
            } else {
                self.signal(id, Signal::CONT)
                    .map_err(|e| format!("node {id}: {e}"))?;
            }
        }
        self.agree()
    }

    /// Waits until every node knows every other and all follow one leader.
    pub(crate) fn agree(&self) -> Result<(), String> {
        let deadline = Instant::now() + AGREE_PATIENCE;
        let mut client = Client::new(&self.members, PATIENCE);
        loop {
            let answers: Vec<Option<Status>> = self
                .members
                .iter()
                .map(|(id, _)| client.status(id).ok())
                .collect();
            if agreed(&answers) {
                return Ok(());
            }
            if let Some(id) = self.ended().or((Instant::now() >= deadline).then_some(NodeId(1))) {
                return Err(format!(
                    "node {id} did not come up; the end of its log:\n{}",
                    self.log_end(id)
                ));
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    /// A node that ended by itself.
    fn ended(&self) -> Option<NodeId> {
        let mut nodes = self.nodes();
        nodes
            .iter_mut()
            .find_map(|(id, child)| matches!(child.try_wait(), Ok(Some(_))).then_some(*id))
    }

    fn log_end(&self, id: NodeId) -> String {
        let log = fs::read_to_string(self.folder.path().join(format!("{id}.log"))).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }

    fn nodes(&self) -> MutexGuard<'_, BTreeMap<NodeId, Child>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for SpawnedCluster {
    fn drop(&mut self) {
        let ids: Vec<NodeId> = self.nodes().keys().copied().collect();
        for signal in [Signal::CONT, Signal::TERM] {
            for id in &ids {
                let _ = self.signal(*id, signal);
            }
        }
        for id in ids {
            if let Err(e) = self.await_end(id) {
                eprintln!("stress_test: node {id} could not be stopped: {e}");
            }
        }
    }
}

fn agreed(answers: &[Option<Status>]) -> bool {
    let leader = answers.first().and_then(|status| status.as_ref()?.leader);
    leader.is_some()
        && answers
            .iter()
            .flatten()
            .filter(|s| s.leader == leader && s.alive.len() == answers.len())
            .count()
            == answers.len()
}

/// Ports that are free for TCP and UDP. All stay bound until the last is found, so that no port comes twice.
fn free_ports(count: u32) -> io::Result<Vec<u16>> {
    let mut held = Vec::new();
    for _ in 0..count * PORT_TRIES {
        if held.len() == count as usize {
            break;
        }
        let tcp = TcpListener::bind("127.0.0.1:0")?;
        let port = tcp.local_addr()?.port();
        if let Ok(udp) = UdpSocket::bind(("127.0.0.1", port)) {
            held.push((port, tcp, udp));
        }
    }
    Ok(held.into_iter().map(|(port, ..)| port).collect())
}
