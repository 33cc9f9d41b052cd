//! Bytes ↔ sealed segments: Tink's streaming AEAD `AES256_GCM_HKDF_1MB`, byte for byte, so that every Tink library opens
//! our files.
//!
//! ```text
//! file      28 · salt[32] · prefix[7] · segment 0 · segment 1 · … · last segment
//!           └────── header, 40 ─────┘
//! segment   ciphertext · tag[16]                    1,048,576 bytes; segment 0 has 40 less, the last may be shorter
//! key       HKDF-SHA256(key, salt, associated data) → AES-256 key[32]
//! nonce     prefix[7] · index[4] · last[1]          big-endian
//! segment   AES-256-GCM of the plaintext with this key and nonce, and no associated data
//! ```
//!
//! Header and first segment together are one MiB as well, so a file is a row of blocks of one MiB. Plaintext that
//! fills its segments exactly ends in a full one; no plaintext at all is one empty segment.
//!
//! A segment is bound to its file (salt), its owner (associated data), its place (index), and to being the last or
//! not: any change, exchange, loss or addition is the one error [`Error`]. Knows no files, no threads and draws no
//! random numbers. Segments do not depend on each other: a caller may seal several at once.
//!
//! GCM is AES in counter mode and GHASH over the ciphertext. The crates `ctr` and `ghash` do either; what is here puts them
//! together, in turns, so that one finds in the cache what the other has left there.
//!
//! GCM does not commit to its key: who holds two keys can make a segment that opens with both. Every key here is the
//! cluster's own, so nobody gains by it.
//!
//! Sources: Tink's page "Streaming AEAD", AES-GCM-HKDF; NIST SP 800-38D for GCM; Hoang, Reyhanitabar, Rogaway, Vizár (2015),
//! STREAM.

pub mod whole;

use std::fmt;

use aes::Aes256Enc;
use aes::cipher::{BlockCipherEncrypt, InnerIvInit, KeyInit, StreamCipher, StreamCipherCoreWrapper};
use ctr::CtrCore;
use ctr::flavors::Ctr32BE;
use ghash::GHash;
use ghash::universal_hash::UniversalHash;
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::keyset::{KEY_BYTES, Key};
use crate::version::{VERSION_BYTES, Version};

/// A sealed segment with its tag; in segment 0 the header is counted in.
pub const SEGMENT_BYTES: usize = 1 << 20;
/// The length of the header before segment 0.
pub const HEADER_BYTES: usize = HEADER_LENGTH as usize;
/// The length of the tag after the ciphertext of each segment.
pub const TAG_BYTES: usize = BLOCK_BYTES;
/// Salt and nonce prefix, which make a [`Header`] unique.
pub const SALT_AND_PREFIX_BYTES: usize = SALT_BYTES + PREFIX_BYTES;
/// The random bytes of a header that carries a version: the rest of the salt, and the nonce prefix.
pub const RANDOM_BYTES: usize = SALT_AND_PREFIX_BYTES - MARK.len() - VERSION_BYTES;
/// The longest plaintext whose segments 32 bits can count: nearly 4 PiB.
pub(crate) const PLAIN_BYTES_MAX: u64 = u32::MAX as u64 * PLAIN_SEGMENT - HEADER;

/// The first byte of every file.
const HEADER_LENGTH: u8 = 40;
const SALT_BYTES: usize = 32;
/// What a salt begins with if a version follows.
const MARK: [u8; 4] = *b"pxv1";
const PREFIX_BYTES: usize = 7;
/// A block of AES, and of GHASH.
const BLOCK_BYTES: usize = 16;
/// Bytes that are encrypted before they are hashed, or hashed before they are decrypted: whole blocks. The size makes little
/// difference here (docs/measurements.md); half of a usual innermost cache asks least of smaller processors.
const TURN_BYTES: usize = 16 * 1024;

const HEADER: u64 = HEADER_BYTES as u64;
const SEGMENT: u64 = SEGMENT_BYTES as u64;
const TAG: u64 = TAG_BYTES as u64;
const PLAIN_SEGMENT: u64 = SEGMENT - TAG;

