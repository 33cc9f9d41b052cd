//! A cluster that is broken in one way must not pass, and the report must name that way. An honest one must pass.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests drive real processes over real sockets"
)]

mod fake_cluster;

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use fake_cluster::{FakeCluster, Lie};
use rustix::process::{Pid, Signal, kill_process};
use stress_test::summary::Summary;
use tempfile::TempDir;

const ARGUMENTS: [&str; 7] = ["-n", "90", "--min-size", "20", "--max-size", "60", "--yes"];

/// A run against a fake cluster, in a folder of its own that also is its temporary folder.
fn command(folder: &Path, nodes: &FakeCluster) -> Command {
    let cluster = folder.join("nodes.toml");
    fs::write(&cluster, nodes.file()).unwrap();
    let temporary = folder.join("tmp");
    fs::create_dir(&temporary).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_stress_test"));
    command
        .args(ARGUMENTS)
        .arg("--cluster")
        .arg(cluster)
        .current_dir(folder)
        .env("TMPDIR", temporary);
    command.stdin(Stdio::null());
    command
}

fn run(lie: Lie, more: &[&str]) -> (i32, String, TempDir) {
    run_against(&FakeCluster::start(lie), more)
}

fn run_against(nodes: &FakeCluster, more: &[&str]) -> (i32, String, TempDir) {
    let folder = TempDir::new().unwrap();
    let Output {
        status,
        stdout,
        stderr,
    } = command(folder.path(), nodes).args(more).output().unwrap();
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&stdout),
        String::from_utf8_lossy(&stderr)
    );
    let left: Vec<_> = fs::read_dir(folder.path().join("tmp")).unwrap().collect();
    assert!(left.is_empty(), "left behind: {left:?}\n{text}");
    (status.code().unwrap(), text, folder)
}

fn assert_caught(lie: Lie, names: &[&str]) {
    let (code, text, _folder) = run(lie, &[]);
    assert_eq!(code, 1, "{lie:?}:\n{text}");
    for name in names {
        assert!(text.contains(name), "{lie:?} is not named {name:?}:\n{text}");
    }
    assert!(!text.contains("SYSTEM PASSED"));
}

#[test]
fn an_honest_cluster_passes() {
    let (code, text, _folder) = run(Lie::None, &[]);
    assert_eq!(code, 0, "{text}");
    for line in [
        "Load Distribution (%):",
        "Balance Analysis:",
        "Performance Metrics:",
        "90 of 90 on the assigned node",
        "90 of 90 read back as they were generated",
        "✓✓✓ SYSTEM PASSED ALL TESTS",
    ] {
        assert!(text.contains(line), "{line:?} is missing:\n{text}");
    }
}

#[test]
fn an_honest_cluster_passes_when_only_the_assigned_node_is_asked() {
    let (code, text, _folder) = run(Lie::None, &["--offer", "assigned", "--rate", "500"]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("open-loop, 500 uploads/sec"), "{text}");
}

#[test]
fn all_to_one_node_is_caught() {
    assert_caught(
        Lie::AllToOne,
        &[
            "✗ FAIL: Only 1 node is processing requests",
            "✗ Load balancing is NOT working!",
            "✗ Poor balance",
        ],
    );
}

#[test]
fn a_node_that_never_takes_anything_is_caught() {
    assert_caught(
        Lie::OneNever,
        &["✗ FAIL: Node 2 is not processing requests", "NOT working"],
    );
}

#[test]
fn two_nodes_that_accept_the_same_image_are_caught() {
    assert_caught(
        Lie::TwoAccept,
        &["images were accepted by more than one node", "and 1"],
    );
}

#[test]
fn a_wrong_node_that_accepts_is_caught() {
    assert_caught(
        Lie::WrongNode,
        &[
            "images are not on the node they are assigned to",
            "it belongs to node",
        ],
    );
}

#[test]
fn other_bytes_are_caught() {
    assert_caught(
        Lie::OtherBytes,
        &[
            "1 images came back with other bytes",
            "stress_image_7.png: from node",
            "differs at byte",
        ],
    );
}

#[test]
fn a_lost_image_is_caught() {
    assert_caught(
        Lie::LosesOne,
        &[
            "1 acknowledged images are lost",
            "stress_image_7.png: acknowledged by node",
        ],
    );
}

#[test]
fn an_undone_write_is_caught_although_the_bytes_are_those_that_were_sent() {
    let nodes = FakeCluster::start(Lie::LosesOverwrite);
    let (code, text, _folder) = run_against(&nodes, &[]);
    assert_eq!(code, 0, "nothing is overwritten in the first run:\n{text}");
    let (code, text, _folder) = run_against(&nodes, &[]);
    assert_eq!(code, 1, "{text}");
    for line in [
        "1 acknowledged writes were undone",
        "stress_image_7.png: an acknowledged write was undone: version",
        "89 of 90 read back as they were generated",
        "1 undone",
    ] {
        assert!(text.contains(line), "{line:?} is missing:\n{text}");
    }
}

