//! Members that are added and removed while the cluster works, as people are told to do it.

#![allow(
    clippy::disallowed_methods,
    reason = "clients are threads, and have deadlines"
)]

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use pixseal::client::Client;
use pixseal::client::nodes::Patience;
use pixseal::client::upload::{Audience, Terms, UploadBody};
use pixseal::image_id::ImageId;
use pixseal::members::Members;
use serde_json::json;

use crate::support::cluster::TestCluster;
use crate::support::{PATIENCE, picture, wait_for};
use crate::{await_ready_of, await_silence};

const CLIENTS: usize = 2;
/// That many uploads end between two changes.
const UPLOADS: usize = 8;

/// Clients that upload one image after the other, and know the members of the beginning.
struct Load {
    stop: Arc<AtomicBool>,
    /// Of each upload that has ended, why it failed.
    ended: Arc<Mutex<Vec<Option<String>>>>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    fn start(members: &Members) -> Load {
        let (stop, ended) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let client = |number: usize| {
            let (members, stop, ended) = (members.clone(), Arc::clone(&stop), Arc::clone(&ended));
            thread::spawn(move || upload_until(&stop, &members, number, &ended))
        };
        let clients = (0..CLIENTS).map(client).collect();
        Load { stop, ended, clients }
    }

    fn await_more(&self) {
        let before = self.ended.lock().unwrap().len();
        wait_for("uploads end", || {
            (self.ended.lock().unwrap().len() >= before + UPLOADS).then_some(())
        });
    }

    /// Why uploads failed.
    fn finish(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.join().unwrap();
        }
        self.ended.lock().unwrap().iter().flatten().cloned().collect()
    }
}

fn upload_until(stop: &AtomicBool, members: &Members, number: usize, ended: &Mutex<Vec<Option<String>>>) {
    let mut client = Client::new(members, Patience::default());
    let never = AtomicBool::new(false);
    for image in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let id = ImageId::new("alice", &format!("picture_{number}_{image}.png")).unwrap();
        let terms = Terms {
            audience: Audience::Assigned,
            deadline: Instant::now() + PATIENCE,
            stop: &never,
            hold: None,
        };
        let upload = client.upload(&id, UploadBody::Bytes(&picture::dot()), terms);
        let why = upload.outcome.err().map(|error| format!("{id}: {error}"));
        ended.lock().unwrap().push(why);
    }
}

/// Gives nodes 1 to 3 a file with these members, one after the other.
fn tell(cluster: &mut TestCluster, members: &[u32], load: &Load) {
    let file = cluster.file_of(members);
    for id in [1, 2, 3] {
        cluster.node_mut(id).reload(&file);
        wait_for("the node has read its file", || {
            cluster
                .node(id)
                .log()
                .contains(&format!("names the nodes {members:?}"))
                .then_some(())
        });
        load.await_more();
    }
}

#[test]
fn a_node_is_added_and_removed_and_no_upload_fails() {
    let mut cluster = TestCluster::prepare(4, &[]);
    let three = cluster.file_of(&[1, 2, 3]);
    for id in [1, 2, 3] {
        cluster.node_mut(id).members = three.clone();
        cluster.node_mut(id).start();
    }
    await_ready_of(&cluster, &[1, 2, 3]);
    cluster.await_settled();
    let load = Load::start(&Members::parse(&three).unwrap());
    load.await_more();
    tell(&mut cluster, &[1, 2, 3, 4], &load);
    cluster.node_mut(4).start();
    await_ready_of(&cluster, &[1, 2, 3, 4]);
    load.await_more();
    let mut drain = Command::new(env!("CARGO_BIN_EXE_server"));
    drain
        .args(["--drain", "4", "--images"])
        .arg(cluster.node(4).images());
    assert!(drain.output().unwrap().status.success());
    for id in [1, 2, 3] {
        wait_for("node 4 is left out", || {
            (cluster.node(id).state()?["alive"] == json!([1, 2, 3])).then_some(())
        });
    }
    load.await_more();
    tell(&mut cluster, &[1, 2, 3], &load);
    assert!(cluster.node_mut(4).stop().success());
    await_ready_of(&cluster, &[1, 2, 3]);
    load.await_more();
    assert_eq!(load.finish(), [""; 0]);
    cluster.running().for_each(await_silence);
}
