//! `--png lenient`: odd images are kept byte for byte, also by strict nodes that they are handed over to.

use pixseal::image_id::ImageId;
use serde_json::json;

use crate::support::cluster::TestCluster;
use crate::support::{picture, wait_for};

/// A PNG with the rest of another one behind its end.
fn odd() -> Vec<u8> {
    [picture::dot(), picture::sized(5000)[3000..].to_vec()].concat()
}

#[test]
fn a_strict_node_says_which_switch_would_take_an_image() {
    let cluster = TestCluster::start(1);
    let refused = cluster.node(1).put("/images/alice/odd.png", &odd());
    assert_eq!(refused.status, 422);
    let said = refused.text();
    assert!(
        said.contains("bytes follow IEND") && said.contains("--png lenient"),
        "{said}"
    );
    assert_eq!(cluster.node(1).ask("GET", "/images/alice/odd.png").status, 404);
}

#[test]
fn a_strict_node_keeps_what_a_lenient_one_took() {
    let mut cluster = TestCluster::prepare(2, &[]);
    cluster
        .node_mut(1)
        .options
        .extend(["--png".to_owned(), "lenient".to_owned()]);
    cluster.start_all();
    let id = ImageId::new("alice", &cluster.name_on(2, "alice")).unwrap();
    assert_eq!(cluster.node(2).put(&id.target(), &odd()).status, 422);
    cluster.node_mut(2).kill();
    wait_for("node 1 places alone", || {
        (cluster.node(1).state()?["alive"] == json!([1])).then_some(())
    });
    assert_eq!(cluster.node(1).put(&id.target(), &odd()).status, 201);
    cluster.node_mut(2).start();
    cluster.await_settled();
    assert!(
        cluster.node(2).files().contains(&id.file_name()),
        "it was handed over"
    );
    let read = cluster.node(2).ask("GET", &id.target());
    assert!(read.status == 200 && read.body == odd());
}
