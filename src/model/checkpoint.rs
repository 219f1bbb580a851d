//! The checkpoint: everything that inference needs except the backbone's weights, in one container file.

use serde::{Deserialize, Serialize};

use super::container::{self, ContainerError, Kind, NamedMatrix};
use super::{Diagnostics, Network, NetworkConfig};
use crate::tensor::{self, Device};

const KIND: Kind = Kind { name: "checkpoint", format: 3 };

/// Trained networks with the story of their training.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    pub header: CheckpointHeader,
    parameters: Vec<NamedMatrix>,
    /// The directions that are removed from the backbone's features, `[directions, D]`, where any are.
    position_directions: Option<NamedMatrix>,
}

/// What the matrix of these directions is called in the file.
const POSITION_DIRECTIONS: &str = "position_directions";

/// One of the networks of a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Objects and background.
    Objects,
    /// The parts of the foreground.
    Parts,
    /// The parts of the background.
    BackgroundParts,
}

impl Stage {
    const ALL: [Stage; 3] = [Stage::Objects, Stage::Parts, Stage::BackgroundParts];

    /// What the names of its parameters begin with.
    fn prefix(self) -> &'static str {
        match self {
            Stage::Objects => "",
            Stage::Parts => "parts.",
            Stage::BackgroundParts => "background_parts.",
        }
    }
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
    /// Seed of the run.
    pub seed: u64,
    /// blake3 over the collection's content, in order.
    pub collection_hash: String,
    /// For every cluster, whether the collection's background rule put it in the background.
    pub background: Vec<bool>,
    /// Share of border positions and of all positions in each cluster, from which `background` follows.
    pub border_shares: Vec<f64>,
    pub area_shares: Vec<f64>,
    /// The network that tells objects and background apart.
    pub objects: TrainedStage,
    /// The network whose masks taught that one, where there was such a round; its parameters are not kept.
    pub teacher: Option<TrainedStage>,
    /// What was measured while training.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diagnostics: Option<Diagnostics>,
    /// The network that divides the foreground, where parts were asked for and found.
    pub parts: Option<TrainedStage>,
    /// The network that divides the background, where parts were asked for and found.
    pub background_parts: Option<TrainedStage>,
}

/// How one network was trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainedStage {
    /// Sizes of the network.
    pub network: NetworkConfig,
    /// Images trained on, held-out ones included.
    pub images: usize,
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

impl CheckpointHeader {
    /// How the network of a stage was trained, if there is one.
    pub fn stage(&self, stage: Stage) -> Option<&TrainedStage> {
        match stage {
            Stage::Objects => Some(&self.objects),
            Stage::Parts => self.parts.as_ref(),
            Stage::BackgroundParts => self.background_parts.as_ref(),
        }
    }
}

impl Checkpoint {
    /// Joins networks and the description of their training.
    ///
    /// # Panics
    /// If the header describes other stages than those of `networks`.
    ///
    /// # Shapes
    /// `position_directions`: row-major `[directions, D]`, may be empty
    pub fn new(header: CheckpointHeader, networks: &[(Stage, Network)], position_directions: Vec<f32>) -> Checkpoint {
        for stage in Stage::ALL {
            let given = networks.iter().find(|(given, _)| *given == stage).map(|(_, network)| network.config());
            assert_eq!(given, header.stage(stage).map(|trained| &trained.network), "networks as the header says");
        }
        let named = networks.iter().flat_map(|(stage, network)| named_parameters(*stage, network));
        let width = header.objects.network.input;
        let position_directions = (!position_directions.is_empty()).then(|| NamedMatrix {
            name: POSITION_DIRECTIONS.to_string(),
            shape: [position_directions.len() / width, width],
            values: position_directions,
        });
        let parameters = named.collect();
        Checkpoint { header, parameters, position_directions }
    }

    /// The directions that are removed from the backbone's features, row-major `[directions, D]`.
    pub fn position_directions(&self) -> Option<&[f32]> {
        Some(&self.position_directions.as_ref()?.values)
    }

