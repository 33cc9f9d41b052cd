//! The client when something comes between: connections that break, Ctrl-C, a reader that leaves, two clients at once, servers
//! that are away, arguments that are no text.

use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::client::{client, one_node, write_image};
use crate::support::cluster::TestCluster;
use crate::support::{picture, wait_for};

const IMAGE_BYTES: usize = 3_000_000;
/// What the connections that break let through.
const PASSED_BYTES: u64 = 1_000_000;

/// What a `BreakingProxy` does once it has passed on so many bytes of an answer.
#[derive(Clone, Copy)]
enum Then {
    Cut,
    /// Nothing more comes, and the connection stays.
    Stall,
}

/// A place that passes connections on to a node; the first ones break in the middle of an answer.
struct BreakingProxy {
    address: SocketAddr,
    accepted: Arc<AtomicUsize>,
}

impl BreakingProxy {
    fn start(node: SocketAddr, breaking: usize, then: Then) -> BreakingProxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let accepted = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&accepted);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let breaks = count.fetch_add(1, Ordering::SeqCst) < breaking;
                let upstream = TcpStream::connect(node).unwrap();
                thread::spawn(move || pass(&client, &upstream, breaks.then_some(then)));
            }
        });
        BreakingProxy { address, accepted }
    }

    fn cluster_file(&self, folder: &Path) {
        let file = format!("[nodes]\n1 = \"{}\"\n", self.address);
        fs::write(folder.join("cluster.toml"), file).unwrap();
    }
}

fn pass(client: &TcpStream, node: &TcpStream, breaks: Option<Then>) {
    let (mut asks, mut asked) = (client.try_clone().unwrap(), node.try_clone().unwrap());
    let asking = thread::spawn(move || std::io::copy(&mut asks, &mut asked));
    let (mut answers, mut answered) = (node, client);
    // Whoever ends first ends the other too; that is what a broken connection looks like.
    let _ = match breaks {
        None => std::io::copy(&mut answers, &mut answered),
        Some(_) => std::io::copy(&mut answers.take(PASSED_BYTES), &mut answered),
    };
    if let Some(Then::Stall) = breaks {
        let _ = asking.join();
    }
    let _ = client.shutdown(Shutdown::Both);
    let _ = node.shutdown(Shutdown::Both);
}

/// A node with an image that is worth breaking off, and a folder for the client.
fn node_with_big_image() -> (TestCluster, TempDir, Vec<u8>) {
    let (cluster, folder) = one_node();
    let image = picture::sized(IMAGE_BYTES);
    assert_eq!(cluster.node(1).put("/images/alice/big.png", &image).status, 201);
    (cluster, folder, image)
}

