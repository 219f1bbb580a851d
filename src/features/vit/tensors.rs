//! The transformer as tensor operations, for devices that are not the processor.

use burn::tensor::activation::{gelu, silu};
use burn::tensor::module::{attention, conv2d};
use burn::tensor::ops::{AttentionModuleOptions, ConvOptions};
use burn::tensor::{DType, FloatDType};

use crate::tensor::{Device, Tensor, from_slice};

use super::batch::{Grid, ImageBatch, Readout};
use super::config::{Facet, Precision};
use super::layers::{BlockWeights, Linear, Norm, VitWeights};
use super::model::Places;
use super::shape::VitShape;

/// Layer normalisation on the device: scale and shift `[width]`.
struct DeviceNorm {
    scale: Tensor<1>,
    shift: Tensor<1>,
    epsilon: f32,
}

/// A linear layer on the device: weight `[inputs, outputs]` as operand of products, bias `[outputs]` in single precision.
struct DeviceLinear {
    weight: Tensor<2>,
    bias: Tensor<1>,
}

impl Precision {
    /// The type of a product's operands.
    fn operands(self) -> FloatDType {
        match self {
            Precision::Auto | Precision::F32 => FloatDType::F32,
            Precision::Bf16 => FloatDType::BF16,
            Precision::Int8 => unreachable!("bytes are for the processor's own engine"),
        }
    }
}

type DeviceBlock = BlockWeights<DeviceLinear, DeviceNorm>;

/// The weights of a transformer on a device.
///
/// Products and attention take operands of the chosen precision; all else, above all the sum that runs through the blocks,
/// is in single precision. GPUs may round the operands of products in single precision to their tensor cores' 10 bits (TF32).
pub struct DeviceVit {
    device: Device,
    operands: FloatDType,
    patch_weight: Tensor<4>,
    patch_bias: Tensor<1>,
    blocks: Vec<DeviceBlock>,
    norm: DeviceNorm,
    facets: Vec<DeviceLinear>,
}

impl DeviceNorm {
    fn new(norm: &Norm, device: &Device) -> Self {
        let width = norm.scale.len();
        let [scale, shift] = [&norm.scale, &norm.shift].map(|values| from_slice(values, [width], device));
        Self { scale, shift, epsilon: norm.epsilon }
    }

    fn forward(&self, tokens: &Tensor<3>) -> Tensor<3> {
        let centred = tokens.clone() - tokens.clone().mean_dim(2);
        let variance = (centred.clone() * centred.clone()).mean_dim(2);
        centred / (variance + self.epsilon).sqrt() * self.scale.clone().unsqueeze() + self.shift.clone().unsqueeze()
    }
}

impl DeviceLinear {
    fn new(linear: &Linear, operands: FloatDType, device: &Device) -> Self {
        let (inputs, outputs) = (linear.inputs(), linear.outputs());
        // Laid out [inputs, outputs] in memory: a transposed view would be copied at every product.
        let mut weight = vec![0.0; inputs * outputs];
        for (output, row) in linear.weight.chunks_exact(inputs).enumerate() {
            for (input, &value) in row.iter().enumerate() {
                weight[input * outputs + output] = value;
            }
        }
        Self {
            weight: from_slice(&weight, [inputs, outputs], device).cast(operands),
            bias: from_slice(&linear.bias, [outputs], device),
        }
    }

    fn forward(&self, tokens: Tensor<3>) -> Tensor<3> {
        let [images, count, width] = tokens.dims();
        let flat = tokens.reshape([images * count, width]).cast(self.weight.dtype()).matmul(self.weight.clone());
        (flat.cast(FloatDType::F32) + self.bias.clone().unsqueeze()).reshape([images as i64, count as i64, -1])
    }
}

impl DeviceVit {
    /// Copies the weights to `device`.
    pub fn new(shape: &VitShape, weights: &VitWeights, precision: Precision, device: &Device) -> Self {
        let (width, patch) = (shape.width, shape.patch);
        let operands = precision.operands();
        let norm = |norm: &Norm| DeviceNorm::new(norm, device);
        let linear = |linear: &Linear| DeviceLinear::new(linear, operands, device);
        let blocks = weights.blocks.iter().map(|block| DeviceBlock {
            norm1: norm(&block.norm1),
            qkv: linear(&block.qkv),
            projection: linear(&block.projection),
            norm2: norm(&block.norm2),
            hidden: linear(&block.hidden),
            output: linear(&block.output),
        });
        Self {
            patch_weight: from_slice(&weights.patch.weight, [width, 3, patch, patch], device),
            patch_bias: from_slice(&weights.patch.bias, [width], device),
            blocks: blocks.collect(),
            norm: norm(&weights.norm),
            facets: weights.facets.iter().map(linear).collect(),
            device: device.clone(),
            operands,
        }
    }

