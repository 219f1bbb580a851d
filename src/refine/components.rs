//! Connected pieces of a mask. Positions are connected with those above, below, left and right of them.

use std::array::from_fn;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use crate::numerics::union_find::UnionFind;
use crate::raster::{LabelMap, Mask, Rectangle};

/// The connected pieces of a mask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Components {
    /// 0 where there is no component, else 1, 2, … in the order in which the components first occur, row by row.
    pub labels: LabelMap,
    /// Area of component 1, 2, …
    pub areas_px: Vec<usize>,
}

impl Components {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.areas_px.len()
    }

    /// Divides every component by the seeds in it: each of its positions goes to the seed that is the fewest steps within
    /// the component away. Seeds of fewer than `least_px` positions in a component count for nothing there, and a component
    /// without any stays whole.
    ///
    /// # Shapes
    /// seeds `[height, width]`, 0 where there is none
    pub fn divided(&self, mut seeds: LabelMap, least_px: usize) -> Components {
        let mut areas: BTreeMap<(u32, u32), usize> = BTreeMap::new();
        for (&label, &seed) in self.labels.values.iter().zip(&seeds.values) {
            *areas.entry((label, seed)).or_default() += 1;
        }
        for (&label, seed) in self.labels.values.iter().zip(&mut seeds.values) {
            if label == 0 || areas[&(label, *seed)] < least_px {
                *seed = 0;
            }
        }
        self.grow(&mut seeds);
        let mut places: BTreeMap<(u32, u32), u32> = BTreeMap::new();
        let (mut labels, mut areas_px) = (self.labels.map(|_| 0), Vec::new());
        for (index, (&label, &seed)) in self.labels.values.iter().zip(&seeds.values).enumerate() {
            if label > 0 {
                let place = *places.entry((label, seed)).or_insert_with(|| {
                    areas_px.push(0);
                    areas_px.len() as u32
                });
                labels.values[index] = place;
                areas_px[place as usize - 1] += 1;
            }
        }
        Components { labels, areas_px }
    }

    /// Gives every position without a seed that of the nearest one within its component.
    fn grow(&self, seeds: &mut LabelMap) {
        let (width, height) = (seeds.width, seeds.height);
        let mut open: VecDeque<usize> = (0..seeds.values.len()).filter(|&index| seeds.values[index] > 0).collect();
        while let Some(index) = open.pop_front() {
            for neighbour in beside(index, width, height) {
                if seeds.values[neighbour] == 0 && self.labels.values[neighbour] == self.labels.values[index] {
                    seeds.values[neighbour] = seeds.values[index];
                    open.push_back(neighbour);
                }
            }
        }
    }
}

/// The positions above, left, right and below.
pub(super) fn beside(index: usize, width: usize, height: usize) -> impl Iterator<Item = usize> {
    let (x, y) = (index % width, index / width);
    let neighbours = [
        (y > 0).then(|| index - width),
        (x > 0).then(|| index - 1),
        (x + 1 < width).then(|| index + 1),
        (y + 1 < height).then(|| index + width),
    ];
    neighbours.into_iter().flatten()
}

/// The 4-connected components of the foreground, all its labels taken together.
///
/// # Shapes
/// mask `[height, width]` → labels `[height, width]`
pub fn components(mask: &Mask) -> Components {
    components_by(mask, |value| u8::from(value > 0))
}

/// Keeps the largest 4-connected component of the foreground, the first of equals; what else is foreground becomes
/// background.
///
/// All labels of foreground count as one, so parts of an object that touch stay together and keep their labels.
pub fn largest_component(mask: &Mask, is_foreground: impl Fn(u8) -> bool) -> Mask {
    let Components { labels, areas_px } = components_by(mask, |value| u8::from(is_foreground(value)));
    let largest_px = areas_px.iter().copied().max().unwrap_or(0);
    let largest = areas_px.iter().position(|&area_px| area_px == largest_px).map_or(0, |index| index as u32 + 1);
    let values = mask.values.iter().zip(&labels.values);
    let values = values.map(|(&value, &label)| if label == largest || !is_foreground(value) { value } else { 0 });
    let values = values.collect();
    Mask::from_values(mask.width, mask.height, values)
}

/// Around the largest 4-connected component of the foreground, the first of equals, all its labels taken together; none where there
/// is no foreground.
pub fn largest_bounds(mask: &Mask, is_foreground: impl Fn(u8) -> bool) -> Option<Rectangle> {
    let mut foreground = Runs::of(mask, |value| u8::from(is_foreground(value)));
    // Of every component, at its first run: pixels, and the columns that it reaches; rows follow from its runs.
    let mut found: Vec<(usize, Rectangle)> = Vec::new();
    let mut place_of = vec![0; foreground.runs.len()];
    for index in 0..foreground.runs.len() {
        let Run { start, end, .. } = foreground.runs[index];
        let (x, y, width) = (start % mask.width, start / mask.width, end - start);
        let first = foreground.pieces.find(index);
        if first == index {
            place_of[index] = found.len();
            found.push((0, Rectangle { x, y, width, height: 1 }));
        }
        let (area_px, bounds) = &mut found[place_of[first]];
        *area_px += width;
        let right = (bounds.x + bounds.width).max(x + width);
        bounds.x = bounds.x.min(x);
        bounds.width = right - bounds.x;
        bounds.height = y + 1 - bounds.y;
    }
    // Of equals the last is taken, hence from the end.
    found.into_iter().rev().max_by_key(|(area_px, _)| *area_px).map(|(_, bounds)| bounds)
}

