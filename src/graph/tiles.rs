//! Symmetric matrices of complete graphs as tiles of tensors that are formed whenever they are needed, so that memory stays
//! bounded at any N.

use crate::tensor::Tensor;

/// Entries of a tile of one graph: 16 MiB.
pub(super) const GRAPH_TILE_ENTRIES: usize = 1 << 22;

/// Entries of the tiles of all graphs of a batch together: 512 MiB.
pub(super) const BATCH_TILE_ENTRIES: usize = 1 << 27;

/// A matrix `[N, N]` for each of B graphs that follows from X Xᵀ entry by entry.
pub(super) struct Tiles<F> {
    /// X, `[B, N, D]`.
    features: Tensor<3>,
    /// What makes entries of the matrix of those of X Xᵀ, `[B, rows, N]`.
    entries: F,
    /// Rows of a tile.
    rows: usize,
}

/// What propagation over the tiles of W's positive part gives.
pub(super) struct TiledPropagation {
    /// P = Â X, `[B, N, D]`.
    pub propagated: Tensor<3>,
    /// Row sums of W's positive part, `[B, N, 1]`.
    pub row_sums: Tensor<3>,
    /// How many entries of every row are not positive, `[B, N, 1]`, where they were to be counted.
    pub not_positive: Option<Tensor<3>>,
}

impl<F: Fn(Tensor<3>) -> Tensor<3>> Tiles<F> {
    /// The matrices of features `[B, N, D]`, of which `most_entries` and at least a row of every graph exist at once.
    pub fn new(features: Tensor<3>, most_entries: usize, entries: F) -> Tiles<F> {
        let [graphs, nodes, _] = features.dims();
        let rows = (most_entries / (graphs * nodes)).clamp(1, nodes);
        Tiles { features, entries, rows }
    }

    /// P = Â X of a non-negative matrix, the positive part of W.
    ///
    /// # Shapes
    /// `missing_loop` `[B, N, 1]`: 1 where the diagonal is zero, else 0
    pub fn propagate(&self, missing_loop: &Tensor<3>, count_not_positive: bool) -> TiledPropagation {
        let (mut row_sums, mut not_positive) = (Vec::new(), Vec::new());
        let mut whole = None;
        for start in self.starts() {
            let tile = self.tile(start);
            row_sums.push(tile.clone().sum_dim(2));
            if count_not_positive {
                not_positive.push(tile.clone().equal_elem(0.0).float().sum_dim(2));
            }
            whole = (self.rows == self.features.dims()[1]).then_some(tile);
        }
        let row_sums = Tensor::cat(row_sums, 1);
        let degrees = row_sums.clone() + missing_loop.clone();
        // A tiny positive self-loop can be lost in the product's rounding, which leaves a node without any degree.
        let without = degrees.clone().lower_equal_elem(0.0);
        let inverse_roots = degrees.sqrt().recip().mask_fill(without, 0.0);
        let scaled = self.features.clone() * inverse_roots.clone();
        let propagate = |start: usize| {
            let tile = whole.clone().unwrap_or_else(|| self.tile(start));
            let loops = self.part(missing_loop, start) * self.part(&scaled, start);
            (tile.matmul(scaled.clone()) + loops) * self.part(&inverse_roots, start)
        };
        let propagated = Tensor::cat(self.starts().map(propagate).collect(), 1);
        let not_positive = count_not_positive.then(|| Tensor::cat(not_positive, 1));
        TiledPropagation { propagated, row_sums, not_positive }
    }

    /// The first row of every tile.
    fn starts(&self) -> impl Iterator<Item = usize> {
        (0..self.features.dims()[1]).step_by(self.rows)
    }

    /// The rows from `start` on, `[B, rows, N]`.
    fn tile(&self, start: usize) -> Tensor<3> {
        (self.entries)(self.part(&self.features, start).matmul(self.features.clone().swap_dims(1, 2)))
    }

    /// The values of a tile's nodes, of `[B, N, …]`.
    fn part(&self, values: &Tensor<3>, start: usize) -> Tensor<3> {
        let [graphs, nodes, columns] = values.dims();
        values.clone().slice([0..graphs, start..(start + self.rows).min(nodes), 0..columns])
    }
}
