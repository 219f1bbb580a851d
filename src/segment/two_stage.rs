//! Two stages: first objects and background, then the parts of each by themselves.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Legend, Segmenter, Segments};
use crate::graph::{Affinity, Graph};
use crate::numerics::range::{InvalidSetting, within};

/// Whether objects and background are divided into parts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PartsConfig {
    /// Parts of the foreground: 0 for none, else 2 or more. The paper uses 4 for CUB.
    pub foreground: usize,
    /// Parts of the background: 0 for none, else 2 or more. The paper uses 2 for CUB.
    pub background: usize,
    /// Per-image mode: steps of the second stage's optimiser. The paper uses 100 for parts.
    pub epochs: usize,
    /// Whether features are centred within the foreground (or background) before their graph is built: the parts of an
    /// object differ in what is left when what they share is taken away. The paper does not.
    pub centred: bool,
    /// Where the foreground (or background) of an image has fewer nodes, it is left whole.
    pub minimum_nodes: usize,
}

impl Default for PartsConfig {
    fn default() -> Self {
        PartsConfig { foreground: 0, background: 0, epochs: 100, centred: true, minimum_nodes: 10 }
    }
}

impl PartsConfig {
    /// Whether objects or the background are divided.
    pub fn is_asked_for(&self) -> bool {
        self.foreground + self.background > 0
    }

    /// Refuses settings outside their range.
    pub fn validate(&self) -> Result<(), InvalidSetting> {
        for (setting, value) in [("foreground", self.foreground), ("background", self.background)] {
            if value != 0 {
                within(setting, value as f64, 2.0, 250.0)?;
            }
        }
        within("epochs", self.epochs as f64, 1.0, 1e6)?;
        within("minimum_nodes", self.minimum_nodes as f64, 1.0, 1e6)
    }

    /// Nodes from which on a division into `parts` is tried: fewer nodes than parts have no division at all.
    pub fn least_nodes(&self, parts: usize) -> usize {
        self.minimum_nodes.max(parts)
    }
}

/// The nodes whose cluster is background, or is not, in ascending order.
pub fn members(clusters: &[usize], background: &[bool], of_background: bool) -> Vec<usize> {
    (0..clusters.len()).filter(|&node| background[clusters[node]] == of_background).collect()
}

/// Divides what a first stage has found.
pub struct SecondStage<S> {
    /// What the foreground is divided by; none leaves it whole.
    pub foreground: Option<S>,
    /// What the background is divided by; none leaves it whole.
    pub background: Option<S>,
    pub config: PartsConfig,
    pub legend: Legend,
    pub affinity: Affinity,
}

impl<S: Segmenter> SecondStage<S> {
    /// Whether there is nothing to divide by.
    pub fn is_empty(&self) -> bool {
        self.foreground.is_none() && self.background.is_none()
    }

    /// The mask value of every node: that of its part, or of its cluster where it has no part.
    ///
    /// # Shapes
    /// clusters `[N]`, which of them are background `[K]` → `[N]`
    pub fn values(&self, graph: &Graph, segments: &Segments, background: &[bool]) -> Vec<u8> {
        let mut values = self.legend.of_nodes(&segments.clusters, background);
        let stages =
            [(&self.foreground, false, self.config.foreground), (&self.background, true, self.config.background)];
        for (segmenter, of_background, parts) in stages {
            let members = members(&segments.clusters, background, of_background);
            let Some(segmenter) = segmenter.as_ref().filter(|_| members.len() >= self.config.least_nodes(parts)) else {
                continue;
            };
            let divided = segmenter.segment(&graph.subgraph(&members, self.affinity, self.config.centred));
            for (node, part) in members.into_iter().zip(divided.clusters) {
                values[node] =
                    if of_background { self.legend.of_background_part(part) } else { self.legend.of_part(part) };
            }
        }
        values
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodes::{Adjacency, Layout, NodeFeatures};

    /// Divides by the sign of the first feature.
    struct BySign;

    impl Segmenter for BySign {
        fn segment(&self, graph: &Graph) -> Segments {
            let clusters: Vec<usize> =
                graph.features.chunks_exact(graph.channels).map(|row| usize::from(row[0] > 0.0)).collect();
            Segments { probabilities: vec![0.5; 2 * clusters.len()], clusters }
        }
    }

    fn graph(values: &[f32]) -> Graph {
        let layout = Layout::Grid { rows: 1, columns: values.len() };
        let nodes = NodeFeatures { values: values.to_vec(), channels: 1, layout, adjacency: Adjacency::Complete };
        Graph::build(&nodes, Affinity::NonNegative)
    }

    #[test]
    fn both_stages_have_labels_of_their_own_and_small_ones_stay_whole() {
        let graph = graph(&[1.0, -1.0, 2.0, -2.0, 3.0]);
        // (clusters, fewest nodes, background is divided too) → values
        let cases = [
            (vec![0, 0, 1, 1, 1], 2, false, vec![0, 0, 3, 2, 3]),
            (vec![0, 0, 1, 1, 1], 2, true, vec![5, 4, 3, 2, 3]),
            (vec![0, 0, 1, 1, 1], 3, true, vec![0, 0, 3, 2, 3]),
            (vec![0, 0, 1, 1, 1], 4, true, vec![0, 0, 1, 1, 1]),
            // One node cannot be two parts, whatever the setting says.
            (vec![0, 0, 0, 0, 1], 1, false, vec![0, 0, 0, 0, 1]),
            // No foreground, no background.
            (vec![0; 5], 2, true, vec![5, 4, 5, 4, 5]),
            (vec![1; 5], 2, true, vec![3, 2, 3, 2, 3]),
        ];
        for (clusters, minimum_nodes, with_background, expected) in cases {
            let config = PartsConfig { foreground: 2, background: 2, minimum_nodes, ..Default::default() };
            let second = SecondStage {
                foreground: Some(BySign),
                background: with_background.then_some(BySign),
                config,
                legend: Legend::new(1, 2, 2).unwrap(),
                affinity: Affinity::NonNegative,
            };
            let segments = Segments { clusters: clusters.clone(), probabilities: vec![0.5; 10] };
            assert_eq!(second.values(&graph, &segments, &[true, false]), expected, "{clusters:?} {minimum_nodes}");
        }
    }
}
