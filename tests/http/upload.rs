//! Uploads to the node that they are assigned to: how the body may come, what is refused, and that a refusal keeps
//! nothing.

use base64ct::{Base64, Encoding};
use sha2::{Digest, Sha256};

use crate::support::cluster::{TestCluster, TestNode};
use crate::support::picture;
use crate::support::wire::{Wire, chunked, put_head};

const TARGET: &str = "/images/alice/cat.png";

fn chunked_head(node: &TestNode, more: &str) -> Vec<u8> {
    let address = node.address;
    format!("PUT {TARGET} HTTP/1.1\r\nHost: {address}\r\nTransfer-Encoding: chunked\r\n{more}\r\n")
        .into_bytes()
}

#[test]
fn a_new_image_is_created_and_the_next_replaces_it() {
    let cluster = TestCluster::start(1);
    let node = cluster.node(1);
    let (first, second) = (picture::noise(20, 20, 1), picture::noise(30, 30, 2));
    let created = node.put(TARGET, &first);
    assert_eq!(created.status, 201, "{}", created.text());
    let receipt = created.json();
    assert_eq!(
        (&receipt["user"], &receipt["name"]),
        (&"alice".into(), &"cat.png".into())
    );
    assert_eq!(
        (&receipt["node"], &receipt["bytes"]),
        (&1.into(), &first.len().into())
    );
    assert_eq!(
        (&receipt["replaced"], &receipt["durability"]),
        (&false.into(), &"fsync".into())
    );
    let replaced = node.put(TARGET, &second);
    assert_eq!(
        (replaced.status, &replaced.json()["replaced"]),
        (200, &true.into())
    );
    assert_ne!(created.field("etag"), replaced.field("etag"));
    assert_eq!(node.files(), ["encrypted_cat.alice.png"]);
    assert_eq!(node.ask("GET", TARGET).body, second);
}

#[test]
fn the_body_is_asked_for_only_when_the_client_waits_for_that() {
    let cluster = TestCluster::start(1);
    let node = cluster.node(1);
    let image = picture::noise(20, 20, 1);
    let mut wire = Wire::connect(node.address);
    wire.send(&put_head(
        node.address,
        TARGET,
        image.len(),
        "Expect: 100-continue\r\n",
    ));
    assert_eq!(wire.answer().unwrap().status, 100);
    wire.send(&image);
    assert_eq!(wire.answer().unwrap().status, 201);
    // The next one comes on the same connection, without the expectation.
    wire.send(&put_head(node.address, TARGET, image.len(), ""));
    wire.send(&image);
    assert_eq!(wire.answer().unwrap().status, 200);
}

#[test]
fn bodies_come_back_however_they_were_sent() {
    let cluster = TestCluster::start(1);
    let node = cluster.node(1);
    // Around the ends of the segments that sealed files are made of.
    let (first, other) = (1_048_504, 1_048_544);
    for bytes in [
        500,
        first - 1,
        first,
        first + 1,
        first + other - 1,
        first + other,
        first + other + 1,
    ] {
        let image = picture::sized(bytes);
        let mut wire = Wire::connect(node.address);
        wire.send(&put_head(node.address, TARGET, image.len(), ""));
        wire.send(&image);
        assert!([200, 201].contains(&wire.answer().unwrap().status));
        assert!(node.ask("GET", TARGET).body == image, "{bytes} bytes");
        wire.send(&chunked_head(node, ""));
        wire.send(&chunked(&image, bytes.min(70_000)));
        assert_eq!(wire.answer().unwrap().status, 200);
        assert!(node.ask("GET", TARGET).body == image, "{bytes} bytes in chunks");
    }
}

#[test]
fn a_body_of_single_bytes_is_a_body() {
    let cluster = TestCluster::start(1);
    let node = cluster.node(1);
    let image = picture::dot();
    let mut wire = Wire::connect(node.address);
    for byte in [chunked_head(node, ""), chunked(&image, 1)].concat() {
        wire.send(&[byte]);
    }
    assert_eq!(wire.answer().unwrap().status, 201);
    assert_eq!(node.ask("GET", TARGET).body, image);
}

