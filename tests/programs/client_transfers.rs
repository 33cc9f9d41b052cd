//! What the client does beyond single uploads and downloads: what is there already, what broke off, all of a user, one server.

use std::fs;
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::client::{client, one_node, write_image};
use crate::support::cluster::TestCluster;
use crate::support::picture;

#[test]
fn put_leaves_what_is_there_if_that_is_wanted() {
    let (_cluster, folder) = one_node();
    write_image(&folder, "a.png");
    let put = |options: &[&str]| {
        let put = client(folder.path(), "alice", &[&["put", "a.png"], options].concat());
        assert_eq!(put.status, 0, "{}", put.stderr);
        put.stdout
    };
    assert!(!put(&[]).contains("replaced"));
    let same = put(&["--skip-same"]);
    assert!(same.contains("the same is there already"), "{same}");
    assert!(
        same.contains("0 of 1 files uploaded") && same.contains("1 left as they were"),
        "{same}"
    );
    let kept = put(&["--no-clobber"]);
    assert!(kept.contains("one is there already, and stays"), "{kept}");
    fs::write(folder.path().join("a.png"), picture::sized(3000)).unwrap();
    assert!(put(&["--no-clobber"]).contains("stays"));
    assert!(put(&["--skip-same"]).contains("on node 1, replaced"));
    let both = client(
        folder.path(),
        "alice",
        &["put", "a.png", "--skip-same", "--no-clobber"],
    );
    assert_eq!(both.status, 2, "{}", both.stderr);
}

#[test]
fn a_download_goes_on_where_it_broke_off_unless_the_image_has_changed() {
    let (cluster, folder) = one_node();
    let (node, image) = (cluster.node(1), picture::sized(3_000_000));
    let etag = node
        .put("/images/alice/big.png", &image)
        .field("etag")
        .unwrap()
        .to_owned();
    let part = folder
        .path()
        .join(format!("big.png.{}.part", etag.trim_matches('"')));
    let (target, stale) = (
        folder.path().join("big.png"),
        folder.path().join(format!("big.png.{}.part", "0".repeat(32))),
    );
    let sent = || node.state().unwrap()["counters"]["bytes_sent"].as_u64().unwrap();
    // From the middle, from the last byte, and from behind it.
    for held in [2_000_000, image.len() - 1, image.len()] {
        let before = sent();
        fs::write(&part, &image[..held]).unwrap();
        let get = client(folder.path(), "alice", &["get", "big.png"]);
        assert_eq!(get.status, 0, "{}", get.stderr);
        assert!(fs::read(&target).unwrap() == image, "{held}");
        assert!(!part.exists());
        let came = sent() - before;
        assert!(
            came <= (image.len() - held) as u64 + 1,
            "{came} bytes came, {held} were there"
        );
        fs::remove_file(&target).unwrap();
    }
    fs::write(&stale, b"something else").unwrap();
    assert_eq!(client(folder.path(), "alice", &["get", "big.png"]).status, 0);
    assert!(fs::read(&target).unwrap() == image && !stale.exists());
}

#[test]
fn all_images_of_a_user_are_fetched_and_removed() {
    let (cluster, folder) = one_node();
    let names = ["a.png", "Mein Urlaub.PNG", "\u{65e5}.png"];
    for name in names {
        write_image(&folder, &format!("in/{name}"));
    }
    let run = |arguments: &[&str]| client(folder.path(), "alice", arguments);
    assert_eq!(run(&["put", "in"]).status, 0);
    let get = run(&["get", "--all", "-o", "out"]);
    assert_eq!(get.status, 0, "{}", get.stderr);
    for name in names {
        assert_eq!(
            fs::read(folder.path().join("out").join(name)).unwrap(),
            picture::dot()
        );
    }
    let asked = run(&["rm", "--all"]);
    assert_eq!(asked.status, 1, "{}", asked.stdout);
    assert!(asked.stderr.contains("--yes"), "{}", asked.stderr);
    assert_eq!(run(&["ls"]).stdout.lines().count(), 3);
    assert_eq!(run(&["rm", "--all", "--yes"]).status, 0);
    assert_eq!(run(&["ls"]).stdout, "");
    assert_eq!(
        cluster
            .node(1)
            .files()
            .iter()
            .filter(|file| file.ends_with("png"))
            .count(),
        0
    );
}

#[test]
fn one_server_is_enough_and_the_next_is_asked_if_it_is_away() {
    let mut cluster = TestCluster::start(3);
    cluster.await_settled();
    let folder = TempDir::new().unwrap();
    for number in 0..6 {
        write_image(&folder, &format!("{number}.png"));
    }
    let url = |id| format!("http://{}", cluster.node(id).address);
    let (first, second) = (url(1), url(2));
    let put = client(folder.path(), "alice", &["put", ".", "--server", &first]);
    assert_eq!(put.status, 0, "{}", put.stderr);
    cluster.node_mut(1).stop();
    let by_variable = Command::new(env!("CARGO_BIN_EXE_client"))
        .args(["ls"])
        .current_dir(folder.path())
        .env("USER", "alice")
        .env("PIXSEAL_SERVER", format!("{first} {second}"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let listed = String::from_utf8(by_variable.stdout).unwrap();
    let said = String::from_utf8(by_variable.stderr).unwrap();
    assert!(!listed.is_empty() && said.contains("Node 1"), "{listed}{said}");
    let wrong = client(folder.path(), "alice", &["ls", "--server", "127.0.0.1:1"]);
    assert_eq!(wrong.status, 2, "{}", wrong.stderr);
    assert!(wrong.stderr.contains("http://127.0.0.1:8001"), "{}", wrong.stderr);
}

#[test]
fn the_status_is_json_for_programs() {
    let (_cluster, folder) = one_node();
    let status = client(folder.path(), "alice", &["status", "--json"]);
    assert_eq!(status.status, 0, "{}", status.stderr);
    let whole: Value = serde_json::from_str(&status.stdout).unwrap();
    assert_eq!(whole["well"], Value::Bool(true));
    assert_eq!(whole["nodes"][0]["status"]["leader"], Value::from(1));
}
