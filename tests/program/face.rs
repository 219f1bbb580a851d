//! The public face, in memory, gives what the program writes.

use std::path::{Path, PathBuf};

use burn_dataset::{Dataset, InMemDataset};
use deepcut::dataset::Record;
use deepcut::event::Silent;
use deepcut::method::segment_each;
use deepcut::output::read_mask;
use deepcut::pipeline::{self, InferRequest, PredictRequest, SaveKinds, SegmentRequest, TrainRequest};
use deepcut::pixels::{DecodeConfig, ImageItem, decode};
use deepcut::{
    DeviceChoice, Machine, Model, ModelOptions, PatchRegions, PerImage, RegionModel, RgbImage, Settings, config,
};

use crate::drive::write_png;

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The first demonstration images, in the order of their paths.
fn pictures(count: usize) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(project("demonstration/images")).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.truncate(count);
    paths
}

fn image(path: &Path) -> RgbImage {
    decode(&std::fs::read(path).unwrap(), &DecodeConfig::default()).unwrap().image
}

fn settings(overrides: &[&str]) -> Settings {
    config::resolve(None, &overrides.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap()
}

/// A folder of links to pictures.
fn folder_of(pictures: &[PathBuf], folder: &Path) -> PathBuf {
    let data = folder.join("data");
    std::fs::create_dir(&data).unwrap();
    for path in pictures {
        std::fs::copy(path, data.join(path.file_name().unwrap())).unwrap();
    }
    data
}

fn predict(data: &Path, out: &Path) -> PredictRequest {
    let save = SaveKinds { masks: true, coco: true, ..SaveKinds::default() };
    PredictRequest { data: data.into(), out: out.to_path_buf(), save, overwrite: false, wait: None }
}

/// What runs have of the machine.
const MACHINE: Machine = Machine { device: DeviceChoice::Auto, threads: 2, memory: None, precision: None };

fn training(data: &Path, folder: &Path, weights: Option<&Path>, machine: Machine) -> TrainRequest {
    let (out, weights) = (Some(folder.join("run")), weights.map(Path::to_path_buf));
    TrainRequest { data: data.into(), out, weights, machine, resume: false, wait: None }
}

/// Lets `learn` learn from a folder of images, and the program segment them with that: gives the checkpoint and the results.
fn learned_and_used(
    data: &Path,
    folder: &Path,
    weights: Option<&Path>,
    learn: impl FnOnce(&TrainRequest) -> PathBuf,
) -> (PathBuf, PathBuf) {
    let checkpoint = learn(&training(data, folder, weights, MACHINE));
    let out = folder.join("out");
    let request = InferRequest {
        checkpoint: checkpoint.clone(),
        predict: predict(data, &out),
        weights: weights.map(Path::to_path_buf),
        overrides: vec![],
        machine: MACHINE,
    };
    pipeline::infer(&request, &Silent).unwrap();
    (checkpoint, out)
}

fn mask_of(out: &Path, picture: &Path) -> deepcut::Mask {
    read_mask(&out.join("masks").join(picture.file_name().unwrap()).with_extension("png")).unwrap()
}

const VIT: [&str; 5] = ["backbone=vit", "vit.head_width=4", "vit.input_side=32", "vit.facet=token", "train.epochs=10"];

#[test]
fn a_model_gives_the_masks_that_the_program_writes() {
    let pictures = pictures(4);
    let tiny = project("tests/golden/tiny_vit.pth");
    let parts: Vec<&str> = VIT.into_iter().chain(["parts.foreground=2", "parts.minimum_nodes=4"]).collect();
    let cases: [(&str, Vec<&str>, Option<PathBuf>); 4] = [
        ("superpixels", vec!["train.epochs=6"], None),
        ("correlation clustering", vec!["train.epochs=4", "objective.kind=cc"], None),
        ("transformer", VIT.to_vec(), Some(tiny.clone())),
        ("parts", parts, Some(tiny)),
    ];
    for (name, overrides, weights) in cases {
        let folder = tempfile::tempdir().unwrap();
        let data = folder_of(&pictures, folder.path());
        let (checkpoint, out) = learned_and_used(&data, folder.path(), weights.as_deref(), |request| {
            pipeline::train(settings(&overrides), request, &Silent).unwrap().checkpoint
        });

        let model = Model::open_with(&checkpoint, &ModelOptions { weights, ..ModelOptions::default() }).unwrap();
        let images: Vec<RgbImage> = pictures.iter().map(|path| image(path)).collect();
        let batch = model.segment_batch(&images).unwrap();
        for ((path, image), of_batch) in pictures.iter().zip(&images).zip(batch) {
            let found = model.segment(image).unwrap();
            assert_eq!(found.mask, mask_of(&out, path), "{name}: {}", path.display());
            assert_eq!(found, of_batch, "{name}: one by one and together");
            let area = found.mask.values.iter().filter(|&&value| found.legend[usize::from(value)].role.is_foreground());
            assert_eq!(area.count() as u64, found.foreground_area_px);
        }
    }
}

#[test]
fn files_read_one_by_one_give_the_masks_that_the_program_writes() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder_of(&pictures(3), folder.path());
    // Without data at its left edge, and no image at all.
    write_png(&data.join("edge.png"), 64, 48, |x, y| if x < 16 { [0; 3] } else { [200 - x as u8, 90, 3 * y as u8] });
    std::fs::write(data.join("text.jpg"), "no image").unwrap();
    let checkpoint = project("checkpoints/demonstration.safetensors");
    let (out, weights) = (folder.path().join("out"), None);
    let request =
        InferRequest { checkpoint, predict: predict(&data, &out), weights, overrides: vec![], machine: MACHINE };
    pipeline::infer(&request, &Silent).unwrap();

    let model = Model::open(&request.checkpoint).unwrap();
    let records: Vec<_> = deepcut::dataset::open(&data).unwrap().records().map(Result::unwrap).collect();
    let mut found = Vec::new();
    let read = |record: &Record, limits: &DecodeConfig| record.content(limits)?.decode(limits);
    segment_each(model.method(), records.iter(), 2, read, |segmented| {
        found.push(segmented);
        Ok::<(), deepcut::Error>(())
    })
    .unwrap();
    for (record, found) in records.iter().zip(&found) {
        if record.relative == Path::new("text.jpg") {
            assert!(found.as_ref().unwrap_err().contains("known format"), "{found:?}");
            continue;
        }
        let found = found.as_ref().unwrap();
        assert_eq!(found.segmentation.mask, mask_of(&out, &record.path), "{}", record.path.display());
        assert_eq!(found.remarks.is_empty(), record.relative != Path::new("edge.png"));
    }
    assert_eq!(found.len(), 5);
    let ended = segment_each(model.method(), records.iter(), 2, read, |_| Err(deepcut::Error::NoHome));
    assert!(matches!(ended, Err(deepcut::Error::NoHome)));
}

