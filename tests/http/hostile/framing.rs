//! Where a message ends: RFC 9112 sections 2, 5 and 6, to the letter.

use super::{Case, End, PUT, put, request, smuggled};

pub(super) fn rows(host: &str) -> Vec<Case> {
    let parts = [
        lengths(host),
        codings(host),
        lines(host),
        fields(host),
        characters(host),
        fragments(host),
    ];
    parts.into_iter().flatten().collect()
}

fn lengths(host: &str) -> Vec<Case> {
    let odd = [
        "",
        "+5",
        "-5",
        "-0",
        "5 5",
        "5,5",
        "5, 5",
        "5;5",
        "0x5",
        "5h",
        "5.0",
        "5e1",
        "1_0",
        "\"5\"",
        "five",
        "\u{665}",
        "18446744073709551616",
        "99999999999999999999999999999999",
        "NaN",
        "5\t5",
    ];
    let mut rows: Vec<Case> = odd
        .iter()
        .map(|value| put(host, &[400], &format!("Content-Length: {value}\r\n")))
        .collect();
    rows.extend(
        [
            "Content-Length: 5\r\nContent-Length: 5\r\n",
            "Content-Length: 5\r\nContent-Length: 6\r\n",
            "Content-Length: 0\r\ncontent-length: 90\r\n",
            "Content-Length : 5\r\n",
            "Content-Length\t: 5\r\n",
            " Content-Length: 5\r\n",
            "Content-Length:\r\n 5\r\n",
            "Content-Length: 5\r\n\t0\r\n",
        ]
        .map(|fields| put(host, &[400], fields)),
    );
    // Of the largest length that can be said, nothing is asked for.
    rows.push(put(host, &[413], "Content-Length: 18446744073709551615\r\n"));
    rows.push(put(
        host,
        &[413],
        "Content-Length: 18446744073709551615\r\nExpect: 100-continue\r\n",
    ));
    rows.push(put(host, &[411], "Content_Length: 5\r\n"));
    rows.push(put(host, &[411], ""));
    rows.push(put(host, &[411], "Expect: 100-continue\r\n"));
    rows
}

