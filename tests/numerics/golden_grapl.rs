//! GraPL's network, edges and first labels against PyTorch, NumPy and scikit-image.

use deepcut::features::{SlicParameters, slic_clusters};
use deepcut::graph::{Proximity, deviation};
use deepcut::numerics::{argmax, random};
use deepcut::raster::{RgbImage, floor_positions};
use deepcut::segment::grapl::{
    Extent, GridLoss, Losses, Pass, PatchImage, PatchNetwork, Positions, colour_components, label_counts, label_pixels,
};
use deepcut::train::HostOptimiser;
use serde_json::Value;

use crate::golden::Golden;

const LABELS: usize = 5;
const PATCHES: usize = 4;
/// Convolutions have no biases here: the running means are without them.
const CONVOLUTION_BIASES: [&str; 2] = ["c1.bias", "c2.bias"];
const PARAMETERS: [&str; 8] =
    ["c1.weight", "b1.weight", "b1.bias", "c2.weight", "b2.weight", "b2.bias", "out.weight", "out.bias"];

/// A tensor of the network's parameters, in the order in which this network has its values.
fn parameter(golden: &Golden, prefix: &str, name: &str) -> Vec<f32> {
    let values = golden.floats(&format!("net.{prefix}.{name}"));
    if name != "c2.weight" {
        return values;
    }
    let [outputs, inputs, ..] = golden.shape("net.before.c2.weight")[..] else { panic!("a convolution") };
    let taps = values.len() / outputs / inputs;
    let at = |place: usize| {
        let (output, tap, input) = (place / (taps * inputs), place / inputs % taps, place % inputs);
        values[(output * inputs + input) * taps + tap]
    };
    (0..values.len()).map(at).collect()
}

fn network(golden: &Golden) -> (PatchNetwork, PatchImage) {
    let image = PatchImage::of_planes(golden.floats("net.image"), golden.shape("net.image")[3], PATCHES);
    let mut network = PatchNetwork::new(image.patch_side(), LABELS, &mut random::stream(0, "golden", 0));
    network.parameters = PARAMETERS.iter().map(|name| parameter(golden, "before", name)).collect();
    for ((running, layer), bias) in network.running.iter_mut().zip(["b1", "b2"]).zip(CONVOLUTION_BIASES) {
        let mean = golden.floats(&format!("net.before.{layer}.running_mean"));
        let bias = golden.floats(&format!("net.before.{bias}"));
        running.mean = mean.iter().zip(bias).map(|(mean, bias)| mean - bias).collect();
        running.variance = golden.floats(&format!("net.before.{layer}.running_var"));
    }
    (network, image)
}

fn assert_near(found: &[f32], expected: &[f32], tolerance: f32, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let worst = found.iter().zip(expected).map(|(found, expected)| (found - expected).abs()).fold(0.0, f32::max);
    assert!(worst <= tolerance, "{what}: off by {worst}");
}

#[test]
fn nearest_positions_are_pytorchs() {
    let numbers: Value = serde_json::from_str(include_str!("../golden/grapl.json")).unwrap();
    let cases = numbers["nearest"].as_object().unwrap();
    assert_eq!(cases.len(), 3);
    for (sizes, positions) in cases {
        let (from, to) = sizes.split_once("->").unwrap();
        let found = floor_positions(to.parse().unwrap(), from.parse().unwrap());
        assert_eq!(&serde_json::to_value(found).unwrap(), positions, "{sizes}");
    }
}

#[test]
fn edges_between_patches_are_those_of_their_kernel() {
    let golden = Golden::open("grapl");
    let colours: Vec<[f64; 3]> =
        golden.floats("cut.colours").as_chunks::<3>().0.iter().map(|colour| colour.map(f64::from)).collect();
    let components = colour_components(&colours);
    let distance = |one: usize, other: usize| {
        components[one].iter().zip(components[other]).map(|(one, other)| (one - other).powi(2)).sum::<f64>().sqrt()
    };
    let expected = golden.doubles("cut.kpca_distances");
    let largest = expected.iter().copied().fold(0.0, f64::max);
    for (place, expected) in expected.iter().enumerate() {
        let found = distance(place / 64, place % 64);
        assert!((found - expected).abs() <= 1e-6 * largest, "{place}: {found} is not {expected}");
    }

    let sigma = deviation(colours.len(), distance);
    assert!((sigma / golden.doubles("cut.sigma")[0] - 1.0).abs() < 1e-6, "{sigma}");
    let places: Vec<[f64; 2]> = (0..1024).map(|patch| [(patch % 32) as f64, (patch / 32) as f64]).collect();
    let found = Proximity::new(&places, sigma, distance);
    let weights = golden.doubles("cut.weights");
    let edges = golden.integers("cut.edges");
    let expected = edges.as_chunks::<2>().0.iter().map(|pair| pair.map(|node| node as u32)).zip(&weights);
    // What lies within rounding of the least weight may be on either side of it.
    let is_certain = |weight: f64| (weight - 0.2).abs() > 1e-6;
    let expected: Vec<_> = expected.filter(|(_, weight)| is_certain(**weight)).collect();
    let pairs = found.edges.iter().zip(&found.weights).filter(|(_, weight)| is_certain(**weight));
    let found: Vec<_> = pairs.map(|(&(one, other), &weight)| ([one, other], weight)).collect();
    assert_eq!(found.len(), expected.len());
    for ((pair, weight), (expected_pair, expected)) in found.iter().zip(expected) {
        assert_eq!(*pair, expected_pair);
        assert!((weight - expected).abs() < 1e-6, "{pair:?}: {weight} is not {expected}");
    }
}

