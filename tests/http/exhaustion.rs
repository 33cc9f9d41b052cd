//! What happens when workers, connections, file descriptors or the disk run out.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command};

use rustix::process::Signal;

use crate::support::cluster::{TestCluster, TestNode};
use crate::support::picture;
use crate::support::wire::{Wire, put_head};
use crate::support::{process, wait_for};

const TARGET: &str = "/images/alice/cat.png";

fn get(node: &TestNode, target: &str) -> Wire {
    let mut wire = Wire::connect(node.address);
    wire.send(format!("GET {target} HTTP/1.1\r\nHost: {}\r\n\r\n", node.address).as_bytes());
    wire
}

/// An upload that has been let in and whose body is awaited.
fn begun(node: &TestNode, length: usize) -> Wire {
    let mut wire = Wire::connect(node.address);
    wire.send(&put_head(
        node.address,
        TARGET,
        length,
        "Expect: 100-continue\r\n",
    ));
    assert_eq!(wire.answer().unwrap().status, 100);
    wire
}

#[test]
fn a_full_queue_is_told_at_once_and_health_is_told_all_the_same() {
    let cluster = TestCluster::with(1, &["--workers", "1", "--queue", "1"]);
    let node = cluster.node(1);
    let image = picture::dot();
    let mut served = begun(node, image.len());
    let mut queued = get(node, "/");
    // Answered by the accept thread, in whose order the queued request came first.
    assert_eq!(node.ask("GET", "/healthz").status, 200);
    let refused = node.ask("GET", "/");
    assert_eq!((refused.status, refused.field("retry-after")), (503, Some("1")));
    assert!(refused.closes());
    served.send(&image);
    assert_eq!(served.answer().unwrap().status, 201);
    assert_eq!(queued.answer().unwrap().status, 200);
    assert_eq!(node.ask("GET", "/").status, 200);
}

#[test]
fn connections_are_capped_per_address() {
    let cluster = TestCluster::with(1, &["--connections-per-address", "3"]);
    let node = cluster.node(1);
    // The places of connections that were just closed come back when the server has seen that.
    let take = |_| {
        wait_for("a place is free", || {
            let mut wire = get(node, "/healthz");
            (wire.answer()?.status == 200).then_some(wire)
        })
    };
    let held: Vec<Wire> = (0..3).map(take).collect();
    let refused = get(node, "/healthz").answer().unwrap();
    assert_eq!((refused.status, refused.field("retry-after")), (503, Some("1")));
    drop(held);
    wait_for("the places are free again", || {
        (get(node, "/healthz").answer()?.status == 200).then_some(())
    });
}

/// A small file system, to be filled.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts one; needs the right to.
    fn mount(folder: PathBuf) -> Option<SmallDisk> {
        fs::create_dir(&folder).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1m,mode=0700", "none"])
            .arg(&folder)
            .output();
        mounted
            .is_ok_and(|output| output.status.success())
            .then_some(SmallDisk(folder))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).output();
    }
}

/// Past libtest, which keeps what passing tests print to itself.
fn say_skipped(why: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED: {why}");
}

#[test]
fn a_full_disk_is_said_and_leaves_nothing() {
    let mut cluster = TestCluster::prepare(1, &[]);
    let Some(_disk) = SmallDisk::mount(cluster.node(1).images()) else {
        return say_skipped("a_full_disk_is_said_and_leaves_nothing needs the right to mount a small disk");
    };
    cluster.node_mut(1).start();
    cluster.await_agreement();
    let node = cluster.node(1);
    for image in [picture::sized(1_500_000), picture::sized(4_000_000)] {
        let answer = node.put(TARGET, &image);
        assert_eq!(answer.status, 507, "{}", answer.text());
        assert_eq!(node.files(), [""; 0]);
    }
    assert_eq!(node.put(TARGET, &picture::sized(400_000)).status, 201);
    assert_eq!(
        node.put("/images/alice/dog.png", &picture::sized(800_000)).status,
        507
    );
    assert_eq!(node.files(), ["encrypted_cat.alice.png"]);
    cluster.node_mut(1).kill();
}

#[test]
fn a_vanished_folder_is_said_and_its_return_noticed() {
    let cluster = TestCluster::start(1);
    let node = cluster.node(1);
    let (images, elsewhere) = (node.images(), node.root.join("elsewhere"));
    assert_eq!(node.put(TARGET, &picture::dot()).status, 201);
    fs::rename(&images, &elsewhere).unwrap();
    assert_eq!(node.put(TARGET, &picture::dot()).status, 500);
    assert_eq!(node.ask("GET", "/readyz").status, 503);
    assert_eq!(node.ask("GET", "/healthz").status, 200);
    assert!(
        !images.exists(),
        "what is written into the folder under a mount point is lost to sight"
    );
    fs::rename(&elsewhere, &images).unwrap();
    assert_eq!(node.ask("GET", "/readyz").status, 200);
    assert_eq!(node.put(TARGET, &picture::dot()).status, 200);
    fs::remove_dir_all(images.join(".pixseal")).unwrap();
    assert_eq!(
        node.put(TARGET, &picture::dot()).status,
        200,
        "the work folder is made anew"
    );
}

