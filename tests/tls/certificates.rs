//! Who is believed: certificates of other authorities, for other names, expired, missing, and new ones while nodes run.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use pixseal::tls::files::Identity;
use rustix::process::Signal;

use crate::TlsCluster;
use crate::support::certificate::{Authority, client_config, options_of};
use crate::support::cluster::TestNode;
use crate::support::wire::{self, Wire};
use crate::support::{picture, wait_for};

/// What `client status` prints of the cluster, with these options.
fn status(cluster: &TlsCluster, options: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_client"));
    command
        .arg("status")
        .arg("--cluster")
        .arg(cluster.nodes.node(1).cluster_file());
    command.args(options).env_remove("PIXSEAL_TOKEN");
    String::from_utf8(command.output().unwrap().stdout).unwrap()
}

#[test]
fn a_client_says_why_it_does_not_believe_a_node() {
    let mut cluster = TlsCluster::start(1, &[]);
    let folder = cluster.nodes.root().to_owned();
    let (ca, other) = (cluster.authority.file.clone(), Authority::new(&folder, "other"));
    let ca = ["--ca", ca.to_str().unwrap()];
    assert!(
        status(&cluster, &ca).contains("is ready"),
        "{}",
        status(&cluster, &ca)
    );
    for (options, reason) in [
        (
            &["--ca", other.file.to_str().unwrap()][..],
            "is of no authority that --ca names",
        ),
        (&[], "This node speaks TLS"),
    ] {
        let said = status(&cluster, options);
        assert!(
            said.contains("not trusted (TLS)") && said.contains(reason),
            "{said}"
        );
    }
    let mine = cluster.nodes.hosts();
    let expired = || cluster.authority.sign_expired(&folder, "node", &mine);
    let of_another = || {
        cluster
            .authority
            .sign(&folder, "node", &["node.example".to_owned()])
    };
    let replacements: [(&dyn Fn() -> Identity, &str); 2] = [
        (&expired, "has expired"),
        (&of_another, "is for node.example, and not for 127."),
    ];
    for (replace, reason) in replacements {
        assert_eq!(
            replace(),
            cluster.identity(),
            "it takes the place of the other one"
        );
        reload(cluster.nodes.node(1));
        let said = status(&cluster, &ca);
        assert!(said.contains(reason), "{said}");
    }
    let node = cluster.nodes.node_mut(1);
    node.stop();
    node.options.clear();
    node.tls = None;
    node.start();
    let said = status(&cluster, &ca);
    assert!(said.contains("does not speak TLS"), "{said}");
}

/// What a node says is written by a thread of its own.
fn await_line(node: &TestNode, part: &str) {
    wait_for("the line is in the log", || {
        node.log().contains(part).then_some(())
    });
}

/// Has a node read its certificates again.
fn reload(node: &TestNode) {
    let before = node.log().matches("certificates").count();
    node.signal(Signal::HUP);
    wait_for("the node has read them", || {
        (node.log().matches("certificates").count() > before).then_some(())
    });
}

