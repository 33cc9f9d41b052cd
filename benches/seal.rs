//! Sealing and opening, beside the two things they are made of.

use aes::Aes256Enc;
use ctr::Ctr32BE;
use ctr::cipher::{KeyIvInit, StreamCipher};
use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use ghash::GHash;
use ghash::universal_hash::UniversalHash;
use pixseal::keyset::Key;
use pixseal::seal::{Header, SALT_AND_PREFIX_BYTES, SEGMENT_BYTES, SegmentCipher, TAG_BYTES};

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
fn bare_ctr(bencher: Bencher, size: usize) {
    let mut text = vec![3; size];
    bencher
        .counter(BytesCount::new(size))
        .with_inputs(|| Ctr32BE::<Aes256Enc>::new(&[1; 32].into(), &[2; 16].into()))
        .bench_local_refs(|keystream| keystream.apply_keystream(black_box(&mut text)));
}

#[divan::bench(args = SIZES)]
fn bare_ghash(bencher: Bencher, size: usize) {
    let text = vec![3; size];
    let mac = GHash::new(&[1; 16].into());
    bencher.counter(BytesCount::new(size)).bench_local(|| {
        let mut mac = mac.clone();
        mac.update_padded(black_box(&text));
        mac.finalize()
    });
}

#[divan::bench(args = SIZES)]
fn seal(bencher: Bencher, size: usize) {
    let cipher = cipher();
    let mut buf = vec![3; size + TAG_BYTES];
    bencher
        .counter(BytesCount::new(size))
        .bench_local(|| cipher.seal(1, true, black_box(&mut buf)));
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
