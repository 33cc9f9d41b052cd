//! `GET /`: a page for browsers, a few lines for everybody else.

use base64ct::{Base64, Encoding};
use sha2::{Digest, Sha256};

use crate::support::cluster::{TestCluster, TestNode};
use crate::support::wire::{self, ReceivedAnswer};

const CHROME: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8";

fn index(node: &TestNode, accept: &str) -> ReceivedAnswer {
    let wire = node.try_connect().unwrap();
    wire::ask_on(wire, ("GET", "/"), accept).unwrap()
}

fn page(node: &TestNode) -> ReceivedAnswer {
    index(node, &format!("Accept: {CHROME}\r\n"))
}

/// `'sha256-…'` of what is between the tags.
fn hash(page: &str, tag: &str) -> String {
    let (_, rest) = page.split_once(&format!("<{tag}>")).unwrap();
    let (block, _) = rest.split_once(&format!("</{tag}>")).unwrap();
    format!(
        "'sha256-{}'",
        Base64::encode_string(Sha256::digest(block.as_bytes()).as_slice())
    )
}

#[test]
fn browsers_are_given_the_page_and_everybody_else_a_few_lines() {
    let cluster = TestCluster::start(1);
    let node = cluster.node(1);
    for (accept, is_page) in [
        ("", false),
        ("Accept: */*\r\n", false),
        ("Accept: text/plain\r\n", false),
        ("Accept: text/plain, text/html\r\n", false),
        ("Accept: text/html;q=0\r\n", false),
        ("Accept: text/html\r\n", true),
        ("Accept: text/html, */*;q=0.1\r\n", true),
        (&format!("Accept: {CHROME}\r\n"), true),
    ] {
        let answer = index(node, accept);
        let expected = if is_page {
            "text/html; charset=utf-8"
        } else {
            "text/plain; charset=utf-8"
        };
        assert_eq!(
            (answer.status, answer.field("content-type"), answer.field("vary")),
            (200, Some(expected), Some("Accept")),
            "{accept:?}"
        );
        assert_eq!(answer.text().starts_with("<!doctype html>"), is_page);
        assert!(answer.text().contains("node 1 of 1; leader: Node 1; alive: [1]"));
    }
    let wire = node.try_connect().unwrap();
    let head = wire::ask_on(wire, ("HEAD", "/"), "Accept: text/html\r\n").unwrap();
    let length = page(node).body.len().to_string();
    assert_eq!(
        (head.body.len(), head.field("content-length")),
        (0, Some(length.as_str()))
    );
}

#[test]
fn the_policy_of_the_page_lets_it_run_itself_and_ask_the_nodes_and_nothing_else() {
    let cluster = TestCluster::start(2);
    for node in &cluster.nodes {
        let answer = page(node);
        let text = answer.text();
        let origins: Vec<String> = cluster
            .nodes
            .iter()
            .map(|node| format!("http://{}", node.address))
            .collect();
        let expected = format!(
            "default-src 'none'; script-src {}; style-src {}; img-src 'self' blob:; connect-src 'self' {}; base-uri 'none'; \
             form-action 'none'; frame-ancestors 'none'",
            hash(&text, "script"),
            hash(&text, "style"),
            origins.join(" "),
        );
        assert_eq!(answer.field("content-security-policy"), Some(expected.as_str()));
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cache-control", "no-store"),
        ] {
            assert_eq!(answer.field(name), Some(value));
        }
        let told = format!(
            "data-node=\"{}\" data-access=\"open\" data-origins=\"1={} 2={}\"",
            node.id, origins[0], origins[1]
        );
        assert!(text.contains(&told), "{}", &text[..400]);
        assert!(!text.contains("{{"), "something was not filled in");
    }
}

#[test]
fn the_page_needs_no_token_and_says_that_the_rest_does() {
    let mut cluster = TestCluster::prepare(1, &[]);
    let token = cluster.add_token("alice", "admin");
    cluster.show_token(&token);
    cluster.start_all();
    let node = cluster.node(1);
    let answer = wire::ask_on(node.try_connect().unwrap(), ("GET", "/"), "Accept: text/html\r\n").unwrap();
    assert_eq!(answer.status, 200);
    assert!(answer.text().contains("data-access=\"tokens\""));
    assert!(!answer.text().contains(&token));
    assert_eq!(node.ask_as(None, "GET", "/cluster?all").status, 401);
}
