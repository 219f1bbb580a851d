//! The graph of an image's patches, and its cut.

use super::config::PatchAffinity;
use super::patches::PatchImage;
use crate::graph::{Proximity, deviation};
use crate::numerics::expansion::PottsEnergy;
use crate::numerics::principal::principal_directions;

/// What an impossible label costs, in nats: single precision knows no smaller probability but 0.
pub const HIGHEST_COST: f64 = 87.0;
/// Above this λ the official code's integers keep too little of weights, or nothing.
const MOST_OFFICIAL_LAMBDA: f64 = 100.0;
/// What is not parted at this price never is; weights that are 1 at most then stay below 2³⁰.
const MOST_LAMBDA: f64 = 1e6;
/// Integers per nat above the official λ.
const PER_NAT: f64 = 1024.0;
/// Components of the colours' kernel.
const COMPONENTS: usize = 3;
/// What the official code multiplies them by.
const COLOUR_SCALE: f64 = 32.0;
/// Products of three colours and their constant, up to the third power.
const MONOMIALS: usize = 20;

/// Patches with the edges between them.
#[derive(Debug, Clone)]
pub struct PatchGraph {
    edges: Proximity,
    /// What a unit of weight costs, in nats.
    lambda: f64,
}

impl PatchGraph {
    /// The graph of an image's patches by what belongs together; see [`Proximity`] for the weights.
    pub fn new(image: &PatchImage, affinity: PatchAffinity, lambda: f64) -> PatchGraph {
        let patches = image.patches();
        let places: Vec<[f64; 2]> =
            (0..patches * patches).map(|patch| [(patch % patches) as f64, (patch / patches) as f64]).collect();
        let by = |features: &[[f64; COMPONENTS]]| {
            let apart = |one: usize, other: usize| distance(&features[one], &features[other]);
            Proximity::new(&places, deviation(features.len(), apart), apart)
        };
        let (edges, lambda) = match affinity {
            PatchAffinity::Colour => (by(&colour_components(&image.mean_colours())), lambda),
            PatchAffinity::MeanColour => (by(&image.mean_colours()), lambda),
            PatchAffinity::Position => (Proximity::new(&places, 0.0, |_, _| 0.0), lambda / patches as f64),
            PatchAffinity::Uniform => (neighbours(patches), lambda),
        };
        PatchGraph { edges, lambda }
    }

    /// The labels that cost least by themselves and by what they part, found by α-expansion from all zeros.
    ///
    /// Costs become integers as in the official code, which makes weights coarse; where its λ of 64 is far exceeded these would
    /// vanish, and finer integers are taken. Differs from the official code: α-expansion instead of αβ-swap, and a bound for what is
    /// infinite there.
    ///
    /// # Shapes
    /// costs in nats, row-major `[patches², labels]` → `[patches²]`
    pub fn cut(&self, costs: &[f64], labels: usize) -> Vec<usize> {
        let costs: Vec<f64> = costs.iter().map(|cost| cost.clamp(0.0, HIGHEST_COST)).collect();
        let nodes = costs.len() / labels;
        let Proximity { edges, weights } = &self.edges;
        let largest = |values: &[f64]| values.iter().copied().fold(0.0, f64::max);
        let unit = largest(&costs).max(self.lambda * largest(weights));
        let (costs, weights) = if self.lambda > MOST_OFFICIAL_LAMBDA || unit == 0.0 {
            let price = PER_NAT * self.lambda.min(MOST_LAMBDA);
            let weights = weights.iter().map(|weight| (weight * price) as i32).collect();
            (costs.iter().map(|cost| (cost * PER_NAT) as i64).collect(), weights)
        } else {
            let price = (self.lambda * 100.0) as i32;
            let weights = weights.iter().map(|weight| (weight * 1000.0 / unit) as i32 * price).collect();
            (costs.iter().map(|cost| (cost * 1e5 / unit) as i64).collect(), weights)
        };
        let energy = PottsEnergy::new(costs, labels, edges.clone(), weights);
        energy.expanded(vec![0; nodes], |_| ())
    }
}

