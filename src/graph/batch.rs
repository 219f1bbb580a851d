//! Graphs of unequal size as one set of padded tensors.

use std::borrow::Borrow;
use std::cell::OnceCell;
use std::mem::discriminant;

use burn::tensor::{Int, TensorData};

use super::tiles::GRAPH_TILE_ENTRIES;
use super::{Graph, Weights, symmetric};
use crate::tensor::{self, Device, Tensor};

/// A mini-batch of graphs, padded to the largest: B graphs of N nodes and D channels.
///
/// Padding never changes a result: padded nodes have a zero mask, no affinity, and every product below sums over real
/// nodes only once the assignment is masked.
#[derive(Debug)]
pub struct Batch<'a> {
    /// P of every graph, `[B, N, D]`.
    pub propagated: Tensor<3>,
    /// 1 for nodes, 0 for padding, `[B, N, 1]`.
    pub mask: Tensor<3>,
    /// Row sums of W, `[B, N, 1]`.
    pub degrees: Tensor<3>,
    /// An upper bound of Σ_ij |W_ij| for every graph, `[B, 1, 1]`: what makes objectives of unequal graphs comparable.
    pub magnitude: Tensor<3>,
    /// Nodes of each graph.
    pub counts: Vec<usize>,
    /// What is taught of the nodes, `[B, N, C]`, where there was a teacher of all graphs.
    pub targets: Option<Tensor<3>>,
    weights: BatchWeights,
    graphs: Vec<&'a Graph>,
    features: OnceCell<Tensor<3>>,
    device: Device,
}

#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "one per batch; CUDA's tensors are large on the stack")]
enum BatchWeights {
    /// Offset and scale of every graph.
    NonNegative(Vec<[f32; 2]>),
    /// W of every graph, `[B, N, N]`.
    Formed(Tensor<3>),
    Correlation {
        offsets: Tensor<3>,
    },
    Edges {
        neighbours: Vec<NeighbourIndex>,
        weights: Tensor<3>,
    },
}

/// The neighbour of every node in one slot, `[B, N, 1]`.
type NeighbourIndex = burn::tensor::Tensor<tensor::Backend, 3, Int>;

