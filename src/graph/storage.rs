//! Graphs as bytes, for the feature cache.

use super::propagation::Propagation;
use super::{Graph, Weights};
use crate::nodes::Edge;
use crate::numerics::bytes::{bytes_from_floats, floats_from_bytes};

/// Begins every stored graph; the number is the format's version.
const MAGIC: &[u8; 8] = b"dcgraph4";

/// Stored bytes that are no graph.
#[derive(Debug, thiserror::Error)]
#[error("the stored graph is damaged ({0})")]
pub struct GraphBytesError(&'static str);

impl Graph {
    /// The graph as little-endian bytes: magic, sizes, kind of weights, then every array but the targets, which are
    /// no property of the image.
    pub fn to_bytes(&self) -> Vec<u8> {
        let (kind, edges) = match &self.weights {
            Weights::NonNegative { .. } => (0u64, &[][..]),
            Weights::Correlation { .. } => (1, &[][..]),
            Weights::Edges { edges, .. } => (2, edges.as_slice()),
        };
        let mut bytes = MAGIC.to_vec();
        for number in [self.nodes() as u64, self.channels as u64, kind, edges.len() as u64] {
            bytes.extend(number.to_le_bytes());
        }
        self.weights.parameters().iter().for_each(|parameter| bytes.extend(parameter.to_le_bytes()));
        bytes.extend(self.negative_share.unwrap_or(f32::NAN).to_le_bytes());
        for array in [&self.features, &self.propagated, &self.degrees, &self.area, &self.border] {
            bytes.extend(bytes_from_floats(array));
        }
        for edge in edges {
            bytes.extend(edge.first.to_le_bytes());
            bytes.extend(edge.second.to_le_bytes());
            bytes.extend(edge.weight.to_le_bytes());
        }
        bytes
    }

    /// Reads what [`Graph::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<Graph, GraphBytesError> {
        let mut reader = Reader { rest: bytes };
        if reader.take(MAGIC.len())? != MAGIC {
            return Err(GraphBytesError("unknown format"));
        }
        let nodes = reader.count()?;
        let channels = reader.count()?;
        let kind = reader.count()?;
        let edge_count = reader.count()?;
        let offset = f32::from_le_bytes(reader.array()?);
        let scale = f32::from_le_bytes(reader.array()?);
        let negative_share = Some(f32::from_le_bytes(reader.array()?)).filter(|share| !share.is_nan());
        let values = nodes.checked_mul(channels).ok_or(GraphBytesError("sizes overflow"))?;
        let features = reader.floats(values)?;
        let propagated = reader.floats(values)?;
        let degrees = reader.floats(nodes)?;
        let area = reader.floats(nodes)?;
        let border = reader.floats(nodes)?;
        let mut edges = Vec::new();
        for _ in 0..edge_count {
            let first = u32::from_le_bytes(reader.array()?);
            let second = u32::from_le_bytes(reader.array()?);
            let weight = f32::from_le_bytes(reader.array()?);
            if first >= second || second as usize >= nodes {
                return Err(GraphBytesError("an edge leaves the graph"));
            }
            edges.push(Edge { first, second, weight });
        }
        let weights = match kind {
            0 => Weights::NonNegative { offset, scale },
            1 => Weights::Correlation { offset },
            2 => Weights::Edges { edges, offset },
            _ => return Err(GraphBytesError("unknown kind of weights")),
        };
        if !reader.rest.is_empty() {
            return Err(GraphBytesError("bytes left over"));
        }
        let propagation = Propagation { propagated, degrees, weights, negative_share, affinities: None };
        Ok(propagation.into_graph(features, channels, (area, border)))
    }
}

/// Takes values off the front of a byte slice.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], GraphBytesError> {
        let (front, rest) = self.rest.split_at_checked(count).ok_or(GraphBytesError("cut short"))?;
        self.rest = rest;
        Ok(front)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], GraphBytesError> {
        self.take(N)?.try_into().map_err(|_| GraphBytesError("cut short"))
    }

    fn count(&mut self) -> Result<usize, GraphBytesError> {
        usize::try_from(u64::from_le_bytes(self.array()?)).map_err(|_| GraphBytesError("sizes overflow"))
    }

    fn floats(&mut self, count: usize) -> Result<Vec<f32>, GraphBytesError> {
        let bytes = self.take(count.checked_mul(4).ok_or(GraphBytesError("sizes overflow"))?)?;
        Ok(floats_from_bytes(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graphs() -> Vec<Graph> {
        let edge = |first, second| Edge { first, second, weight: 0.5 };
        let weights = [
            Weights::NonNegative { offset: 0.5, scale: 0.25 },
            Weights::Correlation { offset: 1.5 },
            Weights::Edges { edges: vec![edge(0, 1), edge(1, 2)], offset: 0.125 },
        ];
        let graph = |(share, weights)| Graph {
            channels: 2,
            features: vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
            propagated: vec![0.5; 6],
            degrees: vec![1.0, 2.0, 3.0],
            weights,
            negative_share: [None, Some(0.25)][usize::from(share)],
            area: vec![1.0; 3],
            border: vec![0.0, 1.0, 1.0],
            targets: None,
            affinities: None,
        };
        [false, true, true].into_iter().zip(weights).map(graph).collect()
    }

    #[test]
    fn graphs_survive_the_round_trip_and_damage_is_noticed() {
        for graph in graphs() {
            let bytes = graph.to_bytes();
            assert_eq!(Graph::from_bytes(&bytes).unwrap(), graph);
            for length in 0..bytes.len() {
                assert!(Graph::from_bytes(&bytes[..length]).is_err(), "{length} bytes passed for a graph");
            }
            let mut enormous = bytes.clone();
            enormous[8..16].fill(0xff);
            assert!(Graph::from_bytes(&enormous).is_err());
        }
    }
}
