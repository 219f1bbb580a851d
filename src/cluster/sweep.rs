//! What α does to a collection, and where it does not matter.

use serde::Serialize;

use super::{ClusterConfig, ClusterError, ClusterNetwork, Method, Vectors, group};
use crate::event::{Event, Observer};
use crate::metrics::Contingency;
use crate::tensor::Device;

/// The values that are tried, besides the configured one.
const ALPHAS: [f64; 16] = [1.25, 1.5, 1.75, 2.0, 2.25, 2.5, 2.75, 3.0, 3.25, 3.5, 3.75, 4.0, 4.5, 5.0, 6.0, 8.0];
/// Neighbouring results with at least this adjusted Rand index are the same but for single images.
const SAME: f64 = 0.9;

/// Correlation clustering over a range of α.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AlphaSweep {
    /// Ascending in α.
    pub points: Vec<SweepPoint>,
    /// The widest range of α, as a ratio, over which the result stays the same; none if it changes at every step.
    pub stable: Option<StableRange>,
}

/// The result of one α.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SweepPoint {
    pub alpha: f64,
    pub clusters: usize,
    pub objective: f64,
    /// Adjusted Rand index with the result of the next smaller α.
    pub agreement: Option<f64>,
}

/// A range of α over which the number of clusters stays and neighbouring results have an adjusted Rand index of 0.9.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StableRange {
    pub from: f64,
    pub to: f64,
    pub clusters: usize,
}

/// Groups vectors by correlation clustering once for every α, the settings' own among them.
///
/// # Shapes
/// vectors `[N, D]`, unscaled
///
/// # Errors
/// Those of [`ClusterModel::fit`](super::ClusterModel::fit).
pub fn alpha_sweep(
    vectors: &Vectors,
    settings: &ClusterConfig,
    network: &ClusterNetwork,
    device: &Device,
    observer: &dyn Observer,
) -> Result<AlphaSweep, ClusterError> {
    settings.validate()?;
    let scaled = vectors.fit(settings.scaling).apply(vectors.clone());
    let mut alphas: Vec<f64> = ALPHAS.iter().copied().chain([settings.alpha]).collect();
    alphas.sort_by(f64::total_cmp);
    alphas.dedup();
    let mut points: Vec<SweepPoint> = Vec::new();
    let mut before: Option<Vec<u32>> = None;
    for alpha in alphas {
        let settings = ClusterConfig { alpha, method: Method::Correlation, ..settings.clone() };
        let found = group(&scaled, &settings, network, device, observer)?;
        let table = before.map(|before| Contingency::from_labels(&before, &found.clusters));
        let agreement = table.map(|table| table.adjusted_rand_index());
        let (clusters, objective) = (found.sizes.len(), found.details.objective.unwrap_or_default());
        observer.observe(Event::Note(format!("alpha {alpha}: {clusters} clusters, objective {objective:.4}")));
        points.push(SweepPoint { alpha, clusters, objective, agreement });
        before = Some(found.clusters);
    }
    let stable = stable(&points, settings.clusters);
    Ok(AlphaSweep { points, stable })
}

/// One cluster is stable for every large α, and as many as there may be, if that is limited, for every small
/// one: neither says anything.
fn stable(points: &[SweepPoint], most: Option<usize>) -> Option<StableRange> {
    let mut best: Option<StableRange> = None;
    let mut first = 0;
    for (index, point) in points.iter().enumerate() {
        let goes_on = index > 0
            && points[index - 1].clusters == point.clusters
            && point.agreement.is_some_and(|agreement| agreement >= SAME);
        if !goes_on {
            first = index;
        }
        let range = StableRange { from: points[first].alpha, to: point.alpha, clusters: point.clusters };
        let widest = best.as_ref().map_or(1.0, |best| best.to / best.from);
        if (2..most.unwrap_or(usize::MAX)).contains(&point.clusters) && range.to / range.from > widest {
            best = Some(range);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_widest_range_that_means_something_is_stable() {
        let point = |(alpha, clusters, agreement)| SweepPoint { alpha, clusters, objective: 0.0, agreement };
        let points = [
            (1.0, 10, None),
            (2.0, 10, Some(1.0)),
            (2.5, 5, Some(0.5)),
            (3.0, 5, Some(0.95)),
            (3.5, 5, Some(0.8)),
            (4.0, 4, Some(0.9)),
            (5.0, 4, Some(0.99)),
            (6.0, 1, Some(0.1)),
            (9.0, 1, Some(1.0)),
        ];
        let points = points.map(point);
        assert_eq!(stable(&points, Some(10)), Some(StableRange { from: 4.0, to: 5.0, clusters: 4 }));
        assert_eq!(stable(&points[..2], Some(10)), None);
        assert_eq!(stable(&points[..4], Some(10)), Some(StableRange { from: 2.5, to: 3.0, clusters: 5 }));
    }
}
