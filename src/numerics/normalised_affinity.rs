//! The matrix whose eigenvectors relax the normalised cut.

use faer::Mat;

/// D^-½ W D^-½ of a symmetric W, and the diagonal of D^-½; D holds the sums of the rows of W.
///
/// A row of zeros stays one, and its entry of D^-½ is zero.
///
/// # Shapes
/// affinities `[N, N]` → `[N, N]` and `[N]`
pub fn normalise(affinities: &Mat<f64>) -> (Mat<f64>, Vec<f64>) {
    let nodes = affinities.nrows();
    let inverse_roots: Vec<f64> = (0..nodes)
        .map(|row| (0..nodes).map(|column| affinities[(row, column)]).sum::<f64>())
        .map(|degree| if degree > 0.0 { degree.sqrt().recip() } else { 0.0 })
        .collect();
    let normalised = Mat::from_fn(nodes, nodes, |row, column| {
        affinities[(row, column)] * inverse_roots[row] * inverse_roots[column]
    });
    (normalised, inverse_roots)
}
