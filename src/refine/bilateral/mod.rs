//! The bilateral solver: moves the edges of a coarse mask to the edges of the image.
//!
//! Source: Barron and Poole, "The Fast Bilateral Solver", ECCV 2016, arXiv 1511.03296.

mod config;
mod grid;
mod solver;

pub use config::BilateralConfig;
pub use solver::BilateralSolver;

use super::fill_holes;
use crate::raster::{Mask, RgbImage};

/// Labels whose smooth masks are computed together: as many numbers as a vector register holds.
const TOGETHER: usize = 4;

/// Fits `mask` to the edges of `image`.
///
/// One label beside the background: the smooth mask's positions above ½, holes filled. DeepCut keeps the largest component
/// of that; see [`RefineConfig::largest_component`](super::RefineConfig).
/// More labels: one smooth mask for each, background included, and every pixel goes to the greatest, the lowest label of
/// equals. A mask with a single value everywhere, so one without foreground too, stays as it is.
///
/// # Shapes
/// image `[height, width]`, mask of any size (enlarged with nearest neighbours to the image's) → `[height, width]`
pub fn refine(image: &RgbImage, mask: &Mask, config: BilateralConfig) -> Mask {
    // The grid is the expensive part; nothing is smoothed in a mask of one value.
    if mask.values.iter().all(|value| Some(value) == mask.values.first()) {
        return Mask::filled(image.width, image.height, mask.values.first().copied().unwrap_or(0));
    }
    BilateralSolver::new(image, config).refine(mask)
}

impl BilateralSolver {
    /// [`refine`] for a grid that is already there.
    pub fn refine(&self, mask: &Mask) -> Mask {
        let mask = self.mask_of_image(mask);
        let mut labels = mask.values.clone();
        labels.sort_unstable();
        labels.dedup();
        match labels[..] {
            [] | [_] => mask,
            [0, label] => {
                let soft = self.solve_labels(&mask, [label]);
                let sharp: Vec<u8> = soft.iter().map(|&[value]| if value > 0.5 { label } else { 0 }).collect();
                fill_holes(&self.mask_from_grid(&sharp))
            }
            _ => self.greatest(&mask, &labels),
        }
    }

    /// How much of each label each vertex of the grid has, about 0 to 1.
    fn solve_labels<const LABELS: usize>(&self, mask: &Mask, labels: [u8; LABELS]) -> Vec<[f64; LABELS]> {
        self.solve_on_grid(mask.values.iter().map(|&value| labels.map(|label| if value == label { 1.0 } else { 0.0 })))
    }

    /// For every pixel the label that its vertex has most of.
    fn greatest(&self, mask: &Mask, labels: &[u8]) -> Mask {
        let mut greatest = vec![(f64::NEG_INFINITY, 0); self.vertices()];
        let mut keep = |label: u8, soft: &mut dyn Iterator<Item = f64>| {
            for (greatest, value) in greatest.iter_mut().zip(soft) {
                if value > greatest.0 {
                    *greatest = (value, label);
                }
            }
        };
        let (groups, rest) = labels.as_chunks::<TOGETHER>();
        for &group in groups {
            let soft = self.solve_labels(mask, group);
            for (place, label) in group.into_iter().enumerate() {
                keep(label, &mut soft.iter().map(|values| values[place]));
            }
        }
        for &label in rest {
            keep(label, &mut self.solve_labels(mask, [label]).into_iter().map(|[value]| value));
        }
        let sharp: Vec<u8> = greatest.into_iter().map(|(_, label)| label).collect();
        self.mask_from_grid(&sharp)
    }

