//! Boundaries between segments, and how far those of two segmentations agree.

use super::thinning::thinned;
use crate::metrics::overlap::f_beta;
use crate::metrics::share;
use crate::numerics::bipartite_matching::Matching;
use crate::raster::{LabelMap, Raster};

/// How many boundary pixels of a prediction are right, and how many of its annotators are found; counts of several images add up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BoundaryCounts {
    /// Of the prediction.
    pub predicted_px: u64,
    /// Those of the prediction that are matched with a pixel of any annotator's.
    pub right_px: u64,
    /// Of all annotators together.
    pub true_px: u64,
    /// Those of the annotators that are matched with a pixel of the prediction.
    pub found_px: u64,
}

impl BoundaryCounts {
    /// Adds the pixels of another image.
    pub fn add(&mut self, other: BoundaryCounts) {
        self.predicted_px += other.predicted_px;
        self.right_px += other.right_px;
        self.true_px += other.true_px;
        self.found_px += other.found_px;
    }

    /// Share of the predicted boundary that is right; of none 1 if there was none to find, else 0.
    pub fn precision(&self) -> f64 {
        if self.predicted_px == 0 && self.true_px > 0 { 0.0 } else { share(self.right_px, self.predicted_px) }
    }

    /// Share of the annotators' boundaries that is found; of none 1 if none was predicted, else 0.
    pub fn recall(&self) -> f64 {
        if self.true_px == 0 && self.predicted_px > 0 { 0.0 } else { share(self.found_px, self.true_px) }
    }

    /// The harmonic mean of precision and recall; 1 if there is no boundary at all.
    pub fn f_measure(&self) -> f64 {
        f_beta(self.precision(), self.recall(), 1.0)
    }
}

/// The pixels of the boundaries of a segmentation, row by row.
pub struct Boundary {
    /// (x, y)
    points: Vec<(usize, usize)>,
    /// `[height + 1]`: where the points of each row begin.
    rows: Vec<usize>,
}

impl Boundary {
    /// The boundaries of a segmentation, thinned to lines of one pixel: a pixel is of a boundary if the one to its right, the one
    /// below it or the one between these two is in another segment.
    pub fn of(map: &LabelMap) -> Self {
        let (width, height) = (map.width, map.height);
        let is_boundary = |place: usize| {
            let (x, y) = (place % width, place / width);
            let (right, below) = ((x + 1).min(width - 1), (y + 1).min(height - 1));
            let label = map.at(x, y);
            [(right, y), (x, below), (right, below)].iter().any(|&(x, y)| map.at(x, y) != label)
        };
        let thick = Raster::from_values(width, height, (0..map.values.len()).map(is_boundary).collect());
        let thin = thinned(&thick);
        let mut points = Vec::new();
        let mut rows = vec![0];
        for y in 0..height {
            points.extend((0..width).filter(|&x| thin.at(x, y)).map(|x| (x, y)));
            rows.push(points.len());
        }
        Self { points, rows }
    }

    /// The indices of the points in reach of a place.
    fn within<'a>(&'a self, (x, y): (usize, usize), reach: &'a Reach) -> impl Iterator<Item = usize> + 'a {
        let farthest = reach.half_widths_px.len() - 1;
        let last = (y + farthest).min(self.rows.len() - 2);
        (y.saturating_sub(farthest)..=last).flat_map(move |row| {
            let half_width = reach.half_widths_px[row.abs_diff(y)];
            let start = self.rows[row];
            let points = &self.points[start..self.rows[row + 1]];
            let from = points.partition_point(|point| point.0 + half_width < x);
            let count = points[from..].partition_point(|point| point.0 <= x + half_width);
            start + from..start + from + count
        })
    }
}

/// The places that are at most so far away: a disc.
struct Reach {
    /// Of the disc in every row, from its middle one on.
    half_widths_px: Vec<usize>,
}

impl Reach {
    /// All places with distance² ≤ `squared_px`.
    fn of(squared_px: u64) -> Self {
        let half_width = |row: u64| (squared_px - row * row).isqrt() as usize;
        Self { half_widths_px: (0..=squared_px.isqrt()).map(half_width).collect() }
    }
}

/// The square of how far apart matched pixels may be, rounded down as distances² are whole numbers: (0.0075 · diagonal)², which is
/// 9/160 000 of the diagonal's square.
fn tolerance_squared_px(width: usize, height: usize) -> u64 {
    let [width, height] = [width, height].map(|side| side as u128);
    (9 * (width * width + height * height) / 160_000) as u64
}

