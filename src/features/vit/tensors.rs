//! The transformer as tensor operations, for devices that are not the processor.

use burn::tensor::activation::gelu;
use burn::tensor::module::{attention, conv2d};
use burn::tensor::ops::{AttentionModuleOptions, ConvOptions};

use crate::tensor::{Device, Tensor, from_slice, into_vec};

use super::config::{Facet, VitShape};
use super::host::Goal;
use super::model::{Grid, ImageBatch};
use super::weights::{Linear, Norm, VitWeights};

/// Layer normalisation on the device: scale and shift `[width]`.
struct DeviceNorm {
    scale: Tensor<1>,
    shift: Tensor<1>,
}

/// A linear layer on the device: weight `[inputs, outputs]`, bias `[outputs]`.
struct DeviceLinear {
    weight: Tensor<2>,
    bias: Tensor<1>,
}

struct DeviceBlock {
    norm1: DeviceNorm,
    qkv: DeviceLinear,
    projection: DeviceLinear,
    norm2: DeviceNorm,
    hidden: DeviceLinear,
    output: DeviceLinear,
}

/// The weights of a transformer on a device.
pub struct DeviceVit {
    device: Device,
    patch_weight: Tensor<4>,
    patch_bias: Tensor<1>,
    class_token: Tensor<3>,
    blocks: Vec<DeviceBlock>,
    norm: DeviceNorm,
    facets: Vec<DeviceLinear>,
}

impl DeviceNorm {
    fn new(norm: &Norm, device: &Device) -> Self {
        let width = norm.scale.len();
        Self { scale: from_slice(&norm.scale, [width], device), shift: from_slice(&norm.shift, [width], device) }
    }

    fn forward(&self, tokens: &Tensor<3>) -> Tensor<3> {
        let centred = tokens.clone() - tokens.clone().mean_dim(2);
        let variance = (centred.clone() * centred.clone()).mean_dim(2);
        centred / (variance + 1e-6).sqrt() * self.scale.clone().unsqueeze() + self.shift.clone().unsqueeze()
    }
}

impl DeviceLinear {
    fn new(linear: &Linear, device: &Device) -> Self {
        let (inputs, outputs) = (linear.inputs(), linear.outputs());
        // Laid out [inputs, outputs] in memory: a transposed view would be copied at every product.
        let mut weight = vec![0.0; inputs * outputs];
        for (output, row) in linear.weight.chunks_exact(inputs).enumerate() {
            for (input, &value) in row.iter().enumerate() {
                weight[input * outputs + output] = value;
            }
        }
        Self {
            weight: from_slice(&weight, [inputs, outputs], device),
            bias: from_slice(&linear.bias, [outputs], device),
        }
    }

    fn forward(&self, tokens: Tensor<3>) -> Tensor<3> {
        let [images, count, width] = tokens.dims();
        let flat = tokens.reshape([images * count, width]).matmul(self.weight.clone());
        (flat + self.bias.clone().unsqueeze()).reshape([images as i64, count as i64, -1])
    }
}

impl DeviceVit {
    /// Copies the weights to `device`.
    pub fn new(shape: &VitShape, weights: &VitWeights, device: &Device) -> Self {
        let (width, patch) = (shape.width, shape.patch);
        let norm = |norm: &Norm| DeviceNorm::new(norm, device);
        let linear = |linear: &Linear| DeviceLinear::new(linear, device);
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
            class_token: from_slice(&weights.class_token, [1, 1, width], device),
            blocks: blocks.collect(),
            norm: norm(&weights.norm),
            facets: weights.facets.iter().map(linear).collect(),
            device: device.clone(),
        }
    }

    /// Runs a batch until `goal`; arguments and result as for the processor's forward pass.
    pub fn forward(&self, shape: &VitShape, batch: &ImageBatch, grid: Grid, positions: &[f32], goal: Goal) -> Vec<f32> {
        let (width, tokens) = (shape.width, 1 + grid.rows * grid.columns);
        let images = from_slice(batch.values, [batch.images, 3, batch.height, batch.width], &self.device);
        let options = ConvOptions::new([grid.stride; 2], [0; 2], [1; 2], 1);
        let patches = conv2d(images, self.patch_weight.clone(), Some(self.patch_bias.clone()), options);
        let patches = patches.reshape([batch.images, width, tokens - 1]).swap_dims(1, 2);
        let class = self.class_token.clone().expand([batch.images, 1, width]);
        let positions: Tensor<3> = from_slice(positions, [1, tokens, width], &self.device);
        let mut state = Tensor::cat(vec![class, patches], 1) + positions;

        match goal {
            Goal::Embedded => {}
            Goal::Facets { layers, facet } => {
                let mut finished = 0;
                let mut described = Vec::new();
                for (place, &layer) in layers.iter().enumerate() {
                    let wanted = if facet == Facet::Token { layer + 1 } else { layer };
                    for block in &self.blocks[finished..wanted] {
                        state = block.forward(shape, state);
                    }
                    finished = wanted;
                    described.push(match self.facets.get(place) {
                        Some(facet) => facet.forward(self.blocks[layer].norm1.forward(&state)),
                        None => state.clone(),
                    });
                }
                state = Tensor::cat(described, 2);
            }
            Goal::ClassToken => {
                for block in &self.blocks {
                    state = block.forward(shape, state);
                }
                state = self.norm.forward(&state.slice([0..batch.images, 0..1, 0..width]));
            }
        }
        into_vec(state)
    }
}

impl DeviceBlock {
    fn forward(&self, shape: &VitShape, state: Tensor<3>) -> Tensor<3> {
        let [images, tokens, width] = state.dims();
        let qkv = self.qkv.forward(self.norm1.forward(&state));
        let heads = |kind: usize| {
            let part = qkv.clone().slice([0..images, 0..tokens, kind * width..(kind + 1) * width]);
            part.reshape([images, tokens, shape.heads, width / shape.heads]).swap_dims(1, 2)
        };
        // The scale is part of the query's weights.
        let options = AttentionModuleOptions { scale: Some(1.0), ..Default::default() };
        let context = attention(heads(0), heads(1), heads(2), None, None, options);
        let context = context.swap_dims(1, 2).reshape([images, tokens, width]);
        let state = state + self.projection.forward(context);
        let hidden = gelu(self.hidden.forward(self.norm2.forward(&state)));
        state + self.output.forward(hidden)
    }
}
