//! Lists of a user's images on one node.

use serde_json::json;

use crate::support::cluster::{TestCluster, TestNode};
use crate::support::picture;
use crate::support::wire::{self, ReceivedAnswer, Wire};

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

const BROWSER: &str = "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n";

fn ask_with(node: &TestNode, method: &str, target: &str, fields: &str) -> ReceivedAnswer {
    wire::ask_on(Wire::connect(node.address), (method, target), fields).unwrap()
}

/// Where the links of a page lead, in their order.
fn links(html: &str) -> Vec<String> {
    let after = html.split("<a href=\"").skip(1);
    after
        .map(|rest| rest.split_once('"').unwrap().0.replace("&amp;", "&"))
        .collect()
}

#[test]
fn who_prefers_html_gets_a_page_and_everybody_else_json() {
    let cluster = TestCluster::start(1);
    let node = cluster.node(1);
    node.put("/images/alice/a.png", &picture::dot());
    for (fields, kind) in [
        ("", "application/json"),
        ("Accept: */*\r\n", "application/json"),
        (
            "Accept: application/json, text/html;q=0.9\r\n",
            "application/json",
        ),
        ("Accept: text/html;q=x\r\n", "application/json"),
        ("Accept: text/html\r\n", "text/html; charset=utf-8"),
        (
            "Accept: application/json;q=0.1\r\nAccept: text/html\r\n",
            "text/html; charset=utf-8",
        ),
        (BROWSER, "text/html; charset=utf-8"),
    ] {
        let answer = ask_with(node, "GET", "/images/alice/", fields);
        assert_eq!(
            (answer.status, answer.field("content-type")),
            (200, Some(kind)),
            "{fields}"
        );
        assert_eq!(answer.field("vary"), Some("Accept"));
        let head = ask_with(node, "HEAD", "/images/alice/", fields);
        assert_eq!((head.status, head.body.len()), (200, 0));
        for field in ["content-type", "content-length"] {
            assert_eq!(head.field(field), answer.field(field), "{fields}");
        }
    }
    // What nodes ask each other for stays what it is.
    let versions = ask_with(node, "GET", "/images/alice/?local&versions", BROWSER);
    assert_eq!(versions.field("content-type"), Some("application/json"));
}

#[test]
fn a_page_shows_every_image_and_its_links_lead_to_them() {
    let cluster = TestCluster::start(3);
    cluster.await_settled();
    let image = picture::dot();
    for name in ["a.png", "b-1.png", "c.d.png", "_.png", "e.png"] {
        cluster
            .node(1)
            .put_through(&format!("/images/alice/{name}"), &image);
    }
    let page = ask_with(cluster.node(2), "GET", "/images/alice/", BROWSER);
    assert_eq!(page.field("x-content-type-options"), Some("nosniff"));
    let policy = page.field("content-security-policy").unwrap();
    assert!(
        policy.starts_with("default-src 'none'; style-src 'sha256-"),
        "{policy}"
    );
    assert!(!page.text().contains("<script") && !page.text().contains("not complete"));
    let links = links(&page.text());
    assert_eq!(links, ["_.png", "a.png", "b-1.png", "c.d.png", "e.png"]);
    for link in links {
        let found = cluster
            .node(2)
            .ask_through("GET", &format!("/images/alice/{link}"));
        assert_eq!((found.status, &found.body), (200, &image), "{link}");
    }
}

#[test]
fn pages_lead_from_one_to_the_next() {
    let cluster = TestCluster::start(1);
    let node = cluster.node(1);
    for number in 0..5 {
        node.put(&format!("/images/alice/p{number}.png"), &picture::dot());
    }
    let (mut target, mut shown) = ("?limit=2&local".to_owned(), Vec::new());
    loop {
        let page = ask_with(node, "GET", &format!("/images/alice/{target}"), BROWSER);
        assert_eq!(page.status, 200, "{target}");
        let (next, names): (Vec<_>, Vec<_>) = links(&page.text())
            .into_iter()
            .partition(|link| link.starts_with('?'));
        assert!(names.len() <= 2);
        shown.extend(names);
        match next.into_iter().next() {
            Some(next) => target = next,
            None => break,
        }
    }
    assert_eq!(shown, ["p0.png", "p1.png", "p2.png", "p3.png", "p4.png"]);
    assert_eq!(
        target, "?local&limit=2&after=p3.png",
        "the kind of list went from page to page"
    );
}

#[test]
fn a_page_names_the_nodes_that_could_not_be_asked() {
    let mut cluster = TestCluster::start(3);
    cluster.await_settled();
    cluster.node_mut(3).kill();
    cluster.await_agreement();
    let page = ask_with(cluster.node(1), "GET", "/images/alice/", BROWSER).text();
    assert!(
        page.contains("This list is not complete: Node 3 could not be asked."),
        "{page}"
    );
}