fn codings(host: &str) -> Vec<Case> {
    let mut rows = Vec::new();
    for value in [
        "",
        "identity",
        "xchunked",
        "chunkedx",
        "chunked x",
        "\"chunked\"",
        "chunked;q=1",
        "chunked, chunked",
        "chunked,",
        ",chunked",
        "gzip, chunked",
        "chunked, gzip",
        "chunked, identity",
        "identity, chunked",
        "chunk\u{e9}d",
        "c hunked",
        "chunke\u{212a}",
    ] {
        rows.push(put(host, &[400], &format!("Transfer-Encoding: {value}\r\n")));
    }
    for value in ["gzip", "deflate", "compress", "x-gzip"] {
        rows.push(put(host, &[501], &format!("Transfer-Encoding: {value}\r\n")));
    }
    for fields in [
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: identity\r\n",
        "Content-Length: 5\r\nTransfer-Encoding:\r\n",
        "Content-Length: 5\r\ntRANSFER-eNCODING: CHUNKED\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n",
        "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding\t: chunked\r\n",
        " Transfer-Encoding: chunked\r\n",
        "\tTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding:\r\n chunked\r\n",
        "X: y\r\n Transfer-Encoding: chunked\r\n",
        "X: y\nTransfer-Encoding: chunked\r\n",
        "X: y\rTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\n\tgzip\r\n",
    ] {
        rows.push(put(host, &[400], fields));
    }
    rows.push(put(host, &[411], "Transfer_Encoding: chunked\r\n"));
    rows.push(put(host, &[411], "TE: chunked\r\n"));
    let old = format!("{PUT} HTTP/1.0\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    rows.push(Case::closing("Transfer-Encoding in HTTP/1.0", &[400], old));
    // Whatever reads a body elsewhere, a GET, HEAD or DELETE with one is answered, and what follows is not.
    for (line, accepted) in [
        ("GET /healthz", &[200][..]),
        ("DELETE /images/alice/cat.png", &[404]),
        ("GET /images/alice/cat.png", &[404]),
        ("POST /healthz", &[405]),
    ] {
        for fields in ["Content-Length: 500\r\n", "Transfer-Encoding: chunked\r\n"] {
            let bytes = request(line, host, fields, &smuggled(host));
            rows.push(Case::closing(
                format!("{line} with a body, {fields:?}"),
                accepted,
                bytes,
            ));
        }
    }
    rows
}

fn lines(host: &str) -> Vec<Case> {
    let heads = [
        ("only LF", format!("GET /healthz HTTP/1.1\nHost: {host}\n\n")),
        (
            "LF after the request line",
            format!("GET /healthz HTTP/1.1\nHost: {host}\r\n\r\n"),
        ),
        (
            "LF after a field",
            format!("GET /healthz HTTP/1.1\r\nHost: {host}\n\r\n"),
        ),
        (
            "LF as the empty line",
            format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\n\n"),
        ),
        ("only CR", format!("GET /healthz HTTP/1.1\rHost: {host}\r\r")),
        (
            "CR CR LF",
            format!("GET /healthz HTTP/1.1\r\r\nHost: {host}\r\n\r\n"),
        ),
        (
            "CR CR LF at a field",
            format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\r\n\r\n"),
        ),
        ("LF CR", format!("GET /healthz HTTP/1.1\n\rHost: {host}\n\r\n\r")),
        (
            "CR in a value",
            format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\nX: a\rb\r\n\r\n"),
        ),
        (
            "CR before a name",
            format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\n\rX: a\r\n\r\n"),
        ),
        (
            "two empty lines first",
            format!("\r\n\r\nGET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        ),
        (
            "LF first",
            format!("\nGET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        ),
        (
            "CR first",
            format!("\rGET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        ),
    ];
    let mut rows: Vec<Case> = heads
        .into_iter()
        .map(|(what, head)| Case::closing(what, &[400], head))
        .collect();
    let forgiven = format!("\r\nGET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n");
    rows.push(Case::closing("one empty line first is forgiven", &[200], forgiven).ending(End::Open));
    rows
}

/// Field lines that are none.
fn fields(host: &str) -> Vec<Case> {
    [
        ("a folded value", "X: a\r\n b\r\n"),
        ("a value folded by a tab", "X: a\r\n\tb\r\n"),
        ("a folded first field", " X: a\r\n"),
        ("no colon", "X\r\n"),
        ("no name", ": x\r\n"),
        ("a space in a name", "X Y: z\r\n"),
        ("a space before the colon", "X : z\r\n"),
        ("a request line as a field", "GET / HTTP/1.1\r\n"),
    ]
    .into_iter()
    .map(|(what, lines)| {
        let bytes = format!("GET /healthz HTTP/1.1\r\n{lines}Host: {host}\r\n\r\n");
        Case::closing(what, &[400], bytes)
    })
    .collect()
}

/// Every character that a head must not hold, in every place where one could stand.
fn characters(host: &str) -> Vec<Case> {
    let controls = (0..32).chain([127]).filter(|c| !b"\t\r\n".contains(c));
    let mut rows = Vec::new();
    for control in controls {
        let places = [
            (
                "method",
                [b"GE", &[control][..], b"T /healthz HTTP/1.1\r\n"].concat(),
            ),
            (
                "target",
                [b"GET /heal", &[control][..], b"thz HTTP/1.1\r\n"].concat(),
            ),
            (
                "name",
                [b"GET /healthz HTTP/1.1\r\nX", &[control][..], b"Y: z\r\n"].concat(),
            ),
            (
                "value",
                [b"GET /healthz HTTP/1.1\r\nX: y", &[control][..], b"z\r\n"].concat(),
            ),
        ];
        for (place, start) in places {
            let bytes = [&start[..], format!("Host: {host}\r\n\r\n").as_bytes()].concat();
            rows.push(Case::closing(
                format!("control {control:#04x} in the {place}"),
                &[400],
                bytes,
            ));
        }
    }
    for delimiter in b"\"(),/;<=>?@[\\]{}\x80\xff" {
        let fields = [b"GET /healthz HTTP/1.1\r\nX", &[*delimiter][..], b"Y: z\r\n"].concat();
        let bytes = [&fields[..], format!("Host: {host}\r\n\r\n").as_bytes()].concat();
        rows.push(Case::closing(
            format!("{:?} in a name", char::from(*delimiter)),
            &[400],
            bytes,
        ));
    }
    rows
}

/// Requests that end before they are complete: nothing is answered that was not asked.
fn fragments(host: &str) -> Vec<Case> {
    let whole = format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let mut rows: Vec<Case> = [1, 4, 13, 21, 22, 23, 30, whole.len() - 2, whole.len() - 1]
        .into_iter()
        .map(|end| {
            let what = format!("the first {end} bytes of a request");
            Case::closing(what, &[], &whole.as_bytes()[..end]).ending(End::CutShort)
        })
        .collect();
    rows.push(Case::closing("nothing", &[], "").ending(End::CutShort));
    let cut = request(PUT, host, "Content-Length: 500\r\n", b"\x89PNG\r\n\x1a\n");
    rows.push(Case::closing("a body that ends too early", &[], cut).ending(End::CutShort));
    let cut = request(
        PUT,
        host,
        "Transfer-Encoding: chunked\r\n",
        b"8\r\n\x89PNG\r\n\x1a\n\r\n",
    );
    rows.push(Case::closing("chunks that end too early", &[], cut).ending(End::CutShort));
    rows
}