#[test]
fn the_per_image_mode_gives_the_masks_that_the_program_writes() {
    let pictures = pictures(3);
    let folder = tempfile::tempdir().unwrap();
    let data = folder_of(&pictures, folder.path());
    for overrides in [&["segment.epochs=4"][..], &["segment.method=spectral", "superpixel.regions=80"]] {
        let out = folder.path().join(overrides[0]);
        let request = SegmentRequest { predict: predict(&data, &out), weights: None, machine: Machine::default() };
        pipeline::segment(settings(overrides), &request, &Silent).unwrap();
        let method = PerImage::with_weights(settings(overrides), None, &Machine::default()).unwrap();
        for path in &pictures {
            assert_eq!(method.segment(&image(path)).unwrap().mask, mask_of(&out, path));
        }
    }
    for name in ["segment.method=grapl", "segment.method=slic-cut"] {
        let overrides = [name, "grapl.patches=8", "grapl.side=64", "grapl.steps=[6, 4]", "grapl.lambda=4"];
        let out = folder.path().join(name);
        let request = SegmentRequest { predict: predict(&data, &out), weights: None, machine: Machine::default() };
        pipeline::segment(settings(&overrides), &request, &Silent).unwrap();
        let method = PatchRegions::new(settings(&overrides)).unwrap();
        for path in &pictures {
            let found = method.segment(&image(path)).unwrap();
            assert_eq!(found.mask, mask_of(&out, path), "{name}");
            assert!(found.clusters > 1 && found.mask.values.iter().all(|&value| value > 0), "{name}");
        }
    }
}

#[test]
fn the_preset_of_grapl_is_its_defaults() {
    let preset = config::resolve(Some(&project("configs/grapl.toml")), &[]).unwrap();
    assert_eq!(preset, settings(&["segment.method=grapl"]));
}

#[test]
fn a_dataset_in_memory_trains_the_network_of_the_folder() {
    let pictures = pictures(5);
    let folder = tempfile::tempdir().unwrap();
    let data = folder_of(&pictures, folder.path());
    let chosen = settings(&["train.epochs=4", "data.max_images=4", "train.self_training=true", "train.seed=3"]);
    let request = training(&data, folder.path(), None, Machine::default());
    let path = pipeline::train(chosen.clone(), &request, &Silent).unwrap().checkpoint;
    let of_folder = Model::open(path).unwrap();
    let images = InMemDataset::new(pictures.iter().map(|path| image(path)).collect());
    let in_memory = deepcut::train(&images, &chosen, &Silent).unwrap();
    let collection = deepcut::dataset::open(&data).unwrap();
    assert_eq!(Dataset::len(&collection), 5);
    let of_collection = deepcut::train(&collection, &chosen, &Silent).unwrap();
    assert_eq!(of_collection.to_bytes().unwrap(), of_folder.to_bytes().unwrap());
    // Only the hash of the collection differs: of pixels here, of files there.
    let description = |model: &Model| {
        let mut header = model.header().clone();
        header.collection_hash.clear();
        header
    };
    assert_eq!(description(&in_memory), description(&of_folder));
    for path in &pictures {
        assert_eq!(in_memory.segment(&image(path)).unwrap(), of_folder.segment(&image(path)).unwrap());
    }
    // The bytes are a checkpoint like any other.
    let again = Model::from_bytes(&in_memory.to_bytes().unwrap()).unwrap();
    assert_eq!(again.to_bytes().unwrap(), in_memory.to_bytes().unwrap());
}