#[test]
fn an_honest_cluster_passes_when_all_images_are_uploaded_again() {
    let nodes = FakeCluster::start(Lie::None);
    for _ in 0..2 {
        let (code, text, _folder) = run_against(&nodes, &[]);
        assert_eq!(code, 0, "{text}");
    }
}

#[test]
fn a_later_write_than_the_acknowledged_one_is_no_fault() {
    let (code, text, _folder) = run(Lie::WritesAgain, &[]);
    assert_eq!(code, 0, "{text}");
    assert!(
        text.contains("90 of 90 read back as they were generated"),
        "{text}"
    );
}

#[test]
fn receipts_without_versions_are_said_to_leave_a_question_open() {
    let (code, text, _folder) = run(Lie::NoVersions, &[]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("90 receipts name no version"), "{text}");
}

#[test]
fn receipts_before_the_data_is_there_are_caught() {
    assert_caught(
        Lie::EarlyReceipt,
        &["images were acknowledged before the node had them"],
    );
}

#[test]
fn views_that_no_node_shows_are_caught() {
    assert_caught(
        Lie::OwnView,
        &["receipts name alive nodes that no node's /cluster shows"],
    );
}

#[test]
fn receipts_for_something_else_are_caught() {
    assert_caught(
        Lie::WrongReceipt,
        &[
            "receipts do not describe the image that was sent",
            "the receipt is for",
        ],
    );
}

#[test]
fn a_cluster_that_never_answers_is_timed_out() {
    let (code, text, _folder) = run(Lie::Mute, &["--timeout", "3"]);
    assert_eq!(code, 3, "{text}");
    assert!(
        text.contains("Timed out after 3 s") && text.contains("→ Out of time"),
        "{text}"
    );
}

#[test]
fn a_crossed_threshold_is_named_and_has_its_exit_code() {
    let (code, text, _folder) = run(Lie::None, &["--fail-if", "p50>0.001ms", "--fail-if", "rate<0.1"]);
    assert_eq!(code, 4, "{text}");
    assert!(
        text.contains("✗ threshold p50>0.001ms crossed") && !text.contains("rate<0.1 crossed"),
        "{text}"
    );
}

#[test]
fn no_cluster_is_said_with_the_way_to_start_one() {
    let folder = TempDir::new().unwrap();
    let mut command = command(folder.path(), &FakeCluster::start(Lie::None));
    fs::write(folder.path().join("nodes.toml"), "[nodes]\n1 = \"127.0.0.1:1\"\n").unwrap();
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("make cluster"));
}

#[test]
fn an_interrupted_run_reports_what_it_did_and_cleans_up() {
    let folder = TempDir::new().unwrap();
    let nodes = FakeCluster::start(Lie::None);
    // Two uploads a second: 90 of them take so long that the signal comes before the end, however busy the machine is.
    let child = command(folder.path(), &nodes)
        .args(["--rate", "2", "--log", "run.log", "--json", "run.json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(40);
    while nodes.stored() < 3 {
        assert!(Instant::now() < deadline, "{} uploads in 40 s", nodes.stored());
        std::thread::sleep(Duration::from_millis(10));
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(130), "{text}");
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    let run: Summary = serde_json::from_str(&read("run.json")).unwrap();
    let (offered, stored) = (run.uploads.offered, run.uploads.stored);
    assert!((3..90).contains(&stored), "{text}");
    assert_eq!(
        (stored, run.placement.on_assigned, run.uploads.failed),
        (offered, offered, 0)
    );
    assert_eq!(
        stored,
        nodes.stored() as u64,
        "uploads under way are finished and counted"
    );
    assert!(run.verdict.interrupted && !run.verdict.passed);
    for line in [
        "Load Distribution (%)",
        &format!("✗ FAIL: Interrupted after {offered} of 90 images"),
        &format!("{stored} of {stored} on the assigned node"),
        "nothing was read back",
    ] {
        assert!(text.contains(line), "{line:?} is missing:\n{text}");
    }
    assert_eq!(read("run.log").lines().count() as u64, offered);
    assert_eq!(fs::read_dir(folder.path().join("tmp")).unwrap().count(), 0);
}

#[test]
fn every_upload_has_a_line_in_the_csv_and_in_the_log_and_the_json_can_be_read() {
    let (code, text, folder) = run(
        Lie::None,
        &[
            "--json", "run.json", "--csv", "run.csv", "--log", "run.log", "--html", "run.html",
        ],
    );
    assert_eq!(code, 0, "{text}");
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    assert_eq!(read("run.csv").lines().count(), 91);
    assert_eq!(read("run.log").lines().count(), 90);
    let summary: Summary = serde_json::from_str(&read("run.json")).unwrap();
    assert_eq!(
        (
            summary.schema.as_str(),
            summary.uploads.stored,
            summary.verdict.passed
        ),
        ("pixseal-stress/1", 90, true)
    );
    assert!(read("run.html").contains("</html>"));
    let compare = Command::new(env!("CARGO_BIN_EXE_stress_test"))
        .args(["compare", "run.json", "run.json"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(compare.status.success());
    assert!(String::from_utf8_lossy(&compare.stdout).contains("within the noise"));
}
