//! The png crate as a referee: whatever it decodes without an error, we accept, on thousands of generated and
//! mutated images. Where we are stricter than the referee is listed below, rule by rule.

use std::collections::BTreeMap;
use std::io::Cursor;

use pixseal::image::{self, Check, Rules};

use crate::support::picture;
use crate::support::random::Random;

const IMAGES: u64 = 2_000;
const PIXELS_MAX: u64 = 1_000_000;

/// What the referee lets pass and the specification forbids.
const STRICTER: [&str; 6] = [
    // It stops reading at IEND.
    "bytes follow IEND",
    // It takes a palette for a matter of the pixels, and looks at no more than whether there are two.
    "a grey image has no PLTE",
    "PLTE stands behind IDAT",
    "PLTE has a wrong length",
    // It misses a palette only when it is asked to expand the pixels.
    "PLTE is missing",
    // It skips what it does not know, if the first letter is a small one, or no letter at all.
    "the type of a chunk is not four letters",
];

#[derive(Clone)]
struct Chunk {
    kind: [u8; 4],
    data: Vec<u8>,
}

fn chunk(kind: &[u8; 4], data: impl Into<Vec<u8>>) -> Chunk {
    Chunk {
        kind: *kind,
        data: data.into(),
    }
}

fn encode(chunks: &[Chunk]) -> Vec<u8> {
    let encoded: Vec<Vec<u8>> = chunks
        .iter()
        .map(|chunk| picture::chunk(&chunk.kind, &chunk.data))
        .collect();
    picture::png(&encoded)
}

/// zlib (RFC 1950) in stored blocks (RFC 1951, section 3.2.4).
fn stored(bytes: &[u8]) -> Vec<u8> {
    let mut zlib = vec![0x78, 0x01];
    let mut blocks = bytes.chunks(1000).peekable();
    while let Some(block) = blocks.next() {
        let length = u16::try_from(block.len()).unwrap();
        zlib.push(u8::from(blocks.peek().is_none()));
        zlib.extend([length.to_le_bytes(), (!length).to_le_bytes()].concat());
        zlib.extend(block);
    }
    let (mut a, mut b) = (1_u32, 0_u32);
    for byte in bytes {
        a = (a + u32::from(*byte)) % 65_521;
        b = (b + a) % 65_521;
    }
    zlib.extend(((b << 16) | a).to_be_bytes());
    zlib
}

/// Column and row where each pass begins, and the steps between its pixels (PNG, section 8).
const ADAM7: [[usize; 4]; 7] = [
    [0, 0, 8, 8],
    [4, 0, 8, 8],
    [0, 4, 4, 8],
    [2, 0, 4, 4],
    [0, 2, 2, 4],
    [1, 0, 2, 2],
    [0, 1, 1, 2],
];

struct Format {
    width: usize,
    height: usize,
    depth: u8,
    colour: u8,
    interlaced: bool,
}

impl Format {
    fn any(random: &mut Random) -> Format {
        let formats = [
            (0, 1),
            (0, 2),
            (0, 4),
            (0, 8),
            (0, 16),
            (2, 8),
            (2, 16),
            (3, 1),
            (3, 2),
            (3, 4),
            (3, 8),
            (4, 8),
            (4, 16),
            (6, 8),
            (6, 16),
        ];
        let (colour, depth) = formats[random.below(formats.len())];
        let (width, height) = (1 + random.below(20), 1 + random.below(20));
        Format {
            width,
            height,
            depth,
            colour,
            interlaced: random.once_in(2),
        }
    }

    fn header(&self) -> Chunk {
        let sizes = [self.width, self.height].map(|size| u32::try_from(size).unwrap().to_be_bytes());
        let rest = [self.depth, self.colour, 0, 0, u8::from(self.interlaced)];
        chunk(b"IHDR", [&sizes.concat()[..], &rest].concat())
    }

    /// Noise in rows of every filter type.
    fn pixels(&self, random: &mut Random) -> Vec<u8> {
        let samples = [1, 0, 3, 1, 2, 0, 4][usize::from(self.colour)];
        let bits = samples * usize::from(self.depth);
        let passes = if self.interlaced {
            &ADAM7[..]
        } else {
            &[[0, 0, 1, 1]]
        };
        let mut bytes = Vec::new();
        for [x, y, dx, dy] in passes {
            let width = self.width.saturating_sub(*x).div_ceil(*dx);
            let height = self.height.saturating_sub(*y).div_ceil(*dy);
            for _ in 0..if width == 0 { 0 } else { height } {
                bytes.push(random.byte() % 5);
                bytes.extend((0..(width * bits).div_ceil(8)).map(|_| random.byte()));
            }
        }
        bytes
    }