/// A tag, a header or a length is wrong: the holder of the key did not write these bytes in this place. The error does
/// not say which of them, since an attacker would learn from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("forged, damaged, cut short, moved, or sealed with another key")
    }
}

impl std::error::Error for Error {}

/// The first [`HEADER_BYTES`] of a file. Not secret, and never used for two files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    salt: [u8; SALT_BYTES],
    prefix: [u8; PREFIX_BYTES],
}

impl Header {
    /// The header of a new file: the salt begins with the version of the write, which the tags then authenticate. Tink
    /// takes any salt. The other 16 bytes of it are `random`, and so is the nonce prefix.
    ///
    /// ```text
    /// salt   "pxv1" 4 · version 12 · random 16
    /// ```
    pub fn new(version: Version, random: [u8; RANDOM_BYTES]) -> Header {
        let mut bytes = [0; SALT_AND_PREFIX_BYTES];
        let (mark, rest) = bytes.split_at_mut(MARK.len());
        mark.copy_from_slice(&MARK);
        rest[..VERSION_BYTES].copy_from_slice(&version.encode());
        rest[VERSION_BYTES..].copy_from_slice(&random);
        Header::of(bytes)
    }

    /// The version of the write that the file is of. A file that something else has sealed is older than every version.
    pub fn version(&self) -> Version {
        let version = self.salt.strip_prefix(&MARK).and_then(|rest| rest.first_chunk());
        version.map_or(Version::default(), Version::decode)
    }

    /// Any salt, then the nonce prefix.
    pub fn of(salt_and_prefix: [u8; SALT_AND_PREFIX_BYTES]) -> Header {
        let (salt, prefix) = salt_and_prefix.split_at(SALT_BYTES);
        Header {
            salt: salt.try_into().expect("split there"),
            prefix: prefix.try_into().expect("the rest is the prefix"),
        }
    }

    /// Reads the first bytes of a file; the very first is the header's own length.
    pub fn parse(bytes: &[u8; HEADER_BYTES]) -> Result<Header, Error> {
        match bytes {
            [HEADER_LENGTH, rest @ ..] => Ok(Header::of(*rest)),
            _ => Err(Error),
        }
    }

    /// The first bytes of the file.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0] = HEADER_LENGTH;
        bytes[1..=SALT_BYTES].copy_from_slice(&self.salt);
        bytes[1 + SALT_BYTES..].copy_from_slice(&self.prefix);
        bytes
    }
}

/// Seals and opens the segments of one file, in any order and from any number of threads. Its key is derived once, and
/// wiped when it is dropped.
pub struct SegmentCipher {
    cipher: Aes256Enc,
    /// Keyed, and nothing hashed.
    mac: GHash,
    prefix: [u8; PREFIX_BYTES],
}

/// What one segment is encrypted with: the blocks of AES from the one on that belongs to the tag.
type Keystream<'a> = StreamCipherCoreWrapper<CtrCore<&'a Aes256Enc, Ctr32BE>>;

type Tag = [u8; TAG_BYTES];

impl SegmentCipher {
    /// Derives the key of the file with this `header`, which belongs to `associated_data` (`user/name`).
    pub fn new(key: &Key, header: &Header, associated_data: &[u8]) -> SegmentCipher {
        let mut derived = Zeroizing::new([0; KEY_BYTES]);
        Hkdf::<Sha256>::new(Some(&header.salt), key.material())
            .expand(associated_data, &mut *derived)
            .expect("HKDF yields up to 255 hashes, and this is one");
        let cipher = Aes256Enc::new_from_slice(&*derived).expect("a key of 32 bytes is AES-256");
        // SP 800-38D section 7.1, step 1: the hash key is the encrypted block of zeros.
        let mut hash_key = Zeroizing::new([0; BLOCK_BYTES]);
        cipher.encrypt_block((&mut *hash_key).into());
        SegmentCipher {
            mac: GHash::new((&*hash_key).into()),
            cipher,
            prefix: header.prefix,
        }
    }

