//! Run-length codes and polygons against COCO's own tools, on machines whose `python3` has pycocotools.

use std::path::Path;
use std::process::Command;

use deepcut::numerics::random;
use deepcut::raster::{Mask, Raster, RunLengthMask, mask_from_polygons};
use serde_json::{Value, json};

/// Reads a list of masks and a list of polygon sets from a file, writes what pycocotools makes of them.
const SCRIPT: &str = "
import json, sys
import numpy as np
from pycocotools import mask as coco
described = json.load(open(sys.argv[1]))
answer = []
for item in described:
    height, width = item['height'], item['width']
    if 'values' in item:
        values = np.array(item['values'], dtype=np.uint8).reshape(height, width)
        code = coco.encode(np.asfortranarray(values))
    else:
        code = coco.merge(coco.frPyObjects(item['polygons'], height, width))
    box = [int(side) for side in coco.toBbox(code)]
    answer.append({'counts': code['counts'].decode(), 'area': int(coco.area(code)), 'box': box})
json.dump(answer, sys.stdout)
";

/// What pycocotools says about `items`; none where it cannot be asked.
fn pycocotools(items: &[Value]) -> Option<Vec<Value>> {
    let present = Command::new("python3").args(["-c", "import numpy, pycocotools.mask"]).output();
    if !present.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: python3 has no pycocotools here; `pip install pycocotools` runs this comparison");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("items.json");
    std::fs::write(&file, serde_json::to_vec(items).unwrap()).unwrap();
    let output = Command::new("python3").args(["-c", SCRIPT]).arg(Path::new(&file)).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answers: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answers.len(), items.len());
    Some(answers)
}

/// Holds the runs of `masks` against `answers`, and reads the answers back.
fn compare(masks: &[Mask], answers: &[Value]) {
    for (index, (mask, answer)) in masks.iter().zip(answers).enumerate() {
        let runs = RunLengthMask::encode(mask, |value| value > 0);
        let counts = answer["counts"].as_str().unwrap();
        assert_eq!(runs.compressed(), counts, "mask {index}, {}x{}", mask.width, mask.height);
        assert_eq!(runs.area_px(), answer["area"].as_u64().unwrap(), "mask {index}");
        let sides = runs.bounding().map_or([0; 4], |bounds| [bounds.x, bounds.y, bounds.width, bounds.height]);
        assert_eq!(json!(sides), answer["box"], "mask {index}");
        assert_eq!(RunLengthMask::from_compressed(mask.width, mask.height, counts), Ok(runs), "mask {index}");
    }
}

/// Numbers in [0, 1) for item `index`.
fn draws(purpose: &str, index: usize, count: usize) -> Vec<f64> {
    let mut generator = random::stream(11, purpose, index as u64);
    random::uniform(&mut generator, 0.5, count).into_iter().map(|value| f64::from(value) + 0.5).collect()
}

#[test]
fn thousand_random_masks_have_the_same_code() {
    let masks: Vec<Mask> = (0..1000)
        .map(|index| {
            let sides = draws("sides", index, 4);
            // From single pixels to long runs: noise on a coarse grid, blown up, at every density.
            let (width, height) = (1 + (sides[0] * 60.0) as usize, 1 + (sides[1] * 60.0) as usize);
            let coarse = 1 + (sides[2] * 8.0) as usize;
            let (columns, rows) = (width.div_ceil(coarse), height.div_ceil(coarse));
            let noise = draws("noise", index, columns * rows);
            let values = noise.into_iter().map(|value| u8::from(value < sides[3] * 1.1)).collect();
            Raster::from_values(columns, rows, values).resized_nearest(width, height)
        })
        .collect();
    let describe = |mask: &Mask| json!({ "width": mask.width, "height": mask.height, "values": mask.values });
    if let Some(answers) = pycocotools(&masks.iter().map(describe).collect::<Vec<_>>()) {
        compare(&masks, &answers);
    }
}

#[test]
fn thousand_random_polygon_sets_make_the_same_masks() {
    let (mut items, mut masks) = (Vec::new(), Vec::new());
    for index in 0..1000 {
        let sides = draws("polygon sides", index, 4);
        let (width, height) = (1 + (sides[0] * 70.0) as usize, 1 + (sides[1] * 70.0) as usize);
        let polygons: Vec<Vec<f64>> = (0..1 + index % 3)
            .map(|part| {
                let corners = 3 + (sides[2] * 9.0) as usize;
                let numbers = draws("corners", 3 * index + part, 2 * corners);
                let placed = numbers.iter().enumerate().map(|(place, number)| {
                    let side = if place % 2 == 0 { width } else { height } as f64;
                    // Some far outside; some on whole and half pixels, where edges run along the grid.
                    let value = (number * 1.6 - 0.3) * side;
                    if sides[3] < 0.3 { (value * 2.0).round() / 2.0 } else { value }
                });
                placed.collect()
            })
            .collect();
        masks.push(mask_from_polygons(&polygons, width, height).unwrap());
        items.push(json!({ "width": width, "height": height, "polygons": polygons }));
    }
    if let Some(answers) = pycocotools(&items) {
        compare(&masks, &answers);
    }
}
