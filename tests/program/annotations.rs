//! `deepcut eval` on masks and annotations as people store them.

use std::fs;
use std::io::Cursor;
use std::path::Path;

use deepcut::output::read_mask;
use deepcut::{Mask, Raster};
use image::codecs::jpeg::JpegEncoder;
use image::{DynamicImage, ExtendedColorType, GrayImage, ImageEncoder, ImageFormat};
use serde_json::{Value, json};

use crate::drive::{expect, path_text, predictions, text as said};
use crate::eval::{Scene, assert_close};

const WIDTH: usize = 64;
const HEIGHT: usize = 48;

/// Images, each with a disc: x and y of its middle, and its radius.
const DISCS: [(&str, [f64; 3]); 3] = [("a", [20.0, 20.0, 12.0]), ("b", [40.0, 24.0, 15.0]), ("c", [30.0, 30.0, 10.0])];

/// How far the middle of every pixel is inside of a disc, as a value.
fn drawn([x, y, radius]: [f64; 3], value: impl Fn(f64, usize) -> u8) -> Vec<u8> {
    let depth = |index: usize| {
        let (column, row) = ((index % WIDTH) as f64 + 0.5, (index / WIDTH) as f64 + 0.5);
        radius - (column - x).hypot(row - y)
    };
    (0..WIDTH * HEIGHT).map(|index| value(depth(index), index)).collect()
}

fn sharp(depth: f64, _: usize) -> u8 {
    if depth > 0.0 { 255 } else { 0 }
}

impl Scene {
    fn file(&self, name: &str, bytes: &[u8]) -> &Self {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
        self
    }

    /// The discs as grey PNG masks in a folder.
    fn masks(&self, folder: &str, value: impl Fn(f64, usize) -> u8) -> &Self {
        for (name, disc) in DISCS {
            self.png(&format!("{folder}/{name}.png"), WIDTH, png::BitDepth::Eight, &drawn(disc, &value));
        }
        self
    }

