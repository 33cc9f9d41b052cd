//! `client status`: what it says of real nodes, and its exit code.

use std::fs;
use std::process::Command;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::client::{Outcome, client};
use crate::support::cluster::{TestCluster, TestNode};
use crate::support::wait_for;

/// `client status` with a cluster file of this text.
fn status(file: &str, arguments: &[&str]) -> Outcome {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("cluster.toml"), file).unwrap();
    client(folder.path(), "alice", &[&["status"], arguments].concat())
}

/// Looks until the exit code is `code` and all `words` are said; returns the lines.
fn await_status(file: &str, code: i32, words: &[&str]) -> Vec<String> {
    let shown = wait_for(&format!("exit {code} and {words:?}"), || {
        let outcome = status(file, &[]);
        let told = outcome.status == code && words.iter().all(|word| outcome.stdout.contains(word));
        told.then_some(outcome.stdout)
    });
    shown.lines().map(str::to_owned).collect()
}

#[test]
fn all_well_is_exit_0_and_a_line_that_says_so() {
    let cluster = TestCluster::start(3);
    let lines = await_status(&cluster.node(1).members, 0, &[]);
    assert_eq!(lines.len(), 5, "{lines:#?}");
    assert!(lines[0].starts_with("node  address"), "{lines:#?}");
    for line in &lines[1..4] {
        assert!(line.contains("  ready  ") && line.contains("  1 2 3  "), "{line}");
    }
    assert_eq!(lines[4], "All 3 nodes are ready and agree; Node 3 leads.");
}

#[test]
fn each_warning_is_shown_once_with_the_nodes_that_say_it() {
    let mut cluster = TestCluster::start(3);
    cluster.node_mut(1).kill();
    let warning = "warning of Node 2, Node 3: Node 1 is away: ";
    let lines = await_status(&cluster.node(2).members, 1, &[warning]);
    assert!(lines[1].contains("unreachable"), "{lines:#?}");
    let told = |text: &str| lines.iter().filter(|line| line.starts_with(text)).count();
    assert_eq!((told(warning), told("Node 1 ")), (1, 1), "{lines:#?}");
}

#[test]
fn a_paused_node_is_told_and_hides_no_other() {
    let cluster = TestCluster::start(3);
    cluster.node(1).signal(Signal::STOP);
    let lines = await_status(
        &cluster.node(1).members,
        1,
        &["no answer in time", "it is paused, overloaded or cut off"],
    );
    assert!(
        lines[2].contains("  ready") || lines[2].contains("  not ready"),
        "{lines:#?}"
    );
}

#[test]
fn two_sides_are_a_fault_and_told_by_who_follows_whom() {
    let mut cluster = TestCluster::prepare(3, &[]);
    cluster.node_mut(3).start();
    // The others make keys of their own: neither side hears the other.
    let secrets = cluster.node(3).secrets();
    fs::rename(&secrets, secrets.with_extension("of-node-3")).unwrap();
    cluster.node_mut(1).start();
    cluster.node_mut(2).start();
    await_status(
        &cluster.node(1).members,
        1,
        &["Nodes 1 and 2 follow Node 2 (term", "Node 3 follows itself (term"],
    );
}

fn drain(node: &TestNode) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_server"));
    command.args(["--drain", &node.id.to_string(), "--images"]);
    assert!(command.arg(node.images()).output().unwrap().status.success());
}

#[test]
fn nodes_that_take_no_images_are_told_and_what_they_still_do() {
    let cluster = TestCluster::start(3);
    let members = &cluster.node(1).members;
    drain(cluster.node(2));
    let images = cluster.node(1).images();
    fs::rename(&images, images.with_extension("elsewhere")).unwrap();
    let words = [
        "  not ready: images folder lost  ",
        "  reads only: draining  ",
        "  3 (1) (2)  ",
        "In parentheses: nodes that are alive and take no images.",
        "put it back",
        "--undrain 2",
    ];
    await_status(members, 1, &words);
    drain(cluster.node(3));
    await_status(members, 1, &["No node that answers takes images"]);
}

#[test]
fn a_wrong_and_an_old_cluster_file_are_told() {
    let cluster = TestCluster::start(3);
    let [one, two, three] = [1, 2, 3].map(|id| cluster.node(id).address);
    let old = format!("[nodes]\n1 = \"{one}\"\n2 = \"{two}\"\n");
    let lines = await_status(&old, 0, &[]);
    assert!(
        lines[3].starts_with("   3  ") && lines[3].contains("  ready  "),
        "{lines:#?}"
    );
    assert_eq!(
        lines[4],
        format!("Node 3 ({three}) is a member that cluster.toml does not name: add it there.")
    );
    let wrong = format!("[nodes]\n1 = \"{two}\"\n2 = \"{one}\"\n3 = \"{three}\"\n");
    let said = format!("Node 2 answers at {two}, where cluster.toml has Node 1");
    await_status(&wrong, 1, &[&said]);
}

#[test]
fn a_timeout_that_is_none_is_wrong_usage() {
    for seconds in ["soon", "-1", "1e9", "NaN"] {
        let timeout = format!("--timeout={seconds}");
        let outcome = status("[nodes]\n1 = \"127.0.0.1:1\"\n", &[&timeout]);
        assert_eq!(outcome.status, 2, "{}", outcome.stderr);
        assert!(
            outcome.stderr.contains("--timeout takes seconds"),
            "{}",
            outcome.stderr
        );
    }
}
