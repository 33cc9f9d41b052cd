//! Downloads from the node that holds the image.

use std::fs;

use crate::support::cluster::{TestCluster, TestNode};
use crate::support::picture;
use crate::support::wire::{ReceivedAnswer, Wire};

const TARGET: &str = "/images/alice/cat.png";
/// Three segments of a sealed file.
const IMAGE_BYTES: usize = 2_500_000;

fn get(node: &TestNode, target: &str, fields: &str) -> ReceivedAnswer {
    let mut wire = Wire::connect(node.address);
    let address = node.address;
    wire.send(format!("GET {target} HTTP/1.1\r\nHost: {address}\r\n{fields}\r\n").as_bytes());
    wire.answer().unwrap()
}

#[test]
fn an_image_comes_with_fields_that_keep_browsers_from_running_it() {
    let cluster = TestCluster::start(1);
    let node = cluster.node(1);
    let image = picture::noise(10, 10, 1);
    let stored = node.put(TARGET, &image);
    let answer = get(node, TARGET, "");
    assert_eq!((answer.status, &answer.body), (200, &image));
    for (name, value) in [
        ("content-type", "image/png"),
        ("x-content-type-options", "nosniff"),
        ("content-security-policy", "default-src 'none'; sandbox"),
        ("cross-origin-resource-policy", "same-origin"),
        ("cache-control", "private"),
        ("accept-ranges", "bytes"),
        ("etag", stored.field("etag").unwrap()),
    ] {
        assert_eq!(answer.field(name), Some(value), "{name}");
    }
    assert!(answer.field("last-modified").is_some() && answer.field("date").is_some());
    assert_eq!(answer.field("access-control-allow-origin"), None);
}

#[test]
fn ranges_are_parts_of_the_whole() {
    let cluster = TestCluster::start(1);
    let node = cluster.node(1);
    let image = picture::sized(IMAGE_BYTES);
    node.put(TARGET, &image);
    let (size, segment) = (image.len(), 1_048_504);
    for (range, from, to) in [
        ("bytes=0-0".to_owned(), 0, 1),
        (
            format!("bytes={}-{}", segment - 1, segment),
            segment - 1,
            segment + 1,
        ),
        (format!("bytes={segment}-"), segment, size),
        ("bytes=-1".to_owned(), size - 1, size),
        (format!("bytes=5-{}", u64::MAX), 5, size),
    ] {
        let answer = get(node, TARGET, &format!("Range: {range}\r\n"));
        assert_eq!(answer.status, 206, "{range}");
        assert!(answer.body == image[from..to], "{range}");
        let expected = format!("bytes {from}-{}/{size}", to - 1);
        assert_eq!(answer.field("content-range"), Some(expected.as_str()));
    }
    let beyond = get(node, TARGET, &format!("Range: bytes={size}-\r\n"));
    let expected = format!("bytes */{size}");
    assert_eq!(
        (beyond.status, beyond.field("content-range")),
        (416, Some(expected.as_str()))
    );
    assert!(
        get(node, TARGET, "Range: bytes=0-1,5-6\r\n").body == image,
        "several parts: the whole"
    );
    let other = get(node, TARGET, "Range: bytes=0-1\r\nIf-Range: \"another\"\r\n");
    assert_eq!(
        (other.status, other.body.len()),
        (200, size),
        "a part of another image is of no use"
    );
}

#[test]
fn an_image_that_the_client_has_is_not_sent_again() {
    let cluster = TestCluster::start(1);
    let node = cluster.node(1);
    let image = picture::noise(10, 10, 1);
    node.put(TARGET, &image);
    let tag = get(node, TARGET, "").field("etag").unwrap().to_owned();
    for tags in [tag.clone(), format!("\"x\", W/{tag}"), "*".to_owned()] {
        let answer = get(node, TARGET, &format!("If-None-Match: {tags}\r\n"));
        assert_eq!((answer.status, answer.body.len()), (304, 0), "{tags}");
        assert_eq!(answer.field("etag"), Some(tag.as_str()));
    }
    assert_eq!(get(node, TARGET, "If-None-Match: \"x\"\r\n").status, 200);
    node.put(TARGET, &image);
    assert_eq!(
        get(node, TARGET, &format!("If-None-Match: {tag}\r\n")).status,
        200,
        "sealed anew"
    );
}

#[test]
fn a_sealed_file_comes_as_it_is_stored() {
    let cluster = TestCluster::start(1);
    let node = cluster.node(1);
    let image = picture::sized(IMAGE_BYTES);
    node.put(TARGET, &image);
    let file = fs::read(node.images().join("encrypted_cat.alice.png")).unwrap();
    let answer = get(node, &format!("{TARGET}?sealed"), "");
    assert_eq!(answer.field("content-type"), Some("application/octet-stream"));
    assert!(answer.body == file);
    let part = get(
        node,
        &format!("{TARGET}?sealed"),
        "Range: bytes=1048570-1048580\r\n",
    );
    assert_eq!((part.status, &part.body[..]), (206, &file[1_048_570..=1_048_580]));
    assert_ne!(answer.field("etag"), get(node, TARGET, "").field("etag"));
}

