//! The largest flow through a network, and with it the cheapest cut, by two search trees that grow towards each other.
//!
//! Source: Boykov and Kolmogorov, "An Experimental Comparison of Min-Cut/Max-Flow Algorithms for Energy Minimization in
//! Vision", PAMI 2004, section 3. Capacities are integers, so that cuts are exact and the same everywhere.

use std::collections::VecDeque;

/// Which pairs of nodes are joined; it stays while capacities change.
#[derive(Debug, Clone)]
pub struct Topology {
    /// Where the arcs that leave a node begin, and where the last node's end, `[N + 1]`.
    first: Vec<u32>,
    /// The arcs, node after node, `[2E]`.
    arcs: Vec<Arc>,
    /// Where the two arcs of every edge are among them, from its first node and back, `[E]`.
    places: Vec<[u32; 2]>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Arc {
    /// Where it leads.
    head: u32,
    /// The place of the arc in the other direction.
    back: u32,
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
        let mut first = vec![0u32; nodes + 1];
        for &(one, other) in edges {
            first[one as usize + 1] += 1;
            first[other as usize + 1] += 1;
        }
        (0..nodes).for_each(|node| first[node + 1] += first[node]);
        let (mut next, mut arcs) = (first.clone(), vec![Arc::default(); 2 * edges.len()]);
        let mut take = |node: u32| {
            let place = &mut next[node as usize];
            *place += 1;
            *place - 1
        };
        let mut places = Vec::with_capacity(edges.len());
        for &(one, other) in edges {
            let [there, back] = [take(one), take(other)];
            arcs[there as usize] = Arc { head: other, back };
            arcs[back as usize] = Arc { head: one, back: there };
            places.push([there, back]);
        }
        Topology { first, arcs, places }
    }

    /// Number of nodes, N.
    pub fn nodes(&self) -> usize {
        self.first.len() - 1
    }

    /// What a cut costs.
    fn cost(&self, source_side: &[bool], terminals: &[i64], capacities: &[[i32; 2]]) -> i64 {
        let of_terminals =
            source_side.iter().zip(terminals).filter(|(in_source, terminal)| **in_source == (**terminal < 0));
        let of_edges = self.places.iter().zip(capacities).map(|(&[there, back], capacities)| {
            let [one, other] = [back, there].map(|place| source_side[self.arcs[place as usize].head as usize]);
            match (one, other) {
                (true, false) => i64::from(capacities[0]),
                (false, true) => i64::from(capacities[1]),
                _ => 0,
            }
        });
        of_terminals.map(|(_, terminal)| terminal.abs()).sum::<i64>() + of_edges.sum::<i64>()
    }

    /// The places of the arcs that leave a node.
    fn of(&self, node: u32) -> std::ops::Range<u32> {
        self.first[node as usize]..self.first[node as usize + 1]
    }
}

/// The cheapest cut between source and sink.
///
/// # Shapes
/// `terminals` `[N]`: what flows from the source to a node, or, negative, from the node to the sink;
/// `capacities` `[E]`: of every edge from its first node to its second, and back, none negative and both together below 2³¹
pub fn minimum_cut(topology: &Topology, terminals: &[i64], capacities: &[[i32; 2]]) -> Cut {
    let source_side = sides_of_cut(&mut vec![0; capacities.len()], topology, terminals, capacities);
    Cut { flow: topology.cost(&source_side, terminals, capacities), source_side }
}

/// The sides of the cheapest cut, found from a flow on that leaves little to do where it is the largest of a similar
/// network, and that becomes the largest of this one.
///
/// # Shapes
/// As [`minimum_cut`]; `flows` `[E]`: along every edge from its first node to its second; what an edge cannot take is left
/// out → `source_side` of [`Cut`], `[N]`
pub fn sides_of_cut(flows: &mut [i32], topology: &Topology, terminals: &[i64], capacities: &[[i32; 2]]) -> Vec<bool> {
    let mut search = Search::new(topology, terminals, flows, capacities);
    search.maximise();
    for ((flow, &[place, _]), [capacity, _]) in flows.iter_mut().zip(&topology.places).zip(capacities) {
        *flow = capacity - search.residual[place as usize][0];
    }
    search.nodes.iter().map(|node| node.tree != Tree::Sink).collect()
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
    /// The place of the arc that leads to it.
    Arc(u32),
}