    /// Tries each of `keys` on the segment in `buf`, as [`open`](SegmentCipher::open) does, and returns the cipher of
    /// the one that opened it, for the rest of the file.
    pub fn open_with_any_key<'k>(
        keys: impl Iterator<Item = &'k Key>,
        header: &Header,
        associated_data: &[u8],
        index: u32,
        last: bool,
        buf: &mut [u8],
    ) -> Result<SegmentCipher, Error> {
        for key in keys {
            let cipher = SegmentCipher::new(key, header, associated_data);
            if cipher.open(index, last, buf).is_ok() {
                return Ok(cipher);
            }
        }
        Err(Error)
    }

    /// Seals in place. `buf` is the plaintext of segment `index` and [`TAG_BYTES`] of room behind it.
    ///
    /// # Panics
    /// If `buf` has another length than such a segment has: what is sealed must be readable by others.
    pub fn seal(&self, index: u32, last: bool, buf: &mut [u8]) {
        assert!(
            fits(index, last, buf.len()),
            "{} bytes are no segment {index}",
            buf.len()
        );
        let (text, tag) = buf.split_at_mut(buf.len() - TAG_BYTES);
        let (mut keystream, mask) = self.keystream(index, last);
        let mut mac = self.mac.clone();
        for turn in text.chunks_mut(TURN_BYTES) {
            keystream.apply_keystream(turn);
            mac.update_padded(turn);
        }
        tag.copy_from_slice(&hide(finish(mac, text.len()).finalize().into(), mask));
    }

    /// Opens in place: the plaintext is `buf` without its last [`TAG_BYTES`]. The tag is compared in constant time; on an
    /// error `buf` is as it was.
    pub fn open(&self, index: u32, last: bool, buf: &mut [u8]) -> Result<(), Error> {
        if !fits(index, last, buf.len()) {
            return Err(Error);
        }
        let (text, tag) = buf.split_at_mut(buf.len() - TAG_BYTES);
        let (mut keystream, mask) = self.keystream(index, last);
        let mut mac = self.mac.clone();
        for turn in text.chunks_mut(TURN_BYTES) {
            mac.update_padded(turn);
            keystream.apply_keystream(turn);
        }
        let tag = Tag::try_from(&*tag).expect("split there");
        if finish(mac, text.len()).verify(&hide(tag, mask).into()).is_ok() {
            return Ok(());
        }
        // Nothing of what was not authentic stays: the same keystream once more gives back what came.
        self.keystream(index, last).0.apply_keystream(text);
        Err(Error)
    }

    /// What encrypts segment `index`, and the block before it, which hides the tag. 32 bits of counter are enough: a
    /// segment has 2^16 blocks.
    fn keystream(&self, index: u32, last: bool) -> (Keystream<'_>, Tag) {
        // SP 800-38D section 7.1, step 2: behind a nonce of 96 bits the counter begins with 1.
        let mut counter = [0; BLOCK_BYTES];
        counter[..PREFIX_BYTES].copy_from_slice(&self.prefix);
        counter[PREFIX_BYTES..][..4].copy_from_slice(&index.to_be_bytes());
        counter[PREFIX_BYTES + 4] = last.into();
        counter[BLOCK_BYTES - 1] = 1;
        let core = CtrCore::inner_iv_init(&self.cipher, (&counter).into());
        let mut keystream = Keystream::from_core(core);
        let mut mask = [0; TAG_BYTES];
        keystream.apply_keystream(&mut mask);
        (keystream, mask)
    }
}

/// What was hashed is all of the ciphertext, `text_bytes` of it. SP 800-38D section 7.1, step 5.
fn finish(mut mac: GHash, text_bytes: usize) -> GHash {
    let mut lengths = [0; BLOCK_BYTES];
    lengths[BLOCK_BYTES / 2..].copy_from_slice(&(8 * text_bytes as u64).to_be_bytes());
    mac.update(&[lengths.into()]);
    mac
}

/// A hash as the tag of a segment, or a tag as the hash. SP 800-38D section 7.1, step 6.
fn hide(tag: Tag, mask: Tag) -> Tag {
    std::array::from_fn(|i| tag[i] ^ mask[i])
}

/// The size of the file that `plain` bytes of plaintext make. Saturates, so that no claimed length wraps into a
/// small one; [`PLAIN_BYTES_MAX`] is the most that can be sealed.
pub fn sealed_bytes(plain: u64) -> u64 {
    let segments = plain.saturating_add(HEADER).div_ceil(PLAIN_SEGMENT);
    plain.saturating_add(HEADER).saturating_add(segments * TAG)
}

