//! `scripts/cluster`, which starts nodes in the background for `make cluster`.

use std::fs;
use std::process::{Command, Stdio};

use pixseal::members::Members;
use tempfile::TempDir;

use crate::support::cluster::TestCluster;
use crate::support::wire;

/// A folder from which the script starts the nodes of a cluster file, with the programs under test.
struct Place {
    folder: TempDir,
    /// What `make cluster TLS=…` says.
    tls: &'static str,
}

impl Place {
    fn new(members: &str) -> Place {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("cluster.toml"), members).unwrap();
        Place { folder, tls: "" }
    }

    /// Exit status, standard output and standard error.
    fn run(&self, word: &str, nodes: &str) -> (i32, String, String) {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/cluster");
        // What it starts lives on, and would hold a pipe open.
        let said = ["out", "err"].map(|name| self.folder.path().join(name));
        let [out, err] = said.each_ref().map(|path| fs::File::create(path).unwrap());
        let status = Command::new("sh")
            .args([script, word, nodes, "1", "run", "images", "secrets"])
            .env("SERVER", env!("CARGO_BIN_EXE_server"))
            .env("CLIENT", env!("CARGO_BIN_EXE_client"))
            .env("TLS", self.tls)
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .status()
            .unwrap();
        let [out, err] = said.map(|path| fs::read_to_string(path).unwrap());
        (status.code().unwrap(), out, err)
    }

    fn pid_files(&self) -> usize {
        let run = fs::read_dir(self.folder.path().join("run")).unwrap();
        run.filter(|entry| {
            entry
                .as_ref()
                .unwrap()
                .path()
                .extension()
                .is_some_and(|end| end == "pid")
        })
        .count()
    }
}

/// Nodes that were started are ended, also when the test fails.
impl Drop for Place {
    fn drop(&mut self) {
        let _ = self.run("stop", "any");
    }
}

#[test]
fn a_taken_port_is_named_and_nothing_is_left_running() {
    let mut others = TestCluster::prepare(3, &[]);
    others.node_mut(2).start();
    let taken = others.node(2).address;
    let place = Place::new(&others.node(2).members);
    let (status, out, err) = place.run("start", "any");
    assert_eq!((status, out.as_str()), (1, ""), "{err}");
    assert!(
        err.contains(&format!("port {} of Node 2 is taken", taken.port()))
            && err.contains("change cluster.toml"),
        "{err}"
    );
    assert_eq!(place.pid_files(), 0);
    for id in [1, 3] {
        assert!(wire::try_ask(others.node(id).address, "GET", "/healthz").is_none());
    }
    assert_eq!(others.node(2).ask("GET", "/healthz").status, 200);
}

#[test]
fn a_whole_cluster_at_the_same_ports_is_not_taken_for_ones_own() {
    let others = TestCluster::start(2);
    let place = Place::new(&others.node(1).members);
    let (status, out, err) = place.run("start", "any");
    assert_eq!((status, out.as_str()), (1, ""), "{err}");
    assert!(err.contains("of Node 1 is taken"), "{err}");
    assert_eq!(place.run("up", "any").0, 1);
}

#[test]
fn a_cluster_is_started_once_and_stopped() {
    let addresses = TestCluster::prepare(2, &[]);
    let members = &addresses.node(1).members;
    let place = Place::new(members);
    let (status, out, err) = place.run("start", "2");
    assert_eq!((status, err.as_str()), (0, ""), "{out}");
    assert!(
        out.contains("All 2 nodes are ready and agree; Node 2 leads. Logs in run/"),
        "{out}"
    );
    assert_eq!(Members::parse(members).unwrap().count(), place.pid_files());
    for (word, nodes, expected, said) in [
        ("start", "any", 0, "2 nodes are running already"),
        ("up", "any", 0, ""),
        ("up", "2", 0, ""),
        ("start", "3", 1, "2 nodes are running, not 3"),
        ("up", "3", 1, "2 nodes are running, not 3"),
        ("stop", "any", 0, "stopped"),
        ("stop", "any", 0, "none is running"),
    ] {
        let (status, out, err) = place.run(word, nodes);
        assert_eq!(status, expected, "{word} {nodes}: {out}{err}");
        assert!((out + &err).contains(said), "{word} {nodes}");
    }
}

#[cfg(feature = "tls")]
#[test]
fn with_tls_there_is_an_authority_that_others_can_use_and_without_it_none() {
    use std::os::unix::fs::PermissionsExt;

    use crate::support::certificate::client_config;
    use crate::support::mount::say_skipped;
    use crate::support::wire::Wire;

    if Command::new("openssl").arg("version").output().is_err() {
        return say_skipped("with_tls_there_is_an_authority…", "openssl");
    }
    let nodes = TestCluster::prepare(3, &[]);
    let mut place = Place::new(&nodes.node(1).members);
    place.tls = "1";
    let (status, out, err) = place.run("start", "any");
    assert!(
        status == 0 && out.contains("curl --cacert run/ca.pem https://"),
        "{out}{err}"
    );
    let run = place.folder.path().join("run");
    for node in &nodes.nodes {
        let wire = Wire::try_connect_tls(node.address, &client_config(&run.join("ca.pem"), None)).unwrap();
        assert_eq!(wire::ask_on(wire, ("GET", "/healthz"), "").unwrap().status, 200);
    }
    let mode = fs::metadata(run.join("node.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "nobody else reads the key");
    assert!(!run.join("ca.key").exists(), "nobody can sign any more");
    assert_eq!(place.run("stop", "any").0, 0);
    place.tls = "";
    assert_eq!(place.run("start", "any").0, 0);
    assert!(!run.join("ca.pem").exists());
    assert_eq!(
        wire::try_ask(nodes.node(1).address, "GET", "/healthz")
            .unwrap()
            .status,
        200
    );
    place.tls = "1";
    let (status, _, err) = place.run("up", "any");
    assert!(
        status == 1 && err.contains("speak plain HTTP; make stop first"),
        "{err}"
    );
    place.tls = "";
}