/// Three principal components of colours in the space of the kernel (x · y / 3 + 1)³, times 32.
///
/// The kernel is the inner product of 20 monomials, so that these are centred and turned as they are, up to signs.
///
/// # Shapes
/// `[N]` → `[N]`
pub fn colour_components(colours: &[[f64; 3]]) -> Vec<[f64; COMPONENTS]> {
    let rows: Vec<[f64; MONOMIALS]> = colours.iter().map(monomials).collect();
    let directions = principal_directions(rows.as_flattened(), MONOMIALS, COMPONENTS);
    let mean: [f64; MONOMIALS] =
        std::array::from_fn(|term| rows.iter().map(|row| row[term]).sum::<f64>() / rows.len() as f64);
    let component = |row: &[f64; MONOMIALS], direction: &[f32]| -> f64 {
        let terms = row.iter().zip(&mean).zip(direction);
        COLOUR_SCALE * terms.map(|((value, mean), &along)| (value - mean) * f64::from(along)).sum::<f64>()
    };
    let components = |row| {
        let mut found = [0.0; COMPONENTS];
        for (component_, direction) in found.iter_mut().zip(directions.chunks_exact(MONOMIALS)) {
            *component_ = component(row, direction);
        }
        found
    };
    rows.iter().map(components).collect()
}

/// √(3! / (a! b! c! d!)) · (x₁/√3)ᵃ (x₂/√3)ᵇ (x₃/√3)ᶜ for all powers with a + b + c + d = 3.
fn monomials(colour: &[f64; 3]) -> [f64; MONOMIALS] {
    const FACTORIALS: [f64; 4] = [1.0, 1.0, 2.0, 6.0];
    let [x, y, z] = colour.map(|value| value / 3f64.sqrt());
    let mut terms = [0.0; MONOMIALS];
    let powers = (0..4).flat_map(|a| (0..4 - a).flat_map(move |b| (0..4 - a - b).map(move |c| [a, b, c])));
    for (term, [a, b, c]) in terms.iter_mut().zip(powers) {
        let ways = [a, b, c, 3 - a - b - c].map(|power| FACTORIALS[power]).iter().product::<f64>();
        *term = (FACTORIALS[3] / ways).sqrt() * x.powi(a as i32) * y.powi(b as i32) * z.powi(c as i32);
    }
    terms
}

fn distance(one: &[f64; COMPONENTS], other: &[f64; COMPONENTS]) -> f64 {
    one.iter().zip(other).map(|(one, other)| (one - other).powi(2)).sum::<f64>().sqrt()
}

