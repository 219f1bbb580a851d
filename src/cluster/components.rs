//! Connected components of the pairs with a positive inner product: the simplest baseline.

use super::ClusterError;
use super::vectors::Vectors;
use crate::event::Observer;
use crate::numerics::union_find::UnionFind;
use crate::tensor::{self, Device};

/// Rows of inner products looked at together.
const BAND: usize = 512;

/// The component of every vector, where two are joined if f_i·f_j > 0.
pub(super) fn components(
    vectors: &Vectors,
    device: &Device,
    observer: &dyn Observer,
) -> Result<Vec<u32>, ClusterError> {
    let (count, width) = (vectors.count(), vectors.width());
    let mut sets = UnionFind::new(count);
    let mut apart = count - 1;
    let bands: Vec<_> = vectors
        .values()
        .chunks(BAND * width)
        .map(|rows| tensor::from_slice(rows, [rows.len() / width, width], device))
        .collect();
    'bands: for (first, rows) in bands.iter().enumerate() {
        for (second, columns) in bands.iter().enumerate().skip(first) {
            if observer.interrupted() {
                return Err(ClusterError::Interrupted);
            }
            let products = tensor::into_vec(rows.clone().matmul(columns.clone().transpose()));
            let columns = columns.dims()[0];
            for (row, products) in products.chunks_exact(columns).enumerate() {
                for (column, &product) in products.iter().enumerate() {
                    if product > 0.0 && sets.join(first * BAND + row, second * BAND + column) {
                        apart -= 1;
                    }
                }
            }
            // Most collections are one component: then the rest need not be looked at.
            if apart == 0 {
                break 'bands;
            }
        }
    }
    Ok((0..count).map(|row| sets.find(row) as u32).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Silent;

    #[test]
    fn only_positive_products_join() {
        let vectors = Vectors::new(vec![1.0, 0.0, 0.0, 1.0, 2.0, 0.0, -1.0, 0.0], 2).unwrap();
        assert_eq!(components(&vectors, &tensor::cpu(), &Silent).unwrap(), [0, 1, 0, 3]);
        // Across bands, through one vector that touches both ends.
        let mut values = vec![0.0; 2 * (BAND + 2)];
        values[0] = 1.0;
        values[2 * BAND + 2] = 1.0;
        let found = components(&Vectors::new(values, 2).unwrap(), &tensor::cpu(), &Silent).unwrap();
        assert_eq!((found[0], found[BAND + 1], found[1]), (0, 0, 1));
    }
}
