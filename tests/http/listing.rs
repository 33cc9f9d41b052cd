//! Lists of a user's images on one node.

use serde_json::json;

use crate::support::cluster::TestCluster;
use crate::support::picture;

#[test]
fn a_list_has_names_sizes_and_times_in_order() {
    let cluster = TestCluster::start(1);
    let node = cluster.node(1);
    let image = picture::dot();
    for name in ["b.png", "a.png", "c.d.png"] {
        node.put(&format!("/images/alice/{name}"), &image);
    }
    node.put("/images/alice_2/a.png", &image);
    std::fs::write(node.images().join("foreign.png"), b"x").unwrap();
    let page = node.ask("GET", "/images/alice/").json();
    assert_eq!((&page["user"], &page["missing"]), (&json!("alice"), &json!([])));
    let images = page["images"].as_array().unwrap();
    let names: Vec<_> = images.iter().map(|item| &item["name"]).collect();
    assert_eq!(names, ["a.png", "b.png", "c.d.png"]);
    for item in images {
        assert_eq!((&item["bytes"], &item["node"]), (&json!(image.len()), &json!(1)));
        assert!(item["modified"].as_u64().unwrap() > 1_700_000_000);
    }
    assert_eq!(node.ask("GET", "/images/nobody/").json()["images"], json!([]));
}

#[test]
fn a_bad_list_is_refused() {
    let cluster = TestCluster::start(1);
    let node = cluster.node(1);
    for target in [
        "/images/-/",
        "/images/a.b/",
        "/images/alice/?limit=0",
        "/images/alice/?limit=x",
        "/images/alice/?limit=99999999999999999999",
    ] {
        assert_eq!(node.ask("GET", target).status, 400, "{target}");
    }
}
