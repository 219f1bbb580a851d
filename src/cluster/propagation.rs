//! P = Â X for a whole collection: exactly, tile by tile, or over a graph of nearest neighbours.
//!
//! W = F Fᵀ − c with c = max(F Fᵀ)/α; message passing uses its positive entries. Â = D^-½ W⁺ D^-½, where a missing
//! self-loop becomes 1 and D holds row sums, as in [`crate::graph::Graph::build`]. That builds P with memory for a band
//! of all columns; here no more than two tiles exist at a time, and W's symmetry halves the work.

use super::neighbours::Neighbours;
use super::vectors::{Vectors, squared_length};
use crate::event::{Event, Observer, Phase};
use crate::tensor::{self, Device, Tensor};

/// Rows and columns of a tile of W: 16 MiB.
const TILE: usize = 2048;

/// P of every vector, exactly.
///
/// Two passes over the upper triangle of tiles: row sums, then products. Costs 4 N² D operations, memory 4 N·D and two
/// tiles. `None` if the observer interrupts.
///
/// # Shapes
/// `[N, D]` → `[N, D]`
pub(super) fn exact(vectors: &Vectors, offset: f64, device: &Device, observer: &dyn Observer) -> Option<Tensor<2>> {
    let (count, width) = (vectors.count(), vectors.width());
    let mut features = blocks(vectors.values(), width, device);
    let pairs: Vec<(usize, usize)> =
        (0..features.len()).flat_map(|row| (row..features.len()).map(move |column| (row, column))).collect();
    observer.observe(Event::PhaseStarted { phase: Phase::Propagation, total: Some(2 * pairs.len() as u64) });
    let mut done = 0;
    let mut step = || {
        done += 1;
        observer.observe(Event::PhaseProgress { phase: Phase::Propagation, done });
        observer.interrupted()
    };
    let tile = |row: &Tensor<2>, column: &Tensor<2>| {
        row.clone().matmul(column.clone().transpose()).sub_scalar(offset).clamp_min(0.0)
    };

    let mut row_sums = vec![0.0f64; count];
    let mut add = |block: usize, sums: Tensor<2>| {
        let sums = tensor::into_vec(sums);
        row_sums[block * TILE..].iter_mut().zip(sums).for_each(|(total, sum)| *total += f64::from(sum));
    };
    for &(row, column) in &pairs {
        let weights = tile(&features[row], &features[column]);
        if row != column {
            add(column, weights.clone().sum_dim(0));
        }
        add(row, weights.sum_dim(1));
        if step() {
            return None;
        }
    }
    let missing_loop: Vec<f32> = missing_loops(vectors, offset);
    // A self-loop that single precision rounds to nothing leaves a vector without weights, and P zero there.
    let inverse_root = |degree: f64| if degree > 0.0 { (1.0 / degree.sqrt()) as f32 } else { 0.0 };
    let degrees = row_sums.iter().zip(&missing_loop).map(|(sum, extra)| sum + f64::from(*extra));
    let inverse_roots: Vec<f32> = degrees.map(inverse_root).collect();
    let inverse_roots = blocks(&inverse_roots, 1, device);
    let missing_loop = blocks(&missing_loop, 1, device);

    // Scaled features X̃ = D^-½ X; W⁺ itself is of the unscaled ones.
    let scaled: Vec<Tensor<2>> =
        features.iter().zip(&inverse_roots).map(|(block, roots)| block.clone() * roots.clone()).collect();
    let mut propagated: Vec<Option<Tensor<2>>> =
        scaled.iter().zip(missing_loop).map(|(block, extra)| Some(block.clone() * extra)).collect();
    for &(row, column) in &pairs {
        let weights = tile(&features[row], &features[column]);
        let mut add = |block: usize, product: Tensor<2>| {
            propagated[block] = propagated[block].take().map(|sum| sum + product);
        };
        if row != column {
            add(column, weights.clone().transpose().matmul(scaled[row].clone()));
        }
        add(row, weights.matmul(scaled[column].clone()));
        if step() {
            return None;
        }
    }
    observer.observe(Event::PhaseFinished { phase: Phase::Propagation });
    features.clear();
    let finished = propagated.into_iter().flatten().zip(inverse_roots).map(|(block, roots)| block * roots);
    Some(Tensor::cat(finished.collect(), 0))
}

