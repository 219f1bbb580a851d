//! One picture as its file stores it: before bands are chosen and values are scaled.

/// The samples of one picture.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Page {
    pub width: usize,
    pub height: usize,
    /// Samples of a pixel.
    pub bands: usize,
    pub values: Values,
    /// One band after the other, instead of the samples of a pixel side by side.
    pub planar: bool,
    /// Bits that a sample has in the file.
    pub bits: u32,
    /// Whole numbers may be negative, too.
    pub signed: bool,
    pub colour: Colour,
    /// The band with the opacity.
    pub alpha: Option<Alpha>,
    /// The value of samples without data, by the file's own word.
    pub nodata: Option<f64>,
    /// Every sample is what somebody measured: no compression has changed it.
    pub lossless: bool,
}

/// Samples, in a type that holds them exactly: whole numbers of up to 8 and 16 bits without a sign, what single precision
/// holds, and the rest.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Values {
    U8(Vec<u8>),
    U16(Vec<u16>),
    F32(Vec<f32>),
    F64(Vec<f64>),
}

/// What samples stand for.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Colour {
    /// Brightness in the first band, or red, green and blue in the first three.
    Light,
    /// Darkness.
    WhiteIsZero,
    /// Places in a table of colours.
    Palette(Vec<[u8; 3]>),
    Cmyk,
    /// Full range of 8 bits (T.871).
    YCbCr,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Alpha {
    pub band: usize,
    /// Colours are multiplied with it already.
    pub premultiplied: bool,
}

impl Page {
    /// Whole numbers of 8 bits, the samples of a pixel side by side; the last of two or four bands is the opacity.
    pub fn of_bytes(width: usize, height: usize, bands: usize, values: Vec<u8>) -> Page {
        let alpha = matches!(bands, 2 | 4).then(|| Alpha { band: bands - 1, premultiplied: false });
        Page {
            width,
            height,
            bands,
            values: Values::U8(values),
            planar: false,
            bits: 8,
            signed: false,
            colour: Colour::Light,
            alpha,
            nodata: None,
            lossless: true,
        }
    }

    pub fn pixels(&self) -> usize {
        self.width * self.height
    }

    /// Where the samples of a band begin, and how far apart those of neighbouring pixels are.
    pub fn place(&self, band: usize) -> (usize, usize) {
        if self.planar { (band * self.pixels(), 1) } else { (band, self.bands) }
    }

    /// The sample of a band at a pixel.
    pub fn at(&self, pixel: usize, band: usize) -> f64 {
        let (start, step) = self.place(band);
        self.values.at(start + pixel * step)
    }

    /// The least and the largest value that a sample can have; 0 and 1 for what is no whole number.
    pub fn full_range(&self) -> (f64, f64) {
        match (&self.values, self.signed) {
            (Values::U8(_) | Values::U16(_), _) => (0.0, 2f64.powi(self.bits as i32) - 1.0),
            (_, true) => (-(2f64.powi(self.bits as i32 - 1)), 2f64.powi(self.bits as i32 - 1) - 1.0),
            (Values::F64(_), false) if self.bits == 32 => (0.0, f64::from(u32::MAX)),
            _ => (0.0, 1.0),
        }
    }

    /// Whether samples are whole numbers by their type.
    pub fn is_whole(&self) -> bool {
        self.full_range().1 > 1.0 || self.bits == 1
    }
}

impl Values {
    pub fn at(&self, index: usize) -> f64 {
        match self {
            Values::U8(values) => f64::from(values[index]),
            Values::U16(values) => f64::from(values[index]),
            Values::F32(values) => f64::from(values[index]),
            Values::F64(values) => values[index],
        }
    }

    pub fn len(&self) -> usize {
        match self {
            Values::U8(values) => values.len(),
            Values::U16(values) => values.len(),
            Values::F32(values) => values.len(),
            Values::F64(values) => values.len(),
        }
    }
}

/// Samples of fewer than eight bits, `row` of them in every `stride` bytes, the first in the highest bits.
pub(super) fn unpacked(packed: &[u8], stride: usize, row: usize, bits: usize) -> Vec<u8> {
    let mut values = Vec::with_capacity(packed.len() / stride.max(1) * row);
    for line in packed.chunks_exact(stride.max(1)) {
        values.extend((0..row).map(|index| {
            let first = index * bits;
            // A sample may begin in one byte and end in the next.
            let pair = u16::from(line[first / 8]) << 8 | u16::from(line.get(first / 8 + 1).copied().unwrap_or(0));
            ((pair << (first % 8)) >> (16 - bits)) as u8
        }));
    }
    values
}
