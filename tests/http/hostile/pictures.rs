//! What is a PNG: every kind of damage is refused with its status, every valid kind comes back byte for byte.

use super::{Case, PUT, request};
use crate::support::cluster::TestCluster;
use crate::support::picture::{SIGNATURE, chunk, dot, ihdr, noise, png, sized};

/// Colour types and their bits per sample: PNG specification, section 11.2.1.
const LEGAL: [(u8, &[u8]); 5] = [
    (0, &[1, 2, 4, 8, 16]),
    (2, &[8, 16]),
    (3, &[1, 2, 4, 8]),
    (4, &[8, 16]),
    (6, &[8, 16]),
];

fn rgb() -> Vec<u8> {
    ihdr(10, 10, 8, 2, [0; 3])
}

fn idat() -> Vec<u8> {
    chunk(b"IDAT", &[7; 300])
}

fn iend() -> Vec<u8> {
    chunk(b"IEND", b"")
}

fn plte(colours: usize) -> Vec<u8> {
    chunk(b"PLTE", &vec![1; 3 * colours])
}

/// A chunk whose checksum is wrong.
fn false_chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let mut bytes = chunk(kind, data);
    *bytes.last_mut().unwrap() ^= 1;
    bytes
}

fn palette() -> Vec<u8> {
    ihdr(10, 10, 2, 3, [0; 3])
}

/// Images that are refused, with what is wrong and the status.
type Refused = Vec<(&'static str, &'static [u16], Vec<u8>)>;

/// What the first bytes tell.
fn no_png() -> Refused {
    let images: [(&str, &[u8]); 11] = [
        ("nothing", b""),
        ("a GIF", b"GIF89a\x01\0\x01\0\0\0\0;"),
        ("a JPEG", b"\xff\xd8\xff\xe0\0\x10JFIF\0"),
        ("a page", b"<!doctype html><script>alert(1)</script>"),
        ("a program", b"\x7fELF\x02\x01\x01"),
        ("an archive", b"PK\x03\x04"),
        ("zeros", &[0; 5000]),
        ("a PNG one byte late", b"\0\x89PNG\r\n\x1a\n"),
        ("a signature changed by text mode", b"\x89PNG\n\x1a\n"),
        ("part of a signature", &SIGNATURE[..7]),
        ("a MNG", b"\x8aMNG\r\n\x1a\n\0\0\0\x1cMHDR"),
    ];
    images
        .map(|(what, bytes)| match bytes {
            [] => (what, &[422][..], Vec::new()),
            _ => (what, &[415][..], bytes.to_vec()),
        })
        .into()
}

/// Chunks that are out of order, missing, repeated or false.
fn disordered() -> Refused {
    let text = || chunk(b"tEXt", b"Title\0cat");
    let false_ihdr = || false_chunk(b"IHDR", &rgb()[8..21]);
    let images: [(&str, Vec<Vec<u8>>); 24] = [
        ("only a signature", vec![]),
        ("no IHDR", vec![idat(), iend()]),
        ("no IDAT", vec![rgb(), iend()]),
        ("no IEND", vec![rgb(), idat()]),
        ("IHDR late", vec![text(), rgb(), idat(), iend()]),
        ("IHDR twice", vec![rgb(), rgb(), idat(), iend()]),
        ("IHDR after the pixels", vec![rgb(), idat(), rgb(), iend()]),
        ("IHDR too long", vec![chunk(b"IHDR", &[1; 14]), idat(), iend()]),
        ("IHDR too short", vec![chunk(b"IHDR", &[1; 12]), idat(), iend()]),
        ("IEND not empty", vec![rgb(), idat(), chunk(b"IEND", b"x")]),
        ("IEND twice", vec![rgb(), idat(), iend(), iend()]),
        ("IEND first", vec![rgb(), iend(), idat()]),
        ("pixels not together", vec![rgb(), idat(), text(), idat(), iend()]),
        ("a byte behind", vec![rgb(), idat(), iend(), b"\n".to_vec()]),
        (
            "an archive behind",
            vec![rgb(), idat(), iend(), b"PK\x03\x04".to_vec()],
        ),
        ("another image behind", vec![rgb(), idat(), iend(), dot()]),
        ("false checksum of IHDR", vec![false_ihdr(), idat(), iend()]),
        (
            "false checksum of IDAT",
            vec![rgb(), false_chunk(b"IDAT", &[7; 300]), iend()],
        ),
        (
            "false checksum of tEXt",
            vec![rgb(), false_chunk(b"tEXt", b"a\0b"), idat(), iend()],
        ),
        (
            "false checksum of IEND",
            vec![rgb(), idat(), false_chunk(b"IEND", b"")],
        ),
        (
            "an unknown critical chunk",
            vec![rgb(), chunk(b"ABCD", b"x"), idat(), iend()],
        ),
        (
            "a chunk type of digits",
            vec![rgb(), chunk(b"1234", b"x"), idat(), iend()],
        ),
        (
            "a chunk that claims 4 GiB",
            vec![rgb(), b"\xff\xff\xff\xfftEXtx".to_vec()],
        ),
        (
            "a chunk that claims 2 GiB",
            vec![rgb(), b"\x7f\xff\xff\xfftEXtx".to_vec()],
        ),
    ];
    images
        .map(|(what, chunks)| (what, &[422][..], png(&chunks)))
        .into()
}