/// Edges of weight 1 between the patches of a grid that share a side.
fn neighbours(patches: usize) -> Proximity {
    let mut edges = Vec::new();
    for patch in 0..patches * patches {
        let beside = (patch % patches + 1 < patches).then_some(patch + 1);
        let below = (patch / patches + 1 < patches).then_some(patch + patches);
        edges.extend(beside.into_iter().chain(below).map(|other| (patch as u32, other as u32)));
    }
    Proximity { weights: vec![1.0; edges.len()], edges }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raster::Raster;

    /// A picture of 4 × 4 patches, dark on the left and bright on the right.
    fn halves() -> PatchImage {
        let values = (0..400).map(|pixel| if pixel % 20 < 10 { [20, 30, 40] } else { [220, 200, 90] }).collect();
        PatchImage::new(&Raster::from_values(20, 20, values), 4)
    }

    /// What every patch pays for being one of two things: the left and the right are what they look like, but for one patch
    /// of the left that takes itself for the right.
    fn costs() -> Vec<f64> {
        (0..16).flat_map(|patch| if patch % 4 < 2 && patch != 5 { [0.1, 2.0] } else { [2.0, 0.1] }).collect()
    }

    #[test]
    fn monomials_are_the_kernel() {
        let colours = [[0.3, -0.8, 0.5], [-1.0, 0.2, 0.9]];
        for one in &colours {
            for other in &colours {
                let product: f64 = monomials(one).iter().zip(monomials(other)).map(|(one, other)| one * other).sum();
                let inner: f64 = one.iter().zip(other).map(|(one, other)| one * other).sum();
                assert!((product - (inner / 3.0 + 1.0).powi(3)).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn affinities_differ_in_what_they_join() {
        let cut = |affinity, lambda| PatchGraph::new(&halves(), affinity, lambda).cut(&costs(), 2);
        let apart: Vec<usize> = (0..16).map(|patch| usize::from(patch % 4 > 1)).collect();
        for affinity in
            [PatchAffinity::Colour, PatchAffinity::MeanColour, PatchAffinity::Position, PatchAffinity::Uniform]
        {
            let mut as_they_say = apart.clone();
            as_they_say[5] = 1;
            assert_eq!(cut(affinity, 0.0), as_they_say, "{affinity:?}: what costs nothing joins nothing");
            let all = [64.0, 1e9, 1e12].map(|lambda| cut(affinity, lambda));
            let is_one = all.clone().map(|labels| labels.iter().all(|&label| label == labels[0]));
            if matches!(affinity, PatchAffinity::Uniform | PatchAffinity::Position) {
                assert_eq!(is_one, [true; 3], "{affinity:?}");
            } else {
                // Nothing joins what has nothing in common, however dear it is to part.
                assert_eq!(all, [apart.clone(), apart.clone(), apart.clone()], "{affinity:?}");
            }
        }
        assert_eq!(cut(PatchAffinity::Uniform, 1.2), apart);
        let weight = |affinity| PatchGraph::new(&halves(), affinity, 8.0);
        assert_eq!(weight(PatchAffinity::Position).lambda, 2.0);
        let [uniform, position] =
            [PatchAffinity::Uniform, PatchAffinity::Position].map(|of| weight(of).edges.edges.len());
        assert_eq!((uniform, position), (24, 120));
    }

    #[test]
    fn what_cannot_be_or_is_all_the_same_is_cut() {
        let flat = PatchImage::new(&Raster::filled(20, 20, [9; 3]), 4);
        let graph = PatchGraph::new(&flat, PatchAffinity::Colour, 64.0);
        assert_eq!(graph.edges.edges.len(), 120, "what is all the same is near or far");
        assert_eq!(graph.cut(&[0.0; 16], 1), [0; 16]);
        assert_eq!(graph.cut(&[0.0; 48], 3), [0; 16]);
        let impossible: Vec<f64> = (0..16).flat_map(|_| [f64::INFINITY, 0.0, 1.0]).collect();
        assert_eq!(graph.cut(&impossible, 3), [1; 16]);
        // So different that no weight is enough: all edges stay, as light as they are.
        let values =
            (0..400).map(|pixel| [(pixel / 100 * 80) as u8, (pixel % 20 / 5 * 80) as u8, (pixel % 20 / 5 * 40) as u8]);
        let strange = PatchImage::new(&Raster::from_values(20, 20, values.collect()), 4);
        let graph = PatchGraph::new(&strange, PatchAffinity::Colour, 64.0);
        assert_eq!(graph.edges.edges.len(), 120);
        assert!(graph.edges.weights.iter().all(|&weight| weight < 0.2));
        assert_eq!(graph.cut(&impossible, 3), [1; 16]);
        // More labels than patches.
        let many: Vec<f64> = (0..16 * 40).map(|place| if place % 40 == place / 40 + 20 { 0.0 } else { 1.0 }).collect();
        let free = PatchGraph::new(&halves(), PatchAffinity::Colour, 0.0).cut(&many, 40);
        assert_eq!(free, (20..36).collect::<Vec<_>>());
    }
}
