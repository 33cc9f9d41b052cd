//! Encrypts and authenticates one or two segments.
//!
//! SHA-256 is one long chain: each round waits for the one before, and the unit that computes it is idle for three
//! cycles of four. A second chain fits into the gaps: hashing a block of one segment after a block of another is faster
//! than one segment after the other (docs/measurements.md). A third chain adds nothing. The hash crates compute one
//! chain at a time, so the two meet here, in the compression function that `sha2` exports.
//!
//! HMAC is that of RFC 2104, SHA-256 that of FIPS 180-4. Opening goes through the `hmac` crate: whatever is sealed
//! wrongly here does not open there.

use aes::Aes256Enc;
use aes::cipher::{StreamCipher, StreamCipherCoreWrapper};
use ctr::CtrCore;
use ctr::flavors::Ctr32BE;
use sha2::block_api::compress256;
use zeroize::Zeroizing;

use crate::keyset::KEY_BYTES;

/// The IV of a segment, which its MAC begins with.
pub(super) const IV_BYTES: usize = 16;
/// What SHA-256 yields.
pub(super) const HASH_BYTES: usize = 32;
/// Bytes encrypted before they are hashed, a multiple of the blocks of AES and of SHA-256. The size makes little
/// difference here (docs/measurements.md); small pieces ask less of the caches of smaller processors.
pub(super) const PIECE_BYTES: usize = 8 * 1024;

/// The fastest of the counters (docs/measurements.md). It starts at 0 and a segment has 2^16 blocks, so 32 bits are
/// enough.
pub(super) type Keystream<'a> = StreamCipherCoreWrapper<CtrCore<&'a Aes256Enc, Ctr32BE>>;

/// FIPS 180-4 section 5.3.3.
const INITIAL: HashState = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];
const BLOCK_BYTES: usize = 64;
/// A block's last bytes, where the length of the message stands (FIPS 180-4 section 5.1.1).
const LENGTH_BYTES: usize = 8;
/// What of a segment completes the block that its IV begins.
const FIRST_BYTES: usize = BLOCK_BYTES - IV_BYTES;

type HashState = [u32; 8];

/// The key of HMAC-SHA256, as the two states that it starts from.
pub(super) struct MacKey {
    inner: Zeroizing<HashState>,
    outer: Zeroizing<HashState>,
}

impl MacKey {
    /// RFC 2104 section 2, for a key that is shorter than a block.
    pub(super) fn new(key: &[u8; KEY_BYTES]) -> MacKey {
        let start = |pad: u8| {
            let mut block = Zeroizing::new([pad; BLOCK_BYTES]);
            block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
            let mut state = Zeroizing::new(INITIAL);
            compress256(&mut state, &[*block]);
            state
        };
        MacKey {
            inner: start(0x36),
            outer: start(0x5c),
        }
    }
}

/// A segment on its way from plaintext to ciphertext and tag.
pub(super) struct Lane<'s> {
    key: &'s MacKey,
    keystream: Keystream<'s>,
    state: Zeroizing<HashState>,
    /// The MAC begins with it.
    iv: [u8; IV_BYTES],
    text: &'s mut [u8],
    tag: &'s mut [u8],
    /// Plaintext bytes that are encrypted and hashed.
    done: usize,
}

impl<'s> Lane<'s> {
    /// A segment of plaintext with room for its tag behind it.
    pub(super) fn new(
        key: &'s MacKey,
        keystream: Keystream<'s>,
        iv: [u8; IV_BYTES],
        buf: &'s mut [u8],
    ) -> Lane<'s> {
        let (text, tag) = buf.split_at_mut(buf.len() - HASH_BYTES);
        let mut lane = Lane {
            key,
            keystream,
            state: key.inner.clone(),
            iv,
            text,
            tag,
            done: 0,
        };
        if lane.text.len() >= FIRST_BYTES {
            lane.first_block();
        }
        lane
    }

    fn first_block(&mut self) {
        let first = &mut self.text[..FIRST_BYTES];
        self.keystream.apply_keystream(first);
        let mut block = [0; BLOCK_BYTES];
        block[..IV_BYTES].copy_from_slice(&self.iv);
        block[IV_BYTES..].copy_from_slice(first);
        compress256(&mut self.state, &[block]);
        self.done = FIRST_BYTES;
    }

    /// Whole blocks that are left, as far as they are taken at a time; in bytes.
    fn ready(&self) -> usize {
        if self.done == 0 {
            return 0;
        }
        let left = self.text.len() - self.done;
        (left - left % BLOCK_BYTES).min(PIECE_BYTES)
    }

    /// Encrypts the next `bytes`, whole blocks, and returns them with the state that they go into.
    fn encrypt(&mut self, bytes: usize) -> (&mut HashState, &[[u8; BLOCK_BYTES]]) {
        let piece = &mut self.text[self.done..self.done + bytes];
        self.done += bytes;
        self.keystream.apply_keystream(piece);
        (&mut self.state, piece.as_chunks().0)
    }

    /// Seals what is left.
    pub(super) fn run(mut self) {
        while self.ready() > 0 {
            let (state, blocks) = self.encrypt(self.ready());
            compress256(state, blocks);
        }
        self.finish();
    }

    fn finish(self) {
        let Lane {
            key,
            mut keystream,
            mut state,
            iv,
            text,
            tag,
            done,
        } = self;
        let whole = (BLOCK_BYTES + IV_BYTES + text.len()) as u64;
        let rest = &mut text[done..];
        keystream.apply_keystream(rest);
        // Nothing was hashed of a segment that is too short to complete the first block: then its IV is left as well.
        let iv = if done == 0 { &iv[..] } else { &[] };
        let mut last = [0; BLOCK_BYTES];
        last[..iv.len()].copy_from_slice(iv);
        last[iv.len()..iv.len() + rest.len()].copy_from_slice(rest);
        pad(&mut state, last, iv.len() + rest.len(), whole);
        let mut outer = key.outer.clone();
        let mut block = [0; BLOCK_BYTES];
        write_state(&state, &mut block);
        pad(&mut outer, block, HASH_BYTES, (BLOCK_BYTES + HASH_BYTES) as u64);
        write_state(&outer, tag);
    }
}

/// Seals two segments, block by block in turns for as long as both have some.
pub(super) fn run_two(mut one: Lane<'_>, mut two: Lane<'_>) {
    loop {
        let bytes = one.ready().min(two.ready());
        if bytes == 0 {
            break;
        }
        let ((first, ours), (second, theirs)) = (one.encrypt(bytes), two.encrypt(bytes));
        for (our, their) in ours.iter().zip(theirs) {
            compress256(first, std::slice::from_ref(our));
            compress256(second, std::slice::from_ref(their));
        }
    }
    one.run();
    two.run();
}

/// The end of a message of `message_bytes` in all, whose last `filled` bytes, less than a block, are in `block`.
fn pad(state: &mut HashState, mut block: [u8; BLOCK_BYTES], filled: usize, message_bytes: u64) {
    block[filled] = 0x80;
    if filled >= BLOCK_BYTES - LENGTH_BYTES {
        compress256(state, &[block]);
        block = [0; BLOCK_BYTES];
    }
    block[BLOCK_BYTES - LENGTH_BYTES..].copy_from_slice(&(8 * message_bytes).to_be_bytes());
    compress256(state, &[block]);
}

fn write_state(state: &HashState, out: &mut [u8]) {
    for (word, bytes) in state.iter().zip(out.chunks_exact_mut(4)) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
}
