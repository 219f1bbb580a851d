//! Graph cuts against exact solvers written independently (SciPy's max-flow, and trying all labellings of small graphs).

use deepcut::numerics::expansion::PottsEnergy;
use deepcut::numerics::max_flow::{Topology, minimum_cut};
use deepcut::numerics::random;
use rand::Rng;
use serde::Deserialize;

use crate::golden::Golden;

#[derive(Deserialize)]
struct Numbers {
    maxflow: MaxFlow,
    potts: Potts,
}

#[derive(Deserialize)]
struct MaxFlow {
    source: Vec<i64>,
    sink: Vec<i64>,
    edges: Vec<[i64; 4]>,
    flow: i64,
    source_side: Vec<u8>,
}

#[derive(Deserialize)]
struct Potts {
    all_agree: Instance,
    local_minimum: Instance,
}

#[derive(Deserialize)]
struct Instance {
    unary: Vec<Vec<i64>>,
    edges: Vec<(u32, u32)>,
    weights: Vec<i32>,
    optimum: i64,
    optimal_labels: Vec<usize>,
    expansion_energies: Vec<i64>,
    expansion_labels: Vec<usize>,
}

fn numbers() -> Numbers {
    serde_json::from_str(include_str!("../golden/grapl.json")).unwrap()
}

#[test]
fn the_cheapest_cut_is_scipys() {
    let MaxFlow { source, sink, edges, flow, source_side } = numbers().maxflow;
    // What a node passes straight from the source to the sink is no part of the search.
    let through: i64 = source.iter().zip(&sink).map(|(source, sink)| source.min(sink)).sum();
    let terminals: Vec<i64> = source.iter().zip(&sink).map(|(source, sink)| source - sink).collect();
    let pairs: Vec<(u32, u32)> = edges.iter().map(|&[one, other, ..]| (one as u32, other as u32)).collect();
    let capacities: Vec<[i32; 2]> =
        edges.iter().map(|&[.., there, back]| [there, back].map(|value| value as i32)).collect();
    let cut = minimum_cut(&Topology::new(source.len(), &pairs), &terminals, &capacities);
    assert_eq!(cut.flow + through, flow);
    assert_eq!(cut.source_side, source_side.iter().map(|&side| side == 1).collect::<Vec<_>>());
}

#[test]
fn two_hundred_flows_are_those_of_dinics() {
    let mut generator = random::stream(0, "flows", 0);
    for instance in 0..200 {
        let nodes = generator.random_range(1..400usize);
        // Every second instance is a grid, the others have edges anywhere.
        let side = 20;
        let pairs: Vec<(u32, u32)> = (0..nodes as u32)
            .flat_map(|node| match instance % 2 {
                0 => vec![(node, node + 1), (node, node + side), (node, node + side + 1)],
                _ => (0..4).map(|_| (node, generator.random_range(0..nodes as u32))).collect(),
            })
            .filter(|&(one, other)| one != other && (other as usize) < nodes)
            .collect();
        let largest = [1, 10, 1_000_000][instance % 3];
        let terminals: Vec<i64> = (0..nodes).map(|_| generator.random_range(-largest..=largest)).collect();
        let capacities: Vec<[i32; 2]> =
            pairs.iter().map(|_| [(); 2].map(|()| generator.random_range(0..=largest as i32))).collect();
        let mut graph = petgraph::Graph::<(), u64>::new();
        let numbers: Vec<_> = (0..nodes + 2).map(|_| graph.add_node(())).collect();
        let (source, sink) = (numbers[nodes], numbers[nodes + 1]);
        for (node, &terminal) in terminals.iter().enumerate() {
            let (from, to) = if terminal > 0 { (source, numbers[node]) } else { (numbers[node], sink) };
            graph.add_edge(from, to, terminal.unsigned_abs());
        }
        for (&(one, other), &[there, back]) in pairs.iter().zip(&capacities) {
            let [one, other] = [one, other].map(|node| numbers[node as usize]);
            graph.add_edge(one, other, there as u64);
            graph.add_edge(other, one, back as u64);
        }
        let (expected, _) = petgraph::algo::dinics(&graph, source, sink);
        let found = minimum_cut(&Topology::new(nodes, &pairs), &terminals, &capacities);
        assert_eq!(found.flow as u64, expected, "instance {instance}");
    }
}

#[test]
fn every_move_of_an_expansion_is_the_cheapest() {
    let Potts { all_agree, local_minimum } = numbers().potts;
    for instance in [all_agree, local_minimum] {
        let (nodes, labels) = (instance.unary.len(), instance.unary[0].len());
        let energy = PottsEnergy::new(instance.unary.concat(), labels, instance.edges, instance.weights);
        assert_eq!(energy.of(&instance.optimal_labels), instance.optimum);
        let mut energies = Vec::new();
        let found = energy.expanded(vec![0; nodes], |energy| energies.push(energy));
        assert_eq!(energies, instance.expansion_energies);
        assert_eq!(found, instance.expansion_labels);
    }
}

#[test]
fn a_cut_of_a_thousand_patches_goes_step_by_step_as_with_another_solver() {
    let golden = Golden::open("grapl");
    let edges: Vec<(u32, u32)> = golden
        .integers("cut.edges")
        .as_chunks::<2>()
        .0
        .iter()
        .map(|&[one, other]| (one as u32, other as u32))
        .collect();
    let [nodes, labels] = golden.shape("cut.unary_int")[..] else { panic!("costs are a matrix") };
    let weights = golden.integers("cut.weights_int").into_iter().map(|weight| weight as i32).collect();
    let energy = PottsEnergy::new(golden.integers("cut.unary_int"), labels, edges, weights);
    let mut energies = Vec::new();
    assert_eq!([energy.of(&vec![0; nodes])], golden.integers("cut.start_energy")[..]);
    let found = energy.expanded(vec![0; nodes], |energy| energies.push(energy));
    assert_eq!(energies, golden.integers("cut.expansion_energies"));
    assert_eq!(found.iter().map(|&label| label as i64).collect::<Vec<_>>(), golden.integers("cut.expansion_labels"));
}