#[test]
fn several_uploads_share_a_connection() {
    let cluster = TestCluster::start(1);
    let node = cluster.node(1);
    let image = picture::dot();
    let mut wire = Wire::connect(node.address);
    let mut bytes = Vec::new();
    for i in 0..5 {
        bytes.extend(put_head(
            node.address,
            &format!("/images/alice/{i}.png"),
            image.len(),
            "",
        ));
        bytes.extend(&image);
    }
    wire.send(&bytes);
    for _ in 0..5 {
        let answer = wire.answer().unwrap();
        assert_eq!((answer.status, answer.closes()), (201, false));
    }
    assert_eq!(node.files().len(), 5);
}

#[test]
fn only_new_means_that_nothing_is_replaced() {
    let cluster = TestCluster::start(1);
    let node = cluster.node(1);
    let (first, second) = (picture::noise(5, 5, 1), picture::noise(5, 5, 2));
    let put = |image: &[u8]| {
        let mut wire = Wire::connect(node.address);
        let fields = "If-None-Match: *\r\nExpect: 100-continue\r\n";
        wire.send(&put_head(node.address, TARGET, image.len(), fields));
        let answer = wire.answer().unwrap();
        if answer.status != 100 {
            return answer.status;
        }
        wire.send(image);
        wire.answer().unwrap().status
    };
    assert_eq!(put(&first), 201);
    assert_eq!(put(&second), 412, "refused without being asked for its body");
    assert_eq!(node.ask("GET", TARGET).body, first);
    assert_eq!(node.files().len(), 1);
}

#[test]
fn only_one_of_two_new_images_of_one_name_wins() {
    let cluster = TestCluster::start(1);
    let node = cluster.node(1);
    let images = [picture::noise(5, 5, 1), picture::noise(5, 5, 2)];
    // Both are asked for their bodies before either has come.
    let mut wires = images.each_ref().map(|image| {
        let mut wire = Wire::connect(node.address);
        let fields = "If-None-Match: *\r\nExpect: 100-continue\r\n";
        wire.send(&put_head(node.address, TARGET, image.len(), fields));
        assert_eq!(wire.answer().unwrap().status, 100);
        wire
    });
    let mut statuses = Vec::new();
    for (wire, image) in wires.iter_mut().zip(&images) {
        wire.send(image);
        statuses.push(wire.answer().unwrap().status);
    }
    assert_eq!(statuses, [201, 412]);
    assert_eq!(node.ask("GET", TARGET).body, images[0]);
    assert_eq!(node.files().len(), 1);
}

#[test]
fn a_digest_is_compared_before_the_image_gets_its_name() {
    let cluster = TestCluster::start(1);
    let node = cluster.node(1);
    let image = picture::sized(200_000);
    let digest = Base64::encode_string(&Sha256::digest(&image));
    let put = |field: &str| {
        let mut wire = Wire::connect(node.address);
        wire.send(&put_head(node.address, TARGET, image.len(), field));
        wire.send(&image);
        wire.answer().unwrap().status
    };
    let other = Base64::encode_string(&Sha256::digest(b"something else"));
    assert_eq!(put(&format!("Content-Digest: sha-256=:{other}:\r\n")), 400);
    assert_eq!(node.files(), [""; 0]);
    assert_eq!(put(&format!("Content-Digest: sha-256=:{digest}:\r\n")), 201);
    assert_eq!(
        put(&format!("Content-Digest: md5=:AA==:, sha-256=:{digest}:\r\n")),
        200
    );
    assert_eq!(put("Content-Digest: sha-256=:AAAA:\r\n"), 400);
    assert_eq!(node.ask("GET", TARGET).body, image);
}