#[test]
fn a_folder_that_became_read_only_is_said() {
    let mut cluster = TestCluster::prepare(1, &[]);
    let node = cluster.node_mut(1);
    let images = node.images();
    fs::create_dir_all(images.join(".pixseal")).unwrap();
    // Nothing is read-only to the superuser, so the node runs as somebody else then.
    if rustix::process::geteuid().is_root() {
        use std::os::unix::process::CommandExt;
        const NOBODY: u32 = 65_534;
        let root = node.root.parent().unwrap().to_owned();
        for folder in [&root, &node.root, &images, &images.join(".pixseal")] {
            std::os::unix::fs::chown(folder, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let child = node.command().uid(NOBODY).gid(NOBODY).spawn().unwrap();
        node.adopt(child);
    } else {
        node.launch();
    }
    cluster.await_agreement();
    let node = cluster.node(1);
    assert_eq!(node.put(TARGET, &picture::dot()).status, 201);
    let mode = |mode: u32| {
        for folder in [images.join(".pixseal"), images.clone()] {
            fs::set_permissions(folder, fs::Permissions::from_mode(mode)).unwrap();
        }
    };
    mode(0o500);
    assert_eq!(node.put("/images/alice/dog.png", &picture::dot()).status, 500);
    assert_eq!(node.ask("GET", "/readyz").status, 503);
    assert_eq!(node.ask("DELETE", TARGET).status, 500);
    assert_eq!(node.ask("GET", TARGET).status, 200, "what is there can be read");
    mode(0o700);
    assert_eq!(node.put("/images/alice/dog.png", &picture::dot()).status, 201);
}

#[test]
fn running_out_of_descriptors_neither_spins_nor_loses_the_listener() {
    const DESCRIPTORS: &str = "64";
    let mut cluster = TestCluster::prepare(1, &[]);
    let node = cluster.node_mut(1);
    // The node raises its soft limit to the hard one, so both are lowered.
    let plain = node.command();
    let mut limited = Command::new("sh");
    limited
        .args(["-c", "ulimit -n \"$0\" && exec \"$@\"", DESCRIPTORS])
        .arg(plain.get_program())
        .args(plain.get_args())
        .current_dir(&node.root);
    let log = fs::File::create(node.root.join("log")).unwrap();
    limited.stdout(log.try_clone().unwrap()).stderr(log);
    let child = limited.spawn().unwrap();
    node.adopt(child);
    cluster.await_agreement();
    let node = cluster.node(1);
    assert_eq!(node.put(TARGET, &picture::dot()).status, 201);
    let idle: Vec<Wire> = (0..150).map(|_| Wire::connect(node.address)).collect();
    wait_for("the descriptors run out", || {
        node.log().contains("no file descriptors are left").then_some(())
    });
    let before = process::cpu(node.pid()).unwrap();
    // Those that were idle for longest make room, so a client that waits its turn is served all the same.
    let image = picture::sized(100_000);
    for i in 0..3 {
        let answer = node.put(&format!("/images/alice/{i}.png"), &image);
        assert!(
            [201, 503].contains(&answer.status),
            "{}: {}",
            answer.status,
            answer.text()
        );
    }
    drop(idle);
    wait_for("everything is as before", || {
        (node.put(TARGET, &image).status == 200).then_some(())
    });
    assert_eq!(node.ask("GET", TARGET).body, image);
    // All of this takes a blink of processor time; a thread that spins takes all there is.
    let used = process::cpu(node.pid()).unwrap() - before;
    assert!(used.seconds() < 2.0, "{used:?}");
}

/// `strace`, attached to all threads of a node, which has its every fsync fail; `None` if there is no strace here.
fn failing_fsync(node: &TestNode) -> Option<Tracer> {
    let mut command = Command::new("strace");
    command.args([
        "-f",
        "-qq",
        "-o",
        "/dev/null",
        "-e",
        "trace=fsync",
        "-e",
        "inject=fsync:error=EIO",
        "-p",
    ]);
    let tracer = Tracer(command.arg(node.pid().to_string()).spawn().ok()?);
    let status = format!("/proc/{}/task", node.pid());
    let traced = |task: std::io::Result<fs::DirEntry>| {
        let text = fs::read_to_string(task.unwrap().path().join("status")).unwrap_or_default();
        !text.contains("TracerPid:\t0")
    };
    wait_for("all threads are traced", || {
        fs::read_dir(&status).unwrap().all(traced).then_some(())
    });
    Some(tracer)
}

/// Lets go of the node when dropped.
struct Tracer(Child);

impl Drop for Tracer {
    fn drop(&mut self) {
        let _ = rustix::process::kill_process(rustix::process::Pid::from_child(&self.0), Signal::TERM);
        let _ = self.0.wait();
    }
}

#[test]
fn a_change_whose_sync_failed_is_unknown_and_made_durable_by_the_next_try() {
    let cluster = TestCluster::start(1);
    let node = cluster.node(1);
    let target = "/images/alice/cat.png";
    assert_eq!(node.put(target, &picture::dot()).status, 201);
    let Some(strace) = failing_fsync(node) else {
        return say_skipped("a_change_whose_sync_failed… needs strace");
    };
    let put = node.put("/images/alice/dog.png", &picture::dot());
    let delete = node.ask("DELETE", target);
    for answer in [put, delete] {
        assert_eq!(answer.status, 500);
        assert!(answer.text().contains("may be kept or not"), "{}", answer.text());
    }
    let files = ["encrypted_cat.alice.png", "encrypted_dog.alice.png"];
    assert_eq!(node.files(), files, "nothing was removed");
    drop(strace);
    assert_eq!(node.put("/images/alice/dog.png", &picture::dot()).status, 200);
    // The delete has taken place; now it is finished.
    assert_eq!(node.ask("DELETE", target).status, 404);
    assert_eq!(node.files(), files[1..]);
    assert_eq!(node.ask("GET", "/images/alice/dog.png").status, 200);
}