fn start(folder: &Path, arguments: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_client"));
    command.args(arguments).current_dir(folder).env("USER", "alice");
    command.env_remove("PIXSEAL_TOKEN").stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// The names of all files in a folder, with their sizes.
fn files(folder: &Path) -> Vec<(String, u64)> {
    let entries = fs::read_dir(folder).into_iter().flatten().map(Result::unwrap);
    let file = |entry: fs::DirEntry| {
        let bytes = entry.metadata().map_or(0, |metadata| metadata.len());
        (entry.file_name().into_string().unwrap(), bytes)
    };
    entries.map(file).collect()
}

#[test]
fn a_download_whose_connection_is_cut_goes_on_by_itself() {
    let (cluster, folder, image) = node_with_big_image();
    let broken = BreakingProxy::start(cluster.node(1).address, 2, Then::Cut);
    broken.cluster_file(folder.path());
    let get = client(folder.path(), "alice", &["get", "big.png", "-o", "out"]);
    assert_eq!((get.status, get.stderr.as_str()), (0, ""), "{}", get.stdout);
    assert!(fs::read(folder.path().join("out/big.png")).unwrap() == image);
    assert_eq!(files(&folder.path().join("out")).len(), 1);
    let accepted = broken.accepted.load(Ordering::SeqCst);
    assert!(accepted >= 3, "{accepted} connections: none was cut");
}

#[test]
fn ctrl_c_ends_a_download_quietly_and_leaves_the_part_that_the_next_one_goes_on_with() {
    let (cluster, folder, image) = node_with_big_image();
    let broken = BreakingProxy::start(cluster.node(1).address, usize::MAX, Then::Stall);
    broken.cluster_file(folder.path());
    let out = folder.path().join("out");
    let get = start(folder.path(), &["get", "big.png", "-o", "out"]);
    let held = wait_for("a part grows", || {
        files(&out).first().map(|file| file.1).filter(|bytes| *bytes > 0)
    });
    kill_process(Pid::from_child(&get), Signal::INT).unwrap();
    let ended = get.wait_with_output().unwrap();
    // Shells say 130.
    assert_eq!(ended.status.signal(), Some(Signal::INT.as_raw()));
    assert_eq!((ended.stdout, ended.stderr), (vec![], vec![]));
    let left = files(&out);
    assert_eq!(left.len(), 1, "{left:?}");
    assert!(
        left[0].0.ends_with(".part") && left[0].1 >= held,
        "{left:?}, {held}"
    );
    fs::write(folder.path().join("cluster.toml"), &cluster.node(1).members).unwrap();
    let again = client(folder.path(), "alice", &["get", "big.png", "-o", "out"]);
    assert_eq!(again.status, 0, "{}", again.stderr);
    assert!(fs::read(out.join("big.png")).unwrap() == image);
    assert_eq!(files(&out).len(), 1);
}

#[test]
fn a_name_that_is_given_twice_is_one_whole_file() {
    let (_cluster, folder, image) = node_with_big_image();
    let get = client(
        folder.path(),
        "alice",
        &["get", "-j", "4", "big.png", "big.png", "big.png", "big.png"],
    );
    assert_eq!(get.status, 0, "{}", get.stderr);
    assert_eq!(get.stdout.lines().count(), 1, "{}", get.stdout);
    assert!(fs::read(folder.path().join("big.png")).unwrap() == image);
}

#[test]
fn of_two_clients_that_get_one_image_into_one_folder_the_second_leaves_it_to_the_first() {
    let (cluster, folder, _) = node_with_big_image();
    let broken = BreakingProxy::start(cluster.node(1).address, usize::MAX, Then::Stall);
    broken.cluster_file(folder.path());
    let out = folder.path().join("out");
    let mut first = start(folder.path(), &["get", "big.png", "-o", "out"]);
    wait_for("a part grows", || {
        files(&out).first().filter(|file| file.1 > 0).cloned()
    });
    fs::write(folder.path().join("cluster.toml"), &cluster.node(1).members).unwrap();
    for force in [&[][..], &["--force"]] {
        let arguments = [&["get", "big.png", "-o", "out"], force].concat();
        let second = client(folder.path(), "alice", &arguments);
        assert_eq!(second.status, 1, "{}", second.stdout);
        assert!(second.stderr.contains("let that one end"), "{}", second.stderr);
    }
    let left = files(&out);
    assert!(left.len() == 1 && left[0].0.ends_with(".part"), "{left:?}");
    first.kill().unwrap();
    first.wait().unwrap();
}

#[test]
fn readers_that_leave_do_not_keep_images_from_being_uploaded() {
    let (cluster, folder) = one_node();
    for name in ["a.png", "b.png"] {
        write_image(&folder, name);
    }
    for arguments in [
        &["put", "a.png", "b.png"][..],
        &["ls"],
        &["get", "a.png", "--force"],
    ] {
        let mut run = start(folder.path(), arguments);
        drop(run.stdout.take());
        let ended = run.wait_with_output().unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(
            (ended.status.code(), said.as_str()),
            (Some(0), ""),
            "{arguments:?}"
        );
    }
    for name in ["a.png", "b.png"] {
        let target = format!("/images/alice/{name}");
        assert_eq!(cluster.node(1).ask("GET", &target).status, 200);
    }
}

#[test]
fn how_many_images_replaced_others_is_counted() {
    let (_cluster, folder) = one_node();
    write_image(&folder, "a.png");
    let put = |files: &[&str]| client(folder.path(), "alice", &[&["put"], files].concat()).stdout;
    assert!(!put(&["a.png"]).contains("replaced"));
    write_image(&folder, "b.png");
    let second = put(&["a.png", "b.png"]);
    assert!(
        second.trim_end().ends_with(", 1 of them replaced others"),
        "{second}"
    );
}

#[test]
fn an_argument_that_is_no_text_is_wrong_usage_and_its_folder_names_it_as_failed() {
    let (cluster, folder) = one_node();
    write_image(&folder, "in/a.png");
    let odd = OsStr::from_bytes(b"\xff.png");
    fs::write(folder.path().join("in").join(odd), picture::dot()).unwrap();
    let run = |argument: &OsStr| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_client"));
        command.arg("put").arg(argument).current_dir(folder.path());
        let output = command.env("USER", "alice").output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (status, said) = run(odd);
    assert!(
        status == Some(2) && said.contains(r#""\xFF.png" is not text"#),
        "{said}"
    );
    let (status, said) = run(OsStr::new("in"));
    assert!(
        status == Some(1) && said.contains("the file name is not text"),
        "{said}"
    );
    assert_eq!(cluster.node(1).ask("GET", "/images/alice/a.png").status, 200);
}

#[test]
fn servers_that_do_not_answer_are_a_failure_and_no_wrong_usage() {
    let (cluster, folder) = one_node();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let away = format!("http://{nobody}");
    let ls = client(folder.path(), "alice", &["ls", "--server", &away]);
    assert_eq!(ls.status, 1, "{}", ls.stderr);
    let name = nobody.to_string();
    assert_eq!(ls.stderr.matches(&name).count(), 1, "{}", ls.stderr);
    let here = format!("http://{}", cluster.node(1).address);
    let ls = client(folder.path(), "alice", &["ls", "-s", &away, "-s", &here]);
    assert_eq!((ls.status, ls.stderr.as_str()), (0, ""));
    let both = client(folder.path(), "alice", &["ls", "-s", &here, "-c", "cluster.toml"]);
    assert_eq!(both.status, 2, "{}", both.stderr);
}

#[test]
fn a_token_of_a_user_is_enough_to_learn_the_nodes_from_one_server() {
    let mut cluster = TestCluster::prepare(3, &[]);
    let token = cluster.add_token("alice", "read,write,delete,list");
    cluster.show_token(&cluster.add_token("ops", "admin"));
    cluster.start_all();
    cluster.await_settled();
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("token"), &token).unwrap();
    let server = format!("http://{}", cluster.node(1).address);
    for id in 1..=3 {
        write_image(&folder, &format!("in/{}", cluster.name_on(id, "alice")));
    }
    let run = |arguments: &[&str]| {
        let with = [arguments, &["--server", &server]].concat();
        client(folder.path(), "alice", &with)
    };
    let put = run(&["put", "in", "--token-file", "token"]);
    assert_eq!(put.status, 0, "{}", put.stderr);
    for id in 1..=3 {
        assert!(put.stdout.contains(&format!("on node {id}")), "{}", put.stdout);
    }
    let stranger = run(&["ls"]);
    assert_eq!(stranger.status, 1, "{}", stranger.stdout);
    assert!(stranger.stderr.contains("401"), "{}", stranger.stderr);
}
