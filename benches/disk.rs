//! The disk of one of three nodes fills up and is emptied again, under a constant load: real servers on this machine.
//!
//! ```text
//! cargo bench --bench disk    exit codes: 0 passed, 1 a bound was exceeded, 2 could not run
//! ```
//!
//! Needs the right to mount a small disk in memory, and leaves nothing behind. Every image is offered to all nodes.

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

use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use load::{SteadyLoad, TimedUpload};
use pixseal::client::upload::Audience;
use pixseal::roster::NodeId;
use support::cluster::{TestCluster, TestNode};
use support::mount::Mounted;
use support::wait_for;
use verdict::Verdict;

const MEMBERS: [u32; 3] = [1, 2, 3];
/// The node whose disk fills up.
const FULL: NodeId = NodeId(2);
/// All images of a run have room in a twentieth of it.
const DISK: &str = "size=64m,mode=0700";
/// Uploads go on for so long before the disk is full, while it is, and afterwards.
const STEADY: Duration = Duration::from_secs(10);
/// What is promised: from then on no node refuses an upload for lack of room.
const REFUSED_FOR_MAX: Duration = Duration::from_secs(2);
/// What is promised: so soon after it has room, the node takes images again.
const BACK_MAX: Duration = Duration::from_secs(5);
/// What is promised: our client notices nothing but that it takes longer.
const FAILED_MAX: usize = 0;

fn main() -> ExitCode {
    let mut cluster = TestCluster::prepare(3, &[]);
    let folder = cluster.node(FULL.0).images();
    std::fs::create_dir(&folder).unwrap();
    let Some(disk) = Mounted::new(&["-t", "tmpfs", "-o", DISK], "none", &folder) else {
        println!("drill-disk: SKIPPED: it needs the right to mount a small disk (as root)");
        return ExitCode::from(2);
    };
    let verdict = Verdict::of("drill-disk", |verdict| {
        cluster.start_all();
        cluster.await_settled();
        run(&cluster, &disk, verdict);
    });
    cluster.nodes.iter_mut().for_each(TestNode::kill);
    verdict
}

fn run(cluster: &TestCluster, disk: &Mounted, verdict: &mut Verdict) {
    let load = SteadyLoad::start(&cluster.members(), Audience::All);
    thread::sleep(STEADY);
    let filling = Instant::now();
    disk.fill();
    println!(
        "the disk of node {FULL} is full (in {} ms)",
        filling.elapsed().as_millis()
    );
    thread::sleep(STEADY);
    disk.make_room();
    let emptied = Instant::now();
    println!("it has room again");
    thread::sleep(STEADY);
    let elapsed = load.elapsed();
    let uploads = load.stop();
    verdict.at_least("uploads", uploads.len(), load::uploads_min(elapsed));
    judge_refusals(&uploads, filling, verdict);
    judge_return(&uploads, (filling, emptied), verdict);
    let is_back = |node: &TestNode| (node.state()?["alive"] == serde_json::json!(MEMBERS)).then_some(());
    wait_for("uploads are placed on all nodes", || {
        cluster.nodes.iter().map(is_back).collect::<Option<()>>()
    });
    cluster.await_settled();
    images::judge(cluster, &MEMBERS, &uploads, verdict);
}

/// How long uploads were refused for lack of room, and how many failed in spite of all that our client tries.
fn judge_refusals(uploads: &[TimedUpload], filling: Instant, verdict: &mut Verdict) {
    let refused = || uploads.iter().filter(|upload| upload.met_full_disk);
    println!("    uploads that met the full disk: {}", refused().count());
    // A refusal came before the upload ended.
    let last = refused().map(|upload| upload.ended - filling).max();
    let last = last.unwrap_or_default();
    verdict.time(
        "uploads were refused for lack of room until",
        last,
        REFUSED_FOR_MAX,
    );
    let failed = uploads.iter().filter_map(|upload| upload.error.as_ref());
    for error in failed.clone().take(5) {
        println!("    failed: {error}");
    }
    verdict.count("uploads that failed", failed.count(), FAILED_MAX);
    let slowest = uploads.iter().map(|upload| upload.took).max();
    verdict.time("slowest upload", slowest.unwrap_or_default(), REFUSED_FOR_MAX);
}

/// When the node whose disk was full stored an image again.
fn judge_return(uploads: &[TimedUpload], (filling, emptied): (Instant, Instant), verdict: &mut Verdict) {
    let stored = || uploads.iter().filter(|upload| upload.node == Some(FULL));
    let between =
        stored().filter(|upload| upload.ended > filling + REFUSED_FOR_MAX && upload.ended < emptied);
    verdict.count("stored on it while it was full", between.count(), 0);
    let back = stored()
        .map(|upload| upload.ended)
        .filter(|ended| *ended >= emptied)
        .min();
    match back {
        Some(back) => verdict.time("takes images again after", back - emptied, BACK_MAX),
        None => verdict.fail(format!("node {FULL} has taken no image since its disk has room")),
    }
}
