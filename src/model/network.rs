//! One graph convolution and a two-layer head.

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::graph::Batch;
use crate::numerics::random;
use crate::tensor::{self, Device, Tensor};

/// Sizes of the network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkConfig {
    /// Channels of a node, D.
    pub input: usize,
    /// Output channels of the graph convolution and of the head's first layer.
    pub hidden: [usize; 2],
    /// Clusters, K.
    pub clusters: usize,
    /// Share of the head's hidden units dropped during training, in [0, 1).
    pub dropout: f64,
    /// Whether the graph convolution sees a node's own features X beside the propagated Â X, each with a weight of its
    /// own.
    pub root_weight: bool,
    /// What features are multiplied by first.
    #[serde(default = "unscaled")]
    pub scale: f64,
}

/// What networks did that were kept without a scale.
fn unscaled() -> f64 {
    1.0
}

/// The network S = softmax(MLP(ELU(Â X Θ + b))).
///
/// GCN(D→64): s Â X Θ + b → ELU → Linear 64→32 → ELU → dropout → Linear 32→K → softmax, with a fixed scale s. Â X comes with
/// the batch. With a root weight Θ₀ the convolution is s (Â X Θ + X Θ₀) + b.
/// Differs from the paper: the official code passes an activation to its one-layer GCN, where it never runs; the ELU
/// after it is the only one.
#[derive(Debug, Clone)]
pub struct Network {
    config: NetworkConfig,
    parameters: Vec<Parameter>,
}

/// One named parameter; weights are `[in, out]`, biases `[1, out]`.
#[derive(Debug, Clone)]
pub struct Parameter {
    pub name: &'static str,
    pub value: Tensor<2>,
}

/// The order in which parameters are created, optimised and stored; a root weight follows.
const NAMES: [&str; 6] = ["gcn.weight", "gcn.bias", "mlp.0.weight", "mlp.0.bias", "mlp.1.weight", "mlp.1.bias"];
const ROOT: &str = "gcn.root_weight";

impl NetworkConfig {
    /// Whether there can be such a network; sizes that come from a file may be anything.
    pub fn is_possible(&self) -> bool {
        let sizes = [self.input, self.hidden[0], self.hidden[1], self.clusters];
        sizes.iter().all(|size| (1..=1 << 20).contains(size))
            && (0.0..1.0).contains(&self.dropout)
            && self.scale.is_finite()
    }

    /// Sizes `[in, out]` of every layer.
    fn layers(&self) -> [[usize; 2]; 3] {
        let [first, second] = self.hidden;
        [[self.input, first], [first, second], [second, self.clusters]]
    }

    /// Name and shape `[rows, columns]` of every parameter, in their fixed order.
    pub fn parameter_shapes(&self) -> Vec<(&'static str, [usize; 2])> {
        let shapes = self.layers().into_iter().flat_map(|[input, output]| [[input, output], [1, output]]);
        let root = self.root_weight.then_some((ROOT, [self.input, self.hidden[0]]));
        NAMES.into_iter().zip(shapes).chain(root).collect()
    }

    /// A dropout mask of the head's hidden units of so many nodes, `[nodes, hidden[1]]`; none if nothing is dropped.
    pub fn dropout_mask(&self, generator: &mut ChaCha8Rng, nodes: usize) -> Option<Vec<f32>> {
        (self.dropout > 0.0).then(|| random::dropout_mask(generator, self.dropout, nodes * self.hidden[1]))
    }

    /// A fresh network: the graph convolution Glorot-uniform with zero bias, the head uniform in ±1/√in, as PyTorch
    /// Geometric and PyTorch do. A seed has as many of them as there are numbers for `start`.
    pub fn init(&self, seed: u64, start: u64, device: &Device) -> Network {
        let mut generator = random::stream(seed, "network", start);
        let values = self.parameter_shapes().into_iter().map(|(name, [rows, columns])| {
            let count = rows * columns;
            match name {
                "gcn.bias" => vec![0.0; count],
                "gcn.weight" | ROOT => random::uniform(&mut generator, (6.0 / (rows + columns) as f64).sqrt(), count),
                _ => {
                    let layer_input = if name.starts_with("mlp.0") { self.hidden[0] } else { self.hidden[1] };
                    random::uniform(&mut generator, 1.0 / (layer_input as f64).sqrt(), count)
                }
            }
        });
        Network::from_values(self, &values.collect::<Vec<_>>(), device)
    }
}

