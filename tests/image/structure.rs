//! Which PNG structures the check accepts, item by item; what is in the pixels it never looks at.

use pixseal::image::{self, Check, Rules, SIGNATURE};
use proptest::prelude::{any, prop_assert_eq, proptest};

use crate::support::picture::{chunk, ihdr, png};

const PIXELS_MAX: u64 = 1_000_000;

fn rgb() -> Vec<u8> {
    ihdr(10, 10, 8, 2, [0; 3])
}

fn palette() -> Vec<u8> {
    ihdr(10, 10, 2, 3, [0; 3])
}

fn idat() -> Vec<u8> {
    chunk(b"IDAT", &[7; 300])
}

fn iend() -> Vec<u8> {
    chunk(b"IEND", b"")
}

fn check_in(pieces: usize, image: &[u8]) -> Result<(), image::Error> {
    check_by(Rules::Strict, pieces, image)
}

fn check_by(rules: Rules, pieces: usize, image: &[u8]) -> Result<(), image::Error> {
    let mut check = Check::new(PIXELS_MAX, rules);
    for piece in image.chunks(pieces) {
        check.feed(piece)?;
    }
    check.finish()
}

/// The answer, which is the same however the bytes are cut.
fn check(image: &[u8]) -> Result<(), image::Error> {
    let whole = check_in(usize::MAX, image);
    for pieces in [1, 2, 3, 7, 33, 64, 301] {
        assert_eq!(check_in(pieces, image), whole, "in pieces of {pieces}");
    }
    whole
}

#[test]
fn every_valid_structure_passes() {
    let text = || chunk(b"tEXt", b"Title\0cat");
    let plte = |colours: usize| chunk(b"PLTE", &vec![1; 3 * colours]);
    let frame = |sequence: u8| chunk(b"fcTL", &[sequence; 26]);
    let more = |sequence: u8| chunk(b"fdAT", &[sequence; 40]);
    let play = chunk(b"acTL", &[0; 8]);
    let none = chunk(b"IDAT", b"");
    let unknown = chunk(b"quIc", &[9; 999]);
    let reserved = chunk(b"zzzz", b"");
    let rows: &[(&str, &[Vec<u8>])] = &[
        ("the least", &[rgb(), idat(), iend()]),
        (
            "many IDAT, some empty",
            &[rgb(), none.clone(), idat(), idat(), none, iend()],
        ),
        ("palette", &[palette(), plte(4), idat(), iend()]),
        (
            "transparency",
            &[palette(), plte(1), chunk(b"tRNS", &[0]), idat(), iend()],
        ),
        ("suggested palette", &[rgb(), plte(256), idat(), iend()]),
        (
            "text on both sides",
            &[rgb(), text(), idat(), text(), text(), iend()],
        ),
        ("unknown ancillary", &[rgb(), unknown, idat(), reserved, iend()]),
        (
            "animation",
            &[
                rgb(),
                play,
                frame(0),
                idat(),
                idat(),
                frame(1),
                more(2),
                more(3),
                iend(),
            ],
        ),
    ];
    for (what, chunks) in rows {
        assert_eq!(check(&png(chunks)), Ok(()), "{what}");
    }
}

#[test]
fn exactly_the_colours_of_the_specification_pass() {
    let legal = [
        (0, &[1, 2, 4, 8, 16][..]),
        (2, &[8, 16]),
        (3, &[1, 2, 4, 8]),
        (4, &[8, 16]),
        (6, &[8, 16]),
    ];
    for colour in 0..=8 {
        for depth in 0..=33 {
            let expected = legal
                .iter()
                .any(|(c, depths)| *c == colour && depths.contains(&depth));
            let mut image = vec![ihdr(1, 1, depth, colour, [0, 0, 1]), idat(), iend()];
            if colour == 3 {
                image.insert(1, chunk(b"PLTE", &[0; 6]));
            }
            assert_eq!(
                check(&png(&image)).is_ok(),
                expected,
                "colour {colour} with {depth} bits"
            );
        }
    }
}

