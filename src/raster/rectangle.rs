//! Axis-aligned rectangles in pixels.

use serde::{Deserialize, Serialize};

use super::Raster;

/// A rectangle of whole pixels: `x`, `y` is its top left pixel, and it spans `width` × `height` pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rectangle {
    pub x: usize,
    pub y: usize,
    pub width: usize,
    pub height: usize,
}

impl Rectangle {
    /// The smallest rectangle around every position whose value satisfies `inside`; none if there is no such position.
    pub fn bounding<T: Copy>(raster: &Raster<T>, inside: impl Fn(T) -> bool) -> Option<Rectangle> {
        let (mut left, mut right, mut top, mut bottom) = (usize::MAX, 0, usize::MAX, 0);
        for (y, row) in raster.values.chunks_exact(raster.width.max(1)).enumerate() {
            let Some(first) = row.iter().position(|&value| inside(value)) else { continue };
            let last = row.iter().rposition(|&value| inside(value)).unwrap_or(first);
            left = left.min(first);
            right = right.max(last);
            top = top.min(y);
            bottom = y;
        }
        (top != usize::MAX).then(|| Rectangle { x: left, y: top, width: right - left + 1, height: bottom - top + 1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounding_box_covers_exactly_the_marked_pixels() {
        let mut raster = Raster::filled(6, 5, 0u8);
        assert_eq!(Rectangle::bounding(&raster, |value| value > 0), None);
        for (x, y) in [(4, 1), (1, 2), (2, 3)] {
            raster.values[y * 6 + x] = 7;
        }
        let expected = Rectangle { x: 1, y: 1, width: 4, height: 3 };
        assert_eq!(Rectangle::bounding(&raster, |value| value > 0), Some(expected));
    }
}
