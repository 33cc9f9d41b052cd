//! What a request asks, and for whom: request lines, targets, hosts, and fields that cannot be met.

use super::{Case, PUT, put, request, smuggled};

pub(super) fn rows(host: &str) -> Vec<Case> {
    let parts = [
        request_lines(host),
        targets(host),
        hosts(host),
        repeated(host),
        particulars(host),
        origins(host),
        odd_text(host),
        places(host),
    ];
    parts.into_iter().flatten().collect()
}

fn request_lines(host: &str) -> Vec<Case> {
    let mut rows = Vec::new();
    for (line, accepted) in [
        ("GET /healthz", &[400][..]),
        ("GET", &[400]),
        ("GET /", &[400]),
        ("/healthz HTTP/1.1", &[400]),
        ("GET  /healthz HTTP/1.1", &[400]),
        ("GET /healthz  HTTP/1.1", &[400]),
        (" GET /healthz HTTP/1.1", &[400]),
        ("GET /healthz HTTP/1.1 ", &[400]),
        ("GET\t/healthz\tHTTP/1.1", &[400]),
        ("GET /healthz HTTP/1.1 HTTP/1.1", &[400]),
        ("GET /heal thz HTTP/1.1", &[400]),
        ("GET /healthz http/1.1", &[400]),
        ("GET /healthz HTTP/1", &[400]),
        ("GET /healthz HTTP/1.", &[400]),
        ("GET /healthz HTTP/.1", &[400]),
        ("GET /healthz HTTP/1.10", &[400]),
        ("GET /healthz HTTP/11", &[400]),
        ("GET /healthz HTTP/x.y", &[400]),
        ("GET /healthz HTTP/-1.1", &[400]),
        ("GET /healthz HTTP 1.1", &[400]),
        ("GET /healthz HTTPS/1.1", &[400]),
        ("GET /healthz ICY/1.1", &[400]),
        ("GET /healthz RTSP/1.0", &[400]),
        ("GET /healthz HTTP/0.9", &[505]),
        ("GET /healthz HTTP/1.2", &[505]),
        ("GET /healthz HTTP/2.0", &[505]),
        ("GET /healthz HTTP/9.9", &[505]),
        ("PRI * HTTP/2.0", &[505]),
        ("get /healthz HTTP/1.1", &[501]),
        ("Get /healthz HTTP/1.1", &[501]),
        ("BREW /healthz HTTP/1.1", &[501]),
        ("PUTT /images/alice/cat.png HTTP/1.1", &[501]),
        ("PROPFIND / HTTP/1.1", &[501]),
        ("G(T /healthz HTTP/1.1", &[400]),
        ("G\u{e9}T /healthz HTTP/1.1", &[400]),
        ("GET: /healthz HTTP/1.1", &[400]),
        ("TRACE /healthz HTTP/1.1", &[405]),
        ("OPTIONS /healthz HTTP/1.1", &[405]),
        ("PATCH /images/alice/cat.png HTTP/1.1", &[405]),
        ("CONNECT 127.0.0.1:22 HTTP/1.1", &[400]),
        ("OPTIONS * HTTP/1.1", &[400, 405]),
    ] {
        let bytes = format!("{line}\r\nHost: {host}\r\n\r\n");
        // A resource that is there and does not know the method: nothing is in doubt, so the server may go on.
        rows.push(Case::closing(format!("{line:?}"), accepted, bytes));
    }
    rows.push(Case::closing(
        "a TLS greeting",
        &[400],
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
    ));
    rows.push(Case::closing(
        "an SSH greeting",
        &[400],
        "SSH-2.0-OpenSSH_9.9\r\n",
    ));
    rows.push(Case::closing("a Redis command", &[400], "*1\r\n$4\r\nPING\r\n"));
    rows.push(Case::closing("a mail", &[400], "HELO example.org\r\n"));
    rows.push(Case::closing(
        "every byte there is",
        &[400],
        (0..=255).collect::<Vec<u8>>(),
    ));
    rows.push(Case::closing(
        "bytes from 128 on",
        &[400],
        (128..=255).rev().collect::<Vec<u8>>(),
    ));
    rows
}

