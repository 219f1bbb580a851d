//! JPEGs at a half, a quarter or an eighth of their size, for those who want no more: what the smaller picture cannot show is not
//! transformed back, and takes no memory.

use jpeg_decoder::{Decoder, PixelFormat};

use super::Structure;

/// Factors by which pictures are reduced, and how many times the sides of what it is resized to a reduced picture has at least: then the
/// result is that of the whole picture within a level of 255 on average. An eighth is the mean of every block, which shows steps.
const FACTORS: [(u16, usize); 3] = [(8, 3), (4, 2), (2, 2)];

impl Structure {
    /// By how much the picture may be reduced that is brought to `target` pixels across and down; none where it is read whole.
    ///
    /// Only sides that the factor divides keep their proportion.
    pub fn reduction(&self, target: [usize; 2]) -> Option<u16> {
        let is_common = self.complete && !self.comes_in_scans && !self.lacks_tables && matches!(self.components, 1 | 3);
        let is_enough = |&(factor, times): &(u16, usize)| {
            let mut sides = [self.width, self.height].into_iter().zip(target);
            is_common
                && sides.all(|(side, target)| {
                    side.is_multiple_of(factor) && usize::from(side / factor) >= target.saturating_mul(times)
                })
        };
        FACTORS.into_iter().find(is_enough).map(|(factor, _)| factor)
    }
}

/// A picture without its fine detail.
#[derive(Debug)]
pub(in crate::pixels) struct Reduced {
    pub width: usize,
    pub height: usize,
    /// Samples of a pixel: 1 of brightness, or red, green and blue.
    pub bands: usize,
    pub values: Vec<u8>,
}

/// Reads a picture of this structure at a `factor`-th of its sides; none where that cannot be, which is no reason for the whole
/// picture to be refused.
pub(in crate::pixels) fn read(bytes: &[u8], structure: &Structure, factor: u16) -> Option<Reduced> {
    let (width, height) = (structure.width / factor, structure.height / factor);
    let mut decoder = Decoder::new(bytes);
    if structure.components == 3 {
        decoder.set_color_transform(structure.colour_transform());
    }
    if decoder.scale(width, height).ok()? != (width, height) {
        return None;
    }
    let values = decoder.decode().ok()?;
    let bands = match decoder.info()?.pixel_format {
        PixelFormat::L8 => 1,
        PixelFormat::RGB24 => 3,
        _ => return None,
    };
    let (width, height) = (usize::from(width), usize::from(height));
    (values.len() == width * height * bands).then_some(Reduced { width, height, bands, values })
}
