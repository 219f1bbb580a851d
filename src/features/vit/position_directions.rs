//! What a transformer's descriptors say of the place of a patch whatever the image shows.
//!
//! Keys carry the position of their patch. In a collection of scenes, where what lies below is often ground, the best cut of
//! such features is "the lower half", by a loss that no cut into things and surroundings reaches.

use crate::numerics::principal::principal_directions;
use crate::numerics::product::{Matrix, add_product};
use crate::numerics::scale_to_unit_length;

/// Most positions that the directions are sought in: descriptors change slowly from place to place, and the time grows with
/// the third power.
const MOST_POSITIONS: usize = 1024;

/// The directions along which descriptors vary with position alone: orthonormal rows, row-major `[directions, channels]`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PositionDirections {
    values: Vec<f32>,
    channels: usize,
}

impl PositionDirections {
    /// The first `count` right singular vectors of the mean descriptors of images without content, centred over positions;
    /// fewer where there are no more.
    ///
    /// # Shapes
    /// descriptors of images of one grid, row-major `[images, positions, channels]` each
    pub fn of(images: &[Vec<f32>], channels: usize, count: usize) -> PositionDirections {
        let positions = images[0].len() / channels;
        let step = positions.div_ceil(MOST_POSITIONS).max(1);
        let chosen: Vec<usize> = (0..positions).step_by(step).collect();
        let mean = |position: usize, channel: usize| {
            let values = images.iter().map(|values| f64::from(values[position * channels + channel]));
            values.sum::<f64>() / images.len() as f64
        };
        let rows: Vec<f64> =
            chosen.iter().flat_map(|&position| (0..channels).map(move |channel| mean(position, channel))).collect();
        PositionDirections { values: principal_directions(&rows, channels, count), channels }
    }

    /// Directions that were found before, row-major `[directions, channels]`.
    pub fn from_values(values: Vec<f32>, channels: usize) -> PositionDirections {
        PositionDirections { values, channels }
    }

    /// Row-major `[directions, channels]`.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    pub fn count(&self) -> usize {
        self.values.len() / self.channels
    }

    /// x − V Vᵀ x for every descriptor; where they were of unit length, they are so again.
    ///
    /// # Shapes
    /// `[nodes, channels]`, in place
    pub fn remove_from(&self, descriptors: &mut [f32], unit_length: bool) {
        let (count, nodes) = (self.count(), descriptors.len() / self.channels);
        let directions = Matrix::of_rows(&self.values, self.channels);
        let mut shares = vec![0.0; nodes * count];
        if count > 0 {
            add_product(&mut shares, Matrix::of_rows(descriptors, self.channels), directions.transposed());
            shares.iter_mut().for_each(|share| *share = -*share);
            add_product(descriptors, Matrix::of_rows(&shares, count), directions);
        }
        if unit_length {
            descriptors.chunks_exact_mut(self.channels).for_each(scale_to_unit_length);
        }
    }
}

/// The share of the variance of descriptors that lies between positions, in [0, 1], adjusted for the number of images: what
/// means over few images differ by is chance. None of fewer than two images, or without any variance.
///
/// # Shapes
/// descriptors of images of one grid, row-major `[images, positions, channels]` each
pub(super) fn share_between_places(images: &[Vec<f32>], channels: usize) -> Option<f64> {
    let (count, positions) = (images.len() as f64, images.first()?.len() / channels);
    let values = images[0].len();
    // By channel and position: the mean over images; by channel: the mean over all.
    let mean = |value: usize| images.iter().map(|image| f64::from(image[value])).sum::<f64>() / count;
    let means: Vec<f64> = (0..values).map(mean).collect();
    let mut centre = vec![0.0; channels];
    for row in means.chunks_exact(channels) {
        row.iter().zip(&mut centre).for_each(|(value, sum)| *sum += value / positions as f64);
    }
    let (mut within, mut between) = (0.0, 0.0);
    for (value, mean) in means.iter().enumerate() {
        between += count * (mean - centre[value % channels]).powi(2);
        within += images.iter().map(|image| (f64::from(image[value]) - mean).powi(2)).sum::<f64>();
    }
    let (free_within, free) = ((count - 1.0) * positions as f64, count * positions as f64 - 1.0);
    let (total, energy) = (within + between, means.iter().map(|mean| count * mean * mean).sum::<f64>());
    // Less is rounding.
    (free_within > 0.0 && total > 1e-9 * energy).then(|| (1.0 - within / free_within / (total / free)).max(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numerics::random;

    #[test]
    fn what_follows_the_position_is_removed_and_nothing_else() {
        let (side, channels) = (6, 10);
        // Position turns channels 0 and 1, as the image's content turns 2 and 3.
        let image = |content: f32| -> Vec<f32> {
            let of_place = |place: usize| {
                let mut row = [0.0f32; 10];
                row[0] = (place % side) as f32;
                row[1] = (place / side) as f32;
                row[2] = content;
                row[3] = 1.0;
                row
            };
            (0..side * side).flat_map(of_place).collect()
        };
        let found = PositionDirections::of(&[image(-1.0), image(1.0)], channels, 16);
        assert_eq!(found.count(), 2, "two directions hold all of it");
        let mut values = image(3.0);
        found.remove_from(&mut values, false);
        for row in values.chunks_exact(channels) {
            let expected = [0.0, 0.0, 3.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
            assert!(row.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-5), "{row:?}");
        }
    }

    #[test]
    fn directions_are_orthonormal_also_of_more_positions_than_are_looked_at() {
        let channels = 12;
        let values = random::uniform(&mut random::stream(1, "descriptors", 0), 1.0, 3000 * channels);
        let found = PositionDirections::of(&[values], channels, 5);
        assert_eq!(found.count(), 5);
        for (one, first) in found.values().chunks_exact(channels).enumerate() {
            for (other, second) in found.values().chunks_exact(channels).enumerate() {
                let product: f32 = first.iter().zip(second).map(|(a, b)| a * b).sum();
                assert!((product - f32::from(u8::from(one == other))).abs() < 1e-5);
            }
        }
    }

    #[test]
    fn the_share_between_places_is_adjusted_for_the_number_of_images() {
        let noise = |image| random::uniform(&mut random::stream(2, "noise", image), 1.0, 400 * 4);
        let images: Vec<Vec<f32>> = (0..4).map(noise).collect();
        let share = share_between_places(&images, 4).unwrap();
        assert!(share < 0.05, "noise has no place: {share}");
        let placed = |mut values: Vec<f32>| {
            values.iter_mut().enumerate().for_each(|(index, value)| *value = 0.01 * *value + (index / 4) as f32);
            values
        };
        let share = share_between_places(&images.into_iter().map(placed).collect::<Vec<_>>(), 4).unwrap();
        assert!(share > 0.99, "nothing but place: {share}");
        assert_eq!(share_between_places(&[vec![0.5; 40]], 4), None);
        assert_eq!(share_between_places(&[vec![0.5; 40], vec![0.5; 40]], 4), None);
    }

    #[test]
    fn descriptors_that_are_all_alike_have_no_directions() {
        assert_eq!(PositionDirections::of(&[vec![0.5; 40]], 4, 16).count(), 0);
        assert_eq!(PositionDirections::of(&[vec![0.5; 4]], 4, 16).count(), 0);
    }
}
