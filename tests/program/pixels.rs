//! How pictures are read, as the program shows it.

use std::fs;
use std::path::Path;

use image::{ExtendedColorType, ImageBuffer, ImageEncoder, Luma, RgbImage, RgbaImage};

use crate::drive::{path_text, predictions, program, text};

const WIDTH: u32 = 160;
const HEIGHT: u32 = 120;

/// Whether a pixel is that of an object in the midst of the picture.
fn is_object(x: u32, y: u32) -> bool {
    (40..110).contains(&x) && (30..90).contains(&y)
}

fn grey(x: u32, y: u32) -> u8 {
    let texture = ((x * 7 + y * 13) % 11) as u8;
    if is_object(x, y) { 200 + texture } else { 40 + texture }
}

/// The mask of a picture that is segmented by itself.
fn mask(folder: &Path, name: &str, further: &[&str]) -> Vec<u8> {
    let (data, out) = (folder.join(name), folder.join(format!("out {name} {}", further.concat())));
    let arguments = ["segment", "--data", path_text(&data), "--out", path_text(&out), "--method", "spectral"];
    let output = program(&[&arguments[..], &["--backbone", "superpixel"], further].concat()).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{name}: {}", text(&output.stderr));
    assert_eq!(predictions(&out).len(), 1);
    let mask = fs::read_dir(out.join("masks")).unwrap().next().unwrap().unwrap().path();
    image::open(mask).unwrap().into_luma8().into_raw()
}

/// The share of pixels in which two masks differ.
fn difference(one: &[u8], other: &[u8]) -> f64 {
    assert_eq!(one.len(), other.len());
    one.iter().zip(other).filter(|(a, b)| (**a > 0) != (**b > 0)).count() as f64 / one.len() as f64
}

#[test]
fn twelve_bits_in_sixteen_and_hidden_colours_change_no_foreground() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let eight = ImageBuffer::from_fn(WIDTH, HEIGHT, |x, y| Luma([grey(x, y)]));
    eight.save(folder.join("eight.png")).unwrap();
    let twelve = ImageBuffer::from_fn(WIDTH, HEIGHT, |x, y| Luma([u16::from(grey(x, y)) * 16]));
    twelve.save(folder.join("twelve.png")).unwrap();
    let expected = mask(folder, "eight.png", &[]);
    assert!(expected.iter().filter(|&&value| value > 0).count() > 2000);
    assert!(difference(&expected, &mask(folder, "twelve.png", &[])) <= 0.02);
    assert!(difference(&expected, &mask(folder, "twelve.png", &["--range", "0..4095"])) <= 0.02);

    let hidden = |name: &str, behind: fn(u32, u32) -> [u8; 3]| {
        let pixel = |x, y| {
            let [red, green, blue] = if is_object(x, y) { [220, 60, 40] } else { behind(x, y) };
            image::Rgba([red, green, blue, if is_object(x, y) { 255 } else { 0 }])
        };
        RgbaImage::from_fn(WIDTH, HEIGHT, pixel).save(folder.join(name)).unwrap();
        mask(folder, name, &[])
    };
    let black = hidden("black.png", |_, _| [0; 3]);
    let scene = hidden("scene.png", |x, y| [(x * 3 % 256) as u8, (y * 5 % 256) as u8, ((x ^ y) * 7 % 256) as u8]);
    assert_eq!(black, scene);
    assert!(black.iter().filter(|&&value| value > 0).count() > 2000);
}

#[test]
fn nothing_is_found_where_there_is_no_data_and_the_line_of_the_image_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let [data, segmented, trained, inferred] =
        ["data", "segmented", "trained", "inferred"].map(|name| folder.path().join(name));
    fs::create_dir(&data).unwrap();
    // Cut off by a slanting line, at another place in every picture; one is whole.
    let is_outside = |image: u32, x: u32, y: u32| image > 0 && x + y / 3 < 20 + 10 * image;
    for image in 0..6 {
        let shade = |x, y| if is_outside(image, x, y) { 0 } else { grey(x, y) };
        let picture = RgbImage::from_fn(WIDTH, HEIGHT, |x, y| image::Rgb([shade(x, y), shade(x, y), shade(x, y) / 2]));
        picture.save(data.join(format!("{image}.png"))).unwrap();
    }
    let run = |arguments: &[&str]| {
        let output = program(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        assert!(text(&output.stderr).contains("of its pixels are without data"), "{}", text(&output.stderr));
    };
    let data_and = |out| ["--data", path_text(&data), "--out", path_text(out), "--backbone", "superpixel"];
    run(&[&["segment", "--method", "spectral"], &data_and(&segmented)[..]].concat());
    run(&[&["train", "--epochs", "20"], &data_and(&trained)[..]].concat());
    let checkpoint = trained.join("best.safetensors");
    run(&[&["infer", "--ckpt", path_text(&checkpoint)], &data_and(&inferred)[..4]].concat());
    for out in [&segmented, &inferred] {
        for (path, line) in predictions(out) {
            let image: u32 = path.trim_end_matches(".png").parse().unwrap();
            assert_eq!(line["warning"].is_string(), image > 0, "{line}");
            let mask = image::open(out.join(format!("masks/{image}.png"))).unwrap().into_luma8();
            let found = mask.enumerate_pixels().filter(|(.., value)| value.0[0] > 0);
            let [outside, inside] = [true, false]
                .map(|outside| found.clone().filter(|(x, y, _)| is_outside(image, *x, *y) == outside).count());
            assert_eq!(outside, 0, "{image} in {}", out.display());
            assert!(out != &segmented || inside > 1000, "{image}: {inside}");
        }
    }
}

#[test]
fn flags_for_pixels_say_what_they_expect() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    RgbImage::new(8, 8).save(folder.path().join("a.png")).unwrap();
    let segment = ["segment", "--data", path_text(folder.path()), "--out", path_text(&out), "--method", "spectral"];
    for (flag, value, expected) in [
        ("--bands", "0", "counted from 1"),
        ("--bands", "1,2", "one number or three"),
        ("--range", "9..3", "LOW..HIGH"),
        ("--nodata", "black", "auto, none or a number"),
        ("--alpha", "half", "possible values"),
    ] {
        let output = program(&[&segment[..], &[flag, value]].concat()).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{flag} {value}");
        assert!(text(&output.stderr).contains(expected), "{flag} {value}: {}", text(&output.stderr));
    }
    // A band that a picture has not is a reason to skip it, not to end.
    let output = program(&[&segment[..], &["--bands", "4,3,2", "--max-bad", "1"]].concat()).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("no band 4, only 3; choose others with --bands"), "{}", text(&output.stderr));
}

#[test]
fn a_picture_that_is_none_of_ours_is_named_by_its_kind() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    let mut good = Vec::new();
    let pixels: Vec<u8> = (0..WIDTH * HEIGHT).map(|index| grey(index % WIDTH, index / WIDTH)).collect();
    let encoder = image::codecs::png::PngEncoder::new(&mut good);
    encoder.write_image(&pixels, WIDTH, HEIGHT, ExtendedColorType::L8).unwrap();
    fs::write(data.join("a.png"), good).unwrap();
    fs::write(data.join("b.jpg"), b"\0\0\0\x20ftypheic\0\0\0\0mif1heic").unwrap();
    let out = folder.path().join("out");
    let segment = ["segment", "--data", path_text(&data), "--out", path_text(&out), "--method", "spectral"];
    let output = program(&segment).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    assert!(
        text(&output.stderr).contains("b.jpg: a HEIC picture, which is not read; convert it"),
        "{}",
        text(&output.stderr)
    );
}
