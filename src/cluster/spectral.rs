//! Spectral clustering with the number of clusters at the largest eigengap: the baseline that also finds K.

use faer::{Mat, Side};

use super::ClusterError;
use super::vectors::Vectors;
use crate::numerics::k_means::Found;
use crate::numerics::normalised_affinity::normalise;

/// Most vectors: the eigenvalues of a dense N×N matrix cost N³ operations.
const MOST_VECTORS: usize = 3000;

/// A smaller difference of eigenvalues is rounding.
const LEAST_GAP: f64 = 1e-9;

/// Normalised spectral clustering of W = max(F Fᵀ, 0) into at most `most` clusters; the clusters, and the smallest
/// eigenvalues, ascending: one more than clusters were allowed, as far as there are.
///
/// L = I − D^-½ W D^-½; K ≥ 2 is where λ_{K+1} − λ_K is largest; k-means groups the rows of the first K eigenvectors, scaled to
/// unit length. A vector without any affinity is a component of its own (λ = 0).
/// Source: Ng, Jordan and Weiss, "On spectral clustering", NIPS 2001; von Luxburg, "A tutorial on spectral clustering",
/// arXiv 0711.0189, section 8.3, for the eigengap.
pub(super) fn spectral(
    vectors: &Vectors,
    most: usize,
    restarts: usize,
    seed: u64,
) -> Result<(Found, Vec<f64>), ClusterError> {
    let count = vectors.count();
    if count > MOST_VECTORS {
        return Err(ClusterError::TooManyForSpectral { most: MOST_VECTORS, count });
    }
    let laplacian = laplacian(vectors);
    let decomposition = laplacian.self_adjoint_eigen(Side::Lower).map_err(|_| ClusterError::NoEigenvalues)?;
    let eigenvalues: Vec<f64> = (0..count).map(|index| decomposition.S()[index]).take(most + 1).collect();
    let clusters = eigengap(&eigenvalues);
    let mut embedding = Vec::with_capacity(count * clusters);
    for row in 0..count {
        let place: Vec<f64> = (0..clusters).map(|column| decomposition.U()[(row, column)]).collect();
        let length = place.iter().map(|value| value * value).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
        embedding.extend(place.into_iter().map(|value| (value / length) as f32));
    }
    let embedding = Vectors::new(embedding, clusters)?;
    Ok((embedding.k_means(clusters, restarts, seed), eigenvalues))
}

/// The K ≥ 2 after which the eigenvalues, ascending, leave the largest gap; 1 where there is none.
///
/// The gap after the first eigenvalue only says that the graph is connected, and is the largest in nearly every graph of
/// cosines: counted, it would leave all such collections in one cluster.
fn eigengap(eigenvalues: &[f64]) -> usize {
    let mut best = (LEAST_GAP, 1);
    for (index, pair) in eigenvalues.windows(2).enumerate().skip(1) {
        if pair[1] - pair[0] > best.0 {
            best = (pair[1] - pair[0], index + 1);
        }
    }
    best.1
}

fn laplacian(vectors: &Vectors) -> Mat<f64> {
    let count = vectors.count();
    let product =
        |one: &[f32], other: &[f32]| -> f64 { one.iter().zip(other).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum() };
    let mut matrix = Mat::<f64>::zeros(count, count);
    for row in 0..count {
        for column in 0..=row {
            let weight = product(vectors.row(row), vectors.row(column)).max(0.0);
            matrix[(row, column)] = weight;
            matrix[(column, row)] = weight;
        }
    }
    let (normalised, inverse_roots) = normalise(&matrix);
    Mat::from_fn(count, count, |row, column| {
        let own = if row == column && inverse_roots[row] > 0.0 { 1.0 } else { 0.0 };
        own - normalised[(row, column)]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orthogonal_groups_have_an_eigenvalue_of_zero_each() {
        let vectors = Vectors::new(vec![1.0, 0.0, 2.0, 0.0, 0.0, 1.0, 0.0, 3.0, 1.0, 0.0], 2).unwrap();
        let (found, eigenvalues) = spectral(&vectors, 4, 2, 0).unwrap();
        let clusters = &found.starts[found.kept];
        for (value, expected) in eigenvalues.iter().zip([0.0, 0.0, 1.0, 1.0, 1.0]) {
            assert!((value - expected).abs() < 1e-12, "{eigenvalues:?}");
        }
        assert!(clusters[0] == clusters[1] && clusters[1] == clusters[4] && clusters[2] == clusters[3]);
        assert_ne!(clusters[0], clusters[2]);
    }

    #[test]
    fn more_vectors_than_a_dense_matrix_bears_are_refused() {
        let vectors = Vectors::new(vec![1.0; MOST_VECTORS + 1], 1).unwrap();
        assert!(matches!(spectral(&vectors, 4, 2, 0), Err(ClusterError::TooManyForSpectral { .. })));
    }

    #[test]
    fn gaps() {
        for (eigenvalues, expected) in [
            (&[0.0][..], 1),
            (&[0.0, 0.1, 0.9, 1.0], 2),
            (&[0.0, 0.7, 0.75, 0.9], 3),
            (&[0.0, 1.0, 1.0], 1),
            (&[0.0, 0.0, 0.0], 1),
        ] {
            assert_eq!(eigengap(eigenvalues), expected);
        }
    }
}
