//! Resizing, normalising and colour conversion against numbers made with PIL, PyTorch and scikit-image.

use deepcut::pixels::{lab_from_rgb, normalise, resize_lanczos};
use deepcut::raster::{Raster, RgbImage};
use safetensors::{SafeTensors, tensor::TensorView};

const MEAN: [f32; 3] = [0.485, 0.456, 0.406];
const STANDARD_DEVIATION: [f32; 3] = [0.229, 0.224, 0.225];

fn golden(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn image(tensor: &TensorView) -> RgbImage {
    let [height, width, 3] = *tensor.shape() else { panic!("not [height, width, 3]: {:?}", tensor.shape()) };
    Raster::from_values(width, height, tensor.data().as_chunks::<3>().0.to_vec())
}

#[test]
fn preprocessing_agrees_with_pil_and_torchvision() {
    let bytes = golden("preprocess.safetensors");
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    for (name, expected_name, side) in [("large", "large_to_112", 112), ("small", "small_to_280", 280)] {
        let resized = resize_lanczos(&image(&tensors.tensor(name).unwrap()), side, side);
        let values = normalise(&resized, MEAN, STANDARD_DEVIATION);
        let expected = tensors.tensor(expected_name).unwrap();
        assert_eq!(expected.shape(), [3, side, side]);
        let expected = expected.data().as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes));
        let differences: Vec<f32> =
            values.iter().zip(expected).map(|(value, expected)| (value - expected).abs()).collect();
        assert_eq!(differences.len(), 3 * side * side);
        let mean = differences.iter().sum::<f32>() / differences.len() as f32;
        let largest = differences.iter().copied().fold(0.0, f32::max);
        println!("{expected_name}: mean difference {mean:.6}, largest {largest:.4}");
        assert!(mean <= 0.01 && largest <= 0.05, "{expected_name}: mean difference {mean}, largest {largest}");
    }
}

#[test]
fn lab_agrees_with_scikit_image() {
    let bytes = golden("superpixels.safetensors");
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let lab = lab_from_rgb(&image(&tensors.tensor("image").unwrap()));
    let expected = tensors.tensor("image_lab").unwrap();
    assert_eq!(expected.shape(), [45, 48, 3]);
    // The expected values are those of every eighth row and column.
    let mut largest = 0.0f64;
    for (index, bytes) in expected.data().as_chunks::<8>().0.iter().enumerate() {
        let (position, channel) = (index / 3, index % 3);
        let value = lab.at(8 * (position % 48), 8 * (position / 48))[channel];
        largest = largest.max((f64::from(value) - f64::from_le_bytes(*bytes)).abs());
    }
    println!("image_lab: largest difference {largest:.6}");
    assert!(largest <= 1e-3, "largest difference {largest}");
}
