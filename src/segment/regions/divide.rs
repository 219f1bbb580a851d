//! One image's nodes → regions: the cheapest labels by the code book and the graph cut, in connected pieces that are not
//! too small.

use super::RegionsConfig;
use crate::graph::{Proximity, deviation};
use crate::nodes::Layout;
use crate::numerics::expansion::PottsEnergy;
use crate::numerics::product::{Matrix, add_product};

/// So many nodes tell how much the distances of an image's features vary.
const MOST_COMPARED: usize = 1024;

/// What is known of the nodes of an image.
pub struct Nodes<'a> {
    pub layout: &'a Layout,
    /// What every node costs as one of every kind, row-major `[N, K]`.
    pub costs: &'a [f64],
    /// What nodes are compared by along boundaries, row-major `[N, D]`.
    pub compared: &'a [f32],
    /// Whether only their directions are.
    pub unit_length: bool,
}

/// The regions of an image.
#[derive(Debug, Clone, PartialEq)]
pub struct Divided {
    /// The kind of every node's region, `[N]`.
    pub labels: Vec<usize>,
    /// The connected region of every node, numbered from 0 in the order of their first nodes, `[N]`; never more than
    /// 65 535.
    pub pieces: Vec<usize>,
}

/// Gives every node the label for which costs and boundaries together are cheapest, by α-expansion from the first label, and
/// joins connected regions of few nodes to their neighbours. Where boundaries cost more than they can save, nodes that edges join
/// have the label that is cheapest for all of them together.
///
/// # Panics
/// If there is no node.
pub fn divide(nodes: &Nodes, config: &RegionsConfig) -> Divided {
    let count = nodes.layout.nodes();
    let labels = nodes.costs.len() / count;
    let compared = Compared::new(nodes.compared, count, nodes.unit_length);
    let places = places(nodes.layout);
    let near = Proximity::new(&places, compared.deviation(), |one, other| compared.distance(one, other));
    let range = |row: &[f64]| {
        let (least, most) = row.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most): (f64, f64), &cost| {
            (least.min(cost), most.max(cost))
        });
        (most - least).max(0.0)
    };
    // No boundary saves more. Whole numbers stand for costs: beside much larger ones they would be nothing.
    let most: f64 = nodes.costs.chunks_exact(labels).map(range).sum();
    let weights: Vec<f64> = near.weights.iter().map(|weight| (config.lambda * weight).min(most)).collect();
    let energy = PottsEnergy::of_reals(nodes.costs, labels, near.edges, &weights);
    let mut labels = energy.expanded(vec![0; count], |_| ());
    let borders = Borders::new(nodes.layout);
    let pieces = borders.joined(&mut labels, config.least_nodes);
    Divided { labels, pieces }
}

/// Features by their distances.
struct Compared {
    /// Row-major `[N, D]`.
    rows: Vec<f32>,
    width: usize,
}

impl Compared {
    fn new(values: &[f32], count: usize, unit_length: bool) -> Compared {
        let width = values.len() / count;
        let mut rows = values.to_vec();
        if unit_length {
            for row in rows.chunks_exact_mut(width) {
                let length = row.iter().map(|value| value * value).sum::<f32>().sqrt();
                // What has no direction is as far from everything.
                row.iter_mut().for_each(|value| *value /= length.max(f32::MIN_POSITIVE));
            }
        }
        Compared { rows, width }
    }

    fn row(&self, node: usize) -> &[f32] {
        &self.rows[node * self.width..][..self.width]
    }

    fn distance(&self, one: usize, other: usize) -> f64 {
        // In lanes, which the compiler puts side by side.
        let mut sums = [0.0f32; 16];
        let (ones, rest) = self.row(one).as_chunks::<16>();
        let (others, other_rest) = self.row(other).as_chunks::<16>();
        for (one, other) in ones.iter().zip(others) {
            (0..16).for_each(|lane| sums[lane] += (one[lane] - other[lane]).powi(2));
        }
        let ends: f32 = rest.iter().zip(other_rest).map(|(one, other)| (one - other).powi(2)).sum();
        f64::from(sums.iter().sum::<f32>() + ends).sqrt()
    }

