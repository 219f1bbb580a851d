//! The largest flow through a network, and with it the cheapest cut, by two search trees that grow towards each other.
//!
//! Source: Boykov and Kolmogorov, "An Experimental Comparison of Min-Cut/Max-Flow Algorithms for Energy Minimization in
//! Vision", PAMI 2004, section 3. Capacities are integers, so that cuts are exact and the same everywhere.

use std::collections::VecDeque;

/// Which pairs of nodes are joined; it stays while capacities change.
#[derive(Debug, Clone)]
pub struct Topology {
    /// Where the arcs of every node begin in `arcs`, and where the last one's end, `[N + 1]`.
    first: Vec<u32>,
    /// The arcs that leave a node, node after node.
    arcs: Vec<u32>,
    /// Where every arc leads: arcs 2e and 2e + 1 are edge e in both directions.
    heads: Vec<u32>,
}

/// A cut: the flow through it, and on which side every node lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// The sum of the capacities that are cut.
    pub flow: i64,
    /// Whether a node is on the source's side, `[N]`; those that could be on either are.
    pub source_side: Vec<bool>,
}

impl Topology {
    /// Joins the pairs of `edges` among `nodes` nodes.
    ///
    /// # Panics
    /// If an edge leads to a node that is not there.
    pub fn new(nodes: usize, edges: &[(u32, u32)]) -> Topology {
        let heads: Vec<u32> = edges.iter().flat_map(|&(from, to)| [to, from]).collect();
        let mut first = vec![0u32; nodes + 1];
        // The tail of an arc is the head of its opposite.
        let tail = |arc: usize| heads[arc ^ 1] as usize;
        (0..heads.len()).for_each(|arc| first[tail(arc) + 1] += 1);
        (0..nodes).for_each(|node| first[node + 1] += first[node]);
        let (mut next, mut arcs) = (first.clone(), vec![0; heads.len()]);
        for arc in 0..heads.len() {
            let place = &mut next[tail(arc)];
            arcs[*place as usize] = arc as u32;
            *place += 1;
        }
        Topology { first, arcs, heads }
    }

    /// Number of nodes, N.
    pub fn nodes(&self) -> usize {
        self.first.len() - 1
    }

    fn of(&self, node: u32) -> impl Iterator<Item = u32> + use<'_> {
        let [start, end] = [0, 1].map(|next| self.first[node as usize + next] as usize);
        self.arcs[start..end].iter().copied()
    }
}

/// The cheapest cut between source and sink.
///
/// # Shapes
/// `terminals` `[N]`: what flows from the source to a node, or, negative, from the node to the sink;
/// `capacities` `[2E]`: of every edge from its first node to its second, and back, none negative
pub fn minimum_cut(topology: &Topology, terminals: Vec<i64>, capacities: Vec<i64>) -> Cut {
    let mut search = Search::new(topology, terminals, capacities);
    let flow = search.maximise();
    Cut { flow, source_side: search.trees.into_iter().map(|tree| tree != Tree::Sink).collect() }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tree {
    None,
    Source,
    Sink,
}

/// How a node is joined to its tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Parent {
    None,
    Terminal,
    /// It was cut off and looks for another.
    Orphan,
    /// The arc that leads to it.
    Arc(u32),
}

struct Search<'a> {
    topology: &'a Topology,
    /// What of the terminal's capacity is left, `[N]`.
    terminals: Vec<i64>,
    /// What every arc can still take, `[2E]`.
    residual: Vec<i64>,
    trees: Vec<Tree>,
    parents: Vec<Parent>,
    /// Steps to the terminal when they were last counted, and in which round that was.
    distances: Vec<u32>,
    counted: Vec<u64>,
    round: u64,
    active: VecDeque<u32>,
    is_active: Vec<bool>,
    orphans: VecDeque<u32>,
}

