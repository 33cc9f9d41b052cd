//! Membership of real processes: killed, stopped and continued, asked to leave, restarted one after the other.

#![allow(clippy::unwrap_used, reason = "a helper of a test fails the test")]

mod herd;

use std::path::Path;

use herd::Herd;
use rustix::process::Signal;

fn server() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_server"))
}

#[test]
fn killed_leader_is_replaced_and_waits_when_it_returns() {
    let mut herd = Herd::start(server(), 3);
    herd.kill(3);
    herd.wait_for(&[1, 2], Some(2));
    herd.spawn(server(), 3);
    herd.wait_for_all(Some(2));
    herd.wait_for_all(Some(3));
}

#[test]
fn killed_follower_is_counted_out() {
    let mut herd = Herd::start(server(), 3);
    herd.kill(1);
    herd.wait_for(&[2, 3], Some(3));
    herd.spawn(server(), 1);
    herd.wait_for_all(Some(3));
}

#[test]
fn stopped_leader_continues_as_a_follower_and_then_leads() {
    let mut herd = Herd::start(server(), 3);
    herd.signal(3, Signal::STOP);
    herd.wait_for(&[1, 2], Some(2));
    herd.signal(3, Signal::CONT);
    herd.wait_for_all(Some(2));
    herd.wait_for_all(Some(3));
    let judged = herd.findings.iter().filter(|finding| finding.by == 3).count();
    assert_eq!(judged, 0, "it slept, the others did not: {:?}", herd.findings);
}

#[test]
fn stopped_follower_is_counted_out_and_in_again() {
    let mut herd = Herd::start(server(), 3);
    herd.signal(1, Signal::STOP);
    herd.wait_for(&[2, 3], Some(3));
    herd.signal(1, Signal::CONT);
    herd.wait_for_all(Some(3));
}

#[test]
fn leaving_nodes_are_never_found_dead() {
    let mut herd = Herd::start(server(), 3);
    for (node, rest, leader) in [(3, [1, 2], 2), (1, [2, 3], 3)] {
        assert!(herd.terminate(node), "node {node} did not exit with 0");
        herd.wait_for(&rest, Some(leader));
        herd.spawn(server(), node);
        herd.wait_for_all(Some(3));
    }
    assert!(
        !herd.findings.iter().any(|finding| finding.dead),
        "{:?}",
        herd.findings
    );
}

#[test]
fn the_last_node_serves_alone() {
    let mut herd = Herd::start(server(), 3);
    herd.kill(3);
    herd.kill(2);
    herd.wait_for(&[1], Some(1));
}

#[test]
fn nine_nodes_agree_after_losing_three() {
    let mut herd = Herd::start(server(), 9);
    for node in [9, 8, 4] {
        herd.kill(node);
    }
    herd.wait_for(&[1, 2, 3, 5, 6, 7], Some(7));
}
