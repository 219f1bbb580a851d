//! Labels for nodes of a graph that cost little by themselves and change rarely between neighbours.
//!
//! Source: Boykov, Veksler and Zabih, "Fast Approximate Energy Minimization via Graph Cuts", PAMI 2001, the expansion move; the
//! network of a move without auxiliary nodes after Kolmogorov and Zabih, "What Energy Functions Can Be Minimized via Graph
//! Cuts?", PAMI 2004.

use super::max_flow::{Topology, sides_of_cut};

/// E(l) = Σ cost of l_i at node i + Σ weight of edge (i, j) where l_i ≠ l_j: the Potts model, in integers.
#[derive(Debug, Clone)]
pub struct PottsEnergy {
    /// Row-major `[N, K]`.
    costs: Vec<i64>,
    labels: usize,
    edges: Vec<(u32, u32)>,
    /// `[E]`, none negative.
    weights: Vec<i32>,
    topology: Topology,
}

impl PottsEnergy {
    /// The energy of `costs`, of `labels` labels at every node, and of `edges` with their `weights`.
    ///
    /// # Shapes
    /// costs `[N, labels]`, edges and weights `[E]`
    ///
    /// # Panics
    /// If an edge leads to a node that is not there, or a weight is negative or not below 2³⁰.
    pub fn new(costs: Vec<i64>, labels: usize, edges: Vec<(u32, u32)>, weights: Vec<i32>) -> PottsEnergy {
        assert!(weights.iter().all(|weight| (0..1 << 30).contains(weight)), "weights from 0 to below 2³⁰");
        let topology = Topology::new(costs.len() / labels.max(1), &edges);
        PottsEnergy { costs, labels, edges, weights, topology }
    }

    /// The energy of real costs and weights in integers that keep their ratios: the largest becomes 2²⁰. What is no number
    /// or infinite counts as the largest.
    ///
    /// # Shapes
    /// As [`PottsEnergy::new`].
    ///
    /// # Panics
    /// If an edge leads to a node that is not there.
    pub fn of_reals(costs: &[f64], labels: usize, edges: Vec<(u32, u32)>, weights: &[f64]) -> PottsEnergy {
        const LARGEST: f64 = (1 << 20) as f64;
        let finite = costs.iter().chain(weights).copied().filter(|value| value.is_finite());
        let largest = finite.fold(0.0, |largest: f64, value| largest.max(value.abs()));
        let scale = if largest > 0.0 { LARGEST / largest } else { 1.0 };
        let whole = |&value: &f64| if value.is_finite() { (value * scale).round() as i64 } else { LARGEST as i64 };
        let weights = weights.iter().map(|weight| whole(weight) as i32).collect();
        PottsEnergy::new(costs.iter().map(whole).collect(), labels, edges, weights)
    }

    /// What a labelling costs.
    ///
    /// # Shapes
    /// `[N]`
    pub fn of(&self, labelling: &[usize]) -> i64 {
        let costs: i64 = labelling.iter().enumerate().map(|(node, &label)| self.cost(node, label)).sum();
        let edges = self.edges.iter().zip(&self.weights);
        let cut = edges.filter(|((one, other), _)| labelling[*one as usize] != labelling[*other as usize]);
        costs + cut.map(|(_, &weight)| i64::from(weight)).sum::<i64>()
    }

    /// Lets one label after the other take the nodes that lower the energy most, all at once, in the labels' order and until
    /// none can; `observe` is told the energy after every label's turn.
    ///
    /// Where the neighbouring labellings are equally cheap the labelling stays. The result is within twice of the least
    /// energy (of the edges' share of it).
    ///
    /// # Shapes
    /// `[N]` → `[N]`
    pub fn expanded(&self, mut labelling: Vec<usize>, mut observe: impl FnMut(i64)) -> Vec<usize> {
        let mut energy = self.of(&labelling);
        // What flowed in a label's last turn, when the network was nearly the same.
        let mut flows = vec![vec![0; self.edges.len()]; self.labels];
        // Nothing has changed since so many turns.
        let mut quiet = 0;
        for label in (0..self.labels).cycle() {
            let at_end = quiet >= self.labels;
            if at_end && label == 0 {
                break;
            }
            // Where nothing changed since its own last turn, it would not change anything now.
            if !at_end && let Some((moved, lower)) = self.expansion(&labelling, label, energy, &mut flows[label]) {
                (labelling, energy, quiet) = (moved, lower, 0);
            } else {
                quiet += 1;
            }
            observe(energy);
        }
        labelling
    }

