//! The images of a run: image `i` of seed `s` is a pure function of the two and of the plan's sizes.
//!
//! Square RGBA noise under a tint, with the image's number drawn across the middle, as a PNG without compression.
//! Noise is counter-based (SplitMix64, Steele, Lea and Flood 2014), so that any thread can paint any image at any
//! time and get the same bytes. Knows nothing of files, threads and uploads.
//!
//! ```text
//! file  = signature ‖ IHDR ‖ IDAT … IDAT ‖ IEND                     chunks and their CRCs by the png crate
//! IDAT  = one stored deflate block (RFC 1951 section 3.2.4): as many whole lines as fit into 65,535 bytes
//!         the first is preceded by 78 01, the last followed by Adler-32 (RFC 1950)
//! line  = filter byte 0 ‖ side × RGBA
//! ```
//!
//! The png crate can store without compression too, but only from a whole image into a whole image: three buffers
//! of 16 MB a thread. A block at a time stays in the processor's cache and is several times as fast.

mod lettering;

use std::io::Write;

use lettering::Lettering;
use simd_adler32::Adler32;

/// How many bands of size a plan has: small, medium, large, extra large.
pub(crate) const BANDS: usize = 4;
/// What the bands are called, in rising order of size.
pub(crate) const BAND_NAMES: [&str; BANDS] = ["Small", "Medium", "Large", "XLarge"];
/// The smallest side, in pixels. Numbers are drawn where they fit.
pub(crate) const SIDE_MIN: u32 = 1;
/// The largest side, in pixels: a line still fits into one stored block.
pub(crate) const SIDE_MAX: u32 = 16_383;

const STORED_BLOCK_MAX: u32 = 65_535;
const ZLIB_HEADER: [u8; 2] = [0x78, 0x01];
const PIXEL_BYTES: u32 = 4;
/// Signature, IHDR with its frame, IEND with its frame.
const FRAME_BYTES: u64 = 8 + 25 + 12;
const CHUNK_FRAME_BYTES: u64 = 12;
const BLOCK_HEADER_BYTES: u64 = 5;
/// The two bytes before the first block and the Adler-32 behind the last.
const ZLIB_FRAME_BYTES: u64 = 6;

/// Which images a run is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Changes every image.
    pub seed: u64,
    /// The smallest side, in pixels; at least 1.
    pub side_min: u32,
    /// The largest side, in pixels; at least `side_min`, at most 16,383.
    pub side_max: u32,
}

/// Keeps six bits of noise in a channel, two of them in alpha, for two pixels.
const GRAIN: u64 = 0x033f_3f3f_033f_3f3f;
/// The darkest alpha, for two pixels; with its grain it stays below 256.
const ALPHA: u64 = 0xfc00_0000_fc00_0000;
/// A tint and its grain together stay below 256.
const TINT_MAX: u64 = 0xa0;

/// One image, not yet painted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Picture {
    /// From 1; drawn across the middle.
    pub(crate) number: u64,
    key: u64,
    /// Width and height in pixels.
    pub(crate) side: u32,
    /// Which quarter of the plan's sizes, `0..BANDS`.
    pub(crate) band: usize,
}

impl Plan {
    /// Image `number`, from 1. Consecutive images are of different bands, so that all sizes are uploaded at any time.
    pub fn picture(&self, number: u64) -> Picture {
        let key = scramble(scramble(self.seed).wrapping_add(number));
        let band = usize::try_from(number % BANDS as u64).expect("a remainder below BANDS fits");
        let (low, high) = self.band(band);
        let spread = u64::from(high - low) + 1;
        let step = u32::try_from(scramble(key) % spread).expect("a remainder of a u32 fits");
        Picture {
            number,
            key,
            side: low + step,
            band,
        }
    }

    /// The smallest and the largest side of a band, in pixels. Bands are the quarters of 0 to `side_max`; when
    /// `side_min` would swallow the first, they are the quarters of `side_min` to `side_max`.
    pub(crate) fn band(&self, band: usize) -> (u32, u32) {
        let base = if self.side_min < self.side_max / 4 {
            0
        } else {
            self.side_min
        };
        let quarter = |k: usize| {
            let k = u32::try_from(k).expect("a band number is small");
            (base + (self.side_max - base) * k / 4).max(self.side_min)
        };
        (quarter(band), quarter(band + 1))
    }

