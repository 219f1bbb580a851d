//! The frozen transformer: image batch in, descriptors or class tokens out.

use std::sync::{Arc, Mutex, PoisonError};

use crate::tensor::{Device, Tensor, into_vec, is_cpu, supports_bfloat};

use super::arithmetic::{Bfloat, Single};
use super::batch::{Descriptors, Grid, ImageBatch, Readout};
use super::bfloat::{self, PairLinear};
use super::config::{Facet, Precision, VitConfig};
use super::host;
use super::layers::VitWeights;
use super::positions;
use super::shape::VitShape;
use super::tensors::DeviceVit;
use crate::weights::{StateDict, WeightsError};

/// How the forward pass is computed; both ways agree to rounding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// This crate's own kernels, on the processor.
    Host,
    /// Tensor operations, on any device.
    Tensors,
}

impl Engine {
    /// Own kernels on the processor, tensor operations elsewhere.
    pub fn fastest(device: &Device) -> Engine {
        if is_cpu(device) { Engine::Host } else { Engine::Tensors }
    }
}

enum Weights {
    Host(VitWeights),
    HostBfloat(VitWeights<PairLinear>),
    Device(Box<DeviceVit>),
}

/// Positions `[1 + rows · columns, width]` of one grid.
type Positions = Arc<Vec<f32>>;

/// A vision transformer with fixed weights. It is never differentiated.
pub struct Vit {
    shape: VitShape,
    weights: Weights,
    layers: Vec<usize>,
    facet: Facet,
    stride: usize,
    /// The stored embeddings `[1 + side², width]`.
    stored_positions: Vec<f32>,
    /// The grid of the last batch: a collection has one size, and interpolation costs as much as a few blocks' norms.
    last_positions: Mutex<Option<(Grid, Positions)>>,
}

impl Vit {
    /// Builds the transformer with the fastest engine for `device`.
    pub fn load(state: &StateDict, config: &VitConfig, device: &Device) -> Result<Self, WeightsError> {
        Self::load_with(state, config, device, Engine::fastest(device))
    }

    /// The same with a given engine.
    pub fn load_with(
        state: &StateDict,
        config: &VitConfig,
        device: &Device,
        engine: Engine,
    ) -> Result<Self, WeightsError> {
        let shape = VitShape::from_state_dict(state, config.head_width)?;
        let stride = config.stride.unwrap_or(shape.patch);
        if stride == 0 || !shape.patch.is_multiple_of(stride) {
            return Err(state.option_error(format!("stride = {stride} must divide the patch size {}", shape.patch)));
        }
        let layers = config.layers_of(shape.depth).map_err(|reason| state.option_error(reason))?;
        let weights = VitWeights::from_state_dict(state, &shape, &layers, config.facet)?;
        let stored_positions = state.values("pos_embed", &[1, 1 + shape.position_side.pow(2), shape.width])?.to_vec();
        let weights = match engine {
            Engine::Host if config.precision == Precision::Bf16 => {
                if !bfloat::available() {
                    return Err(state.option_error(
                        "precision = \"bf16\" needs AVX-512 BF16, which this processor lacks".to_string(),
                    ));
                }
                if !config.head_width.is_multiple_of(2) {
                    return Err(state.option_error("precision = \"bf16\" needs an even head_width".to_string()));
                }
                Weights::HostBfloat(weights.with_scaled_queries(&shape).kept_as(|linear| PairLinear::new(&linear)))
            }
            Engine::Tensors if config.precision == Precision::Bf16 && !supports_bfloat(device) => {
                return Err(state.option_error("precision = \"bf16\" is not for this device".to_string()));
            }
            Engine::Host => Weights::Host(weights.with_scaled_queries(&shape)),
            Engine::Tensors => Weights::Device(Box::new(DeviceVit::new(&shape, &weights, config.precision, device))),
        };
        let facet = config.facet;
        Ok(Self { shape, weights, layers, facet, stride, stored_positions, last_positions: Mutex::new(None) })
    }

    /// The dimensions of the model.
    pub fn shape(&self) -> VitShape {
        self.shape
    }

    /// Number of blocks that describe the patches.
    pub fn described_by(&self) -> usize {
        self.layers.len()
    }

