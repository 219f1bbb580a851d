//! The checkpoint: everything that inference needs except the backbone's weights, in one sealed file.

use serde::{Deserialize, Serialize};

use super::sealed::{self, Kind, NamedMatrix, SealError};
use super::{Network, NetworkConfig};
use crate::tensor::{self, Device};

const KIND: Kind = Kind { name: "checkpoint", format: 1 };

/// A trained network with the story of its training.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    pub header: CheckpointHeader,
    parameters: Vec<NamedMatrix>,
}

/// What a checkpoint says about itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckpointHeader {
    /// The resolved configuration of the run, without paths, device and threads.
    pub config: serde_json::Value,
    /// What turned images into features: `vit`, `superpixel` or `pixel`.
    pub backbone: String,
    /// blake3 of the backbone's weights file, where there is one.
    pub backbone_hash: Option<String>,
    /// Sizes of the network.
    pub network: NetworkConfig,
    /// Seed of the run.
    pub seed: u64,
    /// Images trained on, held-out ones included.
    pub images: usize,
    /// blake3 over the collection's content, in order.
    pub collection_hash: String,
    /// For every cluster, whether the collection's background rule put it in the background.
    pub background: Vec<bool>,
    /// Share of border positions and of all positions in each cluster, from which `background` follows.
    pub border_shares: Vec<f64>,
    pub area_shares: Vec<f64>,
    /// The epoch whose parameters these are, from 1.
    pub best_epoch: usize,
    /// Whether nearly all held-out nodes lie in one cluster.
    pub collapsed: bool,
    /// One entry per epoch.
    pub curve: Vec<CurvePoint>,
}

/// One epoch of the training curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CurvePoint {
    /// Mean loss of the optimised graphs, dropout on.
    pub train_loss: f64,
    /// Mean loss of the held-out graphs, dropout off.
    pub held_out_loss: f64,
    /// Share of the held-out nodes in the largest cluster.
    pub largest_cluster_share: f64,
}

impl Checkpoint {
    /// Joins a network and the description of its training.
    pub fn new(header: CheckpointHeader, network: &Network) -> Checkpoint {
        Checkpoint { header, parameters: named_parameters(network) }
    }

    /// The file's bytes; the same checkpoint always gives the same bytes.
    pub fn to_bytes(&self) -> Result<Vec<u8>, SealError> {
        sealed::seal(KIND, &self.header, &self.parameters)
    }

    /// Reads and checks the bytes of a checkpoint file.
    pub fn from_bytes(bytes: &[u8]) -> Result<Checkpoint, SealError> {
        let (header, mut matrices): (CheckpointHeader, _) = sealed::unseal(KIND, bytes)?;
        let mut parameters = Vec::new();
        for (name, shape) in header.network.parameter_shapes() {
            let values = sealed::take(&mut matrices, name, shape)?;
            parameters.push(NamedMatrix { name: name.to_string(), shape, values });
        }
        let clusters = header.network.clusters;
        if [header.background.len(), header.border_shares.len(), header.area_shares.len()] != [clusters; 3] {
            return Err(SealError::Format("its background rule is for another number of clusters".into()));
        }
        Ok(Checkpoint { header, parameters })
    }

    /// The trained network on `device`.
    pub fn network(&self, device: &Device) -> Network {
        let values: Vec<Vec<f32>> = self.parameters.iter().map(|matrix| matrix.values.clone()).collect();
        Network::from_values(&self.header.network, &values, device)
    }

    /// Names and shapes `[rows, columns]` of the stored parameters.
    pub fn parameter_shapes(&self) -> impl Iterator<Item = (&str, [usize; 2])> {
        self.parameters.iter().map(|matrix| (matrix.name.as_str(), matrix.shape))
    }
}

/// The parameters of a network, for storing.
fn named_parameters(network: &Network) -> Vec<NamedMatrix> {
    let parameter = |parameter: &super::Parameter| NamedMatrix {
        name: parameter.name.to_string(),
        shape: parameter.value.dims(),
        values: tensor::into_vec(parameter.value.clone()),
    };
    network.parameters().iter().map(parameter).collect()
}
