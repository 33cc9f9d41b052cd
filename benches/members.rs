//! A cluster of three grows to five and shrinks to three again, under a constant load: real servers on this machine.
//!
//! ```text
//! cargo bench --bench members        exit codes: 0 passed, 1 a bound was exceeded
//! ```
//!
//! Nodes are added and removed as people are told to: the cluster file of each running node is edited, and the node is
//! sent SIGHUP, one after the other. Before nodes go they are drained, and `client rebalance` moves their images. At the
//! end the folders are looked into: every image has to be on the node that it is assigned to, and nowhere else.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a drill measures time and runs processes"
)]
#![allow(clippy::unwrap_used, reason = "a drill that cannot run stops")]

#[path = "members/images.rs"]
mod images;
#[path = "members/load.rs"]
mod load;
#[path = "../tests/support/mod.rs"]
mod support;
#[path = "drill/verdict.rs"]
mod verdict;

use std::fs::{self, File};
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use load::{SteadyLoad, TimedUpload};
use pixseal::client::upload::Audience;
use serde_json::Value;
use support::cluster::TestCluster;
use verdict::Verdict;

/// What a node logs when it has read its cluster file again.
const RELOADED: &str = ": SIGHUP: ";
const THREE: [u32; 3] = [1, 2, 3];
const FIVE: [u32; 5] = [1, 2, 3, 4, 5];
/// Uploads go on for so long before, between and after the changes.
const STEADY: Duration = Duration::from_secs(5);
/// Anything that is waited for takes a few seconds. What takes longer does not come, and the drill ends.
const STEP_TIME_MAX: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// What is promised: members change, and no client notices.
const FAILED_MAX: usize = 0;
/// A client may have to wait while nodes agree on who the members are, from the moment at which its upload was due.
const SLOWEST_MAX: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    Verdict::of("drill-members", |verdict| {
        let mut drill = MembersDrill::start();
        let outcome = drill.grow_and_shrink();
        let elapsed = drill.load.elapsed();
        let uploads = drill.load.stop();
        judge_uploads(&uploads, elapsed, verdict);
        match outcome {
            Ok(()) => judge_images(&drill.cluster, &uploads, verdict),
            Err(why) => verdict.fail(why),
        }
    })
}

struct MembersDrill {
    cluster: TestCluster,
    /// The nodes that have to run.
    running: Vec<u32>,
    load: SteadyLoad,
    /// Uploads that were counted in an earlier phase.
    counted: usize,
}

impl MembersDrill {
    /// Three settled nodes, and the load.
    fn start() -> MembersDrill {
        let mut cluster = TestCluster::prepare(5, &[]);
        let text = cluster.file_of(&THREE);
        for node in &mut cluster.nodes[..3] {
            node.members = text.clone();
            node.start();
        }
        cluster.await_settled();
        MembersDrill {
            load: SteadyLoad::start(&cluster.members(), Audience::Assigned),
            running: THREE.to_vec(),
            counted: 0,
            cluster,
        }
    }

    fn grow_and_shrink(&mut self) -> Result<(), String> {
        println!("seconds                                   took  uploads  failed  slowest");
        self.phase("three nodes", MembersDrill::stay)?;
        self.phase("nodes 1 to 3 are told of five", |drill| drill.tell_all(&FIVE))?;
        self.phase("nodes 4 and 5 join, all settled", MembersDrill::join)?;
        self.phase("five nodes", MembersDrill::stay)?;
        self.phase("nodes 5 and 4 are drained", MembersDrill::drain)?;
        self.phase("client rebalance", MembersDrill::rebalance)?;
        self.phase("nodes 1 to 3 are told of three", |drill| drill.tell_all(&THREE))?;
        self.phase("nodes 4 and 5 stop, all settled", MembersDrill::part)?;
        self.phase("three nodes", MembersDrill::stay)
    }

    fn phase(
        &mut self,
        name: &str,
        work: impl FnOnce(&mut MembersDrill) -> Result<(), String>,
    ) -> Result<(), String> {
        let begun = Instant::now();
        let outcome = work(self).map_err(|why| format!("{name}: {why}"));
        let took = begun.elapsed().as_secs_f64();
        let uploads = self.load.since(self.counted);
        self.counted += uploads.len();
        println!(
            "{name:<40} {took:>5.1} {:>8} {:>7} {:>8.2}",
            uploads.len(),
            uploads.iter().filter(|upload| upload.error.is_some()).count(),
            slowest(&uploads).as_secs_f64()
        );
        outcome
    }

    fn stay(&mut self) -> Result<(), String> {
        let end = Instant::now() + STEADY;
        self.wait_for("time passes", |_| (Instant::now() >= end).then_some(()))
    }

    /// Edits the cluster file of each of the nodes 1 to 3 and has it read, one after the other.
    fn tell_all(&mut self, members: &[u32]) -> Result<(), String> {
        let text = self.cluster.file_of(members);
        for id in THREE {
            let node = self.cluster.node_mut(id);
            let told = node.log().matches(RELOADED).count();
            node.reload(&text);
            self.wait_for(&format!("node {id} reads its cluster file"), |cluster| {
                (cluster.node(id).log().matches(RELOADED).count() > told).then_some(())
            })?;
        }
        // A list counts once all that are there want it.
        self.wait_for(&format!("nodes 1 to 3 know the members {members:?}"), |cluster| {
            let knows = |id: &u32| knows(&cluster.node(*id).state()?, *id, members).then_some(());
            THREE.iter().map(knows).collect()
        })
    }

