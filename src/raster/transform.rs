//! Grid ↔ pixel transforms.

use super::Raster;

impl<T: Copy> Raster<T> {
    /// Nearest-neighbour resampling: each target pixel takes the source cell that its centre falls into.
    ///
    /// # Shapes
    /// `[self.height, self.width]` → `[height, width]`
    pub fn resized_nearest(&self, width: usize, height: usize) -> Raster<T> {
        // Centre of target i in source units: (i + ½) · source / target, in exact integer arithmetic.
        let source =
            |target: usize, target_size: usize, source_size: usize| (2 * target + 1) * source_size / (2 * target_size);
        let columns: Vec<usize> = (0..width).map(|x| source(x, width, self.width)).collect();
        let mut values = Vec::with_capacity(width * height);
        for y in 0..height {
            let row = source(y, height, self.height) * self.width;
            values.extend(columns.iter().map(|&column| self.values[row + column]));
        }
        Raster { width, height, values }
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
