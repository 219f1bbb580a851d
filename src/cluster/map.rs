//! A map of a collection: two coordinates per vector, alike vectors near each other.

use rand::Rng;

use super::neighbours::Neighbours;
use super::spread::principal_places;
use super::vectors::Vectors;
use crate::numerics::random;

/// Neighbours that a vector is drawn towards.
const NEIGHBOURS: usize = 12;
/// Random vectors that a vector is pushed from, for every neighbour it is drawn to.
const REPULSIONS: usize = 4;
/// Passes over all pairs of neighbours, for small collections.
const MOST_PASSES: usize = 200;
/// Draws and pushes spent on large collections.
const MOST_STEPS: usize = 30_000_000;
/// Trees that neighbours are found by: a map needs not every one of them.
const TREES: u64 = 2;
/// With more vectors the map shows the principal components.
const MOST_MAPPED: usize = 100_000;
/// The largest step in one direction.
const LONGEST_STEP: f32 = 4.0;

/// Coordinates in [−1, 1]² for every vector.
///
/// Starts at the two principal components and then draws neighbours together and pushes random pairs apart, with the
/// forces 2d/(1 + d²) and 2d/((0.001 + d²)(1 + d²)): those of McInnes et al., "UMAP", arXiv 1802.03426, for a = b = 1.
/// The order of steps is fixed, hence so is the map.
///
/// # Shapes
/// `[N, D]` → `[N]` pairs
pub fn map(vectors: &Vectors, seed: u64) -> Vec<[f32; 2]> {
    let count = vectors.count();
    let mut places = principal_places(vectors);
    // What rounding makes of equal vectors is no difference.
    let least = 1e-6 * vectors.largest_product().sqrt() as f32;
    if places.iter().flatten().all(|part| part.abs() <= least) {
        return vec![[0.0; 2]; count];
    }
    scale_to(&mut places, 10.0);
    if (3..=MOST_MAPPED).contains(&count) {
        let neighbours = Neighbours::find(vectors, NEIGHBOURS, TREES, seed);
        let passes = (MOST_STEPS / (count * NEIGHBOURS * (1 + REPULSIONS))).clamp(1, MOST_PASSES);
        let mut generator = random::stream(seed, "map", 0);
        for pass in 0..passes {
            let rate = 1.0 - pass as f32 / passes as f32;
            for row in 0..count {
                for &(neighbour, _) in neighbours.of(row) {
                    let neighbour = neighbour as usize;
                    let (step, _) = towards(places[row], places[neighbour], |d| -2.0 / (1.0 + d), rate);
                    for axis in 0..2 {
                        places[row][axis] += step[axis];
                        places[neighbour][axis] -= step[axis];
                    }
                    for _ in 0..REPULSIONS {
                        let other = generator.random_range(0..count as u64) as usize;
                        let push = |d: f32| 2.0 / ((0.001 + d) * (1.0 + d));
                        let (step, apart) = towards(places[row], places[other], push, rate);
                        if apart {
                            (0..2).for_each(|axis| places[row][axis] += step[axis]);
                        }
                    }
                }
            }
        }
    }
    scale_to(&mut places, 1.0);
    places
}

/// The step along the difference of two places, with a force given by their squared distance, and whether they differ.
fn towards(place: [f32; 2], other: [f32; 2], force: impl Fn(f32) -> f32, rate: f32) -> ([f32; 2], bool) {
    let difference = [place[0] - other[0], place[1] - other[1]];
    let squared = difference[0] * difference[0] + difference[1] * difference[1];
    let force = force(squared);
    let step = difference.map(|part| rate * (force * part).clamp(-LONGEST_STEP, LONGEST_STEP));
    (step, squared > 0.0)
}

/// Centres places and brings the farthest coordinate to `reach`.
fn scale_to(places: &mut [[f32; 2]], reach: f32) {
    for axis in 0..2 {
        let lowest = places.iter().map(|place| place[axis]).fold(f32::INFINITY, f32::min);
        let highest = places.iter().map(|place| place[axis]).fold(f32::NEG_INFINITY, f32::max);
        places.iter_mut().for_each(|place| place[axis] -= 0.5 * (lowest + highest));
    }
    let farthest = places.iter().flatten().map(|part| part.abs()).fold(0.0f32, f32::max);
    if farthest > 0.0 {
        places.iter_mut().flatten().for_each(|part| *part *= reach / farthest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_lie_apart_and_the_map_repeats() {
        let centres = random::uniform(&mut random::stream(4, "centres", 0), 1.0, 3 * 16);
        let noise = random::uniform(&mut random::stream(4, "noise", 0), 0.3, 90 * 16);
        let values = noise.iter().enumerate().map(|(i, n)| centres[i / 16 % 3 * 16 + i % 16] + n).collect();
        let vectors = Vectors::new(values, 16).unwrap();
        let places = map(&vectors, 0);
        assert_eq!(places, map(&vectors, 0));
        assert!(places.iter().flatten().all(|part| (-1.0..=1.0).contains(part)));
        let distance = |i: usize, j: usize| (places[i][0] - places[j][0]).hypot(places[i][1] - places[j][1]);
        // The nearest on the map is of the same group for every vector.
        for i in 0..90 {
            let nearest = (0..90).filter(|&j| j != i).min_by(|&a, &b| distance(i, a).total_cmp(&distance(i, b)));
            assert_eq!(nearest.map(|j| j % 3), Some(i % 3));
        }
    }

    #[test]
    fn few_and_equal_vectors_have_finite_places() {
        for count in [1, 2, 5] {
            let places = map(&Vectors::new(vec![2.0; 3 * count], 3).unwrap(), 0);
            assert_eq!(places, vec![[0.0; 2]; count]);
        }
    }
}
