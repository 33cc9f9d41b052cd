//! Names as people have them, on a real cluster: sent elsewhere, stored, listed, handed over and removed under the very bytes
//! that were given.

use std::collections::BTreeSet;
use std::fs;

use pixseal::balancer;
use pixseal::image_id::ImageId;
use pixseal::roster::{NodeId, Roster};
use serde_json::json;

use crate::support::cluster::TestCluster;
use crate::support::{picture, wait_for};

const USER: &str = "alice";
/// Two of them differ in their normal form only, two in the case of their extension.
const NAMES: [&str; 9] = [
    "Mein Urlaub (1).PNG",
    "Mein Urlaub (1).png",
    "Screenshot 2026-11-30 at 10.15.30\u{202f}AM.png",
    "100% & more + #1; it's 'ok' = yes?.png",
    "日本.png",
    "caf\u{e9}.png",
    "cafe\u{301}.png",
    "\u{1f469}\u{200d}\u{1f52c}~[x].Png",
    "a,b@c!$&()'+=^`{}.png",
];

fn ids() -> Vec<ImageId> {
    // A question mark is refused, and what is suggested is taken.
    let ids = NAMES.map(|name| ImageId::new(USER, &name.replace('?', "_")).unwrap());
    ids.into()
}

fn names_of(page: &serde_json::Value) -> Vec<String> {
    let images = page["images"].as_array().unwrap().iter();
    images
        .map(|image| image["name"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn any_node_is_asked_for_any_name() {
    let cluster = TestCluster::start(3);
    let image = picture::dot();
    for (number, id) in ids().iter().enumerate() {
        let asked = cluster.node(1 + u32::try_from(number).unwrap() % 3);
        let stored = asked.put_through(&id.target(), &image);
        assert_eq!(stored.status, 201, "{id}: {}", stored.text());
        assert_eq!(stored.json()["name"], json!(id.name()));
        let all = Roster::new(NodeId(1), (1..=3).map(NodeId));
        let assigned = balancer::assigned(USER, id.name(), &all);
        assert_eq!(stored.json()["node"], json!(assigned.0), "{id}");
        let files = cluster.node(assigned.0).files();
        assert!(files.contains(&id.file_name()), "{id}: {files:?}");
        for node in &cluster.nodes {
            let read = node.ask_through("GET", &id.target());
            assert!(
                read.status == 200 && read.body == image,
                "{id} through node {}",
                node.id
            );
        }
        let again = cluster.node(assigned.0 % 3 + 1).put_through(&id.target(), &image);
        assert_eq!(
            (again.status, &again.json()["replaced"]),
            (200, &json!(true)),
            "{id}"
        );
    }
    let page = cluster.node(2).ask("GET", &format!("/images/{USER}/")).json();
    let listed = names_of(&page);
    let mut expected: Vec<String> = ids().iter().map(|id| id.name().to_owned()).collect();
    expected.sort();
    assert_eq!(listed, expected);
    for id in ids() {
        assert_eq!(
            cluster.node(3).ask_through("DELETE", &id.target()).status,
            204,
            "{id}"
        );
        assert_eq!(
            cluster.node(1).ask_through("GET", &id.target()).status,
            404,
            "{id}"
        );
    }
}

#[test]
fn a_list_goes_on_after_any_name() {
    let cluster = TestCluster::start(2);
    for id in ids() {
        assert_eq!(
            cluster.node(1).put_through(&id.target(), &picture::dot()).status,
            201,
            "{id}"
        );
    }
    let (mut listed, mut after) = (Vec::new(), String::new());
    for _ in 0..=NAMES.len() {
        let page = cluster
            .node(1)
            .ask("GET", &format!("/images/{USER}/?limit=1&after={after}"))
            .json();
        listed.extend(names_of(&page));
        let Some(next) = page["next"].as_str() else { break };
        let target = ImageId::new(USER, next).unwrap().target();
        after = target.rsplit_once('/').unwrap().1.to_owned();
    }
    let expected: BTreeSet<String> = ids().iter().map(|id| id.name().to_owned()).collect();
    assert_eq!(listed, expected.into_iter().collect::<Vec<_>>());
}

#[test]
fn images_of_any_name_are_handed_over() {
    let mut cluster = TestCluster::start(2);
    cluster.node_mut(2).kill();
    wait_for("node 1 places alone", || {
        (cluster.node(1).state()?["alive"] == json!([1])).then_some(())
    });
    for id in ids() {
        assert_eq!(
            cluster.node(1).put(&id.target(), &picture::dot()).status,
            201,
            "{id}"
        );
    }
    cluster.node_mut(2).start();
    cluster.await_settled();
    let all = Roster::new(NodeId(1), [NodeId(1), NodeId(2)]);
    let expected = ids().into_iter().map(|id| {
        let assigned = balancer::assigned(USER, id.name(), &all);
        (id, vec![assigned])
    });
    assert_eq!(cluster.holders(), expected.collect());
    assert!(
        ids()
            .iter()
            .any(|id| balancer::assigned(USER, id.name(), &all) == NodeId(2))
    );
}

#[test]
fn a_refusal_names_one_that_would_do() {
    let cluster = TestCluster::start(1);
    let node = cluster.node(1);
    let refused = node.put("/images/alice/10%3A15%20%3Cx%3E.PNG", &picture::dot());
    assert_eq!(refused.status, 400);
    assert!(
        refused.text().contains("10_15 _x_.PNG would do"),
        "{}",
        refused.text()
    );
    assert!(fs::read_dir(node.images()).unwrap().all(|entry| {
        let name = entry.unwrap().file_name().into_string().unwrap();
        !name.starts_with("encrypted_")
    }));
}
