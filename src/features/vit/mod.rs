//! Descriptors of image patches from a frozen vision transformer.
//!
//! The weights, their shapes and [`VitConfig`] make a [`Vit`], and [`VitExtractor`] puts it to
//! work on images.

mod arithmetic;
mod batch;
#[allow(
    unsafe_code,
    reason = "the processor's instructions for bfloat16 are called directly; each block says why it is sound"
)]
mod bfloat;
mod config;
mod family;
mod host;
mod int8;
#[allow(unsafe_code, reason = "products and instruction sets are called directly; each block says why it is sound")]
mod kernels;
mod layers;
mod model;
mod position_directions;
mod positions;
mod rotation;
mod shape;
mod tensors;
mod timing;

use std::sync::OnceLock;

use config::Patches;
use position_directions::{PositionDirections, share_between_places};

pub use batch::{Descriptors, Grid, ImageBatch};
pub use bfloat::available as bfloat_available;
pub use config::{Facet, Precision, Resize, VitConfig};
pub use int8::are_bytes_fast;
pub use model::{Engine, Vit};
pub use shape::VitShape;
pub use timing::{supported_precisions, time_shares};

use super::{BatchExtractor, Extractor, LOG_BINS, Prepared, log_binned};
use crate::nodes::{Adjacency, Layout, NodeFeatures};
use crate::numerics::{random, scale_to_unit_length};
use crate::pixels::{normalise, resize_lanczos};
use crate::raster::{Mask, RgbImage};
use crate::tensor::{self, Device, Tensor, is_cpu};
use crate::weights::{StateDict, WeightsError};

/// Image → one node per patch, described by a facet of the transformer.
pub struct VitExtractor {
    vit: Vit,
    config: VitConfig,
    /// blake3 of the weights' file.
    weights: blake3::Hash,
    /// GPUs round the operands of products.
    on_gpu: bool,
    /// Those of a checkpoint, or found with the first image: who only reads what is cached needs none.
    directions: OnceLock<PositionDirections>,
}

impl VitExtractor {
    /// Builds the transformer on `device` and checks the options against it.
    pub fn new(state: &StateDict, config: VitConfig, device: Device) -> Result<Self, WeightsError> {
        let engine = Engine::fastest(&device);
        Self::with_engine(state, config, device, engine)
    }

    /// The same with a given engine.
    pub fn with_engine(
        state: &StateDict,
        mut config: VitConfig,
        device: Device,
        engine: Engine,
    ) -> Result<Self, WeightsError> {
        let vit = Vit::load_with(state, &config, &device, engine)?;
        config.head_width = Some(vit.shape().head_width());
        let patch = vit.shape().patch;
        if config.input_side < patch {
            let side = config.input_side;
            return Err(state.option_error(format!("input_side = {side} is less than one patch of {patch} pixels")));
        }
        let (side, patches) = (config.input_side, Self::patches(&vit, &config));
        if config.resize == Resize::Square && patches.count(side, side) > patches.most {
            return Err(state.option_error(format!(
                "input_side = {side} gives {} patches, more than maximum_nodes = {}",
                patches.count(side, side),
                patches.most
            )));
        }
        let deviations_usable = config.standard_deviation.iter().all(|value| value.is_finite() && *value > 0.0);
        if !deviations_usable || !config.mean.iter().all(|value| value.is_finite()) {
            return Err(state.option_error("mean must be finite and standard_deviation above 0".to_string()));
        }
        Ok(Self { vit, config, weights: state.hash(), on_gpu: !is_cpu(&device), directions: OnceLock::new() })
    }

    fn patches(vit: &Vit, config: &VitConfig) -> Patches {
        let side = vit.shape().patch;
        Patches { side, stride: config.stride.unwrap_or(side), most: config.maximum_nodes }
    }

    /// Width and height in pixels that the transformer takes the image in.
    fn target(&self, width: usize, height: usize) -> (usize, usize) {
        let patches = Self::patches(&self.vit, &self.config);
        self.config.resize.target(self.config.input_side, patches, width, height)
    }

    /// The directions that are removed, where any are; the same for images of every size.
    fn directions(&self) -> Option<&PositionDirections> {
        let count = self.config.remove_position().min(self.width() / LEAST_CHANNELS_PER_DIRECTION);
        let find = || {
            // The image's size matters little: what the transformer is told of positions is interpolated from one table.
            let patches = Self::patches(&self.vit, &self.config);
            let side = self.config.input_side;
            let (width, height) = Resize::Short.target(side, patches, side, side);
            let images = (0..CONTENT_FREE_IMAGES).map(|image| {
                let mut generator = random::stream(0, "content-free image", image);
                let values = random::uniform(&mut generator, CONTENT_FREE_BOUND, 3 * height * width);
                self.descriptors(&values, height, width)
            });
            PositionDirections::of(&images.collect::<Vec<_>>(), self.width(), count)
        };
        (count > 0).then(|| self.directions.get_or_init(find))
    }