fn targets(host: &str) -> Vec<Case> {
    [
        ("healthz", &[400][..]),
        ("*", &[400]),
        ("?x", &[400]),
        ("/%", &[400]),
        ("/%4", &[400]),
        ("/%zz", &[400]),
        ("/%u0041", &[400]),
        ("/%ff", &[400]),
        ("/%c0%af", &[400]),
        ("/%ed%a0%80", &[400]),
        ("/healthz#x", &[400]),
        ("/heal\u{7f}thz", &[400]),
        ("/h\u{e9}althz", &[400]),
        ("http://", &[400]),
        ("http:///healthz", &[400]),
        ("http:/healthz", &[400]),
        ("http://u:p@127.0.0.1/healthz", &[400]),
        ("ftp://127.0.0.1/healthz", &[400]),
        ("file:///etc/passwd", &[400]),
        ("http://evil.example/cluster", &[421]),
        ("http://evil.example:8001/cluster", &[421]),
        ("http://evil.example/healthz/", &[421]),
        ("http://127.0.0.1.evil.example/images/healthy/picture.png", &[421]),
        ("//evil.example/healthz", &[404]),
        ("/healthz/", &[404]),
        ("/healthz/..", &[404]),
        ("/./healthz", &[404]),
        ("/../healthz", &[404]),
        ("/%2e%2e/healthz", &[404]),
        ("/%2fhealthz", &[404]),
        ("/healthz%00", &[404]),
        ("/healthz%0d%0aX:%20y", &[404]),
        ("/HEALTHZ", &[404]),
        ("\\healthz", &[400]),
        ("/images\\alice\\cat.png", &[404]),
        ("/images/", &[404]),
        ("/images//", &[400]),
        ("/images//cat.png", &[400]),
        ("/images/alice/cat.png/", &[404]),
        ("/images/alice/x/../cat.png", &[404]),
    ]
    .into_iter()
    .map(|(target, accepted)| {
        let bytes = request(&format!("GET {target}"), host, "", b"");
        Case::closing(format!("target {target:?}"), accepted, bytes)
    })
    .collect()
}

fn hosts(host: &str) -> Vec<Case> {
    let get = |fields: &str| format!("GET /cluster HTTP/1.1\r\n{fields}\r\n");
    let mut rows = vec![
        Case::closing("no Host", &[400], get("")),
        Case::closing("only another field", &[400], get("X: y\r\n")),
        Case::closing(
            "Host twice",
            &[400],
            get(&format!("Host: {host}\r\nHost: {host}\r\n")),
        ),
        Case::closing(
            "two Hosts",
            &[400],
            get(&format!("Host: {host}\r\nHost: evil.example\r\n")),
        ),
        Case::closing(
            "two Hosts, the evil first",
            &[400],
            get(&format!("HOST: evil.example\r\nhost: {host}\r\n")),
        ),
        Case::closing("Host with a space", &[400], get(&format!("Host : {host}\r\n"))),
    ];
    for value in [
        "",
        " ",
        "a b",
        "a,b",
        "localhost, evil.example",
        "user@localhost",
        "localhost/x",
        "http://localhost",
        "localhost:x",
        "localhost:-1",
        "localhost:999999",
        "localhost:80:80",
        "[::1",
        "::1",
        "\u{e9}.example",
        "local%68ost",
        "localhost?x",
        "localhost#x",
        "*",
    ] {
        rows.push(Case::closing(
            format!("Host {value:?}"),
            &[400, 421],
            get(&format!("Host: {value}\r\n")),
        ));
    }
    for value in [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "192.0.2.1",
        "0.0.0.0",
        "[::]",
        "[fe80::1]",
        "2130706433",
        "0x7f.1",
        "metadata.internal:80",
    ] {
        rows.push(Case::closing(
            format!("Host {value:?}"),
            &[421],
            get(&format!("Host: {value}\r\n")),
        ));
    }
    rows
}

/// Fields whose second value somebody else might believe.
fn repeated(host: &str) -> Vec<Case> {
    [
        ("Expect", "100-continue"),
        ("Content-Encoding", "identity"),
        ("Content-Range", "bytes 0-1/2"),
        ("Authorization", "Bearer x"),
        ("Content-Type", "image/png"),
        ("Range", "bytes=0-1"),
        ("If-None-Match", "*"),
        ("If-Range", "\"x\""),
        ("Origin", "http://localhost"),
    ]
    .into_iter()
    .map(|(name, value)| {
        let fields = format!(
            "Content-Length: 5\r\n{name}: {value}\r\n{}: {value}\r\n",
            name.to_lowercase()
        );
        put(host, &[400], &fields)
    })
    .collect()
}

