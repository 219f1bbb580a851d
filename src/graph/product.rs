//! W S of one graph on the processor.

use super::{Graph, Weights, symmetric};
use crate::numerics::product::{Matrix, add_product};

impl Graph {
    /// W S, with W as the graph has it or, where it has none, without keeping any.
    ///
    /// # Shapes
    /// `[N, K]` → `[N, K]`
    pub fn affinity_product(&self, assignment: &[f32], clusters: usize) -> Vec<f32> {
        match &self.weights {
            Weights::NonNegative { .. } => {
                symmetric::product(&[self], &[self.weights.parameters()], assignment, self.nodes(), clusters)
            }
            Weights::Correlation { offset } => self.correlation_product(*offset, assignment, clusters),
            Weights::Edges { edges, offset } => {
                let mut product = vec![0.0; assignment.len()];
                for edge in edges {
                    let (first, second) = (edge.first as usize * clusters, edge.second as usize * clusters);
                    for cluster in 0..clusters {
                        product[first + cluster] += (edge.weight - offset) * assignment[second + cluster];
                        product[second + cluster] += (edge.weight - offset) * assignment[first + cluster];
                    }
                }
                product
            }
        }
    }

    /// W S = X (Xᵀ S) − offset · 1 (1ᵀ S).
    fn correlation_product(&self, offset: f32, assignment: &[f32], clusters: usize) -> Vec<f32> {
        let features = Matrix::of_rows(&self.features, self.channels);
        let mut together = vec![0.0; clusters * self.channels];
        add_product(&mut together, Matrix::of_rows(assignment, clusters).transposed(), features);
        let mut sizes = vec![0.0; clusters];
        for row in assignment.chunks_exact(clusters) {
            sizes.iter_mut().zip(row).for_each(|(size, value)| *size += value);
        }
        let subtracted: Vec<f32> = sizes.iter().map(|size| -offset * size).collect();
        let mut product = subtracted.repeat(self.nodes());
        add_product(&mut product, features, Matrix::of_rows(&together, self.channels).transposed());
        product
    }
}
