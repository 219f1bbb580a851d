//! Log-binned descriptors: every patch also sees its surroundings, coarser with distance.

/// Bins of a patch: 9 at radius 1 (itself and its neighbours), 8 at radius 3 (means of 3×3 patches, without the centre).
pub const LOG_BINS: usize = 17;

/// Joins to every cell of a grid what lies around it.
///
/// Bin by bin, row by row: first the cells at distances −1, 0, 1, then the 3×3 means around the cells at distances −3, 0, 3
/// except the cell's own. Cells beyond the border count as the nearest inside; means average only what exists.
/// Source: Amir et al., "Deep ViT Features as Dense Visual Descriptors", arXiv 2112.05814, with a hierarchy of 2.
///
/// # Shapes
/// values `[rows · columns, width]` → `[rows · columns, 17 · width]`
pub fn log_binned(values: &[f32], width: usize, rows: usize, columns: usize) -> Vec<f32> {
    let cell = |row: usize, column: usize| (row * columns + column) * width..(row * columns + column + 1) * width;
    let mut means = vec![0.0f32; values.len()];
    for row in 0..rows {
        for column in 0..columns {
            let mean = &mut means[cell(row, column)];
            let mut count = 0.0;
            for near_row in row.saturating_sub(1)..(row + 2).min(rows) {
                for near_column in column.saturating_sub(1)..(column + 2).min(columns) {
                    mean.iter_mut().zip(&values[cell(near_row, near_column)]).for_each(|(sum, value)| *sum += value);
                    count += 1.0;
                }
            }
            mean.iter_mut().for_each(|sum| *sum /= count);
        }
    }
    let offsets = [-1isize, 0, 1].into_iter().flat_map(|down| [-1isize, 0, 1].map(|right| (down, right)));
    let near = offsets.clone().map(|(down, right)| (values, down, right));
    let far = offsets.filter(|offset| *offset != (0, 0)).map(|(down, right)| (means.as_slice(), 3 * down, 3 * right));
    let bins: Vec<(&[f32], isize, isize)> = near.chain(far).collect();

    let clamped = |place: usize, offset: isize, count: usize| place.saturating_add_signed(offset).min(count - 1);
    let mut binned = Vec::with_capacity(LOG_BINS * values.len());
    for row in 0..rows {
        for column in 0..columns {
            for &(source, down, right) in &bins {
                binned.extend_from_slice(&source[cell(clamped(row, down, rows), clamped(column, right, columns))]);
            }
        }
    }
    binned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_look_around_and_stop_at_the_border() {
        // A row of five cells with values 1 to 5: all vertical neighbours are the cell's own row.
        let binned = log_binned(&[1.0, 2.0, 3.0, 4.0, 5.0], 1, 1, 5);
        let first = &binned[..LOG_BINS];
        assert_eq!(first[..9], [1.0, 1.0, 2.0, 1.0, 1.0, 2.0, 1.0, 1.0, 2.0]);
        // Means of up to three neighbours: 1.5, 2, 3, 4, 4.5; three cells to the left is the first again.
        assert_eq!(first[9..], [1.5, 1.5, 4.0, 1.5, 4.0, 1.5, 1.5, 4.0]);
        assert_eq!(log_binned(&[7.0], 1, 1, 1), [7.0; LOG_BINS]);
    }
}
