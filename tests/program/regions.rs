//! `train --regions` and `infer` of a code book: whole images in regions that mean the same in all of them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine;
use serde_json::Value;

use crate::drive::{expect, expect_error, path_text, predictions, program, text, write_png};

const SIDES: (u32, u32) = (96, 64);
const SKY: [u8; 3] = [70, 120, 230];
const FIELD: [u8; 3] = [60, 140, 40];
const WALL: [u8; 3] = [200, 40, 50];

/// Sky above a field, and from the second image on a wall of another place in each.
fn colour(image: u32, x: u32, y: u32) -> [u8; 3] {
    let noise = ((x * 31 + y * 17 + image * 7) % 9) as u8;
    let horizon = 24 + 4 * image;
    let is_wall = image > 0 && (12 * image..12 * image + 26).contains(&x) && (horizon - 12..horizon + 20).contains(&y);
    let flat = if is_wall {
        WALL
    } else if y < horizon {
        SKY
    } else {
        FIELD
    };
    flat.map(|value| value + noise)
}

fn collection(folder: &Path) {
    for image in 0..5 {
        write_png(&folder.join(format!("{image}.png")), SIDES.0, SIDES.1, |x, y| colour(image, x, y));
    }
}

/// The mask's value at a place.
fn mask(out: &Path, image: u32) -> impl Fn(u32, u32) -> u8 {
    let bytes = fs::read(out.join(format!("masks/{image}.png"))).unwrap();
    let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
    let mut values = vec![0; reader.output_buffer_size().unwrap()];
    reader.next_frame(&mut values).unwrap();
    move |x, y| values[(y * SIDES.0 + x) as usize]
}

#[test]
fn regions_have_the_same_labels_in_every_image() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    collection(&data);
    fs::write(data.join("bad.jpg"), "no image").unwrap();
    let out = folder.path().join("book");
    let train = |out: &Path, threads: &str| {
        let arguments = ["train", "--data", path_text(&data), "--out", path_text(out), "--regions", "3"];
        let said = expect(3, &[&arguments[..], &["--backbone", "superpixel", "--threads", threads]].concat());
        (said, fs::read(out.join("best.safetensors")).unwrap())
    };
    let (said, bytes) = train(&out, "2");
    assert!(
        said.contains("learned 3 kinds of regions from") && said.contains("of 5 images, 1 image skipped"),
        "{said}"
    );
    assert!(train(&out, "2").0.contains("had learned 3 kinds"));
    assert!(bytes == train(&folder.path().join("other"), "1").1, "threads do not change a code book");

    let checkpoint = out.join("best.safetensors");
    let infer = |name: &str, further: &[&str]| {
        let out = folder.path().join(name);
        let arguments =
            ["infer", "--ckpt", path_text(&checkpoint), "--data", path_text(&data), "--out", path_text(&out)];
        let said = expect(3, &[&arguments[..], further].concat());
        (said, out)
    };
    let (_, results) = infer("results", &["--save", "masks,overlays,report,coco"]);
    let [sky, field, wall] = [(4, 4), (4, 60), (30, 34)].map(|(x, y)| mask(&results, 1)(x, y));
    assert_eq!(BTreeSet::from([sky, field, wall]), BTreeSet::from([1, 2, 3]));
    for image in 0..5 {
        let value = mask(&results, image);
        let right = (0..SIDES.0 * SIDES.1).filter(|at| {
            let (x, y) = (at % SIDES.0, at / SIDES.0);
            let flat = colour(image, x, y);
            let expected = if flat[2] > 200 {
                sky
            } else if flat[0] > 190 {
                wall
            } else {
                field
            };
            value(x, y) == expected
        });
        let share = right.count() as f64 / f64::from(SIDES.0 * SIDES.1);
        assert!(share > 0.9, "image {image}: {share}");
    }
    let labels: Value = serde_json::from_slice(&fs::read(results.join("labels.json")).unwrap()).unwrap();
    assert!(labels.to_string().contains("region 3") && labels.to_string().contains("no data"), "{labels}");
    assert!(results.join("report.html").exists());
    let lines = predictions(&results);
    assert_eq!((lines["0.png"]["clusters"].as_u64(), lines["1.png"]["clusters"].as_u64()), (Some(2), Some(3)));
    assert!(infer("results", &["--save", "masks,overlays,report,coco"]).0.contains("5 already done"));

    // What no edge joins is parted at any price; what is set is part of what a result comes from.
    let (said, _) = infer("results", &["--save", "masks", "--set", "regions.lambda=1e9"]);
    assert!(said.contains("segmented 5 images"), "{said}");
    assert_eq!(predictions(&results)["1.png"]["clusters"].as_u64(), Some(3));
    let (_, split) = infer("split", &["--save", "masks", "--set", "regions.split=true"]);
    let value = mask(&split, 0);
    assert_eq!(BTreeSet::from([value(4, 4), value(4, 60)]), BTreeSet::from([1, 2]));

    let error = expect_error(
        2,
        &[
            "infer",
            "--ckpt",
            path_text(&checkpoint),
            "--data",
            path_text(&data),
            "--out",
            path_text(&split),
            "--set",
            "regions.labels=4",
        ],
    );
    assert!(error.contains("regions.labels"), "{error}");
    let shown = expect(0, &["inspect", path_text(&checkpoint)]);
    assert!(shown.contains("kinds of regions   3") && shown.contains("superpixel"), "{shown}");
    let shown: Value = serde_json::from_str(&expect(0, &["inspect", path_text(&checkpoint), "--json"])).unwrap();
    assert_eq!(shown["labels"], 3);
}