impl<'a> Batch<'a> {
    /// Pads and joins `graphs` on `device`.
    ///
    /// # Panics
    /// If `graphs` is empty or mixes numbers of channels or kinds of weights.
    pub fn collate(graphs: &'a [impl Borrow<Graph>], device: &Device) -> Batch<'a> {
        let graphs: Vec<&Graph> = graphs.iter().map(Borrow::borrow).collect();
        let counts: Vec<usize> = graphs.iter().map(|graph| graph.nodes()).collect();
        let nodes = counts.iter().copied().max().expect("a batch holds at least one graph");
        let channels = graphs[0].channels;
        assert!(graphs.iter().all(|graph| graph.channels == channels), "the graphs of a batch have as many channels");
        let padded = |columns, values: fn(&Graph) -> &[f32]| padded(&graphs, nodes, columns, values, device);
        let per_graph = |values: Vec<f32>| tensor::from_slice(&values, [graphs.len(), 1, 1], device);
        let is_kind = |graph: &&Graph| discriminant(&graph.weights) == discriminant(&graphs[0].weights);
        assert!(graphs.iter().all(is_kind), "the graphs of a batch have one kind of weights");
        let parameters: Vec<[f32; 2]> = graphs.iter().map(|graph| graph.weights.parameters()).collect();
        let weights = match &graphs[0].weights {
            Weights::NonNegative { .. } => BatchWeights::NonNegative(parameters),
            Weights::Correlation { .. } => {
                BatchWeights::Correlation { offsets: per_graph(parameters.iter().map(|[offset, _]| *offset).collect()) }
            }
            Weights::Edges { .. } => neighbour_lists(&graphs, nodes, device),
        };
        let mut mask = vec![0.0; graphs.len() * nodes];
        for (mask, &count) in mask.chunks_exact_mut(nodes.max(1)).zip(&counts) {
            mask[..count].fill(1.0);
        }
        let classes = graphs.iter().map(|graph| Some(graph.targets.as_ref()?.len() / graph.nodes())).min().flatten();
        Batch {
            targets: classes.map(|classes| padded(classes, |graph| graph.targets.as_deref().unwrap_or_default())),
            propagated: padded(channels, |graph| &graph.propagated),
            mask: tensor::from_vec(mask, [graphs.len(), nodes, 1], device),
            degrees: padded(1, |graph| &graph.degrees),
            magnitude: per_graph(graphs.iter().map(|graph| graph.magnitude()).collect()),
            counts,
            weights,
            features: OnceCell::new(),
            device: device.clone(),
            graphs,
        }
    }

    /// X of every graph, `[B, N, D]`; joined when first asked for, as most networks and objectives never do.
    pub fn features(&self) -> Tensor<3> {
        let [_, nodes, channels] = self.propagated.dims();
        self.features
            .get_or_init(|| padded(&self.graphs, nodes, channels, |graph| &graph.features, &self.device))
            .clone()
    }

    /// The same batch with non-negative W formed once, for many passes over few graphs; large ones are left as they are.
    pub fn with_formed_weights(mut self) -> Batch<'a> {
        if let BatchWeights::NonNegative(parameters) = &self.weights {
            let [graphs, nodes, _] = self.propagated.dims();
            if graphs * nodes * nodes <= GRAPH_TILE_ENTRIES {
                let of_graphs = |which: usize| {
                    let values: Vec<f32> = parameters.iter().map(|pair| pair[which]).collect();
                    tensor::from_slice(&values, [graphs, 1, 1], &self.device)
                };
                let products = self.features().matmul(self.features().transpose());
                self.weights = BatchWeights::Formed((products - of_graphs(0)).clamp_min(0.0) * of_graphs(1));
            }
        }
        self
    }

    /// W S with W_ij = max(x_i·x_j − offset, 0) · scale.
    ///
    /// # Shapes
    /// `[B, N, K]` → `[B, N, K]`
    fn non_negative_product(&self, parameters: &[[f32; 2]], assignment: Tensor<3>) -> Tensor<3> {
        let shape = assignment.dims();
        let [_, nodes, clusters] = shape;
        let assignment = tensor::into_vec(assignment);
        let product = symmetric::product(&self.graphs, parameters, &assignment, nodes, clusters);
        tensor::from_vec(product, shape, &self.device)
    }

    /// Tr(SᵀWS) of every graph, differentiable in S, without keeping any N×N matrix for the backward pass.
    ///
    /// # Shapes
    /// masked assignment S `[B, N, K]` → `[B, 1, 1]`
    pub fn affinity_trace(&self, assignment: Tensor<3>) -> Tensor<3> {
        self.associations(assignment).sum_dim(2)
    }

    /// The affinity S_kᵀWS_k within every cluster, the diagonal of SᵀWS; differentiable as
    /// [`Batch::affinity_trace`] is.
    ///
    /// # Shapes
    /// masked assignment S `[B, N, K]` → `[B, 1, K]`
    pub fn associations(&self, assignment: Tensor<3>) -> Tensor<3> {
        match &self.weights {
            BatchWeights::Correlation { offsets } => {
                // Closed form: W = F Fᵀ − offset · 11ᵀ gives ‖FᵀS_k‖² − offset (S_kᵀ1)².
                let together = self.features().transpose().matmul(assignment.clone());
                let sizes = assignment.sum_dim(1);
                let squared = |values: Tensor<3>| (values.clone() * values).sum_dim(1);
                squared(together) - squared(sizes) * offsets.clone()
            }
            BatchWeights::NonNegative(parameters) => {
                from_product(assignment, |constant| self.non_negative_product(parameters, constant))
            }
            BatchWeights::Formed(weights) => from_product(assignment, |constant| weights.clone().matmul(constant)),
            BatchWeights::Edges { neighbours, weights } => {
                from_product(assignment, |constant| listed_product(neighbours, weights, constant))
            }
        }
    }
}

