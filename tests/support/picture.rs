//! PNG images for tests, made chunk by chunk, so that every kind of damage can be done to them.

use super::random::Random;

/// What every PNG begins with.
pub const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

/// A chunk with its length and its checksum.
pub fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(data.len()).unwrap();
    let checked = [kind, data].concat();
    let crc = crc32fast::hash(&checked);
    [&length.to_be_bytes()[..], &checked, &crc.to_be_bytes()].concat()
}

/// The IHDR chunk.
pub fn ihdr(width: u32, height: u32, depth: u8, colour: u8, methods: [u8; 3]) -> Vec<u8> {
    let sizes = [width.to_be_bytes(), height.to_be_bytes()].concat();
    chunk(b"IHDR", &[&sizes[..], &[depth, colour], &methods].concat())
}

/// Signature and chunks.
pub fn png(chunks: &[Vec<u8>]) -> Vec<u8> {
    [SIGNATURE, &chunks.concat()].concat()
}

/// A picture of `width` times `height` noisy pixels, 4 bytes each, that any decoder opens.
pub fn noise(width: u32, height: u32, seed: u64) -> Vec<u8> {
    let mut pixels = vec![0; width as usize * height as usize * 4];
    let mut random = Random::new(seed);
    for pixel in pixels.chunks_exact_mut(4) {
        pixel.copy_from_slice(&random.number().to_le_bytes()[..4]);
    }
    let mut out = Vec::new();
    let mut encoder = png::Encoder::new(&mut out, width, height);
    encoder.set_color(png::ColorType::Rgba);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::NoCompression);
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&pixels).unwrap();
    writer.finish().unwrap();
    out
}

/// A small picture: one pixel.
pub fn dot() -> Vec<u8> {
    noise(1, 1, 7)
}

/// A picture of one pixel in a file of exactly `bytes` bytes, no two KiB of which are alike: most of it is an
/// ancillary chunk that every decoder passes over.
pub fn sized(bytes: usize) -> Vec<u8> {
    let dot = dot();
    let (before, end) = dot.split_at(dot.len() - chunk(b"IEND", b"").len());
    let filling: Vec<u8> = (0..bytes - dot.len() - chunk(b"fiLl", b"").len())
        .map(|i| (i ^ i >> 8 ^ i >> 16).to_le_bytes()[0])
        .collect();
    [before, &chunk(b"fiLl", &filling), end].concat()
}