const TILES: u32 = 20;
const TILE_PX: u32 = 16;
const COLOURS: [[u8; 3]; 4] = [[200, 60, 50], [50, 170, 80], [60, 80, 200], [210, 200, 90]];

/// Tiles of which no two that share a side have one colour.
fn tile(image: u32, x: u32, y: u32) -> [u8; 3] {
    COLOURS[((x / TILE_PX + 2 * (y / TILE_PX) + image) % 4) as usize].map(|value| value + ((x * 31 + y * 17) % 9) as u8)
}

/// One colour that grows brighter from the top to the bottom, and another beside it.
fn half(x: u32, y: u32) -> [u8; 3] {
    if x < 160 { COLOURS[0].map(|value| value - 20 + (y / 8) as u8) } else { COLOURS[2] }
}

/// Width, colour type, bits and values of the mask.
fn stored(path: &Path) -> (u32, png::ColorType, png::BitDepth, Vec<u16>) {
    let mut reader = png::Decoder::new(std::io::Cursor::new(fs::read(path).unwrap())).read_info().unwrap();
    let (width, colour, depth) = (reader.info().width, reader.info().color_type, reader.info().bit_depth);
    let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
    reader.next_frame(&mut bytes).unwrap();
    let values = match depth {
        png::BitDepth::Sixteen => bytes.as_chunks::<2>().0.iter().map(|&pair| u16::from_be_bytes(pair)).collect(),
        _ => bytes.into_iter().map(u16::from).collect(),
    };
    (width, colour, depth, values)
}

/// The pictures of every tile of the report, by the name below them.
fn pictures(report: &str) -> Vec<(String, Vec<image::RgbImage>)> {
    let tiles = report.split("<li").skip(1).map(|tile| {
        let name = tile.split("<span class=\"name\">").nth(1).unwrap().split('<').next().unwrap().to_string();
        let decode = |text: &str| {
            let bytes = base64::engine::general_purpose::STANDARD.decode(text.split('"').next().unwrap()).unwrap();
            image::load_from_memory(&bytes).unwrap().to_rgb8()
        };
        (name, tile.split("data:image/jpeg;base64,").skip(1).map(decode).collect())
    });
    tiles.collect()
}

