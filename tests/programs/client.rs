//! The `client` program: what it refuses before anything is sent, and what it needs to know of the cluster.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::support::cluster::TestCluster;
use crate::support::{picture, wait_for};

/// What a run of the client left: its exit status, and what it said.
pub(crate) struct Outcome {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

pub(crate) fn client(folder: &Path, login: &str, arguments: &[&str]) -> Outcome {
    client_with(folder, login, None, arguments)
}

/// The same with this token in the environment.
fn client_with(folder: &Path, login: &str, token: Option<&str>, arguments: &[&str]) -> Outcome {
    let output = Command::new(env!("CARGO_BIN_EXE_client"))
        .args(arguments)
        .current_dir(folder)
        .env("USER", login)
        .env("PIXSEAL_TOKEN", token.unwrap_or_default())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Outcome {
        status: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A folder with images in it, and a cluster file that names one node: this listener, which nobody may connect to.
fn prepare(files: &[&str]) -> (TempDir, TcpListener) {
    let folder = TempDir::new().unwrap();
    let node = TcpListener::bind("127.0.0.1:0").unwrap();
    node.set_nonblocking(true).unwrap();
    let address = node.local_addr().unwrap();
    fs::write(
        folder.path().join("cluster.toml"),
        format!("[nodes]\n1 = \"{address}\"\n"),
    )
    .unwrap();
    for file in files {
        let file = folder.path().join(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, picture::dot()).unwrap();
    }
    (folder, node)
}

/// The client ends with one line that contains all `words`, as wrong usage, and has not connected to the node.
fn assert_refused(outcome: &Outcome, node: &TcpListener, words: &[&str]) {
    let said = &outcome.stderr;
    assert_eq!((outcome.status, said.lines().count()), (2, 1), "{said}");
    for word in words {
        assert!(said.contains(word), "{word:?} is missing: {said}");
    }
    assert_eq!(outcome.stdout, "");
    assert_eq!(
        node.accept().unwrap_err().kind(),
        std::io::ErrorKind::WouldBlock,
        "something was sent: {said}"
    );
}

#[test]
fn a_name_that_is_given_twice_is_refused_before_anything_is_sent() {
    let (folder, node) = prepare(&["a/cat.png", "b/cat.png", "b/dog.png"]);
    for arguments in [
        &["a/cat.png", "b/cat.png"][..],
        &["a", "b"],
        &["b/dog.png", "b/cat.png", "a"],
        &["a", "a/cat.png"],
    ] {
        let put = [&["put", "--user", "alice"], arguments].concat();
        let outcome = client(folder.path(), "alice", &put);
        assert_refused(
            &outcome,
            &node,
            &["cat.png is given twice", "rename one", "nothing was sent"],
        );
    }
}

#[test]
fn a_login_name_that_cannot_be_a_user_is_refused_and_not_replaced() {
    let (folder, node) = prepare(&["cat.png"]);
    for command in [
        &["put", "cat.png"][..],
        &["get", "cat.png"],
        &["rm", "cat.png"],
        &["ls"],
    ] {
        let outcome = client(folder.path(), "jean.dupont", command);
        assert_refused(&outcome, &node, &["the login name jean.dupont", "--user"]);
    }
    let asked = client(
        folder.path(),
        "alice",
        &["put", "--user", "jean.dupont", "cat.png"],
    );
    assert_refused(&asked, &node, &["--user jean.dupont", "A-Z a-z 0-9"]);
}

#[test]
fn a_login_name_that_cannot_be_a_user_is_no_obstacle_where_none_is_needed() {
    let cluster = TestCluster::start(1);
    let folder = TempDir::new().unwrap();
    let members = folder.path().join("cluster.toml");
    fs::write(&members, &cluster.node(1).members).unwrap();
    fs::write(folder.path().join("cat.png"), picture::dot()).unwrap();
    wait_for("the node is ready", || {
        let status = client(folder.path(), "jean.dupont", &["status"]);
        assert_eq!(status.stderr, "");
        (status.status == 0).then_some(())
    });
    let put = client(
        folder.path(),
        "jean.dupont",
        &["put", "cat.png", "--user", "jean_dupont"],
    );
    assert_eq!(put.status, 0, "{}", put.stderr);
    assert_eq!(
        cluster.node(1).ask("GET", "/images/jean_dupont/cat.png").status,
        200
    );
}

#[test]
fn a_cluster_file_that_names_one_node_is_enough() {
    let cluster = TestCluster::start(3);
    let folder = TempDir::new().unwrap();
    let one = format!("[nodes]\n1 = \"{}\"\n", cluster.node(1).address);
    fs::write(folder.path().join("cluster.toml"), one).unwrap();
    let names: Vec<String> = (1..=3).map(|id| cluster.name_on(id, "alice")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for name in &names {
        fs::write(folder.path().join(name), picture::dot()).unwrap();
    }
    let run = |words: &[&str], names: &[&str]| {
        let outcome = client(folder.path(), "alice", &[words, names].concat());
        assert_eq!(outcome.status, 0, "{words:?}: {}", outcome.stderr);
        outcome.stdout
    };
    let put = run(&["put"], &names);
    for id in 1..=3 {
        assert!(put.contains(&format!("bytes on node {id}")), "{put}");
    }
    run(&["get", "-o", "back"], &names);
    for name in &names {
        let back = fs::read(folder.path().join("back").join(name)).unwrap();
        assert_eq!(back, picture::dot());
    }
    assert_eq!(run(&["ls"], &[]).lines().count(), 3);
    run(&["rm"], &names);
    assert_eq!(run(&["ls"], &[]), "");
}

#[test]
fn a_token_comes_from_the_environment_or_a_file_and_is_never_printed() {
    let mut cluster = TestCluster::prepare(3, &[]);
    let admin = cluster.add_token("ops", "admin");
    let token = cluster.add_token("alice", "read,write,delete,list");
    cluster.show_token(&admin);
    cluster.start_all();
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("cluster.toml"), &cluster.node(1).members).unwrap();
    fs::write(folder.path().join("cat.png"), picture::dot()).unwrap();
    fs::write(folder.path().join("token"), format!("{token}\n")).unwrap();
    fs::write(folder.path().join("half"), &token[..20]).unwrap();
    let run = |shown: Option<&str>, arguments: &[&str]| {
        let outcome = client_with(folder.path(), "alice", shown, arguments);
        let said = format!("{}{}", outcome.stdout, outcome.stderr);
        for token in [&token, &admin] {
            let secret = token.splitn(3, '_').nth(2).unwrap();
            assert!(!said.contains(secret), "a token is printed: {said}");
        }
        (outcome.status, said)
    };
    let file = ["--token-file", "token"];
    let with_file = |arguments: &[&str]| run(None, &[arguments, &file].concat()).0;
    assert_eq!(run(Some(&token), &["put", "cat.png"]).0, 0);
    assert_eq!(with_file(&["ls"]), 0);
    assert_eq!(with_file(&["get", "cat.png", "-o", ".", "--force"]), 0);
    assert_eq!(run(Some("pixseal_wrong"), &["ls", "--token-file", "token"]).0, 0);
    let (status, said) = run(None, &["ls"]);
    assert_eq!(
        (status, said.contains("seal token add USER")),
        (1, true),
        "{said}"
    );
    let (status, said) = run(Some(&token), &["ls", "--user", "bob"]);
    assert_eq!((status, said.contains("403")), (1, true), "{said}");
    for (shown, arguments, word) in [
        (Some("pixseal_wrong"), &["ls"][..], "PIXSEAL_TOKEN"),
        (None, &["ls", "--token-file", "half"], "half"),
        (None, &["ls", "--token-file", "none"], "none"),
    ] {
        let (status, said) = run(shown, arguments);
        assert_eq!((status, said.contains(word)), (2, true), "{said}");
    }
    let (status, said) = run(Some(&token), &["status"]);
    assert_eq!((status, said.contains("admin")), (1, true), "{said}");
    let (status, said) = run(Some(&token), &["rebalance"]);
    assert_eq!((status, said.contains("403")), (1, true), "{said}");
    wait_for("the nodes are ready", || {
        (run(Some(&admin), &["status"]).0 == 0).then_some(())
    });
    assert_eq!(run(Some(&admin), &["rebalance"]).0, 0);
    assert_eq!(with_file(&["rm", "cat.png"]), 0);
}

/// A node that is ready, and a folder with a cluster file that names it.
pub(crate) fn one_node() -> (TestCluster, TempDir) {
    let cluster = TestCluster::start(1);
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("cluster.toml"), &cluster.node(1).members).unwrap();
    wait_for("the node is ready", || {
        (client(folder.path(), "alice", &["status"]).status == 0).then_some(())
    });
    (cluster, folder)
}

pub(crate) fn write_image(folder: &TempDir, file: &str) {
    let file = folder.path().join(file);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, picture::dot()).unwrap();
}

#[test]
fn put_names_and_counts_what_it_skips_and_r_takes_sub_folders() {
    let (cluster, folder) = one_node();
    for file in ["in/a.png", "in/b.jpg", "in/sub/c.png"] {
        write_image(&folder, file);
    }
    let put = client(folder.path(), "alice", &["put", "in"]);
    assert_eq!(put.status, 0, "{}", put.stderr);
    assert!(
        put.stderr
            .contains("in/b.jpg is skipped: its name does not end in .png"),
        "{}",
        put.stderr
    );
    assert!(
        put.stderr.contains("in/sub is skipped: it is a folder: -r"),
        "{}",
        put.stderr
    );
    assert!(put.stdout.contains("1 of 1 files uploaded"), "{}", put.stdout);
    assert!(put.stdout.trim_end().ends_with(", 2 skipped"), "{}", put.stdout);
    let put = client(folder.path(), "alice", &["put", "-r", "in", "--jobs", "2"]);
    assert_eq!(put.status, 0, "{}", put.stderr);
    assert!(put.stdout.contains("2 of 2 files uploaded"), "{}", put.stdout);
    assert_eq!(cluster.node(1).ask("GET", "/images/alice/c.png").status, 200);
}

#[test]
fn files_that_fail_do_not_stop_the_others() {
    let (cluster, folder) = one_node();
    write_image(&folder, "a.png");
    write_image(&folder, "z.png");
    fs::write(folder.path().join("bad.png"), "no image").unwrap();
    let put = client(
        folder.path(),
        "alice",
        &["put", "none.png", "*.gif", "a.png", "bad.png", "z.png"],
    );
    assert_eq!(put.status, 1, "{}", put.stderr);
    for words in [
        "none.png: No such file",
        "*.gif: this pattern matches no file",
        "bad.png: ",
        "3 failed",
    ] {
        assert!(put.stderr.contains(words), "{words}: {}", put.stderr);
    }
    assert!(put.stdout.contains("2 of 5 files uploaded"), "{}", put.stdout);
    for name in ["a.png", "z.png"] {
        let target = format!("/images/alice/{name}");
        assert_eq!(cluster.node(1).ask("GET", &target).status, 200);
    }
}

#[test]
fn standard_input_is_uploaded_under_a_name_and_variables_stand_for_options() {
    let (cluster, folder) = one_node();
    write_image(&folder, "in.png");
    fs::rename(
        folder.path().join("cluster.toml"),
        folder.path().join("other.toml"),
    )
    .unwrap();
    let put = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_client"))
            .args(arguments)
            .current_dir(folder.path())
            .env("USER", "jean.dupont")
            .env("PIXSEAL_USER", "bob")
            .env("PIXSEAL_CLUSTER", "other.toml")
            .env_remove("PIXSEAL_TOKEN")
            .stdin(fs::File::open(folder.path().join("in.png")).unwrap())
            .output()
            .unwrap();
        (
            output.status.code().unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    assert_eq!(put(&["put", "-", "--name", "cat.png"]), (0, String::new()));
    assert_eq!(
        put(&["put", "in.png", "--name", "dog.png", "-u", "carl"]),
        (0, String::new())
    );
    for target in ["/images/bob/cat.png", "/images/carl/dog.png"] {
        assert_eq!(cluster.node(1).ask("GET", target).status, 200, "{target}");
    }
    let (status, said) = put(&["put", "-"]);
    assert_eq!((status, said.contains("--name NAME")), (2, true), "{said}");
}

#[test]
fn get_replaces_a_file_only_with_force() {
    let (_cluster, folder) = one_node();
    write_image(&folder, "a.png");
    write_image(&folder, "b.png");
    let run = |arguments: &[&str]| client(folder.path(), "alice", arguments);
    assert_eq!(run(&["put", "a.png", "b.png"]).status, 0);
    let a = folder.path().join("a.png");
    fs::write(&a, "mine").unwrap();
    fs::remove_file(folder.path().join("b.png")).unwrap();
    let get = run(&["get", "a.png", "b.png"]);
    assert_eq!(get.status, 1, "{}", get.stdout);
    assert!(
        get.stderr.contains("a.png: it exists already; --force"),
        "{}",
        get.stderr
    );
    assert_eq!(fs::read(&a).unwrap(), b"mine");
    assert_eq!(fs::read(folder.path().join("b.png")).unwrap(), picture::dot());
    assert_eq!(run(&["get", "a.png", "--force"]).status, 0);
    assert_eq!(fs::read(&a).unwrap(), picture::dot());
}

#[test]
fn ls_shows_dates_and_versions_or_json() {
    let (_cluster, folder) = one_node();
    write_image(&folder, "a.png");
    let run = |arguments: &[&str]| client(folder.path(), "alice", arguments).stdout;
    run(&["put", "a.png"]);
    let json: serde_json::Value = serde_json::from_str(&run(&["ls", "--json"])).unwrap();
    assert_eq!((&json["name"], &json["node"]), (&"a.png".into(), &1.into()));
    let long = run(&["ls", "-l"]);
    let words: Vec<&str> = long.split_whitespace().collect();
    assert_eq!(words.len(), 7, "{long}");
    assert_eq!(
        (words[1].len(), words[2].len()),
        ("2026-12-01".len(), "12:00".len())
    );
    assert_eq!(words[5], json["version"].as_str().unwrap());
}
