//! With tokens: nobody gets in without one, nobody gets at images of others, and nodes still understand each other.

use std::fs;
use std::time::SystemTime;

use pixseal::client::Client;
use pixseal::client::bearer_token::BearerToken;
use pixseal::client::nodes::Patience;
use pixseal::image_id::ImageId;
use pixseal::roster::{NodeId, ViewId};
use pixseal::secrets;
use pixseal::ticket::{Claims, LIFETIME_MS, Purpose, Scope, TicketKey};
use pixseal::tokens::Tokens;
use pixseal::version::Version;
use rustix::process::Signal;

use crate::support::cluster::{TestCluster, TestNode};
use crate::support::picture;
use crate::support::wait_for;
use crate::support::wire::{self, ReceivedAnswer};

const ALL: &str = "read,write,delete,list,admin";

/// Nodes that have tokens, and alice's, with all rights.
fn cluster(count: u32) -> (TestCluster, String) {
    let mut cluster = TestCluster::prepare(count, &[]);
    let token = cluster.add_token("alice", ALL);
    cluster.show_token(&token);
    cluster.start_all();
    (cluster, token)
}

/// What a client can tell answers apart by; the date and what it asked for are not among it.
fn told(answer: &ReceivedAnswer) -> (u16, Vec<(String, String)>, Vec<u8>) {
    let mut fields = answer.fields.clone();
    fields.retain(|(name, _)| name != "date");
    (answer.status, fields, answer.body.clone())
}

/// What can be tried with an image: method and query.
const ATTEMPTS: [(&str, &str); 9] = [
    ("PUT", ""),
    ("GET", ""),
    ("HEAD", ""),
    ("DELETE", ""),
    ("GET", "?local"),
    ("GET", "?sealed"),
    ("GET", "?local&sealed"),
    ("GET", "?version"),
    ("GET", "?ticket=AAAA"),
];

fn attempt(node: &TestNode, credential: Option<&str>, method: &str, target: &str) -> ReceivedAnswer {
    match method {
        "PUT" => wire::put_as(node.address, target, &picture::dot(), credential),
        _ => node.ask_as(credential, method, target),
    }
}

#[test]
fn strangers_and_other_users_learn_nothing_and_change_nothing() {
    let (cluster, _) = cluster(3);
    let (bob, once) = (cluster.add_token("bob", ALL), cluster.add_token("carol", ALL));
    let id = once.split('_').nth(1).unwrap();
    secrets::update_tokens(&cluster.node(1).secrets(), |tokens| tokens.revoke(id)).unwrap();
    let there: Vec<String> = (1..=3).map(|id| cluster.name_on(id, "alice")).collect();
    for (node, name) in cluster.nodes.iter().zip(&there) {
        node.signal(Signal::HUP);
        assert_eq!(
            node.put(&format!("/images/alice/{name}"), &picture::dot()).status,
            201
        );
        wait_for("the node knows bob", || {
            (node.ask_as(Some(&bob), "GET", "/cluster").status == 200).then_some(())
        });
    }
    let unknown = "pixseal_00000000_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    for node in &cluster.nodes {
        for (credential, status) in [
            (None, 401),
            (Some(unknown), 401),
            (Some(once.as_str()), 401),
            (Some(&bob[..bob.len() - 1]), 401),
            (Some(bob.as_str()), 403),
        ] {
            for (method, query) in ATTEMPTS {
                let ask = |name: &str| {
                    let target = format!("/images/alice/{name}{query}");
                    told(&attempt(node, credential, method, &target))
                };
                let missing = ask("missing.png");
                assert_eq!(missing.0, status, "{method} {query} with {credential:?}");
                let challenge = missing.1.iter().find(|(name, _)| name == "www-authenticate");
                assert!(challenge.unwrap().1.starts_with("Bearer"), "{missing:?}");
                for name in &there {
                    assert_eq!(ask(name), missing, "{method} {query} with {credential:?}");
                }
            }
            for target in ["/images/alice/", "/images/alice/?local&versions"] {
                assert_eq!(node.ask_as(credential, "GET", target).status, status, "{target}");
            }
        }
    }
    for name in &there {
        let target = format!("/images/alice/{name}");
        let found = cluster.node(1).ask_through("GET", &target);
        assert_eq!((found.status, found.body), (200, picture::dot()), "{name}");
    }
    let missing = cluster.node(2).ask("GET", "/images/alice/missing.png");
    assert_eq!(missing.status, 404);
}

