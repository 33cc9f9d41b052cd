//! Runs that start their own servers, and drills in the middle of them: nothing may be lost, nothing left behind.
//!
//! The servers are the real ones of this checkout. Cargo builds programs only for the tests of their own package, so
//! the first test here has the server built.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Once;

use stress_test::summary::Summary;
use tempfile::TempDir;

static SERVER_BUILT: Once = Once::new();

/// Builds the server beside stress_test, with the profile that stress_test was built with.
fn build_server() {
    let folder = Path::new(env!("CARGO_BIN_EXE_stress_test")).parent().unwrap();
    let profile = match folder.file_name().unwrap().to_str().unwrap() {
        "debug" => "dev",
        name => name,
    };
    let status = Command::new(env!("CARGO"))
        .args([
            "build",
            "--quiet",
            "--locked",
            "--package",
            "pixseal",
            "--bin",
            "server",
        ])
        .args(["--profile", profile, "--target-dir"])
        .arg(folder.parent().unwrap())
        .status()
        .unwrap();
    assert!(
        status.success(),
        "these tests need the server program, which cargo could not build: see above"
    );
}

/// A run of about four seconds with a drill in it; returns what it wrote as JSON.
fn drilled(drill: &[&str]) -> Summary {
    SERVER_BUILT.call_once(build_server);
    let folder = TempDir::new().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_stress_test"))
        .args([
            "-n",
            "200",
            "--rate",
            "50",
            "--min-size",
            "20",
            "--max-size",
            "200",
            "--yes",
            "--spawn",
            "3",
        ])
        .args(["--json", "run.json", "--timeout", "100"])
        .args(drill.iter().flat_map(|step| ["--drill", step]))
        .current_dir(folder.path())
        .env("TMPDIR", folder.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(output.status.code(), Some(0), "{drill:?}:\n{text}");
    let left: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["run.json"], "{text}");
    let run: Summary =
        serde_json::from_str(&fs::read_to_string(folder.path().join("run.json")).unwrap()).unwrap();
    assert_eq!(
        (
            run.uploads.stored,
            run.verification.equal,
            run.verification.unversioned,
            run.placement.misplaced
        ),
        (200, 200, 0, 0),
        "{text}"
    );
    run
}

#[test]
fn a_cluster_of_its_own_passes_without_a_drill() {
    let run = drilled(&[]);
    assert_eq!((run.drills.len(), run.resources.servers.len()), (0, 3));
}

#[test]
fn a_killed_leader_loses_no_upload_and_is_found_out() {
    let run = drilled(&["kill:leader@40%"]);
    let [drill] = &run.drills[..] else {
        panic!("{:?}", run.drills)
    };
    assert!(
        drill.detected_ms.is_some() && drill.elected_ms.is_some(),
        "{drill:?}"
    );
    assert!(run.balance.unwrap().views.len() >= 2);
}

#[test]
fn a_paused_node_loses_no_upload_and_comes_back() {
    let run = drilled(&["pause:1@25%..60%"]);
    let [drill] = &run.drills[..] else {
        panic!("{:?}", run.drills)
    };
    assert!(
        drill.detected_ms.is_some() && drill.elected_ms.is_none(),
        "{drill:?}"
    );
}

#[test]
fn a_rolling_restart_fails_no_upload() {
    let run = drilled(&["restart:each"]);
    assert_eq!(
        run.drills.iter().map(|drill| drill.node).collect::<Vec<_>>(),
        [1, 2, 3]
    );
    assert_eq!(run.uploads.failed, 0);
}
