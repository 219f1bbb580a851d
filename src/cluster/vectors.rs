//! The vectors that are grouped, one per image, checked and brought to scale.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ClusterError;
use crate::numerics::k_means::{Found, Rows, k_means};
use crate::tensor;

/// How vectors are scaled before their inner products are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Scaling {
    /// `unit` for a transformer's vectors and given ones, `standardised` for statistics of colours, whose raw inner
    /// products are all alike. Who computes vectors knows what they are of and makes the choice; those that come without
    /// one are given ones.
    #[default]
    Auto,
    /// As they are.
    None,
    /// Every vector divided by its length, which makes inner products cosines.
    Unit,
    /// Every channel shifted and scaled to mean 0 and deviation 1 over the collection, then every vector to unit length.
    Standardised,
}

/// N vectors of D channels.
#[derive(Debug, Clone, PartialEq)]
pub struct Vectors {
    /// Row-major `[N, D]`, all finite.
    values: Vec<f32>,
    width: usize,
}

/// A scaling with what it learned from a collection, so that new vectors are scaled alike.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct FittedScaling {
    /// What every channel is shifted by and then multiplied with, each `[D]`; none where channels are left alone.
    pub channels: Option<[Vec<f32>; 2]>,
    /// Whether every vector is divided by its length.
    pub unit_length: bool,
}

impl Vectors {
    /// Joins row-major values to vectors of `width` channels.
    ///
    /// # Errors
    /// If there are no values, some are not finite, or a length's square exceeds what single precision holds.
    ///
    /// # Panics
    /// If the last vector is not whole.
    pub fn new(values: Vec<f32>, width: usize) -> Result<Vectors, ClusterError> {
        if width == 0 || values.is_empty() {
            return Err(ClusterError::Empty);
        }
        assert_eq!(values.len() % width, 0, "whole vectors");
        for (row, vector) in values.chunks_exact(width).enumerate() {
            if let Some(value) = vector.iter().find(|value| !value.is_finite()) {
                return Err(ClusterError::NotFinite { row, value: *value });
            }
            if !(squared_length(vector) * (values.len() / width) as f64).is_finite()
                || squared_length(vector) > f64::from(f32::MAX) / (values.len() / width) as f64
            {
                return Err(ClusterError::TooLong { row });
            }
        }
        Ok(Vectors { values, width })
    }

    /// Number of vectors, N.
    pub fn count(&self) -> usize {
        self.values.len() / self.width
    }

    /// Channels, D.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Row-major `[N, D]`.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// Vector number `row`, `[D]`.
    pub fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.width..][..self.width]
    }

    /// Inner products of some vectors with `centres`, in single precision.
    ///
    /// # Shapes
    /// centres `[K, D]` → row-major `[rows, K]`
    pub(super) fn products(&self, rows: &[u32], centres: &[f32]) -> Vec<f32> {
        let gathered: Vec<f32> = rows.iter().flat_map(|&row| self.row(row as usize)).copied().collect();
        let device = tensor::cpu();
        let gathered = tensor::from_vec(gathered, [rows.len(), self.width], &device);
        let centres = tensor::from_slice(centres, [centres.len() / self.width, self.width], &device);
        tensor::into_vec(gathered.matmul(centres.transpose()))
    }

    /// See [`k_means`].
    pub(super) fn k_means(&self, clusters: usize, restarts: usize, seed: u64) -> Found {
        k_means(Rows::new(&self.values, self.width), clusters, restarts, seed)
    }

    /// max(F Fᵀ), which by Cauchy–Schwarz is the largest squared length.
    pub fn largest_product(&self) -> f64 {
        self.values.chunks_exact(self.width).map(squared_length).fold(0.0, f64::max)
    }

    /// Learns a scaling from these vectors.
    pub(super) fn fit(&self, scaling: Scaling) -> FittedScaling {
        match scaling {
            Scaling::None => FittedScaling { channels: None, unit_length: false },
            Scaling::Auto | Scaling::Unit => FittedScaling { channels: None, unit_length: true },
            Scaling::Standardised => FittedScaling { channels: Some(self.channel_scales()), unit_length: true },
        }
    }

    /// The negative mean and the inverse deviation of every channel; 0 for channels without deviation.
    fn channel_scales(&self) -> [Vec<f32>; 2] {
        let count = self.count() as f64;
        let mut means = vec![0.0f64; self.width];
        for vector in self.values.chunks_exact(self.width) {
            means.iter_mut().zip(vector).for_each(|(mean, value)| *mean += f64::from(*value) / count);
        }
        let mut variances = vec![0.0f64; self.width];
        for vector in self.values.chunks_exact(self.width) {
            for ((variance, mean), value) in variances.iter_mut().zip(&means).zip(vector) {
                *variance += (f64::from(*value) - mean).powi(2) / count;
            }
        }
        // What rounding makes of a constant channel is no deviation.
        let usable = |variance: f64, mean: f64| variance.sqrt() > 1e-6 * (mean.abs() + 1e-6);
        let inverse = variances
            .iter()
            .zip(&means)
            .map(|(&variance, &mean)| if usable(variance, mean) { (1.0 / variance.sqrt()) as f32 } else { 0.0 });
        let inverse = inverse.collect();
        [means.into_iter().map(|mean| -mean as f32).collect(), inverse]
    }
}

impl FittedScaling {
    /// The vectors on this scale.
    pub fn apply(&self, mut vectors: Vectors) -> Vectors {
        vectors.values.chunks_exact_mut(vectors.width).for_each(|vector| self.apply_to_one(vector));
        vectors
    }

    /// One vector, `[D]`, on this scale.
    pub fn apply_to_one(&self, vector: &mut [f32]) {
        if let Some([shifts, factors]) = &self.channels {
            for ((value, shift), factor) in vector.iter_mut().zip(shifts).zip(factors) {
                *value = (*value + shift) * factor;
            }
        }
        let length = squared_length(vector).sqrt();
        if self.unit_length && length > 0.0 {
            vector.iter_mut().for_each(|value| *value = (f64::from(*value) / length) as f32);
        }
    }
}

pub(super) fn squared_length(vector: &[f32]) -> f64 {
    vector.iter().map(|value| f64::from(*value) * f64::from(*value)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_grouped_is_named() {
        assert!(matches!(Vectors::new(vec![], 3), Err(ClusterError::Empty)));
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert!(matches!(Vectors::new(vec![1.0, 2.0, 3.0, bad], 2), Err(ClusterError::NotFinite { row: 1, .. })));
        }
        assert!(matches!(Vectors::new(vec![1.0, 1e30], 1), Err(ClusterError::TooLong { row: 1 })));
    }

    #[test]
    fn scalings_are_learned_once_and_apply_to_new_vectors() {
        let vectors = Vectors::new(vec![1.0, 7.0, 3.0, 7.0], 2).unwrap();
        let standardised = vectors.fit(Scaling::Standardised);
        assert_eq!(standardised.apply(vectors.clone()).values(), [-1.0, 0.0, 1.0, 0.0]);
        let new = Vectors::new(vec![9.0, 8.0], 2).unwrap();
        assert_eq!(standardised.apply(new).values(), [1.0, 0.0]);
        let unit = vectors.fit(Scaling::Unit).apply(Vectors::new(vec![3.0, 4.0, 0.0, 0.0], 2).unwrap());
        assert_eq!(unit.values(), [0.6, 0.8, 0.0, 0.0]);
    }
}
