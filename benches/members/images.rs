//! What has become of the images of a drill: whether they can be read, and in which folders they lie.

use pixseal::balancer;
use pixseal::image_id::ImageId;
use pixseal::roster::{NodeId, Roster};

use crate::load::{self, TimedUpload};
use crate::support::cluster::{TestCluster, TestNode};
use crate::verdict::Verdict;

/// What is promised: every image can be read through every node, and lies in one place.
pub(crate) const ASTRAY_MAX: usize = 0;

/// Every acknowledged image can be read through each of `members`, and lies on its own node alone.
pub(crate) fn judge(cluster: &TestCluster, members: &[u32], uploads: &[TimedUpload], verdict: &mut Verdict) {
    let acknowledged = || uploads.iter().filter(|upload| upload.error.is_none());
    println!("{} images", acknowledged().count());
    for id in members {
        let node = cluster.node(*id);
        let unreadable = acknowledged().filter(|upload| {
            let image = read(node, &load::id(upload.number));
            image.as_deref() != Some(&load::image(upload.number)[..])
        });
        let what = format!("not there, or other bytes, through node {id}");
        verdict.count(&what, unreadable.count(), ASTRAY_MAX);
    }
    let holders = cluster.holders();
    let roster = Roster::new(NodeId(members[0]), members.iter().copied().map(NodeId));
    let astray = acknowledged().filter(|upload| {
        let image = load::id(upload.number);
        let assigned = balancer::assigned(image.user(), image.name(), &roster);
        holders.get(&image).is_none_or(|nodes| nodes[..] != [assigned])
    });
    verdict.count("not on their node alone", astray.count(), ASTRAY_MAX);
}

/// What `node` answers, or the node that it names.
fn read(node: &TestNode, image: &ImageId) -> Option<Vec<u8>> {
    let answer = node.ask_through("GET", &format!("/images/{image}"));
    (answer.status == 200).then_some(answer.body)
}
