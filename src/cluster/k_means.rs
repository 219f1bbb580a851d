//! k-means for a known number of clusters.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::reliance;
use super::vectors::Vectors;
use crate::numerics::{argmax, random};

/// Lloyd's iterations after which a start ends, should it not have converged.
const MOST_ITERATIONS: usize = 200;

/// The start that was kept.
pub(super) struct Found {
    /// The cluster of every vector, `[N]`.
    pub clusters: Vec<u32>,
    /// Σ_i ‖f_i − centre of its cluster‖².
    pub squared_distances: f64,
    /// How far the other starts agree; see [`reliance::agreement`].
    pub agreement: Option<f64>,
}

/// Lloyd's algorithm from several k-means++ starts; the one with the smallest sum of squared distances wins.
///
/// Source: Arthur and Vassilvitskii, "k-means++: the advantages of careful seeding", SODA 2007. A cluster that runs empty
/// starts again at the vector farthest from its centre; with fewer different vectors than clusters some stay empty.
pub(super) fn k_means(vectors: &Vectors, clusters: usize, restarts: usize, seed: u64) -> Found {
    let start = |restart: u64| run(vectors, clusters, &mut random::stream(seed, "k-means", restart));
    let (mut assignments, squared_distances): (Vec<Vec<u32>>, Vec<f64>) = (0..restarts as u64).map(start).unzip();
    let mut best = 0;
    for (restart, distances) in squared_distances.iter().enumerate() {
        if *distances < squared_distances[best] {
            best = restart;
        }
    }
    let agreement = reliance::agreement(&assignments, best);
    Found { clusters: assignments.swap_remove(best), squared_distances: squared_distances[best], agreement }
}

fn run(vectors: &Vectors, clusters: usize, generator: &mut ChaCha8Rng) -> (Vec<u32>, f64) {
    let width = vectors.width();
    let mut centres = seeds(vectors, clusters, generator);
    let mut nearest = assign(vectors, &centres);
    for _ in 0..MOST_ITERATIONS {
        let mut sums = vec![0.0f64; clusters * width];
        let mut sizes = vec![0usize; clusters];
        for (row, &(cluster, _)) in nearest.iter().enumerate() {
            sizes[cluster as usize] += 1;
            let sum = &mut sums[cluster as usize * width..][..width];
            sum.iter_mut().zip(vectors.row(row)).for_each(|(sum, value)| *sum += f64::from(*value));
        }
        let mut farthest: Vec<usize> = Vec::new();
        for (cluster, &size) in sizes.iter().enumerate() {
            let centre = &mut sums[cluster * width..][..width];
            if size > 0 {
                centre.iter_mut().for_each(|sum| *sum /= size as f64);
                continue;
            }
            let free = (0..vectors.count()).filter(|row| !farthest.contains(row));
            let Some(row) = free.max_by(|a, b| nearest[*a].1.total_cmp(&nearest[*b].1).then(b.cmp(a))) else {
                continue;
            };
            farthest.push(row);
            centre.iter_mut().zip(vectors.row(row)).for_each(|(centre, value)| *centre = f64::from(*value));
        }
        centres = sums;
        let next = assign(vectors, &centres);
        let settled = next.iter().zip(&nearest).all(|(next, before)| next.0 == before.0);
        nearest = next;
        if settled {
            break;
        }
    }
    let squared_distances = nearest.iter().map(|(_, distance)| distance).sum();
    (nearest.into_iter().map(|(cluster, _)| cluster).collect(), squared_distances)
}

/// k-means++: every next centre is a vector drawn with probability proportional to its squared distance from the nearest
/// centre so far.
fn seeds(vectors: &Vectors, clusters: usize, generator: &mut ChaCha8Rng) -> Vec<f64> {
    let row_as_centre = |row: usize| vectors.row(row).iter().map(|value| f64::from(*value)).collect::<Vec<f64>>();
    let first = generator.random_range(0..vectors.count() as u64) as usize;
    let mut centres = row_as_centre(first);
    let mut distances: Vec<f64> = distances_to(vectors, &centres);
    for _ in 1..clusters {
        let total: f64 = distances.iter().sum();
        let mut left = generator.random::<f64>() * total;
        let drawn = distances.iter().position(|distance| {
            left -= distance;
            left < 0.0
        });
        // Without any distance left every vector is a centre already.
        let centre = row_as_centre(drawn.unwrap_or(first));
        let to_new = distances_to(vectors, &centre);
        distances.iter_mut().zip(to_new).for_each(|(distance, new)| *distance = distance.min(new));
        centres.extend(centre);
    }
    centres
}

fn distances_to(vectors: &Vectors, centre: &[f64]) -> Vec<f64> {
    assign(vectors, centre).into_iter().map(|(_, distance)| distance).collect()
}

/// The nearest centre of every vector, the first of equals, and the squared distance from it.
fn assign(vectors: &Vectors, centres: &[f64]) -> Vec<(u32, f64)> {
    let width = vectors.width();
    let single: Vec<f32> = centres.iter().map(|&value| value as f32).collect();
    let squared: Vec<f64> = centres.chunks_exact(width).map(|centre| centre.iter().map(|v| v * v).sum()).collect();
    let rows: Vec<u32> = (0..vectors.count() as u32).collect();
    let of_block = |rows: &[u32]| -> Vec<(u32, f64)> {
        let products = vectors.products(rows, &single);
        let nearest = |(&row, products): (&u32, &[f32])| {
            let scores = products.iter().zip(&squared).map(|(&product, squared)| 2.0 * f64::from(product) - squared);
            let best = argmax(&scores.collect::<Vec<f64>>());
            let centre = &centres[best * width..][..width];
            let difference = vectors.row(row as usize).iter().zip(centre).map(|(a, b)| (f64::from(*a) - b).powi(2));
            (best as u32, difference.sum())
        };
        rows.iter().zip(products.chunks_exact(squared.len())).map(nearest).collect()
    };
    rows.par_chunks(1024).flat_map_iter(of_block).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_pairs_are_found() {
        let vectors = Vectors::new(vec![0.0, 10.0, 0.5, 10.5, 20.0, 20.5], 1).unwrap();
        let Found { clusters, squared_distances, agreement } = k_means(&vectors, 3, 3, 0);
        assert!(clusters[0] == clusters[2] && clusters[1] == clusters[3] && clusters[4] == clusters[5]);
        assert!((squared_distances - 6.0 * 0.0625).abs() < 1e-6, "{squared_distances}");
        assert!(agreement.is_some_and(|agreement| agreement > 0.5), "{agreement:?}");
    }

    #[test]
    fn more_clusters_than_different_vectors_end() {
        let found = k_means(&Vectors::new(vec![1.0; 8], 2).unwrap(), 3, 2, 0);
        assert_eq!((found.clusters, found.squared_distances, found.agreement), (vec![0; 4], 0.0, Some(1.0)));
    }
}
