//! Scores and run-length codes against numbers made with scikit-learn and pycocotools.

use deepcut::metrics::Contingency;
use deepcut::raster::{Mask, Rectangle, RunLengthMask};
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    clusterings: Vec<Clustering>,
    rle: Vec<CodedMask>,
}

#[derive(Deserialize)]
struct Clustering {
    truth: Vec<u32>,
    pred: Vec<u32>,
    nmi: f64,
    ari: f64,
    purity: f64,
}

#[derive(Deserialize)]
struct CodedMask {
    mask: Vec<Vec<u8>>,
    /// Height, width.
    size: [usize; 2],
    counts: String,
    area: u64,
    /// x, y, width, height.
    bbox: [f64; 4],
}

fn golden() -> Golden {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/metrics.json");
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_json::from_str(&text).unwrap()
}

#[test]
fn clusterings_score_as_in_scikit_learn() {
    let clusterings = golden().clusterings;
    assert_eq!(clusterings.len(), 6);
    for (index, Clustering { truth, pred, nmi, ari, purity }) in clusterings.into_iter().enumerate() {
        let table = Contingency::from_labels(&truth, &pred);
        for (name, found, expected) in [
            ("NMI", table.normalised_mutual_information(), nmi),
            ("ARI", table.adjusted_rand_index(), ari),
            ("purity", table.purity(), purity),
        ] {
            println!("{index} {name}: difference {:e}", (found - expected).abs());
            assert!((found - expected).abs() <= 1e-12, "{index} {name}: {found} instead of {expected}");
        }
    }
}

#[test]
fn masks_are_coded_as_by_pycocotools() {
    let masks = golden().rle;
    assert_eq!(masks.len(), 8);
    for CodedMask { mask, size: [height, width], counts, area, bbox } in masks {
        let mask = Mask::from_values(width, height, mask.concat());
        let runs = RunLengthMask::encode(&mask, |value| value > 0);
        assert_eq!(runs.compressed(), counts);
        assert_eq!(runs.area_px(), area);
        let [x, y, box_width, box_height] = bbox.map(|side| side as usize);
        assert_eq!(runs.bounding(), Some(Rectangle { x, y, width: box_width, height: box_height }));
        assert_eq!(RunLengthMask::from_compressed(width, height, &counts).unwrap().decode(), mask);
    }
}
