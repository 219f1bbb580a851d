//! Runs single paths of the program on request and says how long each took, for comparisons that alternate between this
//! program and others in one run (`scripts/bench_peers`).
//!
//! Every line of standard input asks for one thing; the answer is one line of milliseconds, or of what is asked for:
//!
//! - `backbone IMAGES SIDE`: the forward pass of a batch of images of so many pixels, up to the last block's keys; on a GPU
//!   from the host's pixels to keys that stay there
//! - `values SIDE`: what that gives for one image, as numbers with spaces between them
//! - `segment IMAGE MASK`: one image from its file to its mask in a file, as `deepcut segment` does it with its defaults;
//!   answers with JSON: the whole and its steps
//!
//! ```sh
//! cargo run --release --example timed -- --weights FILE
//! ```

use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Parser;
use deepcut::features::Extractor;
use deepcut::features::vit::{ImageBatch, Precision, Vit, VitConfig, VitExtractor};
use deepcut::graph::{Affinity, Graph};
use deepcut::model::NetworkConfig;
use deepcut::objective::Objective;
use deepcut::output::{encode_indexed_png, write_atomically};
use deepcut::pipeline::DeviceChoice;
use deepcut::pixels::{DecodeLimits, decode};
use deepcut::refine::{Cells, Upscale};
use deepcut::segment::{Legend, PerImageConfig, PerImageSegmenter};
use deepcut::tensor;
use deepcut::weights::StateDict;

/// The program's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Debug, Parser)]
struct Arguments {
    /// Weights of a vision transformer
    #[arg(long)]
    weights: PathBuf,
    /// Compute products in bfloat16
    #[arg(long)]
    bf16: bool,
    /// Run `backbone` and `values` on a GPU
    #[arg(long)]
    cuda: bool,
}

/// Pixels that both sides of a comparison can make for themselves.
fn pixels(count: usize) -> Vec<f32> {
    (0..count).map(|index| ((index % 977) as f32 / 977.0 - 0.5) * 4.0).collect()
}

/// The per-image mode with its defaults: ten epochs of the normalised cut into two clusters.
struct PerImage {
    extractor: VitExtractor,
    segmenter: PerImageSegmenter,
    config: PerImageConfig,
    labels: Legend,
}

impl PerImage {
    fn new(state: &StateDict, config: VitConfig) -> Result<PerImage, Box<dyn std::error::Error>> {
        let extractor = VitExtractor::new(state, config, tensor::cpu())?;
        let network = NetworkConfig {
            input: extractor.width(),
            hidden: [64, 32],
            clusters: 2,
            dropout: 0.25,
            root_weight: false,
        };
        let config = PerImageConfig::default();
        let segmenter =
            PerImageSegmenter::new(&network, Objective::Ncut { balance: 1.0 }, config.clone(), tensor::cpu());
        Ok(PerImage { extractor, segmenter, config, labels: Legend::new(1, 0, 0).ok_or("two clusters have labels")? })
    }

    /// Milliseconds of the whole and of every step.
    fn segment(&self, path: &Path, target: &Path) -> Result<serde_json::Value, Box<dyn std::error::Error>> {
        let mut laps = vec![Instant::now()];
        let image = decode(&std::fs::read(path)?, &DecodeLimits::default())?;
        let nodes = self.extractor.extract(&image);
        laps.push(Instant::now());
        let graph = Graph::build_keeping_affinities(&nodes, Affinity::NonNegative, &tensor::cpu());
        laps.push(Instant::now());
        let segments = self.segmenter.optimise(&graph).segments;
        laps.push(Instant::now());
        let chosen = self.config.background.background(&nodes.layout.paint(&segments.clusters), 2);
        let background = [chosen == 0, chosen == 1];
        let values: Vec<u8> = segments.clusters.iter().map(|&cluster| u8::from(!background[cluster])).collect();
        let shares = self.labels.shares(&segments.probabilities, &background);
        let cells = Cells { values: &nodes.layout.paint(&values), shares: &shares };
        let mask = Upscale::default().apply(&cells, |value| value, image.width, image.height);
        let bytes = encode_indexed_png(&mask, &[])?;
        write_atomically(target, |writer| writer.write_all(&bytes))?;
        laps.push(Instant::now());
        let between = |first: usize, last: usize| (laps[last] - laps[first]).as_secs_f64() * 1e3;
        Ok(serde_json::json!({
            "total_ms": between(0, 4),
            "features_ms": between(0, 1),
            "graph_ms": between(1, 2),
            "gnn_ms": between(2, 3),
            "write_ms": between(3, 4),
        }))
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::parse();
    let state = StateDict::open(&arguments.weights)?;
    let precision = if arguments.bf16 { Precision::Bf16 } else { Precision::F32 };
    let config = VitConfig { precision, ..VitConfig::default() };
    let choice = if arguments.cuda { DeviceChoice::Cuda } else { DeviceChoice::Cpu };
    let vit = Vit::load(&state, &config, &choice.open()?)?;
    let per_image = if arguments.cuda { None } else { Some(PerImage::new(&state, config)?) };
    let mut answers = std::io::stdout();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["backbone", images, side] => {
                let (images, side): (usize, usize) = (images.parse()?, side.parse()?);
                let values = pixels(images * 3 * side * side);
                let batch = ImageBatch { values: &values, images, height: side, width: side };
                let start = Instant::now();
                if arguments.cuda {
                    // One number is enough to have waited for all of them.
                    tensor::into_vec(vit.forward_on_device(&batch).slice([0..1, 0..1, 0..1]));
                } else {
                    std::hint::black_box(vit.forward(&batch));
                }
                writeln!(answers, "{}", start.elapsed().as_secs_f64() * 1e3)?;
            }
            ["values", side] => {
                let side: usize = side.parse()?;
                let values = pixels(3 * side * side);
                let batch = ImageBatch { values: &values, images: 1, height: side, width: side };
                let found = vit.forward(&batch).values;
                writeln!(answers, "{}", found.iter().map(f32::to_string).collect::<Vec<_>>().join(" "))?;
            }
            ["segment", image, mask] => {
                let per_image = per_image.as_ref().ok_or("segment runs on the processor; leave out --cuda")?;
                writeln!(answers, "{}", per_image.segment(image.as_ref(), mask.as_ref())?)?;
            }
            _ => return Err(format!("not understood: {line}").into()),
        }
        answers.flush()?;
    }
    Ok(())
}