#[test]
fn head_is_get_without_the_content() {
    let cluster = TestCluster::start(1);
    let node = cluster.node(1);
    let image = picture::noise(10, 10, 1);
    node.put(TARGET, &image);
    let mut wire = Wire::connect(node.address);
    for (target, fields) in [
        (TARGET, ""),
        (TARGET, "Range: bytes=0-0\r\n"),
        ("/images/alice/no.png", ""),
        ("/healthz", ""),
        ("/cluster", ""),
        ("/images/alice/", ""),
    ] {
        let head = format!("HEAD {target} HTTP/1.1\r\nHost: {}\r\n{fields}\r\n", node.address);
        wire.send(head.as_bytes());
        let told = wire.answer_to_head().unwrap();
        // RFC 9110 section 14.2: a range is defined for GET and for nothing else.
        let got = get(node, target, "");
        assert_eq!(told.status, got.status, "{target}");
        assert_eq!(told.field("etag"), got.field("etag"));
        assert_eq!(told.field("content-type"), got.field("content-type"));
        if target == TARGET {
            assert_eq!(
                told.field("content-length"),
                got.field("content-length"),
                "{fields}"
            );
        }
    }
}

#[test]
fn a_refused_head_has_no_content_either() {
    let cluster = TestCluster::start(1);
    let node = cluster.node(1);
    for target in ["/nowhere", "/images/alice/no.jpg"] {
        let mut wire = Wire::connect(node.address);
        let head = format!("HEAD {target} HTTP/1.1\r\nHost: {}\r\n\r\n", node.address);
        wire.send(head.as_bytes());
        wire.finish_sending();
        assert!(wire.rest().ends_with(b"\r\n\r\n"), "{target}");
    }
}

#[test]
fn what_was_tampered_with_is_not_sent() {
    let cluster = TestCluster::start(1);
    let node = cluster.node(1);
    let image = picture::sized(IMAGE_BYTES);
    node.put(TARGET, &image);
    let path = node.images().join("encrypted_cat.alice.png");
    let file = fs::read(&path).unwrap();
    let damaged = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = file.clone();
        change(&mut bytes);
        fs::write(&path, bytes).unwrap();
    };
    damaged(&|bytes| bytes[100] ^= 1);
    assert_eq!(get(node, TARGET, "").status, 500);
    damaged(&|bytes| bytes.truncate(2 << 20));
    assert_eq!(
        get(node, TARGET, "Range: bytes=0-0\r\n").status,
        500,
        "a part of what lost its end"
    );
    damaged(&|bytes| bytes.truncate(30));
    assert_eq!(get(node, TARGET, "").status, 500);
    // Damage behind the first segment is found after the head is out: the announced length is not reached.
    damaged(&|bytes| *bytes.last_mut().unwrap() ^= 1);
    let mut wire = Wire::connect(node.address);
    wire.send(format!("GET {TARGET} HTTP/1.1\r\nHost: {}\r\n\r\n", node.address).as_bytes());
    let bytes = wire.rest();
    assert!(bytes.starts_with(b"HTTP/1.1 200") && bytes.len() < image.len());
    fs::copy(&path, node.images().join("encrypted_dog.alice.png")).unwrap();
    fs::write(node.images().join("encrypted_dog.alice.png"), &file).unwrap();
    assert_eq!(
        get(node, "/images/alice/dog.png", "").status,
        500,
        "a file is bound to its name"
    );
}

#[test]
fn no_link_and_no_special_file_is_followed() {
    let cluster = TestCluster::start(1);
    let node = cluster.node(1);
    let secret = cluster.root().join("secret");
    fs::write(&secret, "what no client may see").unwrap();
    std::os::unix::fs::symlink(&secret, node.images().join("encrypted_link.alice.png")).unwrap();
    fs::create_dir(node.images().join("encrypted_folder.alice.png")).unwrap();
    let fifo = node.images().join("encrypted_fifo.alice.png");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    for name in ["link", "folder", "fifo"] {
        assert_eq!(
            get(node, &format!("/images/alice/{name}.png?sealed"), "").status,
            404,
            "{name}"
        );
    }
    assert_eq!(
        node.ask("GET", "/images/alice/").json()["images"],
        serde_json::json!([])
    );
    // An upload takes the place of the link, not of what it points to.
    assert_eq!(node.put("/images/alice/link.png", &picture::dot()).status, 201);
    assert_eq!(fs::read(&secret).unwrap(), b"what no client may see");
}