#[test]
fn more_regions_than_a_byte_numbers_make_a_mask_of_16_bits() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let side = TILES * TILE_PX;
    for image in 0..2 {
        write_png(&at(&format!("data/tiles{image}.png")), side, side, |x, y| tile(image, x, y));
    }
    write_png(&at("data/halves.png"), side, side, half);
    let [data, book] = ["data", "book"].map(at);
    let arguments = ["train", "--data", path_text(&data), "--out", path_text(&book), "--regions", "4"];
    expect(0, &[&arguments[..], &["--backbone", "pixel", "--set", "pixel.side=80"]].concat());

    let checkpoint = book.join("best.safetensors");
    let infer = |out: &Path, further: &[&str]| {
        let free = ["--set", "regions.split=true", "--set", "regions.lambda=0", "--set", "regions.least_nodes=1"];
        let arguments =
            ["infer", "--ckpt", path_text(&checkpoint), "--data", path_text(&data), "--out", path_text(out)];
        expect(0, &[&arguments[..], &free, further].concat())
    };
    let (out, save) = (at("out"), ["--refine", "none", "--save", "masks,overlays,report,coco,yolo,voc"]);
    infer(&out, &save);
    // Regions are numbered by their first places.
    let number = |index: u32| (1 + index / side / TILE_PX * TILES + index % side / TILE_PX) as u16;
    let expected: Vec<u16> = (0..side * side).map(number).collect();
    for name in ["tiles0", "tiles1"] {
        let (width, colour, depth, values) = stored(&out.join(format!("masks/{name}.png")));
        assert_eq!((width, colour, depth), (side, png::ColorType::Grayscale, png::BitDepth::Sixteen));
        assert!(values == expected, "{name}: {} numbers", values.iter().collect::<BTreeSet<_>>().len());
    }
    let (_, colour, depth, values) = stored(&out.join("masks/halves.png"));
    assert_eq!((colour, depth), (png::ColorType::Indexed, png::BitDepth::Eight));
    assert!((0..side * side).all(|index| values[index as usize] == if index % side < 160 { 1 } else { 2 }));

    // Everything else knows such masks.
    assert!(expect(0, &["verify", path_text(&out)]).contains("as written"));
    assert!(infer(&out, &save).contains("3 already done"));
    for name in ["tiles0", "tiles1"] {
        let truth = at(&format!("truth/{name}_1.png"));
        fs::create_dir_all(truth.parent().unwrap()).unwrap();
        fs::copy(out.join(format!("masks/{name}.png")), truth).unwrap();
    }
    let [pred, truth] = [&out, &at("truth")].map(|path| path_text(path).to_string());
    let scores = expect(0, &["eval", "--pred", &pred, "--truth", &truth, "--task", "regions", "--json"]);
    let scores: Value = serde_json::from_str(&scores).unwrap();
    assert_eq!((scores["miou"].as_f64(), scores["accuracy"].as_f64()), (Some(1.0), Some(1.0)), "{scores}");
    let coco: Value = serde_json::from_slice(&fs::read(out.join("coco.json")).unwrap()).unwrap();
    assert_eq!(coco["categories"].as_array().unwrap().len(), 1, "numbers are no categories");
    let annotations = coco["annotations"].as_array().unwrap();
    assert!(annotations.len() == 802 && annotations.iter().all(|one| one["category_id"] == 1));
    assert_eq!(fs::read_to_string(out.join("yolo/labels/tiles0.txt")).unwrap().lines().count(), 400);
    let labels = fs::read_to_string(out.join("labels.json")).unwrap();
    assert!(labels.contains("region 255") && labels.contains("higher values are regions"), "{labels}");

    // What the bilateral solver moves stays the region that it was.
    let fitted = at("fitted");
    infer(&fitted, &["--refine", "bilateral", "--save", "masks"]);
    let (.., values) = stored(&fitted.join("masks/tiles0.png"));
    let same = values.iter().zip(&expected).filter(|(found, expected)| found == expected).count();
    assert!(same as f64 > 0.95 * f64::from(side * side), "{same}");

    // The report shows each image, and beside it its regions in their mean colours.
    let shown = pictures(&fs::read_to_string(out.join("report.html")).unwrap());
    assert!(shown.iter().all(|(_, pictures)| pictures.len() == 2));
    let (_, halves) = shown.iter().find(|(name, _)| name == "halves.png").unwrap();
    let differ = |picture: &image::RgbImage, colour: [u8; 3], y: u32| -> u8 {
        picture.get_pixel(40, y).0.into_iter().zip(colour).map(|(one, other)| one.abs_diff(other)).max().unwrap()
    };
    let mean = COLOURS[0].map(|value| value - 20 + 19);
    for y in [20, 80, 140] {
        assert!(differ(&halves[1], mean, y) < 6, "{:?} instead of {mean:?}", halves[1].get_pixel(40, y));
    }
    assert!(differ(&halves[0], halves[0].get_pixel(40, 20).0, 140) > 15);
}