    /// How much distances vary over all pairs, of many nodes over those of some.
    fn deviation(&self) -> f64 {
        let count = self.rows.len() / self.width;
        let chosen: Vec<usize> = (0..count).step_by(count.div_ceil(MOST_COMPARED).max(1)).collect();
        let rows: Vec<f32> = chosen.iter().flat_map(|&node| self.row(node)).copied().collect();
        let matrix = Matrix::of_rows(&rows, self.width);
        let mut products = vec![0.0; chosen.len() * chosen.len()];
        add_product(&mut products, matrix, matrix.transposed());
        let product = |one: usize, other: usize| f64::from(products[one * chosen.len() + other]);
        let squared = |one: usize, other: usize| product(one, one) + product(other, other) - 2.0 * product(one, other);
        deviation(chosen.len(), |one, other| squared(one, other).max(0.0).sqrt())
    }
}

/// The middle of every node, in units in which a node is one large.
///
/// # Shapes
/// → `[N]`, each (x, y)
fn places(layout: &Layout) -> Vec<[f64; 2]> {
    let positions = layout.positions();
    let count = layout.nodes();
    let mut sums = vec![[0.0f64; 3]; count];
    for (place, node) in positions.values.iter().enumerate() {
        let Some(node) = *node else { continue };
        let [x, y] = [place % positions.width, place / positions.width].map(|at| at as f64);
        let sum = &mut sums[node];
        *sum = [sum[0] + x, sum[1] + y, sum[2] + 1.0];
    }
    let covered: f64 = sums.iter().map(|sum| sum[2]).sum();
    let unit = (covered / count as f64).sqrt().max(f64::MIN_POSITIVE);
    sums.into_iter().map(|[x, y, size]| [x, y].map(|sum| sum / size.max(1.0) / unit)).collect()
}

/// How much boundary nodes have with each other.
struct Borders {
    /// For every node its neighbours and the positions along which they meet, `[N]`.
    neighbours: Vec<Vec<(usize, usize)>>,
}

impl Borders {
    fn new(layout: &Layout) -> Borders {
        let positions = layout.positions();
        let mut neighbours: Vec<Vec<(usize, usize)>> = vec![Vec::new(); layout.nodes()];
        let mut meet = |one: Option<usize>, other: Option<usize>| {
            let (Some(one), Some(other)) = (one, other) else { return };
            if one == other {
                return;
            }
            for (node, neighbour) in [(one, other), (other, one)] {
                let known = neighbours[node].iter_mut().find(|(known, _)| *known == neighbour);
                match known {
                    Some((_, length)) => *length += 1,
                    None => neighbours[node].push((neighbour, 1)),
                }
            }
        };
        for y in 0..positions.height {
            for x in 0..positions.width {
                if x + 1 < positions.width {
                    meet(positions.at(x, y), positions.at(x + 1, y));
                }
                if y + 1 < positions.height {
                    meet(positions.at(x, y), positions.at(x, y + 1));
                }
            }
        }
        Borders { neighbours }
    }

    /// Joins the smallest pieces first, as long as one has fewer than `least` nodes or there are more pieces than a mask has
    /// values; gives the piece of every node.
    fn joined(&self, labels: &mut [usize], least: usize) -> Vec<usize> {
        const MOST_PIECES: usize = u16::MAX as usize;
        let mut pieces = self.pieces(labels);
        let count = pieces.iter().max().map_or(0, |last| last + 1);
        let mut members: Vec<Vec<usize>> = vec![Vec::new(); count];
        pieces.iter().enumerate().for_each(|(node, &piece)| members[piece].push(node));
        let mut left = count;
        // Pieces that touch no other stay, however small.
        let mut alone = vec![false; count];
        loop {
            let joinable = (0..count).filter(|&piece| !members[piece].is_empty() && !alone[piece]);
            let Some(smallest) = joinable.min_by_key(|&piece| members[piece].len()) else { break };
            if members[smallest].len() >= least && left <= MOST_PIECES {
                break;
            }
            // Ordered, so that of equal boundaries the first piece's is taken.
            let mut shared = std::collections::BTreeMap::new();
            for &node in &members[smallest] {
                for &(neighbour, length) in &self.neighbours[node] {
                    if pieces[neighbour] != smallest {
                        *shared.entry(pieces[neighbour]).or_insert(0) += length;
                    }
                }
            }
            let longest = shared.iter().max_by(|one, other| one.1.cmp(other.1).then(other.0.cmp(one.0)));
            let Some((&target, _)) = longest else {
                alone[smallest] = true;
                continue;
            };
            let label = labels[members[target][0]];
            let moved = std::mem::take(&mut members[smallest]);
            for &node in &moved {
                (labels[node], pieces[node]) = (label, target);
            }
            members[target].extend(moved);
            left -= 1;
        }
        // Neighbours of one label may have come together.
        self.pieces(labels)
    }

