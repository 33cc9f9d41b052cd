//! Is this a PNG that we accept? Checks structure and checksums while the bytes stream through.
//!
//! ```text
//! 89 "PNG" 0d 0a 1a 0a        signature
//! length[4] type[4] data[length] crc[4]        chunk after chunk, IHDR first, IEND last; crc over type and data
//! ```
//!
//! Reads every byte once and keeps none but the 33 that signature and IHDR take: memory does not grow with the
//! image, nor with what a chunk claims. Only the CRC costs time (docs/measurements.md).
//!
//! Leaves out on purpose: pixels are not inflated, and of ancillary chunks (text, profiles, animation) only length,
//! type and CRC are looked at, because a decoder may ignore them as well. A critical chunk that we do not know is
//! refused, since no decoder may ignore that. A lower-case third letter, reserved by the specification, is no error
//! in an ancillary chunk: the chunk is unknown, like others.
//!
//! Strict by default. Lenient takes what libpng 1.6 opens with a warning, too: cameras, phones and editors write it
//! (docs/http.md has the list). Nothing is changed: what was taken comes back byte for byte.
//!
//! Source: PNG Specification (Third Edition), W3C; "section" below means one of its sections.

use std::fmt;

use crc32fast::Hasher;

/// What the first bytes of every PNG are (section 5.2).
pub const SIGNATURE: [u8; 8] = *b"\x89PNG\r\n\x1a\n";

/// Signature, and the whole IHDR chunk, which comes first in every PNG and has always the same size.
const OPENING_BYTES: usize = SIGNATURE.len() + HEAD_BYTES + IHDR_BYTES + CRC_BYTES;
const HEAD_BYTES: usize = 8;
const IHDR_BYTES: usize = 13;
const CRC_BYTES: usize = 4;
/// Of a palette (section 11.2.2).
const COLOURS_MAX: u32 = 256;
/// Lengths and dimensions have 31 bits (section 7.1).
const U31_MAX: u32 = i32::MAX as u32;

/// Why an image is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// There are no bytes.
    Empty,
    /// The first bytes are not those of a PNG.
    NotPng,
    /// It begins as a PNG, but its structure breaks this rule.
    Broken(&'static str),
    /// It breaks this rule, which decoders let pass, and [`Rules::Lenient`] too.
    Odd(&'static str),
    /// Its header claims more pixels than the limit allows.
    TooManyPixels {
        /// Width times height.
        pixels: u64,
        /// The limit.
        pixels_max: u64,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NotPng => f.write_str("not a PNG image"),
            Error::Empty => f.write_str("the image has no bytes at all"),
            Error::Broken(rule) => write!(f, "broken PNG: {rule}"),
            Error::Odd(rule) => write!(
                f,
                "broken PNG: {rule}; nodes that are started with --png lenient let that pass"
            ),
            Error::TooManyPixels { pixels, pixels_max } => {
                write!(
                    f,
                    "the image has {pixels} pixels, at most {pixels_max} are accepted"
                )
            }
        }
    }
}

impl std::error::Error for Error {}

/// What an image is held to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rules {
    /// The specification.
    #[default]
    Strict,
    /// What libpng opens, with a warning or without.
    Lenient,
}

/// The check of one image: [`feed`](Check::feed) it every byte in order, then [`finish`](Check::finish).
pub struct Check {
    pixels_max: u64,
    rules: Rules,
    stage: Stage,
    gathered: [u8; OPENING_BYTES],
    gathered_bytes: usize,
    crc: Hasher,
    colour: Colour,
    idat: IdatPosition,
    has_palette: bool,
    error: Option<Error>,
}

/// What the next byte belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Opening,
    Head,
    Data { left: usize, chunk: ChunkKind },
    Crc(ChunkKind),
    Ended,
}

/// What is done with a chunk once it was read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ChunkKind {
    /// No decoder can do without it.
    Critical,
    /// A decoder may ignore it (section 5.4: the first letter is a small one).
    Ancillary,
    /// IEND.
    End,
}

/// The place of the next chunk: before, within or after the IDAT chunks, which follow each other without gaps
/// (section 5.6).
#[derive(Clone, Copy, PartialEq, Eq)]
enum IdatPosition {
    Before,
    Within,
    After,
}

/// Colour type and bits per sample, as IHDR has them.
#[derive(Clone, Copy)]
struct Colour {
    kind: u8,
    depth: u8,
}

impl Check {
    /// Starts the check of an image that may have `pixels_max` pixels at most.
    pub fn new(pixels_max: u64, rules: Rules) -> Check {
        Check {
            pixels_max,
            rules,
            stage: Stage::Opening,
            gathered: [0; OPENING_BYTES],
            gathered_bytes: 0,
            crc: Hasher::new(),
            colour: Colour { kind: 0, depth: 0 },
            idat: IdatPosition::Before,
            has_palette: false,
            error: None,
        }
    }

