//! What cameras, phones, editors and servers really write, after public bug reports: `odd/`, and what each file is answered
//! in both modes. Lenient must take nothing that libpng refuses.

use std::fs;
use std::path::Path;

use pixseal::image::{self, Check, Error, Rules};
use proptest::prelude::{any, prop_assert, proptest};

use crate::support::picture::{chunk, ihdr, png};

fn check(rules: Rules, file: &[u8]) -> Result<(), image::Error> {
    let mut check = Check::new(1 << 20, rules);
    check.feed(file)?;
    check.finish()
}

const APPLE: &str = "it is in Apple's own variant (CgBI), which only Apple's devices open: save it as PNG";
const APART: &str = "the IDAT chunks are not together";
const CHECKSUM: &str = "a checksum of an ancillary chunk is wrong";

#[test]
fn files_of_bug_reports_get_their_answer() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/image/odd");
    let table = [
        ("trailing_nul", Error::Odd("bytes follow IEND"), Ok(())),
        ("trailing_crlf", Error::Odd("bytes follow IEND"), Ok(())),
        ("trailing_zeros_block", Error::Odd("bytes follow IEND"), Ok(())),
        (
            "trailing_old_png_acropalypse",
            Error::Odd("bytes follow IEND"),
            Ok(()),
        ),
        ("bad_crc_text", Error::Odd(CHECKSUM), Ok(())),
        ("bad_crc_iccp_zero", Error::Odd(CHECKSUM), Ok(())),
        ("gray_with_plte", Error::Odd("a grey image has no PLTE"), Ok(())),
        ("pal_4bit_plte17", Error::Odd("PLTE has a wrong length"), Ok(())),
        (
            "rgb_plte_after_idat",
            Error::Odd("PLTE stands behind IDAT"),
            Ok(()),
        ),
        ("iend_nonempty", Error::Odd("IEND is not empty"), Ok(())),
        ("no_iend", Error::Odd("IEND is missing"), Ok(())),
        ("zero_len_idat_gap_text", Error::Odd(APART), Ok(())),
        ("cgbi", Error::Broken(APPLE), Err(Error::Broken(APPLE))),
        ("idat_gap_text", Error::Broken(APART), Err(Error::Broken(APART))),
        ("empty", Error::Empty, Err(Error::Empty)),
        ("leading_newline", Error::NotPng, Err(Error::NotPng)),
        ("text_bom_leading", Error::NotPng, Err(Error::NotPng)),
        ("html_error_page", Error::NotPng, Err(Error::NotPng)),
    ];
    assert_eq!(fs::read_dir(&folder).unwrap().count(), table.len());
    for (name, strict, lenient) in table {
        let file = fs::read(folder.join(name).with_extension("png")).unwrap();
        assert_eq!(check(Rules::Strict, &file), Err(strict), "{name}");
        assert_eq!(check(Rules::Lenient, &file), lenient, "{name}");
    }
}

#[test]
fn what_decoders_cannot_open_is_refused_in_both_modes() {
    let rgb = || ihdr(10, 10, 8, 2, [0; 3]);
    let palette = || ihdr(10, 10, 2, 3, [0; 3]);
    let idat = || chunk(b"IDAT", &[7; 300]);
    let iend = || chunk(b"IEND", b"");
    let plte = |bytes| chunk(b"PLTE", &vec![1; bytes]);
    let wrong = |mut chunk: Vec<u8>| {
        *chunk.last_mut().unwrap() ^= 1;
        chunk
    };
    let rows: &[(&str, &[Vec<u8>])] = &[
        ("a wrong checksum of IDAT", &[rgb(), wrong(idat()), iend()]),
        ("a wrong checksum of IEND", &[rgb(), idat(), wrong(iend())]),
        (
            "a wrong checksum of PLTE",
            &[palette(), wrong(plte(6)), idat(), iend()],
        ),
        ("no IDAT and no IEND", &[rgb(), chunk(b"tEXt", b"a\0b")]),
        ("nothing behind IHDR", &[rgb()]),
        (
            "an indexed image whose palette comes late",
            &[palette(), idat(), plte(6), iend()],
        ),
        (
            "an indexed image with half a colour",
            &[palette(), plte(7), idat(), iend()],
        ),
        (
            "an indexed image with 257 colours",
            &[palette(), plte(771), idat(), iend()],
        ),
        ("a palette without colours", &[rgb(), plte(0), idat(), iend()]),
        ("two palettes", &[rgb(), plte(3), plte(3), idat(), iend()]),
        ("pixels apart", &[rgb(), idat(), plte(3), idat(), iend()]),
        (
            "an empty IDAT, text, and pixels",
            &[
                rgb(),
                chunk(b"IDAT", b""),
                chunk(b"tEXt", b"a\0b"),
                idat(),
                iend(),
            ],
        ),
        (
            "an unknown critical chunk",
            &[rgb(), chunk(b"QUIC", b""), idat(), iend()],
        ),
    ];
    for (what, chunks) in rows {
        let file = png(chunks);
        assert!(check(Rules::Strict, &file).is_err(), "{what}");
        let lenient = check(Rules::Lenient, &file);
        assert!(matches!(lenient, Err(Error::Broken(_))), "{what}: {lenient:?}");
    }
}

#[test]
fn an_image_cut_within_a_chunk_is_refused_in_both_modes() {
    let file = png(&[
        ihdr(10, 10, 8, 2, [0; 3]),
        chunk(b"IDAT", &[7; 300]),
        chunk(b"IEND", b""),
    ]);
    let behind_idat = file.len() - 12;
    for end in 1..file.len() {
        let answer = check(Rules::Lenient, &file[..end]);
        assert_eq!(answer.is_ok(), end == behind_idat, "cut to {end}: {answer:?}");
    }
}

proptest! {
    #[test]
    fn lenient_takes_what_strict_takes_and_what_is_odd_and_nothing_else(
        bytes in proptest::collection::vec(any::<u8>(), 0..40),
        at in 0..500_usize,
        removed in 0..30_usize,
    ) {
        let image = png(&[
            ihdr(10, 10, 2, 3, [0; 3]),
            chunk(b"PLTE", &[0; 6]),
            chunk(b"tEXt", b"a\0b"),
            chunk(b"IDAT", &[7; 30]),
            chunk(b"tIME", &[0; 7]),
            chunk(b"IEND", b""),
        ]);
        let (front, rest) = image.split_at(at.min(image.len()));
        let mixed = [front, &bytes, &rest[removed.min(rest.len())..]].concat();
        match (check(Rules::Strict, &mixed), check(Rules::Lenient, &mixed)) {
            (Ok(()), lenient) => prop_assert!(lenient.is_ok()),
            (Err(Error::Odd(_)), lenient) => prop_assert!(!matches!(lenient, Err(Error::Odd(_)))),
            (strict, lenient) => prop_assert!(strict == lenient, "{strict:?} {lenient:?}"),
        }
    }
}
