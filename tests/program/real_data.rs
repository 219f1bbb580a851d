//! The whole way on real images and real weights, where they are at hand: `DEEPCUT_TEST_DATA` (default `../shared`).

use std::path::{Path, PathBuf};

use deepcut::config;
use deepcut::event::Silent;
use deepcut::features::Extractor;
use deepcut::features::vit::VitExtractor;
use deepcut::output::read_mask;
use deepcut::pipeline::{DeviceChoice, InferRequest, Machine, PredictRequest, SaveKinds, TrainRequest, infer, train};
use deepcut::pixels::{DecodeConfig, decode};
use deepcut::raster::Mask;
use deepcut::tensor;
use deepcut::weights::StateDict;

/// The path below the test data, or a visible note that the test is skipped.
fn test_data(path: &str) -> Option<PathBuf> {
    let root = std::env::var_os("DEEPCUT_TEST_DATA").map_or_else(|| PathBuf::from("../shared"), PathBuf::from);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(root).join(path);
    if path.exists() {
        return Some(path);
    }
    eprintln!("SKIPPED: {} is not here; set DEEPCUT_TEST_DATA to the folder of test data", path.display());
    None
}

/// Mean IoU of the foreground over all images that have a true mask.
fn mean_iou(masks: &Path, truth: &Path) -> (f64, usize) {
    let (mut total, mut count) = (0.0, 0);
    for entry in std::fs::read_dir(masks).unwrap() {
        let path = entry.unwrap().path();
        let found: Mask = read_mask(&path).unwrap();
        let truth = read_mask(&truth.join(path.file_name().unwrap())).unwrap();
        assert_eq!((found.width, found.height), (truth.width, truth.height), "{}", path.display());
        let pairs = || found.values.iter().zip(&truth.values);
        let both = pairs().filter(|(a, b)| **a > 0 && **b > 127).count();
        let either = pairs().filter(|(a, b)| **a > 0 || **b > 127).count();
        total += both as f64 / either.max(1) as f64;
        count += 1;
    }
    (total / count as f64, count)
}

/// Trains on SOD and segments the horses.
fn horses(config: &[&str], preset: Option<&str>, weights: Option<PathBuf>) -> Option<(f64, usize)> {
    let sod = test_data("data/sod/images")?;
    let horses = test_data("data/weizmann_horses/images")?;
    let truth = test_data("data/weizmann_horses/masks")?;
    let folder = tempfile::tempdir().unwrap();
    let preset = preset.map(|preset| Path::new(env!("CARGO_MANIFEST_DIR")).join(preset));
    let overrides: Vec<String> = config.iter().map(|text| text.to_string()).collect();
    let config = config::resolve(preset.as_deref(), &overrides).unwrap();
    let request = TrainRequest {
        data: sod.into(),
        out: Some(folder.path().join("run")),
        weights: weights.clone(),
        machine: Machine { device: DeviceChoice::Cpu, ..Machine::default() },
        resume: false,
        wait: None,
    };
    let trained = train(config, &request, &Silent).unwrap();
    assert!(!trained.objects.collapsed && trained.skipped.is_empty());
    let request = InferRequest {
        checkpoint: trained.checkpoint,
        predict: PredictRequest {
            data: horses.into(),
            out: folder.path().join("out"),
            save: SaveKinds { masks: true, ..Default::default() },
            overwrite: false,
            wait: None,
        },
        weights,
        overrides: Vec::new(),
        machine: Machine { device: DeviceChoice::Cpu, ..Machine::default() },
    };
    let summary = infer(&request, &Silent).unwrap();
    assert_eq!((summary.segmented, summary.skipped), (109, 0));
    Some(mean_iou(&folder.path().join("out/masks"), &truth))
}

#[test]
fn a_network_on_superpixels_finds_horses_it_never_saw() {
    if let Some((iou, count)) = horses(&["backbone=superpixel"], None, None) {
        assert!(count == 109 && iou > 0.52, "mean IoU {iou} over {count}");
    }
}

#[test]
fn a_network_on_transformer_features_finds_horses_it_never_saw() {
    let Some(weights) = test_data("weights/vit_tiny_patch16_224.safetensors") else { return };
    if let Some((iou, count)) = horses(&["train.epochs=24"], Some("configs/vit-tiny.toml"), Some(weights)) {
        assert!(count == 109 && iou > 0.66, "mean IoU {iou} over {count}");
    }
}

#[test]
fn features_of_a_photograph_are_those_of_the_official_code() {
    let (Some(weights), Some(golden), Some(photograph)) = (
        test_data("weights/vit_tiny_patch16_224.safetensors"),
        test_data("golden/official_per_image.safetensors"),
        test_data("data/sod/images/100075.jpg"),
    ) else {
        return;
    };
    let preset = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/vit-tiny.toml");
    let config =
        config::resolve(Some(&preset), &["vit.layers=[9]", "vit.remove_position=0"].map(str::to_string)).unwrap().vit;
    let extractor = VitExtractor::new(&StateDict::open(&weights).unwrap(), config, tensor::cpu()).unwrap();
    let image = decode(&std::fs::read(photograph).unwrap(), &DecodeConfig::default()).unwrap();
    let found = extractor.extract(&image);

    let bytes = std::fs::read(golden).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let expected = file.tensor("features_first_image").unwrap();
    assert_eq!(expected.shape(), [729, 192]);
    let expected = expected.data().chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()));
    let differences: Vec<f32> = found.values.iter().zip(expected).map(|(a, b)| (a - b).abs()).collect();
    assert_eq!(differences.len(), 729 * 192);
    let mean = differences.iter().sum::<f32>() / differences.len() as f32;
    let largest = differences.iter().copied().fold(0.0, f32::max);
    eprintln!("descriptors of length 1: mean difference {mean}, largest {largest}");
    // The photograph's chroma is subsampled, and JPEG decoders round its upsampling differently, by 0.3 levels on
    // average; from the same pixels the descriptors agree to 2e-6. Their entries are about 0.07.
    assert!(mean < 2e-3 && largest < 5e-2, "mean difference {mean}, largest {largest}");
}