    fn join(&mut self) -> Result<(), String> {
        for id in [4, 5] {
            self.cluster.node_mut(id).launch();
        }
        self.running = FIVE.to_vec();
        self.await_settled(&FIVE)
    }

    fn drain(&mut self) -> Result<(), String> {
        for id in [5, 4] {
            let mut command = Command::new(env!("CARGO_BIN_EXE_server"));
            command.args(["--drain", &id.to_string(), "--images"]);
            command.arg(self.cluster.node(id).images());
            self.run_program(&format!("server --drain {id}"), command)?;
        }
        self.wait_for("nodes 4 and 5 are left out of placement", |cluster| {
            let without = |id: &u32| places_by(&cluster.node(*id).state()?, &THREE).then_some(());
            THREE.iter().map(without).collect()
        })
    }

    fn rebalance(&mut self) -> Result<(), String> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_client"));
        command.args(["rebalance", "--cluster"]);
        command.arg(self.cluster.node(1).cluster_file());
        self.run_program("client rebalance", command)
    }

    fn part(&mut self) -> Result<(), String> {
        self.running = THREE.to_vec();
        for id in [4, 5] {
            let status = self.cluster.node_mut(id).stop();
            if !status.success() {
                return Err(format!("node {id} was asked to stop and ended with {status}"));
            }
        }
        self.await_settled(&THREE)
    }

    /// Waits until `ids` place by one view of all of them, and every image is known to be in its place.
    fn await_settled(&mut self, ids: &[u32]) -> Result<(), String> {
        self.wait_for(&format!("nodes {ids:?} agree and are settled"), |cluster| {
            let states: Option<Vec<Value>> = ids.iter().map(|id| cluster.node(*id).state()).collect();
            let states = states?;
            let agree = |state: &Value| {
                state["view"] == states[0]["view"] && places_by(state, ids) && state["settled"] == true
            };
            states.iter().all(agree).then_some(())
        })
    }

    /// Waits until it ends, and expects success.
    fn run_program(&mut self, name: &str, mut command: Command) -> Result<(), String> {
        let said = self.cluster.root().join("said");
        let output = File::create(&said).unwrap();
        command.stdin(Stdio::null()).stdout(output.try_clone().unwrap());
        let mut child = command.stderr(output).spawn().unwrap();
        let ended = self.wait_for(&format!("{name} ends"), |_| child.try_wait().unwrap());
        let _ = child.kill();
        let _ = child.wait();
        match ended? {
            status if status.success() => Ok(()),
            status => {
                let said = fs::read_to_string(said).unwrap_or_default();
                Err(format!("{name} ended with {status}: {}", said.trim_end()))
            }
        }
    }

    /// Waits until `condition` gives something, and for no node that has ended.
    fn wait_for<T>(
        &mut self,
        what: &str,
        mut condition: impl FnMut(&TestCluster) -> Option<T>,
    ) -> Result<T, String> {
        let end = Instant::now() + STEP_TIME_MAX;
        loop {
            if let Some(outcome) = condition(&self.cluster) {
                return Ok(outcome);
            }
            for id in self.running.clone() {
                if self.cluster.node_mut(id).has_ended() {
                    return Err(format!("node {id} has ended while this was waited for: {what}"));
                }
            }
            if Instant::now() >= end {
                let seconds = STEP_TIME_MAX.as_secs();
                return Err(format!("this was waited for in vain for {seconds} s: {what}"));
            }
            thread::sleep(LOOK_AGAIN);
        }
    }
}

/// Whether the peers of node `id` are the other members.
fn knows(state: &Value, id: u32, members: &[u32]) -> bool {
    let peers = state["peers"].as_array().into_iter().flatten();
    let known: Vec<u64> = peers.filter_map(|peer| peer["id"].as_u64()).collect();
    let others = members.iter().filter(|member| **member != id);
    known == others.map(|member| u64::from(*member)).collect::<Vec<_>>()
}

fn places_by(state: &Value, ids: &[u32]) -> bool {
    state["alive"] == serde_json::json!(ids)
}

fn slowest(uploads: &[TimedUpload]) -> Duration {
    uploads.iter().map(|upload| upload.took).max().unwrap_or_default()
}

fn judge_uploads(uploads: &[TimedUpload], elapsed: Duration, verdict: &mut Verdict) {
    let failed = uploads.iter().filter_map(|upload| upload.error.as_ref());
    println!("all uploads");
    for error in failed.clone().take(5) {
        println!("    failed: {error}");
    }
    verdict.at_least("uploads", uploads.len(), load::uploads_min(elapsed));
    verdict.count("failed uploads", failed.count(), FAILED_MAX);
    verdict.time("slowest upload", slowest(uploads), SLOWEST_MAX);
}

/// Every acknowledged image can be read through each node, and lies on its own node alone.
fn judge_images(cluster: &TestCluster, uploads: &[TimedUpload], verdict: &mut Verdict) {
    images::judge(cluster, &THREE, uploads, verdict);
    let holders = cluster.holders();
    let left = holders
        .values()
        .filter(|nodes| nodes.iter().any(|node| node.0 > 3));
    verdict.count("left on nodes 4 and 5", left.count(), images::ASTRAY_MAX);
}
