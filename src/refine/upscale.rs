//! From the cells of a grid to the pixels of an image.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::raster::{Mask, nearest_positions};

/// How pixels between the centres of cells are decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Upscale {
    /// As the cell they lie in, as in the paper.
    Nearest,
    /// By the probabilities of the four cells around them, interpolated.
    #[default]
    Bilinear,
}

/// What a grid of cells says: a mask value for every cell, and how probable each class is there.
pub struct Cells<'a> {
    pub values: &'a Mask,
    /// How probable every class is, row-major `[cells, classes]`; the largest of a row is that of the cell's value.
    pub shares: &'a [f32],
}

impl Upscale {
    /// The mask of `width` × `height` pixels; `class_of` maps a mask value to the class that it belongs to.
    ///
    /// A pixel's class is the one whose bilinearly interpolated share is largest, the lowest of equals; its value is that
    /// of the nearest of the four cells around it that are of this class.
    ///
    /// # Shapes
    /// cells `[rows, columns]` → `[height, width]`
    pub fn apply(self, cells: &Cells, class_of: impl Fn(u8) -> u8, width: usize, height: usize) -> Mask {
        let values = cells.values;
        if self == Upscale::Nearest || values.values.is_empty() {
            return values.resized_nearest(width, height);
        }
        let classes = cells.shares.len() / values.values.len();
        let (across, down) = (neighbours(width, values.width), neighbours(height, values.height));
        let nearest = (nearest_positions(width, values.width), nearest_positions(height, values.height));
        let mut mask = Vec::with_capacity(width * height);
        for (vertical, &row) in down.iter().zip(&nearest.1) {
            for (horizontal, &column) in across.iter().zip(&nearest.0) {
                let own = values.at(column, row);
                let corners = vertical.iter().flat_map(|&(y, down)| {
                    horizontal.iter().map(move |&(x, across)| (y * values.width + x, down * across))
                });
                if corners.clone().all(|(cell, _)| values.values[cell] == own) {
                    mask.push(own);
                    continue;
                }
                let share = |class: usize| -> f32 {
                    corners.clone().map(|(cell, weight)| weight * cells.shares[cell * classes + class]).sum()
                };
                let class = (1..classes).fold((0, share(0)), |best, class| {
                    let share = share(class);
                    if share > best.1 { (class, share) } else { best }
                });
                let of_class = corners.filter(|&(cell, _)| usize::from(class_of(values.values[cell])) == class.0);
                let closest = of_class.max_by(|one, other| one.1.total_cmp(&other.1));
                mask.push(closest.map_or(own, |(cell, _)| values.values[cell]));
            }
        }
        Mask::from_values(width, height, mask)
    }
}

/// For every target position the two source positions around its centre with their weights, at the edges one twice.
pub(super) fn neighbours(target_size: usize, source_size: usize) -> Vec<[(usize, f32); 2]> {
    let last = source_size - 1;
    let place = |target: usize| {
        let centre = (target as f64 + 0.5) * source_size as f64 / target_size as f64 - 0.5;
        let first = centre.floor();
        let weight = (centre - first) as f32;
        let inside = |position: f64| position.clamp(0.0, last as f64) as usize;
        [(inside(first), 1.0 - weight), (inside(first + 1.0), weight)]
    };
    (0..target_size).map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_lie_where_interpolated_shares_are_equal() {
        let values = Mask::from_values(2, 1, vec![0, 1]);
        let upscaled = |shares: &[f32], upscale: Upscale| {
            upscale.apply(&Cells { values: &values, shares }, |value| value, 8, 1).values
        };
        assert_eq!(upscaled(&[0.9, 0.1, 0.1, 0.9], Upscale::Bilinear), [0, 0, 0, 0, 1, 1, 1, 1]);
        // Centres at 2 and 6 of 8; ½ is reached at 2 + 4 · 0.1 / 0.5.
        assert_eq!(upscaled(&[0.6, 0.4, 0.1, 0.9], Upscale::Bilinear), [0, 0, 0, 1, 1, 1, 1, 1]);
        assert_eq!(upscaled(&[0.6, 0.4, 0.1, 0.9], Upscale::Nearest), [0, 0, 0, 0, 1, 1, 1, 1]);
        assert_eq!(upscaled(&[1.0, 0.0, 0.4, 0.6], Upscale::Bilinear), [0, 0, 0, 0, 0, 1, 1, 1]);
    }

    #[test]
    fn parts_keep_their_values_and_classes_without_a_cell_change_nothing() {
        // Values 2 and 3 are parts of class 1.
        let values = Mask::from_values(3, 1, vec![0, 2, 3]);
        let shares = [0.9, 0.1, 0.1, 0.9, 0.1, 0.9];
        let mask = Upscale::Bilinear.apply(&Cells { values: &values, shares: &shares }, |value| value.min(1), 12, 1);
        assert_eq!(mask.values, [0, 0, 0, 0, 2, 2, 2, 2, 3, 3, 3, 3]);
        // Class 2 has the largest share in between, but no cell is of it.
        let values = Mask::from_values(2, 1, vec![0, 1]);
        let shares = [0.5, 0.1, 0.4, 0.1, 0.5, 0.4];
        let mask = Upscale::Bilinear.apply(&Cells { values: &values, shares: &shares }, |value| value, 4, 1);
        assert_eq!(mask.values, [0, 0, 1, 1]);
    }

    #[test]
    fn any_size_goes() {
        let values = Mask::from_values(2, 2, vec![0, 1, 1, 0]);
        let shares = [0.8, 0.2, 0.3, 0.7, 0.3, 0.7, 0.8, 0.2];
        for (width, height) in [(0, 0), (1, 1), (1, 9), (2, 2), (7, 3)] {
            let mask =
                Upscale::Bilinear.apply(&Cells { values: &values, shares: &shares }, |value| value, width, height);
            assert_eq!((mask.width, mask.height), (width, height));
        }
    }
}
