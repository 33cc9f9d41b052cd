//! Uploads.

use crate::support::Cluster;
use crate::support::picture;

#[test]
fn an_upload_is_stored_and_comes_back() {
    let cluster = Cluster::start(1);
    let node = cluster.node(1);
    let image = picture::noise(20, 20, 1);
    let answer = node.put("/images/alice/cat.png", &image);
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert_eq!(node.files(), ["encrypted_cat.alice.png"]);
    assert_eq!(node.ask("GET", "/images/alice/cat.png").body, image);
}
