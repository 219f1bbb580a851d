//! The numbers of regions, of which there may be more than a mask has values.

use std::collections::VecDeque;

use super::components::beside;
use crate::raster::{Mask, Raster};

/// The nodes of an image whose regions are numbered, on their raster.
#[derive(Debug, Clone, Copy)]
pub struct NumberedNodes<'a> {
    /// Mask values, which no two regions share where they touch.
    pub values: &'a Mask,
    /// The number of every node's region, from 1 on.
    pub numbers: &'a Raster<u16>,
}

impl NumberedNodes<'_> {
    /// The region of every pixel of a mask that was made of the nodes' values: that of its node, and where this has another
    /// value, that of the nearest pixel of its value by steps within the value. What no node of its value is in belongs to the region
    /// it touches. 0 where the mask is 0.
    ///
    /// # Shapes
    /// mask `[height, width]` → `[height, width]`
    pub fn of_pixels(&self, mask: &Mask) -> Raster<u16> {
        let values = self.values.resized_nearest(mask.width, mask.height);
        let of_nodes = self.numbers.resized_nearest(mask.width, mask.height);
        let mut found = of_nodes.clone();
        for ((number, of_node), value) in found.values.iter_mut().zip(&values.values).zip(&mask.values) {
            if of_node != value || *value == 0 {
                *number = 0;
            }
        }
        drop(values);
        grow(&mut found, |one, other| mask.values[one] == mask.values[other]);
        grow(&mut found, |_, other| mask.values[other] > 0);
        for ((number, &of_node), &value) in found.values.iter_mut().zip(&of_nodes.values).zip(&mask.values) {
            if *number == 0 && value > 0 {
                *number = of_node;
            }
        }
        found
    }
}

/// Gives pixels without a number that of the nearest one, by steps that may be made.
fn grow(numbers: &mut Raster<u16>, may_step: impl Fn(usize, usize) -> bool) {
    let (width, height) = (numbers.width, numbers.height);
    let is_free = |values: &[u16], from: usize, to: usize| values[to] == 0 && may_step(from, to);
    let ends = |&pixel: &usize| {
        numbers.values[pixel] > 0 && beside(pixel, width, height).any(|other| is_free(&numbers.values, pixel, other))
    };
    let mut open: VecDeque<usize> = (0..numbers.values.len()).filter(ends).collect();
    while let Some(pixel) = open.pop_front() {
        for other in beside(pixel, width, height) {
            if is_free(&numbers.values, pixel, other) {
                numbers.values[other] = numbers.values[pixel];
                open.push_back(other);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_belong_to_the_nearest_region_of_their_value() {
        // Two regions of value 1 on both sides of one of value 2; the mask has moved their boundaries.
        let (values, numbers) =
            (Mask::from_values(3, 1, vec![1, 2, 1]), Raster::from_values(3, 1, vec![300, 400, 500]));
        let of_pixels = |mask: &[u8]| {
            let mask = Mask::from_values(mask.len(), 1, mask.to_vec());
            NumberedNodes { values: &values, numbers: &numbers }.of_pixels(&mask).values
        };
        assert_eq!(of_pixels(&[1, 1, 1, 2, 1, 1]), [300, 300, 300, 400, 500, 500]);
        assert_eq!(
            of_pixels(&[1, 1, 1, 1, 1, 1]),
            [300, 300, 300, 500, 500, 500],
            "as far from both as the other half"
        );
        assert_eq!(of_pixels(&[1, 0, 2, 2, 0, 1]), [300, 0, 400, 400, 0, 500], "no data is no region");
        assert_eq!(of_pixels(&[1, 1, 2, 2, 2, 1]), [300, 300, 400, 400, 400, 500]);
        // What has the value of no node below or beside it goes to what it touches, or to its node.
        assert_eq!(of_pixels(&[7, 1, 2, 2, 0, 7]), [300, 300, 400, 400, 0, 500]);
        assert_eq!(of_pixels(&[]), [0u16; 0]);
    }
}
