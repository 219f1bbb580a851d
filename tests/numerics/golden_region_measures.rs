//! Measures of segmentations against SciPy, scikit-learn and scikit-image, and against the code of GraPL.

use std::collections::BTreeMap;

use deepcut::metrics::{RegionScores, region_scores};
use deepcut::raster::LabelMap;
use serde::Deserialize;

/// Centres of cells, with the label of each: x, y, label.
type Sites = Vec<[i64; 3]>;

#[derive(Deserialize)]
struct Image {
    width: usize,
    height: usize,
    prediction: Sites,
    annotations: Vec<Sites>,
    scores: BTreeMap<String, f64>,
    boundaries: Boundaries,
}

#[derive(Deserialize)]
struct Boundaries {
    predicted_px: u64,
    true_px: u64,
    found_px: u64,
    /// By the assignment of the least total distance, which the benchmark makes.
    right_px_by_distance: u64,
}

#[derive(Deserialize)]
struct Grapl {
    measures: Measures,
}

#[derive(Deserialize)]
struct Measures {
    prediction: Vec<Vec<u32>>,
    truth: Vec<Vec<u32>>,
    scores: BTreeMap<String, f64>,
}

/// Every pixel with the label of the nearest site, the first of equally near ones.
fn drawn(sites: &Sites, width: usize, height: usize) -> LabelMap {
    let label = |place: usize| {
        let [x, y] = [place % width, place / width].map(|coordinate| coordinate as i64);
        let nearest = sites.iter().min_by_key(|[site_x, site_y, _]| (site_x - x).pow(2) + (site_y - y).pow(2));
        nearest.unwrap()[2] as u32
    };
    LabelMap::from_values(width, height, (0..width * height).map(label).collect())
}

fn by_name(scores: &RegionScores) -> [(&'static str, f64); 10] {
    [
        ("iou", scores.iou),
        ("accuracy", scores.accuracy),
        ("covering", scores.covering),
        ("rand_index", scores.rand_index),
        ("variation_of_information_bits", scores.variation_of_information_bits),
        ("undersegmentation_error", scores.undersegmentation_error),
        ("iou_by_predicted_area", scores.iou_by_predicted_area),
        ("accuracy_by_shared_pixels", scores.accuracy_by_shared_pixels),
        ("oracle_iou", scores.oracle_iou),
        ("oracle_accuracy", scores.oracle_accuracy),
    ]
}

#[test]
fn segmentations_score_as_in_scipy_scikit_learn_and_scikit_image() {
    let images: Vec<Image> = serde_json::from_str(include_str!("../golden/regions.json")).unwrap();
    assert_eq!(images.len(), 6);
    for (index, image) in images.into_iter().enumerate() {
        let draw = |sites| drawn(sites, image.width, image.height);
        let annotations: Vec<LabelMap> = image.annotations.iter().map(draw).collect();
        let found = region_scores(&draw(&image.prediction), &annotations).unwrap();
        assert_eq!(image.scores.len(), by_name(&found).len());
        for (name, score) in by_name(&found) {
            let expected = image.scores[name];
            assert!((score - expected).abs() < 1e-12, "image {index}, {name}: {score} instead of {expected}");
        }
        let Boundaries { predicted_px, true_px, found_px, right_px_by_distance } = image.boundaries;
        let counts = [found.boundary.predicted_px, found.boundary.true_px, found.boundary.found_px];
        assert_eq!(counts, [predicted_px, true_px, found_px], "image {index}");
        // Which pixels are matched, and so how many by several annotators, is not the same for all matchings of most pixels.
        let difference = found.boundary.right_px.abs_diff(right_px_by_distance);
        println!("image {index}: {} pixels are right, {right_px_by_distance} by distance", found.boundary.right_px);
        assert!(difference as f64 <= 0.01 * predicted_px as f64, "image {index}: {difference} of {predicted_px}");
    }
}

#[test]
fn the_measures_of_grapl_are_those_of_its_code() {
    let Grapl { measures: Measures { prediction, truth, scores } } =
        serde_json::from_str(include_str!("../golden/grapl.json")).unwrap();
    let map = |rows: Vec<Vec<u32>>| LabelMap::from_values(rows[0].len(), rows.len(), rows.concat());
    let found = region_scores(&map(prediction), &[map(truth)]).unwrap();
    for (name, score) in [
        ("dc_iou", found.iou),
        ("dc_acc", found.accuracy),
        ("pa_iou", found.iou_by_predicted_area),
        ("pa_acc", found.accuracy_by_shared_pixels),
    ] {
        assert!((score - scores[name]).abs() < 1e-12, "{name}: {score} instead of {}", scores[name]);
    }
}