    /// The size of the largest image of the plan, in bytes.
    pub fn bytes_max(&self) -> u64 {
        file_bytes(self.side_max)
    }

    /// The size of `count` images together, in bytes, exactly.
    pub(crate) fn bytes_total(&self, count: u64) -> u64 {
        (1..=count).map(|number| self.picture(number).bytes()).sum()
    }
}

impl Picture {
    /// The size of the file in bytes, known before it is painted.
    pub fn bytes(&self) -> u64 {
        file_bytes(self.side)
    }

    /// Writes the file to `out`, about 64 KiB at a time. Fails only if `out` does.
    pub fn paint(&self, out: &mut impl Write) -> std::io::Result<()> {
        let mut encoder = png::Encoder::new(out, self.side, self.side);
        encoder.set_color(png::ColorType::Rgba);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header()?;
        let lettering = Lettering::new(self.number, self.side);
        let mut adler = Adler32::new();
        let mut chunk = Vec::with_capacity(STORED_BLOCK_MAX as usize + 16);
        let lines_max = lines_per_block(self.side);
        for top in (0..self.side).step_by(lines_max as usize) {
            let bottom = self.side.min(top + lines_max);
            chunk.clear();
            if top == 0 {
                chunk.extend_from_slice(&ZLIB_HEADER);
            }
            let bytes =
                u16::try_from(line_bytes(self.side) * (bottom - top)).expect("lines_per_block bounds it");
            chunk.push(u8::from(bottom == self.side));
            chunk.extend_from_slice(&bytes.to_le_bytes());
            chunk.extend_from_slice(&(!bytes).to_le_bytes());
            let start = chunk.len();
            chunk.resize(start + usize::from(bytes), 0);
            for (row, line) in (top..).zip(chunk[start..].chunks_exact_mut(line_bytes(self.side) as usize)) {
                self.paint_line(row, &mut line[1..]);
                lettering.ink(row, &mut line[1..]);
            }
            adler.write(&chunk[start..]);
            if bottom == self.side {
                chunk.extend_from_slice(&adler.finish().to_be_bytes());
            }
            writer.write_chunk(png::chunk::IDAT, &chunk)?;
        }
        Ok(writer.finish()?)
    }

    fn paint_line(&self, row: u32, line: &mut [u8]) {
        let tint = self.tint();
        let mut counter = self.key ^ u64::from(row) << 32;
        let mut pairs = line.chunks_exact_mut(8);
        for pair in &mut pairs {
            pair.copy_from_slice(&((scramble(counter) & GRAIN) + tint).to_le_bytes());
            counter = counter.wrapping_add(1);
        }
        let last = pairs.into_remainder();
        let pixel = ((scramble(counter) & GRAIN) + tint).to_le_bytes();
        last.copy_from_slice(&pixel[..last.len()]);
    }

    /// The darkest value of each channel, for two pixels.
    fn tint(&self) -> u64 {
        let channel = |shift: u32| (scramble(self.key ^ u64::from(shift)) % (TINT_MAX + 1)) << shift;
        let pixel = channel(0) | channel(8) | channel(16);
        pixel | pixel << 32 | ALPHA
    }
}

fn line_bytes(side: u32) -> u32 {
    1 + side * PIXEL_BYTES
}

fn lines_per_block(side: u32) -> u32 {
    STORED_BLOCK_MAX / line_bytes(side)
}

fn file_bytes(side: u32) -> u64 {
    let blocks = u64::from(side.div_ceil(lines_per_block(side)));
    let lines = u64::from(side) * u64::from(line_bytes(side));
    FRAME_BYTES + blocks * (CHUNK_FRAME_BYTES + BLOCK_HEADER_BYTES) + lines + ZLIB_FRAME_BYTES
}