/// The bytes of plaintext in a file of `sealed` bytes; `None` if no sealed file has that size.
pub fn plain_bytes(sealed: u64) -> Option<u64> {
    let plain = sealed.checked_sub(HEADER + sealed.div_ceil(SEGMENT) * TAG)?;
    (plain <= PLAIN_BYTES_MAX && sealed_bytes(plain) == sealed).then_some(plain)
}

/// The most bytes of plaintext whose sealed file has at most `sealed` bytes; 0 if there are none.
pub fn plain_bytes_within(sealed: u64) -> u64 {
    let whole = sealed / SEGMENT * PLAIN_SEGMENT;
    let rest = (sealed % SEGMENT).saturating_sub(TAG);
    (whole + rest).saturating_sub(HEADER).min(PLAIN_BYTES_MAX)
}

/// How many segments hold `plain` bytes, at least one; the last of them has the index one below.
///
/// # Panics
/// Over [`PLAIN_BYTES_MAX`], which no file that [`plain_bytes`] knows comes from.
pub fn segments(plain: u64) -> u32 {
    let segments = plain.saturating_add(HEADER).div_ceil(PLAIN_SEGMENT);
    u32::try_from(segments).expect("at most PLAIN_BYTES_MAX")
}

/// The bytes of plaintext in segment `index` if it is full, as all but the last are.
pub fn segment_plain_bytes(index: u32) -> usize {
    segment_sealed_bytes(index) - TAG_BYTES
}

/// The segment that byte `offset` of the plaintext of a file is in.
///
/// # Panics
/// Over [`PLAIN_BYTES_MAX`].
pub(crate) fn segment_at(offset: u64) -> u32 {
    // Header and plaintext without the tags are a row of equal pieces, one to a segment.
    u32::try_from((offset + HEADER) / PLAIN_SEGMENT).expect("at most PLAIN_BYTES_MAX")
}

/// Where the plaintext of segment `index` begins in that of a file.
pub(crate) fn segment_start(index: u32) -> u64 {
    (u64::from(index) * PLAIN_SEGMENT).saturating_sub(HEADER)
}

fn segment_sealed_bytes(index: u32) -> usize {
    if index == 0 {
        SEGMENT_BYTES - HEADER_BYTES
    } else {
        SEGMENT_BYTES
    }
}

