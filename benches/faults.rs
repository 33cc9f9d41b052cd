//! Mistakes of the people who run a cluster, one after the other: real servers on this machine.
//!
//! ```text
//! cargo bench --bench faults        exit codes: 0 passed, 1 a bound was exceeded
//! ```
//!
//! Of each it prints the sentence that `/cluster` said, which nodes were not ready, and how long it took from the end of
//! the mistake until all nodes were ready and agreed. A mistake ends when the double has ended, when a file is corrected
//! and SIGHUP sent, or when nodes with the right keys are started; a lost incarnation and a new address have no end of
//! their own: they heal from the start of the node on.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a drill measures time and runs processes"
)]
#![allow(clippy::unwrap_used, reason = "a drill that cannot run stops")]

#[path = "../tests/support/mod.rs"]
mod support;
#[path = "drill/verdict.rs"]
mod verdict;

use std::collections::BTreeSet;
use std::fs;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::address::free_address;
use support::cluster::{TestCluster, TestNode};
use verdict::Verdict;

const ALL: [u32; 3] = [1, 2, 3];
/// What is promised of doubles and lost incarnations.
const HEALED_MAX: Duration = Duration::from_secs(2);
/// What takes longer than this does not come, and the drill ends.
const STEP_TIME_MAX: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// A start of the year 3000.
const LATE_INCARNATION: u64 = 32_503_680_000_000;

fn main() -> ExitCode {
    Verdict::of("drill-faults", |verdict| {
        for fault in FAULTS {
            println!("{}", fault.name);
            let mut cluster = TestCluster::prepare(3, &[]);
            let mut seen = Seen::default();
            let healed = (fault.happen)(&mut cluster, &mut seen);
            seen.print(fault.said);
            match fault.healed_max {
                Some(most) => verdict.time("healed after", healed, most),
                None => println!("    healed after: {} ms", healed.as_millis()),
            }
        }
    })
}

struct Fault {
    name: &'static str,
    /// A part of the sentence that is expected.
    said: &'static str,
    healed_max: Option<Duration>,
    /// Makes the mistake and ends it. Returns how long it took from then on until all were ready and agreed.
    happen: fn(&mut TestCluster, &mut Seen) -> Duration,
}

const FAULTS: [Fault; 9] = [
    Fault {
        name: "a second node 1 is started elsewhere while all run",
        said: "Two processes say that they are Node 1",
        healed_max: Some(HEALED_MAX),
        happen: double,
    },
    Fault {
        name: "the double is there first, and the right node 1 is started later",
        said: "Two processes say that they are Node 1",
        healed_max: Some(HEALED_MAX),
        happen: double_first,
    },
    Fault {
        name: "node 1 is stopped, and started with an incarnation of long ago",
        said: "knows a later life of this node",
        healed_max: Some(HEALED_MAX),
        happen: lost_incarnation,
    },
    Fault {
        name: "keys were copied to no node",
        said: "has another cluster key",
        healed_max: None,
        happen: |cluster, seen| own_keys(cluster, seen, &ALL, &[]),
    },
    Fault {
        name: "node 3 has another cluster.key",
        said: "has another cluster key",
        healed_max: None,
        happen: |cluster, seen| own_keys(cluster, seen, &[3], &[1, 2]),
    },
    Fault {
        name: "node 3 has another keyset.json",
        said: "seals with a key that this node does not have",
        healed_max: None,
        happen: other_keyset,
    },
    Fault {
        name: "the cluster file of node 3 leaves node 2 out",
        said: "takes no part",
        healed_max: None,
        happen: file_without_one,
    },
    Fault {
        name: "node 4 is started, and only node 3 has it in its cluster file",
        said: "is not in this node's cluster file",
        healed_max: None,
        happen: unknown_member,
    },
    Fault {
        name: "node 3 is started at another address than the others' files have",
        said: "is heard from",
        healed_max: None,
        happen: moved,
    },
];

/// What nodes have said, and who was not ready, while somebody looked.
#[derive(Default)]
struct Seen {
    sentences: Vec<(u32, String)>,
    unready: BTreeSet<u32>,
    /// The same after the mistake had ended.
    unready_later: BTreeSet<u32>,
    has_ended: bool,
}

impl Seen {
    fn look_at_all(&mut self, cluster: &TestCluster) {
        for node in cluster.running() {
            self.look_at(node);
        }
    }

    fn look_at(&mut self, node: &TestNode) -> Option<Value> {
        let state = node.state()?;
        for sentence in state["warnings"].as_array()? {
            let said = (node.id, sentence.as_str()?.to_owned());
            if !self.sentences.contains(&said) {
                self.sentences.push(said);
            }
        }
        if !is_ready(node) {
            let unready = match self.has_ended {
                false => &mut self.unready,
                true => &mut self.unready_later,
            };
            unready.insert(node.id);
        }
        Some(state)
    }

