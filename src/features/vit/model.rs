//! The frozen transformer: image batch in, descriptors or class tokens out.

use std::sync::{Arc, Mutex};

use crate::parallel::lock;
use crate::tensor::{Device, Tensor, into_vec, is_cpu, supports_bfloat};

use super::arithmetic::{Bfloat, Bytes, Single};
use super::batch::{Descriptors, Grid, ImageBatch, Readout};
use super::bfloat::{self, PairLinear};
use super::config::{Facet, Precision, VitConfig};
use super::family::family_of;
use super::host;
use super::int8::ByteLinear;
use super::layers::{Linear, VitWeights};
use super::positions::Interpolation;
use super::rotation::Rotation;
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
    HostBytes(VitWeights<ByteLinear, Linear>),
    Device(Box<DeviceVit>),
}

/// What the tokens of one grid start from and are turned by.
pub struct Places {
    /// `[leading + rows · columns, width]`: the leading tokens, and what is added to those of patches.
    pub start: Vec<f32>,
    pub rotation: Option<Rotation>,
}

/// What is known of places of any grid.
struct Positions {
    /// The leading tokens `[leading, width]`, their positions added.
    leading: Vec<f32>,
    /// The stored grid `[side², width]`; empty where places are rotations.
    grid: Vec<f32>,
    interpolation: Interpolation,
    /// Of one axis; empty where nothing is turned.
    periods: Vec<f32>,
}

/// A vision transformer with fixed weights. It is never differentiated.
pub struct Vit {
    shape: VitShape,
    weights: Weights,
    layers: Vec<usize>,
    facet: Facet,
    stride: usize,
    positions: Positions,
    /// The grid of the last batch: a collection has one size, and interpolation costs as much as a few blocks' norms.
    last_places: Mutex<Option<(Grid, Arc<Places>)>>,
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
        let positions = Positions::read(state, &shape)?;
        let epsilon = family_of(state)?.epsilon();
        let weights = VitWeights::from_state_dict(state, &shape, epsilon, &layers, config.facet)?;
        let weights = match engine {
            Engine::Host if config.precision == Precision::Bf16 => {
                if !bfloat::available() {
                    return Err(state.option_error(
                        "precision = \"bf16\" needs AVX-512 BF16, which this processor lacks".to_string(),
                    ));
                }
                if !shape.head_width().is_multiple_of(2) {
                    return Err(state.option_error("precision = \"bf16\" needs an even head_width".to_string()));
                }
                let keep = |linear: Linear| PairLinear::new(&linear);
                Weights::HostBfloat(weights.with_scaled_queries(&shape, 1.0).kept_as(keep, keep))
            }
            Engine::Host if config.precision == Precision::Int8 => {
                let weights = weights.with_scaled_queries(&shape, std::f32::consts::LOG2_E);
                Weights::HostBytes(weights.kept_as(|linear| ByteLinear::new(&linear), |linear| linear))
            }
            Engine::Tensors if config.precision == Precision::Int8 => {
                return Err(state.option_error("precision = \"int8\" is for the processor's own engine".to_string()));
            }
            Engine::Tensors if config.precision == Precision::Bf16 && !supports_bfloat(device) => {
                return Err(state.option_error("precision = \"bf16\" is not for this device".to_string()));
            }
            Engine::Host => Weights::Host(weights.with_scaled_queries(&shape, 1.0)),
            Engine::Tensors => Weights::Device(Box::new(DeviceVit::new(&shape, &weights, config.precision, device))),
        };
        let facet = config.facet;
        Ok(Self { shape, weights, layers, facet, stride, positions, last_places: Mutex::new(None) })
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
    /// the model's order. Keys and queries are those before any rotation, which tells of places alone. Later blocks, and what the facet does not need of its own block, are not computed.
    ///
    /// # Shapes
    /// `[B, 3, H, W]` → `[B, leading + rows · columns, blocks · width]`
    ///
    /// # Panics
    /// If the batch does not hold the values it states, or an image is smaller than one patch.
    pub fn forward(&self, batch: &ImageBatch) -> Descriptors {
        self.run(batch, Readout::Facets { layers: &self.layers, facet: self.facet })
    }

    /// One vector per image, `[B, width]`: the class token after all blocks and the final normalisation; where there is
    /// none, the mean of all tokens.
    pub fn image_vectors(&self, batch: &ImageBatch) -> Vec<f32> {
        self.run(batch, Readout::Image).values
    }

