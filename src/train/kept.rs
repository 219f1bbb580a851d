//! Graphs that stay in memory between epochs.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use super::{GraphSource, LoadError};
use crate::graph::Graph;

/// The graphs of a source, of which as many stay in memory as there is room for; the others are had anew every time. What is
/// computed from them is the same either way.
pub struct KeptGraphs<'a> {
    source: &'a dyn GraphSource,
    kept: Vec<OnceLock<Arc<Graph>>>,
    left_bytes: AtomicUsize,
    /// Whether graphs that stay have their affinities formed, once instead of in every epoch.
    forms_affinities: bool,
}

impl<'a> KeptGraphs<'a> {
    /// With room for so many bytes.
    pub fn new(source: &'a dyn GraphSource, bytes: usize, forms_affinities: bool) -> KeptGraphs<'a> {
        let kept = (0..source.len()).map(|_| OnceLock::new()).collect();
        KeptGraphs { source, kept, left_bytes: AtomicUsize::new(bytes), forms_affinities }
    }
}

impl GraphSource for KeptGraphs<'_> {
    fn len(&self) -> usize {
        self.source.len()
    }

    fn views(&self) -> usize {
        self.source.views()
    }

    fn load(&self, index: usize) -> Result<Option<Arc<Graph>>, LoadError> {
        if let Some(graph) = self.kept[index].get() {
            return Ok(Some(Arc::clone(graph)));
        }
        let Some(graph) = self.source.load(index)? else { return Ok(None) };
        let left = self.left_bytes.load(Ordering::Relaxed);
        if graph.bytes() > left {
            return Ok(Some(graph));
        }
        let graph =
            if self.forms_affinities { Arc::new(Arc::unwrap_or_clone(graph).keeping_affinities()) } else { graph };
        let bytes = graph.bytes();
        let take = |left: usize| left.checked_sub(bytes);
        if self.left_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok() {
            let kept = self.kept[index].set(Arc::clone(&graph));
            if kept.is_err() {
                // Another thread was faster.
                self.left_bytes.fetch_add(bytes, Ordering::Relaxed);
            }
        }
        Ok(Some(graph))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Affinity;
    use crate::nodes::{Adjacency, Layout, NodeFeatures};
    use crate::numerics::random;

    /// Graphs that count how often they are had.
    struct Counting {
        graphs: Vec<Graph>,
        loaded: AtomicUsize,
    }

    impl GraphSource for Counting {
        fn len(&self) -> usize {
            self.graphs.len()
        }

        fn load(&self, index: usize) -> Result<Option<Arc<Graph>>, LoadError> {
            self.loaded.fetch_add(1, Ordering::Relaxed);
            self.graphs.load(index)
        }
    }

    #[test]
    fn as_many_stay_as_there_is_room_for() {
        let graph = |index| {
            let values = random::uniform(&mut random::stream(3, "features", index), 1.0, 40);
            let layout = Layout::Grid { rows: 1, columns: 20 };
            let nodes = NodeFeatures { values, channels: 2, layout, adjacency: Adjacency::Complete };
            Graph::build(&nodes, Affinity::NonNegative)
        };
        let graphs: Vec<Graph> = (0..5).map(graph).collect();
        let bytes = graphs[0].clone().keeping_affinities().bytes();
        assert!(bytes > graphs[0].bytes() + 20 * 20 / 2 * size_of::<f32>());
        // (room, loads in two rounds over five graphs)
        for (room, loads) in [(0, 10), (bytes - 1, 10), (3 * bytes, 7), (usize::MAX, 5)] {
            let source = Counting { graphs: graphs.clone(), loaded: AtomicUsize::new(0) };
            let kept = KeptGraphs::new(&source, room, true);
            for index in (0..5).chain(0..5) {
                let found = kept.load(index).unwrap().unwrap();
                assert_eq!(found.propagated, graphs[index].propagated);
            }
            assert_eq!(source.loaded.load(Ordering::Relaxed), loads, "{room} bytes");
        }
    }
}