    /// Looks at the nodes that run until all of `ids` are ready and place by one view of exactly them.
    fn until_agreed(&mut self, cluster: &TestCluster, ids: &[u32]) {
        self.until(
            cluster,
            &format!("nodes {ids:?} are ready and agree"),
            |cluster| {
                let states: Option<Vec<Value>> = ids.iter().map(|id| cluster.node(*id).state()).collect();
                let agree = |state: &Value, first: &Value| {
                    state["alive"] == serde_json::json!(ids) && state["view"] == first["view"]
                };
                let agreed = states.is_some_and(|states| states.iter().all(|state| agree(state, &states[0])));
                agreed && ids.iter().all(|id| is_ready(cluster.node(*id)))
            },
        );
    }

    fn until_said(&mut self, cluster: &TestCluster, part: &str) {
        if self.sentence(part).is_some() {
            return;
        }
        let is_said = |node: &TestNode| {
            let state = node.state();
            state.is_some_and(|state| state["warnings"].to_string().contains(part))
        };
        self.until(cluster, part, |cluster| cluster.running().any(is_said));
    }

    fn until(&mut self, cluster: &TestCluster, what: &str, mut condition: impl FnMut(&TestCluster) -> bool) {
        let end = Instant::now() + STEP_TIME_MAX;
        while !condition(cluster) {
            assert!(Instant::now() < end, "this was waited for in vain: {what}");
            for node in cluster.running() {
                self.look_at(node);
            }
            thread::sleep(LOOK_AGAIN);
        }
    }

    /// The mistake is over: from now on it heals.
    fn ends(&mut self) -> Instant {
        self.has_ended = true;
        Instant::now()
    }

    /// Forgets what was before: nodes that start are not ready, whoever is mistaken.
    fn begin_here(&mut self, cluster: &TestCluster) {
        *self = Seen::default();
        for node in cluster.running() {
            self.look_at(node);
        }
    }

    /// Who has said a sentence with this part, and the sentence.
    fn sentence(&self, part: &str) -> Option<&(u32, String)> {
        let mut said = self.sentences.iter();
        said.find(|(_, sentence)| sentence.contains(part))
    }

    fn print(&self, part: &str) {
        match self.sentence(part) {
            Some((node, sentence)) => println!("    node {node} said: {sentence}"),
            None => panic!("nobody said {part:?}, but {:?}", self.sentences),
        }
        println!("    not ready: {}", listed(&self.unready));
        if self.has_ended {
            println!(
                "    not ready for a moment while it healed: {}",
                listed(&self.unready_later)
            );
        }
    }
}

fn listed(ids: &BTreeSet<u32>) -> String {
    let ids: Vec<String> = ids.iter().map(u32::to_string).collect();
    if ids.is_empty() {
        "none".to_owned()
    } else {
        ids.join(", ")
    }
}

fn is_ready(node: &TestNode) -> bool {
    support::wire::try_ask(node.address, "GET", "/readyz").is_some_and(|answer| answer.status == 200)
}

fn start(cluster: &mut TestCluster, ids: &[u32]) {
    for id in ids {
        cluster.node_mut(*id).start();
    }
}

/// Looks on until the double has ended, and then until all is well.
fn outlive(cluster: &TestCluster, seen: &mut Seen, mut double: TestNode) -> Duration {
    seen.until(cluster, "the double ends", |_| double.has_ended());
    let since = seen.ends();
    assert_eq!(double.await_end().code(), Some(2), "the double gives way");
    seen.until_agreed(cluster, &ALL);
    let healed = since.elapsed();
    seen.until_said(cluster, "Two processes");
    seen.look_at_all(cluster);
    healed
}

fn double(cluster: &mut TestCluster, seen: &mut Seen) -> Duration {
    cluster.start_all();
    seen.until_agreed(cluster, &ALL);
    let mut double = cluster.double_of(1);
    seen.begin_here(cluster);
    double.launch();
    outlive(cluster, seen, double)
}

fn double_first(cluster: &mut TestCluster, seen: &mut Seen) -> Duration {
    let mut double = cluster.double_of(1);
    start(cluster, &[2, 3]);
    double.start();
    seen.until(cluster, "the double is taken for node 1", |cluster| {
        let counted = |node: &TestNode| {
            node.state()
                .is_some_and(|state| state["alive"] == serde_json::json!(ALL))
        };
        cluster.running().all(|node| counted(node) && is_ready(node))
    });
    seen.begin_here(cluster);
    start(cluster, &[1]);
    outlive(cluster, seen, double)
}