/// Makes foreground of every hole: a 4-connected piece of background that does not touch the border.
///
/// A hole takes the label on the left of its first position, row by row. In a binary mask that is the only one there is.
pub fn fill_holes(mask: &Mask) -> Mask {
    let mut background = Runs::of(mask, |value| u8::from(value == 0));
    let (width, size) = (mask.width, mask.values.len());
    let mut is_open = vec![false; background.runs.len()];
    for index in 0..background.runs.len() {
        let Run { start, end, .. } = background.runs[index];
        let touches_border = start % width == 0 || end % width == 0 || start < width || end + width > size;
        is_open[background.pieces.find(index)] |= touches_border;
    }
    let mut filled = mask.clone();
    for index in 0..background.runs.len() {
        let first = background.pieces.find(index);
        if !is_open[first] {
            // A piece off the border does not begin in the first column, and what is on its left is no background.
            let label = mask.values[background.runs[first].start - 1];
            filled.values[background.runs[index].positions()].fill(label);
        }
    }
    filled
}

/// The 4-connected components of positions whose values are of one kind; positions of kind 0 belong to none.
pub fn components_by(mask: &Mask, kind: impl Fn(u8) -> u8) -> Components {
    let mut of_kinds = Runs::of(mask, kind);
    let mut labels = LabelMap::filled(mask.width, mask.height, 0);
    let mut areas_px = Vec::new();
    let mut label_of = vec![0; of_kinds.runs.len()];
    for (index, run) in of_kinds.runs.iter().enumerate() {
        // A piece is named by its first run, which has its label before any other asks for it.
        let first = of_kinds.pieces.find(index);
        if first == index {
            areas_px.push(0);
            label_of[index] = areas_px.len() as u32;
        }
        labels.values[run.positions()].fill(label_of[first]);
        areas_px[label_of[first] as usize - 1] += run.positions().len();
    }
    Components { labels, areas_px }
}

/// Neighbouring positions of one row that are of one kind.
#[derive(Debug, Clone, Copy)]
struct Run {
    start: usize,
    end: usize,
    kind: u8,
}

impl Run {
    fn positions(self) -> Range<usize> {
        self.start..self.end
    }
}

/// The runs of a mask row by row, and which of them are connected: there are far fewer of them than positions.
struct Runs {
    runs: Vec<Run>,
    pieces: UnionFind,
}