    /// Runs a batch until `readout`; arguments and result as for the processor's forward pass.
    ///
    /// # Shapes
    /// → `[images, tokens, width]`, on the device
    pub fn forward(
        &self,
        shape: &VitShape,
        batch: &ImageBatch,
        grid: Grid,
        places: &Places,
        readout: Readout,
    ) -> Tensor<3> {
        let (width, leading) = (shape.width, shape.leading());
        let tokens = leading + grid.rows * grid.columns;
        let images = from_slice(batch.values, [batch.images, 3, batch.height, batch.width], &self.device);
        let options = ConvOptions::new([grid.stride; 2], [0; 2], [1; 2], 1);
        let patches = conv2d(images, self.patch_weight.clone(), Some(self.patch_bias.clone()), options);
        let patches = patches.reshape([batch.images, width, tokens - leading]).swap_dims(1, 2);
        let start: Tensor<3> = from_slice(&places.start, [1, tokens, width], &self.device);
        let mut state = patches + start.clone().slice([0..1, leading..tokens, 0..width]);
        if leading > 0 {
            let first = start.slice([0..1, 0..leading, 0..width]).expand([batch.images, leading, width]);
            state = Tensor::cat(vec![first, state], 1);
        }
        let rotation = places.rotation.as_ref().map(|rotation| {
            rotation.rows(tokens).map(|rows| from_slice(&rows, [1, 1, tokens, 2 * rotation.half], &self.device))
        });
        let run = |block: &DeviceBlock, state| block.forward(shape, self.operands, rotation.as_ref(), state);

        match readout {
            Readout::Embedded => {}
            Readout::Facets { layers, facet } => {
                let mut finished = 0;
                let mut described = Vec::new();
                for (place, &layer) in layers.iter().enumerate() {
                    let wanted = if facet == Facet::Token { layer + 1 } else { layer };
                    for block in &self.blocks[finished..wanted] {
                        state = run(block, state);
                    }
                    finished = wanted;
                    described.push(match self.facets.get(place) {
                        Some(facet) => facet.forward(self.blocks[layer].norm1.forward(&state)),
                        None => state.clone(),
                    });
                }
                state = Tensor::cat(described, 2);
            }
            Readout::Image => {
                for block in &self.blocks {
                    state = run(block, state);
                }
                state = if shape.has_class_token {
                    self.norm.forward(&state.slice([0..batch.images, 0..1, 0..width]))
                } else {
                    self.norm.forward(&state).mean_dim(1)
                };
            }
        }
        state
    }
}

impl DeviceBlock {
    /// `rotation` holds cosines and sines, `[1, 1, tokens, head width]` each.
    fn forward(
        &self,
        shape: &VitShape,
        operands: FloatDType,
        rotation: Option<&[Tensor<4>; 2]>,
        state: Tensor<3>,
    ) -> Tensor<3> {
        let [images, tokens, width] = state.dims();
        let qkv = self.qkv.forward(self.norm1.forward(&state));
        let heads = |kind: usize| {
            let part = qkv.clone().slice([0..images, 0..tokens, kind * width..(kind + 1) * width]);
            part.reshape([images, tokens, shape.heads, shape.head_width()]).swap_dims(1, 2)
        };
        let turned = |vectors: Tensor<4>| rotation.map_or(vectors.clone(), |rotation| turn(vectors, rotation));
        let [queries, keys, values] = [turned(heads(0)), turned(heads(1)), heads(2)].map(|part| part.cast(operands));
        let context = attend(queries, keys, values).swap_dims(1, 2).reshape([images, tokens, width]);
        let state = state + self.projection.forward(context);
        let hidden = self.hidden.forward(self.norm2.forward(&state));
        let hidden = if shape.is_gated {
            let half = |from: usize| hidden.clone().slice([0..images, 0..tokens, from..from + shape.mlp_width]);
            silu(half(0)) * half(shape.mlp_width)
        } else {
            gelu(hidden)
        };
        state + self.output.forward(hidden)
    }
}

/// Turns the first half of every head's channels against the second.
///
/// # Shapes
/// vectors `[B, heads, T, d]`, cosines and sines `[1, 1, T, d]` → `[B, heads, T, d]`
fn turn(vectors: Tensor<4>, [cosines, sines]: &[Tensor<4>; 2]) -> Tensor<4> {
    let [images, heads, tokens, width] = vectors.dims();
    let half = |from: usize| vectors.clone().slice([0..images, 0..heads, 0..tokens, from..from + width / 2]);
    let swapped = Tensor::cat(vec![half(width / 2), half(0)], 3);
    vectors * cosines.clone() + swapped * sines.clone()
}

/// Queries that fused attention takes are a multiple of this: eight planes of tiles of 16 rows.
const FUSED_QUERIES: usize = 128;

/// softmax(Q Kᵀ / √d) V.
///
/// In bfloat16 it may be one fused kernel, which needs the usual scale and a number of queries that no grid of patches with
/// its class token has: zeros are added and their answers dropped. That kernel computes in half precision; where single
/// precision is asked for, a scale of one's own keeps it away.
///
/// # Shapes
/// Q, K, V `[B, heads, T, d]` → `[B, heads, T, d]`
fn attend(queries: Tensor<4>, keys: Tensor<4>, values: Tensor<4>) -> Tensor<4> {
    let [images, heads, tokens, width] = queries.dims();
    if queries.dtype() == DType::F32 {
        let options = AttentionModuleOptions { scale: Some((width as f64).sqrt().recip()), ..Default::default() };
        return attention(queries, keys, values, None, None, options);
    }
    let missing = tokens.next_multiple_of(FUSED_QUERIES) - tokens;
    let mut filled = vec![queries.clone()];
    if missing > 0 {
        filled.push(queries.slice([0..images, 0..heads, 0..1, 0..width]).zeros_like().repeat_dim(2, missing));
    }
    let context = attention(Tensor::cat(filled, 2), keys, values, None, None, Default::default());
    context.slice([0..images, 0..heads, 0..tokens, 0..width])
}
