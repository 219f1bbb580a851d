//! The paths that cost time, each alone: `cargo bench`. Compare columns of one run; absolute times depend on the machine.

use std::path::Path;

use deepcut::event::Silent;
use deepcut::features::vit::{StateDict, VitConfig, VitExtractor};
use deepcut::features::{Adjacency, Extractor, Layout, NodeFeatures, SuperpixelConfig, SuperpixelExtractor};
use deepcut::graph::{Affinity, Batch, Graph};
use deepcut::model::{Network, NetworkConfig};
use deepcut::numerics::random;
use deepcut::objective::Objective;
use deepcut::pixels::{DecodeLimits, decode, resize_lanczos};
use deepcut::raster::RgbImage;
use deepcut::segment::{Assign, Segmenter};
use deepcut::tensor;
use deepcut::train::{ResumeState, Setup, TrainConfig, train};
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
    decode(&photograph(), &DecodeLimits::default()).unwrap()
}

/// Random unit features of the paper's size: 35×35 patches of 384 channels.
fn nodes() -> NodeFeatures {
    let (side, width) = (35, 384);
    let mut values = random::uniform(&mut random::stream(0, "bench", 0), 1.0, side * side * width);
    for row in values.chunks_exact_mut(width) {
        let length = row.iter().map(|value| value * value).sum::<f32>().sqrt();
        row.iter_mut().for_each(|value| *value /= length);
    }
    NodeFeatures { values, width, layout: Layout::Grid { rows: side, columns: side }, adjacency: Adjacency::Complete }
}

fn network_config() -> NetworkConfig {
    NetworkConfig { input: 384, hidden: [64, 32], clusters: 2, dropout: 0.25, root_weight: false }
}

/// Random weights of a ViT-S/8: 384 channels, 12 blocks.
fn vit_small() -> StateDict {
    let (width, patch, positions) = (384usize, 8usize, 785usize);
    let mut shapes: Vec<(String, Vec<usize>)> = vec![
        ("cls_token".into(), vec![1, 1, width]),
        ("pos_embed".into(), vec![1, positions, width]),
        ("patch_embed.proj.weight".into(), vec![width, 3, patch, patch]),
        ("patch_embed.proj.bias".into(), vec![width]),
        ("norm.weight".into(), vec![width]),
        ("norm.bias".into(), vec![width]),
    ];
    for block in 0..12 {
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
    bencher.bench(|| resize_lanczos(&decode(black_box(&bytes), &DecodeLimits::default()).unwrap(), 280, 280));
}

#[divan::bench]
fn superpixel_features(bencher: Bencher) {
    let (image, extractor) = (image(), SuperpixelExtractor::new(SuperpixelConfig::default()));
    bencher.bench(|| extractor.extract(black_box(&image)));
}

#[divan::bench(sample_count = 10)]
fn vit_small_8_features_280(bencher: Bencher) {
    let extractor = VitExtractor::new(&vit_small(), VitConfig::default(), tensor::cpu()).unwrap();
    let image = image();
    bencher.bench(|| extractor.extract(black_box(&image)));
}

#[divan::bench(args = ["ncut", "cc"])]
fn graph_1225_nodes(bencher: Bencher, objective: &str) {
    let affinity = if objective == "ncut" { Affinity::NonNegative } else { Affinity::Correlation { alpha: 3.0 } };
    let (nodes, device) = (nodes(), tensor::cpu());
    bencher.bench(|| Graph::build(black_box(&nodes), affinity, &device));
}

#[divan::bench]
fn shared_inference_1225_nodes(bencher: Bencher) {
    let device = tensor::cpu();
    let graph = Graph::build(&nodes(), Affinity::NonNegative, &device);
    let segmenter = Segmenter::new(network_config().init(0, &device), device);
    bencher.bench(|| segmenter.assign(black_box(&graph)));
}

#[divan::bench(args = ["association", "ncut", "cc"], sample_count = 10)]
fn epoch_of_16_graphs_1225_nodes(bencher: Bencher, kind: &str) {
    let device = tensor::cpu();
    let (objective, affinity) = match kind {
        "association" => (Objective::Association, Affinity::NonNegative),
        "ncut" => (Objective::Ncut { balance: 1.0 }, Affinity::NonNegative),
        _ => (Objective::Cc, Affinity::Correlation { alpha: 3.0 }),
    };
    let graphs = vec![Graph::build(&nodes(), affinity, &device); 17];
    let config = TrainConfig { epochs: 1, held_out: 1.0 / 17.0, ..TrainConfig::default() };
    let setup = Setup {
        source: &graphs,
        network: network_config(),
        objective,
        config: &config,
        device: &device,
        fingerprint: String::new(),
    };
    bencher.bench(|| train(&setup, None, &mut |_: &ResumeState| Ok(()), &Silent).unwrap());
}

#[divan::bench]
fn collate_16_graphs_1225_nodes(bencher: Bencher) {
    let device = tensor::cpu();
    let graphs = vec![Graph::build(&nodes(), Affinity::NonNegative, &device); 16];
    let network: Network = network_config().init(0, &device);
    bencher.bench(|| network.assign(&Batch::collate(black_box(&graphs), &device), None));
}
