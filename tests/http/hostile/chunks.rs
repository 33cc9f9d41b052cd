//! Chunked bodies: RFC 9112 section 7.1. The content begins as an image should, so that only the chunks are wrong.

use pixseal::http::{CHUNK_LINE_BYTES_MAX, TRAILER_BYTES_MAX};

use super::{Case, End, PUT, request};
use crate::support::picture;

/// An upload of these chunks.
fn row(host: &str, what: &str, accepted: &'static [u16], chunks: &[u8]) -> Case {
    let bytes = request(PUT, host, "Transfer-Encoding: chunked\r\n", chunks);
    Case::closing(format!("chunks: {what}"), accepted, bytes)
}

/// The same, of chunks that are in order: what they hold is refused after all of it was read.
fn whole(host: &str, what: &str, accepted: &'static [u16], chunks: &[u8]) -> Case {
    row(host, what, accepted, chunks).ending(End::Open)
}

pub(super) fn rows(host: &str) -> Vec<Case> {
    let mut rows = sizes(host);
    rows.extend(ends(host));
    rows.extend(extras(host));
    rows
}

fn sizes(host: &str) -> Vec<Case> {
    let mut rows = Vec::new();
    for size in [
        "",
        " ",
        "g",
        "8g",
        "-8",
        "+8",
        " 8",
        "8 ",
        "\t8",
        "8\t",
        "0x8",
        "0X8",
        "8h",
        "8.0",
        "8,8",
        "8 8",
        "\"8\"",
        "_8",
        ";x",
        " ;x",
        "8 x;x",
        "8; ;\u{0}",
        "\u{ff18}",
        "10000000000000000",
        "fffffffffffffffff",
        "00000000000000000000000000000000000g",
    ] {
        let chunks = [size.as_bytes(), b"\r\n", picture::SIGNATURE, b"\r\n0\r\n\r\n"].concat();
        rows.push(row(host, &format!("size {size:?}"), &[400], &chunks));
        // The same in the second chunk, when an image has begun.
        let later = [b"8\r\n", picture::SIGNATURE, b"\r\n", &chunks].concat();
        rows.push(row(host, &format!("size {size:?} later"), &[400], &later));
    }
    let endless = [b"ffffffffffffffff\r\n", picture::SIGNATURE, b"and no chunk"].concat();
    rows.push(row(host, "the largest size", &[422], &endless));
    rows.push(whole(host, "no chunk at all", &[422], b"0\r\n\r\n"));
    rows.push(whole(host, "many zeros", &[422], b"0000000000000000000\r\n\r\n"));
    rows
}

fn ends(host: &str) -> Vec<Case> {
    let signature = picture::SIGNATURE;
    let begun = [b"8\r\n", signature].concat();
    let mut rows = Vec::new();
    for (what, line) in [
        ("LF after the size", &b"8\n"[..]),
        ("CR after the size", b"8\r"),
        ("CR CR LF after the size", b"8\r\r\n"),
        ("LF CR after the size", b"8\n\r"),
        ("NUL after the size", b"8\0\r\n"),
        ("LF in an extension", b"8;a\nb\r\n"),
        ("CR in an extension", b"8;a\rb\r\n"),
        ("NUL in an extension", b"8;a\0b\r\n"),
        ("escape in an extension", b"8;a=\x1b[2J\r\n"),
        ("LF in a quoted extension", b"8;a=\"\n\"\r\n"),
    ] {
        rows.push(row(
            host,
            what,
            &[400],
            &[line, signature, b"\r\n0\r\n\r\n"].concat(),
        ));
    }
    for (what, end) in [
        ("LF after the content", &b"\n0\r\n\r\n"[..]),
        ("CR after the content", b"\r0\r\n\r\n"),
        ("nothing after the content", b"0\r\n\r\n"),
        ("more content than announced", b"x\r\n0\r\n\r\n"),
        ("two line ends after the content", b"\r\n\r\n0\r\n\r\n"),
        ("LF after the last size", b"\r\n0\n\r\n"),
        ("LF as the last line", b"\r\n0\r\n\n"),
        ("a bare CR at the last line", b"\r\n0\r\n\rX"),
    ] {
        rows.push(row(host, what, &[400], &[&begun[..], end].concat()));
    }
    rows
}

fn extras(host: &str) -> Vec<Case> {
    let signature = picture::SIGNATURE;
    let extension = |bytes: usize| {
        let line = format!("8;{}\r\n", "x".repeat(bytes - "8;\r\n".len()));
        [line.as_bytes(), signature, b"\r\n0\r\n\r\n"].concat()
    };
    let trailers = |bytes: usize| {
        let filling = "X: y\r\n".repeat((bytes - 2) / 6);
        let rest = bytes - 2 - filling.len();
        let last = if rest == 0 {
            String::new()
        } else {
            format!("Y:{}\r\n", "z".repeat(rest + 2))
        };
        [
            b"8\r\n",
            signature,
            b"\r\n0\r\n",
            filling.as_bytes(),
            last.as_bytes(),
            b"\r\n",
        ]
        .concat()
    };
    vec![
        whole(
            host,
            "the longest chunk line",
            &[422],
            &extension(CHUNK_LINE_BYTES_MAX),
        ),
        row(
            host,
            "a longer chunk line",
            &[400],
            &extension(CHUNK_LINE_BYTES_MAX + 1),
        ),
        row(host, "a chunk line of 1 MiB", &[400], &extension(1 << 20)),
        row(host, "a chunk line without an end", &[400], &[b'1'; 1 << 20]),
        whole(
            host,
            "as many trailers as may be",
            &[422],
            &trailers(TRAILER_BYTES_MAX - 10),
        ),
        row(host, "more trailers", &[400], &trailers(TRAILER_BYTES_MAX + 10)),
        row(host, "trailers without an end", &[400], &trailers(1 << 20)),
        row(
            host,
            "a trailer ends in LF",
            &[400],
            &[b"8\r\n", signature, b"\r\n0\r\nX: y\n\r\n"].concat(),
        ),
        row(
            host,
            "NUL in a trailer",
            &[400],
            &[b"8\r\n", signature, b"\r\n0\r\nX: \0\r\n\r\n"].concat(),
        ),
        whole(
            host,
            "a trailer that frames anew",
            &[422],
            &[
                b"8\r\n",
                signature,
                b"\r\n0\r\nContent-Length: 500\r\nHost: evil.example\r\n\r\n",
            ]
            .concat(),
        ),
    ]
}