/// Whether segment `index` may have `sealed` bytes. Only the last may be short, and only the first may be empty.
fn fits(index: u32, last: bool, sealed: usize) -> bool {
    let full = segment_sealed_bytes(index);
    let least = if index == 0 { TAG_BYTES } else { TAG_BYTES + 1 };
    sealed == full || (last && (least..full).contains(&sealed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    const FIRST: usize = SEGMENT_BYTES - HEADER_BYTES - TAG_BYTES;
    const OTHER: usize = SEGMENT_BYTES - TAG_BYTES;
    const OWNER: &[u8] = b"alice/cat.png";

    fn cipher(key: u8) -> SegmentCipher {
        SegmentCipher::new(
            &Key::new([key; KEY_BYTES]),
            &Header::of([5; SALT_AND_PREFIX_BYTES]),
            OWNER,
        )
    }

    fn sealed(index: u32, last: bool, plain: &[u8]) -> Vec<u8> {
        let mut buf = [plain, &[0; TAG_BYTES]].concat();
        cipher(1).seal(index, last, &mut buf);
        buf
    }

    #[test]
    fn lengths_agree_at_every_border() {
        // plaintext, segments, index and offset of the byte behind its end
        for (plain, count, end) in [
            (0, 1, (0, 0)),
            (1, 1, (0, 1)),
            (FIRST - 1, 1, (0, FIRST - 1)),
            (FIRST, 1, (1, 0)),
            (FIRST + 1, 2, (1, 1)),
            (FIRST + OTHER - 1, 2, (1, OTHER - 1)),
            (FIRST + OTHER, 2, (2, 0)),
            (FIRST + OTHER + 1, 3, (2, 1)),
            (FIRST + 63 * OTHER, 64, (64, 0)),
        ] {
            let size = plain as u64;
            let file = HEADER_BYTES + plain + count * TAG_BYTES;
            assert_eq!(sealed_bytes(size), file as u64);
            assert_eq!(plain_bytes(file as u64), Some(size));
            assert_eq!(segments(size), u32::try_from(count).unwrap());
            let index = segment_at(size);
            assert_eq!((index, size - segment_start(index)), (end.0, end.1 as u64));
        }
        assert_eq!((segment_plain_bytes(0), segment_plain_bytes(1)), (FIRST, OTHER));
    }

    #[test]
    fn a_limit_of_sealed_bytes_is_used_to_the_full() {
        for limit in [
            0,
            1,
            55,
            56,
            57,
            SEGMENT - 1,
            SEGMENT,
            SEGMENT + 1,
            SEGMENT + TAG,
            SEGMENT + TAG + 1,
            5 * SEGMENT,
        ] {
            let plain = plain_bytes_within(limit);
            assert!(sealed_bytes(plain) <= limit || plain == 0, "{limit}");
            assert!(sealed_bytes(plain + 1) > limit, "{limit}");
        }
        assert_eq!(plain_bytes_within(u64::MAX), PLAIN_BYTES_MAX);
    }

    #[test]
    fn sizes_that_no_sealed_file_has_are_none() {
        for impossible in [
            0,
            39,
            40,
            55,
            SEGMENT + 1,
            SEGMENT + TAG,
            2 * SEGMENT + TAG,
            u64::MAX,
        ] {
            assert_eq!(plain_bytes(impossible), None, "{impossible}");
        }
        let most = sealed_bytes(PLAIN_BYTES_MAX);
        assert_eq!(most, SEGMENT * u64::from(u32::MAX));
        assert_eq!(plain_bytes(most), Some(PLAIN_BYTES_MAX));
        assert_eq!(segments(PLAIN_BYTES_MAX), u32::MAX);
        assert_eq!(plain_bytes(most + TAG + 1), None);
        assert_eq!(sealed_bytes(u64::MAX), u64::MAX);
    }

    #[test]
    fn a_header_reads_back_and_nothing_else_is_one() {
        let header = Header::of(std::array::from_fn(|i| i.to_le_bytes()[0]));
        let mut bytes = header.encode();
        assert_eq!(Header::parse(&bytes), Ok(header));
        bytes[0] ^= 1;
        assert_eq!(Header::parse(&bytes), Err(Error));
    }

    #[test]
    fn segments_of_every_border_size_come_back() {
        for (index, last, plain) in [
            (0, true, 0),
            (0, true, 1),
            (0, true, BLOCK_BYTES - 1),
            (0, true, BLOCK_BYTES),
            (0, true, BLOCK_BYTES + 1),
            (0, true, TURN_BYTES - 1),
            (0, true, TURN_BYTES),
            (0, true, TURN_BYTES + 1),
            (0, true, FIRST),
            (0, false, FIRST),
            (1, true, 1),
            (1, true, OTHER - 1),
            (1, true, OTHER),
            (u32::MAX, true, OTHER),
            (u32::MAX - 1, false, OTHER),
        ] {
            let text: Vec<u8> = (0..251).cycle().take(plain).collect();
            let mut buf = sealed(index, last, &text);
            cipher(1).open(index, last, &mut buf).unwrap();
            assert!(buf[..plain] == text[..], "segment {index} of {plain} bytes");
        }
    }

    #[test]
    fn segments_of_impossible_sizes_do_not_open() {
        for (index, last, size) in [
            (0, true, 0),
            (0, true, TAG_BYTES - 1),
            (0, false, TAG_BYTES),
            (0, true, FIRST + TAG_BYTES + 1),
            (1, true, TAG_BYTES),
            (1, false, SEGMENT_BYTES - 1),
            (1, true, SEGMENT_BYTES + 1),
        ] {
            assert_eq!(
                cipher(1).open(index, last, &mut vec![0; size]),
                Err(Error),
                "{size}"
            );
        }
    }

    #[test]
    fn an_empty_segment_behind_a_full_one_does_not_open_even_with_the_right_tag() {
        let cipher = cipher(1);
        for (index, expected) in [(0, Ok(())), (1, Err(Error))] {
            let hash = finish(cipher.mac.clone(), 0).finalize();
            let mut tag = hide(hash.into(), cipher.keystream(index, true).1);
            assert_eq!(cipher.open(index, true, &mut tag), expected);
        }
    }

    #[test]
    #[should_panic = "no segment 1"]
    fn a_short_segment_in_the_middle_is_never_sealed() {
        sealed(1, false, b"short");
    }

    #[test]
    fn every_flipped_byte_is_the_same_error_and_changes_nothing() {
        let whole = sealed(0, true, b"sixteen bytes...and some more");
        for i in 0..whole.len() {
            let mut bad = whole.clone();
            bad[i] ^= 1;
            let before = bad.clone();
            assert_eq!(cipher(1).open(0, true, &mut bad), Err(Error), "byte {i}");
            assert_eq!(bad, before);
        }
    }

    #[test]
    fn a_segment_opens_only_as_what_it_was_sealed() {
        let mut buf = sealed(1, true, &[3; OTHER]);
        assert_eq!(cipher(1).open(2, true, &mut buf), Err(Error));
        assert_eq!(cipher(1).open(1, false, &mut buf), Err(Error));
        assert_eq!(cipher(2).open(1, true, &mut buf), Err(Error));
        let key = Key::new([1; KEY_BYTES]);
        let moved = SegmentCipher::new(&key, &Header::of([5; SALT_AND_PREFIX_BYTES]), b"alice/dog.png");
        assert_eq!(moved.open(1, true, &mut buf), Err(Error));
        let other_file = SegmentCipher::new(&key, &Header::of([6; SALT_AND_PREFIX_BYTES]), OWNER);
        assert_eq!(other_file.open(1, true, &mut buf), Err(Error));
        assert_eq!(cipher(1).open(1, true, &mut buf), Ok(()));
    }

    #[test]
    fn whichever_key_fits_opens() {
        let keys = [3, 1, 2].map(|byte| Key::new([byte; KEY_BYTES]));
        let header = Header::of([5; SALT_AND_PREFIX_BYTES]);
        let mut buf = sealed(0, true, b"cat");
        assert!(
            SegmentCipher::open_with_any_key(keys[2..].iter(), &header, OWNER, 0, true, &mut buf).is_err()
        );
        let found = SegmentCipher::open_with_any_key(keys.iter(), &header, OWNER, 0, true, &mut buf).ok();
        assert_eq!(&buf[..3], b"cat");
        let mut next = sealed(1, true, b"dog");
        assert_eq!(found.expect("one fits").open(1, true, &mut next), Ok(()));
    }

    proptest! {
        #[test]
        fn lengths_of_any_size_agree(plain in 0..=PLAIN_BYTES_MAX) {
            let sealed = sealed_bytes(plain);
            prop_assert_eq!(plain_bytes(sealed), Some(plain));
            let index = segment_at(plain);
            let offset = plain - segment_start(index);
            prop_assert!(offset < segment_plain_bytes(index) as u64);
            let begin = (u64::from(index) * SEGMENT).max(HEADER);
            prop_assert_eq!(begin + offset, HEADER + plain + u64::from(index) * TAG);
        }

        #[test]
        fn a_size_is_possible_only_if_it_reads_back(sealed in any::<u64>()) {
            if let Some(plain) = plain_bytes(sealed) {
                prop_assert_eq!(sealed_bytes(plain), sealed);
            }
        }
    }

    #[test]
    fn a_header_carries_its_version() {
        let version = Version {
            time: crate::version::Time(0x0102_0304_0506_0708),
            node: crate::roster::NodeId(9),
        };
        let header = Header::new(version, [5; RANDOM_BYTES]);
        assert_eq!(header.version(), version);
        assert_eq!(Header::parse(&header.encode()), Ok(header));
        assert_eq!(
            header.encode()[..17],
            *b"\x28pxv1\x01\x02\x03\x04\x05\x06\x07\x08\0\0\0\x09"
        );
        assert_eq!(
            Header::of([5; SALT_AND_PREFIX_BYTES]).version(),
            Version::default()
        );
    }
}
