//! Grid ↔ pixel transforms.

use super::Raster;

/// For every one of `target_size` positions the one of `source_size` positions that its centre falls into.
pub fn nearest_positions(target_size: usize, source_size: usize) -> Vec<usize> {
    // Centre of target i in source units: (i + ½) · source / target, in exact integer arithmetic.
    (0..target_size).map(|target| (2 * target + 1) * source_size / (2 * target_size)).collect()
}

/// For every one of `target_size` positions the one of `source_size` positions that its beginning falls into, ⌊target · source
/// size / target size⌋: PyTorch's `nearest`.
pub fn floor_positions(target_size: usize, source_size: usize) -> Vec<usize> {
    (0..target_size).map(|target| target * source_size / target_size).collect()
}

impl<T: Copy> Raster<T> {
    /// Nearest-neighbour resampling: each target pixel takes the source cell that its centre falls into.
    ///
    /// # Shapes
    /// `[self.height, self.width]` → `[height, width]`
    pub fn resized_nearest(&self, width: usize, height: usize) -> Raster<T> {
        self.taken(&nearest_positions(width, self.width), &nearest_positions(height, self.height))
    }

    /// The values where these columns and rows cross.
    ///
    /// # Shapes
    /// `[self.height, self.width]` → `[rows, columns]`
    #[must_use]
    pub fn taken(&self, columns: &[usize], rows: &[usize]) -> Raster<T> {
        let mut values = Vec::with_capacity(columns.len() * rows.len());
        for row in rows {
            values.extend(columns.iter().map(|&column| self.values[row * self.width + column]));
        }
        Raster { width: columns.len(), height: rows.len(), values }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_takes_the_cell_under_the_centre() {
        let grid = Raster::from_values(2, 1, vec![1u8, 2]);
        assert_eq!(grid.resized_nearest(5, 1).values, [1, 1, 2, 2, 2]);
        assert_eq!(grid.resized_nearest(4, 2).values, [1, 1, 2, 2, 1, 1, 2, 2]);
        assert_eq!(Raster::from_values(3, 1, vec![1u8, 2, 3]).resized_nearest(1, 1).values, [2]);
    }
}
