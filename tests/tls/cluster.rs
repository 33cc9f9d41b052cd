//! Three nodes over TLS: uploads, redirects, and what nodes ask each other.

use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use pixseal::client::Client;
use pixseal::client::nodes::Patience;
use pixseal::client::upload::{Audience, Terms, UploadBody};
use pixseal::image_id::ImageId;
use pixseal::tls::settings::ClientTls;

use crate::TlsCluster;
use crate::support::picture;
use crate::support::wait_for;
use crate::support::wire;

fn client(cluster: &TlsCluster) -> Client {
    let tls = ClientTls::load(&cluster.files()).unwrap();
    Client::new(&cluster.nodes.members(), Patience::default()).with_tls(Some(tls))
}

fn deadline() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

fn upload(client: &mut Client, name: &str, image: &[u8], audience: Audience) {
    let id = ImageId::new("alice", name).unwrap();
    let terms = Terms {
        audience,
        deadline: deadline(),
        stop: &AtomicBool::new(false),
        hold: None,
    };
    let upload = client.upload(&id, UploadBody::Bytes(image), terms);
    assert!(upload.also_accepted.is_empty() && !upload.answered_early);
    upload.outcome.unwrap();
}

fn read(client: &mut Client, name: &str) -> Option<Vec<u8>> {
    let id = ImageId::new("alice", name).unwrap();
    let mut download = client.download(&id, None, deadline()).unwrap()?;
    let (mut image, mut buf) = (Vec::new(), vec![0; 100_000]);
    loop {
        match download.read(&mut buf, deadline()).unwrap() {
            0 => break,
            count => image.extend_from_slice(&buf[..count]),
        }
    }
    client.finish(download);
    Some(image)
}

#[test]
fn images_of_all_sizes_come_back_through_our_client() {
    let cluster = TlsCluster::start(3, &[]);
    let mut client = client(&cluster);
    for (number, audience) in [Audience::All, Audience::Assigned].into_iter().enumerate() {
        for bytes in [100, 20_000, 70_000, 3_000_000] {
            let (name, image) = (format!("{number}-{bytes}.png"), picture::sized(bytes));
            upload(&mut client, &name, &image, audience);
            assert!(read(&mut client, &name).unwrap() == image, "{name}");
        }
    }
    assert_eq!(client.list("alice", deadline()).unwrap().images.len(), 8);
    let id = ImageId::new("alice", "0-100.png").unwrap();
    assert!(client.remove(&id, deadline()).unwrap());
    assert_eq!(read(&mut client, "0-100.png"), None);
}

#[test]
fn nodes_send_clients_to_https_and_find_images_on_each_other() {
    let mut cluster = TlsCluster::start(3, &[]);
    let name = cluster.nodes.name_on(3, "alice");
    let path = format!("/images/alice/{name}");
    let image = picture::sized(100_000);
    cluster.nodes.await_settled();
    let answer = cluster.nodes.node(3).put(&path, &image);
    assert_eq!(answer.status, 201);
    let redirect = cluster.nodes.node(1).ask("GET", &path);
    let location = redirect.field("location").unwrap();
    let expected = format!("https://{}{path}", cluster.nodes.node(3).address);
    assert!(
        redirect.status == 307 && location.starts_with(&expected),
        "{location}"
    );
    // What node 3 holds is written once more while it is away, and handed over when it is back.
    cluster.nodes.node_mut(3).stop();
    cluster.nodes.await_agreement();
    let mut client = client(&cluster);
    let second = picture::sized(200_000);
    upload(&mut client, &name, &second, Audience::All);
    cluster.nodes.node_mut(3).start();
    cluster.nodes.await_agreement();
    cluster.nodes.await_settled();
    assert!(read(&mut client, &name).unwrap() == second);
    let holders = cluster.nodes.holders();
    assert!(holders.values().all(|nodes| nodes.len() == 1), "{holders:?}");
}

#[test]
fn a_node_passes_requests_on_over_tls() {
    let cluster = TlsCluster::start(3, &["--relay"]);
    let name = cluster.nodes.name_on(2, "alice");
    let path = format!("/images/alice/{name}");
    let image = picture::sized(2_000_000);
    assert_eq!(cluster.nodes.node(1).put(&path, &image).status, 201);
    let answer = cluster.nodes.node(3).ask("GET", &path);
    assert!(answer.status == 200 && answer.body == image);
}

#[test]
fn nodes_tell_of_each_other_over_tls_and_their_page_may_ask_them() {
    let cluster = TlsCluster::start(3, &[]);
    let node = cluster.nodes.node(1);
    wait_for("all nodes are told of", || {
        let state = node.ask("GET", "/cluster?all").json();
        let found = state["nodes"].as_array()?.len();
        (found == 3 && state["missing"] == serde_json::json!([])).then_some(())
    });
    let page = wire::ask_on(node.try_connect().unwrap(), ("GET", "/"), "Accept: text/html\r\n").unwrap();
    let policy = page.field("content-security-policy").unwrap();
    for other in &cluster.nodes.nodes {
        assert!(
            policy.contains(&format!(" https://{}", other.address)),
            "{policy}"
        );
    }
}