/// Headers that describe no image, and palettes that fit none.
fn impossible() -> Refused {
    let sized = |width: u32, height: u32| vec![ihdr(width, height, 8, 2, [0; 3])];
    let method = |methods: [u8; 3]| vec![ihdr(10, 10, 8, 2, methods)];
    let grey = |colour: u8| vec![ihdr(10, 10, 8, colour, [0; 3]), plte(2)];
    let starts: [(&str, Vec<Vec<u8>>); 15] = [
        ("width 0", sized(0, 10)),
        ("height 0", sized(10, 0)),
        ("width over 31 bits", sized(1 << 31, 1)),
        ("height over 31 bits", sized(1, u32::MAX)),
        ("compression 1", method([1, 0, 0])),
        ("filter 1", method([0, 1, 0])),
        ("interlace 2", method([0, 0, 2])),
        ("no palette", vec![palette()]),
        ("an empty palette", vec![palette(), plte(0)]),
        ("a palette of 257", vec![rgb(), plte(257)]),
        ("more colours than 2 bits count", vec![palette(), plte(5)]),
        ("a third of a colour", vec![palette(), chunk(b"PLTE", &[1; 4])]),
        ("two palettes", vec![palette(), plte(2), plte(2)]),
        ("a palette for grey", grey(0)),
        ("a palette for grey and alpha", grey(4)),
    ];
    let whole = |start: Vec<Vec<u8>>| png(&[start, vec![idat(), iend()]].concat());
    let mut images: Refused = starts
        .map(|(what, start)| (what, &[422][..], whole(start)))
        .into();
    images.push(("a late palette", &[422], png(&[rgb(), idat(), plte(2), iend()])));
    images.push(("more pixels than may be", &[413], whole(sized(1 << 20, 1 << 20))));
    for colour in [0, 1, 2, 3, 4, 5, 6, 7, 255] {
        for depth in [0, 1, 2, 3, 4, 7, 8, 16, 32] {
            if !LEGAL
                .iter()
                .any(|(legal, depths)| *legal == colour && depths.contains(&depth))
            {
                let start = vec![ihdr(10, 10, depth, colour, [0; 3])];
                images.push(("no such colour type and depth", &[422], whole(start)));
            }
        }
    }
    images
}

fn cut_short() -> Refused {
    let image = noise(3, 3, 1);
    let ends = (SIGNATURE.len()..image.len()).step_by(3);
    ends.map(|end| ("an image cut short", &[422][..], image[..end].to_vec()))
        .collect()
}

fn broken() -> Refused {
    [no_png(), disordered(), impossible(), cut_short()].concat()
}

