//! Shared mode: one trained network for every image, one pass each.

use super::{Segmenter, Segments};
use crate::graph::{Batch, DeviceGraphs, Graph};
use crate::model::Network;
use crate::tensor::{Device, Tensor};

/// A trained network that assigns the nodes of new graphs.
#[derive(Debug)]
pub struct SharedSegmenter {
    network: Network,
    device: Device,
}

impl SharedSegmenter {
    pub fn new(network: Network, device: Device) -> SharedSegmenter {
        SharedSegmenter { network, device }
    }

    /// The probability of every cluster for every node of a batch, left on the device.
    ///
    /// # Shapes
    /// → `[B, N, K]`
    pub fn probabilities(&self, graphs: &DeviceGraphs) -> Tensor<3> {
        let (propagated, features) = (graphs.propagated.clone(), graphs.features.clone());
        self.network.probabilities(propagated, Some(features), None)
    }
}

impl Segmenter for SharedSegmenter {
    /// Assigns every node of `graph`, dropout off.
    fn segment(&self, graph: &Graph) -> Segments {
        let batch = Batch::collate(std::slice::from_ref(graph), &self.device);
        Segments::from_assignment(self.network.assign(&batch, None))
    }
}
