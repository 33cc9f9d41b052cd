//! The `server` program: what it does with wrong arguments, a taken port and keys it must not use.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::support::address::free_address;
use crate::support::cluster::TestCluster;
use crate::support::picture;
use crate::support::wait_for;
use crate::support::wire::{Wire, put_head};

/// Exit status and what was said on standard error.
fn outcome(command: &mut Command) -> (i32, String) {
    let output = command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    (
        output.status.code().unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

fn server(arguments: &[&str]) -> (i32, String) {
    outcome(Command::new(env!("CARGO_BIN_EXE_server")).args(arguments))
}

#[test]
fn wrong_arguments_end_in_one_line_and_status_2() {
    for (arguments, word) in [
        (&[][..], "node id"),
        (&["1", "2"], "node id"),
        (&["x"], "not a node id"),
        (&["9"], "not in the cluster, which has 1, 2, 3"),
        (&["1", "--colour"], "colour"),
        (&["1", "--queue"], "queue"),
        (&["1", "--queue", "0"], "--queue"),
        (&["1", "--workers", "many"], "--workers"),
        (&["1", "--body-max", "-1"], "--body-max"),
        (&["1", "--durability", "never"], "--durability"),
        (&["1", "--grace", "-1"], "--grace"),
        (&["1", "--disk-min-free", "100%"], "--disk-min-free"),
        (&["1", "--listen", "nowhere"], "nowhere"),
        (
            &["1", "--cluster", "/nonexistent/cluster.toml"],
            "/nonexistent/cluster.toml",
        ),
    ] {
        let (status, said) = server(arguments);
        assert_eq!((status, said.lines().count()), (2, 1), "{arguments:?}: {said}");
        assert!(
            said.starts_with("server: ") && said.contains(word),
            "{arguments:?}: {said}"
        );
    }
}

#[test]
fn help_and_version_are_no_errors() {
    assert_eq!(server(&["--help"]), (0, String::new()));
    assert_eq!(server(&["--version"]), (0, String::new()));
}

#[test]
fn a_taken_port_is_said_in_one_line() {
    let cluster = TestCluster::start(1);
    let (status, said) = outcome(&mut cluster.node(1).command());
    assert_eq!((status, said.lines().count()), (2, 1), "{said}");
    assert!(
        said.contains(&format!("cannot listen on {}", cluster.node(1).address)),
        "{said}"
    );
    assert_eq!(
        cluster.node(1).put("/images/a/b.png", &picture::dot()).status,
        201
    );
}

#[test]
fn a_node_does_not_open_itself_to_everybody_by_mistake() {
    let mut cluster = TestCluster::prepare(1, &[]);
    let port = cluster.node(1).address.port();
    let everywhere = format!("0.0.0.0:{port}");
    let (status, said) = outcome(cluster.node(1).command().args(["--listen", &everywhere]));
    assert_eq!((status, said.lines().count()), (2, 1), "{said}");
    for word in [
        &everywhere,
        "seal token add USER",
        "127.0.0.1",
        "--insecure-allow-remote",
    ] {
        assert!(said.contains(word), "{word}: {said}");
    }
    cluster.node_mut(1).options = vec![
        "--listen".to_owned(),
        everywhere,
        "--insecure-allow-remote".to_owned(),
    ];
    cluster.start_all();
    let warning = "Whoever can reach this node can read, overwrite and delete every image";
    let warnings = |cluster: &TestCluster| cluster.node(1).state().unwrap()["warnings"].to_string();
    assert!(warnings(&cluster).contains(warning));
    wait_for("the log warns", || {
        cluster.node(1).log().contains(warning).then_some(())
    });
    let token = cluster.add_token("ops", "admin");
    cluster.show_token(&token);
    cluster.node(1).signal(Signal::HUP);
    wait_for("the node knows its tokens", || {
        (cluster.node(1).ask_as(None, "GET", "/cluster").status == 401).then_some(())
    });
    assert!(!warnings(&cluster).contains(warning));
    cluster.node_mut(1).options.pop();
    cluster.node_mut(1).stop();
    cluster.node_mut(1).start();
}

#[test]
fn a_second_process_of_one_node_is_refused_and_takes_nothing_from_the_first() {
    let cluster = TestCluster::start(1);
    let node = cluster.node(1);
    let image = picture::sized(10_000);
    let mut wire = Wire::connect(node.address);
    let fields = "Expect: 100-continue\r\n";
    wire.send(&put_head(node.address, "/images/a/b.png", image.len(), fields));
    assert_eq!(wire.answer().unwrap().status, 100);
    // The node also writes down its clock now and then, by way of a temporary file.
    let begun = wait_for("only the upload is unfinished", || {
        <[String; 1]>::try_from(node.files()).ok()
    });
    let elsewhere = free_address().to_string();
    let (status, said) = outcome(node.command().args(["--listen", &elsewhere]));
    assert_eq!((status, said.lines().count()), (2, 1), "{said}");
    let (images, pid) = (node.images(), format!("process {}", node.pid()));
    for word in ["Node 1", images.to_str().unwrap(), &pid, "stop", "--images"] {
        assert!(said.contains(word), "{said}");
    }
    assert!(node.files().contains(&begun[0]), "{begun:?}");
    wire.send(&image);
    assert_eq!(wire.answer().unwrap().status, 201);
    assert_eq!(node.ask("GET", "/images/a/b.png").body, image);
}

#[test]
fn a_node_is_drained_only_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let images = folder.path().to_str().unwrap();
    for (arguments, word) in [
        (&["--drain", "1", "--images", images][..], images),
        (&["--undrain", "1", "--images", images], "--images"),
        (&["--drain", "1", "--images", "/nonexistent"], "/nonexistent"),
        (&["--drain", "x"], "not a node id"),
        (&["--drain", "1", "--undrain", "1"], "together"),
        (&["2", "--drain", "1"], "one id"),
    ] {
        let (status, said) = server(arguments);
        assert_eq!((status, said.lines().count()), (2, 1), "{arguments:?}: {said}");
        assert!(said.contains(word), "{arguments:?}: {said}");
    }
    assert_eq!(fs::read_dir(images).unwrap().count(), 0, "nothing is created");
}

#[test]
fn keys_that_must_not_be_used_are_refused_in_one_line() {
    for (mode, keyset) in [(0o600, "not a keyset"), (0o644, ""), (0o600, "{}")] {
        let mut cluster = TestCluster::prepare(1, &[]);
        let secrets = cluster.node(1).secrets();
        let path = secrets.join("keyset.json");
        if keyset.is_empty() {
            // Keys that a node made itself, and that somebody has then shown to everybody.
            cluster.node_mut(1).start();
            cluster.node_mut(1).stop();
        } else {
            fs::create_dir(&secrets).unwrap();
            fs::set_permissions(&secrets, fs::Permissions::from_mode(0o700)).unwrap();
            fs::write(&path, keyset).unwrap();
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let (status, said) = outcome(&mut cluster.node(1).command());
        assert_eq!((status, said.lines().count()), (2, 1), "{keyset:?}: {said}");
        assert!(said.contains("keyset.json"), "{said}");
    }
}

#[test]
fn nothing_prepared_is_enough() {
    let mut cluster = TestCluster::prepare(1, &[]);
    cluster.node_mut(1).start();
    let mode = |name: &str| {
        let path = cluster.root().join(name);
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    };
    assert_eq!(mode("secrets"), 0o700);
    assert_eq!(
        (mode("secrets/keyset.json"), mode("secrets/cluster.key")),
        (0o600, 0o600)
    );
}
