//! Sealing and opening, beside the two things they are made of: the ratio to bare SHA-256 is what counts.

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use hmac::{Hmac, KeyInit, Mac};
use pixseal::keyset::Key;
use pixseal::seal::{self, Header, Plain, SALT_AND_PREFIX_BYTES, SEGMENT_BYTES, SegmentCipher, TAG_BYTES};
use sha2::{Digest, Sha256};

/// Small, a small image, a full segment.
const SIZES: [usize; 3] = [4 << 10, 64 << 10, SEGMENT_BYTES - TAG_BYTES];

fn main() {
    divan::main();
}

fn cipher() -> SegmentCipher {
    let key = Key::new([1; 32]);
    SegmentCipher::new(&key, &Header::of([2; SALT_AND_PREFIX_BYTES]), b"alice/cat.png")
}

#[divan::bench(args = SIZES)]
fn bare_sha256(bencher: Bencher, size: usize) {
    let text = vec![3; size];
    bencher
        .counter(BytesCount::new(size))
        .bench_local(|| Sha256::digest(black_box(&text)));
}

#[divan::bench(args = SIZES)]
fn bare_hmac(bencher: Bencher, size: usize) {
    let text = vec![3; size];
    let mac = Hmac::<Sha256>::new_from_slice(&[1; 32]).expect("HMAC takes keys of any length");
    bencher
        .counter(BytesCount::new(size))
        .bench_local(|| mac.clone().chain_update(black_box(&text)).finalize());
}

#[divan::bench(args = SIZES)]
fn seal(bencher: Bencher, size: usize) {
    let cipher = cipher();
    let mut buf = vec![3; size + TAG_BYTES];
    bencher
        .counter(BytesCount::new(size))
        .bench_local(|| cipher.seal(1, true, black_box(&mut buf)));
}

/// Two segments at once, as the server does with those that wait: twice the bytes.
#[divan::bench(args = SIZES)]
fn seal_two(bencher: Bencher, size: usize) {
    let cipher = cipher();
    let mut bufs = [vec![3; size + TAG_BYTES], vec![3; size + TAG_BYTES]];
    bencher.counter(BytesCount::new(2 * size)).bench_local(|| {
        let [one, two] = bufs.each_mut().map(|buf| Plain {
            cipher: &cipher,
            index: 1,
            last: true,
            buf: black_box(buf),
        });
        seal::seal_two(one, two);
    });
}

/// Opening undoes what sealing did, so every round has to seal again; only the opening is timed.
#[divan::bench(args = SIZES)]
fn open(bencher: Bencher, size: usize) {
    let cipher = cipher();
    let mut sealed = vec![3; size + TAG_BYTES];
    cipher.seal(1, true, &mut sealed);
    bencher
        .counter(BytesCount::new(size))
        .with_inputs(|| sealed.clone())
        .bench_local_refs(|buf| cipher.open(1, true, black_box(buf)).expect("sealed above"));
}

/// What each file costs before its first segment.
#[divan::bench]
fn derive_keys(bencher: Bencher) {
    let (key, header) = (Key::new([1; 32]), Header::of([2; SALT_AND_PREFIX_BYTES]));
    bencher.bench_local(|| SegmentCipher::new(black_box(&key), &header, b"alice/cat.png"));
}
