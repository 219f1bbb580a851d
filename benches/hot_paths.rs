//! The paths that cost time, each alone: `cargo bench`. Compare columns of one run; absolute times depend on the machine.

use std::path::Path;

use deepcut::cluster::{ClusterConfig, ClusterModel, ClusterNetwork, Provenance, Scaling, Vectors};
use deepcut::event::Silent;
use deepcut::features::vit::{Precision, VitConfig, VitExtractor};
use deepcut::features::{Extractor, SuperpixelConfig, SuperpixelExtractor};
use deepcut::graph::{Affinity, Batch, Graph};
use deepcut::model::{Network, NetworkConfig};
use deepcut::nodes::{Adjacency, Layout, NodeFeatures};
use deepcut::numerics::expansion::PottsEnergy;
use deepcut::numerics::max_flow::{Topology, minimum_cut};
use deepcut::numerics::random;
use deepcut::objective::Objective;
use deepcut::output::{encode_jpeg, overlay};
use deepcut::pixels::{DecodeConfig, decode, resize_lanczos};
use deepcut::raster::{Mask, RgbImage};
use deepcut::refine::bilateral::{self, BilateralConfig};
use deepcut::segment::{PerImageConfig, PerImageSegmenter, Segmenter, SharedSegmenter};
use deepcut::tensor;
use deepcut::train::{Choice, ResumeState, Setup, TrainConfig, train};
use deepcut::weights::StateDict;
use divan::{Bencher, black_box};

/// The program's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    divan::main();
}

fn photograph() -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("demonstration/images/boat_white.jpg")).unwrap()
}

fn image() -> RgbImage {
    decode(&photograph(), &DecodeConfig::default()).unwrap().image
}

/// A disc of foreground in the middle of the photograph.
fn disc() -> Mask {
    let (width, height) = (image().width, image().height);
    let mut mask = Mask::filled(width, height, 0);
    for place in 0..width * height {
        let (x, y) = (place % width, place / width);
        let far = (2 * x).abs_diff(width).pow(2) + (2 * y).abs_diff(height).pow(2);
        mask.values[place] = u8::from(4 * far < width.min(height).pow(2));
    }
    mask
}

/// Random unit features of the paper's size: 35×35 patches of 384 channels.
fn nodes() -> NodeFeatures {
    let (side, channels) = (35, 384);
    let mut values = random::uniform(&mut random::stream(0, "bench", 0), 1.0, side * side * channels);
    for row in values.chunks_exact_mut(channels) {
        let length = row.iter().map(|value| value * value).sum::<f32>().sqrt();
        row.iter_mut().for_each(|value| *value /= length);
    }
    NodeFeatures {
        values,
        channels,
        layout: Layout::Grid { rows: side, columns: side },
        adjacency: Adjacency::Complete,
    }
}

fn network_config() -> NetworkConfig {
    NetworkConfig { input: 384, hidden: [64, 32], clusters: 2, dropout: 0.25, root_weight: false, scale: 1.0 }
}

/// What a transformer has beyond the plain one.
const FAMILIES: [&str; 4] = ["plain", "layer scale", "layer scale, registers", "layer scale, registers, rotation"];

/// Random weights of a ViT-S/8 of one of the [`FAMILIES`]: 384 channels, 12 blocks.
fn vit_small(family: &str) -> StateDict {
    let (width, patch, positions) = (384usize, 8usize, 785usize);
    let has = |part| family.contains(part);
    let mut shapes: Vec<(String, Vec<usize>)> = vec![
        ("cls_token".into(), vec![1, 1, width]),
        ("patch_embed.proj.weight".into(), vec![width, 3, patch, patch]),
        ("patch_embed.proj.bias".into(), vec![width]),
        ("norm.weight".into(), vec![width]),
        ("norm.bias".into(), vec![width]),
    ];
    if !has("rotation") {
        shapes.push(("pos_embed".into(), vec![1, positions, width]));
    }
    if has("registers") {
        shapes.push(("register_tokens".into(), vec![1, 4, width]));
    }
    for block in 0..12 {
        if has("layer scale") {
            shapes.extend([1, 2].map(|number| (format!("blocks.{block}.ls{number}.gamma"), vec![width])));
        }
        for (name, shape) in [
            ("norm1.weight", vec![width]),
            ("norm1.bias", vec![width]),
            ("attn.qkv.weight", vec![3 * width, width]),
            ("attn.qkv.bias", vec![3 * width]),
            ("attn.proj.weight", vec![width, width]),
            ("attn.proj.bias", vec![width]),
            ("norm2.weight", vec![width]),
            ("norm2.bias", vec![width]),
            ("mlp.fc1.weight", vec![4 * width, width]),
            ("mlp.fc1.bias", vec![4 * width]),
            ("mlp.fc2.weight", vec![width, 4 * width]),
            ("mlp.fc2.bias", vec![width]),
        ] {
            shapes.push((format!("blocks.{block}.{name}"), shape));
        }
    }
    let raw: Vec<Vec<u8>> = shapes
        .iter()
        .enumerate()
        .map(|(index, (_, shape))| {
            let mut generator = random::stream(0, "weights", index as u64);
            let values = random::uniform(&mut generator, 0.05, shape.iter().product());
            values.into_iter().flat_map(f32::to_le_bytes).collect()
        })
        .collect();
    let views = shapes.iter().zip(&raw).map(|((name, shape), bytes)| {
        let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.clone(), bytes).unwrap();
        (name.as_str(), view)
    });
    let file = safetensors::serialize(views, None).unwrap();
    StateDict::from_bytes(&file, Path::new("random ViT-S/8")).unwrap()
}

