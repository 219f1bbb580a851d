//! `deepcut eval --task instances` as a process.

use std::fs;

use serde_json::{Value, json};

use crate::eval::{Scene, assert_close};

#[test]
fn instances_are_scored_one_by_one() {
    let scene = Scene::new();
    let object = |counts: &str, size: [usize; 2], confidence: f64| {
        json!({ "label": 1, "box": [0, 0, 1, 1], "area_px": 1, "confidence": confidence,
                "segmentation": { "size": size, "counts": counts } })
    };
    let line = |path: &str, objects: Value| json!({ "path": path, "status": "done", "objects": objects }).to_string();
    let lines = [
        // The left half of the image and one pixel; in `b` the whole of an image that was half as large.
        line("a.jpg", json!([object("044", [2, 4], 0.9), object("71", [2, 4], 0.8)])),
        line("b.jpg", json!([object("02", [1, 2], 0.7)])),
        line("c.jpg", json!([])),
    ];
    scene.text("out/predictions.jsonl", &lines.join("\n"));
    let images: Vec<Value> = ["a", "b", "c"]
        .iter()
        .zip(1..)
        .map(|(name, id)| json!({ "id": id, "file_name": format!("{name}.jpg"), "width": 4, "height": 2 }))
        .collect();
    let annotation = |image: u32, counts: Value| json!({ "image_id": image, "category_id": image, "segmentation": { "size": [2, 4], "counts": counts } });
    let annotations = [annotation(1, json!([0, 4, 4])), annotation(3, json!([0, 8]))];
    scene.text("coco.json", &json!({ "images": images, "annotations": annotations }).to_string());
    let found = scene.scores("--pred out --truth coco.json --task instances --csv instances.csv");
    assert_close(&found["ar_100"], 0.5);
    assert_close(&found["ar_1"], 0.5);
    // Right at once: precision 1 up to a recall of ½.
    assert_close(&found["ap"], 51.0 / 101.0);
    assert_close(&found["ap_small"], 51.0 / 101.0);
    assert_eq!((&found["images"], &found["ap_large"]), (&json!(3), &Value::Null));
    assert_eq!((&found["resized"], &found["empty_predictions"]), (&json!(["b"]), &json!(["c"])));
    assert_eq!(
        fs::read_to_string(scene.path("instances.csv")).unwrap(),
        "image,objects,predicted,found\na,1,2,1\nb,0,1,0\nc,1,0,0\n"
    );
    scene.text("plain/predictions.jsonl", r#"{"path":"a.jpg","status":"done"}"#);
    let plain = scene.error(2, "--pred plain --truth coco.json --task instances");
    assert!(plain.contains("--instances"), "{plain}");
    scene.text("broken/predictions.jsonl", &line("a.jpg", json!([object("9", [2, 4], 0.5)])));
    let broken = scene.error(4, "--pred broken --truth coco.json --task instances");
    assert!(broken.contains("predictions.jsonl: a: "), "{broken}");
}