#[derive(Debug, Clone, Copy)]
struct Node {
    /// What of the terminal's capacity is left.
    terminal: i64,
    parent: Parent,
    /// Steps to the terminal when they were last counted, and in which round that was.
    distance: u32,
    counted: u64,
    tree: Tree,
    is_active: bool,
}

struct Search<'a> {
    topology: &'a Topology,
    nodes: Vec<Node>,
    /// What every arc can still take, and what the arc in the other direction can, `[2E]`.
    residual: Vec<[i32; 2]>,
    round: u64,
    active: VecDeque<u32>,
    orphans: VecDeque<u32>,
}

impl<'a> Search<'a> {
    fn new(topology: &'a Topology, terminals: &[i64], flows: &[i32], capacities: &[[i32; 2]]) -> Search<'a> {
        let node = |&terminal: &i64| Node {
            terminal,
            parent: Parent::None,
            distance: 1,
            counted: 0,
            tree: Tree::None,
            is_active: false,
        };
        let mut nodes: Vec<Node> = terminals.iter().map(node).collect();
        let mut residual = vec![[0; 2]; topology.arcs.len()];
        for ((&[there, back], capacities), &flow) in topology.places.iter().zip(capacities).zip(flows) {
            let flow = flow.clamp(-capacities[1], capacities[0]);
            let left = [capacities[0] - flow, capacities[1] + flow];
            (residual[there as usize], residual[back as usize]) = (left, [left[1], left[0]]);
            // What a node passes on it has no longer, whether the source gave it or not.
            let [one, other] = [back, there].map(|place| topology.arcs[place as usize].head as usize);
            nodes[one].terminal -= i64::from(flow);
            nodes[other].terminal += i64::from(flow);
        }
        let [active, orphans] = [const { VecDeque::new() }; 2];
        Search { topology, nodes, residual, round: 0, active, orphans }
    }

    /// Sends as much as possible.
    fn maximise(&mut self) {
        self.send_to_neighbours();
        for node in 0..self.nodes.len() as u32 {
            let place = &mut self.nodes[node as usize];
            if place.terminal != 0 {
                place.tree = if place.terminal > 0 { Tree::Source } else { Tree::Sink };
                place.parent = Parent::Terminal;
                self.activate(node);
            }
        }
        while let Some(node) = self.active.pop_front() {
            self.nodes[node as usize].is_active = false;
            // More ways than one may lead from it.
            let mut places = self.topology.of(node);
            while self.nodes[node as usize].tree != Tree::None
                && let Some(middle) = self.grow(node, &mut places)
            {
                self.round += 1;
                self.augment(middle);
                // What else this arc can take is seen when the node is active again.
                while let Some(orphan) = self.orphans.pop_front() {
                    self.adopt(orphan);
                }
            }
        }
    }

    /// Sends what fits from a node that has it straight to a neighbour that lacks it: most ways are that short, and need no
    /// trees.
    fn send_to_neighbours(&mut self) {
        for node in 0..self.nodes.len() as u32 {
            let mut left = self.nodes[node as usize].terminal;
            if left <= 0 {
                continue;
            }
            for place in self.topology.of(node) {
                let Arc { head, .. } = self.arc(place);
                let room = i64::from(self.residual[place as usize][0]);
                let sent = left.min(room).min(-self.nodes[head as usize].terminal);
                if sent > 0 {
                    left -= sent;
                    self.nodes[head as usize].terminal += sent;
                    self.send(place, sent as i32);
                }
            }
            self.nodes[node as usize].terminal = left;
        }
    }

    fn arc(&self, place: u32) -> Arc {
        self.topology.arcs[place as usize]
    }

    /// What can still flow along the arc at `place` in the direction of `tree`: away from the source, or towards the sink.
    fn room(&self, tree: Tree, place: u32) -> i32 {
        self.residual[place as usize][usize::from(tree == Tree::Sink)]
    }

    /// What can still flow along it in the other direction.
    fn room_back(&self, tree: Tree, place: u32) -> i32 {
        self.residual[place as usize][usize::from(tree != Tree::Sink)]
    }

    fn send(&mut self, place: u32, amount: i32) {
        let back = self.arc(place).back;
        let [there, here] = &mut self.residual[place as usize];
        (*there, *here) = (*there - amount, *here + amount);
        self.residual[back as usize] = [*here, *there];
    }

    fn activate(&mut self, node: u32) {
        let place = &mut self.nodes[node as usize];
        if !place.is_active {
            place.is_active = true;
            self.active.push_back(node);
        }
    }

    /// Takes the free neighbours of a node into its tree, until one of the other tree is met: then gives the arc from the
    /// source's tree to the sink's.
    fn grow(&mut self, node: u32, places: &mut std::ops::Range<u32>) -> Option<u32> {
        let Node { tree, distance, counted, .. } = self.nodes[node as usize];
        while places.start < places.end {
            let place = places.start;
            if self.room(tree, place) == 0 {
                places.start += 1;
                continue;
            }
            let Arc { head, back } = self.arc(place);
            let next = &mut self.nodes[head as usize];
            if next.tree == Tree::None {
                next.tree = tree;
                next.parent = Parent::Arc(back);
                (next.distance, next.counted) = (distance + 1, counted);
                self.activate(head);
            } else if next.tree != tree {
                return Some(if tree == Tree::Source { place } else { back });
            } else if next.counted <= counted && next.distance > distance + 1 {
                // A shorter way to the terminal, as far as both were counted.
                if matches!(next.parent, Parent::Arc(_)) {
                    next.parent = Parent::Arc(back);
                    (next.distance, next.counted) = (distance + 1, counted);
                }
            }
            places.start += 1;
        }
        None
    }

    /// Sends what fits along the way through the arc `middle`; nodes that it cuts off become orphans.
    fn augment(&mut self, middle: u32) {
        let Arc { head, back } = self.arc(middle);
        let ends = [(Tree::Source, self.arc(back).head), (Tree::Sink, head)];
        let mut least = self.residual[middle as usize][0];
        for (tree, mut node) in ends {
            while let Parent::Arc(place) = self.nodes[node as usize].parent {
                // Towards the node from its parent.
                least = least.min(self.room_back(tree, place));
                node = self.arc(place).head;
            }
            least = self.nodes[node as usize].terminal.abs().min(i64::from(least)) as i32;
        }
        self.send(middle, least);
        for (tree, mut node) in ends {
            while let Parent::Arc(place) = self.nodes[node as usize].parent {
                self.send(place, if tree == Tree::Source { -least } else { least });
                if self.room_back(tree, place) == 0 {
                    self.cut_off(node);
                }
                node = self.arc(place).head;
            }
            let terminal = &mut self.nodes[node as usize].terminal;
            *terminal -= i64::from(least) * terminal.signum();
            if *terminal == 0 {
                self.cut_off(node);
            }
        }
    }

    fn cut_off(&mut self, node: u32) {
        self.nodes[node as usize].parent = Parent::Orphan;
        self.orphans.push_front(node);
    }

    /// Finds another parent for an orphan in its tree, the one nearest to the terminal, or sets the orphan free.
    fn adopt(&mut self, orphan: u32) {
        let tree = self.nodes[orphan as usize].tree;
        let mut nearest: Option<(u32, u32)> = None;
        for place in self.topology.of(orphan) {
            let Arc { head, .. } = self.arc(place);
            if self.room_back(tree, place) == 0 || self.nodes[head as usize].tree != tree {
                continue;
            }
            let Some(distance) = self.distance(head) else { continue };
            if nearest.is_none_or(|(_, least)| distance < least) {
                nearest = Some((place, distance));
                if distance == 1 {
                    break;
                }
            }
        }
        if let Some((place, distance)) = nearest {
            let node = &mut self.nodes[orphan as usize];
            node.parent = Parent::Arc(place);
            (node.distance, node.counted) = (distance + 1, self.round);
            return;
        }
        for place in self.topology.of(orphan) {
            let Arc { head, back } = self.arc(place);
            let neighbour = &mut self.nodes[head as usize];
            if neighbour.tree != tree {
                continue;
            }
            if neighbour.parent == Parent::Arc(back) {
                neighbour.parent = Parent::Orphan;
                self.orphans.push_back(head);
            }
            if self.room_back(tree, place) > 0 {
                self.activate(head);
            }
        }
        let node = &mut self.nodes[orphan as usize];
        (node.tree, node.parent) = (Tree::None, Parent::None);
    }

    /// Steps from a node to the terminal of its tree; none if an orphan lies on the way. What was counted on the way is
    /// remembered for the round.
    fn distance(&mut self, node: u32) -> Option<u32> {
        let (mut steps, mut at) = (0, node);
        let total = loop {
            let Node { parent, distance, counted, .. } = self.nodes[at as usize];
            if counted == self.round && parent != Parent::Orphan {
                break steps + distance;
            }
            match parent {
                Parent::None | Parent::Orphan => return None,
                Parent::Terminal => break steps + 1,
                Parent::Arc(place) => {
                    steps += 1;
                    at = self.arc(place).head;
                }
            }
        };
        let (mut left, mut at) = (total, node);
        loop {
            let node = &mut self.nodes[at as usize];
            if node.counted == self.round {
                return Some(total);
            }
            (node.distance, node.counted) = (left, self.round);
            let Parent::Arc(place) = node.parent else { return Some(total) };
            left -= 1;
            at = self.arc(place).head;
        }
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
            let capacities: Vec<[i32; 2]> =
                edges.iter().map(|_| [(); 2].map(|()| generator.random_range(0..8))).collect();
            let topology = Topology::new(nodes, &edges);
            let cut = minimum_cut(&topology, &terminals, &capacities);
            let cost = |sides: u32| cost(sides, &terminals, &edges, &capacities);
            let least = (0..1u32 << nodes).map(cost).min().unwrap();
            let found = (0..nodes).map(|node| u32::from(cut.source_side[node]) << node).sum();
            assert_eq!((cut.flow, cost(found)), (least, least), "{edges:?} {terminals:?} {capacities:?}");

            // From whatever flow on, and from that which is the largest already.
            let mut flows: Vec<i32> = edges.iter().map(|_| generator.random_range(-9..10)).collect();
            for _ in 0..2 {
                assert_eq!(sides_of_cut(&mut flows, &topology, &terminals, &capacities), cut.source_side);
            }
        }
    }

    /// What a cut costs whose source side has the nodes of the bits that are set.
    fn cost(sides: u32, terminals: &[i64], edges: &[(u32, u32)], capacities: &[[i32; 2]]) -> i64 {
        let in_source = |node: u32| sides >> node & 1 == 1;
        let of_terminals: i64 = (0u32..)
            .zip(terminals)
            .filter(|&(node, &terminal)| in_source(node) == (terminal < 0))
            .map(|(_, terminal)| terminal.abs())
            .sum();
        let of_edges: i64 = edges
            .iter()
            .zip(capacities)
            .map(|(&(one, other), &[there, back])| match (in_source(one), in_source(other)) {
                (true, false) => i64::from(there),
                (false, true) => i64::from(back),
                _ => 0,
            })
            .sum();
        of_terminals + of_edges
    }
}