fn lost_incarnation(cluster: &mut TestCluster, seen: &mut Seen) -> Duration {
    let file = cluster.node(1).images().join(".pixseal/1.incarnation");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, format!("{LATE_INCARNATION}\n")).unwrap();
    cluster.start_all();
    cluster.node_mut(1).stop();
    seen.until_agreed(cluster, &[2, 3]);
    fs::remove_file(&file).unwrap();
    seen.begin_here(cluster);
    let since = Instant::now();
    cluster.node_mut(1).launch();
    seen.until_agreed(cluster, &ALL);
    since.elapsed()
}

/// The nodes `odd` make keys of their own; `right` are those that serve then.
fn own_keys(cluster: &mut TestCluster, seen: &mut Seen, odd: &[u32], right: &[u32]) -> Duration {
    for id in odd {
        cluster.node_mut(*id).has_own_secrets(true);
    }
    start(cluster, &ALL);
    let is_told = |node: &TestNode, id: u32| {
        let sentences = node
            .state()
            .map(|state| state["warnings"].clone())
            .unwrap_or_default();
        let mut sentences = sentences
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str);
        let about = format!("Node {id} ");
        sentences.any(|said| said.starts_with(&about) && said.contains("has another cluster key"))
    };
    seen.until(cluster, "each wrong key is told of", |cluster| {
        let mut pairs = cluster
            .running()
            .flat_map(|node| odd.iter().map(move |id| (node, *id)));
        pairs.all(|(node, id)| node.id == id || is_told(node, id))
    });
    if !right.is_empty() {
        seen.until_agreed(cluster, right);
    }
    seen.begin_here(cluster);
    if odd.len() == ALL.len() {
        fs::rename(cluster.node(1).secrets(), cluster.root().join("secrets")).unwrap();
    }
    restart_with_common_keys(cluster, seen, odd)
}

fn other_keyset(cluster: &mut TestCluster, seen: &mut Seen) -> Duration {
    start(cluster, &[1, 2]);
    cluster.node_mut(3).has_own_secrets(true);
    let own = cluster.node(3).secrets();
    fs::create_dir(&own).unwrap();
    fs::copy(
        cluster.root().join("secrets/cluster.key"),
        own.join("cluster.key"),
    )
    .unwrap();
    start(cluster, &[3]);
    seen.until_agreed(cluster, &[1, 2]);
    seen.until_said(cluster, "seals with a key");
    seen.begin_here(cluster);
    restart_with_common_keys(cluster, seen, &[3])
}

fn restart_with_common_keys(cluster: &mut TestCluster, seen: &mut Seen, ids: &[u32]) -> Duration {
    for id in ids {
        cluster.node_mut(*id).stop();
        cluster.node_mut(*id).has_own_secrets(false);
    }
    let since = seen.ends();
    for id in ids {
        cluster.node_mut(*id).launch();
    }
    seen.until_agreed(cluster, &ALL);
    since.elapsed()
}

fn file_without_one(cluster: &mut TestCluster, seen: &mut Seen) -> Duration {
    let right = cluster.file_of(&ALL);
    cluster.node_mut(3).members = cluster.file_of(&[1, 3]);
    start(cluster, &ALL);
    seen.until_agreed(cluster, &[1, 2]);
    seen.until_said(cluster, "takes no part");
    seen.begin_here(cluster);
    let since = seen.ends();
    cluster.node_mut(3).reload(&right);
    seen.until_agreed(cluster, &ALL);
    since.elapsed()
}

/// It heals when the file of node 3 is corrected.
fn unknown_member(cluster: &mut TestCluster, seen: &mut Seen) -> Duration {
    *cluster = TestCluster::prepare(4, &[]);
    let (three, four) = (cluster.file_of(&ALL), cluster.file_of(&[1, 2, 3, 4]));
    for id in [1, 2] {
        cluster.node_mut(id).members = three.clone();
    }
    start(cluster, &[1, 2, 3, 4]);
    seen.until_agreed(cluster, &ALL);
    seen.until_said(cluster, "is not in this node's cluster file");
    seen.begin_here(cluster);
    let since = seen.ends();
    for id in [1, 2] {
        cluster.node_mut(id).reload(&four);
    }
    seen.until_agreed(cluster, &[1, 2, 3, 4]);
    since.elapsed()
}

fn moved(cluster: &mut TestCluster, seen: &mut Seen) -> Duration {
    cluster.start_all();
    cluster.node_mut(3).stop();
    seen.until_agreed(cluster, &[1, 2]);
    let node = cluster.node_mut(3);
    let (old, new) = (node.address.to_string(), free_address());
    node.members = node.members.replace(&old, &new.to_string());
    node.address = new;
    seen.begin_here(cluster);
    let since = Instant::now();
    cluster.node_mut(3).launch();
    seen.until_agreed(cluster, &ALL);
    let healed = since.elapsed();
    seen.until_said(cluster, "is heard from");
    seen.look_at_all(cluster);
    healed
}
