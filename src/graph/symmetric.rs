//! Products with non-negative W on the processor, without W.

use rayon::prelude::*;

use super::Graph;
use crate::numerics::product::{Matrix, add_product};
use crate::numerics::vectorised::add_symmetric_products;

/// Columns of W that are formed at once: those of a usual graph stay in the cache of one core.
const BAND: usize = 128;

/// W S with W_ij = max(x_i·x_j, 0) · scale, for graphs padded to `nodes`, each with its scale.
///
/// W is symmetric, so only what lies on and below its diagonal is formed. Bands of columns are worked on by all threads
/// and added in their order, so that the sums do not depend on the number of threads.
///
/// # Shapes
/// assignment `[B, N, K]` → `[B, N, K]`
pub(super) fn product(graphs: &[Graph], scales: &[f32], assignment: &[f32], nodes: usize, clusters: usize) -> Vec<f32> {
    let bands = graphs.iter().enumerate();
    let bands: Vec<(usize, usize)> =
        bands.flat_map(|(index, graph)| (0..graph.nodes()).step_by(BAND).map(move |start| (index, start))).collect();
    let of_band = |&(index, start): &(usize, usize)| {
        let graph = &graphs[index];
        let count = graph.nodes();
        let length = count - start;
        let width = length.min(BAND);
        let features = &graph.features[start * graph.width..];
        let own = Matrix::of_rows(&features[..width * graph.width], graph.width);
        let mut band = vec![0.0; length * width];
        add_product(&mut band, Matrix::of_rows(features, graph.width), own.transposed());
        let assigned = &assignment[(index * nodes + start) * clusters..(index * nodes + count) * clusters];
        let column = |cluster| assigned.iter().skip(cluster).step_by(clusters).copied();
        let columns: Vec<f32> = (0..clusters).flat_map(column).collect();
        let mut part = vec![0.0; columns.len()];
        add_symmetric_products(&mut part, &mut band, &columns, length);
        part
    };
    let parts: Vec<Vec<f32>> = bands.par_iter().map(of_band).collect();

    let mut product = vec![0.0; assignment.len()];
    for ((index, start), part) in bands.into_iter().zip(parts) {
        let length = part.len() / clusters;
        let target = &mut product[(index * nodes + start) * clusters..];
        for (place, value) in part.into_iter().enumerate() {
            target[place % length * clusters + place / length] += value * scales[index];
        }
    }
    product
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::{Adjacency, Layout, NodeFeatures};
    use crate::graph::Affinity;
    use crate::numerics::random;
    use crate::tensor;

    #[test]
    fn the_product_is_that_of_the_whole_matrix() {
        let (width, clusters) = (5, 3);
        let graph = |nodes: usize| {
            let values = random::uniform(&mut random::stream(1, "features", nodes as u64), 1.0, nodes * width);
            let layout = Layout::Grid { rows: 1, columns: nodes };
            let nodes = NodeFeatures { values, width, layout, adjacency: Adjacency::Complete };
            Graph::build(&nodes, Affinity::NonNegative, &tensor::cpu())
        };
        // One node, whole bands, and a last band that is cut short.
        let graphs: Vec<Graph> = [1, BAND, 2 * BAND + 77].map(graph).into();
        let (nodes, scales) = (2 * BAND + 77, [0.5, 1.0, 2.0]);
        let assignment = random::uniform(&mut random::stream(1, "assignment", 0), 1.0, 3 * nodes * clusters);
        let found = product(&graphs, &scales, &assignment, nodes, clusters);
        for (index, graph) in graphs.iter().enumerate() {
            let row = |node: usize| &graph.features[node * width..(node + 1) * width];
            let affinity = |i, j| row(i).iter().zip(row(j)).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
            for place in 0..nodes * clusters {
                let (i, k) = (place / clusters, place % clusters);
                let entry =
                    |j: usize| affinity(i, j).max(0.0) * f64::from(assignment[(index * nodes + j) * clusters + k]);
                let within = i < graph.nodes();
                let sum =
                    if within { (0..graph.nodes()).map(entry).sum::<f64>() * f64::from(scales[index]) } else { 0.0 };
                let found = f64::from(found[index * nodes * clusters + place]);
                assert!((found - sum).abs() < 1e-4, "graph {index}, node {i}, cluster {k}: {found} is not {sum}");
            }
        }
    }
}