    /// The descriptors of one image as the transformer takes it, position included.
    ///
    /// # Shapes
    /// input `[3, height, width]` → `[nodes, width]`
    fn descriptors(&self, input: &[f32], height: usize, width: usize) -> Vec<f32> {
        let descriptors = self.vit.forward(&ImageBatch { values: input, images: 1, height, width });
        let mut values = descriptors.values[descriptors.leading * descriptors.width..].to_vec();
        if self.config.normalise && self.vit.described_by() > 1 {
            values.chunks_exact_mut(self.vit.shape().width).for_each(scale_to_unit_length);
        }
        if self.config.log_bins {
            let Grid { rows, columns, .. } = self.vit.grid(height, width);
            values = log_binned(&values, descriptors.width, rows, columns);
        }
        if self.config.normalise {
            values.chunks_exact_mut(self.width()).for_each(scale_to_unit_length);
        }
        values
    }

    /// Where the nodes of an input of so many pixels lie.
    fn layout_of(&self, height: usize, width: usize) -> Layout {
        let Grid { rows, columns, .. } = self.vit.grid(height, width);
        Layout::Grid { rows, columns }
    }
}

impl Extractor for VitExtractor {
    fn fingerprint(&self) -> String {
        serde_json::json!(["vit", 2, self.weights.to_hex().as_str(), self.on_gpu, self.config]).to_string()
    }

    fn extract_within(&self, image: &RgbImage, outside: Option<&Mask>) -> NodeFeatures {
        let Prepared { values: input, height, width, layout } = self.prepare(image);
        let mut values = self.descriptors(&input, height, width);
        if let Some(directions) = self.directions() {
            directions.remove_from(&mut values, self.config.normalise);
        }
        NodeFeatures { values, channels: self.width(), layout, adjacency: Adjacency::Complete }.within(outside)
    }

    fn layout(&self, image: &RgbImage, outside: Option<&Mask>) -> Layout {
        let (width, height) = self.target(image.width, image.height);
        self.layout_of(height, width).within(outside)
    }

    fn width(&self) -> usize {
        self.vit.shape().width * self.vit.described_by() * if self.config.log_bins { LOG_BINS } else { 1 }
    }

    /// Not with log-bins, which are made on the host.
    fn batches(&self) -> Option<&dyn BatchExtractor> {
        (self.vit.is_on_device() && !self.config.log_bins).then_some(self)
    }

    fn position_directions(&self) -> Vec<f32> {
        self.directions().map_or(Vec::new(), |directions| directions.values().to_vec())
    }

    fn adopt_position_directions(&self, values: &[f32]) {
        self.directions.get_or_init(|| PositionDirections::from_values(values.to_vec(), self.width()));
    }

    /// Of images of the first one's grid; images of one content have no other variance than between places.
    fn position_shares(&self, images: &[RgbImage]) -> Option<[f64; 2]> {
        let mut prepared = images.iter().map(|image| self.prepare(image)).peekable();
        let size = prepared.peek().map(|first| (first.height, first.width))?;
        let alike = prepared.filter(|image| (image.height, image.width) == size);
        let mut descriptors: Vec<Vec<f32>> =
            alike.map(|image| self.descriptors(&image.values, image.height, image.width)).collect();
        let before = share_between_places(&descriptors, self.width())?;
        if let Some(directions) = self.directions() {
            descriptors.iter_mut().for_each(|values| directions.remove_from(values, self.config.normalise));
        }
        Some([before, share_between_places(&descriptors, self.width())?])
    }

    fn input_size(&self, width: usize, height: usize) -> Option<[usize; 2]> {
        let (width, height) = self.target(width, height);
        Some([width, height])
    }

    /// The class token after the final normalisation, as the transformer gives it, or the mean of all tokens where there is
    /// none: blocks, facet and scaling of patch descriptors do not concern it.
    fn image_vector(&self, image: &RgbImage, _outside: Option<&Mask>) -> Vec<f32> {
        let Prepared { values, height, width, .. } = self.prepare(image);
        self.vit.image_vectors(&ImageBatch { values: &values, images: 1, height, width })
    }

