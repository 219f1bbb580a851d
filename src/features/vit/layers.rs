//! The transformer's layers with their weights, shaped for the forward pass.

use super::config::Facet;
use super::shape::VitShape;
use crate::weights::{StateDict, WeightsError};

/// A linear layer: `weight` `[outputs, inputs]`, `bias` `[outputs]`.
#[derive(Debug)]
pub struct Linear {
    pub weight: Vec<f32>,
    pub bias: Vec<f32>,
}

impl Linear {
    /// The layer `name` of a state dictionary, which must have these sizes.
    fn read(state: &StateDict, name: &str, outputs: usize, inputs: usize) -> Result<Linear, WeightsError> {
        let weight = state.values(&format!("{name}.weight"), &[outputs, inputs])?.to_vec();
        Ok(Linear { weight, bias: state.values(&format!("{name}.bias"), &[outputs])?.to_vec() })
    }

    /// The same layer with its outputs multiplied by the scales `name` of a state dictionary, if it has them: Touvron et al.
    /// 2021, "Going deeper with image transformers" (arXiv 2103.17239).
    fn scaled_by(mut self, state: &StateDict, name: &str) -> Result<Linear, WeightsError> {
        if state.contains(name) {
            let inputs = self.inputs();
            let scales = state.values(name, &[self.outputs()])?;
            for ((row, bias), scale) in self.weight.chunks_exact_mut(inputs).zip(&mut self.bias).zip(scales) {
                row.iter_mut().for_each(|value| *value *= scale);
                *bias *= scale;
            }
        }
        Ok(self)
    }

    pub fn outputs(&self) -> usize {
        self.bias.len()
    }

    pub fn inputs(&self) -> usize {
        self.weight.len() / self.bias.len()
    }
}

/// Layer normalisation: `scale` and `shift` `[width]`.
#[derive(Debug)]
pub struct Norm {
    pub scale: Vec<f32>,
    pub shift: Vec<f32>,
    /// What is added to variances.
    pub epsilon: f32,
}

impl Norm {
    /// The normalisation `name` of a state dictionary, which must have this width.
    fn read(state: &StateDict, name: &str, width: usize, epsilon: f32) -> Result<Norm, WeightsError> {
        let scale = state.values(&format!("{name}.weight"), &[width])?.to_vec();
        Ok(Norm { scale, shift: state.values(&format!("{name}.bias"), &[width])?.to_vec(), epsilon })
    }
}

/// One block; `L` and `N` are how its layers and normalisations are kept.
#[derive(Debug)]
pub struct BlockWeights<L, N = Norm> {
    pub norm1: N,
    /// Queries, keys and values, `[3 · width, width]`.
    pub qkv: L,
    pub projection: L,
    pub norm2: N,
    /// `[mlp_width, width]`; with gates `[2 · mlp_width, width]`, those first.
    pub hidden: L,
    pub output: L,
}

/// All weights, shaped for the forward pass; `L` is how the layers of blocks are kept, `F` how those that describe are.
#[derive(Debug)]
pub struct VitWeights<L = Linear, F = L> {
    /// `[width, 3 · patch · patch]`.
    pub patch: Linear,
    pub blocks: Vec<BlockWeights<L>>,
    pub norm: Norm,
    /// The wanted facet of every wanted block, in their order: the projection alone, `[width, width]`, its rows already
    /// in descriptor order. Empty for tokens.
    pub facets: Vec<F>,
}

impl VitWeights {
    /// The same weights with the attention's 1/√head width in the projection of the queries, which saves a pass over the
    /// scores, and `unit`, by which the scores' logarithm differs from the natural one.
    pub fn with_scaled_queries(mut self, shape: &VitShape, unit: f32) -> Self {
        let scale = (shape.head_width() as f32).sqrt().recip() * unit;
        let queries = shape.width;
        for Linear { weight, bias } in self.blocks.iter_mut().map(|block| &mut block.qkv) {
            weight[..queries * shape.width].iter_mut().chain(&mut bias[..queries]).for_each(|value| *value *= scale);
        }
        self
    }

    /// The same weights with the layers of blocks, and those that describe, kept in another way.
    pub fn kept_as<L, F>(self, keep: impl Fn(Linear) -> L, keep_facet: impl Fn(Linear) -> F) -> VitWeights<L, F> {
        let Self { patch, blocks, norm, facets } = self;
        let blocks = blocks.into_iter().map(|BlockWeights { norm1, qkv, projection, norm2, hidden, output }| {
            let [qkv, projection, hidden, output] = [qkv, projection, hidden, output].map(&keep);
            BlockWeights { norm1, qkv, projection, norm2, hidden, output }
        });
        let blocks = blocks.collect();
        VitWeights { patch, blocks, norm, facets: facets.into_iter().map(keep_facet).collect() }
    }

    /// Checks every shape and prepares the weights for `facet` of the blocks `layers`.
    pub fn from_state_dict(
        state: &StateDict,
        shape: &VitShape,
        epsilon: f32,
        layers: &[usize],
        facet: Facet,
    ) -> Result<Self, WeightsError> {
        let width = shape.width;
        let hidden_width = shape.mlp_width * if shape.is_gated { 2 } else { 1 };
        let patch_shape = [width, 3, shape.patch, shape.patch];
        let patch = Linear {
            weight: state.values("patch_embed.proj.weight", &patch_shape)?.to_vec(),
            bias: state.values("patch_embed.proj.bias", &[width])?.to_vec(),
        };
        let mut blocks = Vec::with_capacity(shape.depth);
        let mut facets = Vec::new();
        for index in 0..shape.depth {
            let name = |part: &str| format!("blocks.{index}.{part}");
            let qkv = Linear::read(state, &name("attn.qkv"), 3 * width, width)?;
            if layers.contains(&index) {
                facets.extend(facet_rows(&qkv, facet, width, shape.heads));
            }
            let projection = Linear::read(state, &name("attn.proj"), width, width)?;
            let output = Linear::read(state, &name("mlp.fc2"), width, shape.mlp_width)?;
            blocks.push(BlockWeights {
                norm1: Norm::read(state, &name("norm1"), width, epsilon)?,
                qkv,
                projection: projection.scaled_by(state, &name("ls1.gamma"))?,
                norm2: Norm::read(state, &name("norm2"), width, epsilon)?,
                hidden: Linear::read(state, &name("mlp.fc1"), hidden_width, width)?,
                output: output.scaled_by(state, &name("ls2.gamma"))?,
            });
        }
        Ok(Self { patch, blocks, norm: Norm::read(state, "norm", width, epsilon)?, facets })
    }
}

/// The rows of one facet, ordered as a descriptor: index = channel in head · heads + head.
fn facet_rows(qkv: &Linear, facet: Facet, width: usize, heads: usize) -> Option<Linear> {
    let part = match facet {
        Facet::Query => 0,
        Facet::Key => 1,
        Facet::Value => 2,
        Facet::Token => return None,
    };
    let head_width = width / heads;
    let rows = (0..width).map(|index| part * width + index % heads * head_width + index / heads);
    Some(Linear {
        weight: rows.clone().flat_map(|row| &qkv.weight[row * width..][..width]).copied().collect(),
        bias: rows.map(|row| qkv.bias[row]).collect(),
    })
}