    /// Looks at the next bytes of the image, any number of them. An error is final: every later
    /// call returns it again.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if self.error.is_none() {
            self.error = self.walk(bytes).err();
        }
        self.error.map_or(Ok(()), Err)
    }

    /// Whether the image was complete.
    pub fn finish(&self) -> Result<(), Error> {
        match (self.error, self.stage) {
            (Some(error), _) => Err(error),
            (None, Stage::Ended) => Ok(()),
            (None, Stage::Opening) if self.gathered_bytes == 0 => Err(Error::Empty),
            (None, Stage::Opening) if self.gathered_bytes < SIGNATURE.len() => Err(Error::NotPng),
            (None, Stage::Head) if self.gathered_bytes == 0 && self.idat != IdatPosition::Before => {
                self.odd("IEND is missing")
            }
            (None, _) => broken("it ends too early"),
        }
    }

    fn walk(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            match self.stage {
                Stage::Opening => self.opening(&mut bytes)?,
                Stage::Head => self.head(&mut bytes)?,
                Stage::Data { left, chunk } => {
                    let (data, rest) = bytes.split_at(left.min(bytes.len()));
                    self.crc.update(data);
                    bytes = rest;
                    self.stage = stage_of_data(left - data.len(), chunk);
                }
                Stage::Crc(chunk) => self.crc(&mut bytes, chunk)?,
                Stage::Ended => {
                    self.odd("bytes follow IEND")?;
                    bytes = &[];
                }
            }
        }
        Ok(())
    }

    fn opening(&mut self, bytes: &mut &[u8]) -> Result<(), Error> {
        let whole = self.gather::<OPENING_BYTES>(bytes);
        // Decided at the first wrong byte: no more is read of a file that is no PNG.
        let begun = self.gathered_bytes.min(SIGNATURE.len());
        if whole.is_none() && self.gathered[..begun] != SIGNATURE[..begun] {
            return Err(Error::NotPng);
        }
        let Some(opening) = whole else { return Ok(()) };
        let (signature, chunk) = opening.split_at(SIGNATURE.len());
        if signature != SIGNATURE {
            return Err(Error::NotPng);
        }
        if chunk[4..HEAD_BYTES] == *b"CgBI" {
            return broken(
                "it is in Apple's own variant (CgBI), which only Apple's devices open: save it as PNG",
            );
        }
        if chunk[..HEAD_BYTES] != *b"\0\0\0\x0dIHDR" {
            return broken("it does not begin with IHDR");
        }
        let (checked, crc) = chunk[4..].split_at(HEAD_BYTES - 4 + IHDR_BYTES);
        if crc32fast::hash(checked).to_be_bytes() != crc {
            return broken("a checksum is wrong");
        }
        self.stage = Stage::Head;
        self.header(&checked[4..])
    }

    /// The data of IHDR (section 11.2.1): four bytes of width, four of height, then one each of depth, colour type,
    /// compression, filter and interlace.
    fn header(&mut self, data: &[u8]) -> Result<(), Error> {
        let (width, height) = (u32_at(data, 0), u32_at(data, 4));
        if width == 0 || height == 0 || width > U31_MAX || height > U31_MAX {
            return broken("width or height is 0 or over 2147483647");
        }
        self.colour = Colour {
            kind: data[9],
            depth: data[8],
        };
        if !self.colour.is_legal() {
            return broken("there is no such colour type and bit depth");
        }
        if data[10] != 0 || data[11] != 0 || data[12] > 1 {
            return broken("there is no such compression, filter or interlace method");
        }
        let pixels = u64::from(width) * u64::from(height);
        if pixels > self.pixels_max {
            return Err(Error::TooManyPixels {
                pixels,
                pixels_max: self.pixels_max,
            });
        }
        Ok(())
    }

    fn head(&mut self, bytes: &mut &[u8]) -> Result<(), Error> {
        let Some(head) = self.gather::<HEAD_BYTES>(bytes) else {
            return Ok(());
        };
        let length = u32_at(&head, 0);
        if length > U31_MAX {
            return broken("a chunk claims more than 2147483647 bytes");
        }
        let kind = &head[4..];
        self.order(kind, length)?;
        self.crc.reset();
        self.crc.update(kind);
        let left = usize::try_from(length).expect("31 bits fit");
        self.stage = stage_of_data(left, ChunkKind::of(kind));
        Ok(())
    }

    /// The rules about which chunk may stand where (section 5.6).
    fn order(&mut self, kind: &[u8], length: u32) -> Result<(), Error> {
        const APART: &str = "the IDAT chunks are not together";
        match kind {
            b"IHDR" => return broken("IHDR is repeated"),
            b"PLTE" => self.palette(length)?,
            // Decoders have all pixels by then, unless there is something in it.
            b"IDAT" if self.idat == IdatPosition::After && length == 0 => self.odd(APART)?,
            b"IDAT" if self.idat == IdatPosition::After => return broken(APART),
            b"IDAT" if self.colour.is_indexed() && !self.has_palette => return broken("PLTE is missing"),
            b"IDAT" => self.idat = IdatPosition::Within,
            b"IEND" if self.idat == IdatPosition::Before => return broken("IDAT is missing"),
            b"IEND" if length != 0 => self.odd("IEND is not empty")?,
            b"IEND" => {}
            _ if !kind.iter().all(u8::is_ascii_alphabetic) => {
                return broken("the type of a chunk is not four letters");
            }
            _ if kind[0].is_ascii_uppercase() => return broken("a critical chunk is unknown"),
            _ => self.note_gap(),
        }
        Ok(())
    }

    /// Where PLTE may be, and how long (section 11.2.2).
    fn palette(&mut self, length: u32) -> Result<(), Error> {
        const WRONG_LENGTH: &str = "PLTE has a wrong length";
        if self.has_palette {
            return broken("PLTE is repeated");
        }
        if self.idat != IdatPosition::Before {
            // An indexed image has none then, and was refused at its first IDAT.
            self.odd("PLTE stands behind IDAT")?;
            self.note_gap();
        }
        if self.colour.is_grey() {
            self.odd("a grey image has no PLTE")?;
        }
        let is_indexed = self.colour.is_indexed();
        let is_whole = length != 0 && length.is_multiple_of(3) && length / 3 <= COLOURS_MAX;
        if !is_whole && (is_indexed || length == 0) {
            return broken(WRONG_LENGTH);
        }
        // More colours than the pixels can name are passed over.
        if !is_whole || (is_indexed && length / 3 > 1 << self.colour.depth) {
            self.odd(WRONG_LENGTH)?;
        }
        self.has_palette = true;
        Ok(())
    }

    /// A chunk that is no IDAT: if there were some, they have ended.
    fn note_gap(&mut self) {
        if self.idat == IdatPosition::Within {
            self.idat = IdatPosition::After;
        }
    }

    /// A rule is broken that decoders let pass.
    fn odd(&self, rule: &'static str) -> Result<(), Error> {
        match self.rules {
            Rules::Strict => Err(Error::Odd(rule)),
            Rules::Lenient => Ok(()),
        }
    }

    fn crc(&mut self, bytes: &mut &[u8], chunk: ChunkKind) -> Result<(), Error> {
        let Some(crc) = self.gather::<CRC_BYTES>(bytes) else {
            return Ok(());
        };
        if self.crc.clone().finalize().to_be_bytes() != crc {
            match chunk {
                ChunkKind::Ancillary => self.odd("a checksum of an ancillary chunk is wrong")?,
                ChunkKind::Critical | ChunkKind::End => return broken("a checksum is wrong"),
            }
        }
        self.stage = match chunk {
            ChunkKind::End => Stage::Ended,
            ChunkKind::Critical | ChunkKind::Ancillary => Stage::Head,
        };
        Ok(())
    }

    /// Takes from the front of `bytes` what is missing for `N` bytes; gives them once they are complete.
    fn gather<const N: usize>(&mut self, bytes: &mut &[u8]) -> Option<[u8; N]> {
        let (taken, rest) = bytes.split_at(bytes.len().min(N - self.gathered_bytes));
        let end = self.gathered_bytes + taken.len();
        self.gathered[self.gathered_bytes..end].copy_from_slice(taken);
        *bytes = rest;
        self.gathered_bytes = end % N;
        (end == N).then(|| {
            *self
                .gathered
                .first_chunk()
                .expect("no stage gathers more than the opening")
        })
    }
}

impl ChunkKind {
    fn of(kind: &[u8]) -> ChunkKind {
        match kind {
            b"IEND" => ChunkKind::End,
            _ if kind[0].is_ascii_lowercase() => ChunkKind::Ancillary,
            _ => ChunkKind::Critical,
        }
    }
}

impl Colour {
    /// Section 11.2.1, table 12.
    fn is_legal(self) -> bool {
        match self.kind {
            0 => matches!(self.depth, 1 | 2 | 4 | 8 | 16),
            3 => matches!(self.depth, 1 | 2 | 4 | 8),
            2 | 4 | 6 => matches!(self.depth, 8 | 16),
            _ => false,
        }
    }

    fn is_indexed(self) -> bool {
        self.kind == 3
    }

    fn is_grey(self) -> bool {
        matches!(self.kind, 0 | 4)
    }
}

fn stage_of_data(left: usize, chunk: ChunkKind) -> Stage {
    match left {
        0 => Stage::Crc(chunk),
        left => Stage::Data { left, chunk },
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("a slice of four"))
}

fn broken<T>(rule: &'static str) -> Result<T, Error> {
    Err(Error::Broken(rule))
}