impl Runs {
    /// Those of all kinds but 0.
    fn of(mask: &Mask, kind: impl Fn(u8) -> u8) -> Runs {
        let kinds: [u8; 256] = from_fn(|value| kind(value as u8));
        let (width, mut runs) = (mask.width, Vec::new());
        // Where the runs of every row begin, and the end.
        let mut row_starts = Vec::with_capacity(mask.height + 1);
        for (row, values) in mask.values.chunks_exact(width.max(1)).enumerate() {
            row_starts.push(runs.len());
            let mut start = row * width;
            for equal in values.chunk_by(|one, other| kinds[usize::from(*one)] == kinds[usize::from(*other)]) {
                let (kind, end) = (kinds[usize::from(equal[0])], start + equal.len());
                if kind > 0 {
                    runs.push(Run { start, end, kind });
                }
                start = end;
            }
        }
        row_starts.push(runs.len());
        let mut pieces = UnionFind::new(runs.len());
        for rows in row_starts.windows(3) {
            let (mut above, mut below) = (rows[0], rows[1]);
            while above < rows[1] && below < rows[2] {
                let (upper, lower) = (runs[above], runs[below]);
                if upper.kind == lower.kind && upper.start + width < lower.end && lower.start < upper.end + width {
                    pieces.join(above, below);
                }
                // The one that ends first has met all that it can.
                if upper.end + width <= lower.end { above += 1 } else { below += 1 }
            }
        }
        Runs { runs, pieces }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of digits, `.` for 0.
    fn mask(rows: &[&str]) -> Mask {
        let digit = |character: char| character.to_digit(10).unwrap_or(0) as u8;
        let values: Vec<u8> = rows.iter().flat_map(|row| row.chars().map(digit)).collect();
        Mask::from_values(rows.first().map_or(0, |row| row.len()), rows.len(), values)
    }

    #[test]
    fn components_are_numbered_in_raster_order() {
        // (mask, labels): diagonals do not connect, arms that meet late do, labels do not part.
        let cases: [(&[&str], &[&str]); 5] = [
            (&["..1", "1..", "11."], &["..1", "2..", "22."]),
            (&["1.1.1", "1.1.1", "111.1"], &["1.1.2", "1.1.2", "111.2"]),
            (&["..1", ".11", "11."], &["..1", ".11", "11."]),
            (&["12.3", ".2.3"], &["11.2", ".1.2"]),
            (&["..", ".."], &["..", ".."]),
        ];
        for (input, expected) in cases {
            let found = components(&mask(input));
            assert_eq!(found.labels, mask(expected).map(u32::from), "{input:?}");
            for (label, &area_px) in (1..).zip(&found.areas_px) {
                assert_eq!(found.labels.values.iter().filter(|&&value| value == label).count(), area_px);
            }
        }
    }

    #[test]
    fn components_are_divided_by_the_nearest_seed_within_them() {
        // (mask, seeds, fewest positions, labels)
        type Case = (&'static [&'static str], &'static [&'static str], usize, &'static [&'static str]);
        let cases: [Case; 4] = [
            (&["11111"], &["1...2"], 1, &["11122"]),
            // What lies between two arms is no way; seeds outside of the mask are none; a number may be in two components.
            (&["11.11", "11.1."], &["12.1.", "..3.."], 1, &["12.33", "12.3."]),
            // Too small a seed.
            (&["1111"], &["22.1"], 2, &["1111"]),
            (&["1111"], &["...1"], 2, &["1111"]),
        ];
        for (input, seeds, least_px, expected) in cases {
            let found = components(&mask(input)).divided(mask(seeds).map(u32::from), least_px);
            assert_eq!(found.labels, mask(expected).map(u32::from), "{input:?} {seeds:?}");
            for (label, &area_px) in (1..).zip(&found.areas_px) {
                assert_eq!(found.labels.values.iter().filter(|&&value| value == label).count(), area_px);
            }
        }
    }

    #[test]
    fn the_largest_component_is_bounded_alone() {
        let cases: [(&[&str], Option<[usize; 4]>); 6] = [
            (&["...", "..."], None),
            (&["1..", "..1", ".11"], Some([1, 1, 2, 2])),
            // Of equals the first; labels do not part.
            (&["12..", "...3", "...3"], Some([0, 0, 2, 1])),
            (&["1.1.1", "1.1.1", "111.1"], Some([0, 0, 3, 3])),
            (&[".1", "11", "..", "11"], Some([0, 0, 2, 2])),
            (&["1"], Some([0, 0, 1, 1])),
        ];
        for (input, expected) in cases {
            let found = largest_bounds(&mask(input), |value| value > 0);
            assert_eq!(found.map(|found| [found.x, found.y, found.width, found.height]), expected, "{input:?}");
            let alone = largest_component(&mask(input), |value| value > 0);
            assert_eq!(found, Rectangle::bounding(&alone, |value| value > 0), "{input:?}");
        }
    }

    #[test]
    fn the_largest_component_stays_with_its_labels() {
        let cases: [(&[&str], &[&str]); 5] = [
            (&["1.11", "1..1"], &["..11", "...1"]),
            // Of equals the first.
            (&["1.1", "1.1"], &["1..", "1.."]),
            // Two parts that touch outweigh a larger single part.
            (&["33.", "..1", "312"], &["...", "..1", "312"]),
            (&["...", "..."], &["...", "..."]),
            (&["2"], &["2"]),
        ];
        for (input, expected) in cases {
            assert_eq!(largest_component(&mask(input), |value| value > 0), mask(expected), "{input:?}");
        }
        // Parts of the background join nothing and stay.
        let divided = mask(&["191", "198"]);
        assert_eq!(largest_component(&divided, |value| value < 8), mask(&["190", "198"]));
    }

    #[test]
    fn holes_off_the_border_are_filled() {
        let cases: [(&[&str], &[&str]); 6] = [
            (&["111", "1.1", "111"], &["111", "111", "111"]),
            // Open at the border, and open at it round a corner.
            (&["111", "1..", "111"], &["111", "1..", "111"]),
            (&["1111", "1..1", "11.1"], &["1111", "1..1", "11.1"]),
            // A gap at the corner is none: the background's connection is along sides only.
            (&[".1.", "1.1", ".1."], &[".1.", "111", ".1."]),
            (&["22222", "2...3", "2.1.3", "2...3", "22233"], &["22222", "22223", "22123", "22223", "22233"]),
            (&["...", "..."], &["...", "..."]),
        ];
        for (input, expected) in cases {
            assert_eq!(fill_holes(&mask(input)), mask(expected), "{input:?}");
        }
    }

    #[test]
    fn masks_without_positions_pass() {
        for (width, height) in [(0, 0), (0, 3), (3, 0)] {
            let empty = Mask::filled(width, height, 0);
            assert_eq!(components(&empty).count(), 0);
            assert_eq!(largest_component(&empty, |value| value > 0), empty);
            assert_eq!(fill_holes(&empty), empty);
        }
    }
}
