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
use deepcut::features::vit::{ImageBatch, Precision, Vit, VitConfig};
use deepcut::method::{Method, Timings};
use deepcut::output::{encode_indexed_png, write_atomically};
use deepcut::pixels::{DecodeConfig, decode};
use deepcut::weights::StateDict;
use deepcut::{DeviceChoice, Machine, PerImage, Settings, tensor};

/// The program's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Debug, Parser)]
struct Arguments {
    /// Weights of a vision transformer
    #[arg(long)]
    weights: PathBuf,
    /// What products are computed in: f32, bf16 or int8
    #[arg(long, default_value = "f32")]
    precision: String,
    /// Run `backbone` and `values` on a GPU
    #[arg(long)]
    cuda: bool,
}

/// Pixels that both sides of a comparison can make for themselves.
fn pixels(count: usize) -> Vec<f32> {
    (0..count).map(|index| ((index % 977) as f32 / 977.0 - 0.5) * 4.0).collect()
}

/// One image from its file to a mask in a file; milliseconds of the whole and of every step.
fn segment(method: &PerImage, path: &Path, target: &Path) -> Result<serde_json::Value, Box<dyn std::error::Error>> {
    let (start, mut timings) = (Instant::now(), Timings::start());
    let image = decode(&std::fs::read(path)?, &DecodeConfig::default())?;
    let found = method.segment_timed(&image, image.outside.as_ref(), false, &mut timings)?;
    let bytes = encode_indexed_png(&found.mask, &[])?;
    write_atomically(target, |writer| writer.write_all(&bytes))?;
    timings.lap(|spent| &mut spent.write);
    let spent = timings.spent();
    Ok(serde_json::json!({
        "total_ms": start.elapsed().as_secs_f64() * 1e3,
        "features_ms": spent.features,
        "graph_ms": spent.graph,
        "gnn_ms": spent.network,
        "write_ms": spent.refine + spent.write,
    }))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::parse();
    let state = StateDict::open(&arguments.weights)?;
    let precision: Precision = serde_json::from_value(arguments.precision.as_str().into())?;
    let config = VitConfig { precision, ..VitConfig::paper() };
    let choice = if arguments.cuda { DeviceChoice::Cuda } else { DeviceChoice::Cpu };
    let vit = Vit::load(&state, &config, &choice.open()?)?;
    let machine = Machine { device: choice, ..Machine::default() };
    let settings = Settings { vit: config, ..Settings::default() };
    let open = || PerImage::with_weights(settings, Some(&arguments.weights), &machine);
    let per_image = (!arguments.cuda).then(open).transpose()?;
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
                writeln!(answers, "{}", segment(per_image, image.as_ref(), mask.as_ref())?)?;
            }
            _ => return Err(format!("not understood: {line}").into()),
        }
        answers.flush()?;
    }
    Ok(())
}
