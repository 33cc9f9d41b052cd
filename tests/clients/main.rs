//! The blocks of `docs/clients.md`, run as they stand there, with the clients that people use.
//!
//! What a block prints is what its lines say behind `=>`, in their order. Lines that end in `with tokens` are left out where there
//! are none.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test fails by panicking, in its helpers too, and touches what it tests"
)]

#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::process::Command;

use support::cluster::TestCluster;
use support::picture;

/// Longer than what a client sends before it has read an answer that says no.
const IMAGE_BYTES: usize = 3_000_000;

/// The heading of a block, what runs it, and what tells whether that is there.
const CLIENTS: [(&str, &[&str], &[&str]); 6] = [
    ("curl", &["sh", "-euc"], &["curl", "--version"]),
    ("wget", &["sh", "-euc"], &["wget", "--version"]),
    (
        "Python: requests",
        &["PYTHON", "-c"],
        &["PYTHON", "-c", "import requests"],
    ),
    (
        "Python: httpx",
        &["PYTHON", "-c"],
        &["PYTHON", "-c", "import httpx"],
    ),
    (
        "Node.js: fetch",
        &["node", "--input-type=module", "-e"],
        &["node", "--version"],
    ),
    ("rclone", &["sh", "-euc"], &["rclone", "--version"]),
];

fn command(words: &[&str]) -> Command {
    let python = std::env::var("CLIENTS_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let program = if words[0] == "PYTHON" { &python } else { words[0] };
    let mut command = Command::new(program);
    command.args(&words[1..]);
    command
}

/// The block under a heading of the document.
fn block(heading: &str) -> &'static str {
    let text = include_str!("../../docs/clients.md");
    let (_, section) = text.split_once(&format!("\n## {heading}\n")).unwrap();
    let (_, fenced) = section.split_once("\n```").unwrap();
    let (_, block) = fenced.split_once('\n').unwrap();
    block.split_once("```").unwrap().0
}

/// What a block has to print.
fn expected(block: &'static str) -> Vec<&'static str> {
    let mark = |line: &'static str| {
        let (code, printed) = line.rsplit_once(" => ")?;
        (code.ends_with('#') || code.ends_with("//")).then(|| printed.trim())
    };
    block.lines().filter_map(mark).collect()
}

/// Runs the block of one client in a folder of its own, with node 1 of the document being each of the nodes.
fn run(cluster: &TestCluster, (heading, runner): (&str, &[&str]), token: Option<&str>) {
    let block = block(heading);
    for (first, _) in (0..).zip(&cluster.nodes) {
        let mut code: String = block
            .lines()
            .filter(|line| token.is_some() || !line.ends_with("with tokens"))
            .map(|line| format!("{line}\n"))
            .collect();
        for (number, id) in (0..cluster.nodes.len()).enumerate() {
            let node = &cluster.nodes[(first + id) % cluster.nodes.len()];
            code = code.replace(&format!("127.0.0.1:800{}", number + 1), &node.address.to_string());
        }
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("cat.png"), picture::sized(IMAGE_BYTES)).unwrap();
        let mut command = command(runner);
        command
            .arg(&code)
            .current_dir(folder.path())
            .env("HOME", folder.path());
        command.env("PIXSEAL_TOKEN", token.unwrap_or_default());
        let output = command.output().unwrap();
        let (printed, said) = (
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8_lossy(&output.stderr),
        );
        assert!(
            output.status.success() && printed.lines().map(str::trim_end).eq(expected(block)),
            "{heading} at node {}: {}\n--- printed:\n{printed}--- said:\n{said}--- expected: {:?}",
            first + 1,
            output.status,
            expected(block),
        );
    }
}

fn run_all(cluster: &TestCluster, token: Option<&str>, how: &str) {
    for (heading, runner, probe) in CLIENTS {
        if !command(probe)
            .output()
            .is_ok_and(|output| output.status.success())
        {
            println!("clients: SKIPPED {heading}, it is not installed here");
            continue;
        }
        run(cluster, (heading, runner), token);
        println!("clients: {heading}, {how}: as the document says, at each of three nodes");
        for node in &cluster.nodes {
            let list = node.ask("GET", "/images/alice/").json();
            for image in list["images"].as_array().unwrap() {
                let target = format!("/images/alice/{}", image["name"].as_str().unwrap());
                node.ask_through("DELETE", &target);
            }
        }
    }
}

#[test]
#[ignore = "needs curl, wget, Python, Node.js and rclone: make clients-test"]
fn clients_work_without_tokens() {
    let cluster = TestCluster::start(3);
    cluster.await_settled();
    run_all(&cluster, None, "without tokens");
}

#[test]
#[ignore = "needs curl, wget, Python, Node.js and rclone: make clients-test"]
fn clients_work_with_tokens() {
    with_tokens(&[], "with tokens");
}

#[test]
#[ignore = "needs curl, wget, Python, Node.js and rclone: make clients-test"]
fn clients_work_with_nodes_that_pass_requests_on() {
    with_tokens(&["--relay"], "with tokens and --relay");
}

fn with_tokens(options: &[&str], how: &str) {
    let mut cluster = TestCluster::prepare(3, options);
    let token = cluster.add_token("alice", "read,write,delete,list,admin");
    cluster.show_token(&token);
    cluster.start_all();
    cluster.await_settled();
    run_all(&cluster, Some(&token), how);
}
