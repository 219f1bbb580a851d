//! `deepcut eval` as a process, on results and ground truth small enough to score by hand.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::{Value, json};

use crate::drive::{program, text as said};

/// A folder with results and ground truth.
pub struct Scene {
    folder: tempfile::TempDir,
}

impl Scene {
    pub fn new() -> Scene {
        Scene { folder: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn text(&self, name: &str, text: &str) -> &Self {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    /// An 8-bit grey PNG whose rows are given as digits, `v` meaning 255.
    pub fn map(&self, name: &str, rows: &[&str]) -> &Self {
        let value = |digit: char| if digit == 'v' { 255 } else { digit.to_digit(10).unwrap() as u8 };
        let values: Vec<u8> = rows.iter().flat_map(|row| row.chars().map(value)).collect();
        self.png(name, rows[0].len(), png::BitDepth::Eight, &values)
    }

    pub fn png(&self, name: &str, width: usize, depth: png::BitDepth, bytes: &[u8]) -> &Self {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let height = bytes.len() / width / if depth == png::BitDepth::Sixteen { 2 } else { 1 };
        let mut encoder = png::Encoder::new(fs::File::create(path).unwrap(), width as u32, height as u32);
        encoder.set_color(png::ColorType::Grayscale);
        encoder.set_depth(depth);
        encoder.write_header().unwrap().write_image_data(bytes).unwrap();
        self
    }

    /// Runs `deepcut eval` in the folder; `arguments` are separated by spaces.
    pub fn run(&self, arguments: &str) -> Output {
        let arguments: Vec<&str> = std::iter::once("eval").chain(arguments.split(' ')).collect();
        program(&arguments).current_dir(self.folder.path()).output().unwrap()
    }

    /// The scores of a run that must end well.
    pub fn scores(&self, arguments: &str) -> Value {
        let output = self.run(&format!("{arguments} --json"));
        assert_eq!(output.status.code(), Some(0), "{arguments}: {}", said(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// What a run says that must fail with `code`, in one line.
    pub fn error(&self, code: i32, arguments: &str) -> String {
        let output = self.run(arguments);
        let text = said(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments}: {text}{}", said(&output.stdout));
        assert!(!text.contains("panicked"), "{text}");
        text.lines().find(|line| line.starts_with("error:")).unwrap().to_string()
    }
}

#[track_caller]
pub fn assert_close(found: &Value, expected: f64) {
    let number = found.as_f64().unwrap_or_else(|| panic!("{found} instead of {expected}"));
    assert!((number - expected).abs() < 1e-12, "{number} instead of {expected}");
}

#[test]
fn objects_are_scored_per_image_and_nothing_is_dropped_silently() {
    let scene = Scene::new();
    scene
        .map("out/masks/a.png", &["1100", "2000"])
        .map("out/masks/sub/b.png", &["0000", "0000"])
        .map("out/masks/small.png", &["10"])
        .map("out/masks/alone.png", &["1"])
        .map("truth/a.png", &["vv00", "0v00"])
        .map("truth/b.png", &["00vv", "0000"])
        .map("truth/small.png", &["vv00", "vv00"])
        .map("truth/missing.png", &["v"]);
    let found = scene.scores("--pred out --truth truth --task objects --csv table.csv");
    // a: 2 of 4, 6 of 8 pixels right; b: nothing found, 6 of 8; small: enlarged, all right.
    assert_close(&found["miou"], (0.5 + 0.0 + 1.0) / 3.0);
    assert_close(&found["accuracy"], (0.75 + 0.75 + 1.0) / 3.0);
    let (precision, recall) = ((2.0 / 3.0 + 0.0 + 1.0) / 3.0, (2.0 / 3.0 + 0.0 + 1.0) / 3.0);
    assert_close(&found["max_f_beta"], 1.3 * precision * recall / (0.3 * precision + recall));
    assert_eq!(found["images"], 3);
    assert_eq!(found["unmatched_predictions"], json!(["alone"]));
    assert_eq!(found["unmatched_truth"], json!(["missing"]));
    assert_eq!(found["empty_predictions"], json!(["sub/b"]));
    assert_eq!(found["resized"], json!(["small"]));
    assert!(found["definitions"]["miou"].as_str().unwrap().contains("mean over images"));
    let table = fs::read_to_string(scene.path("table.csv")).unwrap();
    let rows: Vec<&str> = table.lines().collect();
    assert_eq!((rows[0], rows.len()), ("image,iou,accuracy,f_beta,confidence", 4));
    assert!(rows[1].starts_with("a,0.5,0.75,") && rows[3] == "sub/b,0,0.75,0,", "{table}");
    assert_eq!((found.get("risk_coverage"), found.get("risk_coverage_perfect")), (None, None));

    // People see the same, with warnings beside it.
    let output = scene.run("--pred out/masks --truth truth --task objects");
    let (table, warnings) = (said(&output.stdout), said(&output.stderr));
    for expected in ["50.00 %", "3 images scored, 1 without ground truth, 1 without prediction", "mean over images"] {
        assert!(table.contains(expected), "{expected} in\n{table}");
    }
    for expected in ["alone", "missing", "sub/b", "matched by name", "small"] {
        assert!(warnings.contains(expected), "{expected} in\n{warnings}");
    }

    // The risks are 0.5 of a, 1 of b and 0 of small; what is not scored is not ranked either.
    let confidences = |a: f64| {
        let of = [("a.jpg", json!(a)), ("sub/b.jpg", Value::Null), ("small.jpg", json!(0.75)), ("alone.jpg", json!(1))];
        of.map(|(path, confidence)| json!({ "path": path, "status": "done", "confidence": confidence }).to_string())
            .join("\n")
    };
    for (confidence, area) in [
        (0.5, (0.0 + 0.5 / 2.0 + 1.5 / 3.0) / 3.0),
        (0.875, (0.5 + 0.5 / 2.0 + 1.5 / 3.0) / 3.0),
        (0.75, (0.25 + 0.5 / 2.0 + 1.5 / 3.0) / 3.0),
        (0.0, (0.0 + 0.75 / 2.0 + 1.5 / 3.0) / 3.0),
    ] {
        scene.text("out/predictions.jsonl", &confidences(confidence));
        let ranked = scene.scores("--pred out --truth truth --task objects --csv table.csv");
        assert_close(&ranked["risk_coverage"], area);
        assert_close(&ranked["risk_coverage_perfect"], 0.25);
        assert_eq!(ranked["miou"], found["miou"]);
        assert!(ranked["definitions"]["risk_coverage"].as_str().unwrap().ends_with("1 − miou = 0.5000"));
        assert!(ranked["definitions"]["risk_coverage_perfect"].as_str().unwrap().contains("true IoU"));
        let table = fs::read_to_string(scene.path("table.csv")).unwrap();
        let rows: Vec<&str> = table.lines().collect();
        assert!(rows[1].ends_with(&format!(",{confidence}")) && rows[3] == "sub/b,0,0.75,0,", "{table}");
    }
}

#[test]
fn saliency_maps_are_scored_over_thresholds() {
    let scene = Scene::new();
    // The mask misses a pixel of the truth that the saliency map ranks second.
    scene.map("truth/a.png", &["110", "000"]).map("out/masks/a.png", &["100", "000"]);
    let of_mask = scene.scores("--pred out --truth truth --task objects");
    assert_close(&of_mask["max_f_beta"], 1.3 * 0.5 / (0.3 + 0.5));
    scene.map("out/saliency/a.png", &["v20", "100"]);
    let graded = scene.scores("--pred out --truth truth --task objects");
    assert_close(&graded["max_f_beta"], 1.0);
    assert_eq!(graded["miou"], of_mask["miou"]);
    assert!(graded["definitions"]["max_f_beta"].as_str().unwrap().contains("saliency maps for 1 image"));
}

#[test]
fn labels_say_which_values_are_foreground() {
    let scene = Scene::new();
    scene.map("truth/a.png", &["11000"]).map("out/masks/a.png", &["12344"]);
    scene.text(
        "out/labels.json",
        r#"{"origin":"","labels":[{"value":0,"name":"background","role":"background"},{"value":1,"name":"object","role":"object"},
            {"value":2,"name":"part 1","role":"part"},{"value":3,"name":"background part 1","role":"background-part"},
            {"value":4,"name":"background part 2","role":"background-part"}]}"#,
    );
    assert_close(&scene.scores("--pred out --truth truth --task objects")["miou"], 1.0);
    scene.text("out/labels.json", "[{\"value\": 300}]");
    assert!(scene.error(4, "--pred out --truth truth --task objects").contains("labels.json"));
}

#[test]
fn class_maps_have_void_pixels_and_chosen_classes() {
    let scene = Scene::new();
    scene.map("pred/a.png", &["1111", "1000"]).map("truth/a.png", &["88vv", "0305"]);
    // 255 counts as foreground like any class: 4 pixels in both, 7 in either; and the user is told.
    let found = scene.scores("--pred pred --truth truth --task objects");
    assert_close(&found["miou"], 4.0 / 7.0);
    assert!(found["remarks"][0].as_str().unwrap().contains("--void 255"), "{}", found["remarks"]);
    let found = scene.scores("--pred pred --truth truth --task objects --void 255");
    assert_close(&found["miou"], 2.0 / 5.0);
    assert_close(&found["accuracy"], 3.0 / 6.0);
    assert_eq!(found["remarks"], json!([]));
    let found = scene.scores("--pred pred --truth truth --task objects --void 255 --foreground-class 8");
    assert_close(&found["miou"], 2.0 / 3.0);
    let found = scene.scores("--pred pred --truth truth --task objects --void 255 --foreground-class 8,5");
    assert_close(&found["miou"], 2.0 / 4.0);
    assert!(scene.error(2, "--pred pred --truth truth --task objects --foreground-class 7").contains("[7]"));
    assert!(
        scene.error(2, "--pred pred --truth truth --task objects --foreground-class 8 --void 8").contains("--void")
    );
    assert!(scene.error(2, "--pred pred --truth truth --task regions --void 255").contains("--void"));
}

#[test]
fn coco_masks_are_drawn_and_crowds_are_void() {
    let scene = Scene::new();
    scene.map("pred/a.png", &["1110", "1110"]).map("pred/none.png", &["1"]);
    let truth = json!({
        "images": [
            { "id": 1, "file_name": "a.jpg", "width": 4, "height": 2 },
            { "id": 2, "file_name": "none.jpg", "width": 1, "height": 1 },
        ],
        "categories": [{ "id": 7, "name": "thing" }],
        "annotations": [
            { "image_id": 1, "category_id": 7, "bbox": [0, 0, 1, 2], "segmentation": [[0, 0, 1, 0, 1, 2, 0, 2]] },
            // Column by column: the second column's lower pixel.
            { "image_id": 1, "category_id": 9, "segmentation": { "size": [2, 4], "counts": [3, 1, 4] } },
            { "image_id": 1, "category_id": 7, "iscrowd": 1, "segmentation": { "size": [2, 4], "counts": [4, 2, 2] } },
            { "image_id": 5, "category_id": 7, "segmentation": [] },
        ],
    });
    scene.text("truth.json", &truth.to_string());
    let found = scene.scores("--pred pred --truth truth.json --task objects");
    assert_close(&found["miou"], 3.0 / 4.0);
    assert_close(&found["accuracy"], 5.0 / 6.0);
    assert_eq!(found["without_annotation"], json!(["none"]));
    assert_eq!(found["unmatched_predictions"], json!([]));
    let remarks = found["remarks"].to_string();
    assert!(remarks.contains("image id 5") && remarks.contains("category 9"), "{remarks}");
}

#[test]
fn boxes_are_located_in_voc_and_coco() {
    let scene = Scene::new();
    let line = |path: &str, found: Value| {
        json!({ "path": path, "status": "done", "width": 10, "height": 10, "box": found, "confidence": 0.5 })
            .to_string()
    };
    let lines = [
        line("a.jpg", json!([0, 0, 4, 4])),
        line("b.jpg", json!([0, 0, 4, 4])),
        line("c.jpg", Value::Null),
        line("d.jpg", json!([0, 0, 5, 5])),
        json!({ "path": "e.jpg", "status": "skipped", "reason": "no image" }).to_string(),
    ];
    scene.text("out/predictions.jsonl", &lines.join("\n"));
    let voc = |boxes: &[[u32; 4]], side: u32| {
        let object = |[left, top, right, bottom]: &[u32; 4]| {
            format!(
                "<object><name>dog</name><difficult>1</difficult><part><bndbox><xmin>1</xmin></bndbox></part>\
                 <bndbox><xmin>{left}</xmin><ymin>{top}</ymin><xmax>{right}</xmax><ymax>{bottom}</ymax></bndbox></object>"
            )
        };
        let objects: String = boxes.iter().map(object).collect();
        format!("<annotation><size><width>{side}</width><height>{side}</height></size>{objects}</annotation>")
    };
    scene
        .text("voc/a.xml", &voc(&[[9, 9, 10, 10], [1, 1, 4, 4]], 10)) // the very same box
        .text("voc/b.xml", &voc(&[[1, 1, 4, 2]], 10)) // IoU exactly one half is not enough
        .text("voc/c.xml", &voc(&[[1, 1, 4, 2]], 10))
        .text("voc/d.xml", &voc(&[[1, 1, 10, 10]], 20)) // the image was half as large
        .text("voc/e.xml", &voc(&[[1, 1, 10, 10]], 20))
        .text("voc/f.xml", &voc(&[], 20));
    let found = scene.scores("--pred out --truth voc --task boxes --csv boxes.csv");
    assert_close(&found["corloc"], 0.5);
    assert_eq!(
        (&found["images"], &found["resized"], &found["empty_predictions"]),
        (&json!(4), &json!(["d"]), &json!(["c"]))
    );
    assert_eq!((&found["unmatched_truth"], &found["without_annotation"]), (&json!(["e"]), &json!(["f"])));
    assert_eq!(
        fs::read_to_string(scene.path("boxes.csv")).unwrap(),
        "image,iou,located\na,1,1\nb,0.5,0\nc,0,0\nd,1,1\n"
    );

    let images: Vec<Value> =
        ["a", "b"].iter().zip(1..).map(|(name, id)| json!({ "id": id, "file_name": format!("{name}.jpg") })).collect();
    let annotations = json!([
        { "image_id": 1, "category_id": 1, "bbox": [0.0, 0.0, 4.0, 2.5] },
        { "image_id": 2, "category_id": 1, "bbox": [0.0, 0.0, 4.0, 4.0], "iscrowd": 1 },
        { "image_id": 2, "category_id": 1, "bbox": [5.0, 5.0, 4.0, 4.0] },
    ]);
    scene.text("coco.json", &json!({ "images": images, "annotations": annotations }).to_string());
    let found = scene.scores("--pred out --truth coco.json --task boxes");
    assert_close(&found["corloc"], 0.5);
    assert_eq!(found["unmatched_predictions"], json!(["c", "d"]));

    // Without a table the boxes are those around the masks.
    scene.map("masks/a.png", &["0000", "0110", "0200"]);
    scene.text("one/a.xml", "<annotation><object><name>x</name><bndbox><xmin>2</xmin><ymin>2</ymin><xmax>3.0</xmax><ymax>3</ymax></bndbox></object></annotation>");
    assert_close(&scene.scores("--pred masks --truth one --task boxes")["corloc"], 1.0);
}

#[test]
fn parts_agree_over_pixels() {
    let scene = Scene::new();
    // Foreground of the truth: a 1 1 2 2 with labels 3 3 3 0, b 1 2 with labels 3 4; the rest does not count.
    scene
        .map("pred/a.png", &["33309", "77777"])
        .map("truth/a.png", &["1122v", "00000"])
        .map("pred/b.png", &["34"])
        .map("truth/b.png", &["12"]);
    let found = scene.scores("--pred pred --truth truth --task parts --void 255");
    // Pairs of the six pixels: truth {1,1,1},{2,2,2}; predicted {3,3,3,3},{0},{4}. Together in both 3 + 0, in truth 6,
    // in prediction 6, of 15: ARI = (3 − 36/15) / (6 − 36/15).
    assert_close(&found["ari"], (3.0 - 2.4) / (6.0 - 2.4));
    let entropy = |shares: &[f64]| -> f64 { shares.iter().map(|share| -share * share.ln()).sum() };
    let (truth, predicted) = (entropy(&[0.5, 0.5]), entropy(&[4.0 / 6.0, 1.0 / 6.0, 1.0 / 6.0]));
    let joint = entropy(&[3.0 / 6.0, 1.0 / 6.0, 1.0 / 6.0, 1.0 / 6.0]);
    assert_close(&found["nmi"], (truth + predicted - joint) / ((truth + predicted) / 2.0));
    // Alone, b is perfect; a has ARI 0: together in both 1, in truth 2, in prediction 3, of 6.
    assert_close(&found["mean_image_ari"], 0.5);
    assert!(found["definitions"]["nmi"].as_str().unwrap().contains("foreground pixels"));
}

#[test]
fn parts_agree_over_key_points_of_both_forms() {
    let scene = Scene::new();
    scene.map("pred/a.png", &["1200", "1200"]).map("pred/b.png", &["2111"]);
    let file = |points: [Value; 2]| {
        json!({
            "images": [{ "id": 1, "file_name": "a.jpg", "width": 4, "height": 2 }, { "id": 2, "file_name": "b.jpg" }],
            // Categories share the names of their points.
            "categories": [{ "id": 1, "keypoints": ["nose", "tail", "paw"] }, { "id": 2, "keypoints": ["tail", "nose"] }],
            "annotations": [
                { "image_id": 1, "category_id": 1, "keypoints": points[0] },
                { "image_id": 2, "category_id": 2, "keypoints": points[1] },
                { "image_id": 2, "category_id": 3, "keypoints": points[1] },
            ],
        })
        .to_string()
    };
    // nose on 1, tail on 2, paw nowhere in the image; tail on 2, nose on 1 at the far edge.
    scene.text("flat.json", &file([json!([0.9, 1.5, 2, 1, 0, 1, 4.5, 0, 2]), json!([0, 0, 2, 4, 1, 2])]));
    scene.text("triples.json", &file([json!([[0, 1, 1], [1, 0, 1], [0, 0, 0]]), json!([[0, 0, 1], [3, 0, 1]])]));
    for (truth, outside) in [("flat.json", true), ("triples.json", false)] {
        let found = scene.scores(&format!("--pred pred --truth {truth} --task parts"));
        assert_close(&found["keypoint_nmi"], 1.0);
        assert_close(&found["keypoint_ari"], 1.0);
        let remarks = found["remarks"].to_string();
        assert!(remarks.contains("category 3") && remarks.contains("1 key-point outside") == outside, "{remarks}");
    }
}

#[test]
fn regions_are_scored_against_every_annotator() {
    let scene = Scene::new();
    scene.map("pred/x_1.png", &["0011"]);
    let deep = |values: [u16; 4]| values.iter().flat_map(|value| value.to_be_bytes()).collect::<Vec<u8>>();
    scene
        .png("segs/x_1_0.png", 4, png::BitDepth::Sixteen, &deep([300, 300, 2, 2]))
        .png("segs/x_1_10.png", 4, png::BitDepth::Sixteen, &deep([7, 7, 7, 7]))
        .map("segs/notes.png", &["0"]);
    let found = scene.scores("--pred pred --truth segs --task regions");
    assert_close(&found["miou"], 0.75);
    assert_close(&found["accuracy"], 0.75);
    assert!(found["remarks"][0].as_str().unwrap().contains("notes.png"));
}

#[test]
fn every_measure_of_regions_has_a_score_a_definition_and_a_column() {
    let scene = Scene::new();
    // The second annotator of x divides nothing, and neither does the prediction of y.
    scene
        .map("pred/x.png", &["1122", "1122"])
        .map("segs/x_0.png", &["5566", "5566"])
        .map("segs/x_1.png", &["3333", "3333"]);
    scene.map("pred/y.png", &["1111", "1111"]).map("segs/y_0.png", &["1122", "1122"]);
    let found = scene.scores("--pred pred --truth segs --task regions --csv table.csv");
    for (name, expected) in [
        ("miou", (0.75 + 0.25) / 2.0),
        ("accuracy", (0.75 + 0.5) / 2.0),
        ("covering", (0.75 + 0.5) / 2.0),
        // Of 28 pairs 12 are together and 16 apart: 1 and 12/28 for x, 12/28 for y.
        ("probabilistic_rand_index", ((1.0 + 12.0 / 28.0) / 2.0 + 12.0 / 28.0) / 2.0),
        ("variation_of_information", (0.5 + 1.0) / 2.0),
        ("undersegmentation_error", (0.0 + 1.0) / 2.0),
        ("miou_by_predicted_area", (0.625 + 0.5) / 2.0),
        ("accuracy_by_shared_pixels", (0.75 + 0.5) / 2.0),
        // Two predicted boundary pixels, both right by one annotator; four true ones, two of them found.
        ("boundary_f", 2.0 / 3.0),
        ("boundary_precision", 1.0),
        ("boundary_recall", 0.5),
    ] {
        assert_close(&found[name], expected);
        assert!(found["definitions"][name].as_str().unwrap().len() > 20, "{name}");
    }
    assert_eq!((found.get("oracle_miou"), found.get("covering_ods")), (None, None));
    let table = fs::read_to_string(scene.path("table.csv")).unwrap();
    let header = "image,iou,accuracy,segments,annotators,covering,probabilistic_rand_index,variation_of_information,\
                  undersegmentation_error,iou_by_predicted_area,accuracy_by_shared_pixels,boundary_f,boundary_precision,\
                  boundary_recall";
    let rows: Vec<&str> = table.lines().collect();
    assert_eq!(rows[0], header);
    assert!(rows[2].starts_with("y,0.25,0.5,1,1,0.5,0.428571") && rows[2].ends_with(",1,1,0.5,0.5,0,0,0"), "{table}");
    let printed = said(&scene.run("--pred pred --truth segs --task regions").stdout);
    assert!(printed.contains("0.750 bit") && printed.contains("62.50 %"), "{printed}");

    let found = scene.scores("--pred pred --truth segs --task regions --oracle --csv table.csv");
    // x: all of it with the first annotator; both its segments are of the second's only one.
    assert_close(&found["oracle_miou"], (1.0 + 0.25) / 2.0);
    assert_close(&found["oracle_accuracy"], (1.0 + 0.5) / 2.0);
    assert!(fs::read_to_string(scene.path("table.csv")).unwrap().starts_with(
        &header.replace("accuracy_by_shared_pixels,", "accuracy_by_shared_pixels,oracle_iou,oracle_accuracy,")
    ));
}

#[test]
fn a_hierarchy_is_scored_at_the_best_scale_for_all_and_for_each() {
    let scene = Scene::new();
    scene.map("pred/x_1.png", &["1122"]).map("pred/x_5.png", &["1111"]).map("segs/x_0.png", &["1122"]);
    scene.map("pred/y_1.png", &["1234"]).map("pred/y_5.png", &["1111"]).map("segs/y_0.png", &["1111"]);
    scene.map("pred/single.png", &["1111"]);
    let found = scene.scores("--pred pred --truth segs --task regions --scales --csv table.csv");
    // Covering of x and y at scale 1: 1 and 1/4; at scale 5: 1/2 and 1.
    for (name, expected) in [
        ("covering_ods", 0.75),
        ("covering_ois", 1.0),
        ("miou_ods", 0.625),
        ("variation_of_information_ods", (1.0 + 0.0) / 2.0),
        ("variation_of_information_ois", 0.0),
        // At scale 1 one of four predicted boundary pixels is right and the only true one found; at scale 5 none is predicted.
        ("boundary_f_ods", 0.4),
        ("boundary_precision_ods", 0.25),
        ("boundary_recall_ods", 1.0),
        ("boundary_f_ois", 1.0),
    ] {
        assert_close(&found[name], expected);
    }
    let definition = |name: &str| found["definitions"][name].as_str().unwrap();
    assert!(definition("covering_ods").contains("k = 5") && definition("boundary_f_ods").contains("k = 1"));
    assert_eq!(found.get("covering"), None);
    assert!(found["remarks"].to_string().contains("single"), "{}", found["remarks"]);
    let table = fs::read_to_string(scene.path("table.csv")).unwrap();
    let rows: Vec<&str> = table.lines().collect();
    assert!(rows[0].ends_with(",scale") && rows[1].starts_with("x,1,") && rows[1].ends_with(",1"), "{table}");
    assert!(rows.len() == 5 && rows[4].starts_with("y,1,") && rows[4].ends_with(",5"), "{table}");

    // An image without one of the scales is not scored.
    fs::remove_file(scene.path("pred/y_1.png")).unwrap();
    let output = scene.run("--pred pred --truth segs --task regions --scales --json");
    assert_eq!(output.status.code(), Some(3));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&found["images"], &found["skipped"][0]["image"]), (&json!(1), &json!("y")));
    assert!(found["skipped"][0]["reason"].as_str().unwrap().contains("scale 1"));

    scene.map("plain/x.png", &["1122"]);
    assert!(scene.error(2, "--pred plain --truth segs --task regions --scales").contains("--scales"));
    assert!(scene.error(2, "--pred plain --truth segs --task objects --oracle").contains("--task regions"));
}

#[test]
fn videos_are_scored_per_sequence() {
    let scene = Scene::new();
    scene
        .map("out/masks/dog/9.png", &["1100"])
        .map("out/masks/dog/10.png", &["1200"])
        .map("out/masks/dog/11.png", &["1200"])
        .map("out/masks/swan/1.png", &["0001"])
        .map("out/masks/swan/2.png", &["1000"])
        .map("truth/dog/9.png", &["vv00"])
        .map("truth/dog/10.png", &["v000"])
        .map("truth/swan/1.png", &["000v"]);
    let found = scene.scores("--pred out --truth truth --task video");
    assert_close(&found["miou"], (0.75 + 1.0) / 2.0);
    assert_close(&found["consistency"], (0.875 + 0.5) / 2.0);
    assert_eq!(found["unmatched_predictions"], json!(["dog/11", "swan/2"]));
    let dog = json!({ "sequence": "dog", "frames": 3, "miou": 0.75, "accuracy": 0.875, "consistency": 0.875 });
    assert_eq!(found["sequences"][0], dog);
    let found = scene.scores("--pred out --task video");
    assert_close(&found["consistency"], (0.875 + 0.5) / 2.0);
    assert_eq!(found.get("miou"), None);
    assert!(said(&scene.run("--pred out --task video").stdout).contains("swan"));
}

#[test]
fn all_background_results_and_other_runs_masks_are_told() {
    let scene = Scene::new();
    scene.map("out/masks/a.png", &["00"]).map("out/masks/old.png", &["11"]).map("truth/a.png", &["0v"]);
    scene.text(
        "out/predictions.jsonl",
        "{\"path\":\"a.jpg\",\"status\":\"done\",\"width\":2,\"height\":1,\"box\":null}\n",
    );
    let found = scene.scores("--pred out --truth truth --task objects");
    assert_close(&found["miou"], 0.0);
    assert_eq!(found["empty_predictions"], json!(["a"]));
    assert!(found["remarks"][0].as_str().unwrap().contains("1 mask"), "{}", found["remarks"]);
    fs::remove_file(scene.path("out/masks/a.png")).unwrap();
    assert!(scene.error(2, "--pred out --truth truth --task objects").contains("--save masks"));
}

#[test]
fn what_cannot_be_scored_has_its_exit_code_and_names_the_file() {
    let scene = Scene::new();
    scene.map("pred/a.png", &["10"]).map("truth/b.png", &["1"]).map("good/a.png", &["10"]);
    scene
        .text("bad/a.png", "no picture")
        .text("broken.json", "{\"images\": [")
        .text("xml/a.xml", "<annotation><object>");
    scene.text(
        "corner/a.xml",
        "<annotation><object><name>dog</name><bndbox><xmin>x</xmin></bndbox></object></annotation>",
    );
    scene.text("root/a.xml", "<html></html>").text("table/predictions.jsonl", "{}\n").text("empty/readme.txt", "");
    scene.text("list.txt", "a.png\n");
    let bare = json!({ "images": [{ "id": 1, "file_name": "a.jpg" }], "annotations": [{ "image_id": 1 }] });
    scene.text("bare.json", &bare.to_string());
    let twins = json!({ "images": [{ "id": 1, "file_name": "a.jpg" }, { "id": 2, "file_name": "./a.jpg" }], "annotations": [] });
    scene.text("twins.json", &twins.to_string());
    for (code, arguments, expected) in [
        (2, "--pred pred --truth truth --task objects", "matched by relative path"),
        (2, "--pred nowhere --truth truth --task objects", "nowhere"),
        (2, "--pred pred --truth nowhere --task objects", "nowhere"),
        (2, "--pred pred --task objects", "--truth"),
        (2, "--pred list.txt --truth good --task objects", "list.txt"),
        (2, "--pred empty --truth good --task objects", "no mask"),
        (2, "--pred pred --truth empty --task objects", "label maps"),
        (2, "--pred pred --truth good --task boxes", "Pascal VOC"),
        (2, "--pred pred --truth good --task regions", "ID_k.png"),
        (2, "--pred pred --truth list.txt --task parts", "list.txt"),
        (4, "--pred pred --truth bad --task objects", "a.png"),
        (4, "--pred bad --truth good --task objects", "a.png"),
        (4, "--pred pred --truth broken.json --task boxes", "broken.json"),
        (4, "--pred pred --truth broken.json --task parts", "broken.json"),
        (4, "--pred pred --truth bare.json --task boxes", "the bbox is not four numbers"),
        (4, "--pred pred --truth bare.json --task objects", "no segmentation: entry 0 of annotations"),
        (4, "--pred pred --truth twins.json --task boxes", "twins.json"),
        (4, "--pred pred --truth xml --task boxes", "a.xml"),
        (4, "--pred pred --truth corner --task boxes", "xmin"),
        (4, "--pred pred --truth root --task boxes", "<html>"),
        (4, "--pred table --truth good --task objects", "line 1"),
    ] {
        let error = scene.error(code, arguments);
        assert!(error.contains(expected), "{arguments}: {error}");
    }
    assert!(!Path::new(&scene.path("table.csv")).exists());
}