    /// The file's bytes; the same checkpoint always gives the same bytes.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ContainerError> {
        let matrices: Vec<NamedMatrix> = self.parameters.iter().chain(&self.position_directions).cloned().collect();
        container::write(KIND, &self.header, &matrices)
    }

    /// Reads and checks the bytes of a checkpoint file.
    pub fn from_bytes(bytes: &[u8]) -> Result<Checkpoint, ContainerError> {
        let (mut header, mut matrices): (CheckpointHeader, _) = container::read(KIND, bytes)?;
        keep_earlier_features(&mut header.config);
        let mut parameters = Vec::new();
        for stage in Stage::ALL {
            if header.stage(stage).is_some_and(|trained| !trained.network.is_possible()) {
                return Err(ContainerError::Content("its network has impossible sizes".into()));
            }
            let shapes = header.stage(stage).map_or(Vec::new(), |trained| trained.network.parameter_shapes());
            for (name, shape) in shapes {
                let name = format!("{}{name}", stage.prefix());
                let values = container::remove(&mut matrices, &name, shape)?;
                parameters.push(NamedMatrix { name, shape, values });
            }
        }
        let clusters = header.objects.network.clusters;
        if [header.background.len(), header.border_shares.len(), header.area_shares.len()] != [clusters; 3] {
            return Err(ContainerError::Content("its background rule is for another number of clusters".into()));
        }
        let position_directions = matrices.remove(POSITION_DIRECTIONS);
        if position_directions.as_ref().is_some_and(|matrix| matrix.shape[1] != header.objects.network.input) {
            return Err(ContainerError::Tensor(POSITION_DIRECTIONS.to_string()));
        }
        Ok(Checkpoint { header, parameters, position_directions })
    }

    /// The trained network of a stage on `device`, if there is one.
    pub fn network(&self, stage: Stage, device: &Device) -> Option<Network> {
        let config = &self.header.stage(stage)?.network;
        let named = |name: &str| {
            let full = format!("{}{name}", stage.prefix());
            self.parameters.iter().find(|matrix| matrix.name == full).map(|matrix| matrix.values.clone())
        };
        let values: Option<Vec<Vec<f32>>> = config.parameter_shapes().iter().map(|(name, _)| named(name)).collect();
        Some(Network::from_values(config, &values?, device))
    }

    /// Names and shapes `[rows, columns]` of the stored parameters.
    pub fn parameter_shapes(&self) -> impl Iterator<Item = (&str, [usize; 2])> {
        self.parameters.iter().map(|matrix| (matrix.name.as_str(), matrix.shape))
    }
}

/// Earlier versions had no settings for what they never did: networks that they trained go on with the features they know.
fn keep_earlier_features(config: &mut serde_json::Value) {
    for (room, key, value) in [("vit", "remove_position", 0.into()), ("graph", "offset", "none".into())] {
        if let Some(room) = config.get_mut(room).and_then(serde_json::Value::as_object_mut) {
            room.entry(key).or_insert(value);
        }
    }
}

/// The parameters of a network, for storing.
fn named_parameters(stage: Stage, network: &Network) -> Vec<NamedMatrix> {
    let parameter = |parameter: &super::Parameter| NamedMatrix {
        name: format!("{}{}", stage.prefix(), parameter.name),
        shape: parameter.value.dims(),
        values: tensor::into_vec(parameter.value.clone()),
    };
    network.parameters().iter().map(parameter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(network: NetworkConfig, background: Vec<bool>) -> CheckpointHeader {
        let shares = vec![0.5; background.len()];
        CheckpointHeader {
            config: serde_json::Value::Null,
            backbone: "superpixel".into(),
            backbone_hash: None,
            seed: 0,
            collection_hash: String::new(),
            background,
            border_shares: shares.clone(),
            area_shares: shares,
            objects: TrainedStage { network, images: 1, best_epoch: 1, collapsed: false, curve: Vec::new() },
            teacher: None,
            diagnostics: None,
            parts: None,
            background_parts: None,
        }
    }

    #[test]
    fn directions_are_kept_beside_the_networks_and_must_fit_them() {
        let network =
            NetworkConfig { input: 3, hidden: [4, 5], clusters: 2, dropout: 0.25, root_weight: false, scale: 2.0 };
        let networks = [(Stage::Objects, network.init(0, 0, &tensor::cpu()))];
        let header = header(network, vec![true, false]);
        for directions in [Vec::new(), vec![0.6, 0.8, 0.0]] {
            let checkpoint = Checkpoint::new(header.clone(), &networks, directions.clone());
            let read = Checkpoint::from_bytes(&checkpoint.to_bytes().unwrap()).unwrap();
            assert_eq!(read, checkpoint);
            assert_eq!(read.position_directions().unwrap_or_default(), directions);
        }
        let mut matrices = Checkpoint::new(header.clone(), &networks, Vec::new()).parameters;
        matrices.push(NamedMatrix { name: POSITION_DIRECTIONS.into(), shape: [1, 2], values: vec![1.0, 0.0] });
        assert!(Checkpoint::from_bytes(&container::write(KIND, &header, &matrices).unwrap()).is_err());
    }

    #[test]
    fn networks_that_cannot_be_are_refused() {
        let possible =
            NetworkConfig { input: 3, hidden: [4, 5], clusters: 2, dropout: 0.25, root_weight: false, scale: 1.0 };
        let cases = [
            (possible.clone(), 2, true),
            (possible.clone(), 3, false),
            (NetworkConfig { root_weight: true, ..possible.clone() }, 2, true),
            (NetworkConfig { clusters: 0, ..possible.clone() }, 0, false),
            (NetworkConfig { hidden: [0, 5], ..possible.clone() }, 2, false),
            (NetworkConfig { input: usize::MAX, ..possible.clone() }, 2, false),
            (NetworkConfig { dropout: 1.0, ..possible.clone() }, 2, false),
        ];
        for (network, clusters, accepted) in cases {
            let shapes = if network.input < 100 { network.parameter_shapes() } else { Vec::new() };
            let matrix = |(name, shape): (&str, [usize; 2])| NamedMatrix {
                name: name.to_string(),
                shape,
                values: vec![0.0; shape[0] * shape[1]],
            };
            let matrices: Vec<NamedMatrix> = shapes.into_iter().map(matrix).collect();
            let bytes = container::write(KIND, &header(network.clone(), vec![true; clusters]), &matrices).unwrap();
            assert_eq!(Checkpoint::from_bytes(&bytes).is_ok(), accepted, "{network:?}");
        }
    }
}