    /// What a run says that leaves some images out.
    fn partial(&self, arguments: &str) -> Value {
        let output = self.run(&format!("{arguments} --json"));
        assert_eq!(output.status.code(), Some(3), "{arguments}: {}", said(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

fn remarks(summary: &Value) -> String {
    summary["remarks"].to_string()
}

/// A picture of grey levels in a format and a layout of colours.
fn encoded(values: &[u8], kind: &str) -> Vec<u8> {
    let grey = DynamicImage::from(GrayImage::from_raw(WIDTH as u32, HEIGHT as u32, values.to_vec()).unwrap());
    let mut bytes = Cursor::new(Vec::new());
    let (picture, format) = match kind {
        "rgb" => (grey.to_rgb8().into(), ImageFormat::Png),
        "rgba" => (grey.to_rgba8().into(), ImageFormat::Png),
        "la" => (grey.to_luma_alpha8().into(), ImageFormat::Png),
        "bmp" => (grey, ImageFormat::Bmp),
        "gif" => (grey.to_rgb8().into(), ImageFormat::Gif),
        "jpg" => (grey, ImageFormat::Jpeg),
        "JPEG" => (DynamicImage::from(grey.to_rgb8()), ImageFormat::Jpeg),
        "tif" => {
            let mut encoder = tiff::encoder::TiffEncoder::new(&mut bytes).unwrap();
            let (width, height) = (WIDTH as u32, HEIGHT as u32);
            encoder.write_image::<tiff::encoder::colortype::Gray8>(width, height, values).unwrap();
            return bytes.into_inner();
        }
        other => panic!("{other}"),
    };
    picture.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

#[test]
fn masks_of_every_format_are_read_on_both_sides() {
    let scene = Scene::new();
    scene.masks("pred", |depth, index| sharp(depth, index) / 255);
    for kind in ["rgb", "rgba", "la", "bmp", "gif", "tif", "jpg", "JPEG"] {
        let extension = if ["rgb", "rgba", "la"].contains(&kind) { "png" } else { kind };
        for (name, disc) in DISCS {
            scene.file(&format!("{kind}/{name}.{extension}"), &encoded(&drawn(disc, sharp), kind));
        }
        let least = if extension.eq_ignore_ascii_case("jpg") || kind == "JPEG" { 0.97 } else { 1.0 };
        for (predictions, truth) in [("pred", kind), (kind, "pred")] {
            let found = scene.scores(&format!("--pred {predictions} --truth {truth} --task objects"));
            assert_eq!(found["images"], 3, "{kind}");
            assert!(found["miou"].as_f64().unwrap() >= least, "{kind}: {found}");
            assert!(!remarks(&found).contains("--void"), "{kind}: {found}");
        }
    }
}

#[test]
fn masks_named_after_their_images_are_found_beside_the_photographs() {
    let scene = Scene::new();
    scene.masks("pred", sharp);
    for ((name, disc), suffix) in DISCS.into_iter().zip(["_mask", "-Mask", "_segmentation"]) {
        scene.file(&format!("truth/masks/{name}{suffix}.png"), &encoded(&drawn(disc, sharp), "rgb"));
        scene.file(&format!("truth/images/{name}.jpg"), b"a photograph");
    }
    let found = scene.scores("--pred pred --truth truth --task objects");
    assert_close(&found["miou"], 1.0);
    assert_eq!(found["unmatched_truth"], json!([]));
    let remarks = remarks(&found);
    assert!(
        remarks.contains("3 images matched without the suffix") && remarks.contains("images/a.jpg and 2 more"),
        "{remarks}"
    );
    scene.map("truth/masks/a_gt.png", &["1"]);
    let found = scene.scores("--pred pred --truth truth --task objects");
    assert_eq!(found["unmatched_predictions"], json!(["a"]));
    assert!(found["remarks"].to_string().contains("masks/a_gt of the ground truth"), "{found}");
}

#[test]
fn one_odd_file_is_listed_and_only_odd_files_are_an_error() {
    let scene = Scene::new();
    scene.masks("pred", sharp).masks("truth", sharp).map("pred/d.png", &["10"]).map("pred/e.png", &["1100", "1100"]);
    let mut colours = Cursor::new(Vec::new());
    image::RgbImage::from_pixel(WIDTH as u32, HEIGHT as u32, image::Rgb([128, 0, 0]))
        .write_to(&mut colours, ImageFormat::Png)
        .unwrap();
    scene.file("truth/a.png", colours.get_ref()).file("truth/d.png", b"").file("pred/b.png", b"no picture");
    // Cut: neither the size nor the shape of its prediction.
    scene.map("truth/e.png", &["110", "110", "000"]);
    let found = scene.partial("--pred pred --truth truth --task objects --csv table.csv");
    assert_eq!(found["images"], 1);
    assert_close(&found["miou"], 1.0);
    let skipped: Vec<(&str, &str)> = found["skipped"]
        .as_array()
        .unwrap()
        .iter()
        .map(|skipped| (skipped["image"].as_str().unwrap(), skipped["reason"].as_str().unwrap()))
        .collect();
    let expected =
        [("a", "its values are colours (red 128"), ("b", "pred/b.png"), ("d", "truth/d.png"), ("e", "another shape")];
    assert_eq!(skipped.len(), expected.len(), "{found}");
    for ((image, reason), (name, part)) in skipped.iter().zip(expected) {
        assert!(*image == name && reason.contains(part), "{image}: {reason}");
    }
    assert_eq!(fs::read_to_string(scene.path("table.csv")).unwrap().lines().count(), 2);
    let output = scene.run("--pred pred --truth truth --task objects");
    let (table, warnings) = (said(&output.stdout), said(&output.stderr));
    assert!(table.contains("1 image scored") && table.contains("4 skipped"), "{table}");
    assert!(warnings.contains("4 not scored: a: "), "{warnings}");
    scene.file("bad/a.png", colours.get_ref());
    assert!(scene.error(4, "--pred pred --truth bad --task objects").contains("colours"));
    assert!(scene.error(4, "--pred bad --truth pred --task objects").contains("bad/a.png"));
}

#[test]
fn grey_edges_are_cut_at_the_middle_and_classes_are_not() {
    let scene = Scene::new();
    let smooth = |depth: f64, _: usize| ((depth + 0.3).clamp(0.0, 1.0) * 255.0) as u8;
    let noise = |depth: f64, index: usize| {
        let step = (index * 7919 / 13 % 3) as u8;
        if depth > 0.0 { 255 - step } else { step }
    };
    scene.masks("pred", |depth, index| sharp(depth, index) / 255).masks("smooth", smooth).masks("noise", noise);
    let iou = |disc: [f64; 3]| {
        let (cut, mask) = (drawn(disc, |depth, index| u8::from(smooth(depth, index) >= 128)), drawn(disc, sharp));
        let (both, either) = (
            cut.iter().zip(&mask).filter(|(a, b)| **a > 0 && **b > 0).count(),
            cut.iter().zip(&mask).filter(|(a, b)| **a > 0 || **b > 0).count(),
        );
        both as f64 / either as f64
    };
    let expected = DISCS.iter().map(|(_, disc)| iou(*disc)).sum::<f64>() / 3.0;
    assert!((0.5..0.99).contains(&expected), "the middle of the edge is not that of the disc: {expected}");
    for (folder, expected) in [("smooth", expected), ("noise", 1.0)] {
        for (predictions, truth, whose) in [("pred", folder, "ground truth"), (folder, "pred", "predictions")] {
            let found = scene.scores(&format!("--pred {predictions} --truth {truth} --task objects"));
            assert_close(&found["miou"], expected);
            let remarks = remarks(&found);
            assert!(
                remarks.contains(&format!("3 masks of the {whose} with grey edges between black and white")),
                "{remarks}"
            );
            assert!(!remarks.contains("--void"), "{remarks}");
        }
    }
    // Whoever says what values mean is believed.
    let told = scene.scores("--pred pred --truth smooth --task objects --foreground-class 255");
    assert!(!remarks(&told).contains("grey edges"), "{told}");

    let classes = |depth: f64, index: usize| match depth {
        2.0.. => (index % 20 + 1) as u8,
        -2.0..2.0 => 255,
        _ => 0,
    };
    scene.masks("classes", classes);
    let found = scene.scores("--pred pred --truth classes --task objects");
    assert!(remarks(&found).contains("3 maps of the ground truth with 255") && remarks(&found).contains("--void 255"));
}

/// COCO's file of the discs.
fn coco() -> Value {
    let polygon = |[x, y, radius]: [f64; 3]| -> Vec<f64> {
        let corner = |step: i32| {
            let angle = f64::from(step) * std::f64::consts::TAU / 24.0;
            [x + radius * angle.cos(), y + radius * angle.sin()]
        };
        (0..24).flat_map(corner).collect()
    };
    let image = |(number, (name, _)): (usize, &(&str, [f64; 3]))| json!({ "id": number + 1, "file_name": format!("{name}.jpg"), "width": WIDTH, "height": HEIGHT });
    let annotation = |(number, (_, disc)): (usize, &(&str, [f64; 3]))| {
        let [x, y, radius] = *disc;
        json!({ "id": number + 1, "image_id": number + 1, "category_id": 1, "iscrowd": 0,
                "bbox": [x - radius, y - radius, 2.0 * radius, 2.0 * radius], "segmentation": [polygon(*disc)] })
    };
    json!({
        "images": DISCS.iter().enumerate().map(image).collect::<Vec<_>>(),
        "annotations": DISCS.iter().enumerate().map(annotation).collect::<Vec<_>>(),
        "categories": [{ "id": 1, "name": "thing" }],
    })
}

#[test]
fn coco_files_are_matched_by_whatever_names_their_images() {
    let scene = Scene::new();
    scene.masks("pred", sharp).text("plain.json", &coco().to_string());
    let plain = scene.scores("--pred pred --truth plain.json --task objects");
    assert!(plain["miou"].as_f64().unwrap() > 0.95, "{plain}");
    let named = |name: &dyn Fn(&str) -> String| {
        let mut file = coco();
        for image in file["images"].as_array_mut().unwrap() {
            image["file_name"] = name(image["file_name"].as_str().unwrap()).into();
        }
        file
    };
    let mut twice = coco();
    twice["images"].as_array_mut().unwrap().push(json!({ "id": 77, "file_name": "./a.jpg" }));
    twice["annotations"]
        .as_array_mut()
        .unwrap()
        .push(json!({ "id": 9, "image_id": 77, "category_id": 1, "segmentation": [] }));
    let mut elsewhere = coco();
    elsewhere["images"].as_array_mut().unwrap().push(json!({ "id": 5, "file_name": "train/a.jpg" }));
    elsewhere["annotations"]
        .as_array_mut()
        .unwrap()
        .push(json!({ "id": 9, "image_id": 5, "category_id": 1, "segmentation": [[1, 1, 9, 1, 9, 9]] }));
    let mut unknown = coco().to_string().replace("\"iscrowd\":0", "\"iscrowd\":false,\"area\":NaN,\"score\":-Infinity");
    unknown.insert(0, '\u{FEFF}');
    for (name, file, told) in [
        (
            "windows.json",
            named(&|name| format!("D:\\images\\{name}")).to_string(),
            "3 of 3 images lie in other folders",
        ),
        ("url.json", named(&|name| format!("https://host.example/data/{name}?x=1.5")).to_string(), "other folders"),
        ("percent.json", named(&|name| format!("my%20images/{name}")).to_string(), "other folders"),
        ("UPPER.JSON", unknown, ""),
        ("twice.json", twice.to_string(), "listed more than once; their annotations are taken together: a.jpg"),
        ("elsewhere.json", elsewhere.to_string(), "train/a of the ground truth"),
        ("sizes.json", coco().to_string().replace("\"width\":64", "\"width\":null"), ""),
    ] {
        scene.text(name, &file);
        let found = scene.scores(&format!("--pred pred --truth {name} --task objects"));
        assert_eq!((&found["miou"], &found["images"]), (&plain["miou"], &json!(3)), "{name}: {found}");
        assert!(remarks(&found).contains(told), "{name}: {found}");
        assert_eq!(scene.scores(&format!("--pred pred --truth {name} --task boxes"))["images"], 3, "{name}");
    }
}

#[test]
fn odd_annotations_are_left_out_by_their_ids_and_empty_files_say_what_they_lack() {
    let scene = Scene::new();
    scene.masks("pred", sharp);
    let with = |change: &dyn Fn(&mut Value)| {
        let mut file = coco();
        change(&mut file);
        file.to_string()
    };
    for (bbox, task, images) in [
        (json!([40, 30, -10, -12]), "boxes", 2),
        (json!([]), "boxes", 2),
        (json!([null, 1, 2, 3]), "boxes", 2),
        (json!(null), "objects", 3),
    ] {
        scene.text("one.json", &with(&|file| file["annotations"][0]["bbox"] = bbox.clone()));
        let found = scene.scores(&format!("--pred pred --truth one.json --task {task}"));
        assert_eq!(found["images"], images, "{bbox}: {found}");
        assert_eq!(remarks(&found).contains("annotation 1"), task == "boxes", "{bbox}: {found}");
        assert_eq!(found["without_annotation"], if task == "boxes" { json!(["a"]) } else { json!([]) });
    }
    // Beside others it is only left out; alone in its image it leaves that without anything to compare with.
    let runs = json!({ "size": [3, 3], "counts": [9] });
    scene.text("runs.json", &with(&|file| file["annotations"][0]["segmentation"] = runs.clone()));
    let found = scene.partial("--pred pred --truth runs.json --task objects");
    assert_eq!(found["skipped"][0]["image"], "a");
    assert!(found["skipped"][0]["reason"].as_str().unwrap().contains("annotation 1: its runs have 3x3"), "{found}");

    for (name, file, expected) in [
        (
            "list.json",
            json!([{ "image_id": 1, "score": 0.5 }]).to_string(),
            "it is a list, as results are for pycocotools",
        ),
        ("none.json", with(&|file| drop(file.as_object_mut().unwrap().remove("annotations"))), "it has no annotations"),
        (
            "crowds.json",
            with(&|file| {
                let annotations = file["annotations"].as_array_mut().unwrap();
                annotations.iter_mut().for_each(|annotation| annotation["iscrowd"] = json!(1.0));
            }),
            "all annotations are crowds",
        ),
    ] {
        scene.text(name, &file);
        for task in ["objects", "boxes"] {
            let error = scene.error(4, &format!("--pred pred --truth {name} --task {task}"));
            assert!(error.contains(expected) && error.contains(name), "{error}");
        }
    }
}

#[test]
fn voc_files_are_read_as_far_as_they_go() {
    let scene = Scene::new();
    scene.masks("pred", sharp).map("pred/d.png", &["1"]).map("pred/e.png", &["1"]);
    let head = |name: &str| {
        format!("<annotation><size><width>{WIDTH}</width><height>{HEIGHT}</height></size><object><name>{name}</name>")
    };
    let tail = |corners: [&str; 4]| {
        let [left, top, right, bottom] = corners;
        format!(
            "<bndbox><xmin>{left}</xmin><ymin>{top}</ymin><xmax>{right}</xmax><ymax>{bottom}</ymax></bndbox></object></annotation>"
        )
    };
    let declared = "<?xml version=\"1.0\" encoding=\"gb2312\"?>\n<!DOCTYPE annotation>\n";
    scene
        .file(
            "voc/a.xml",
            &[
                declared.as_bytes(),
                head("").trim_end_matches("</name>").as_bytes(),
                b"\xc3\xa8</name>",
                tail(["9", "9", "32", "32"]).as_bytes(),
            ]
            .concat(),
        )
        .text("voc/b.xml", &(head("dog") + &tail(["55", "39", "25,5", "10"])))
        .text("voc/c.xml", &(head("nothing") + "</object><object><name>x</name>" + &tail(["21", "21", "40", "40"])))
        .text("voc/d.xml", "")
        .text("voc/pascal_label_map.xml", "<labels/>");
    let found = scene.partial("--pred pred --truth voc --task boxes");
    assert_eq!((&found["images"], &found["corloc"]), (&json!(3), &json!(1.0)), "{found}");
    let remarks = remarks(&found);
    for expected in [
        "no annotation of an image: pascal_label_map.xml (<labels>)",
        "left out, for they have no <bndbox> with the numbers <xmin>, <ymin>, <xmax> and <ymax>: c.xml (nothing)",
        "swapped, taken in their order: b.xml (dog)",
        "decimal comma, read as with a point: b.xml (dog)",
    ] {
        assert!(remarks.contains(expected), "{expected} in {remarks}");
    }
    assert_eq!(found["skipped"].as_array().unwrap().len(), 1);
    assert!(found["skipped"][0]["image"].as_str().unwrap().ends_with("d.xml"), "{found}");
    scene.text("none/a.xml", &(head("x") + "</object></annotation>")).text("none/b.xml", "<labels/>");
    let error = scene.error(4, "--pred pred --truth none --task boxes");
    assert!(error.contains("no box in any of its 2 XML files"), "{error}");
}

/// A photograph whose camera was held on its side: a bright disc, and the EXIF orientation by which it is turned upright.
fn photograph(path: &Path, orientation: u8) {
    let (width, height) = (120u32, 80u32);
    let pixel = |index: u32| {
        let (x, y) = (f64::from(index % width), f64::from(index / width));
        if (x - 35.0).hypot(y - 50.0) < 20.0 { [220, 180, 60] } else { [30, 50, 40] }
    };
    let pixels: Vec<u8> = (0..width * height).flat_map(pixel).collect();
    let mut exif = b"MM\0\x2A\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
    exif.extend([orientation, 0, 0, 0, 0, 0, 0]);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut encoder = JpegEncoder::new_with_quality(fs::File::create(path).unwrap(), 95);
    encoder.set_exif_metadata(exif).unwrap();
    encoder.write_image(&pixels, width, height, ExtendedColorType::Rgb8).unwrap();
}

/// The mask as it would be drawn on the file's own pixels, which orientation 6 or 8 has turned.
fn turned_back(upright: &Mask, orientation: u8) -> Mask {
    let (width, height) = (upright.height, upright.width);
    let source = |index: usize| match (orientation, index % width, index / width) {
        (6, x, y) => upright.at(height - 1 - y, x),
        (_, x, y) => upright.at(y, width - 1 - x),
    };
    Raster::from_values(width, height, (0..width * height).map(source).collect())
}

#[test]
fn truth_drawn_before_the_photograph_was_turned_is_turned_too() {
    let scene = Scene::new();
    photograph(&scene.path("data/six.jpg"), 6);
    photograph(&scene.path("data/eight.jpg"), 8);
    photograph(&scene.path("data/half.jpg"), 3);
    photograph(&scene.path("data/upright.jpg"), 1);
    let (data, out) = (scene.path("data"), scene.path("out"));
    expect(
        0,
        &["segment", "--method", "spectral", "--data", path_text(&data), "--out", path_text(&out), "--save", "masks"],
    );
    let lines = predictions(&out);
    let mut boxes = Vec::new();
    let photographs = [("six", 6u8), ("eight", 8), ("half", 3), ("upright", 1)];
    for (number, (name, orientation)) in photographs.into_iter().enumerate() {
        let line = &lines[&format!("{name}.jpg")];
        assert_eq!(line["orientation"], if orientation == 1 { Value::Null } else { json!(orientation) });
        let mask = read_mask(&out.join(format!("masks/{name}.png"))).unwrap();
        let drawn = if orientation > 4 { turned_back(&mask, orientation) } else { mask };
        assert_eq!((drawn.width, drawn.height), (120, 80), "{name}");
        scene.png(&format!("truth/{name}.png"), drawn.width, png::BitDepth::Eight, &drawn.values);
        scene.png(&format!("segs/{name}_1.png"), drawn.width, png::BitDepth::Eight, &drawn.values);
        let bounds = deepcut::Rectangle::bounding(&drawn, |value| value > 0).unwrap();
        let runs = deepcut::RunLengthMask::encode(&drawn, |value| value > 0);
        boxes.push(json!({
            "id": number, "image_id": number, "category_id": 1, "iscrowd": 0,
            "bbox": [bounds.x, bounds.y, bounds.width, bounds.height],
            "segmentation": { "size": [drawn.height, drawn.width], "counts": runs.counts() },
            "keypoints": [bounds.x + bounds.width / 2, bounds.y + bounds.height / 2, 2, 1, 1, 2],
        }));
    }
    let images: Vec<Value> = photographs
        .iter()
        .enumerate()
        .map(|(number, (name, _))| json!({ "id": number, "file_name": format!("{name}.jpg"), "width": 120, "height": 80 }))
        .collect();
    let category = json!({ "id": 1, "keypoints": ["middle", "corner"] });
    scene.text("coco.json", &json!({ "images": images, "annotations": boxes, "categories": [category] }).to_string());
    for (truth, task, score) in [
        ("truth", "objects", "miou"),
        ("truth", "parts", "ari"),
        ("coco.json", "objects", "miou"),
        ("coco.json", "boxes", "corloc"),
        ("coco.json", "parts", "keypoint_nmi"),
        ("segs", "regions", "miou"),
    ] {
        let found = scene.scores(&format!("--pred out --truth {truth} --task {task}"));
        assert_close(&found[score], 1.0);
        assert_eq!(
            (&found["turned"], &found["resized"]),
            (&json!(["eight", "six"]), &json!([])),
            "{truth} {task}: {found}"
        );
    }
    let output = scene.run("--pred out --truth truth --task objects");
    let warnings = said(&output.stderr);
    assert!(warnings.contains("2 images have a ground truth drawn before the photograph was turned"), "{warnings}");

    assert!(warnings.contains("1 photograph mirrored or turned by half a turn"), "{warnings}");

    // Plain masks do not tell the side: whole masks are turned to the better one and that is said, boxes cannot be.
    let found = scene.scores("--pred out/masks --truth truth --task objects");
    assert_close(&found["miou"], 1.0);
    assert!(remarks(&found).contains("2 images: the results do not tell how the photograph was turned"), "{found}");
    let found = scene.partial("--pred out/masks --truth coco.json --task boxes");
    assert_eq!((&found["images"], found["skipped"].as_array().unwrap().len()), (&json!(2), 2), "{found}");
}