/// Fields of uploads that cannot be met.
fn particulars(host: &str) -> Vec<Case> {
    let mut rows = Vec::new();
    for (fields, accepted) in [
        ("Expect: 200-ok\r\n", &[417][..]),
        ("Expect: 100-continue, 100-continue\r\n", &[417]),
        ("Expect: 100-continue; x=y\r\n", &[417]),
        ("Expect: 100\r\n", &[417]),
        ("Expect:\r\n", &[417]),
        ("Content-Encoding: gzip\r\n", &[415]),
        ("Content-Encoding: br\r\n", &[415]),
        ("Content-Encoding: zstd\r\n", &[415]),
        ("Content-Encoding: identity, gzip\r\n", &[415]),
        ("Content-Encoding: aes128gcm\r\n", &[415]),
        ("Content-Range: bytes 0-4/5\r\n", &[400]),
        ("Content-Range: bytes */5\r\n", &[400]),
        ("Content-Range: x\r\n", &[400]),
        ("If-None-Match: x\r\n", &[400]),
        ("If-None-Match: *, \"x\"\r\n", &[400]),
        ("Content-Digest: sha-256\r\n", &[400]),
        ("Content-Digest: sha-256=AAAA\r\n", &[400]),
        ("Content-Digest: sha-256=:AAAA:\r\n", &[400]),
        ("Content-Digest: sha-256=:not base64:\r\n", &[400]),
        (
            "Content-Digest: sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==:\r\n",
            &[400],
        ),
        (
            "Content-Digest: sha-256=:AAAA:\r\nContent-Digest: md5=:AA==:\r\n",
            &[400],
        ),
        (
            "Content-Digest: md5=:AA==:\r\nContent-Digest: SHA-256=:AA==:\r\n",
            &[400],
        ),
    ] {
        for expect in ["", "Expect: 100-continue\r\n"] {
            if expect.is_empty() || !fields.starts_with("Expect") {
                rows.push(put(
                    host,
                    accepted,
                    &format!("Content-Length: 5\r\n{fields}{expect}"),
                ));
            }
        }
    }
    // What is not an image is told from its first bytes, and the rest is not taken for a request.
    for fields in [
        "Content-Length: 500\r\n",
        "Content-Length: 500\r\nConnection: offer\r\n",
    ] {
        rows.push(put(host, &[415], fields));
    }
    rows
}

/// Pages of other sites that write.
fn origins(host: &str) -> Vec<Case> {
    let mut rows: Vec<Case> = [
        "http://evil.example",
        "http://localhost",
        "http://127.0.0.1:1",
        "https://localhost:443",
        "http://localhost.evil.example",
        "null",
        "file://",
        "evil.example",
        "",
    ]
    .into_iter()
    .flat_map(|origin| {
        ["", "Expect: 100-continue\r\n"].map(|expect| {
            let fields = format!("Content-Length: 5\r\nOrigin: {origin}\r\n{expect}");
            put(host, &[403], &fields)
        })
    })
    .collect();
    let target = "DELETE /images/healthy/picture.png";
    let foreign = request(target, host, "Origin: http://evil.example\r\n", b"");
    rows.push(Case::closing("a page elsewhere deletes", &[403], foreign));
    rows
}

/// Fields that matter and are not text: they must not be read as absent.
fn odd_text(host: &str) -> Vec<Case> {
    let mut rows = Vec::new();
    for name in [
        "Origin",
        "If-None-Match",
        "If-Match",
        "Content-Encoding",
        "Content-Range",
        "Authorization",
        "If-Unmodified-Since",
    ] {
        for value in [&b"\xff"[..], b"*\xff", "http://localhost\u{e9}".as_bytes()] {
            let fields = [name.as_bytes(), b": ", value, b"\r\nContent-Length: 5\r\n"].concat();
            let head = [
                PUT.as_bytes(),
                b" HTTP/1.1\r\nHost: ",
                host.as_bytes(),
                b"\r\n",
                &fields,
                b"\r\n",
            ]
            .concat();
            rows.push(Case::closing(
                format!("{name}: {}", value.escape_ascii()),
                &[400],
                head,
            ));
        }
    }
    rows
}

/// Methods and queries where they do not belong.
fn places(host: &str) -> Vec<Case> {
    let mut rows = Vec::new();
    for line in [
        "PUT /",
        "PUT /healthz",
        "PUT /readyz",
        "PUT /cluster",
        "PUT /metrics",
        "PUT /images/alice/",
        "POST /images/alice/cat.png",
        "DELETE /images/alice/",
        "DELETE /",
    ] {
        let bytes = request(line, host, "Content-Length: 500\r\n", &smuggled(host));
        rows.push(Case::closing(line, &[405], bytes));
    }
    // Whatever claims to come from another node and does not is an ordinary offer, and its body is looked at.
    for query in [
        "term=x",
        "term=18446744073709551615&hop=1",
        "ticket=",
        "ticket=AAAA",
        "ticket=%00",
        "ticket=../../etc/passwd",
    ] {
        let line = format!("{PUT}?{query}");
        let bytes = request(&line, host, "Content-Length: 500\r\n", &smuggled(host));
        rows.push(Case::closing(line, &[415], bytes));
    }
    for query in [
        "limit=",
        "limit=-1",
        "limit=0",
        "limit=10001",
        "limit=1e3",
        "limit=18446744073709551616",
    ] {
        let line = format!("GET /images/alice/?{query}");
        rows.push(Case::closing(line.clone(), &[400], request(&line, host, "", b"")));
    }
    rows
}
