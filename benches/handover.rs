//! How a node that was away gets what was written for it: real servers on this machine.
//!
//! ```text
//! cargo bench --bench handover              100,000 images, a third of them written while node 3 is away
//! cargo bench --bench handover -- 20000     so many
//! ```
//!
//! Images are small, so that what counts is how many they are. Uploads go on while copies are handed over: their speed
//! is compared with the mean of what it is in the settled cluster before node 3 leaves and after all is in place, since
//! machines change their speed within minutes. At the end the folders are looked into: every image has to be on the node
//! that it is assigned to, and nowhere else.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "measures time, runs processes"
)]
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot run stops")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use pixseal::balancer;
use pixseal::client::Client;
use pixseal::client::nodes::Patience;
use pixseal::client::upload::{Audience, Terms, UploadBody};
use pixseal::image_id::ImageId;
use pixseal::roster::{NodeId, Roster};
use support::cluster::{TestCluster, TestNode};
use support::picture;

const IMAGES: u64 = 100_000;
const CLIENTS: usize = 8;
const USER: &str = "bench";
/// An upload that has not succeeded within this has failed.
const UPLOAD_TIME_MAX: Duration = Duration::from_secs(60);
/// For how long the speed of a settled cluster is measured.
const WATCH: Duration = Duration::from_secs(10);
/// Handing over has to end.
const SETTLE_TIME_MAX: Duration = Duration::from_secs(600);

/// Clients that upload one new image after the other.
struct Uploads {
    next: Arc<AtomicU64>,
    failed: Arc<AtomicU64>,
    image: Arc<[u8]>,
}

fn main() {
    let wanted = std::env::args().skip(1).find(|word| word != "--bench");
    let images = wanted.map_or(IMAGES, |text| text.parse().expect("a number of images"));
    let mut cluster = TestCluster::start(3);
    let uploads = Uploads {
        next: Arc::default(),
        failed: Arc::default(),
        image: picture::noise(10, 10, 1).into(),
    };
    cluster.await_settled();
    let begun = Instant::now();
    uploads.until(&cluster, || uploads.count() >= images - images / 3);
    println!(
        "{} images in {:.1} s",
        uploads.count(),
        begun.elapsed().as_secs_f64()
    );
    let settled_before = uploads.rate(&cluster, WATCH);
    println!("settled cluster: {settled_before:.0} uploads a second");

    cluster.node_mut(3).stop();
    cluster.await_agreement();
    let before = uploads.count();
    uploads.until(&cluster, || uploads.count() >= before + images / 3);
    println!("{} images while node 3 is away", uploads.count() - before);

    cluster.node_mut(3).launch();
    let (returned, before) = (Instant::now(), uploads.count());
    uploads.until(&cluster, || {
        all_settled(&cluster) || returned.elapsed() > SETTLE_TIME_MAX
    });
    let took = returned.elapsed().as_secs_f64();
    let busy = (uploads.count() - before) as f64 / took;
    assert!(all_settled(&cluster), "the cluster has not settled");
    let handed_over: u64 = cluster.nodes.iter().map(handed_over).sum();
    println!("node 3 is back: {handed_over} images handed over, all in place after {took:.1} s");
    let settled_after = uploads.rate(&cluster, WATCH);
    println!(
        "meanwhile {busy:.0} uploads a second, in the settled cluster {settled_before:.0} before and {settled_after:.0} after: {:.2} of their \
         mean; {} failed",
        busy / f64::midpoint(settled_before, settled_after),
        uploads.failed.load(Ordering::Relaxed)
    );
    println!(
        "{} images, each on its node and nowhere else",
        count_in_place(&cluster)
    );
}

impl Uploads {
    fn count(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }

    /// Uploads a second.
    fn rate(&self, cluster: &TestCluster, time: Duration) -> f64 {
        let (begun, before) = (Instant::now(), self.count());
        self.until(cluster, || begun.elapsed() >= time);
        (self.count() - before) as f64 / begun.elapsed().as_secs_f64()
    }

    /// Uploads until `done` says so.
    fn until(&self, cluster: &TestCluster, done: impl Fn() -> bool + Sync) {
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| {
                    let mut client = Client::new(&cluster.members(), Patience::default());
                    while !stop.load(Ordering::Relaxed) {
                        self.upload(&mut client);
                    }
                });
            }
            while !done() {
                thread::park_timeout(Duration::from_millis(50));
            }
            stop.store(true, Ordering::Relaxed);
        });
    }

    fn upload(&self, client: &mut Client) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let id = ImageId::new(USER, &format!("image_{number}.png")).unwrap();
        let never = AtomicBool::new(false);
        let terms = Terms {
            audience: Audience::Assigned,
            deadline: Instant::now() + UPLOAD_TIME_MAX,
            stop: &never,
            hold: None,
        };
        let upload = client.upload(&id, UploadBody::Bytes(&self.image), terms);
        if upload.outcome.is_err() {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn all_settled(cluster: &TestCluster) -> bool {
    let settled = |node: &TestNode| node.state().is_some_and(|state| state["settled"] == true);
    cluster.nodes.iter().all(settled)
}

fn handed_over(node: &TestNode) -> u64 {
    let state = node.state().unwrap();
    state["counters"]["images_handed_over"].as_u64().unwrap()
}

/// How many images there are; each has to be on the node that it is assigned to, and nowhere else.
fn count_in_place(cluster: &TestCluster) -> usize {
    let everybody = Roster::new(NodeId(1), cluster.nodes.iter().map(|node| NodeId(node.id)));
    let holders = cluster.holders();
    for (id, holders) in &holders {
        let assigned = balancer::assigned(id.user(), id.name(), &everybody);
        assert_eq!(holders[..], [assigned], "{id}");
    }
    holders.len()
}
