//! COCO files of the program in COCO's own tools, on machines whose `python3` has pycocotools.

use std::process::Command;

use deepcut::event::Silent;
use deepcut::numerics::random;
use deepcut::output::{AnnotatedImage, AnnotatedObject, Category, Claim, CocoWriter, OutputFolder};
use deepcut::raster::{Raster, RunLengthMask};
use serde_json::{Value, json};

/// Reads a COCO file through pycocotools and writes what it holds: names, and for every image its objects.
const SCRIPT: &str = "
import contextlib, json, sys
from pycocotools.coco import COCO
from pycocotools import mask as code
with contextlib.redirect_stdout(sys.stderr):
    coco = COCO(sys.argv[1])
    coco.info()
images = []
for image in coco.loadImgs(sorted(coco.getImgIds())):
    objects = []
    for annotation in coco.loadAnns(coco.getAnnIds(imgIds=image['id'])):
        mask = coco.annToMask(annotation)
        runs = coco.annToRLE(annotation)
        objects.append({
            'category': coco.loadCats(annotation['category_id'])[0]['name'],
            'shape': list(mask.shape),
            'pixels': mask.ravel().tolist(),
            'agrees': [
                annotation['area'] == int(code.area(runs)) == int(mask.sum()),
                annotation['bbox'] == code.toBbox(runs).tolist(),
                annotation['iscrowd'] == 0,
            ],
            'score': annotation.get('score'),
        })
    images.append({'id': image['id'], 'file_name': image['file_name'], 'objects': objects,
                   'size': [image['height'], image['width']]})
json.dump(images, sys.stdout)
";

const NAMES: [&str; 3] = ["object", "quote \" less < line\nend \\", "Löwe 𝄞"];

/// Numbers in [0, 1) for item `index`.
fn draws(purpose: &str, index: usize, count: usize) -> Vec<f64> {
    let mut generator = random::stream(12, purpose, index as u64);
    random::uniform(&mut generator, 0.5, count).into_iter().map(|value| f64::from(value) + 0.5).collect()
}

/// An image with up to three random masks; the first has one pixel.
fn random_image(index: usize) -> AnnotatedImage {
    let sides = draws("sides", index, 3);
    let side = |draw: f64| 1 + if index == 0 { 0 } else { (draw * 50.0) as usize };
    let (width, height) = (side(sides[0]), side(sides[1]));
    let object = |number: usize| {
        let coarse = 1 + 3 * number;
        let (columns, rows) = (width.div_ceil(coarse), height.div_ceil(coarse));
        let values = draws("noise", 3 * index + number, columns * rows);
        let inside = values.into_iter().map(|value| u8::from(value < sides[2] + 0.05)).collect();
        let mask = Raster::from_values(columns, rows, inside).resized_nearest(width, height);
        let score = (number > 0).then(|| sides[2] / 3.0);
        AnnotatedObject::from_mask(1 + number as u32, score, RunLengthMask::encode(&mask, |value| value > 0))
    };
    let path = format!("folder/{index} \"ü𝄞\".png");
    AnnotatedImage { path, width, height, objects: (0..index % 4).filter_map(object).collect() }
}

#[test]
fn pycocotools_reads_random_masks_as_they_were() {
    let present = Command::new("python3").args(["-c", "import numpy, pycocotools.coco"]).output();
    if !present.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: python3 has no pycocotools here; `pip install pycocotools` runs this comparison");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("annotations.json");
    let category = |(id, name): (u32, &str)| Category { id, name: name.into(), supercategory: "found".into() };
    let claims = [Claim::file("annotations.json")];
    let out = OutputFolder::open(folder.path(), "test", &claims, None, &Silent).unwrap();
    let mut writer = CocoWriter::create(&out, &path, &(1..).zip(NAMES).map(category).collect::<Vec<_>>()).unwrap();
    let images: Vec<AnnotatedImage> = (0..200).map(random_image).collect();
    images.iter().try_for_each(|image| writer.push(image)).unwrap();
    writer.finish().unwrap();

    // A locale without UTF-8: the file must not depend on it.
    let output = Command::new("python3").args(["-X", "utf8=0", "-c", SCRIPT]).arg(&path).env("LC_ALL", "C").output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let read: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(read.len(), images.len());
    assert!(images.iter().map(|image| image.objects.len()).sum::<usize>() > 200);
    for ((id, image), read) in (1..).zip(&images).zip(&read) {
        let objects = image.objects.iter().map(|object| {
            json!({
                "category": NAMES[object.category as usize - 1],
                "shape": [image.height, image.width],
                "pixels": object.mask.decode().values,
                "agrees": [true, true, true],
                "score": object.score,
            })
        });
        let expected = json!({
            "id": id,
            "file_name": image.path,
            "objects": objects.collect::<Vec<_>>(),
            "size": [image.height, image.width],
        });
        assert_eq!(read, &expected, "{}", image.path);
    }
}
