//! Objects that touch: every connected piece of the foreground cut in two, again and again, as long as a cut is cheap.

use faer::Mat;

use crate::graph::{Graph, Weights, centre};
use crate::nodes::Layout;
use crate::numerics::normalised_affinity::second_solution;
use crate::numerics::product::{Matrix, add_product};
use crate::raster::Mask;
use crate::refine::{Components, components_by};

/// Standard deviation of the Gaussian by which nodes lose affinity with their distance, as a share of the grid's longer
/// side: four cells of a grid of 27.
const REACH: f64 = 0.15;

/// Fewest nodes of an object, in either half of a cut.
pub const LEAST_NODES: usize = 4;

/// Tells touching objects apart by a recursive normalised cut: the number of the object that every node is part of, 1, 2,
/// …, and 0 for background; none where nodes are no grid or affinities join listed pairs only.
///
/// `kinds` are the values of objects, 0 for background: nodes of different kinds are in different objects. The affinity of
/// two nodes of a piece is W_ij = max(x_i·x_j, 0) · exp(−d_ij² / 2σ²), with d the distance of their cells and x their
/// features without what the whole image has in common, of unit length. A piece is cut along the second solution y of
/// (D − W) y = λ D y, where the cut's value
///
/// Ncut(A, B) = cut(A, B) / assoc(A, V) + cut(A, B) / assoc(B, V)
///
/// is least; what either side consists of is a piece again, and bits of fewer nodes than an object has join what surrounds
/// them. A piece whose best cut has a higher value than the threshold is one object. The value lies in [0, 2], and is 1 for
/// any cut of a graph whose affinities are all equal.
///
/// Source: Shi and Malik, "Normalized Cuts and Image Segmentation", PAMI 2000, the recursive two-way cut, with their
/// affinity in which the distance of features is that of brightness.
///
/// # Shapes
/// kinds `[N]` → `[N]`
pub fn cut_objects(graph: &Graph, layout: &Layout, kinds: &[u8], threshold: f64) -> Option<Vec<u32>> {
    if matches!(graph.weights, Weights::Edges { .. }) {
        return None;
    }
    let nodes: Vec<usize> = match layout {
        Layout::Grid { .. } => (0..graph.nodes()).collect(),
        // Where nothing is, no piece is.
        Layout::Part { whole, .. } if matches!(**whole, Layout::Grid { .. }) => {
            layout.positions().values.into_iter().map(Option::unwrap_or_default).collect()
        }
        Layout::Part { .. } | Layout::Superpixels { .. } => return None,
    };
    let mut features = graph.features.clone();
    centre(&mut features, graph.channels);
    let kinds = layout.paint(kinds, 0);
    let cutter = Cutter { features, channels: graph.channels, nodes: &nodes, kinds: &kinds, threshold };
    let mut open = members(&components_by(&kinds, |kind| kind));
    let (mut numbers, mut count) = (vec![0; kinds.values.len()], 0);
    while let Some(piece) = open.pop() {
        match cutter.cut(&piece) {
            Some(parts) => open.extend(parts),
            None => {
                count += 1;
                piece.into_iter().for_each(|position| numbers[position] = count);
            }
        }
    }
    match layout {
        Layout::Part { inside, .. } => Some(inside.iter().map(|&position| numbers[position as usize]).collect()),
        Layout::Grid { .. } | Layout::Superpixels { .. } => Some(numbers),
    }
}

/// Cuts the pieces of one image.
struct Cutter<'a> {
    /// Without the image's mean, of unit length, `[N, D]`.
    features: Vec<f32>,
    channels: usize,
    /// The node at every position.
    nodes: &'a [usize],
    kinds: &'a Mask,
    threshold: f64,
}

impl Cutter<'_> {
    /// The pieces that the best cut of a piece leaves; none if it is one object.
    fn cut(&self, piece: &[usize]) -> Option<Vec<Vec<usize>>> {
        if piece.len() < 2 * LEAST_NODES {
            return None;
        }
        let (side, value) = best_cut(&self.affinities(piece))?;
        if value > self.threshold {
            return None;
        }
        let mut whole = self.kinds.map(|_| 0u8);
        let mut sides = whole.clone();
        for (&node, &is_second) in piece.iter().zip(&side) {
            whole.values[node] = 1;
            sides.values[node] = 1 + u8::from(is_second);
        }
        let seeds = components_by(&sides, |side| side).labels;
        let parts = members(&components_by(&whole, |inside| inside).divided(seeds, LEAST_NODES));
        (parts.len() > 1).then_some(parts)
    }

    /// W of the nodes of a piece.
    fn affinities(&self, piece: &[usize]) -> Mat<f64> {
        let count = piece.len();
        let row = |&position: &usize| {
            let node = self.nodes[position];
            self.features[node * self.channels..(node + 1) * self.channels].iter().copied()
        };
        let features: Vec<f32> = piece.iter().flat_map(row).collect();
        let features = Matrix::of_rows(&features, self.channels);
        let mut products = vec![0.0; count * count];
        add_product(&mut products, features, features.transposed());
        let (columns, rows) = (self.kinds.width, self.kinds.height);
        let reach = REACH * columns.max(rows) as f64;
        let place = |node: usize| ((node % columns) as f64, (node / columns) as f64);
        Mat::from_fn(count, count, |one, other| {
            let ((x, y), (other_x, other_y)) = (place(piece[one]), place(piece[other]));
            let squared_distance = (x - other_x).powi(2) + (y - other_y).powi(2);
            f64::from(products[one * count + other]).max(0.0) * (-squared_distance / (2.0 * reach * reach)).exp()
        })
    }
}