/// Rows of a matrix in blocks of [`TILE`].
fn blocks(values: &[f32], width: usize, device: &Device) -> Vec<Tensor<2>> {
    let block = |rows: &[f32]| tensor::from_slice(rows, [rows.len() / width, width], device);
    values.chunks(TILE * width).map(block).collect()
}

/// 1 where W_ii is not positive, and 0 elsewhere.
fn missing_loops(vectors: &Vectors, offset: f64) -> Vec<f32> {
    let positive = |row: usize| squared_length(vectors.row(row)) > offset;
    (0..vectors.count()).map(|row| if positive(row) { 0.0 } else { 1.0 }).collect()
}

/// P of every vector over the listed neighbours only: W_ij is as above where one of i, j is among the nearest of the
/// other, and 0 elsewhere. Costs N·k·D operations and memory 2 N·D.
///
/// # Shapes
/// `[N, D]` → row-major `[N, D]`
pub(super) fn over_neighbours(vectors: &Vectors, offset: f64, neighbours: &Neighbours) -> Vec<f32> {
    use rayon::prelude::*;
    let (count, width) = (vectors.count(), vectors.width());
    let lists = neighbours.symmetric();
    let weight = |product: f32| (f64::from(product) - offset).max(0.0);
    let self_loop: Vec<f64> = (0..count)
        .map(|row| Some(squared_length(vectors.row(row)) - offset).filter(|weight| *weight > 0.0).unwrap_or(1.0))
        .collect();
    let inverse_roots: Vec<f64> = (0..count)
        .into_par_iter()
        .map(|row| {
            let others: f64 = lists.of(row).iter().map(|(_, product)| weight(*product)).sum();
            1.0 / (self_loop[row] + others).sqrt()
        })
        .collect();
    let mut propagated = vec![0.0f32; count * width];
    propagated.par_chunks_exact_mut(width).enumerate().for_each(|(row, target)| {
        let mut sum = |other: usize, weight: f64| {
            let factor = (weight * inverse_roots[row] * inverse_roots[other]) as f32;
            target.iter_mut().zip(vectors.row(other)).for_each(|(sum, value)| *sum += factor * value);
        };
        sum(row, self_loop[row]);
        for &(other, product) in lists.of(row) {
            if weight(product) > 0.0 {
                sum(other as usize, weight(product));
            }
        }
    });
    propagated
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Silent;
    use crate::graph::{Affinity, Graph};
    use crate::nodes::{Adjacency, Layout, NodeFeatures};
    use crate::numerics::random;

    fn assert_same_as_graph(count: usize, width: usize, alpha: f64) {
        let values = random::uniform(&mut random::stream(3, "tiles", 0), 1.0, count * width);
        let layout = Layout::Grid { rows: 1, columns: count };
        let nodes = NodeFeatures { values: values.clone(), channels: width, layout, adjacency: Adjacency::Complete };
        let graph = Graph::build(&nodes, Affinity::Correlation { alpha });
        let vectors = Vectors::new(values, width).unwrap();
        let offset = vectors.largest_product() / alpha;
        let tiled = tensor::into_vec(exact(&vectors, offset, &tensor::cpu(), &Silent).unwrap());
        let listed = over_neighbours(&vectors, offset, &Neighbours::exact(&vectors, count));
        for (index, expected) in graph.propagated.iter().enumerate() {
            assert!((tiled[index] - expected).abs() < 2e-5, "{} is not {expected}", tiled[index]);
            assert!(count > TILE || (listed[index] - expected).abs() < 2e-5, "{} is not {expected}", listed[index]);
        }
    }

    #[test]
    fn tiles_and_complete_neighbour_lists_give_the_graphs_propagation() {
        assert_same_as_graph(60, 5, 3.0);
        assert_same_as_graph(1, 4, 2.0);
        // Two tiles and a bit, so that a tile serves both of its sides.
        assert_same_as_graph(TILE + 70, 3, 3.0);
    }
}
