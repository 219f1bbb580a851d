//! Descriptors of image patches from a frozen vision transformer.
//!
//! [`StateDict`] reads the weights, their shapes and [`VitConfig`] make a [`Vit`], and [`VitExtractor`] puts it to
//! work on images.

mod archive;
mod config;
mod host;
#[allow(unsafe_code, reason = "products and instruction sets are called directly; each block says why it is sound")]
mod kernels;
mod model;
mod pickle;
mod positions;
mod tensors;
mod weights;

pub use config::{Facet, VitConfig, VitShape};
pub use model::{Descriptors, Engine, Grid, ImageBatch, Vit};
pub use weights::{StateDict, WeightsError, file_hash};

use rayon::prelude::*;

use super::{Adjacency, Extractor, Layout, NodeFeatures};
use crate::pixels::{normalise, resize_lanczos};
use crate::raster::RgbImage;
use crate::tensor::Device;

/// Image → one node per patch, described by a facet of the transformer.
pub struct VitExtractor {
    vit: Vit,
    config: VitConfig,
}

impl VitExtractor {
    /// Builds the transformer on `device` and checks the options against it.
    pub fn new(state: &StateDict, config: VitConfig, device: Device) -> Result<Self, WeightsError> {
        let vit = Vit::load(state, &config, &device)?;
        let patch = vit.shape().patch;
        if config.input_side < patch {
            let side = config.input_side;
            return Err(state.option_error(format!("input_side = {side} is less than one patch of {patch} pixels")));
        }
        let deviations_usable = config.standard_deviation.iter().all(|value| value.is_finite() && *value > 0.0);
        if !deviations_usable || !config.mean.iter().all(|value| value.is_finite()) {
            return Err(state.option_error("mean must be finite and standard_deviation above 0".to_string()));
        }
        Ok(Self { vit, config })
    }

    /// The transformer.
    pub fn vit(&self) -> &Vit {
        &self.vit
    }

    /// [`Extractor::extract`] of several images in one pass.
    pub fn extract_batch(&self, images: &[RgbImage]) -> Vec<NodeFeatures> {
        let side = self.config.input_side;
        let values = self.prepare(images);
        let batch = ImageBatch { values: &values, images: images.len(), height: side, width: side };
        let descriptors = self.vit.forward(&batch);
        let Grid { rows, columns, .. } = self.vit.grid(side, side);
        let width = descriptors.width;
        let per_image = descriptors.tokens * width;
        (0..images.len())
            .map(|image| {
                // Token 0 is the class token, which lies nowhere in the image.
                let mut values = descriptors.values[image * per_image + width..][..per_image - width].to_vec();
                if self.config.normalise {
                    values.chunks_exact_mut(width).for_each(scale_to_unit_length);
                }
                NodeFeatures { values, width, layout: Layout::Grid { rows, columns }, adjacency: Adjacency::Complete }
            })
            .collect()
    }

    /// One vector per image for clustering a collection: the final class token, `[images, width]` row by row.
    pub fn class_tokens(&self, images: &[RgbImage]) -> Vec<f32> {
        let side = self.config.input_side;
        let values = self.prepare(images);
        self.vit.class_token(&ImageBatch { values: &values, images: images.len(), height: side, width: side })
    }

    /// Resized and normalised images, `[images, 3, side, side]`.
    fn prepare(&self, images: &[RgbImage]) -> Vec<f32> {
        let VitConfig { input_side: side, mean, standard_deviation, .. } = self.config;
        let planes: Vec<Vec<f32>> = images
            .par_iter()
            .map(|image| normalise(&resize_lanczos(image, side, side), mean, standard_deviation))
            .collect();
        planes.concat()
    }
}

impl Extractor for VitExtractor {
    fn extract(&self, image: &RgbImage) -> NodeFeatures {
        let mut features = self.extract_batch(std::slice::from_ref(image));
        features.pop().expect("one image gives one set of features")
    }

    fn width(&self) -> usize {
        self.vit.shape().width
    }
}

/// Divides a vector by its Euclidean length; the zero vector stays.
fn scale_to_unit_length(vector: &mut [f32]) {
    let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
    if length > 0.0 {
        for value in vector {
            *value /= length;
        }
    }
}