    /// The tokens as they enter the first block: patch embeddings with the leading tokens and positions.
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

    /// [`Vit::image_vectors`] with its result, `[B, width]`, left on the device.
    pub fn image_vectors_on_device(&self, batch: &ImageBatch) -> Tensor<2> {
        self.run_on_device(batch, Readout::Image).flatten(1, 2)
    }

    fn run_on_device(&self, batch: &ImageBatch, readout: Readout) -> Tensor<3> {
        let Weights::Device(vit) = &self.weights else { panic!("these weights are not on a device") };
        let grid = self.checked_grid(batch);
        vit.forward(&self.shape, batch, grid, &self.places(grid), readout)
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
        let (tokens, leading) = match readout {
            Readout::Image => (1, 1),
            _ => (self.shape.leading() + grid.rows * grid.columns, self.shape.leading()),
        };
        if batch.images == 0 {
            return Descriptors { values: Vec::new(), images: 0, tokens, leading, width };
        }
        let places = self.places(grid);
        let values = match &self.weights {
            Weights::Host(weights) => host::forward::<Single>(&self.shape, weights, batch, grid, &places, readout),
            Weights::HostBfloat(weights) => {
                host::forward::<Bfloat>(&self.shape, weights, batch, grid, &places, readout)
            }
            Weights::HostBytes(weights) => host::forward::<Bytes>(&self.shape, weights, batch, grid, &places, readout),
            Weights::Device(vit) => into_vec(vit.forward(&self.shape, batch, grid, &places, readout)),
        };
        Descriptors { values, images: batch.images, tokens, leading, width }
    }

    fn places(&self, grid: Grid) -> Arc<Places> {
        let mut last = lock(&self.last_places);
        if let Some((last_grid, places)) = &*last
            && *last_grid == grid
        {
            return places.clone();
        }
        let places = Arc::new(self.positions.of(grid, &self.shape));
        *last = Some((grid, places.clone()));
        places
    }
}

impl Positions {
    fn read(state: &StateDict, shape: &VitShape) -> Result<Positions, WeightsError> {
        let family = family_of(state)?;
        let (width, side) = (shape.width, shape.position_side);
        let mut leading = Vec::with_capacity(shape.leading() * width);
        if shape.has_class_token {
            leading.extend_from_slice(state.values("cls_token", &[1, 1, width])?);
        }
        if shape.registers > 0 {
            leading.extend_from_slice(state.values("register_tokens", &[1, shape.registers, width])?);
        }
        let mut grid = Vec::new();
        if side > 0 {
            let stored = state.values("pos_embed", &[1, shape.leading_positions + side * side, width])?;
            let (of_leading, of_grid) = stored.split_at(shape.leading_positions * width);
            leading.iter_mut().zip(of_leading).for_each(|(value, position)| *value += position);
            grid = of_grid.to_vec();
        }
        let mut periods = Vec::new();
        if family.rotates() {
            if !shape.head_width().is_multiple_of(4) {
                let found = shape.head_width();
                return Err(
                    state.option_error(format!("head_width = {found} must be a multiple of 4: heads are turned"))
                );
            }
            periods = if state.contains("rope_embed.periods") {
                state.values("rope_embed.periods", &[shape.head_width() / 4])?.to_vec()
            } else {
                Rotation::published_periods(shape.head_width())
            };
            if let Some(index) = periods.iter().position(|period| *period <= 0.0) {
                let found = format!("expected periods above 0, but number {index} is {}", periods[index]);
                return Err(state.shape_error("rope_embed.periods", &found));
            }
        }
        Ok(Positions { leading, grid, interpolation: family.interpolation(shape), periods })
    }

    fn of(&self, grid: Grid, shape: &VitShape) -> Places {
        let mut start = self.leading.clone();
        if self.grid.is_empty() {
            start.resize(start.len() + grid.rows * grid.columns * shape.width, 0.0);
        } else {
            let (side, width) = (shape.position_side, shape.width);
            start.extend(self.interpolation.resize(&self.grid, side, width, grid.rows, grid.columns));
        }
        let rotation = (!self.periods.is_empty()).then(|| Rotation::new(&self.periods, shape.leading(), grid));
        Places { start, rotation }
    }
}