    /// The mask whose pixels have the labels of their vertices.
    fn mask_from_grid(&self, labels: &[u8]) -> Mask {
        Mask::from_values(self.width, self.height, self.slice(labels))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three bands of colour, 90 × 40, each 30 wide, with some texture.
    fn bands() -> RgbImage {
        let pixel = |index: usize| {
            let texture = (index * 29 % 7) as u8;
            [[30 + texture, 60, 50], [200, 180, 90 + texture], [90, 20 + texture, 160]][index % 90 / 30]
        };
        RgbImage::from_values(90, 40, (0..90 * 40).map(pixel).collect())
    }

    /// A mask by column.
    fn columns(width: usize, height: usize, label: impl Fn(usize) -> u8) -> Mask {
        Mask::from_values(width, height, (0..width * height).map(|index| label(index % width)).collect())
    }

    #[test]
    fn edges_of_the_mask_move_to_those_of_the_image() {
        // (column of the coarse mask → label, column of the refined mask → label), masks of one and of several labels.
        type Labels = fn(usize) -> u8;
        let cases: [(Labels, Labels); 3] = [
            (|x| u8::from((36..55).contains(&x)) * 9, |x| u8::from((30..60).contains(&x)) * 9),
            (|x| [0, 4, 7][(x + 5) / 32], |x| [0, 4, 7][x / 30]),
            (|x| [3, 2, 1][(x + 5) / 32], |x| [3, 2, 1][x / 30]),
        ];
        for (coarse, expected) in cases {
            let coarse = columns(90, 40, coarse);
            let refined = refine(&bands(), &coarse, BilateralConfig::default());
            assert!(refined == columns(90, 40, expected), "{:?}", &refined.values[..90]);
            // The same from a mask that is smaller than the image.
            let small = coarse.resized_nearest(45, 20);
            assert!(refine(&bands(), &small, BilateralConfig::default()) == refined);
        }
    }

    #[test]
    fn binary_masks_lose_their_holes() {
        // A ring of one colour around a square of another, and beside it a smaller square in the ring's colour.
        let within = |at: usize, x: usize, y: usize, side: usize| {
            (x..x + side).contains(&(at % 90)) && (y..y + side).contains(&(at / 90))
        };
        let (outer, inner) = (|at| within(at, 8, 6, 28), |at| within(at, 16, 14, 12));
        let marked = |at: usize| outer(at) && !inner(at) || within(at, 60, 10, 16);
        let pixel = |at: usize| if marked(at) { [220, 60, 40] } else { [40, 90, if inner(at) { 200 } else { 60 }] };
        let image = RgbImage::from_values(90, 40, (0..90 * 40).map(pixel).collect());
        let mask = Mask::from_values(90, 40, (0..90 * 40).map(|at| u8::from(marked(at)) * 6).collect());
        let filled = |at: usize| u8::from(outer(at) || within(at, 60, 10, 16)) * 6;
        let filled = Mask::from_values(90, 40, (0..90 * 40).map(filled).collect());
        assert!(refine(&image, &mask, BilateralConfig::default()) == filled);
    }

    #[test]
    fn renamed_labels_give_the_renamed_mask() {
        let coarse =
            Mask::from_values(90, 40, (0..90 * 40).map(|index| (index / 90 / 9 + index % 90 / 25) as u8 % 4).collect());
        let name = |label: u8| [40, 10, 30, 20][label as usize];
        let solver = BilateralSolver::new(&bands(), BilateralConfig::token_cut());
        let refined = solver.refine(&coarse);
        assert_eq!(solver.refine(&coarse.map(name)), refined.map(name));
        assert_ne!(refined, coarse);
    }

    #[test]
    fn degenerate_images_and_masks_pass() {
        let config = BilateralConfig::default();
        for (width, height) in [(1, 1), (1, 50), (50, 1), (2, 2), (30, 30)] {
            let image = RgbImage::filled(width, height, [120, 7, 255]);
            for label in [0, 1, 255] {
                let uniform = Mask::filled(width, height, label);
                assert_eq!(refine(&image, &uniform, config), uniform);
                assert_eq!(BilateralSolver::new(&image, config).refine(&uniform), uniform);
            }
            // In a constant image only the place tells pixels apart.
            let half = columns(width, height, |x| u8::from(2 * x < width));
            assert_eq!(refine(&image, &half, config).values.len(), width * height);
        }
        let image = RgbImage::filled(3, 2, [1, 2, 3]);
        assert_eq!(refine(&image, &Mask::filled(0, 0, 0), config), Mask::filled(3, 2, 0));
        let solver = BilateralSolver::new(&image, config);
        assert_eq!(solver.refine(&Mask::filled(0, 5, 0)), Mask::filled(3, 2, 0));
        let nothing = RgbImage::filled(0, 0, [0; 3]);
        assert_eq!(refine(&nothing, &columns(4, 4, |x| x as u8), config), Mask::filled(0, 0, 0));
    }
}