#[test]
fn what_is_for_networks_is_refused_with_regions() {
    for further in [&["--clusters", "3"][..], &["--epochs", "5"], &["--parts", "2"]] {
        let arguments = [&["train", "--data", "x", "--regions", "3"][..], further].concat();
        let output = crate::drive::run(&arguments);
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output.stderr).contains("cannot be used with"), "{}", text(&output.stderr));
    }
    for number in ["1", "256", "x"] {
        let output = crate::drive::run(&["train", "--data", "x", "--regions", number]);
        assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    }
}

/// Learns from a collection and divides it, with further arguments for either; gives what was said and the folder of masks.
fn learned_and_divided(folder: &Path, data: &Path, train: &[&str], infer: &[&str]) -> (String, PathBuf) {
    let [book, out] = ["book", "divided"].map(|name| folder.join(name));
    let learn = ["train", "--data", path_text(data), "--out", path_text(&book), "--backbone", "superpixel"];
    let mut learned = program(&[&learn[..], train].concat());
    let learned = learned.output().unwrap();
    assert!(learned.status.success(), "{}", text(&learned.stderr));
    let checkpoint = book.join("best.safetensors");
    let divide = ["infer", "--ckpt", path_text(&checkpoint), "--data", path_text(data), "--out", path_text(&out)];
    let divided = program(&[&divide[..], &["--overwrite"], infer].concat()).output().unwrap();
    assert!(divided.status.success(), "{}", text(&divided.stderr));
    (text(&learned.stderr) + &text(&learned.stdout) + &text(&divided.stderr), out)
}

fn values(path: &Path) -> BTreeSet<u8> {
    deepcut::output::read_mask(path).unwrap().values.into_iter().collect()
}

#[test]
fn what_differs_in_nothing_is_one_kind_and_that_is_said() {
    for (width, height) in [(1, 1), (70, 50)] {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        write_png(&data.join("flat.png"), width, height, |_, _| SKY);
        for refine in ["none", "cut", "bilateral"] {
            let (said, out) = learned_and_divided(folder.path(), &data, &["--regions", "255"], &["--refine", refine]);
            assert!(said.contains("for no more than 1 kind") && said.contains("in one cluster"), "{said}");
            assert_eq!(values(&out.join("masks/flat.png")), BTreeSet::from([1]), "{refine}");
        }
        // Two images of one colour each are two kinds, in whichever order and however dear a boundary is.
        write_png(&data.join("other.png"), width, height, |_, _| WALL);
        for lambda in ["0", "1e30"] {
            let lambda = format!("regions.lambda={lambda}");
            let (said, out) = learned_and_divided(folder.path(), &data, &["--regions", "255"], &["--set", &lambda]);
            assert!(said.contains("for no more than 2 kinds"), "{said}");
            let found = ["flat", "other"].map(|name| values(&out.join(format!("masks/{name}.png"))));
            assert!(found.iter().all(|values| values.len() == 1), "{lambda}: {found:?}");
            assert_ne!(found[0], found[1], "{lambda}");
        }
    }
}

#[test]
fn a_boundary_may_cost_nothing_or_all() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    // So gradual that neighbours are joined everywhere.
    write_png(&data.join("1.png"), SIDES.0, SIDES.1, |x, _| [60 + x as u8, 140, 200 - x as u8]);
    let count = |out: &Path| predictions(out)["1.png"]["clusters"].as_u64().unwrap();
    let few =
        ["affinity=\"uniform\"", "patches=8", "side=64", "sigma=1", "steps=[6, 4]"].map(|set| format!("grapl.{set}"));
    let few: Vec<&str> = few.iter().flat_map(|set| ["--set", set]).collect();
    for method in ["grapl", "slic-cut"] {
        let found = ["0", "1e12"].map(|lambda| {
            let (out, lambda) = (folder.path().join(format!("{method}{lambda}")), format!("grapl.lambda={lambda}"));
            let arguments = ["segment", "--method", method, "--data", path_text(&data), "--out", path_text(&out)];
            expect(0, &[&arguments[..], &["--set", &lambda], &few].concat());
            count(&out)
        });
        // A network that has learnt for a few steps says what it likes between the two.
        assert!(found[0] > 1 && (method == "grapl" || found[1] == 1), "{method}: {found:?}");
    }
    for (lambda, refine) in [("0", "none"), ("1e30", "none"), ("0", "cut"), ("1e30", "cut")] {
        let setting = format!("regions.lambda={lambda}");
        for smoothness in ["0", "1e6"] {
            let smoothness = format!("refine.cut.smoothness={smoothness}");
            let further = ["--refine", refine, "--set", &setting, "--set", &smoothness];
            let (_, out) = learned_and_divided(folder.path(), &data, &["--regions", "3"], &further);
            assert_eq!(count(&out) > 1, lambda == "0", "{further:?}");
            assert!(!values(&out.join("masks/1.png")).contains(&0), "{further:?}");
        }
    }
}