#[test]
fn refusals_keep_nothing_and_say_why() {
    let cluster = TestCluster::with(1, &["--body-max", "100000", "--pixels-max", "1000"]);
    let node = cluster.node(1);
    let image = picture::dot();
    let many_pixels = picture::png(&[picture::ihdr(100, 100, 8, 2, [0; 3])]);
    let broken = &image[..image.len() - 1];
    let too_long = picture::png(&[
        picture::ihdr(1, 1, 8, 2, [0; 3]),
        picture::chunk(b"IDAT", &[0; 200_000]),
        picture::chunk(b"IEND", b""),
    ]);
    let fixed = |body: &[u8], fields: &str| {
        [put_head(node.address, TARGET, body.len(), fields), body.to_vec()].concat()
    };
    let cases: [(u16, Vec<u8>); 11] = [
        (
            411,
            format!("PUT {TARGET} HTTP/1.1\r\nHost: {}\r\n\r\n", node.address).into_bytes(),
        ),
        (413, fixed(&too_long, "")),
        (413, [chunked_head(node, ""), chunked(&too_long, 50_000)].concat()),
        (413, fixed(&many_pixels, "")),
        (415, fixed(b"GIF89a, which is not a PNG", "")),
        (422, fixed(b"", "")),
        (415, fixed(&image, "Content-Encoding: gzip\r\n")),
        (400, fixed(&image, "Content-Range: bytes 0-9/10\r\n")),
        (417, fixed(&image, "Expect: something\r\n")),
        (422, fixed(broken, "")),
        (422, fixed(&[&image[..], b"more"].concat(), "")),
    ];
    for (status, request) in cases {
        let mut wire = Wire::connect(node.address);
        wire.send(&request);
        let answer = wire.answer().unwrap();
        assert_eq!(answer.status, status, "{}", answer.text());
        assert!(answer.text().ends_with(".\n"), "a sentence: {}", answer.text());
        assert_eq!(node.files(), [""; 0], "after {status}");
    }
    assert_eq!(node.put(TARGET, &image).status, 201);
}

#[test]
fn nobody_is_asked_for_a_body_that_would_be_refused() {
    let cluster = TestCluster::with(1, &["--body-max", "1000"]);
    let node = cluster.node(1);
    for (target, fields, status) in [
        (TARGET, "Content-Length: 1001\r\n", 413),
        (TARGET, "Content-Length: 10\r\nContent-Encoding: br\r\n", 415),
        (
            TARGET,
            "Content-Length: 10\r\nContent-Range: bytes 0-9/20\r\n",
            400,
        ),
        (TARGET, "Content-Length: 10\r\nIf-None-Match: x\r\n", 400),
        (TARGET, "Content-Length: 10\r\nContent-Digest: sha-256=x\r\n", 400),
        (
            TARGET,
            "Content-Length: 10\r\nOrigin: https://elsewhere.example\r\n",
            403,
        ),
        ("/images/alice/cat.jpg", "Content-Length: 10\r\n", 400),
        ("/cluster", "Content-Length: 10\r\n", 405),
        ("/elsewhere", "Content-Length: 10\r\n", 404),
    ] {
        let mut wire = Wire::connect(node.address);
        let address = node.address;
        wire.send(
            format!("PUT {target} HTTP/1.1\r\nHost: {address}\r\nExpect: 100-continue\r\n{fields}\r\n")
                .as_bytes(),
        );
        assert_eq!(wire.answer().unwrap().status, status, "{target} {fields}");
    }
    assert_eq!(node.files(), [""; 0]);
}

#[test]
fn a_client_that_goes_away_leaves_nothing() {
    let cluster = TestCluster::start(1);
    let node = cluster.node(1);
    let image = picture::sized(1_500_000);
    for sent in [0, 10, 100_000, image.len() - 1] {
        let mut wire = Wire::connect(node.address);
        wire.send(&put_head(node.address, TARGET, image.len(), ""));
        wire.send(&image[..sent]);
        drop(wire);
    }
    crate::support::wait_for("the four uploads are given up", || {
        let state = node.state()?;
        (state["counters"]["uploads_failed"] == 4).then_some(())
    });
    assert_eq!(node.files(), [""; 0]);
}
