//! The objectives of one graph with their gradients, on the host and without a tape.

use super::Objective;
use crate::graph::Graph;

/// The loss of one graph and its gradient with respect to the assignment.
#[derive(Debug, Clone, PartialEq)]
pub struct Differentiated {
    pub loss: f64,
    /// Row-major `[N, K]`.
    pub gradient: Vec<f32>,
}

impl Objective {
    /// What [`Objective::losses`] says of one graph, with its gradient; none for the cross-entropy.
    ///
    /// `product` is W S.
    ///
    /// # Shapes
    /// assignment S, product `[N, K]`
    pub fn differentiate(
        self,
        graph: &Graph,
        assignment: &[f32],
        product: &[f32],
        clusters: usize,
    ) -> Option<Differentiated> {
        let rows = || assignment.chunks_exact(clusters);
        // S_kᵀWS_k of every cluster.
        let mut associations = vec![0.0f64; clusters];
        for (row, product) in rows().zip(product.chunks_exact(clusters)) {
            for ((sum, &value), &product) in associations.iter_mut().zip(row).zip(product) {
                *sum += f64::from(value) * f64::from(product);
            }
        }
        let association: f64 = associations.iter().sum();
        match self {
            Objective::CrossEntropy => None,
            Objective::Cc => {
                // d/dS of −Tr(SᵀWS).
                let gradient = product.iter().map(|&value| -2.0 * value).collect();
                Some(Differentiated { loss: -association, gradient })
            }
            Objective::Association => {
                let mut volumes = vec![0.0f64; clusters];
                for (row, &degree) in rows().zip(&graph.degrees) {
                    for (volume, &value) in volumes.iter_mut().zip(row) {
                        *volume += f64::from(value) * f64::from(degree);
                    }
                }
                let share = |cluster: usize| associations[cluster] / volumes[cluster].max(SMALLEST_VOLUME);
                // d/dS of −a/(K v): −(2WS − (a/v) D)/(K v); below the least volume v is constant.
                let by_product = per_cluster(clusters, |k| -2.0 / volumes[k].max(SMALLEST_VOLUME) / clusters as f64);
                let by_degree = per_cluster(clusters, |k| {
                    if volumes[k] > SMALLEST_VOLUME { share(k) / volumes[k] / clusters as f64 } else { 0.0 }
                });
                let mut gradient = Vec::with_capacity(assignment.len());
                for (product, &degree) in product.chunks_exact(clusters).zip(&graph.degrees) {
                    gradient.extend((0..clusters).map(|k| by_product[k] * product[k] + by_degree[k] * degree));
                }
                let loss = -(0..clusters).map(share).sum::<f64>() / clusters as f64;
                Some(Differentiated { loss, gradient })
            }
            Objective::Ncut { balance } => {
                let volume: f64 = rows()
                    .zip(&graph.degrees)
                    .map(|(row, &degree)| {
                        f64::from(degree) * row.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>()
                    })
                    .sum();
                let bounded = volume.max(SMALLEST_VOLUME);
                // d/dS of −a/v: −2WS/v + (a/v²) 2DS.
                let by_product = (-2.0 / bounded) as f32;
                let by_degree =
                    if volume > SMALLEST_VOLUME { (2.0 * association / bounded.powi(2)) as f32 } else { 0.0 };
                let (imbalance, by_assignment) = imbalance(assignment, clusters);
                let mut gradient = Vec::with_capacity(assignment.len());
                for ((row, product), &degree) in rows().zip(product.chunks_exact(clusters)).zip(&graph.degrees) {
                    gradient.extend((0..clusters).map(|k| {
                        let column = (0..clusters).map(|other| row[other] * by_assignment[other * clusters + k]);
                        by_product * product[k] + by_degree * degree * row[k] + balance as f32 * column.sum::<f32>()
                    }));
                }
                Some(Differentiated { loss: balance.mul_add(imbalance, -association / bounded), gradient })
            }
        }
    }
}

/// Below it a volume is none.
const SMALLEST_VOLUME: f64 = 1e-12;

fn per_cluster(clusters: usize, value: impl Fn(usize) -> f64) -> Vec<f32> {
    (0..clusters).map(|cluster| value(cluster) as f32).collect()
}

/// The balance term b = ‖O/‖O‖ − I/√K‖ of O = SᵀS, and the matrix B `[K, K]` with which its gradient is S B.
fn imbalance(assignment: &[f32], clusters: usize) -> (f64, Vec<f32>) {
    let mut overlap = vec![0.0f64; clusters * clusters];
    for row in assignment.chunks_exact(clusters) {
        for (one, &value) in row.iter().enumerate() {
            for (other, &second) in row.iter().enumerate() {
                overlap[one * clusters + other] += f64::from(value) * f64::from(second);
            }
        }
    }
    // The addends keep both roots differentiable at zero.
    let norm = |values: &[f64]| (values.iter().map(|value| value * value).sum::<f64>() + 1e-12).sqrt();
    let length = norm(&overlap);
    let target = (clusters as f64).sqrt().recip();
    let difference: Vec<f64> = overlap
        .iter()
        .enumerate()
        .map(|(place, value)| value / length - if place % (clusters + 1) == 0 { target } else { 0.0 })
        .collect();
    let distance = norm(&difference);
    // With the unit difference U: db/dO = U/‖O‖ − O (U:O)/‖O‖³, symmetric, and dO/dS doubles it.
    let along: f64 = difference.iter().zip(&overlap).map(|(one, other)| one * other).sum::<f64>() / distance;
    let gradient = difference.iter().zip(&overlap).map(|(difference, overlap)| {
        (2.0 * (difference / distance / length - overlap * along / length.powi(3))) as f32
    });
    (distance, gradient.collect())
}
