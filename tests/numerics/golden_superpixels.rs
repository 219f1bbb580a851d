//! Superpixels and their graph against scikit-image's.

use std::collections::BTreeMap;

use deepcut::features::{SlicParameters, region_graph, slic};
use deepcut::nodes::Adjacency;
use deepcut::raster::{LabelMap, RgbImage};
use safetensors::SafeTensors;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/superpixels.safetensors");

/// The image, the labels from 0, and the bytes for whatever else a test needs.
fn golden() -> (RgbImage, LabelMap, Vec<u8>) {
    let bytes = std::fs::read(GOLDEN).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let image = tensors.tensor("image").unwrap();
    let (height, width) = (image.shape()[0], image.shape()[1]);
    let pixels = image.data().as_chunks::<3>().0.to_vec();
    let labels = tensors.tensor("labels").unwrap().data().as_chunks::<4>().0.iter();
    // The reference counts from 1.
    let labels = labels.map(|&value| (i32::from_le_bytes(value) - 1) as u32).collect();
    (RgbImage::from_values(width, height, pixels), LabelMap::from_values(width, height, labels), bytes)
}

fn doubles(bytes: &[u8], name: &str) -> Vec<f64> {
    let tensors = SafeTensors::deserialize(bytes).unwrap();
    tensors.tensor(name).unwrap().data().as_chunks::<8>().0.iter().map(|&value| f64::from_le_bytes(value)).collect()
}

/// (Σ pairs together in both − expected) / (mean of pairs together in either − expected).
fn adjusted_rand_index(a: &LabelMap, b: &LabelMap) -> f64 {
    let pairs = |count: u64| (count * count.saturating_sub(1)) as f64 / 2.0;
    fn counts<K: Ord>(keys: impl Iterator<Item = K>) -> BTreeMap<K, u64> {
        let mut counts = BTreeMap::new();
        keys.for_each(|key| *counts.entry(key).or_default() += 1);
        counts
    }
    let total = |counts: Vec<u64>| counts.into_iter().map(pairs).sum::<f64>();
    let both = total(counts(a.values.iter().zip(&b.values)).into_values().collect());
    let in_a = total(counts(a.values.iter()).into_values().collect());
    let in_b = total(counts(b.values.iter()).into_values().collect());
    let expected = in_a * in_b / pairs(a.values.len() as u64);
    (both - expected) / ((in_a + in_b) / 2.0 - expected)
}

#[test]
fn region_graph_equals_the_reference() {
    let (image, labels, bytes) = golden();
    let regions = *labels.values.iter().max().unwrap() as usize + 1;
    let graph = region_graph(&image, &labels, regions);

    let features = doubles(&bytes, "features");
    assert_eq!(graph.values.len(), features.len());
    for (index, (&value, &expected)) in graph.values.iter().zip(&features).enumerate() {
        assert!((f64::from(value) - expected).abs() < 1e-5, "feature {index}: {value} instead of {expected}");
    }

    let Adjacency::Edges(edges) = graph.adjacency else { panic!("a region graph lists its edges") };
    let mut similarity = vec![0.0f32; regions * regions];
    for edge in &edges {
        assert!(edge.first < edge.second);
        similarity[edge.first as usize * regions + edge.second as usize] = edge.weight;
        similarity[edge.second as usize * regions + edge.first as usize] = edge.weight;
    }
    let expected = doubles(&bytes, "rag_similarity");
    assert_eq!(2 * edges.len(), expected.iter().filter(|&&weight| weight > 0.0).count());
    for (index, (&value, &expected)) in similarity.iter().zip(&expected).enumerate() {
        assert!((f64::from(value) - expected).abs() < 1e-5, "weight {index}: {value} instead of {expected}");
    }
}

#[test]
fn superpixels_agree_with_the_reference() {
    let (image, expected, _) = golden();
    let (labels, regions) = slic(&image, &SlicParameters { regions: 100, compactness: 40.0, sigma: 1.0 });
    let agreement = adjusted_rand_index(&labels, &expected);
    assert!(agreement > 0.98, "adjusted Rand index {agreement} with {regions} regions");
    assert_eq!(regions, 98);
}
