//! How much of everything: at each limit, and one above it.

use pixseal::http::{FIELDS_MAX, HEAD_BYTES_MAX, REQUEST_LINE_BYTES_MAX};

use super::{Case, End};

pub(super) fn rows(host: &str) -> Vec<Case> {
    [lines(host), heads(host), lists(host)].concat()
}

fn lines(host: &str) -> Vec<Case> {
    let head = |bytes: usize| {
        let frame = "GET / HTTP/1.1\r\n".len();
        format!(
            "GET /{} HTTP/1.1\r\nHost: {host}\r\n\r\n",
            "a".repeat(bytes - frame)
        )
    };
    let method = format!("{} / HTTP/1.1\r\nHost: {host}\r\n\r\n", "M".repeat(4000));
    let path = format!("GET {} HTTP/1.1\r\nHost: {host}\r\n\r\n", "/a".repeat(4000));
    vec![
        Case::closing("the longest line", &[404], head(REQUEST_LINE_BYTES_MAX)),
        Case::closing("a longer line", &[414], head(REQUEST_LINE_BYTES_MAX + 1)),
        Case::closing("a line of 1 MiB", &[414], head(1 << 20)),
        Case::closing(
            "a line without an end",
            &[414],
            "G".repeat(REQUEST_LINE_BYTES_MAX),
        ),
        Case::closing("a method without an end", &[414], "GET".repeat(100_000)),
        Case::closing("a long method", &[501], method),
        Case::closing("a path of many segments", &[404], path),
        Case::closing("empty lines without an end", &[400], "\r\n".repeat(50_000)),
        Case::closing("zeros without an end", &[400], vec![0; 1 << 20]),
    ]
}

fn heads(host: &str) -> Vec<Case> {
    let head = |bytes: usize| {
        let start = format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\nX: ");
        format!("{start}{}\r\n\r\n", "a".repeat(bytes - start.len() - 4))
    };
    let fields = |count: usize| {
        let fields = "X: y\r\n".repeat(count - 1);
        format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n")
    };
    let name = format!("GET / HTTP/1.1\r\n{}", "a".repeat(1 << 20));
    let empty = format!("GET / HTTP/1.1\r\n{}", "a:\r\n".repeat(50_000));
    vec![
        Case::closing("the longest head", &[200], head(HEAD_BYTES_MAX)).ending(End::Open),
        Case::closing("a longer head", &[431], head(HEAD_BYTES_MAX + 1)),
        Case::closing("a head of 1 MiB", &[431], head(1 << 20)),
        Case::closing("a field without an end", &[431], head(1 << 20).trim_end()),
        Case::closing("a name without an end", &[431], name),
        Case::closing("the most fields", &[200], fields(FIELDS_MAX)).ending(End::Open),
        Case::closing("more fields", &[431], fields(FIELDS_MAX + 1)),
        Case::closing("far more fields", &[431], fields(100 * FIELDS_MAX)),
        Case::closing("empty fields without an end", &[431], empty),
    ]
}

/// Long lists within the limits, in places where a list is gone through.
fn lists(host: &str) -> Vec<Case> {
    let open = |what: &str, accepted: &'static [u16], target: &str, fields: &str| {
        let head = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n");
        Case::closing(what, accepted, head).ending(End::Open)
    };
    let options = format!("Connection: {}\r\n", "a,".repeat(7000));
    let ranges = format!("Range: bytes={}\r\n", "0-,".repeat(4000));
    let tags = format!("If-None-Match: {}\r\n", "\"x\",".repeat(3000));
    let query = format!("/images/alice/?{}", "a=b&".repeat(2000));
    vec![
        open("many options", &[200], "/healthz", &options),
        open("many ranges", &[404], "/images/alice/none.png", &ranges),
        open("many tags", &[404], "/images/alice/none.png", &tags),
        open("a long query", &[200], &query, ""),
    ]
}
