//! The picture of one write: small, valid, and like no other picture of its name, also in its length, so that an entry of
//! a list tells which write it shows.

use std::sync::LazyLock;

use crate::support::picture;

/// Longer than the dot and the head of the chunk that fills the rest.
const BYTES_MIN: usize = 200;

static DOT: LazyLock<Vec<u8>> = LazyLock::new(picture::dot);

/// The length of the picture of write `write` of any name.
pub(crate) fn length(write: u32) -> u64 {
    BYTES_MIN as u64 + u64::from(write)
}

/// Which write has a picture of `length` bytes.
pub(crate) fn write_of(length: u64) -> Option<u32> {
    u32::try_from(length.checked_sub(BYTES_MIN as u64)?).ok()
}

/// The picture of write `write` of `name`.
pub(crate) fn paint(name: &str, write: u32) -> Vec<u8> {
    let (before, end) = DOT.split_at(DOT.len() - picture::chunk(b"IEND", b"").len());
    let length = usize::try_from(length(write)).unwrap();
    let mut filling = format!("{name} {write} ").into_bytes();
    filling.resize(length - DOT.len() - picture::chunk(b"fiLl", b"").len(), b'.');
    [before, &picture::chunk(b"fiLl", &filling), end].concat()
}

#[test]
fn every_write_has_a_length_of_its_own() {
    for write in [0, 1, 500] {
        let picture = paint(&"n".repeat(60), write);
        assert_eq!(write_of(picture.len() as u64), Some(write));
        assert!(
            png::Decoder::new(std::io::Cursor::new(picture))
                .read_info()
                .is_ok()
        );
    }
    assert_ne!(paint("a", 7), paint("b", 7));
    assert_eq!(write_of(3), None);
}