    /// The cheapest labelling of two labels, exactly and by one cut; the first label of equally cheap ones.
    ///
    /// # Shapes
    /// → `[N]`
    pub fn cheapest_of_two(&self) -> Vec<usize> {
        let first = vec![0; self.topology.nodes()];
        let energy = self.of(&first);
        self.expansion(&first, 1, energy, &mut vec![0; self.edges.len()]).map_or(first, |(moved, _)| moved)
    }

    /// The cheapest labelling in which nodes keep their label or take `label`, with its energy, if that is less.
    fn expansion(
        &self,
        labelling: &[usize],
        label: usize,
        energy: i64,
        flows: &mut [i32],
    ) -> Option<(Vec<usize>, i64)> {
        // What a node pays for taking the label; x_i = 1 says that it does.
        let mut terminals: Vec<i64> = labelling
            .iter()
            .enumerate()
            .map(|(node, &current)| self.cost(node, label) - self.cost(node, current))
            .collect();
        let mut capacities = vec![[0; 2]; self.edges.len()];
        for (edge, (&(one, other), &weight)) in self.edges.iter().zip(&self.weights).enumerate() {
            let (one, other) = (one as usize, other as usize);
            let price = |differ: bool| if differ { weight } else { 0 };
            // The edge's price if neither takes the label, if only the other does, and if only the one does.
            let neither = price(labelling[one] != labelling[other]);
            let only_other = price(labelling[one] != label);
            let only_one = price(label != labelling[other]);
            // neither + (only_one − neither) x_i − only_one x_j + both (1 − x_i) x_j, and half of the last the other way round,
            // for c (1 − x_i) x_j = c (1 − x_j) x_i + c x_j − c x_i: what pulls both ways alike then needs no flow.
            let both = only_other + only_one - neither;
            let back = both / 2;
            terminals[one] += i64::from(only_one - neither - back);
            terminals[other] -= i64::from(only_one - back);
            capacities[edge] = [both - back, back];
        }
        // A node on the source's side keeps its label, and so does one that could be on either.
        let source_side = sides_of_cut(flows, &self.topology, &terminals, &capacities);
        let keeps = |(&current, keeps): (&usize, bool)| if keeps { current } else { label };
        let moved: Vec<usize> = labelling.iter().zip(source_side).map(keeps).collect();
        let lower = self.of(&moved);
        (lower < energy).then_some((moved, lower))
    }

    fn cost(&self, node: usize, label: usize) -> i64 {
        self.costs[node * self.labels + label]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_is_dear_and_nothing_is_free_of_trouble() {
        // The middle of three nodes wants to differ, but not for so much.
        let costs = [0.0, f64::INFINITY, 1.0, 0.5, 0.0, f64::NAN];
        let energy = |weight: f64| PottsEnergy::of_reals(&costs, 2, vec![(0, 1), (1, 2)], &[weight; 2]);
        assert_eq!(energy(0.2).expanded(vec![0; 3], |_| ()), [0, 1, 0]);
        assert_eq!(energy(0.3).expanded(vec![0; 3], |_| ()), [0, 0, 0]);
        assert_eq!(energy(0.0).expanded(vec![1; 3], |_| ()), [0, 1, 0]);
        assert_eq!(energy(1e9).expanded(vec![1, 0, 1], |_| ()), [0, 0, 0]);
        for (weight, expected) in [(0.2, [0, 1, 0]), (0.3, [0, 0, 0]), (0.25, [0, 0, 0])] {
            assert_eq!(energy(weight).cheapest_of_two(), expected, "{weight}");
        }
        assert!(PottsEnergy::of_reals(&[], 3, Vec::new(), &[]).expanded(Vec::new(), |_| ()).is_empty());
    }
}