#[test]
fn strangers_see_that_a_node_is_alive_and_no_more() {
    let (cluster, _) = cluster(1);
    let node = cluster.node(1);
    for (method, target, status) in [
        ("GET", "/cluster", 401),
        ("GET", "/metrics", 401),
        ("POST", "/rebalance", 401),
        ("GET", "/healthz", 200),
        ("GET", "/readyz", 200),
        ("GET", "/", 200),
    ] {
        assert_eq!(node.ask_as(None, method, target).status, status, "{target}");
    }
}

#[test]
fn nodes_find_images_list_them_and_hand_them_over_without_a_token() {
    let (mut cluster, _) = cluster(3);
    let image = picture::noise(40, 40, 1);
    let names: Vec<String> = (0..12).map(|i| format!("n{i}.png")).collect();
    let target = |name: &str| format!("/images/alice/{name}");
    cluster.node_mut(3).kill();
    cluster.await_agreement();
    for name in &names {
        assert_eq!(cluster.node(1).put_through(&target(name), &image).status, 201);
    }
    cluster.node_mut(3).start();
    cluster.await_agreement();
    cluster.await_settled();
    let ids = |name: &String| ImageId::new("alice", name).unwrap();
    let holders = cluster.holders();
    for name in &names {
        assert_eq!(
            holders[&ids(name)],
            [NodeId(cluster.assigned("alice", name))],
            "{name}"
        );
    }
    for node in &cluster.nodes {
        for name in &names {
            let found = node.ask_through("GET", &target(name));
            assert_eq!((found.status, &found.body), (200, &image), "{name}");
        }
        let listed = node.ask("GET", "/images/alice/").json();
        assert_eq!(listed["images"].as_array().unwrap().len(), names.len());
        assert_eq!(listed["missing"], serde_json::json!([]));
    }
    assert_eq!(
        cluster.node(1).ask_through("DELETE", &target("n0.png")).status,
        204
    );
}

fn sign(
    cluster: &TestCluster,
    purpose: Purpose,
    node: u32,
    (method, name): (&str, &str),
    lifetime_ms: i64,
) -> String {
    let key = secrets::load_or_create(&cluster.node(1).secrets())
        .unwrap()
        .cluster_key;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let now = u64::try_from(now.as_millis()).unwrap();
    let claims = Claims {
        purpose,
        node: NodeId(node),
        view: ViewId::default(),
        hops: 1,
        expiry_ms: now.saturating_add_signed(lifetime_ms),
        version: Version::default(),
    };
    let id = ImageId::new("alice", name).unwrap();
    TicketKey::new(&key).sign(&claims, Scope::image(method, &id))
}

#[test]
fn a_redirect_carries_the_right_and_nothing_more() {
    let (cluster, _) = cluster(3);
    let (name, other) = (cluster.name_on(2, "alice"), cluster.name_on(3, "alice"));
    let target = format!("/images/alice/{name}");
    let redirect = cluster.node(1).put(&target, &picture::dot());
    let (to, location) = redirect.redirect().unwrap();
    assert_eq!(to, cluster.node(2).address);
    let ticket = location.split_once("ticket=").unwrap().1;
    let statuses =
        |node: u32, method: &str, target: &str| attempt(cluster.node(node), None, method, target).status;
    assert_eq!(statuses(2, "PUT", &location), 201);
    for (node, method, target, why) in [
        (1, "PUT", location.clone(), "another node"),
        (3, "PUT", location.clone(), "another node"),
        (2, "GET", location.clone(), "another method"),
        (2, "DELETE", location.clone(), "another method"),
        (
            2,
            "PUT",
            format!("/images/alice/{other}?ticket={ticket}"),
            "another path",
        ),
        (
            2,
            "PUT",
            format!("/images/bob/{name}?ticket={ticket}"),
            "another user",
        ),
        (2, "GET", format!("/images/alice/?ticket={ticket}"), "the list"),
        (2, "PUT", format!("{target}?ticket={}", &ticket[1..]), "cut"),
        (
            2,
            "PUT",
            format!("{target}?ticket=&ticket={ticket}"),
            "a second one",
        ),
    ] {
        assert_eq!(statuses(node, method, &target), 401, "{why}: {method} {target}");
    }
    // As `LIFETIME_MS` later, and as a node without tokens signs it.
    let lifetime = i64::try_from(LIFETIME_MS).unwrap();
    for (purpose, lifetime, status) in [
        (Purpose::AuthorizedRedirect, lifetime, 200),
        (Purpose::AuthorizedRedirect, 0, 401),
        (Purpose::Redirect, lifetime, 401),
    ] {
        let ticket = sign(&cluster, purpose, 2, ("PUT", &name), lifetime);
        let found = statuses(2, "PUT", &format!("{target}?ticket={ticket}"));
        assert_eq!(found, status, "{purpose:?} {lifetime}");
    }
    let read = sign(&cluster, Purpose::Read, 2, ("GET", &name), lifetime);
    assert_eq!(statuses(2, "DELETE", &format!("{target}?ticket={read}")), 401);
    assert_eq!(cluster.node(2).ask("GET", &target).status, 200);
}

