//! The bilateral solver against the official pipeline's.

use deepcut::raster::{LabelMap, Mask, RgbImage};
use deepcut::refine::bilateral::{BilateralConfig, BilateralSolver};
use deepcut::refine::{RefineConfig, RefineMethod, Shares};
use safetensors::SafeTensors;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/bilateral.safetensors");

struct Golden {
    bytes: Vec<u8>,
}

impl Golden {
    fn open() -> Golden {
        Golden { bytes: std::fs::read(GOLDEN).unwrap() }
    }

    fn tensor(&self, name: &str) -> (Vec<usize>, Vec<u8>) {
        let tensors = SafeTensors::deserialize(&self.bytes).unwrap();
        let tensor = tensors.tensor(name).unwrap();
        (tensor.shape().to_vec(), tensor.data().to_vec())
    }

    fn doubles(&self, name: &str) -> Vec<f64> {
        self.tensor(name).1.as_chunks::<8>().0.iter().map(|&value| f64::from_le_bytes(value)).collect()
    }

    fn image(&self) -> RgbImage {
        let (shape, bytes) = self.tensor("image");
        RgbImage::from_values(shape[1], shape[0], bytes.as_chunks::<3>().0.to_vec())
    }
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut values = values.to_vec();
    values.sort_unstable_by(f64::total_cmp);
    values
}

fn largest_difference(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

#[test]
fn grid_is_that_of_the_reference() {
    let golden = Golden::open();
    let solver = BilateralSolver::new(&golden.image(), BilateralConfig::default());
    let (_, vertices) = golden.tensor("vertices");
    assert_eq!(vertices, (solver.vertices() as i64).to_le_bytes());
    // The vertices' order is each implementation's own.
    let (n, m) = solver.bistochastic_diagonals();
    assert!(largest_difference(&sorted(n), &sorted(&golden.doubles("dn"))) < 1e-6);
    assert!(largest_difference(&sorted(m), &sorted(&golden.doubles("dm"))) < 1e-6);
}

#[test]
fn solution_is_that_of_the_reference() {
    let golden = Golden::open();
    let (image, target) = (golden.image(), golden.doubles("target"));
    let soft = BilateralSolver::new(&image, BilateralConfig::default()).solve(&target);
    let difference = largest_difference(&soft, &golden.doubles("soft"));
    assert!(difference < 1e-4, "{difference}");

    let mask = Mask::from_values(image.width, image.height, target.iter().map(|&value| value as u8).collect());
    let shares = Shares { nodes: &LabelMap::filled(0, 0, 0), values: &[], classes: 0 };
    let config =
        RefineConfig { method: Some(RefineMethod::Bilateral), largest_component: true, ..RefineConfig::default() };
    assert_eq!(config.apply(&image, mask, shares, None, |label| label).values, golden.tensor("binary").1);
}