    fn image_width(&self) -> usize {
        self.vit.shape().width
    }
}

/// Of fewer channels fewer directions are removed: the rest has to tell what the image shows.
const LEAST_CHANNELS_PER_DIRECTION: usize = 16;

/// Images of white noise whose mean descriptors tell what follows from position alone, and the bound of their pixels: a
/// standard deviation of 0.5, half of that of photographs.
const CONTENT_FREE_IMAGES: u64 = 8;
const CONTENT_FREE_BOUND: f64 = 0.866;

/// Images of one batch where there is memory enough: tens of thousands of tokens.
const MOST_IMAGES: u64 = 32;

impl BatchExtractor for VitExtractor {
    fn prepare(&self, image: &RgbImage) -> Prepared {
        let VitConfig { mean, standard_deviation, .. } = self.config;
        let (width, height) = self.target(image.width, image.height);
        let values = normalise(&resize_lanczos(image, width, height), mean, standard_deviation);
        Prepared { values, height, width, layout: self.layout_of(height, width) }
    }

    /// One image at a time where every image has a size of its own.
    fn images_per_batch(&self, bytes: u64) -> usize {
        if self.config.resize != Resize::Square {
            return 1;
        }
        let side = self.config.input_side;
        let Grid { rows, columns, .. } = self.vit.grid(side, side);
        let shape = self.vit.shape();
        let [nodes, tokens] = [rows * columns, shape.leading() + rows * columns].map(|count| count as u64);
        let [heads, width, hidden, channels] =
            [shape.heads, shape.width, shape.mlp_width * (1 + usize::from(shape.is_gated)), self.width()]
                .map(|size| size as u64);
        // Attention that is not fused holds its scores thrice; the blocks' and the graph's intermediates are counted as
        // if none were freed before the next.
        let values = 3 * heads * tokens * tokens
            + tokens * (12 * width + 3 * hidden)
            + 3 * nodes * nodes
            + 6 * nodes * channels
            + 3 * (side * side) as u64;
        // A power of two: what else runs on the device changes its free memory a little, and that must not change results.
        1 << (bytes / (4 * values)).clamp(1, MOST_IMAGES).ilog2()
    }

    fn describe(&self, batch: &[Prepared], images: usize) -> Tensor<3> {
        let tokens = with_filled(batch, images, |batch| self.vit.forward_on_device(batch));
        let [_, count, channels] = tokens.dims();
        let leading = self.vit.shape().leading();
        let mut nodes = tokens.slice([0..images, leading..count, 0..channels]);
        let (blocks, count) = (self.vit.described_by(), count - leading);
        if self.config.normalise && blocks > 1 {
            let shape = [images, count * blocks, channels / blocks];
            nodes = scaled_to_unit_length(nodes.reshape(shape)).reshape([images, count, channels]);
        }
        if self.config.normalise {
            nodes = scaled_to_unit_length(nodes);
        }
        let Some(directions) = self.directions().filter(|directions| directions.count() > 0) else { return nodes };
        let shape = [1, directions.count(), channels];
        let directions = tensor::from_slice(directions.values(), shape, &nodes.device());
        let shares = nodes.clone().matmul(directions.clone().swap_dims(1, 2));
        nodes = nodes - shares.matmul(directions);
        if self.config.normalise { scaled_to_unit_length(nodes) } else { nodes }
    }

    fn image_vectors(&self, batch: &[Prepared], images: usize) -> Tensor<2> {
        with_filled(batch, images, |batch| self.vit.image_vectors_on_device(batch))
    }
}

/// Gives a batch of so many images to a function, those that are missing zero.
fn with_filled<T>(batch: &[Prepared], images: usize, compute: impl FnOnce(&ImageBatch) -> T) -> T {
    let Prepared { height, width, .. } = batch[0];
    assert!(batch.len() <= images, "a batch of {images} cannot hold {} images", batch.len());
    assert!(batch.iter().all(|image| (image.height, image.width) == (height, width)), "a batch has one size");
    let mut values = Vec::with_capacity(images * 3 * height * width);
    batch.iter().for_each(|image| values.extend_from_slice(&image.values));
    values.resize(images * 3 * height * width, 0.0);
    compute(&ImageBatch { values: &values, images, height, width })
}

/// Divides every row by its Euclidean length; zero rows stay.
fn scaled_to_unit_length(rows: Tensor<3>) -> Tensor<3> {
    let length = rows.clone().powi_scalar(2).sum_dim(2).sqrt();
    rows / length.clamp_min(f32::MIN_POSITIVE)
}
