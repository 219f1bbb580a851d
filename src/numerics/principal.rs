//! The directions in which rows differ most.

use faer::{Mat, Side};

/// Below this share of the largest, a singular value is rounding.
const LEAST_SINGULAR_VALUE: f64 = 1e-5;

/// The first `count` right singular vectors of centred rows, orthonormal, row-major `[count, channels]`; fewer where there are
/// no more. Time grows with the third power of the rows.
///
/// # Shapes
/// rows `[N, channels]`, row-major
pub fn principal_directions(rows: &[f64], channels: usize, count: usize) -> Vec<f32> {
    let number = rows.len() / channels;
    let mut centred = Mat::from_fn(number, channels, |row, channel| rows[row * channels + channel]);
    for channel in 0..channels {
        let centre = centred.col(channel).iter().sum::<f64>() / number as f64;
        centred.col_mut(channel).iter_mut().for_each(|value| *value -= centre);
    }
    // X = U Σ Vᵀ by the eigenvectors of X Xᵀ: V = Xᵀ U Σ⁻¹.
    let products = &centred * centred.transpose();
    let Ok(decomposition) = products.self_adjoint_eigen(Side::Lower) else { return Vec::new() };
    let singular_value = |index: usize| decomposition.S()[index].max(0.0).sqrt();
    let least = number.checked_sub(1).map_or(0.0, |last| LEAST_SINGULAR_VALUE * singular_value(last));
    let mut values = Vec::new();
    // Eigenvalues ascend.
    for index in (0..number).rev().take(count).take_while(|&index| singular_value(index) > least) {
        let direction = centred.transpose() * decomposition.U().col(index);
        values.extend(direction.iter().map(|value| (value / singular_value(index)) as f32));
    }
    values
}
