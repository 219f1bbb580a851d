//! Rotations of queries and keys by the places of their patches.

use std::f64::consts::TAU;

use super::batch::Grid;
use super::kernels::LANES;

/// What the periods grow to.
const BASE: f64 = 100.0;

/// Cosines and sines of the angles by which the channels of a head are turned, for every token of an image.
///
/// The first half of a head's channels is turned against the second. Of each half, the first half's angles tell of rows and
/// the second's of columns: angle = 2π · place / period, places being the patches' centres in [−1, 1] and periods
/// 100^(2i / half). Tokens that lie nowhere in the image stay as they are.
///
/// Source: DINOv3 (Siméoni et al. 2025, arXiv 2508.10104); rotary positions of Su et al. 2021 (arXiv 2104.09864).
#[derive(Debug)]
pub struct Rotation {
    /// Pairs of channels in a head.
    pub half: usize,
    /// `[strips, half, LANES]`: strips of an image's tokens, as the processor's engine cuts them.
    cosines: Vec<f32>,
    sines: Vec<f32>,
}

impl Rotation {
    /// The rotations of `leading` tokens that lie nowhere and of the patches of a grid; `periods` are those of one axis,
    /// half as many as there are pairs of channels.
    pub fn new(periods: &[f32], leading: usize, grid: Grid) -> Rotation {
        let half = 2 * periods.len();
        let tokens = leading + grid.rows * grid.columns;
        let length = tokens.div_ceil(LANES) * half * LANES;
        let (mut cosines, mut sines) = (vec![1.0; length], vec![0.0; length]);
        let place = |index: usize, count: usize| (2 * index + 1) as f64 / count as f64 - 1.0;
        for token in leading..tokens {
            let (row, column) = ((token - leading) / grid.columns, (token - leading) % grid.columns);
            let places = [place(row, grid.rows), place(column, grid.columns)];
            for channel in 0..half {
                let period = f64::from(periods[channel % periods.len()]);
                let angle = TAU * places[channel / periods.len()] / period;
                let at = (token / LANES * half + channel) * LANES + token % LANES;
                (cosines[at], sines[at]) = (angle.cos() as f32, angle.sin() as f32);
            }
        }
        Rotation { half, cosines, sines }
    }

    /// The published periods of heads of such a width, those of one axis.
    pub fn published_periods(head_width: usize) -> Vec<f32> {
        let half = head_width / 2;
        (0..half / 2).map(|index| BASE.powf(2.0 * index as f64 / half as f64) as f32).collect()
    }

    /// Turns queries and keys, the first `channels` rows of a strip, in place.
    ///
    /// # Shapes
    /// projected `[≥ channels, LANES]`
    pub fn turn_strip(&self, projected: &mut [f32], strip: usize, channels: usize) {
        let length = self.half * LANES;
        let [cosines, sines] = [&self.cosines, &self.sines].map(|table| &table[strip * length..][..length]);
        for head in projected[..channels * LANES].chunks_exact_mut(2 * length) {
            let (first, second) = head.split_at_mut(length);
            for (((first, second), cosine), sine) in first.iter_mut().zip(second).zip(cosines).zip(sines) {
                (*first, *second) = (*first * cosine - *second * sine, *second * cosine + *first * sine);
            }
        }
    }

    /// Cosines and sines of all channels of a head, `[tokens, 2 · half]` each; the sines of the first half are negative, as
    /// the second half is turned into them.
    pub fn rows(&self, tokens: usize) -> [Vec<f32>; 2] {
        let row = |table: &[f32], token: usize, sign: f32| -> Vec<f32> {
            let at = |channel: usize| table[(token / LANES * self.half + channel) * LANES + token % LANES];
            let first = (0..self.half).map(|channel| sign * at(channel));
            first.chain((0..self.half).map(at)).collect()
        };
        [(&self.cosines, 1.0), (&self.sines, -1.0)]
            .map(|(table, sign)| (0..tokens).flat_map(|token| row(table, token, sign)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_of_turned_vectors_depend_on_the_distance_of_their_patches_alone() {
        let periods = Rotation::published_periods(8);
        assert_eq!(periods, [1.0, 10.0]);
        let grid = Grid { rows: 9, columns: 9, stride: 1 };
        let rotation = Rotation::new(&periods, 1, grid);
        let wave = |step: f32| (0..8).map(|channel| (channel as f32 * step).sin()).collect::<Vec<_>>();
        let turned = |vector: &[f32], token: usize| {
            let mut strip = vec![0.0; 8 * LANES];
            strip.iter_mut().skip(token % LANES).step_by(LANES).zip(vector).for_each(|(lane, value)| *lane = *value);
            rotation.turn_strip(&mut strip, token / LANES, 8);
            strip.into_iter().skip(token % LANES).step_by(LANES).collect::<Vec<f32>>()
        };
        let (query, key) = (wave(0.7), wave(1.9));
        let product = |first: usize, second: usize| -> f32 {
            turned(&query, first).iter().zip(turned(&key, second)).map(|(one, other)| one * other).sum()
        };
        // Two rows and one column apart, the last pair in the second strip.
        let expected = product(1, 20);
        assert!((product(31, 50) - expected).abs() < 1e-5 && (product(60, 79) - expected).abs() < 1e-5);
        assert!((product(1, 21) - expected).abs() > 1e-3);
        // The class token stays as it is.
        assert_eq!(turned(&query, 0), query);
    }

    #[test]
    fn rows_hold_what_strips_are_turned_by() {
        let rotation = Rotation::new(&[1.0, 3.0], 5, Grid { rows: 8, columns: 9, stride: 1 });
        let [cosines, sines] = rotation.rows(77);
        let vector: Vec<f32> = (0..8).map(|channel| 1.0 + channel as f32).collect();
        for token in [0, 4, 5, 63, 64, 76] {
            let mut strip = vec![0.0; 8 * LANES];
            strip.iter_mut().skip(token % LANES).step_by(LANES).zip(&vector).for_each(|(lane, value)| *lane = *value);
            rotation.turn_strip(&mut strip, token / LANES, 8);
            for channel in 0..8 {
                let at = token * 8 + channel;
                let expected = vector[channel] * cosines[at] + vector[(channel + 4) % 8] * sines[at];
                assert!((strip[channel * LANES + token % LANES] - expected).abs() < 1e-6);
            }
        }
    }
}
