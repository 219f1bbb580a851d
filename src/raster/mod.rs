//! Rectangular arrays over an image or a grid, and the transforms between the two.
//!
//! A raster stores its values row by row from the top left, so position (x, y) is `values[y * width + x]`.

mod polygon;
mod rectangle;
mod rle;
mod transform;

pub use polygon::{PolygonError, mask_from_polygons};
pub use rectangle::Rectangle;
pub use rle::{RunLengthError, RunLengthMask};
pub use transform::{floor_positions, nearest_positions};

/// A `height` × `width` array of values, row-major from the top left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raster<T> {
    pub width: usize,
    pub height: usize,
    pub values: Vec<T>,
}

/// An image in 8-bit sRGB.
pub type RgbImage = Raster<[u8; 3]>;

/// One label for every position; what a label means is the owner's business.
pub type LabelMap = Raster<u32>;

/// A segmentation mask as it is written to disk: 0 is background, every other value a foreground cluster.
pub type Mask = Raster<u8>;

impl<T: Copy> Raster<T> {
    /// A raster of `width` × `height` copies of `value`.
    pub fn filled(width: usize, height: usize, value: T) -> Self {
        Self { width, height, values: vec![value; width * height] }
    }

    /// Wraps row-major `values`.
    ///
    /// # Panics
    /// If `values` does not hold `width` × `height` entries.
    pub fn from_values(width: usize, height: usize, values: Vec<T>) -> Self {
        assert_eq!(values.len(), width * height, "a raster of {width}x{height} needs that many values");
        Self { width, height, values }
    }

    /// The value at column `x`, row `y`.
    pub fn at(&self, x: usize, y: usize) -> T {
        self.values[y * self.width + x]
    }

    /// Applies `f` to every value.
    pub fn map<U>(&self, f: impl Fn(T) -> U) -> Raster<U> {
        Raster { width: self.width, height: self.height, values: self.values.iter().map(|&value| f(value)).collect() }
    }
}