    fn palette(&self, random: &mut Random) -> Vec<Chunk> {
        match self.colour {
            3 => vec![chunk(b"PLTE", vec![random.byte(); 3 << self.depth])],
            2 | 6 if random.once_in(3) => {
                vec![chunk(b"PLTE", vec![random.byte(); 3 * (1 + random.below(256))])]
            }
            _ => Vec::new(),
        }
    }

    fn transparency(&self) -> Option<Chunk> {
        let bytes = [2, 0, 6, 1, 0, 0, 0][usize::from(self.colour)];
        (bytes > 0).then(|| chunk(b"tRNS", vec![0; bytes]))
    }
}

/// A frame control chunk (APNG): sequence, size of the whole image, no offset, a delay of 1/10 s.
fn frame_control(format: &Format, sequence: u32) -> Chunk {
    let sizes = [format.width, format.height].map(|size| u32::try_from(size).unwrap().to_be_bytes());
    let rest = [0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 10, 0, 0];
    chunk(
        b"fcTL",
        [&sequence.to_be_bytes()[..], &sizes.concat(), &rest].concat(),
    )
}

fn any_ancillary(random: &mut Random) -> Chunk {
    match random.below(5) {
        0 => chunk(b"tEXt", b"Title\0a cat"),
        1 => chunk(b"gAMA", 45_455_u32.to_be_bytes()),
        2 => chunk(b"quIc", vec![random.byte(); random.below(100)]),
        3 => chunk(b"zzzz", b""),
        _ => chunk(b"tIME", [7, 234, 11, 22, 19, 46, 31]),
    }
}

fn any_image(random: &mut Random) -> Vec<Chunk> {
    let format = Format::any(random);
    let mut chunks = vec![format.header()];
    let frames = if random.once_in(3) {
        1 + u32::try_from(random.below(3)).unwrap()
    } else {
        0
    };
    if random.once_in(2) {
        chunks.push(any_ancillary(random));
    }
    chunks.extend(format.palette(random));
    chunks.extend(format.transparency().filter(|_| random.once_in(2)));
    if frames > 0 {
        chunks.push(chunk(b"acTL", [frames.to_be_bytes(), [0; 4]].concat()));
        chunks.push(frame_control(&format, 0));
    }
    let zlib = stored(&format.pixels(random));
    let pieces = 1 + random.below(zlib.len());
    chunks.extend(
        zlib.chunks(pieces.max(zlib.len() / 8))
            .map(|piece| chunk(b"IDAT", piece)),
    );
    for frame in 1..frames {
        let zlib = stored(&format.pixels(random));
        chunks.push(frame_control(&format, 2 * frame - 1));
        chunks.push(chunk(b"fdAT", [&(2 * frame).to_be_bytes()[..], &zlib].concat()));
    }
    if random.once_in(2) {
        chunks.push(any_ancillary(random));
    }
    chunks.push(chunk(b"IEND", b""));
    chunks
}

/// One change to the row of chunks, whose checksums stay right.
fn mutate_chunks(chunks: &mut Vec<Chunk>, random: &mut Random) {
    let (at, other) = (random.below(chunks.len()), random.below(chunks.len()));
    match random.below(9) {
        0 => drop(chunks.remove(at)),
        1 => chunks.insert(other, chunks[at].clone()),
        2 => chunks.swap(at, other),
        3 => chunks.insert(at, any_ancillary(random)),
        4 => chunks[at].kind[random.below(4)] ^= 0x20,
        5 => chunks[at].kind[random.below(4)] = random.byte(),
        6 => chunks.insert(at, chunk(b"PLTE", vec![1; 3 * random.below(9)])),
        7 => drop(chunks[at].data.pop()),
        _ => {
            let length = chunks[at].data.len().max(1);
            if let Some(byte) = chunks[at].data.get_mut(random.below(length)) {
                *byte = random.byte();
            }
        }
    }
}