fn assert_broken(cases: &[(&str, &[Vec<u8>])]) {
    for (rule, chunks) in cases {
        match check(&png(chunks)) {
            Err(image::Error::Broken(told) | image::Error::Odd(told)) => {
                assert!(told.contains(rule), "{told:?} is not {rule:?}")
            }
            other => panic!("{rule:?} gave {other:?}"),
        }
    }
}

#[test]
fn broken_headers_are_told() {
    let text = chunk(b"tEXt", b"x");
    let methods = |methods| ihdr(1, 1, 8, 2, methods);
    assert_broken(&[
        ("too early", &[]),
        ("begin with IHDR", &[idat(), iend()]),
        ("begin with IHDR", &[text, rgb(), idat(), iend()]),
        ("begin with IHDR", &[chunk(b"IHDR", &[0; 14]), idat(), iend()]),
        ("IHDR is repeated", &[rgb(), rgb(), idat(), iend()]),
        ("width or height", &[ihdr(0, 1, 8, 2, [0; 3]), idat(), iend()]),
        ("width or height", &[ihdr(1, 0, 8, 2, [0; 3]), idat(), iend()]),
        ("width or height", &[ihdr(1 << 31, 1, 8, 2, [0; 3])]),
        ("width or height", &[ihdr(1, 1 << 31, 8, 2, [0; 3])]),
        ("colour type and bit depth", &[ihdr(1, 1, 8, 5, [0; 3])]),
        ("interlace method", &[methods([1, 0, 0])]),
        ("interlace method", &[methods([0, 1, 0])]),
        ("interlace method", &[methods([0, 0, 2])]),
    ]);
}

#[test]
fn broken_palettes_are_told() {
    let grey = |colour| ihdr(1, 1, 8, colour, [0; 3]);
    let plte = |bytes| chunk(b"PLTE", &vec![1; bytes]);
    assert_broken(&[
        ("PLTE is missing", &[palette(), idat(), iend()]),
        ("PLTE is repeated", &[palette(), plte(6), plte(6), idat(), iend()]),
        ("PLTE stands behind IDAT", &[rgb(), idat(), plte(6), iend()]),
        ("grey image has no PLTE", &[grey(0), plte(6), idat(), iend()]),
        ("grey image has no PLTE", &[grey(4), plte(6), idat(), iend()]),
        ("PLTE has a wrong length", &[palette(), plte(0), idat(), iend()]),
        ("PLTE has a wrong length", &[palette(), plte(7), idat(), iend()]),
        ("PLTE has a wrong length", &[palette(), plte(15), idat(), iend()]),
        ("PLTE has a wrong length", &[rgb(), plte(771), idat(), iend()]),
    ]);
}

#[test]
fn broken_rows_of_chunks_are_told() {
    let text = || chunk(b"tEXt", b"x");
    let long = [&0x8000_0000_u32.to_be_bytes()[..], b"IDAT"].concat();
    assert_broken(&[
        ("bytes follow IEND", &[rgb(), idat(), iend(), iend()]),
        ("bytes follow IEND", &[rgb(), idat(), iend(), vec![0]]),
        ("IDAT is missing", &[rgb(), iend()]),
        ("IEND is missing", &[rgb(), idat()]),
        ("IEND is not empty", &[rgb(), idat(), chunk(b"IEND", b"x")]),
        ("not together", &[rgb(), idat(), text(), idat(), iend()]),
        (
            "not together",
            &[rgb(), idat(), chunk(b"fdAT", b"1234"), idat(), iend()],
        ),
        (
            "critical chunk is unknown",
            &[rgb(), chunk(b"QUIC", b""), idat(), iend()],
        ),
        (
            "critical chunk is unknown",
            &[rgb(), idat(), chunk(b"Idat", b""), iend()],
        ),
        ("not four letters", &[rgb(), chunk(b"te t", b""), idat(), iend()]),
        (
            "not four letters",
            &[rgb(), chunk(b"\0\0\0\0", b""), idat(), iend()],
        ),
        ("2147483647 bytes", &[rgb(), long]),
    ]);
}