#[test]
fn tokens_are_read_again_on_sighup_and_what_cannot_be_used_changes_nothing() {
    let (cluster, token) = cluster(1);
    let (node, file) = (
        cluster.node(1),
        cluster.node(1).secrets().join(secrets::TOKENS_FILE),
    );
    let status = |token: &str| node.ask_as(Some(token), "GET", "/images/alice/").status;
    let reload = |expected: &str| {
        let before = node.log().matches(expected).count();
        node.signal(Signal::HUP);
        wait_for(expected, || {
            (node.log().matches(expected).count() > before).then_some(())
        });
    };
    let second = cluster.add_token("alice", "list");
    assert_eq!((status(&token), status(&second)), (200, 401));
    reload("SIGHUP: tokens known: 2");
    assert_eq!((status(&token), status(&second)), (200, 200));
    let good = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{good}nonsense\n")).unwrap();
    reload("tokens, line 4: a token is: id user rights sha256 [expiry]; nothing has changed");
    assert_eq!((status(&token), status(&second)), (200, 200));
    fs::remove_file(&file).unwrap();
    reload("tokens is gone");
    assert_eq!(node.ask_as(None, "GET", "/images/alice/").status, 401);
    assert_eq!((status(&token), status(&second)), (200, 200));
    let mut tokens = Tokens::parse(&good).unwrap();
    tokens.revoke(second.split('_').nth(1).unwrap()).unwrap();
    secrets::update_tokens(&node.secrets(), |kept| {
        *kept = tokens;
        Ok(())
    })
    .unwrap();
    reload("SIGHUP: tokens known: 1");
    assert_eq!((status(&token), status(&second)), (200, 401));
    let secret = token.splitn(3, '_').nth(2).unwrap();
    assert!(!node.log().contains(secret), "a token is in the log");
}

#[test]
fn clients_work_with_a_token_and_learn_of_new_members_without_the_admin_right() {
    let (cluster, _) = cluster(3);
    let token = cluster.add_token("alice", "read,write,list,delete");
    for node in &cluster.nodes {
        node.signal(Signal::HUP);
        wait_for("the node knows the token", || {
            (node.ask_as(Some(&token), "GET", "/cluster").status == 200).then_some(())
        });
    }
    let state = cluster.node(1).ask_as(Some(&token), "GET", "/cluster").json();
    for hidden in [
        "warnings",
        "history",
        "process",
        "counters",
        "images_held",
        "version",
    ] {
        let value = &state[hidden];
        let is_empty = value.is_null() || value == &serde_json::json!([]) || value == "";
        assert!(is_empty, "{hidden}: {value}");
    }
    let file = format!("[nodes]\n1 = \"{}\"\n", cluster.node(1).address);
    let members = pixseal::members::Members::parse(&file).unwrap();
    let client = Client::new(&members, Patience::default());
    let mut client = client.with_token(BearerToken::parse(&token));
    let deadline = std::time::Instant::now() + crate::support::PATIENCE;
    let stop = std::sync::atomic::AtomicBool::new(false);
    let image = picture::dot();
    for id in 1..=3 {
        let name = ImageId::new("alice", &cluster.name_on(id, "alice")).unwrap();
        let terms = pixseal::client::upload::Terms {
            audience: pixseal::client::upload::Audience::All,
            deadline,
            stop: &stop,
            hold: None,
        };
        let body = pixseal::client::upload::UploadBody::Bytes(&image);
        let upload = client.upload(&name, body, terms);
        assert_eq!(upload.outcome.unwrap().node, NodeId(id));
        assert!(client.download(&name, None, deadline).unwrap().is_some());
    }
    assert_eq!(client.list("alice", deadline).unwrap().images.len(), 3);
    let mut stranger = Client::new(&members, Patience::default());
    let refused = stranger.list("alice", deadline).unwrap_err();
    assert!(refused.text.contains("401"), "{refused}");
}

#[test]
fn metrics_can_be_left_open() {
    let mut cluster = TestCluster::prepare(1, &["--metrics-open"]);
    let token = cluster.add_token("ops", "admin");
    cluster.show_token(&token);
    cluster.start_all();
    let node = cluster.node(1);
    assert_eq!(node.ask_as(None, "GET", "/metrics").status, 200);
    assert_eq!(node.ask_as(None, "GET", "/cluster").status, 401);
}
