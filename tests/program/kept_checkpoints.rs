//! Checkpoints that are kept in the repository: today's program reads them, and does with them what was done when they
//! were made.
//!
//! The golden ones are of format 3, with the masks that the program gave which wrote them. Other processors add up in
//! another order, which may move a border by a pixel: hence the tolerances.

use std::fs;
use std::path::{Path, PathBuf};

use deepcut::output::read_mask;
use deepcut::raster::Mask;
use safetensors::SafeTensors;
use serde_json::Value;

use crate::drive::{expect, path_text, project};

#[test]
fn a_checkpoint_of_format_3_gives_the_masks_it_gave_when_it_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["boat_white", "duck_yellow"];
    let list = folder.path().join("list.txt");
    let images = names.map(|name| project("demonstration/images").join(name).with_extension("jpg"));
    fs::write(&list, images.map(|image| image.display().to_string()).join("\n")).unwrap();
    let weights = project("tests/golden/tiny_vit.pth");
    for (backbone, checkpoint, further) in [
        ("superpixel", "checkpoint_format_3.safetensors", &[][..]),
        ("vit", "checkpoint_format_3_vit.safetensors", &["--weights", path_text(&weights)]),
    ] {
        let checkpoint = project("tests/golden").join(checkpoint);
        let described: Value =
            serde_json::from_str(&expect(0, &["inspect", path_text(&checkpoint), "--json"])).unwrap();
        assert_eq!(described["backbone"], backbone);
        assert_eq!(described["parts"]["network"]["clusters"], 2);
        assert_eq!(described["background_parts"].is_object(), backbone == "superpixel");
        assert_eq!(described["teacher"].is_object(), backbone == "vit");

        let out = folder.path().join(backbone);
        let infer = ["infer", "--ckpt", path_text(&checkpoint), "--data", path_text(&list), "--out", path_text(&out)];
        expect(0, &[&infer[..], &["--save", "masks"], further].concat());
        for name in names {
            let golden = project("tests/golden/checkpoint_format_3_masks").join(format!("{backbone}_{name}.png"));
            let (golden, found) = (read_mask(&golden).unwrap(), read_mask(&mask_of(&out, name)).unwrap());
            assert_eq!((found.width, found.height), (golden.width, golden.height), "{backbone} {name}");
            let other = found.values.iter().zip(&golden.values).filter(|(found, golden)| found != golden).count();
            assert!(500 * other <= golden.values.len(), "{backbone} {name}: {other} pixels differ");
        }
    }
}

/// The mask of a demonstration image, wherever below `out/masks` it is.
fn mask_of(out: &Path, name: &str) -> PathBuf {
    let mut folders = vec![out.join("masks")];
    while let Some(folder) = folders.pop() {
        let path = folder.join(name).with_extension("png");
        if path.exists() {
            return path;
        }
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        folders.extend(entries.filter(|path| path.is_dir()));
    }
    panic!("no mask of {name} below {}", out.display())
}

/// Holds a checkpoint trained on the demonstration collection without further settings, and the masks it gave, against
/// `checkpoints/demonstration.safetensors` and its masks.
///
/// The same machine gives the same bytes. Across machines that is not promised: parameters may differ by 1e-3, and masks
/// must agree with each other to an IoU of 0.99.
pub fn expect_demonstration(checkpoint: &Path, masks: &Path) {
    let kept = project("checkpoints/demonstration.safetensors");
    let [kept_parameters, parameters] = [&kept, checkpoint].map(parameters);
    assert_eq!(kept_parameters.len(), parameters.len());
    for ((kept_name, kept), (name, found)) in kept_parameters.iter().zip(&parameters) {
        assert_eq!((kept_name, kept.len()), (name, found.len()));
        let furthest = kept.iter().zip(found).map(|(kept, found)| (kept - found).abs()).fold(0.0, f32::max);
        assert!(furthest < 1e-3, "{name} differs by {furthest}");
    }

    let folder = tempfile::tempdir().unwrap();
    let data = project("demonstration/images");
    let infer = ["infer", "--ckpt", path_text(&kept), "--data", path_text(&data), "--out", path_text(folder.path())];
    expect(0, &[&infer[..], &["--save", "masks"]].concat());
    let mut count = 0;
    for entry in fs::read_dir(folder.path().join("masks")).unwrap() {
        let path = entry.unwrap().path();
        let agreement = iou(&read_mask(&path).unwrap(), &read_mask(&masks.join(path.file_name().unwrap())).unwrap());
        assert!(agreement >= 0.99, "{}: {agreement}", path.display());
        count += 1;
    }
    assert_eq!(count, 24);
}

/// Names and values of all tensors, by name.
fn parameters(checkpoint: &Path) -> Vec<(String, Vec<f32>)> {
    let bytes = fs::read(checkpoint).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let mut parameters: Vec<_> = tensors.tensors().into_iter().collect();
    parameters.sort_by(|(a, _), (b, _)| a.cmp(b));
    let values = |data: &[u8]| data.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    parameters.into_iter().map(|(name, view)| (name, values(view.data()))).collect()
}

/// Intersection over union of the foregrounds.
pub fn iou(a: &Mask, b: &Mask) -> f64 {
    assert_eq!((a.width, a.height), (b.width, b.height));
    let pairs = || a.values.iter().zip(&b.values);
    let both = pairs().filter(|(a, b)| **a > 0 && **b > 0).count();
    let either = pairs().filter(|(a, b)| **a > 0 || **b > 0).count();
    both as f64 / either.max(1) as f64
}
