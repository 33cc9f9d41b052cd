//! Files that the real Tink sealed, frozen in `../vectors/`: given their header we write the same bytes, and we open
//! what we wrote; then every way to damage a file is the same error.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod interop;

use pixseal::keyset::Keyset;
use pixseal::seal::whole;
use pixseal::seal::{self, HEADER_BYTES, Header, SEGMENT_BYTES, SegmentCipher, TAG_BYTES};
use serde_json::Value;
use sha2::{Digest, Sha256};

const VECTORS: &str = include_str!("../vectors/tink_aes256_gcm_hkdf_1mb.json");
/// The keyset of the vectors after a rotation, and a file that its new primary sealed.
const ROTATED: &str = include_str!("../vectors/tink_rotated_keyset.json");

/// The plaintext that the vectors state, and `with_tink.py` too: byte i = (i*131 + (i>>8)*17 + 7) mod 256.
fn plaintext(bytes: u64) -> Vec<u8> {
    (0..bytes)
        .map(|i| (i * 131 + (i >> 8) * 17 + 7).to_le_bytes()[0])
        .collect()
}

fn unhex(text: &Value) -> Vec<u8> {
    let digits = text.as_str().unwrap().as_bytes();
    let pairs = digits.chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn keyset(json: &Value) -> Keyset {
    Keyset::parse(&json.to_string()).unwrap()
}

fn seal_file(keyset: &Keyset, header: &Header, owner: &[u8], mut plain: &[u8]) -> Vec<u8> {
    let cipher = SegmentCipher::new(keyset.primary(), header, owner);
    let mut file = header.encode().to_vec();
    let count = seal::segments(plain.len() as u64);
    for index in 0..count {
        let (text, rest) = plain.split_at(plain.len().min(seal::segment_plain_bytes(index)));
        let mut buf = [text, &[0; TAG_BYTES]].concat();
        cipher.seal(index, index + 1 == count, &mut buf);
        file.extend(buf);
        plain = rest;
    }
    file
}

fn open_file(keyset: &Keyset, owner: &[u8], file: &[u8]) -> Result<Vec<u8>, seal::Error> {
    let plain_bytes = seal::plain_bytes(file.len() as u64).ok_or(seal::Error)?;
    let header = Header::parse(file.first_chunk().ok_or(seal::Error)?)?;
    let last = seal::segments(plain_bytes) - 1;
    let mut plain = Vec::new();
    let mut cipher = None;
    for (index, block) in (0..=last).zip(file.chunks(SEGMENT_BYTES)) {
        let mut buf = block[if index == 0 { HEADER_BYTES } else { 0 }..].to_vec();
        match &cipher {
            None => {
                let keys = keyset.enabled();
                cipher = Some(SegmentCipher::open_with_any_key(
                    keys,
                    &header,
                    owner,
                    index,
                    index == last,
                    &mut buf,
                )?);
            }
            Some(cipher) => SegmentCipher::open(cipher, index, index == last, &mut buf)?,
        }
        plain.extend(&buf[..buf.len() - TAG_BYTES]);
    }
    Ok(plain)
}

/// What [`open_file`] says, after making sure that reading the file as a stream gives the same answer.
fn open_both_ways(keyset: &Keyset, owner: &[u8], file: &[u8]) -> Result<Vec<u8>, seal::Error> {
    let mut streamed = Vec::new();
    let outcome = whole::open(keyset, owner, &mut &file[..], &mut streamed);
    let opened = open_file(keyset, owner, file);
    match &opened {
        Ok(plain) => assert!(outcome.unwrap() == plain.len() as u64 && streamed == *plain),
        Err(seal::Error) => assert!(matches!(outcome, Err(whole::Error::Forged))),
    }
    opened
}

fn check_case(keyset: &Keyset, case: &Value) {
    let owner = case["associated_data"].as_str().unwrap().as_bytes();
    let plain = plaintext(case["plaintext_bytes"].as_u64().unwrap());
    let header: [u8; HEADER_BYTES] = unhex(&case["header_hex"]).try_into().unwrap();
    let header = Header::parse(&header).unwrap();
    let file = seal_file(keyset, &header, owner, &plain);
    assert_eq!(Some(file.len() as u64), case["sealed_bytes"].as_u64());
    assert_eq!(seal::sealed_bytes(plain.len() as u64), file.len() as u64);
    assert_eq!(
        Some(hex(&Sha256::digest(&file)).as_str()),
        case["sealed_sha256"].as_str()
    );
    if let Some(sealed) = case["sealed_hex"].as_str() {
        assert_eq!(hex(&file), sealed);
    }
    assert!(open_both_ways(keyset, owner, &file).unwrap() == plain);
}

#[test]
fn every_frozen_tink_file_is_written_byte_for_byte_and_opens() {
    let vectors: Value = serde_json::from_str(VECTORS).unwrap();
    let keyset = keyset(&vectors["keyset"]);
    let cases = vectors["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 14);
    for case in cases {
        check_case(&keyset, case);
    }
}

#[test]
fn a_file_opens_with_every_enabled_key_of_a_rotated_keyset() {
    let vectors: Value = serde_json::from_str(VECTORS).unwrap();
    let after: Value = serde_json::from_str(ROTATED).unwrap();
    let case = &after["case"];
    let owner = case["associated_data"].as_str().unwrap().as_bytes();
    let file = unhex(&case["sealed_hex"]);
    let rotated = keyset(&after["keyset"]);
    let plain = plaintext(case["plaintext_bytes"].as_u64().unwrap());
    assert!(open_both_ways(&rotated, owner, &file) == Ok(plain.clone()));

    let before = keyset(&vectors["keyset"]);
    let old = seal_file(
        &before,
        &Header::of([1; seal::SALT_AND_PREFIX_BYTES]),
        owner,
        &plain,
    );
    assert!(open_both_ways(&rotated, owner, &old) == Ok(plain.clone()));
    let new = seal_file(
        &rotated,
        &Header::of([1; seal::SALT_AND_PREFIX_BYTES]),
        owner,
        &plain,
    );
    assert!(open_both_ways(&before, owner, &new) == Err(seal::Error));
}

/// A file of two and a bit segments, its keyset and its owner.
fn sample() -> (Keyset, &'static [u8], Vec<u8>) {
    let vectors: Value = serde_json::from_str(VECTORS).unwrap();
    let keyset = keyset(&vectors["keyset"]);
    let plain = plaintext(2 * SEGMENT_BYTES as u64 + 77);
    let file = seal_file(
        &keyset,
        &Header::of([9; seal::SALT_AND_PREFIX_BYTES]),
        b"alice/cat.png",
        &plain,
    );
    (keyset, b"alice/cat.png", file)
}

#[test]
fn every_byte_of_a_small_file_is_protected() {
    let (keyset, owner, _) = sample();
    let file = seal_file(
        &keyset,
        &Header::of([2; seal::SALT_AND_PREFIX_BYTES]),
        owner,
        &plaintext(100),
    );
    for i in 0..file.len() {
        for bit in [0x01, 0x80] {
            let mut bad = file.clone();
            bad[i] ^= bit;
            assert_eq!(open_both_ways(&keyset, owner, &bad), Err(seal::Error), "byte {i}");
        }
        assert_eq!(
            open_both_ways(&keyset, owner, &file[..i]),
            Err(seal::Error),
            "cut to {i}"
        );
    }
}

#[test]
fn flipped_bytes_all_over_a_large_file_are_seen() {
    let (keyset, owner, file) = sample();
    let step = file.len() / 11;
    for i in (0..file.len())
        .step_by(step)
        .chain([SEGMENT_BYTES - 1, SEGMENT_BYTES, file.len() - 1])
    {
        let mut bad = file.clone();
        bad[i] ^= 4;
        assert_eq!(open_both_ways(&keyset, owner, &bad), Err(seal::Error), "byte {i}");
    }
}

#[test]
fn a_large_file_cannot_be_cut_grown_or_shuffled() {
    let (keyset, owner, file) = sample();
    let blocks: Vec<&[u8]> = file.chunks(SEGMENT_BYTES).collect();
    let (first, middle, last) = (blocks[0], blocks[1], blocks[2]);
    for (what, bad) in [
        ("one byte less", file[..file.len() - 1].to_vec()),
        ("without the last segment", [first, middle].concat()),
        ("the first segment alone", first.to_vec()),
        ("nothing", Vec::new()),
        ("one byte more", [&file[..], &[0]].concat()),
        (
            "a segment's worth of zeros more",
            [&file[..], &[0; SEGMENT_BYTES]].concat(),
        ),
        ("the last segment twice", [&file[..], last].concat()),
        ("a middle segment twice", [first, middle, middle, last].concat()),
        ("without the middle", [first, last].concat()),
        (
            "header and first segment as a whole file",
            first[..first.len() - 1].to_vec(),
        ),
    ] {
        assert_eq!(open_both_ways(&keyset, owner, &bad), Err(seal::Error), "{what}");
    }
    assert!(open_both_ways(&keyset, b"alice/dog.png", &file).is_err());
    assert!(open_both_ways(&keyset, b"", &file).is_err());
    assert!(open_both_ways(&keyset, owner, &file).is_ok());
}

#[test]
fn segments_of_two_files_cannot_be_mixed() {
    let (keyset, owner, file) = sample();
    let other = Header::of([8; seal::SALT_AND_PREFIX_BYTES]);
    let other = seal_file(&keyset, &other, owner, &plaintext(2 * SEGMENT_BYTES as u64 + 77));
    let mixed = [&file[..SEGMENT_BYTES], &other[SEGMENT_BYTES..]].concat();
    assert_eq!(open_both_ways(&keyset, owner, &mixed), Err(seal::Error));
    let swapped = [
        &file[..SEGMENT_BYTES],
        &file[2 * SEGMENT_BYTES..],
        &file[SEGMENT_BYTES..2 * SEGMENT_BYTES],
    ];
    assert_eq!(
        open_both_ways(&keyset, owner, &swapped.concat()),
        Err(seal::Error)
    );
}
