//! Which nodes of an image are near each other, and how much it costs to part them: the edges that graph cuts see.
//!
//! Source: w_pq = exp(−a_pq² / (2σ)) / dist(p, q), "GraPL: Graph-based Patch Learning" (arXiv 2311.01475), where a is a distance
//! of features, σ the standard deviation of a over all pairs, and dist the Euclidean distance in cells. As in its official code
//! edges of less than 0.2 are left out, unless that leaves none.
//!
//! Differs from the official code, which then takes all pairs, however many: of more nodes than it has, those that are near.

/// Lighter edges are left out.
const LEAST_WEIGHT: f64 = 0.2;
/// No edge is longer, in cells: its weight would be less than the least.
const FARTHEST: f64 = 1.0 / LEAST_WEIGHT;
/// So many nodes tell how much distances vary: the official code's patches.
const MOST_SAMPLED: usize = 1024;

/// Edges between near nodes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Proximity {
    /// Each pair once, the lower number first, in order, `[E]`.
    pub edges: Vec<(u32, u32)>,
    /// None negative, `[E]`.
    pub weights: Vec<f64>,
}

/// The standard deviation of a distance over all pairs of different nodes; where there are many nodes, of regularly chosen
/// ones. 0 where there is no pair.
pub fn deviation(nodes: usize, distance: impl Fn(usize, usize) -> f64) -> f64 {
    let chosen: Vec<usize> = (0..nodes).step_by(nodes.div_ceil(MOST_SAMPLED).max(1)).collect();
    let pairs = || chosen.iter().enumerate().flat_map(|(at, &one)| chosen[..at].iter().map(move |&other| (other, one)));
    let count = pairs().count().max(1) as f64;
    let (mut sum, mut squares) = (0.0, 0.0);
    for (one, other) in pairs() {
        let value = distance(one, other);
        sum += value;
        squares += value * value;
    }
    let mean = sum / count;
    (squares / count - mean * mean).max(0.0).sqrt()
}

impl Proximity {
    /// The edges between nodes at `places`, where `distance` is that of the features of two nodes and `deviation` how much
    /// it varies.
    ///
    /// # Shapes
    /// places `[N]`, each (x, y) in cells
    pub fn new(places: &[[f64; 2]], deviation: f64, distance: impl Fn(usize, usize) -> f64) -> Proximity {
        // Where all distances are one, they tell nothing apart.
        let weight = |one: usize, other: usize, apart: f64| {
            let value = distance(one, other);
            let exponent = if deviation > 0.0 { value * value / (2.0 * deviation) } else { 0.0 };
            (-exponent).exp() / apart
        };
        let apart = |one: usize, other: usize| {
            let [dx, dy] = [0, 1].map(|axis| places[one][axis] - places[other][axis]);
            let apart = dx.hypot(dy);
            // Nodes with one middle are as near as neighbours.
            if apart > 0.0 { apart } else { 1.0 }
        };
        let pairs = || (0..places.len()).flat_map(|one| (one + 1..places.len()).map(move |other| (one, other)));
        let collect = |farthest: f64, least: f64| {
            let mut found = Proximity::default();
            for (one, other) in pairs() {
                let apart = apart(one, other);
                if apart > farthest {
                    continue;
                }
                let weight = weight(one, other, apart);
                if weight >= least {
                    found.edges.push((one as u32, other as u32));
                    found.weights.push(weight);
                }
            }
            found
        };
        const NEAR: f64 = FARTHEST * (1.0 + 1e-9);
        let found = collect(NEAR, LEAST_WEIGHT);
        if !found.edges.is_empty() {
            return found;
        }
        collect(if places.len() > MOST_SAMPLED { NEAR } else { f64::INFINITY }, 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(count: usize) -> Vec<[f64; 2]> {
        (0..count).map(|node| [(node % 4) as f64, (node / 4) as f64]).collect()
    }

    #[test]
    fn what_looks_alike_and_is_near_is_joined() {
        let colour = |node: usize| if node % 4 < 2 { 0.0 } else { 10.0 };
        let distance = |one: usize, other: usize| f64::abs(colour(one) - colour(other));
        let deviation = deviation(16, distance);
        // Of 120 pairs 64 are of two colours: 10 √(p (1 − p)).
        let share = 64.0 / 120.0;
        assert!((deviation - 10.0 * f64::sqrt(share * (1.0 - share))).abs() < 1e-12);
        let found = Proximity::new(&places(16), deviation, distance);
        assert!(found.edges.iter().all(|&(one, other)| one < other && colour(one as usize) == colour(other as usize)));
        assert!(found.edges.is_sorted() && found.weights.iter().all(|&weight| (0.2..=1.0).contains(&weight)));
        let of = |pair| found.edges.iter().position(|&edge| edge == pair).map(|at| found.weights[at]);
        assert_eq!((of((0, 1)), of((0, 4)), of((0, 8)), of((1, 2))), (Some(1.0), Some(1.0), Some(0.5), None));
    }

    #[test]
    fn any_image_has_edges_if_it_has_two_nodes() {
        for (nodes, edges) in [(0, 0), (1, 0), (2, 1)] {
            // One colour.
            let found = Proximity::new(&places(nodes), deviation(nodes, |_, _| 0.0), |_, _| 0.0);
            assert_eq!((found.edges.len(), found.weights.iter().all(|&weight| weight == 1.0)), (edges, true));
            // So far apart that none is kept by its weight.
            let found = Proximity::new(&places(nodes), 1.0, |_, _| 100.0);
            assert_eq!((found.edges.len(), found.weights.iter().all(|&weight| weight == 0.0)), (edges, true));
        }
        // Nothing is alike: of few nodes all pairs, of many those that are near, as light as they are.
        let strange = |nodes: usize| Proximity::new(&places(nodes), 1.0, |_, _| 3.0);
        assert_eq!(strange(1024).edges.len(), 1024 * 1023 / 2);
        let many = strange(2000);
        assert!((2000..2000 * 20).contains(&many.edges.len()) && many.weights.iter().all(|&weight| weight > 0.0));
        let same = Proximity::new(&[[0.0; 2]; 3], 1.0, |_, _| 0.0);
        assert_eq!(same.weights, [1.0; 3]);
    }
}
