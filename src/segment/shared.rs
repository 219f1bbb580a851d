//! Shared mode: one trained network for every image, one pass each.

use super::{Segmenter, Segments};
use crate::graph::{Batch, Graph};
use crate::model::Network;
use crate::tensor;

/// A trained network that assigns the nodes of new graphs, one by one on the processor.
#[derive(Debug)]
pub struct SharedSegmenter {
    network: Network,
}

impl SharedSegmenter {
    pub fn new(network: &Network) -> SharedSegmenter {
        SharedSegmenter { network: network.on(&tensor::cpu()) }
    }
}

impl Segmenter for SharedSegmenter {
    /// Assigns every node of `graph`, dropout off.
    fn segment(&self, graph: &Graph) -> Segments {
        let batch = Batch::collate(std::slice::from_ref(graph), &tensor::cpu());
        Segments::from_assignment(self.network.assign(&batch, None))
    }
}