/// The positions of every component, in order.
fn members(components: &Components) -> Vec<Vec<usize>> {
    let mut members = vec![Vec::new(); components.count()];
    for (position, &label) in components.labels.values.iter().enumerate() {
        if let Some(index) = (label as usize).checked_sub(1) {
            members[index].push(position);
        }
    }
    members
}

/// The least Ncut among the splits of the second solution at one of its values, with the nodes above the split; none where
/// there is no such solution, or a side would have no affinity.
fn best_cut(affinities: &Mat<f64>) -> Option<(Vec<bool>, f64)> {
    let nodes = affinities.nrows();
    let (solution, degrees) = second_solution(affinities)?;
    let mut order: Vec<usize> = (0..nodes).collect();
    order.sort_by(|&one, &other| solution[one].total_cmp(&solution[other]));
    let total: f64 = degrees.iter().sum();
    let (mut inner, mut below) = (0.0, 0.0);
    let mut best: Option<(usize, f64)> = None;
    for (place, &node) in order.iter().enumerate() {
        let to_below: f64 = order[..place].iter().map(|&other| affinities[(node, other)]).sum();
        inner += 2.0 * to_below + affinities[(node, node)];
        below += degrees[node];
        let (size, cut, above) = (place + 1, below - inner, total - below);
        if size < LEAST_NODES || nodes - size < LEAST_NODES || below <= 0.0 || above <= 0.0 {
            continue;
        }
        let value = cut / below + cut / above;
        if best.is_none_or(|(_, least)| value < least) {
            best = Some((size, value));
        }
    }
    let (size, value) = best?;
    let mut is_above = vec![true; nodes];
    order[..size].iter().for_each(|&node| is_above[node] = false);
    Some((is_above, value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Affinity;
    use crate::nodes::{Adjacency, Edge, NodeFeatures};

    const COLUMNS: usize = 10;

    /// A graph whose nodes have the feature of their letter.
    fn graph(rows: &[&str], adjacency: Adjacency) -> (Graph, Layout) {
        let feature = |letter: char| match letter {
            'a' => [1.0, 0.1, 0.0],
            'b' => [1.0, 0.0, 1.0],
            _ => [0.2, 1.0, 0.0],
        };
        let values: Vec<f32> = rows.iter().flat_map(|row| row.chars()).flat_map(feature).collect();
        let layout = Layout::Grid { rows: rows.len(), columns: COLUMNS };
        let nodes = NodeFeatures { values, channels: 3, layout: layout.clone(), adjacency };
        (Graph::build(&nodes, Affinity::NonNegative), layout)
    }

    fn kinds(rows: &[&str]) -> Vec<u8> {
        rows.iter().flat_map(|row| row.chars()).map(|letter| u8::from(letter != '.')).collect()
    }

    #[test]
    fn objects_that_differ_are_parted_and_others_are_not() {
        // (image, objects as letters)
        let cases: [(&[&str], &[&str]); 4] = [
            (&["..........", ".aaaabbbb.", ".aaaabbbb.", ".aaaabbbb.", ".........."], &["..........", ".1111....."]),
            // All alike: one.
            (&["..........", ".aaaa.....", ".aaaa.....", ".........."], &["..........", ".1111....."]),
            // A bit of another kind within is part of it, and so is one that is cut off.
            (&["..........", ".aaaaaaaa.", ".aaabaaaa.", ".aaaaaaaa.", ".........."], &["..........", ".11111111."]),
            // Nothing at all.
            (&["..........", ".........."], &[".........."]),
        ];
        for (number, (image, expected)) in cases.into_iter().enumerate() {
            let (graph, layout) = graph(image, Adjacency::Complete);
            let found = cut_objects(&graph, &layout, &kinds(image), 0.2).unwrap();
            let first = found.iter().find(|&&number| number > 0);
            for (row, expected) in found.chunks(COLUMNS).zip(expected) {
                let row: String = row.iter().map(|number| if Some(number) == first { '1' } else { '.' }).collect();
                assert_eq!(&row, expected, "case {number}");
            }
            let objects = found.iter().max().unwrap();
            assert_eq!(*objects, [2, 1, 1, 0][number], "case {number}: {found:?}");
        }
    }

    #[test]
    fn a_cut_costs_nothing_between_strangers_and_one_among_equals() {
        let blocks = Mat::from_fn(8, 8, |one, other| if (one < 4) == (other < 4) { 1.0 } else { 0.0 });
        let (side, value) = best_cut(&blocks).unwrap();
        assert!(value < 1e-9 && (0..8).all(|node| (side[node] == side[0]) == (node < 4)), "{value} {side:?}");
        let (_, value) = best_cut(&Mat::from_fn(9, 9, |_, _| 0.3)).unwrap();
        assert!((value - 1.0).abs() < 1e-9, "{value}");
        assert!(best_cut(&Mat::zeros(9, 9)).is_none());
    }

    #[test]
    fn listed_affinities_are_left_alone() {
        let image = [".aaaabbbb.", ".aaaabbbb."];
        let (graph, layout) = graph(&image, Adjacency::Edges(vec![Edge { first: 1, second: 2, weight: 1.0 }]));
        assert_eq!(cut_objects(&graph, &layout, &kinds(&image), 1.0), None);
    }
}