    /// The patches of an image of `height` × `width` pixels.
    pub fn grid(&self, height: usize, width: usize) -> Grid {
        let [rows, columns] = [height, width].map(|side| self.shape.grid(side, self.stride));
        Grid { rows, columns, stride: self.stride }
    }

    /// The chosen facet of the chosen blocks for every token, block after block.
    ///
    /// Keys, queries and values join the heads channel by channel: index = channel in head · heads + head; tokens keep
    /// the model's order. Later blocks, and what the facet does not need of its own block, are not computed.
    ///
    /// # Shapes
    /// `[B, 3, H, W]` → `[B, 1 + rows · columns, blocks · width]`
    ///
    /// # Panics
    /// If the batch does not hold the values it states, or an image is smaller than one patch.
    pub fn forward(&self, batch: &ImageBatch) -> Descriptors {
        self.run(batch, Readout::Facets { layers: &self.layers, facet: self.facet })
    }

    /// The class token after all blocks and the final normalisation, `[B, width]`: one vector per image.
    pub fn class_token(&self, batch: &ImageBatch) -> Vec<f32> {
        self.run(batch, Readout::ClassToken).values
    }

    /// The tokens as they enter the first block: patch embeddings with the class token and positions.
    pub fn embed(&self, batch: &ImageBatch) -> Descriptors {
        self.run(batch, Readout::Embedded)
    }

    /// Whether [`Vit::forward_on_device`] can be called.
    pub fn is_on_device(&self) -> bool {
        matches!(self.weights, Weights::Device(_))
    }

    /// [`Vit::forward`] with its result left on the device; the device may still be computing it.
    ///
    /// # Panics
    /// As [`Vit::forward`], and if the batch is empty or the engine is the host's.
    pub fn forward_on_device(&self, batch: &ImageBatch) -> Tensor<3> {
        self.run_on_device(batch, Readout::Facets { layers: &self.layers, facet: self.facet })
    }

    /// [`Vit::class_token`] with its result, `[B, width]`, left on the device.
    pub fn class_token_on_device(&self, batch: &ImageBatch) -> Tensor<2> {
        self.run_on_device(batch, Readout::ClassToken).flatten(1, 2)
    }

    fn run_on_device(&self, batch: &ImageBatch, readout: Readout) -> Tensor<3> {
        let Weights::Device(vit) = &self.weights else { panic!("these weights are not on a device") };
        let grid = self.checked_grid(batch);
        vit.forward(&self.shape, batch, grid, &self.positions(grid), readout)
    }

    fn checked_grid(&self, batch: &ImageBatch) -> Grid {
        let grid = self.grid(batch.height, batch.width);
        assert!(grid.rows > 0 && grid.columns > 0, "an image must hold at least one patch");
        assert_eq!(batch.values.len(), batch.images * 3 * batch.height * batch.width, "a batch holds [B, 3, H, W]");
        grid
    }

    fn run(&self, batch: &ImageBatch, readout: Readout) -> Descriptors {
        let grid = self.checked_grid(batch);
        let width = self.shape.width * if let Readout::Facets { layers, .. } = readout { layers.len() } else { 1 };
        let tokens = if readout == Readout::ClassToken { 1 } else { 1 + grid.rows * grid.columns };
        if batch.images == 0 {
            return Descriptors { values: Vec::new(), images: 0, tokens, width };
        }
        let positions = self.positions(grid);
        let values = match &self.weights {
            Weights::Host(weights) => host::forward::<Single>(&self.shape, weights, batch, grid, &positions, readout),
            Weights::HostBfloat(weights) => {
                host::forward::<Bfloat>(&self.shape, weights, batch, grid, &positions, readout)
            }
            Weights::Device(vit) => into_vec(vit.forward(&self.shape, batch, grid, &positions, readout)),
        };
        Descriptors { values, images: batch.images, tokens, width }
    }

    fn positions(&self, grid: Grid) -> Positions {
        let mut last = self.last_positions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((last_grid, positions)) = &*last
            && *last_grid == grid
        {
            return positions.clone();
        }
        let (class, patches) = self.stored_positions.split_at(self.shape.width);
        let side = self.shape.position_side;
        let mut values = class.to_vec();
        values.extend(positions::interpolate(patches, side, self.shape.width, grid.rows, grid.columns));
        let positions = Arc::new(values);
        *last = Some((grid, positions.clone()));
        positions
    }
}