    /// The connected pieces of one label each.
    fn pieces(&self, labels: &[usize]) -> Vec<usize> {
        let mut pieces = vec![usize::MAX; labels.len()];
        let mut next = 0;
        for start in 0..labels.len() {
            if pieces[start] != usize::MAX {
                continue;
            }
            let mut reached = vec![start];
            pieces[start] = next;
            while let Some(node) = reached.pop() {
                for &(neighbour, _) in &self.neighbours[node] {
                    if pieces[neighbour] == usize::MAX && labels[neighbour] == labels[start] {
                        pieces[neighbour] = next;
                        reached.push(neighbour);
                    }
                }
            }
            next += 1;
        }
        pieces
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRID: Layout = Layout::Grid { rows: 6, columns: 8 };

    /// Two halves, with a node in the left one that looks like the right one a little.
    fn halves(config: &RegionsConfig, odd: f64) -> Divided {
        let mut costs = Vec::new();
        let mut compared = Vec::new();
        for node in 0..48 {
            let right = node % 8 >= 4;
            let mut row = if right { [2.0, 0.0] } else { [0.0, 2.0] };
            if node == 18 {
                row = [odd, 0.0];
            }
            costs.extend(row);
            compared.extend(if right { [0.0, 1.0] } else { [1.0, 0.0] });
        }
        divide(&Nodes { layout: &GRID, costs: &costs, compared: &compared, unit_length: true }, config)
    }

    #[test]
    fn boundaries_lie_where_features_change() {
        let config = RegionsConfig { least_nodes: 1, lambda: 1.0, ..RegionsConfig::default() };
        let expected: Vec<usize> = (0..48).map(|node| usize::from(node % 8 >= 4)).collect();
        let found = halves(&config, 1.0);
        assert_eq!((&found.labels, &found.pieces), (&expected, &expected));
        // Boundaries that cost nothing are everywhere; those that cost all are nowhere.
        let free = halves(&RegionsConfig { lambda: 0.0, ..config.clone() }, 1.0);
        assert_eq!((free.labels[18], free.pieces[18], free.pieces[19], free.pieces[47]), (1, 2, 0, 1));
        let dear = halves(&RegionsConfig { lambda: 1e12, ..config.clone() }, 1.0);
        assert!(dear.labels.iter().all(|&label| label == dear.labels[0]));
        // Not the first kind, but that which fits best.
        for (sides, best) in [([3.0, 1.0], 1), ([1.0, 3.0], 0)] {
            let costs = sides.repeat(48);
            let nodes = Nodes { layout: &GRID, costs: &costs, compared: &[1.0; 48], unit_length: false };
            for lambda in [1e12, 1e30, f64::MAX] {
                let found = divide(&nodes, &RegionsConfig { lambda, ..config.clone() });
                assert_eq!((found.labels, found.pieces), (vec![best; 48], vec![0; 48]), "{lambda}");
            }
        }
        // A node of another kind is a region, unless regions are larger.
        let odd = halves(&config, 1e3);
        assert_eq!(odd.labels[18], 1);
        let joined = halves(&RegionsConfig { least_nodes: 2, ..config }, 1e3);
        assert_eq!((joined.labels, joined.pieces), (expected.clone(), expected));
    }

    #[test]
    fn there_are_never_more_regions_than_values() {
        // Chessboards.
        for (side, expected) in [(40, 1600..=1600), (257, 60_000..=65_535)] {
            let borders = Borders::new(&Layout::Grid { rows: side, columns: side });
            let mut labels: Vec<usize> = (0..side * side).map(|node| (node / side + node % side) % 2).collect();
            let count = borders.joined(&mut labels, 1).into_iter().max().unwrap() + 1;
            assert!(expected.contains(&count), "{count} of {side}²");
        }
    }

    #[test]
    fn any_layout_is_divided() {
        for layout in [
            Layout::Grid { rows: 1, columns: 1 },
            Layout::Grid { rows: 1, columns: 300 },
            // Two nodes that do not touch.
            Layout::Part { whole: Box::new(GRID), inside: vec![0, 47] },
        ] {
            let count = layout.nodes();
            let costs: Vec<f64> = (0..count).flat_map(|node| [node as f64 % 3.0, 1.0]).collect();
            let nodes = Nodes { layout: &layout, costs: &costs, compared: &vec![0.0; 5 * count], unit_length: true };
            let found = divide(&nodes, &RegionsConfig::default());
            assert_eq!((found.labels.len(), found.pieces.len()), (count, count));
        }
    }
}