#[test]
fn certificates_are_replaced_under_load_without_a_failed_request() {
    let cluster = TlsCluster::start(3, &[]);
    let folder = cluster.nodes.root().to_owned();
    let (stop, done) = (AtomicBool::new(false), AtomicUsize::new(0));
    let image = picture::sized(200_000);
    thread::scope(|scope| {
        for worker in 0..4 {
            let (cluster, stop, done, image) = (&cluster, &stop, &done, &image);
            scope.spawn(move || {
                let node = cluster.nodes.node(1 + worker % 3);
                let mut kept = node.try_connect().unwrap();
                let mut number = 0;
                while !stop.load(Ordering::Relaxed) {
                    let name = cluster.nodes.name_on(node.id, &format!("user{worker}-{number}"));
                    let path = format!("/images/user{worker}-{number}/{name}");
                    // Half over a connection that was made before, half over new ones.
                    let status = match number % 2 {
                        0 => {
                            kept.send(&wire::put_head(node.address, &path, image.len(), ""));
                            kept.send(image);
                            kept.answer().expect("a kept connection is answered").status
                        }
                        _ => node.put(&path, image).status,
                    };
                    assert_eq!(status, 201, "{path}");
                    number += 1;
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for _ in 0..5 {
            let wanted = done.load(Ordering::Relaxed) + 8;
            wait_for("uploads go on", || {
                (done.load(Ordering::Relaxed) >= wanted).then_some(())
            });
            cluster.authority.sign(&folder, "node", &cluster.nodes.hosts());
            cluster.nodes.nodes.iter().for_each(reload);
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn files_that_cannot_be_used_change_nothing() {
    let cluster = TlsCluster::start(1, &[]);
    let node = cluster.nodes.node(1);
    let good = fs::read(&cluster.identity().cert).unwrap();
    let other = Authority::new(cluster.nodes.root(), "other").sign(
        cluster.nodes.root(),
        "stray",
        &cluster.nodes.hosts(),
    );
    for bad in [
        &b""[..],
        b"-----BEGIN CERTIFICATE-----\n!",
        &fs::read(other.cert).unwrap(),
    ] {
        fs::write(&cluster.identity().cert, bad).unwrap();
        reload(node);
        let log = node.log();
        let last = log.lines().last().unwrap();
        assert!(
            last.contains("certificates stay as they were") && last.contains("node."),
            "{last}"
        );
        assert_eq!(node.ask("GET", "/healthz").status, 200);
    }
    fs::write(&cluster.identity().cert, good).unwrap();
    reload(node);
    assert_eq!(node.ask("GET", "/healthz").status, 200);
}

#[test]
fn a_node_that_asks_for_certificates_serves_nobody_without_one() {
    let mut cluster = TlsCluster::prepare(3, &[]);
    let folder = cluster.nodes.root().to_owned();
    let clients = Authority::new(&folder, "clients");
    let alice = clients.sign(&folder, "alice", &["alice".to_owned()]);
    // Nodes are clients of each other: the authority of their own certificates is believed as well.
    let both = folder.join("both.pem");
    let pem = [&cluster.authority.file, &clients.file].map(|file| fs::read(file).unwrap());
    fs::write(&both, pem.concat()).unwrap();
    for node in &mut cluster.nodes.nodes {
        node.options
            .extend(["--client-ca".to_owned(), both.display().to_string()]);
        node.tls = Some(client_config(&cluster.authority.file, Some(&alice)));
    }
    cluster.nodes.start_all();
    cluster.nodes.await_settled();
    let path = format!("/images/alice/{}", cluster.nodes.name_on(2, "alice"));
    assert_eq!(cluster.nodes.node(2).put(&path, &picture::dot()).status, 201);
    // Node 1 has to ask node 2.
    assert_eq!(cluster.nodes.node(1).ask("GET", &path).status, 307);
    let node = cluster.nodes.node(1);
    let stranger =
        Wire::try_connect_tls(node.address, &client_config(&cluster.authority.file, None)).unwrap();
    assert!(wire::ask_on(stranger, ("GET", "/healthz"), "").is_none());
    let ca = ["--ca", cluster.authority.file.to_str().unwrap()];
    let said = status(&cluster, &ca);
    assert!(said.contains("it wants a certificate"), "{said}");
    let shown = [
        "--cert",
        alice.cert.to_str().unwrap(),
        "--key",
        alice.key.to_str().unwrap(),
    ];
    let said = status(&cluster, &[&ca[..], &shown].concat());
    assert!(said.contains("All 3 nodes are ready"), "{said}");
}

#[test]
fn a_node_says_which_other_one_it_does_not_believe() {
    let mut cluster = TlsCluster::prepare(2, &[]);
    let folder = cluster.nodes.root().to_owned();
    let other = Authority::new(&folder, "other");
    let stray = other.sign(&folder, "stray", &cluster.nodes.hosts());
    let node = cluster.nodes.node_mut(2);
    node.options = options_of(&stray, &cluster.authority.file);
    node.tls = Some(client_config(&other.file, None));
    cluster.nodes.start_all();
    let path = format!("/images/alice/{}", cluster.nodes.name_on(2, "alice"));
    let node = cluster.nodes.node(1);
    assert_eq!(node.ask("GET", &path).status, 503, "only node 2 can tell");
    let said = "Node 2 cannot be asked: ";
    await_line(node, said);
    let state = node.state().unwrap();
    let warnings = state["warnings"].as_array().unwrap();
    assert!(
        warnings
            .iter()
            .any(|warning| warning.as_str().unwrap().starts_with(said)),
        "{warnings:?}"
    );
    // Once it has a certificate that is believed, all is well by itself.
    for (from, to) in [
        (cluster.identity().cert, "stray.pem"),
        (cluster.identity().key, "stray.key"),
    ] {
        fs::copy(from, folder.join(to)).unwrap();
    }
    reload(cluster.nodes.node(2));
    wait_for("node 1 asks node 2", || {
        (node.ask("GET", &path).status == 404).then_some(())
    });
    await_line(node, "Node 2 can be asked again");
    let warnings = &node.state().unwrap()["warnings"];
    assert_eq!(warnings.as_array().map(Vec::len), Some(0), "{warnings}");
}

#[test]
fn a_node_says_what_is_wrong_with_its_own_certificate() {
    let cluster = TlsCluster::start(1, &[]);
    let (folder, mine) = (cluster.nodes.root().to_owned(), cluster.nodes.hosts());
    let (node, key) = (cluster.nodes.node(1), cluster.identity().key);
    let warnings = || node.state().unwrap()["warnings"].clone();
    assert_eq!(warnings(), serde_json::json!([]), "nothing is wrong with it");
    let other = Authority::new(&folder, "other");
    let day = Duration::from_secs(24 * 60 * 60);
    let of_another = ["node.example".to_owned()];
    // Nobody believes it then, so only its log can tell.
    let unbelievable: [(&dyn Fn() -> Identity, &str); 3] = [
        (
            &|| cluster.authority.sign_expired(&folder, "node", &mine),
            "its certificate has expired",
        ),
        (
            &|| cluster.authority.sign(&folder, "node", &of_another),
            "is for node.example, and not for 127.",
        ),
        (
            &|| other.sign(&folder, "node", &mine),
            "is of no authority that --ca names",
        ),
    ];
    for (replace, complaint) in unbelievable {
        replace();
        reload(node);
        await_line(node, complaint);
    }
    let believable: [(&dyn Fn() -> Identity, &str); 2] = [
        (
            &|| cluster.authority.sign_for(6 * day, &folder, "node", &mine),
            "to its authority, ends on ",
        ),
        (
            &|| {
                let identity = cluster.authority.sign_for(8 * day, &folder, "node", &mine);
                fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
                identity
            },
            "can be read by every user of this machine",
        ),
    ];
    for (replace, complaint) in believable {
        replace();
        reload(node);
        await_line(node, complaint);
        wait_for("it warns of that alone", || {
            let warnings = warnings();
            let is_told = warnings[0].as_str().is_some_and(|said| said.contains(complaint));
            (is_told && warnings.as_array().map(Vec::len) == Some(1)).then_some(())
        });
    }
    cluster.authority.sign(&folder, "node", &mine);
    reload(node);
    wait_for("all is well again", || {
        (warnings() == serde_json::json!([])).then_some(())
    });
}

#[test]
fn a_node_without_all_of_its_files_does_not_start() {
    let cluster = TlsCluster::prepare(1, &[]);
    let node = cluster.nodes.node(1);
    let all = node.options.clone();
    for left_out in ["--cert", "--key", "--ca"] {
        let at = all.iter().position(|option| option == left_out).unwrap();
        let mut options = all.clone();
        options.drain(at..at + 2);
        let mut command = Command::new(env!("CARGO_BIN_EXE_server"));
        command
            .arg("1")
            .arg("--cluster")
            .arg(node.root.join("cluster.toml"));
        fs::write(node.root.join("cluster.toml"), &node.members).unwrap();
        let output = command.args(&options).current_dir(&node.root).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains("go together"), "{said}");
    }
}