pub(super) fn broken_rows(host: &str) -> Vec<Case> {
    let mut rows = Vec::new();
    for (i, (what, accepted, image)) in broken().into_iter().enumerate() {
        let what = format!("{what} (image {i}, {} bytes)", image.len());
        let fields = format!("Content-Length: {}\r\n", image.len());
        // With a length that is right, everything was read: the connection goes on if the refusal came at the end.
        let fixed = request(PUT, host, &format!("{fields}Connection: close\r\n"), &image);
        rows.push(Case::closing(what.clone(), accepted, fixed));
        let size = format!("{:x}\r\n", image.len());
        let last = if image.is_empty() {
            "0\r\n\r\n"
        } else {
            "\r\n0\r\n\r\n"
        };
        let body = match image.is_empty() {
            true => last.as_bytes().to_vec(),
            false => [size.as_bytes(), &image, last.as_bytes()].concat(),
        };
        let chunked = request(
            PUT,
            host,
            "Transfer-Encoding: chunked\r\nConnection: close\r\n",
            &body,
        );
        rows.push(Case::closing(format!("{what}, chunked"), accepted, chunked));
    }
    rows
}

/// Every colour and depth that there is, in rows and interlaced.
fn colours() -> Vec<(String, Vec<u8>)> {
    let mut images = Vec::new();
    for (colour, depths) in LEGAL {
        for (depth, interlace) in depths.iter().flat_map(|depth| [(*depth, 0), (*depth, 1)]) {
            let mut chunks = vec![ihdr(9, 7, depth, colour, [0, 0, interlace])];
            if colour == 3 {
                chunks.extend([plte(2), chunk(b"tRNS", &[0])]);
            }
            chunks.extend([idat(), iend()]);
            let what = format!("colour {colour}, {depth} bits, interlace {interlace}");
            images.push((what, png(&chunks)));
        }
    }
    images
}

/// What else may be in an image.
fn structures() -> Vec<(String, Vec<u8>)> {
    let none = || chunk(b"IDAT", b"");
    let frame = |sequence: u8| chunk(b"fcTL", &[sequence; 26]);
    let more = |sequence: u8| chunk(b"fdAT", &[sequence; 40]);
    let play = || chunk(b"acTL", &[0; 8]);
    let (text, utf8) = (chunk(b"tEXt", b"a\0b"), chunk(b"iTXt", b"a\0\0\0\0\0b"));
    let (profile, density) = (chunk(b"iCCP", b"p\0\0x"), chunk(b"pHYs", &[0; 9]));
    let images: [(&str, Vec<Vec<u8>>); 6] = [
        (
            "many IDAT, some empty",
            vec![rgb(), none(), idat(), idat(), none(), iend()],
        ),
        ("a suggested palette", vec![rgb(), plte(256), idat(), iend()]),
        ("text on both sides", vec![rgb(), text, idat(), utf8, iend()]),
        (
            "an unknown chunk",
            vec![rgb(), chunk(b"quIc", &[9; 999]), idat(), iend()],
        ),
        (
            "an animation",
            vec![rgb(), play(), frame(0), idat(), frame(1), more(2), iend()],
        ),
        (
            "profile and density",
            vec![rgb(), profile, density, idat(), chunk(b"eXIf", b"MM\0*"), iend()],
        ),
    ];
    images
        .map(|(what, chunks)| (what.to_owned(), png(&chunks)))
        .into()
}

/// Every kind of image that the specification knows, and some that decoders have seen.
fn valid() -> Vec<(String, Vec<u8>)> {
    let drawn = [
        ("a dot", dot()),
        ("noise", noise(50, 40, 1)),
        ("a long unknown chunk", sized(3_000_000)),
    ];
    let drawn = drawn.map(|(what, image)| (what.to_owned(), image)).to_vec();
    [drawn, colours(), structures()].concat()
}

#[test]
fn every_valid_kind_comes_back_byte_for_byte() {
    let cluster = TestCluster::start(1);
    let node = cluster.node(1);
    for (i, (what, image)) in valid().into_iter().enumerate() {
        let target = format!("/images/alice/{i}.png");
        let answer = node.put(&target, &image);
        assert_eq!(answer.status, 201, "{what}: {}", answer.text());
        assert!(node.ask("GET", &target).body == image, "{what}");
    }
    assert_eq!(node.files().len(), valid().len());
}
