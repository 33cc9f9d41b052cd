//! The number of an image, drawn across its middle.

/// White, opaque.
pub(crate) const INK: [u8; 4] = [0xff; 4];

/// The digits, 3 by 5, a line of three bits for each row from the top.
const GLYPHS: [[u8; 5]; 10] = [
    [0b111, 0b101, 0b101, 0b101, 0b111],
    [0b010, 0b110, 0b010, 0b010, 0b111],
    [0b111, 0b001, 0b111, 0b100, 0b111],
    [0b111, 0b001, 0b111, 0b001, 0b111],
    [0b101, 0b101, 0b111, 0b001, 0b001],
    [0b111, 0b100, 0b111, 0b001, 0b111],
    [0b111, 0b100, 0b111, 0b101, 0b111],
    [0b111, 0b001, 0b001, 0b001, 0b001],
    [0b111, 0b101, 0b111, 0b101, 0b111],
    [0b111, 0b101, 0b111, 0b001, 0b111],
];
const GLYPH_HEIGHT: u32 = 5;
const GLYPH_WIDTH: u32 = 3;
/// A glyph and the gap after it.
const GLYPH_STEP: u32 = GLYPH_WIDTH + 1;

/// Where the number stands: in the middle, as wide as the image allows.
pub(crate) struct Lettering {
    digits: Vec<usize>,
    cell: u32,
    top: u32,
}

impl Lettering {
    /// For image `number`, `side` pixels wide and high.
    pub(crate) fn new(number: u64, side: u32) -> Lettering {
        let digits: Vec<usize> = number
            .to_string()
            .bytes()
            .map(|digit| usize::from(digit - b'0'))
            .collect();
        let columns = GLYPH_STEP * u32::try_from(digits.len()).expect("a u64 has at most 20 digits") + 1;
        let cell = side / columns.max(GLYPH_HEIGHT + 2);
        Lettering {
            digits,
            cell,
            top: (side - cell * GLYPH_HEIGHT) / 2,
        }
    }

    /// Draws what of the number falls into line `row`, an RGBA line of the image.
    pub(crate) fn ink(&self, row: u32, line: &mut [u8]) {
        if self.cell == 0 || row < self.top || row >= self.top + self.cell * GLYPH_HEIGHT {
            return;
        }
        let glyph_row = ((row - self.top) / self.cell) as usize;
        let cell_bytes = self.cell as usize * INK.len();
        let cells = line.chunks_exact_mut(cell_bytes).skip(1);
        let set = self.digits.iter().flat_map(|&digit| {
            let bits = GLYPHS[digit][glyph_row];
            [bits & 0b100 != 0, bits & 0b010 != 0, bits & 0b001 != 0, false]
        });
        for (cell, _) in cells.zip(set).filter(|(_, set)| *set) {
            cell.as_chunks_mut().0.fill(INK);
        }
    }
}
