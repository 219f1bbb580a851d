//! The directions in which rows differ most.

use faer::{Mat, Side};

/// Below this share of the largest, a singular value is rounding.
const LEAST_SINGULAR_VALUE: f64 = 1e-5;

/// The first `count` right singular vectors of centred rows, orthonormal, row-major `[count, channels]`; fewer where there are
/// no more. Time grows with the third power of the rows, or of the channels where these are fewer.
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
    // X = U Σ Vᵀ: by the eigenvectors of X Xᵀ, V = Xᵀ U Σ⁻¹, or by those of Xᵀ X, which are V.
    let by_rows = number <= channels;
    let products = if by_rows { &centred * centred.transpose() } else { centred.transpose() * &centred };
    let Ok(decomposition) = products.self_adjoint_eigen(Side::Lower) else { return Vec::new() };
    let singular_value = |index: usize| decomposition.S()[index].max(0.0).sqrt();
    let size = number.min(channels);
    let least = size.checked_sub(1).map_or(0.0, |last| LEAST_SINGULAR_VALUE * singular_value(last));
    let mut values = Vec::new();
    // Eigenvalues ascend.
    for index in (0..size).rev().take(count).take_while(|&index| singular_value(index) > least) {
        if by_rows {
            let direction = centred.transpose() * decomposition.U().col(index);
            values.extend(direction.iter().map(|value| (value / singular_value(index)) as f32));
        } else {
            values.extend(decomposition.U().col(index).iter().map(|&value| value as f32));
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_find_the_same_directions() {
        // Along (3, 4, 0) / 5 much, along (0, 0, 1) a little, and a mean far from 0.
        let rows: Vec<f64> = (0..7)
            .flat_map(|row| {
                let (along, across) = (row as f64 - 3.0, [1.0, -2.0, 1.0][row % 3] * 0.1);
                [30.0 + 3.0 * along, 4.0 * along - 9.0, across]
            })
            .collect();
        let tall = principal_directions(&rows, 3, 3);
        // The same rows in a space of more channels.
        let wide: Vec<f64> = rows.chunks(3).flat_map(|row| row.iter().copied().chain([0.0; 6])).collect();
        let wide = principal_directions(&wide, 9, 3);
        assert_eq!((tall.len(), wide.len()), (6, 18), "only two directions vary");
        for (tall, wide) in tall.chunks(3).zip(wide.chunks(9)) {
            let product: f32 = tall.iter().zip(wide).map(|(one, other)| one * other).sum();
            assert!((product.abs() - 1.0).abs() < 1e-5, "{tall:?} {wide:?}");
        }
        assert!((tall[0] * 0.6 + tall[1] * 0.8).abs() > 0.9999, "{tall:?}");
    }
}