/// Matches the boundary of a prediction with that of every annotator of the image of this size.
///
/// Pixels are matched one to one, as many as possible with no pair farther apart than 0.0075 of the image's diagonal. Near ones are
/// matched first: which pixels of a prediction are right by several annotators together depends on it, their number by any one of
/// them does not.
pub fn compare(predicted: &Boundary, annotators: &[&Boundary], width: usize, height: usize) -> BoundaryCounts {
    let squared_px = tolerance_squared_px(width, height);
    // 0, 1, 2, 4, … pixels, and as far as allowed.
    let growing = std::iter::successors(Some(1u64), |squared_px| squared_px.checked_mul(4));
    let stages = std::iter::once(0).chain(growing).take_while(|&stage| stage < squared_px).chain([squared_px]);
    let reaches: Vec<Reach> = stages.map(Reach::of).collect();
    let mut is_right = vec![false; predicted.points.len()];
    let mut counts = BoundaryCounts { predicted_px: predicted.points.len() as u64, ..BoundaryCounts::default() };
    for truth in annotators {
        let matching = matched(predicted, truth, &reaches);
        for (is_right, partner) in is_right.iter_mut().zip(&matching.of_left) {
            *is_right |= partner.is_some();
        }
        counts.true_px += truth.points.len() as u64;
        counts.found_px += matching.of_right.iter().flatten().count() as u64;
    }
    counts.right_px = is_right.into_iter().filter(|&is_right| is_right).count() as u64;
    counts
}

/// The matching of two boundaries, begun with the nearest free pixel for each pixel within growing reaches.
fn matched(predicted: &Boundary, truth: &Boundary, reaches: &[Reach]) -> Matching {
    let mut matching = Matching::none(predicted.points.len(), truth.points.len());
    let distance_squared = |left: usize, right: usize| {
        let ((x, y), (other_x, other_y)) = (predicted.points[left], truth.points[right]);
        x.abs_diff(other_x).pow(2) + y.abs_diff(other_y).pow(2)
    };
    for reach in reaches {
        for (left, &point) in predicted.points.iter().enumerate() {
            if matching.of_left[left].is_some() {
                continue;
            }
            let free = truth.within(point, reach).filter(|&right| matching.of_right[right].is_none());
            if let Some(right) = free.min_by_key(|&right| distance_squared(left, right)) {
                matching.pair(left, right);
            }
        }
    }
    if let Some(reach) = reaches.last() {
        matching.complete(|left| truth.within(predicted.points[left], reach));
    }
    matching
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A map of two segments, divided before the column.
    fn divided(width: usize, height: usize, column: usize) -> LabelMap {
        let values = (0..width * height).map(|place| u32::from(place % width >= column)).collect();
        LabelMap::from_values(width, height, values)
    }

    #[test]
    fn boundaries_match_within_their_tolerance_and_one_to_one() {
        // 0.0075 of the diagonal of 320x240 is 3 pixels exactly.
        let (width, height) = (320, 240);
        assert_eq!(tolerance_squared_px(width, height), 9);
        assert_eq!(Reach::of(9).half_widths_px, [3, 2, 2, 0]);
        let truth = Boundary::of(&divided(width, height, 100));
        assert_eq!(truth.points[0].0, 99);
        let line_px = truth.points.len() as u64;
        for (column, found_px) in [(100, line_px), (103, line_px), (97, line_px), (104, 0)] {
            let counts = compare(&Boundary::of(&divided(width, height, column)), &[&truth], width, height);
            let expected = BoundaryCounts { predicted_px: line_px, right_px: found_px, true_px: line_px, found_px };
            assert_eq!(counts, expected, "column {column}");
        }
        // Two lines near one: as many pixels are right as there are to be found.
        let mut stripe = divided(width, height, 99);
        stripe.values.iter_mut().enumerate().for_each(|(place, value)| *value += u32::from(place % width >= 102));
        let counts = compare(&Boundary::of(&stripe), &[&truth], width, height);
        let expected =
            BoundaryCounts { predicted_px: 2 * line_px, right_px: line_px, true_px: line_px, found_px: line_px };
        assert_eq!(counts, expected);
        assert_eq!((counts.precision(), counts.recall()), (0.5, 1.0));
        assert!((counts.f_measure() - 2.0 / 3.0).abs() < 1e-12);
        // Right by any of the annotators; sought by all.
        let far = Boundary::of(&divided(width, height, 200));
        let counts = compare(&far, &[&truth, &far], width, height);
        assert_eq!((counts.precision(), counts.recall()), (1.0, 0.5));
    }

    #[test]
    fn where_there_is_no_boundary_none_is_right() {
        let (none, some) = (Boundary::of(&divided(9, 5, 0)), Boundary::of(&divided(9, 5, 4)));
        let scores = |predicted, truth| {
            let counts = compare(predicted, &[truth], 9, 5);
            [counts.precision(), counts.recall(), counts.f_measure()]
        };
        assert_eq!(scores(&none, &none), [1.0; 3]);
        assert_eq!(scores(&none, &some), [0.0; 3]);
        assert_eq!(scores(&some, &none), [0.0; 3]);
        assert_eq!(scores(&some, &some), [1.0; 3]);
        for (width, height) in [(0, 0), (1, 1), (0, 3)] {
            assert!(Boundary::of(&LabelMap::filled(width, height, 0)).points.is_empty());
        }
    }
}
