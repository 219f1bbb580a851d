//! Products of matrices in single precision, on the calling thread.

use gemm::{Parallelism, gemm};

/// A matrix within a slice: entry (i, j) is at i · `row_stride` + j · `column_stride`.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// The rows of `columns` values each that `values` holds.
    ///
    /// # Panics
    /// If `values` holds no whole number of rows.
    pub fn of_rows(values: &'a [f32], columns: usize) -> Matrix<'a> {
        assert!(values.len().is_multiple_of(columns), "rows of {columns} values must be whole");
        Matrix { values, rows: values.len() / columns, columns, row_stride: columns, column_stride: 1 }
    }

    /// Number of rows.
    pub fn rows(self) -> usize {
        self.rows
    }

    /// Rows and columns exchanged.
    pub fn transposed(self) -> Matrix<'a> {
        let Matrix { values, rows, columns, row_stride, column_stride } = self;
        Matrix { values, rows: columns, columns: rows, row_stride: column_stride, column_stride: row_stride }
    }

    /// The columns from `first` on, `columns` of them.
    ///
    /// # Panics
    /// If there are fewer.
    pub fn columns(self, first: usize, columns: usize) -> Matrix<'a> {
        assert!(first + columns <= self.columns, "{columns} columns from {first} of {}", self.columns);
        Matrix { values: self.values.get(first * self.column_stride..).unwrap_or_default(), columns, ..self }
    }
}

/// `target += left · right`, row-major.
///
/// # Shapes
/// left `[m, k]`, right `[k, n]` → target `[m, n]`
///
/// # Panics
/// If the shapes do not fit each other.
pub fn add_product(target: &mut [f32], left: Matrix, right: Matrix) {
    let (rows, inner, columns) = (left.rows, left.columns, right.columns);
    assert_eq!(inner, right.rows, "as many columns on the left as rows on the right");
    assert_eq!(target.len(), rows * columns, "a target of {rows} rows and {columns} columns");
    if target.is_empty() || inner == 0 {
        return;
    }
    for matrix in [left, right] {
        let last = (matrix.rows - 1) * matrix.row_stride + (matrix.columns - 1) * matrix.column_stride;
        assert!(last < matrix.values.len(), "a matrix lies within its slice");
    }
    let stride = |stride: usize| stride.cast_signed();
    // SAFETY: the last entry of every operand lies within its slice by the assertions, all strides are positive, so every
    // other entry does too; the target is borrowed exclusively and overlaps neither operand.
    unsafe {
        gemm(
            rows,
            columns,
            inner,
            target.as_mut_ptr(),
            1,
            stride(columns),
            true,
            left.values.as_ptr(),
            stride(left.column_stride),
            stride(left.row_stride),
            right.values.as_ptr(),
            stride(right.column_stride),
            stride(right.row_stride),
            1.0f32,
            1.0f32,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_equal_the_plain_sums() {
        let wave = |length: usize, step: f32| (0..length).map(|i| (i as f32 * step).sin()).collect::<Vec<f32>>();
        for (m, k, n) in [(1, 1, 1), (5, 7, 3), (64, 33, 20), (2, 130, 65)] {
            let (left, right, wide) = (wave(m * k, 0.3), wave(k * n, 0.7), wave(k * (n + 4), 0.9));
            let turned: Vec<f32> = (0..n * k).map(|place| right[place % k * n + place / k]).collect();
            let left = Matrix::of_rows(&left, k);
            for right in [
                Matrix::of_rows(&right, n),
                Matrix::of_rows(&turned, k).transposed(),
                Matrix::of_rows(&wide, n + 4).columns(3, n),
            ] {
                let mut target = vec![0.5; m * n];
                add_product(&mut target, left, right);
                for (place, found) in target.iter().enumerate() {
                    let entry = |row: usize| right.values[row * right.row_stride + place % n * right.column_stride];
                    let sum: f32 = (0..k).map(|i| left.values[place / n * k + i] * entry(i)).sum();
                    assert!((found - 0.5 - sum).abs() < 1e-5, "{m} {k} {n}");
                }
            }
        }
    }
}
