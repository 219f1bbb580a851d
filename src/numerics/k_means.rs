//! k-means for a known number of clusters.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::{argmax, random};
use crate::tensor;

/// Lloyd's iterations after which a start ends, should it not have converged.
const MOST_ITERATIONS: usize = 200;

/// N vectors of D channels, row-major `[N, D]`.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    values: &'a [f32],
    width: usize,
}

/// The start that was kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The clusters of every start, each `[N]`.
    pub starts: Vec<Vec<u32>>,
    /// Which of them was kept.
    pub kept: usize,
    /// Its centres, row-major `[K, D]`.
    pub centres: Vec<f64>,
    /// Σ_i ‖f_i − centre of its cluster‖².
    pub squared_distances: f64,
}

/// Lloyd's algorithm from several k-means++ starts; the one with the smallest sum of squared distances wins.
///
/// Source: Arthur and Vassilvitskii, "k-means++: the advantages of careful seeding", SODA 2007. A cluster that runs empty
/// starts again at the vector farthest from its centre; with fewer different vectors than clusters some stay empty.
///
/// # Shapes
/// rows `[N, D]`, all finite, N > 0
pub fn k_means(rows: Rows, clusters: usize, restarts: usize, seed: u64) -> Found {
    let mut starts = Vec::new();
    let mut best: Option<(usize, Vec<f64>, f64)> = None;
    for restart in 0..restarts {
        let (assigned, centres, distances) = run(rows, clusters, &mut random::stream(seed, "k-means", restart as u64));
        starts.push(assigned);
        if best.as_ref().is_none_or(|(.., least)| distances < *least) {
            best = Some((restart, centres, distances));
        }
    }
    let (kept, centres, squared_distances) = best.unwrap_or_default();
    Found { starts, kept, centres, squared_distances }
}

impl<'a> Rows<'a> {
    /// # Panics
    /// If the last row is not whole.
    pub fn new(values: &'a [f32], width: usize) -> Rows<'a> {
        assert!(values.len().is_multiple_of(width), "rows of {width} values must be whole");
        Rows { values, width }
    }

    fn count(self) -> usize {
        self.values.len() / self.width
    }

    fn row(self, row: usize) -> &'a [f32] {
        &self.values[row * self.width..][..self.width]
    }

    /// The values of `count` rows from `first` on.
    fn block(self, first: usize, count: usize) -> &'a [f32] {
        &self.values[first * self.width..(first + count) * self.width]
    }
}

fn run(vectors: Rows, clusters: usize, generator: &mut ChaCha8Rng) -> (Vec<u32>, Vec<f64>, f64) {
    let width = vectors.width;
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
    (nearest.into_iter().map(|(cluster, _)| cluster).collect(), centres, squared_distances)
}

/// k-means++: every next centre is a vector drawn with probability proportional to its squared distance from the nearest
/// centre so far.
fn seeds(vectors: Rows, clusters: usize, generator: &mut ChaCha8Rng) -> Vec<f64> {
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

fn distances_to(vectors: Rows, centre: &[f64]) -> Vec<f64> {
    assign(vectors, centre).into_iter().map(|(_, distance)| distance).collect()
}

/// The nearest centre of every vector, the first of equals, and the squared distance from it.
fn assign(vectors: Rows, centres: &[f64]) -> Vec<(u32, f64)> {
    const BLOCK: usize = 1024;
    let width = vectors.width;
    let single: Vec<f32> = centres.iter().map(|&value| value as f32).collect();
    let squared: Vec<f64> = centres.chunks_exact(width).map(|centre| centre.iter().map(|v| v * v).sum()).collect();
    let of_block = |first: usize| -> Vec<(u32, f64)> {
        let count = BLOCK.min(vectors.count() - first);
        let device = tensor::cpu();
        let rows = tensor::from_slice(vectors.block(first, count), [count, width], &device);
        let centres_as_rows = tensor::from_slice(&single, [squared.len(), width], &device);
        let products = tensor::into_vec(rows.matmul(centres_as_rows.transpose()));
        let nearest = |(row, products): (usize, &[f32])| {
            let scores = products.iter().zip(&squared).map(|(&product, squared)| 2.0 * f64::from(product) - squared);
            let best = argmax(&scores.collect::<Vec<f64>>());
            let centre = &centres[best * width..][..width];
            let difference = vectors.row(row).iter().zip(centre).map(|(a, b)| (f64::from(*a) - b).powi(2));
            (best as u32, difference.sum())
        };
        (first..).zip(products.chunks_exact(squared.len())).map(nearest).collect()
    };
    let firsts: Vec<usize> = (0..vectors.count()).step_by(BLOCK).collect();
    firsts.into_par_iter().flat_map_iter(of_block).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_pairs_are_found() {
        let found = k_means(Rows::new(&[0.0, 10.0, 0.5, 10.5, 20.0, 20.5], 1), 3, 3, 0);
        let clusters = &found.starts[found.kept];
        assert!(clusters[0] == clusters[2] && clusters[1] == clusters[3] && clusters[4] == clusters[5]);
        assert!((found.squared_distances - 6.0 * 0.0625).abs() < 1e-6, "{}", found.squared_distances);
        let mut centres = found.centres;
        centres.sort_by(f64::total_cmp);
        assert_eq!(centres, [0.25, 10.25, 20.25]);
    }

    #[test]
    fn more_clusters_than_different_vectors_end() {
        let found = k_means(Rows::new(&[1.0; 8], 2), 3, 2, 0);
        assert_eq!((&found.starts[..], found.squared_distances), (&[vec![0; 4], vec![0; 4]][..], 0.0));
    }
}