/// SplitMix64's output for the state `counter`. Ours, not a crate's: the bytes of every seed depend on it.
fn scramble(counter: u64) -> u64 {
    let mut z = counter
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

#[cfg(test)]
mod tests {
    use super::lettering::INK;
    use super::*;

    const PLAN: Plan = Plan {
        seed: 7,
        side_min: 100,
        side_max: 2000,
    };

    fn painted(picture: &Picture) -> Vec<u8> {
        let mut file = Vec::new();
        picture.paint(&mut file).unwrap();
        file
    }

    fn decoded(file: &[u8]) -> (png::OutputInfo, Vec<u8>) {
        let mut reader = png::Decoder::new(std::io::Cursor::new(file)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        reader.finish().unwrap();
        (info, pixels)
    }

    #[test]
    fn every_side_decodes_and_has_the_announced_size() {
        for side in [1, 2, 3, 31, 100, 127, 128, 129, 499, 2000] {
            let picture = Plan {
                seed: 1,
                side_min: side,
                side_max: side,
            }
            .picture(42);
            let file = painted(&picture);
            assert_eq!(file.len() as u64, picture.bytes(), "side {side}");
            let (info, pixels) = decoded(&file);
            assert_eq!(
                (info.width, info.height, info.color_type),
                (side, side, png::ColorType::Rgba)
            );
            assert_eq!(pixels.len() as u64, u64::from(side * side * PIXEL_BYTES));
        }
    }

    #[test]
    fn the_largest_line_fits_into_a_block() {
        assert_eq!(lines_per_block(SIDE_MAX), 1);
        assert_eq!(lines_per_block(SIDE_MAX + 1), 0);
    }

    #[test]
    fn the_same_seed_paints_the_same_bytes_on_any_number_of_threads() {
        let alone: Vec<Vec<u8>> = (1..=12).map(|n| painted(&PLAN.picture(n))).collect();
        for threads in [2, 3, 8] {
            let shared: Vec<Vec<u8>> = std::thread::scope(|scope| {
                let workers: Vec<_> = (0..threads)
                    .map(|t| {
                        scope.spawn(move || {
                            (1..=12)
                                .filter(|n| n % threads == t)
                                .map(|n| (n, painted(&PLAN.picture(n))))
                                .collect::<Vec<_>>()
                        })
                    })
                    .collect();
                let mut all: Vec<_> = workers.into_iter().flat_map(|w| w.join().unwrap()).collect();
                all.sort_by_key(|(n, _)| *n);
                all.into_iter().map(|(_, file)| file).collect()
            });
            assert!(shared == alone);
        }
    }

    /// A seed is a promise: runs of different versions of this program upload the same bytes.
    #[test]
    fn the_bytes_of_a_seed_never_change() {
        let sums = [1, 2, 3, 4].map(|number| {
            let mut adler = Adler32::new();
            adler.write(&painted(&PLAN.picture(number)));
            adler.finish()
        });
        assert_eq!(sums, [760_117_529, 1_107_985_612, 2_248_100_429, 2_921_386_570]);
    }

    #[test]
    fn another_seed_or_number_is_another_image() {
        let file = |seed, number| {
            painted(
                &Plan {
                    seed,
                    side_min: 100,
                    side_max: 100,
                }
                .picture(number),
            )
        };
        assert_ne!(file(1, 1), file(1, 2));
        assert_ne!(file(1, 1), file(2, 1));
    }

    #[test]
    fn two_thousand_images_have_the_bands_of_the_plan() {
        assert_eq!(
            (0..BANDS).map(|b| PLAN.band(b)).collect::<Vec<_>>(),
            [(100, 500), (500, 1000), (1000, 1500), (1500, 2000)]
        );
        let mut counts = [0; BANDS];
        for number in 1..=2000 {
            let picture = PLAN.picture(number);
            let (low, high) = PLAN.band(picture.band);
            assert!((low..=high).contains(&picture.side));
            counts[picture.band] += 1;
        }
        assert_eq!(counts, [500; BANDS]);
        let total = PLAN.bytes_total(2000);
        assert!((10_000_000_000..12_000_000_000).contains(&total), "{total}");
    }

    #[test]
    fn narrow_plans_divide_what_they_have() {
        let plan = |side_min, side_max| Plan {
            seed: 0,
            side_min,
            side_max,
        };
        assert_eq!(plan(1200, 2000).band(0), (1200, 1400));
        assert_eq!(plan(50, 50).band(3), (50, 50));
        assert_eq!(plan(SIDE_MIN, SIDE_MAX).band(3).1, SIDE_MAX);
    }

    #[test]
    fn the_number_stands_in_the_middle_in_white() {
        let picture = Plan {
            seed: 3,
            side_min: 100,
            side_max: 100,
        }
        .picture(1);
        let (_, pixels) = decoded(&painted(&picture));
        let white = |x: usize, y: usize| pixels[(y * 100 + x) * 4..][..4] == INK;
        let cell = 100 / 7;
        let centre = 50;
        assert!(white(cell * 2 + cell / 2, centre), "the stem of a 1");
        assert!(!white(cell + 1, centre) && !white(90, 5));
    }
}
