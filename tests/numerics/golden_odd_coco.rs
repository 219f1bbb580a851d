//! Annotation files as people store them, against pycocotools: `tests/golden/odd_coco.py` made the files, and the masks and
//! boxes that COCO's own tools read from them.

use std::collections::BTreeMap;

use deepcut::dataset::truth::coco;
use deepcut::raster::RunLengthMask;
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    name: String,
    file: String,
    /// Whether this is read although pycocotools refuses some of it.
    beyond: bool,
    images: BTreeMap<String, Image>,
    refused: Vec<Refused>,
}

#[derive(Deserialize)]
struct Image {
    counts: String,
    boxes: Vec<[f64; 4]>,
}

#[derive(Deserialize)]
struct Refused {
    annotation: String,
}

#[test]
fn odd_annotations_are_read_as_by_pycocotools_and_what_it_refuses_is_told() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/odd_coco.json")).unwrap();
    let cases: Vec<Case> = serde_json::from_str(&text).unwrap();
    assert!(cases.len() > 30);
    let folder = tempfile::tempdir().unwrap();
    for Case { name, file, beyond, images, refused } in cases {
        let path = folder.path().join(format!("{name}.json"));
        std::fs::write(&path, file).unwrap();
        let truth = coco::masks(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut told = truth.remarks.clone();
        let mut found = BTreeMap::new();
        for image in truth.images {
            let drawn = image.content.draw((32, 24)).unwrap();
            told.extend(drawn.left_out);
            found.insert(image.key, RunLengthMask::encode(&drawn.foreground, |inside| inside > 0).compressed());
        }
        let expected: BTreeMap<String, String> =
            images.iter().map(|(key, image)| (key.clone(), image.counts.clone())).collect();
        assert_eq!(found, expected, "{name}");
        for Refused { annotation } in refused.iter().filter(|_| !beyond) {
            let is_named = |remark: &String| remark.contains(&format!("annotation {annotation}"));
            assert!(told.iter().any(is_named), "{name}: {told:?}");
        }
        let boxes = coco::boxes(&path).unwrap().images.into_iter().map(|image| {
            let boxes = image.content.iter().map(|found| [found.x, found.y, found.width, found.height]);
            (image.key, boxes.collect::<Vec<_>>())
        });
        let expected = images.into_iter().map(|(key, image)| (key, image.boxes));
        assert_eq!(boxes.collect::<BTreeMap<_, _>>(), expected.collect(), "{name}");
    }
}
