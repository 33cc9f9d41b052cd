//! The entries of the fuzz targets on a stable toolchain: random bytes, and the seeds with some of their bytes changed.

#[path = "../fuzz/entry.rs"]
mod entry;

use std::fs;
use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::{Strategy, any, proptest};
use proptest::sample::{Index, select};

/// One of the seeds of a target, some of its bytes overwritten, and perhaps cut.
fn mutated(target: &str) -> impl Strategy<Value = Vec<u8>> + use<> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/seeds")
        .join(target);
    let files = fs::read_dir(dir)
        .expect("every target has seeds")
        .map(|entry| entry.expect("readable").path());
    let mut seeds: Vec<Vec<u8>> = files.map(|path| fs::read(path).expect("readable")).collect();
    seeds.sort();
    let changes = vec((any::<Index>(), any::<u8>()), 0..4);
    (select(seeds), changes, any::<Index>(), any::<bool>()).prop_map(|(mut seed, changes, end, cut)| {
        for (at, byte) in changes {
            let at = at.index(seed.len());
            seed[at] = byte;
        }
        if cut {
            seed.truncate(end.index(seed.len()));
        }
        seed
    })
}

proptest! {
    #[test]
    fn image_holds_for_any_bytes(bytes in vec(any::<u8>(), 0..600), seed in mutated("image")) {
        entry::image(&bytes);
        entry::image(&seed);
    }

    #[test]
    fn keyset_holds_for_any_bytes(bytes in vec(any::<u8>(), 0..600), seed in mutated("keyset")) {
        entry::keyset(&bytes);
        entry::keyset(&seed);
    }

    #[test]
    fn open_sealed_holds_for_any_bytes(bytes in vec(any::<u8>(), 0..600), seed in mutated("open_sealed")) {
        entry::open_sealed(&bytes);
        entry::open_sealed(&seed);
    }

    #[test]
    fn datagram_holds_for_any_bytes(bytes in vec(any::<u8>(), 0..600), seed in mutated("datagram")) {
        entry::datagram(&bytes);
        entry::datagram(&seed);
    }

    #[test]
    fn http_head_holds_for_any_bytes(bytes in vec(any::<u8>(), 0..600), seed in mutated("http_head")) {
        entry::http_head(&bytes);
        entry::http_head(&seed);
    }

    #[test]
    fn http_body_holds_for_any_bytes(bytes in vec(any::<u8>(), 0..600), seed in mutated("http_body")) {
        entry::http_body(&bytes);
        entry::http_body(&seed);
    }

    #[test]
    fn tokens_hold_for_any_bytes(bytes in vec(any::<u8>(), 0..600), seed in mutated("tokens")) {
        entry::tokens(&bytes);
        entry::tokens(&seed);
    }

    #[test]
    fn ticket_holds_for_any_bytes(bytes in vec(any::<u8>(), 0..200), seed in mutated("ticket")) {
        entry::ticket(&bytes);
        entry::ticket(&seed);
    }
}

/// A seed that is refused at once leads the fuzzer nowhere.
#[test]
fn every_seed_of_a_datagram_is_one() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/datagram");
    for seed in fs::read_dir(folder).unwrap() {
        let path = seed.unwrap().path();
        assert!(entry::datagram(&fs::read(&path).unwrap()), "{}", path.display());
    }
}