#[test]
fn a_dataset_in_memory_gives_the_code_book_of_the_folder_and_its_masks() {
    let pictures = pictures(5);
    let images: Vec<RgbImage> = pictures.iter().map(|path| image(path)).collect();
    let tiny = project("tests/golden/tiny_vit.pth");
    let superpixels = ["backbone=superpixel", "data.max_images=4", "train.seed=3"];
    let transformer = [&VIT[..4], &["refine.method=cut", "regions.split=true"]].concat();
    let patches = ["regions.by=patch-network", "grapl.patches=8", "grapl.side=64", "data.max_images=4"];
    // Whether edges join all nodes of an image, so that a high price of boundaries leaves one kind.
    let cases = [(&superpixels[..], None, true), (&transformer, Some(tiny), true), (&patches, None, false)];
    for (overrides, weights, is_joined) in cases {
        let folder = tempfile::tempdir().unwrap();
        let data = folder_of(&pictures, folder.path());
        let chosen = settings(&[overrides, &["regions.labels=6"]].concat());
        let (checkpoint, out) = learned_and_used(&data, folder.path(), weights.as_deref(), |request| {
            pipeline::train_regions(chosen.clone(), request, &Silent).unwrap().checkpoint
        });

        let learned = |images: &dyn Dataset<RgbImage>| {
            deepcut::train_regions_with(images, &chosen, weights.as_deref(), &MACHINE, &Silent).unwrap()
        };
        let in_memory = learned(&InMemDataset::new(images.clone()));
        let collection = deepcut::dataset::open(&data).unwrap();
        let of_collection =
            deepcut::train_regions_with(&collection, &chosen, weights.as_deref(), &MACHINE, &Silent).unwrap();
        assert_eq!(of_collection.to_bytes().unwrap(), std::fs::read(&checkpoint).unwrap());
        // Only the hash of the collection differs: of pixels here, of files there.
        let options = ModelOptions { weights, ..ModelOptions::default() };
        let of_folder = RegionModel::open_with(&checkpoint, &options).unwrap();
        let mut header = in_memory.header().clone();
        header.collection_hash = of_folder.header().collection_hash.clone();
        assert_eq!(&header, of_folder.header());
        assert_eq!(of_folder.hash(), of_collection.hash());
        // The bytes are a code book like any other.
        let again = RegionModel::from_bytes_with(&in_memory.to_bytes().unwrap(), &options).unwrap();
        let batch = again.segment_batch(&images).unwrap();
        for ((path, image), of_batch) in pictures.iter().zip(&images).zip(batch) {
            let found = in_memory.segment(image).unwrap();
            assert_eq!(found.mask, mask_of(&out, path), "{}", path.display());
            assert_eq!(found, of_batch, "one by one and together");
            assert_eq!(found, of_folder.segment(image).unwrap());
            assert_eq!(found.foreground_area_px, (image.width * image.height) as u64);
        }
        if is_joined {
            let overrides = vec!["regions.lambda=1e30".to_string(), "regions.split=false".to_string()];
            let dear = RegionModel::open_with(&checkpoint, &ModelOptions { overrides, ..options }).unwrap();
            assert_eq!(dear.segment(&images[0]).unwrap().clusters, 1);
        }
    }
    let error = deepcut::train_regions(&InMemDataset::new(images), &settings(&[]), &Silent).err().unwrap();
    assert_eq!(error.kind(), deepcut::ErrorKind::Usage);
    assert!(error.to_string().contains("regions.labels"), "{error}");
}

#[test]
fn two_models_in_two_threads_give_what_they_give_alone() {
    let images: Vec<RgbImage> = pictures(3).iter().map(|path| image(path)).collect();
    let train = |seed: u64| {
        let chosen = settings(&["train.epochs=25", "superpixel.regions=100", &format!("train.seed={seed}")]);
        deepcut::train(&InMemDataset::new(images.clone()), &chosen, &Silent).unwrap()
    };
    let models = [train(0), train(7)];
    let segment_all = |model: &Model| -> Vec<_> { images.iter().map(|image| model.segment(image).unwrap()).collect() };
    let alone = models.each_ref().map(segment_all);
    let together = std::thread::scope(|scope| {
        let threads = models.each_ref().map(|model| scope.spawn(|| segment_all(model)));
        threads.map(|thread| thread.join().unwrap())
    });
    assert_eq!(alone, together);
    assert!(together[0] != together[1], "other networks, other answers");
}