/// One change to the bytes of the file.
fn mutate_bytes(file: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(file.len());
    match random.below(5) {
        0 => file.truncate(at),
        1 => file[at] ^= 1 << random.below(8),
        2 => file.insert(at, random.byte()),
        3 => drop(file.remove(at)),
        _ => file.push(random.byte()),
    }
}

/// The png crate, as strict as it can be: every checksum, every frame, every chunk until IEND.
fn decode(file: &[u8]) -> Result<(), png::DecodingError> {
    let mut options = png::DecodeOptions::default();
    options.set_ignore_checksums(false);
    options.set_skip_ancillary_crc_failures(false);
    let mut reader = png::Decoder::new_with_options(Cursor::new(file), options).read_info()?;
    let info = reader.info();
    if u64::from(info.width) * u64::from(info.height) > PIXELS_MAX {
        return Err(png::DecodingError::LimitsExceeded);
    }
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let frames = info.animation_control.map_or(1, |control| control.num_frames);
    for _ in 0..frames {
        reader.next_frame(&mut pixels)?;
    }
    reader.finish()
}

fn check(file: &[u8]) -> Result<(), image::Error> {
    check_by(Rules::Strict, file)
}

fn check_by(rules: Rules, file: &[u8]) -> Result<(), image::Error> {
    let mut check = Check::new(PIXELS_MAX, rules);
    check.feed(file)?;
    check.finish()
}

/// Lets both look at `file`. Where they differ, the rule must be one of [`STRICTER`], and is counted.
fn compare(file: &[u8], seed: u64, stricter: &mut BTreeMap<&'static str, u32>) -> bool {
    let decoded = decode(file).is_ok();
    match check(file) {
        Err(image::Error::Broken(rule) | image::Error::Odd(rule)) if decoded && STRICTER.contains(&rule) => {
            *stricter.entry(rule).or_default() += 1;
        }
        refused => assert!(!decoded || refused.is_ok(), "seed {seed}: {refused:?}"),
    }
    decoded
}

#[test]
fn every_valid_image_passes() {
    for seed in 0..IMAGES {
        let file = encode(&any_image(&mut Random::new(seed)));
        decode(&file).unwrap_or_else(|e| panic!("seed {seed}: the referee says {e}"));
        assert_eq!(check(&file), Ok(()), "seed {seed}");
    }
}

#[test]
fn images_that_the_referee_writes_pass() {
    for seed in 0..200 {
        let mut random = Random::new(seed);
        let (width, height) = (1 + random.below(60), 1 + random.below(60));
        let sizes = [width, height].map(|size| u32::try_from(size).unwrap());
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, sizes[0], sizes[1]);
        encoder.set_color(png::ColorType::Rgba);
        encoder.set_compression(if seed % 2 == 0 {
            png::Compression::Fast
        } else {
            png::Compression::High
        });
        encoder
            .add_text_chunk("Title".to_owned(), "a cat".to_owned())
            .unwrap();
        let pixels: Vec<u8> = (0..4 * width * height).map(|_| random.byte() % 8).collect();
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(&pixels).unwrap();
        writer.finish().unwrap();
        assert!(decode(&file).is_ok() && check(&file).is_ok(), "seed {seed}");
    }
}

#[test]
fn whatever_the_referee_decodes_of_mutated_images_passes() {
    let mut stricter = BTreeMap::new();
    let mut decoded = 0;
    for seed in 0..IMAGES {
        let mut random = Random::new(seed + IMAGES);
        let mut chunks = any_image(&mut random);
        mutate_chunks(&mut chunks, &mut random);
        decoded += u32::from(compare(&encode(&chunks), seed, &mut stricter));
        let mut file = encode(&chunks);
        mutate_bytes(&mut file, &mut random);
        decoded += u32::from(compare(&file, seed, &mut stricter));
    }
    println!(
        "of {} mutated images the referee decoded {decoded}; stricter: {stricter:?}",
        2 * IMAGES
    );
    assert!(
        decoded > 500,
        "the referee must have something to say, and decoded {decoded}"
    );
    assert_eq!(
        stricter.len(),
        STRICTER.len(),
        "an exception that never happens is none: {stricter:?}"
    );
    assert!(stricter.values().sum::<u32>() < decoded / 2, "{stricter:?}");
}