#[divan::bench]
fn decode_and_resize(bencher: Bencher) {
    let bytes = photograph();
    bencher.bench(|| resize_lanczos(&decode(black_box(&bytes), &DecodeConfig::default()).unwrap(), 280, 280));
}

#[divan::bench]
fn overlay_with_jpeg(bencher: Bencher) {
    let (image, mask) = (image(), disc());
    bencher.bench(|| encode_jpeg(&overlay(black_box(&image), &mask, 1024), 90).unwrap());
}

#[divan::bench]
fn bilateral_solver(bencher: Bencher) {
    let (image, mask) = (image(), disc());
    bencher.bench(|| bilateral::refine(black_box(&image), &mask, BilateralConfig::default()));
}

/// Six well separated groups.
#[divan::bench(sample_count = 5)]
fn grouping_1000_vectors_of_384(bencher: Bencher) {
    let (count, width) = (1000, 384);
    let mut values = random::uniform(&mut random::stream(0, "vectors", 0), 0.1, count * width);
    for (index, row) in values.chunks_exact_mut(width).enumerate() {
        row[index % 6] += 2.0;
    }
    let vectors = Vectors::new(values, width).unwrap();
    let (network, settings) =
        (ClusterNetwork::default(), ClusterConfig { scaling: Scaling::None, ..Default::default() });
    let from = Provenance::default;
    bencher.bench(|| {
        ClusterModel::fit(black_box(&vectors), &settings, &network, from(), &tensor::cpu(), &Silent).unwrap()
    });
}

#[divan::bench]
fn superpixel_features(bencher: Bencher) {
    let (image, extractor) = (image(), SuperpixelExtractor::new(SuperpixelConfig::default()));
    bencher.bench(|| extractor.extract(black_box(&image)));
}

#[divan::bench(args = ["f32", "bf16", "int8"], sample_count = 10)]
fn vit_small_8_features_280(bencher: Bencher, precision: &str) {
    let precision = match precision {
        "f32" => Precision::F32,
        "bf16" => Precision::Bf16,
        _ => Precision::Int8,
    };
    let config = VitConfig { precision, ..VitConfig::paper() };
    // Where the processor has no bfloat16, that column says so instead of a time.
    let weights = vit_small("plain");
    let extractor = VitExtractor::new(&weights, config, tensor::cpu()).unwrap_or_else(|error| panic!("{error}"));
    let image = image();
    bencher.bench(|| extractor.extract(black_box(&image)));
}

/// The same image, 1225 patches, through transformers of other families.
#[divan::bench(args = FAMILIES, sample_count = 20)]
fn vit_small_8_families_280(bencher: Bencher, family: &str) {
    let extractor = VitExtractor::new(&vit_small(family), VitConfig::paper(), tensor::cpu()).unwrap();
    let image = image();
    bencher.bench(|| extractor.extract(black_box(&image)));
}

#[divan::bench(args = [1, 2], sample_count = 20)]
fn ten_epochs_on_one_image_1225_nodes(bencher: Bencher, threads: usize) {
    let graph = Graph::build_keeping_affinities(&nodes(), Affinity::NonNegative);
    let objective = Objective::Ncut { balance: 1.0 };
    let segmenter = PerImageSegmenter::new(&network_config(), objective, PerImageConfig::default());
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    bencher.bench(|| pool.install(|| segmenter.optimise(black_box(&graph))));
}

#[divan::bench(args = ["ncut", "cc"])]
fn graph_1225_nodes(bencher: Bencher, objective: &str) {
    let affinity = if objective == "ncut" { Affinity::NonNegative } else { Affinity::Correlation { alpha: 3.0 } };
    let nodes = nodes();
    bencher.bench(|| Graph::build(black_box(&nodes), affinity));
}

