//! One box per image against ground-truth boxes: CorLoc.

use crate::raster::Rectangle;

/// A box counts as found when its IoU with a ground-truth box is greater than this (Deselaers et al. 2010).
pub const CORLOC_THRESHOLD: f64 = 0.5;

/// An axis-aligned box in continuous coordinates, as COCO writes it.
///
/// Pixel i covers the interval [i, i + 1): the box of the single pixel (3, 5) is x = 3, y = 5, width = height = 1, and
/// nothing is ever added to a difference. Ground truth in pixel numbers whose last pixel is included must be turned
/// first, with [`BoundingBox::from_included_pixels`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BoundingBox {
    pub x: f64,
    pub y: f64,
    pub width: f64,
    pub height: f64,
}

impl From<Rectangle> for BoundingBox {
    fn from(rectangle: Rectangle) -> Self {
        let Rectangle { x, y, width, height } = rectangle;
        Self { x: x as f64, y: y as f64, width: width as f64, height: height as f64 }
    }
}

impl BoundingBox {
    /// The box from its first to its last pixel, both included, with pixels counted from `first_number` (Pascal VOC
    /// counts from 1).
    pub fn from_included_pixels(left: f64, top: f64, right: f64, bottom: f64, first_number: f64) -> Self {
        Self { x: left - first_number, y: top - first_number, width: right - left + 1.0, height: bottom - top + 1.0 }
    }

    /// Intersection over union; 0 if either box has no area or is not made of finite numbers.
    pub fn iou(&self, other: &BoundingBox) -> f64 {
        if !(self.is_finite() && other.is_finite()) {
            return 0.0;
        }
        let overlap = |one_start: f64, one_length: f64, other_start: f64, other_length: f64| {
            ((one_start + one_length).min(other_start + other_length) - one_start.max(other_start)).max(0.0)
        };
        let width = overlap(self.x, self.width, other.x, other.width);
        let height = overlap(self.y, self.height, other.y, other.height);
        let intersection = width * height;
        let union = self.width * self.height + other.width * other.height - intersection;
        // Boxes with negative sides do not intersect anything.
        if intersection > 0.0 { intersection / union } else { 0.0 }
    }

    /// The largest IoU with any of the boxes of a ground truth; 0 without one.
    pub fn largest_iou(&self, truth: &[BoundingBox]) -> f64 {
        truth.iter().map(|truth| self.iou(truth)).fold(0.0, f64::max)
    }

    fn is_finite(&self) -> bool {
        [self.x, self.y, self.width, self.height].into_iter().all(f64::is_finite)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds(x: f64, y: f64, width: f64, height: f64) -> BoundingBox {
        BoundingBox { x, y, width, height }
    }

    #[test]
    fn box_iou_of_small_cases() {
        let unit = bounds(0.0, 0.0, 2.0, 2.0);
        let cases = [
            (unit, 1.0),
            (bounds(1.0, 0.0, 2.0, 2.0), 1.0 / 3.0),
            (bounds(1.0, 1.0, 2.0, 2.0), 1.0 / 7.0),
            (bounds(0.5, 0.5, 1.0, 1.0), 0.25),
            (bounds(2.0, 0.0, 2.0, 2.0), 0.0),
            (bounds(9.0, 9.0, 2.0, 2.0), 0.0),
            (bounds(1.0, 1.0, 0.0, 0.0), 0.0),
            (bounds(3.0, 3.0, -2.0, -2.0), 0.0),
            (bounds(f64::NAN, 0.0, 2.0, 2.0), 0.0),
        ];
        for (other, expected) in cases {
            assert!((unit.iou(&other) - expected).abs() < 1e-12, "{other:?}: {}", unit.iou(&other));
            assert_eq!(unit.iou(&other), other.iou(&unit));
        }
    }

    #[test]
    fn pixels_become_boxes() {
        let rectangle = Rectangle { x: 3, y: 5, width: 1, height: 2 };
        assert_eq!(BoundingBox::from(rectangle), bounds(3.0, 5.0, 1.0, 2.0));
        assert_eq!(BoundingBox::from_included_pixels(1.0, 1.0, 4.0, 2.0, 1.0), bounds(0.0, 0.0, 4.0, 2.0));
        assert_eq!(BoundingBox::from_included_pixels(3.0, 5.0, 3.0, 6.0, 0.0), BoundingBox::from(rectangle));
    }

    #[test]
    fn the_best_of_several_boxes_counts() {
        let truth = [bounds(50.0, 50.0, 1.0, 1.0), bounds(0.0, 0.0, 2.0, 1.0)];
        assert_eq!(bounds(0.0, 0.0, 1.0, 1.0).largest_iou(&truth), 0.5);
        assert_eq!(truth[0].largest_iou(&truth), 1.0);
        assert_eq!(truth[0].largest_iou(&[]), 0.0);
    }
}
