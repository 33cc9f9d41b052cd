//! The check of a PNG beside the bare checksum that it consists of.

#[path = "../tests/support/mod.rs"]
mod support;

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use pixseal::image::{Check, Rules, SIGNATURE};
use support::picture::chunk;

/// The pieces in which an upload arrives.
const PIECE_BYTES: usize = 256 << 10;
const IMAGE_BYTES: usize = 4 << 20;

fn main() {
    divan::main();
}

/// A valid structure whose IDAT chunks have `chunk_bytes` each; their content is not looked at.
fn image(chunk_bytes: usize) -> Vec<u8> {
    let idat = chunk(b"IDAT", &vec![7; chunk_bytes]);
    let header = chunk(b"IHDR", &[0, 0, 4, 0, 0, 0, 4, 0, 8, 6, 0, 0, 0]);
    [
        &SIGNATURE[..],
        &header,
        &idat.repeat(IMAGE_BYTES / idat.len()),
        &chunk(b"IEND", b""),
    ]
    .concat()
}

#[divan::bench]
fn bare_crc32(bencher: Bencher) {
    let bytes = vec![7; IMAGE_BYTES];
    bencher
        .counter(BytesCount::new(IMAGE_BYTES))
        .bench_local(|| crc32fast::hash(black_box(&bytes)));
}

/// From the smallest chunk there is, which only an attacker writes, over 8 and 32 KiB, which encoders write, to one.
#[divan::bench(args = [0, 100, 8 << 10, 32 << 10, 4 << 20])]
fn check(bencher: Bencher, chunk_bytes: usize) {
    let bytes = image(chunk_bytes.min(IMAGE_BYTES - 100));
    bencher.counter(BytesCount::new(bytes.len())).bench_local(|| {
        let mut check = Check::new(u64::MAX, Rules::Strict);
        for piece in black_box(&bytes).chunks(PIECE_BYTES) {
            check.feed(piece).expect("valid");
        }
        check.finish()
    });
}