#[test]
fn the_network_answers_patches_and_whole_images_as_pytorchs() {
    let golden = Golden::open("grapl");
    let (network, image) = network(&golden);
    let all: Vec<usize> = (0..PATCHES * PATCHES).collect();
    assert_near(&network.logits(&image, &all), &golden.floats("net.eval_patch_logits"), 1e-5, "patches");
    let [labels, rows, places] = golden.shape("net.eval_map_logits")[..] else { panic!("a map") };
    let mut map = vec![0.0; labels * rows * places];
    network.map(image.planes(), Extent::square(image.side()), |row, logits| {
        for (label, logits) in logits.chunks_exact(places).enumerate() {
            map[(label * rows + row) * places..][..places].copy_from_slice(logits);
        }
    });
    assert_near(&map, &golden.floats("net.eval_map_logits"), 1e-5, "map");
    let found = label_pixels(&network, &image, Positions::Stretched, 60, 40);
    let expected = golden.integers("net.label_map_40x60");
    let differing = found.values.iter().zip(&expected).filter(|(found, expected)| i64::from(**found) != **expected);
    assert!(found.values.len() == expected.len() && differing.count() <= 2);
}

#[test]
fn two_steps_of_training_are_pytorchs() {
    let golden = Golden::open("grapl");
    let (mut network, image) = network(&golden);
    let targets: Vec<usize> = golden.integers("net.labels").into_iter().map(|label| label as usize).collect();
    let mut loss = GridLoss::new(PATCHES, LABELS, &targets, 3.0);
    let mut optimiser = HostOptimiser::new(0.0, &network.parameters);
    let mut pass = Pass::default();
    for step in 0..2 {
        let half: Vec<usize> = (step..targets.len()).step_by(2).collect();
        network.forward(&image, &half, [0.0; 3], &mut random::stream(0, "golden", 1), &mut pass);
        assert_near(&pass.logits, &golden.floats(&format!("net.step{step}.logits")), 1e-5, &format!("step {step}"));
        let (Losses { cross_entropy, continuity, total }, gradient) = loss.of(&half, &pass.logits, &targets);
        let expected = golden.doubles(&format!("net.step{step}.losses"));
        for (found, expected) in [cross_entropy, continuity, total].iter().zip(expected) {
            assert!((found - expected).abs() < 1e-5, "step {step}: a loss of {found}, not {expected}");
        }
        let gradients = network.backward(&mut pass, &gradient);
        if step == 0 {
            for (name, found) in PARAMETERS.iter().zip(&gradients) {
                let expected = parameter(&golden, "step0.grad", name);
                let largest = expected.iter().map(|value| value.abs()).fold(0.0, f32::max);
                assert_near(found, &expected, 1e-5 * largest, &format!("gradient of {name}"));
            }
        }
        optimiser.step(0.01, &mut network.parameters, &gradients);
    }
    for (name, found) in PARAMETERS.iter().zip(&network.parameters) {
        assert_near(found, &parameter(&golden, "after2", name), 1e-5, &format!("{name} after two steps"));
    }
    for (running, layer) in network.running.iter().zip(["b1", "b2"]) {
        assert_near(&running.variance, &golden.floats(&format!("net.after2.{layer}.running_var")), 1e-5, layer);
    }
}

#[test]
fn first_labels_are_scikit_images() {
    let golden = Golden::open("grapl");
    let pixels = golden.bytes("slic.image").as_chunks::<3>().0.to_vec();
    let image = RgbImage::from_values(128, 128, pixels);
    let (labels, seeds) = slic_clusters(&image, &SlicParameters { regions: 14, compactness: 0.1, sigma: 10.0 });
    assert_eq!(seeds, 16);
    // The reference counts from 1.
    let expected = golden.integers("slic.labels");
    let same = labels.values.iter().zip(&expected).filter(|(found, expected)| i64::from(**found) + 1 == **expected);
    let share = same.count() as f64 / expected.len() as f64;
    assert!(share >= 0.99, "{share} of the pixels");
    let of_patches = label_counts(&labels, seeds, 8);
    let found = of_patches.chunks_exact(seeds).map(|counts| argmax(counts) as i64 + 1);
    let same =
        found.zip(golden.integers("slic.patch_labels_8x8")).filter(|(found, expected)| found == expected).count();
    assert!(same >= 62, "{same} of 64 patches");
}