impl<'a> Search<'a> {
    fn new(topology: &'a Topology, terminals: Vec<i64>, capacities: Vec<i64>) -> Search<'a> {
        let nodes = topology.nodes();
        let tree = |&terminal: &i64| match terminal {
            1.. => Tree::Source,
            0 => Tree::None,
            ..0 => Tree::Sink,
        };
        let trees: Vec<Tree> = terminals.iter().map(tree).collect();
        let parent = |&tree: &Tree| if tree == Tree::None { Parent::None } else { Parent::Terminal };
        Search {
            topology,
            parents: trees.iter().map(parent).collect(),
            active: (0u32..).zip(&trees).filter(|(_, tree)| **tree != Tree::None).map(|(node, _)| node).collect(),
            is_active: trees.iter().map(|&tree| tree != Tree::None).collect(),
            distances: vec![1; nodes],
            counted: vec![0; nodes],
            round: 0,
            orphans: VecDeque::new(),
            terminals,
            residual: capacities,
            trees,
        }
    }

    /// Sends as much as possible.
    fn maximise(&mut self) -> i64 {
        let mut flow = 0;
        while let Some(&node) = self.active.front() {
            let path = if self.trees[node as usize] == Tree::None { None } else { self.grow(node) };
            let Some(middle) = path else {
                self.active.pop_front();
                self.is_active[node as usize] = false;
                continue;
            };
            // The node stays in front: more ways may lead from it.
            self.round += 1;
            flow += self.augment(middle);
            while let Some(orphan) = self.orphans.pop_front() {
                self.adopt(orphan);
            }
        }
        flow
    }

    fn head(&self, arc: u32) -> u32 {
        self.topology.heads[arc as usize]
    }

    /// What can still flow along an arc that leaves a node of `tree`, seen from the tree's terminal: with the arc in the
    /// source's tree, against it in the sink's.
    fn room(&self, tree: Tree, arc: u32) -> i64 {
        let arc = if tree == Tree::Sink { arc ^ 1 } else { arc };
        self.residual[arc as usize]
    }

    fn activate(&mut self, node: u32) {
        if !self.is_active[node as usize] {
            self.is_active[node as usize] = true;
            self.active.push_back(node);
        }
    }

    /// Takes the free neighbours of a node into its tree, until one of the other tree is met: then gives the arc from the
    /// source's tree to the sink's.
    fn grow(&mut self, node: u32) -> Option<u32> {
        let topology = self.topology;
        let tree = self.trees[node as usize];
        for arc in topology.of(node) {
            if self.room(tree, arc) == 0 {
                continue;
            }
            let next = self.head(arc) as usize;
            let (distance, counted) = (self.distances[node as usize], self.counted[node as usize]);
            if self.trees[next] == Tree::None {
                self.trees[next] = tree;
                self.parents[next] = Parent::Arc(arc ^ 1);
                (self.distances[next], self.counted[next]) = (distance + 1, counted);
                self.activate(next as u32);
            } else if self.trees[next] != tree {
                return Some(if tree == Tree::Source { arc } else { arc ^ 1 });
            } else if self.counted[next] <= counted && self.distances[next] > distance + 1 {
                // A shorter way to the terminal, as far as both were counted.
                if matches!(self.parents[next], Parent::Arc(_)) {
                    self.parents[next] = Parent::Arc(arc ^ 1);
                    (self.distances[next], self.counted[next]) = (distance + 1, counted);
                }
            }
        }
        None
    }

    /// Sends what fits along the way through the arc `middle`; nodes that it cuts off become orphans.
    fn augment(&mut self, middle: u32) -> i64 {
        let ends = [(Tree::Source, self.head(middle ^ 1)), (Tree::Sink, self.head(middle))];
        let mut least = self.residual[middle as usize];
        for (tree, mut node) in ends {
            while let Parent::Arc(arc) = self.parents[node as usize] {
                // Towards the node from its parent.
                least = least.min(self.room(tree, arc ^ 1));
                node = self.head(arc);
            }
            least = least.min(self.terminals[node as usize].abs());
        }
        self.residual[middle as usize] -= least;
        self.residual[(middle ^ 1) as usize] += least;
        for (tree, mut node) in ends {
            while let Parent::Arc(arc) = self.parents[node as usize] {
                let (with, against) = if tree == Tree::Source { (arc ^ 1, arc) } else { (arc, arc ^ 1) };
                self.residual[with as usize] -= least;
                self.residual[against as usize] += least;
                let parent = self.head(arc);
                if self.residual[with as usize] == 0 {
                    self.cut_off(node);
                }
                node = parent;
            }
            let terminal = &mut self.terminals[node as usize];
            *terminal -= least * terminal.signum();
            if *terminal == 0 {
                self.cut_off(node);
            }
        }
        least
    }

    fn cut_off(&mut self, node: u32) {
        self.parents[node as usize] = Parent::Orphan;
        self.orphans.push_front(node);
    }

    /// Finds another parent for an orphan in its tree, the one nearest to the terminal, or sets the orphan free.
    fn adopt(&mut self, orphan: u32) {
        let topology = self.topology;
        let tree = self.trees[orphan as usize];
        let mut nearest: Option<(u32, u32)> = None;
        for arc in topology.of(orphan) {
            let candidate = self.head(arc);
            if self.room(tree, arc ^ 1) == 0 || self.trees[candidate as usize] != tree {
                continue;
            }
            let Some(distance) = self.distance(candidate) else { continue };
            if nearest.is_none_or(|(_, least)| distance < least) {
                nearest = Some((arc, distance));
            }
        }
        if let Some((arc, distance)) = nearest {
            self.parents[orphan as usize] = Parent::Arc(arc);
            (self.distances[orphan as usize], self.counted[orphan as usize]) = (distance + 1, self.round);
            return;
        }
        for arc in topology.of(orphan) {
            let neighbour = self.head(arc);
            if self.trees[neighbour as usize] != tree {
                continue;
            }
            if self.room(tree, arc ^ 1) > 0 {
                self.activate(neighbour);
            }
            if let Parent::Arc(of_neighbour) = self.parents[neighbour as usize]
                && self.head(of_neighbour) == orphan
            {
                self.parents[neighbour as usize] = Parent::Orphan;
                self.orphans.push_back(neighbour);
            }
        }
        self.trees[orphan as usize] = Tree::None;
        self.parents[orphan as usize] = Parent::None;
    }

    /// Steps from a node to the terminal of its tree; none if an orphan lies on the way. What was counted on the way is
    /// remembered for the round.
    fn distance(&mut self, node: u32) -> Option<u32> {
        let (mut steps, mut at) = (0, node);
        let total = loop {
            if self.counted[at as usize] == self.round && self.parents[at as usize] != Parent::Orphan {
                break steps + self.distances[at as usize];
            }
            match self.parents[at as usize] {
                Parent::None | Parent::Orphan => return None,
                Parent::Terminal => break steps + 1,
                Parent::Arc(arc) => {
                    steps += 1;
                    at = self.head(arc);
                }
            }
        };
        let (mut left, mut at) = (total, node);
        while self.counted[at as usize] != self.round {
            (self.distances[at as usize], self.counted[at as usize]) = (left, self.round);
            let Parent::Arc(arc) = self.parents[at as usize] else { break };
            left -= 1;
            at = self.head(arc);
        }
        Some(total)
    }
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;
    use crate::numerics::random;

    #[test]
    fn no_cut_is_cheaper() {
        let mut generator = random::stream(7, "cuts", 0);
        for _ in 0..2000 {
            let nodes = generator.random_range(1..10usize);
            let edges: Vec<(u32, u32)> = (0..nodes as u32)
                .flat_map(|one| (one + 1..nodes as u32).map(move |other| (one, other)))
                .filter(|_| generator.random_bool(0.5))
                .collect();
            let terminals: Vec<i64> = (0..nodes).map(|_| generator.random_range(-9..10)).collect();
            let capacities: Vec<i64> =
                edges.iter().flat_map(|_| [(); 2]).map(|()| generator.random_range(0..8)).collect();
            let cut = minimum_cut(&Topology::new(nodes, &edges), terminals.clone(), capacities.clone());
            let cost = |sides: u32| cost(sides, &terminals, &edges, &capacities);
            let least = (0..1u32 << nodes).map(cost).min().unwrap();
            let found = (0..nodes).map(|node| u32::from(cut.source_side[node]) << node).sum();
            assert_eq!((cut.flow, cost(found)), (least, least), "{edges:?} {terminals:?} {capacities:?}");
        }
    }

    /// What a cut costs whose source side has the nodes of the bits that are set.
    fn cost(sides: u32, terminals: &[i64], edges: &[(u32, u32)], capacities: &[i64]) -> i64 {
        let in_source = |node: u32| sides >> node & 1 == 1;
        let of_terminals: i64 = (0u32..)
            .zip(terminals)
            .filter(|&(node, &terminal)| in_source(node) == (terminal < 0))
            .map(|(_, terminal)| terminal.abs())
            .sum();
        let of_edges: i64 = edges
            .iter()
            .zip(capacities.as_chunks::<2>().0)
            .map(|(&(one, other), [there, back])| match (in_source(one), in_source(other)) {
                (true, false) => *there,
                (false, true) => *back,
                _ => 0,
            })
            .sum();
        of_terminals + of_edges
    }
}