#[test]
fn a_price_that_is_none_is_refused_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    write_png(&data.join("1.png"), SIDES.0, SIDES.1, |x, y| colour(1, x, y));
    learned_and_divided(folder.path(), &data, &["--regions", "3"], &[]);
    let checkpoint = folder.path().join("book/best.safetensors");
    let infer = ["infer", "--ckpt", path_text(&checkpoint), "--refine", "cut"];
    let out = folder.path().join("out");
    for (arguments, setting, refused) in [
        (&["segment", "--method", "grapl"][..], "grapl.lambda", &["-1", "nan", "inf", "1e30"][..]),
        (&["segment", "--method", "slic-cut"], "grapl.lambda", &["-1", "nan", "inf", "1e30"]),
        (&["train", "--regions", "3"], "regions.lambda", &["-1", "nan", "inf"]),
        (&infer, "regions.lambda", &["-1", "nan", "inf"]),
        (&infer, "refine.cut.smoothness", &["-1", "nan", "inf", "1e30"]),
    ] {
        for value in refused {
            let value = format!("{setting}={value}");
            let places = ["--data", path_text(&data), "--out", path_text(&out), "--set", &value];
            let error = expect_error(2, &[arguments, &places].concat());
            let (room, key) = setting.rsplit_once('.').unwrap();
            assert!(error.contains(&format!("[{room}] setting `{key}`")), "{value}: {error}");
            assert!(!out.exists(), "{value}: nothing was begun");
        }
    }
}

#[test]
fn a_network_without_a_transformer_gives_the_same_labels_in_every_image() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    collection(&data);
    fs::write(data.join("bad.jpg"), "no image").unwrap();
    let sizes = ["--set", "regions.by=patch-network", "--set", "grapl.patches=16", "--set", "grapl.side=96"];
    let train = |name: &str, threads: &str| {
        let out = folder.path().join(name);
        let arguments = ["train", "--data", path_text(&data), "--out", path_text(&out), "--regions", "3"];
        let said = expect(3, &[&arguments[..], &sizes, &["--threads", threads]].concat());
        (said, out.join("best.safetensors"))
    };
    let (said, checkpoint) = train("network", "2");
    assert!(said.contains("learned 3 kinds of regions from 1280 patches of 5 images, 1 image skipped"), "{said}");
    assert!(train("network", "2").0.contains("had learned 3 kinds"));
    assert!(fs::read(&checkpoint).unwrap() == fs::read(train("other", "1").1).unwrap(), "threads change no network");

    let out = folder.path().join("results");
    let data = path_text(&data);
    let infer =
        ["infer", "--ckpt", path_text(&checkpoint), "--data", data, "--out", path_text(&out), "--save", "masks"];
    let said = expect(3, &infer);
    assert!(said.contains("segmented 5 images"), "{said}");
    // In the middle of sky, field and wall.
    let found: Vec<[u8; 3]> = (0..5)
        .map(|image| {
            let value = mask(&out, image);
            [(90, 6), (4, 60), (12 * image + 13, 24 + 4 * image + 4)].map(|(x, y)| value(x, y))
        })
        .collect();
    let [sky, field, wall] = found[1];
    assert_eq!(BTreeSet::from([sky, field, wall]), BTreeSet::from([1, 2, 3]));
    assert!(found[1..].iter().all(|of_image| *of_image == found[1]), "{found:?}");
    assert_eq!(found[0][..2], found[1][..2]);

    let shown = expect(0, &["inspect", path_text(&checkpoint)]);
    assert!(shown.contains("GraPL's, for 16 x 16 patches of 6 x 6 pixels"), "{shown}");
    let train = ["train", "--data", data, "--out", path_text(&out), "--regions", "--set", "regions.by=patch-network"];
    for needless in [["--backbone", "superpixel"], ["--weights", "vit.safetensors"]] {
        let error = expect_error(2, &[&train[..], &needless].concat());
        assert!(error.contains("patch-network") && error.contains(needless[0]), "{error}");
    }
}