#[test]
fn what_does_not_begin_as_a_png_is_refused_at_its_first_wrong_byte() {
    for (wrong, bytes) in [
        (1, &b"\xff\xd8\xff\xe0"[..]),
        (1, b"GIF89a"),
        (5, b"\x89PNG\n\n\x1a\n"),
        (1, b"<html>"),
    ] {
        let mut check = Check::new(PIXELS_MAX, Rules::Strict);
        assert_eq!(check.feed(&bytes[..wrong - 1]), Ok(()));
        assert_eq!(check.feed(&bytes[wrong - 1..wrong]), Err(image::Error::NotPng));
        assert_eq!(check.finish(), Err(image::Error::NotPng));
    }
    for short in 1..SIGNATURE.len() {
        assert_eq!(check(&SIGNATURE[..short]), Err(image::Error::NotPng));
    }
    assert_eq!(check(&[]), Err(image::Error::Empty));
}

#[test]
fn an_image_cut_anywhere_is_broken() {
    let image = png(&[
        palette(),
        chunk(b"PLTE", &[0; 3]),
        idat(),
        chunk(b"tIME", &[0; 7]),
        iend(),
    ]);
    assert_eq!(check(&image), Ok(()));
    let between_chunks = [12 + 7 + 12, 12].map(|behind| image.len() - behind);
    for end in SIGNATURE.len()..image.len() {
        let expected = match between_chunks.contains(&end) {
            true => image::Error::Odd("IEND is missing"),
            false => image::Error::Broken("it ends too early"),
        };
        assert_eq!(check_in(usize::MAX, &image[..end]), Err(expected), "cut to {end}");
    }
}

#[test]
fn every_flipped_byte_is_seen() {
    let image = png(&[rgb(), chunk(b"tEXt", b"a\0b"), idat(), iend()]);
    for at in 0..image.len() {
        for bit in 0..8 {
            let mut bad = image.clone();
            bad[at] ^= 1 << bit;
            assert!(check_in(usize::MAX, &bad).is_err(), "bit {bit} of byte {at}");
        }
    }
}

#[test]
fn more_pixels_than_allowed_are_refused_by_their_header_alone() {
    let head = |width, height| png(&[ihdr(width, height, 8, 6, [0; 3])]);
    assert_eq!(
        Check::new(PIXELS_MAX, Rules::Strict).feed(&head(1000, 1000)),
        Ok(())
    );
    for (width, height) in [(1000, 1001), (0x7fff_ffff, 0x7fff_ffff), (1_000_001, 1)] {
        let pixels = u64::from(width) * u64::from(height);
        let refusal = Err(image::Error::TooManyPixels {
            pixels,
            pixels_max: PIXELS_MAX,
        });
        assert_eq!(check(&head(width, height)), refusal);
    }
}

#[test]
fn a_refusal_is_final() {
    let mut check = Check::new(PIXELS_MAX, Rules::Strict);
    let mut image = png(&[rgb(), idat(), iend()]);
    image.push(0);
    let refusal = check.feed(&image);
    assert_eq!(refusal, Err(image::Error::Odd("bytes follow IEND")));
    assert_eq!((check.feed(b""), check.finish()), (refusal, refusal));
}

proptest! {
    #[test]
    fn any_bytes_get_one_answer_however_they_are_cut(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        at in 0..400_usize,
        pieces in 1..50_usize,
    ) {
        let image = png(&[rgb(), chunk(b"tEXt", b"a\0b"), idat(), iend()]);
        let kept = &image[..at.min(image.len())];
        let mixed = [kept, &bytes, &image[kept.len()..]].concat();
        for rules in [Rules::Strict, Rules::Lenient] {
            prop_assert_eq!(check_by(rules, pieces, &mixed), check_by(rules, usize::MAX, &mixed));
        }
    }
}
