//! The directions in which vectors spread most: where a cluster may be split, and where a map starts.

use rayon::prelude::*;

use super::partition::dot;
use super::vectors::Vectors;
use crate::numerics::random;

/// Power iterations towards a direction.
const POWER_ITERATIONS: usize = 15;

/// Every vector's places along the two directions in which the collection spreads most.
pub(super) fn principal_places(vectors: &Vectors) -> Vec<[f32; 2]> {
    let rows: Vec<u32> = (0..vectors.count() as u32).collect();
    let spread = Spread::new(vectors, &rows);
    let directions = spread.directions();
    let place = |&row: &u32| [0, 1].map(|axis: usize| spread.place(row, &directions[axis]) as f32);
    rows.par_iter().with_min_len(256).map(place).collect()
}

/// Where some vectors spread most.
pub(super) struct Spread<'a> {
    vectors: &'a Vectors,
    rows: &'a [u32],
    mean: Vec<f64>,
}

impl<'a> Spread<'a> {
    pub fn new(vectors: &'a Vectors, rows: &'a [u32]) -> Spread<'a> {
        let mut mean = vec![0.0; vectors.width()];
        for &row in rows {
            mean.iter_mut().zip(vectors.row(row as usize)).for_each(|(sum, value)| *sum += f64::from(*value));
        }
        mean.iter_mut().for_each(|sum| *sum /= rows.len() as f64);
        Spread { vectors, rows, mean }
    }

    /// How far a vector lies from the mean along a direction.
    pub fn place(&self, row: u32, direction: &[f64]) -> f64 {
        let mean: f64 = self.mean.iter().zip(direction).map(|(mean, value)| mean * value).sum();
        dot(self.vectors.row(row as usize), direction) - mean
    }

    /// The two directions of largest spread, by power iteration.
    pub fn directions(&self) -> [Vec<f64>; 2] {
        let first = self.direction(0, None);
        let second = self.direction(1, Some(&first));
        [first, second]
    }

    fn direction(&self, number: u64, apart_from: Option<&[f64]>) -> Vec<f64> {
        let width = self.vectors.width();
        let start = random::uniform(&mut random::stream(0, "direction", number), 1.0, width);
        let mut direction: Vec<f64> = start.into_iter().map(f64::from).collect();
        for _ in 0..POWER_ITERATIONS {
            if let Some(other) = apart_from {
                let along: f64 = direction.iter().zip(other).map(|(a, b)| a * b).sum();
                direction.iter_mut().zip(other).for_each(|(value, other)| *value -= along * other);
            }
            // Partial sums over fixed blocks, so that the result does not depend on the number of threads.
            let parts: Vec<(Vec<f64>, f64)> =
                self.rows.par_chunks(512).map(|rows| self.pulled(rows, &direction)).collect();
            let mut next = vec![0.0; width];
            let mut total = 0.0;
            for (part, places) in &parts {
                next.iter_mut().zip(part).for_each(|(sum, value)| *sum += value);
                total += places;
            }
            next.iter_mut().zip(&self.mean).for_each(|(sum, mean)| *sum -= total * mean);
            let length = next.iter().map(|value| value * value).sum::<f64>().sqrt();
            if length <= f64::MIN_POSITIVE {
                return direction;
            }
            direction = next.into_iter().map(|value| value / length).collect();
        }
        direction
    }

    /// Σ p_i f_i and Σ p_i over some rows, with p_i the place of row i along a direction.
    fn pulled(&self, rows: &[u32], direction: &[f64]) -> (Vec<f64>, f64) {
        let (mut pulled, mut total) = (vec![0.0; direction.len()], 0.0);
        for &row in rows {
            let place = self.place(row, direction);
            total += place;
            let vector = self.vectors.row(row as usize);
            pulled.iter_mut().zip(vector).for_each(|(sum, value)| *sum += place * f64::from(*value));
        }
        (pulled, total)
    }
}
