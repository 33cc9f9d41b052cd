//! What every request pays before anything is sealed: parsing its head and finding out whose image it is.
//! `cargo bench --bench micro`.

use divan::{Bencher, black_box};
use pixseal::balancer;
use pixseal::http::head;
use pixseal::http::target::Target;
use pixseal::image_id::ImageId;
use pixseal::roster::{NodeId, Roster};

/// As our client offers an image.
const OFFER: &[u8] = b"PUT /images/stresstest/stress_image_1234.png HTTP/1.1\r\nHost: 127.0.0.1:8001\r\n\
    Content-Length: 4000000\r\nContent-Type: image/png\r\nExpect: 100-continue\r\nConnection: offer\r\n\r\n";
/// As a browser asks for one: twice as many fields, none of which matter here.
const BROWSER: &[u8] = b"GET /images/alice/cat.png HTTP/1.1\r\nHost: 127.0.0.1:8001\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n\
    Accept: image/avif,image/webp,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5\r\n\
    Accept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\r\nConnection: keep-alive\r\n\
    Sec-Fetch-Dest: image\r\nSec-Fetch-Mode: no-cors\r\nSec-Fetch-Site: same-origin\r\nPriority: u=5, i\r\n\
    Pragma: no-cache\r\nCache-Control: no-cache\r\n\r\n";

fn main() {
    divan::main();
}

#[divan::bench(args = [("offer", OFFER), ("browser", BROWSER)])]
fn head(bencher: Bencher<'_, '_>, (_, bytes): (&str, &[u8])) {
    assert!(matches!(head::parse(bytes), Ok(Some((_, length))) if length == bytes.len()));
    bencher
        .counter(divan::counter::BytesCount::new(bytes.len()))
        .bench(|| head::parse(black_box(bytes)).is_ok());
}

#[divan::bench]
fn target(bencher: Bencher<'_, '_>) {
    bencher
        .bench(|| Target::parse(black_box("/images/stresstest/stress_image_1234.png?term=7&hop=1")).is_ok());
}

#[divan::bench]
fn image_id(bencher: Bencher<'_, '_>) {
    bencher.bench(|| ImageId::new(black_box("stresstest"), black_box("stress_image_1234.png")));
}

#[divan::bench(args = [1, 3, 9, 256])]
fn balancer(bencher: Bencher<'_, '_>, nodes: u32) {
    let alive = Roster::new(NodeId(1), (1..=nodes).map(NodeId));
    bencher.bench(|| {
        balancer::assigned(
            black_box("stresstest"),
            black_box("stress_image_1234.png"),
            &alive,
        )
    });
}