/// The values of every graph, padded with zeros to `nodes` rows.
///
/// # Shapes
/// values `[n, columns]` each → `[B, N, columns]`
fn padded(graphs: &[&Graph], nodes: usize, columns: usize, values: fn(&Graph) -> &[f32], device: &Device) -> Tensor<3> {
    let mut all = Vec::with_capacity(graphs.len() * nodes * columns);
    for (index, graph) in graphs.iter().enumerate() {
        all.extend_from_slice(values(graph));
        all.resize((index + 1) * nodes * columns, 0.0);
    }
    tensor::from_vec(all, [graphs.len(), nodes, columns], device)
}

/// The diagonal of SᵀWS from a function for WS.
///
/// W is symmetric, so the gradient of S_kᵀWS_k is 2WS_k. With WS computed outside of the gradient's tape,
/// 2 Σ S∘WS − Σ S°∘WS (S° without gradient) has both the right value and the right gradient.
///
/// # Shapes
/// `[B, N, K]` → `[B, 1, K]`
fn from_product(assignment: Tensor<3>, product: impl Fn(Tensor<3>) -> Tensor<3>) -> Tensor<3> {
    let constant = assignment.clone().detach();
    let product = product(constant.clone());
    let inner = |values: Tensor<3>| (values * product.clone()).sum_dim(1);
    inner(assignment).mul_scalar(2.0) - inner(constant)
}

/// W S with W given by the neighbours of every node.
///
/// # Shapes
/// neighbours: for every slot `[B, N, 1]`, weights `[B, N, slots]`, assignment `[B, N, K]` → `[B, N, K]`
fn listed_product(neighbours: &[NeighbourIndex], weights: &Tensor<3>, assignment: Tensor<3>) -> Tensor<3> {
    let [graphs, nodes, clusters] = assignment.dims();
    let mut product = assignment.zeros_like();
    for (slot, neighbour) in neighbours.iter().enumerate() {
        let weight = weights.clone().slice([0..graphs, 0..nodes, slot..slot + 1]);
        let index = neighbour.clone().expand([graphs, nodes, clusters]);
        product = product + assignment.clone().gather(1, index) * weight;
    }
    product
}

/// Edges as `degree` slots per node: the neighbour in each slot and its weight, unused slots pointing at node 0 with
/// weight 0.
fn neighbour_lists(graphs: &[&Graph], nodes: usize, device: &Device) -> BatchWeights {
    let mut slots: Vec<Vec<(u32, f32)>> = vec![Vec::new(); graphs.len() * nodes];
    for (graph, Graph { weights, .. }) in graphs.iter().copied().enumerate() {
        let Weights::Edges { edges, offset } = weights else { unreachable!("all graphs have listed edges") };
        for edge in edges {
            let weight = edge.weight - offset;
            slots[graph * nodes + edge.first as usize].push((edge.second, weight));
            slots[graph * nodes + edge.second as usize].push((edge.first, weight));
        }
    }
    let degree = slots.iter().map(Vec::len).max().unwrap_or(0);
    let mut weights = vec![0.0; slots.len() * degree];
    let neighbours = (0..degree).map(|slot| {
        let index: Vec<i64> = slots.iter().map(|list| list.get(slot).map_or(0, |entry| i64::from(entry.0))).collect();
        burn::tensor::Tensor::from_data(TensorData::new(index, [graphs.len(), nodes, 1]), device)
    });
    let neighbours = neighbours.collect();
    for (node, list) in slots.iter().enumerate() {
        for (slot, entry) in list.iter().enumerate() {
            weights[node * degree + slot] = entry.1;
        }
    }
    let weights = tensor::from_slice(&weights, [graphs.len(), nodes, degree], device);
    BatchWeights::Edges { neighbours, weights }
}