#[divan::bench]
fn shared_inference_1225_nodes(bencher: Bencher) {
    let graph = Graph::build(&nodes(), Affinity::NonNegative);
    let segmenter = SharedSegmenter::new(&network_config().init(0, 0, &tensor::cpu()));
    bencher.bench(|| segmenter.segment(black_box(&graph)));
}

#[divan::bench(args = ["association", "ncut", "cc"], sample_count = 10)]
fn epoch_of_16_graphs_1225_nodes(bencher: Bencher, kind: &str) {
    let (objective, affinity) = match kind {
        "association" => (Objective::Association, Affinity::NonNegative),
        "ncut" => (Objective::Ncut { balance: 1.0 }, Affinity::NonNegative),
        _ => (Objective::Cc, Affinity::Correlation { alpha: 3.0 }),
    };
    let graphs = vec![Graph::build(&nodes(), affinity); 17];
    let config = TrainConfig { epochs: 1, held_out: 1.0 / 17.0, ..TrainConfig::default() };
    let setup = Setup {
        source: &graphs,
        network: network_config(),
        objective,
        config: &config,
        start: 0,
        epochs: config.epochs,
        choice: Choice::LowestLoss,
        fingerprint: String::new(),
    };
    bencher.bench(|| train(&setup, None, &mut |_: &ResumeState| Ok(()), &Silent).unwrap());
}

#[divan::bench]
fn collate_16_graphs_1225_nodes(bencher: Bencher) {
    let device = tensor::cpu();
    let graphs = vec![Graph::build(&nodes(), Affinity::NonNegative); 16];
    let network: Network = network_config().init(0, 0, &device);
    bencher.bench(|| network.assign(&Batch::collate(black_box(&graphs), &device), None));
}

type Pairs = Vec<(u32, u32)>;

/// As many nodes as an image of GraPL has patches, each joined to those within three cells, with a weight of each edge.
fn near_pairs() -> (Pairs, Vec<i32>) {
    let side = 32i32;
    let mut pairs = Vec::new();
    for node in 0..side * side {
        let (x, y) = (node % side, node / side);
        for (dx, dy) in [(1, 0), (2, 0), (3, 0), (0, 1), (0, 2), (0, 3), (1, 1), (-1, 1)] {
            if (0..side).contains(&(x + dx)) && y + dy < side {
                pairs.push((node as u32, (node + dy * side + dx) as u32));
            }
        }
    }
    let weights = random::uniform(&mut random::stream(1, "bench", 0), 1.0, pairs.len());
    (pairs, weights.into_iter().map(|weight| (weight.abs() * 100_000.0) as i32).collect())
}

#[divan::bench]
fn expansion_of_1024_nodes_and_32_labels(bencher: Bencher) {
    let (pairs, weights) = near_pairs();
    let costs = random::uniform(&mut random::stream(2, "bench", 0), 1.0, 1024 * 32);
    let costs = costs.into_iter().map(|cost| (cost.abs() * 500_000.0) as i64).collect();
    let energy = PottsEnergy::new(costs, 32, pairs, weights);
    bencher.bench(|| energy.expanded(vec![0; 1024], |_| ()));
}

/// A cut of 1024 nodes: terminals, and the pairs with their capacities in both directions.
fn cut() -> (Vec<i64>, Pairs, Vec<[i32; 2]>) {
    let (pairs, weights) = near_pairs();
    let terminals = random::uniform(&mut random::stream(3, "bench", 0), 1.0, 1024);
    let terminals = terminals.into_iter().map(|terminal| (terminal * 300_000.0) as i64).collect();
    (terminals, pairs, weights.into_iter().map(|weight| [weight; 2]).collect())
}

#[divan::bench]
fn minimum_cut_of_1024_nodes(bencher: Bencher) {
    let (terminals, pairs, capacities) = cut();
    let topology = Topology::new(1024, &pairs);
    bencher.bench(|| minimum_cut(&topology, &terminals, &capacities));
}

#[divan::bench]
fn minimum_cut_of_1024_nodes_by_petgraph(bencher: Bencher) {
    let (terminals, pairs, capacities) = cut();
    let mut graph = petgraph::Graph::<(), u64>::new();
    let nodes: Vec<_> = (0..1026).map(|_| graph.add_node(())).collect();
    for (node, &terminal) in terminals.iter().enumerate() {
        let (from, to) = if terminal > 0 { (nodes[1024], nodes[node]) } else { (nodes[node], nodes[1025]) };
        graph.add_edge(from, to, terminal.unsigned_abs());
    }
    for (&(one, other), &[there, back]) in pairs.iter().zip(&capacities) {
        graph.add_edge(nodes[one as usize], nodes[other as usize], there as u64);
        graph.add_edge(nodes[other as usize], nodes[one as usize], back as u64);
    }
    bencher.bench(|| petgraph::algo::dinics(&graph, nodes[1024], nodes[1025]));
}