impl Network {
    /// A network with the given parameter values, in the order of [`NetworkConfig::parameter_shapes`].
    ///
    /// # Panics
    /// If a parameter has another number of values than its shape.
    pub fn from_values(config: &NetworkConfig, values: &[Vec<f32>], device: &Device) -> Network {
        let parameters = config
            .parameter_shapes()
            .into_iter()
            .zip(values)
            .map(|((name, shape), values)| Parameter { name, value: tensor::from_slice(values, shape, device) });
        Network { config: config.clone(), parameters: parameters.collect() }
    }

    /// A copy on another device.
    pub fn on(&self, device: &Device) -> Network {
        Network::from_values(&self.config, &self.values(), device)
    }

    /// A copy that records operations on its parameters for the backward pass.
    pub fn recording(&self) -> Network {
        let recording = |Parameter { name, value }| Parameter { name, value: Tensor::from_inner(value).require_grad() };
        Network { config: self.config.clone(), parameters: self.parameters.iter().cloned().map(recording).collect() }
    }

    /// The parameters' values on the host, in their fixed order.
    pub fn values(&self) -> Vec<Vec<f32>> {
        self.parameters.iter().map(|parameter| tensor::into_vec(parameter.value.clone())).collect()
    }

    pub fn config(&self) -> &NetworkConfig {
        &self.config
    }

    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    pub fn parameters_mut(&mut self) -> &mut [Parameter] {
        &mut self.parameters
    }

    /// Soft assignments of every node, zero on padding.
    ///
    /// `dropout_mask` multiplies the head's hidden units during training; `None` at inference.
    ///
    /// # Shapes
    /// propagated `[B, N, D]`, mask `[B, N, hidden[1]]` → `[B, N, K]`
    pub fn assign(&self, batch: &Batch, dropout_mask: Option<Tensor<3>>) -> Tensor<3> {
        let features = self.config.root_weight.then(|| batch.features());
        self.probabilities(batch.propagated.clone(), features, dropout_mask) * batch.mask.clone()
    }

    /// The probability of every cluster for every node, padding included; arguments as of [`Network::logits`].
    ///
    /// # Shapes
    /// propagated `[B, N, D]`, features `[B, N, D]` → `[B, N, K]`
    pub fn probabilities(
        &self,
        propagated: Tensor<3>,
        features: Option<Tensor<3>>,
        dropout_mask: Option<Tensor<3>>,
    ) -> Tensor<3> {
        burn::tensor::activation::softmax(self.logits(propagated, features, dropout_mask), 2)
    }

    /// The head's output before the softmax. Only a network with a root weight looks at `features`.
    ///
    /// # Shapes
    /// propagated `[B, N, D]`, features `[B, N, D]` → `[B, N, K]`
    ///
    /// # Panics
    /// If there is a root weight and no features.
    pub fn logits(
        &self,
        propagated: Tensor<3>,
        features: Option<Tensor<3>>,
        dropout_mask: Option<Tensor<3>>,
    ) -> Tensor<3> {
        let [graphs, nodes, channels] = propagated.dims();
        // All nodes of all graphs as rows of one matrix: one large product instead of B small ones.
        let rows = |values: Tensor<3>| values.reshape([graphs * nodes, channels]);
        let mut convolved = rows(propagated).matmul(self.parameters[0].value.clone());
        if let Some(root) = self.parameters.get(NAMES.len()) {
            let features = features.expect("a network with a root weight is given features");
            convolved = convolved + rows(features).matmul(root.value.clone());
        }
        if self.config.scale != 1.0 {
            convolved = convolved.mul_scalar(self.config.scale);
        }
        let convolved = convolved + self.parameters[1].value.clone();
        let mut hidden = elu(self.affine(1, elu(convolved)));
        if let Some(mask) = dropout_mask {
            hidden = hidden * mask.reshape([graphs * nodes, self.config.hidden[1]]);
        }
        self.affine(2, hidden).reshape([graphs, nodes, self.config.clusters])
    }

    /// x · weight + bias of layer `layer`.
    fn affine(&self, layer: usize, input: Tensor<2>) -> Tensor<2> {
        input.matmul(self.parameters[2 * layer].value.clone()) + self.parameters[2 * layer + 1].value.clone()
    }
}

/// ELU(x) = x for x > 0, eˣ − 1 otherwise.
///
/// The exponential only ever sees x ≤ 0: an overflow there would turn the gradient of the unused branch into NaN.
fn elu(input: Tensor<2>) -> Tensor<2> {
    let negative = input.clone().clamp_max(0.0).exp().sub_scalar(1.0);
    burn::tensor::activation::relu(input) + negative
}
