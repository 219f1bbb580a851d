//! What is attacked: small collections, a run of every command, and what lies in a folder afterwards.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use image::{ImageFormat, Rgb, RgbImage};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tiff::encoder::colortype::RGB8;
use tiff::encoder::{Compression, TiffEncoder};

use super::process::{Ended, run};
use super::{Outcome, ensure};
use crate::drive::{path_text, program, project};

/// Everything that can be saved of an image.
pub const ALL_KINDS: &str = "masks,overlays,saliency,report,coco,yolo,voc";

pub fn random(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

/// A picture of a bright disc on a dark ground, other for every number.
pub fn picture(number: u32) -> RgbImage {
    let (width, height) = (48 + number % 5, 40 + number % 3);
    let (middle_x, middle_y, radius) = (16 + number % 16, 14 + number % 11, 8 + number % 4);
    RgbImage::from_fn(width, height, |x, y| {
        let (dx, dy) = (x.abs_diff(middle_x), y.abs_diff(middle_y));
        let shade = (number % 251) as u8;
        if dx * dx + dy * dy < radius * radius {
            Rgb([220, 180 - shade / 4, 60])
        } else {
            Rgb([30, 50 + (x % 7) as u8, 40 + (y % 5) as u8 + shade / 8])
        }
    })
}

/// A picture as a file of the format that its name says.
pub fn save_picture(path: &Path, number: u32) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, encoded(number, ImageFormat::from_path(path).unwrap())).unwrap();
}

pub fn encoded(number: u32, format: ImageFormat) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let picture = picture(number);
    if format == ImageFormat::Tiff {
        let mut encoder = TiffEncoder::new(&mut bytes).unwrap().with_compression(Compression::Lzw);
        encoder.write_image::<RGB8>(picture.width(), picture.height(), &picture).unwrap();
    } else {
        picture.write_to(&mut bytes, format).unwrap();
    }
    bytes.into_inner()
}

/// A collection of small pictures in folders; gives its place.
pub fn collection(folder: &Path, count: u32) -> PathBuf {
    for number in 0..count {
        let name = ["a.png", "b.jpg", "deep/c.png", "deep/er/d.webp"][number as usize % 4];
        let (stem, extension) = name.split_once('.').unwrap();
        save_picture(&folder.join(format!("{stem}{number}.{extension}")), number);
    }
    folder.to_path_buf()
}

/// The checkpoint that comes with the project; it needs no weights.
pub fn checkpoint() -> PathBuf {
    project("checkpoints/demonstration.safetensors")
}

/// A command that is to reach the same results whatever happens to it.
pub struct Scenario {
    arguments: Vec<String>,
    /// The folder of the output that it writes.
    part: &'static str,
    /// Its results after an uninterrupted run, and how long one takes.
    pub whole: Tree,
    seconds: Cell<f64>,
}

/// The names of the scenarios that all attacks know.
pub const SCENARIOS: [&str; 5] = ["train", "infer", "infer with everything saved", "segment", "cluster"];

/// Those with regions, each of which some attacks know: what they share with the others is attacked there.
pub const TRAIN_REGIONS: &str = "train --regions";
pub const INFER_REGIONS: &str = "infer of a code book";
pub const GRAPL: &str = "segment --method grapl";
/// Those whose collection or results lie otherwise.
pub const INFER_SHARD: &str = "infer of a shard";
pub const INFER_TAR: &str = "infer of a tar";
pub const SLIC_CUT: &str = "segment --method slic-cut";

/// Small patches, few of them, and few steps.
pub const SMALL_PATCHES: [&str; 6] =
    ["--set", "grapl.patches=10", "--set", "grapl.side=100", "--set", "grapl.steps=[8, 4]"];

impl Scenario {
    /// Runs the command once without any attack, below `ground`.
    pub fn prepare(ground: &Path, name: &'static str) -> Scenario {
        let data = collection(&ground.join("data"), 8);
        // All that the command reads lies below one folder.
        let network = ground.join("network.safetensors");
        fs::copy(checkpoint(), &network).unwrap();
        let book = ground.join("book");
        let learn = ["train", "--regions", "12", "--backbone", "superpixel", "--data", path_text(&data)];
        if name == INFER_REGIONS {
            run(program(&learn).arg("--out").arg(&book)).ended_with(&[0]).unwrap();
        }
        let book = book.join("best.safetensors");
        let infer = ["infer", "--ckpt", path_text(&network), "--data", path_text(&data)];
        let divide = ["infer", "--ckpt", path_text(&book), "--data", path_text(&data), "--refine", "cut"];
        let (plan, tar) = (ground.join("plan.json"), ground.join("data.tar"));
        if name == INFER_SHARD {
            let planned = ["plan", "--data", path_text(&data), "--shards", "2", "--out", path_text(&plan)];
            run(&mut program(&planned)).ended_with(&[0]).unwrap();
        }
        if name == INFER_TAR {
            let mut archive = tar::Builder::new(fs::File::create(&tar).unwrap());
            archive.append_dir_all("pictures", &data).unwrap();
            archive.finish().unwrap();
        }
        let data = path_text(&data);
        let by_patches = |method| [&["segment", "--method", method, "--data", data][..], &SMALL_PATCHES].concat();
        let arguments: Vec<&str> = match name {
            // The second network and the parts have states of their own.
            "train" => [
                &["train", "--data", data, "--epochs", "6", "--parts", "2", "--resume"][..],
                &["--set", "train.self_training=true", "--set", "train.restarts=2", "--set", "train.restart_epochs=2"],
            ]
            .concat(),
            "infer" => infer.to_vec(),
            "infer with everything saved" => [&infer[..], &["--save", ALL_KINDS]].concat(),
            "segment" => vec!["segment", "--data", data, "--epochs", "10", "--instances", "--save", ALL_KINDS],
            "cluster" => vec!["cluster", "--data", data, "--link", "--epochs", "30"],
            TRAIN_REGIONS => learn.to_vec(),
            INFER_REGIONS => [&divide[..], &["--save", "masks,report,coco"]].concat(),
            INFER_SHARD => {
                [&infer[..3], &["--plan", path_text(&plan), "--shard", "1", "--save", "masks,coco"]].concat()
            }
            INFER_TAR => [&infer[..3], &["--data", path_text(&tar), "--save", "masks,overlays,parquet"]].concat(),
            GRAPL => by_patches("grapl"),
            SLIC_CUT => by_patches("slic-cut"),
            _ => panic!("there is no scenario {name}"),
        };
        let arguments = arguments.into_iter().chain(["--threads", "2"]).map(str::to_string).collect();
        let part = if name == INFER_SHARD { "shards/00001" } else { "" };
        let mut scenario = Scenario { arguments, part, whole: Tree::new(), seconds: Cell::new(0.0) };
        let out = ground.join("whole");
        let ended = scenario.run(&out);
        ended.ended_with(&[0]).unwrap();
        scenario.whole = results(&out);
        // A second time, as the first one found the program's file cold.
        fs::remove_dir_all(&out).unwrap();
        let ended = scenario.run(&out);
        scenario.seconds.set(ended.took.as_secs_f64());
        scenario.equals_whole(&out).unwrap();
        scenario
    }

    pub fn command(&self, out: &Path) -> Command {
        let mut command = program(&[]);
        command.args(&self.arguments).arg("--out").arg(out);
        command
    }

    pub fn run(&self, out: &Path) -> Ended {
        run(&mut self.command(out))
    }

    /// The folder of an output that the command alone writes to.
    pub fn written(&self, out: &Path) -> PathBuf {
        out.join(self.part)
    }

    /// A moment of the run, from 0 (its start) to 1 (its end).
    pub fn moment(&self, share: f64) -> Duration {
        Duration::from_secs_f64(self.seconds.get() * share)
    }

    /// A run was over before its moment came: on a machine that has less to do than when the first one was measured, runs are
    /// shorter.
    pub fn was_over(&self) {
        self.seconds.set(0.6 * self.seconds.get());
    }

    /// Whether the command now ends well, with the results of an uninterrupted run and nothing else.
    pub fn completes(&self, out: &Path) -> Outcome {
        let ended = self.run(out);
        ended.ended_with(&[0]).map_err(|why| format!("the same command again: {why}"))?;
        self.equals_whole(out).map_err(|why| format!("after the same command again: {why}"))?;
        no_leftovers(&self.written(out))
    }

    /// The same after a run that skipped an image because it could not be read for a moment. To a training that is finished
    /// without the image there is nothing to resume: it is begun anew.
    pub fn completes_anew(&self, out: &Path) -> Outcome {
        let arguments = self.arguments.iter().filter(|argument| *argument != "--resume");
        let ended = run(program(&[]).args(arguments).arg("--out").arg(out));
        ended.ended_with(&[0]).map_err(|why| format!("the same command anew: {why}"))?;
        self.equals_whole(out).map_err(|why| format!("after the same command anew: {why}"))?;
        no_leftovers(out)
    }

    pub fn equals_whole(&self, out: &Path) -> Outcome {
        same(&self.whole, &results(out))
    }

    /// Whether every file that lies under the name of a result is that result as a whole, whatever is missing yet.
    pub fn nothing_half_written(&self, out: &Path) -> Outcome {
        self.as_in_whole(results(out))
    }

    /// The same for the files of single images: what holds all of them differs if one was skipped.
    pub fn nothing_half_written_of_an_image(&self, out: &Path) -> Outcome {
        let mut found = results(out);
        found.retain(|path, _| PER_IMAGE.iter().any(|folder| path.starts_with(folder)));
        self.as_in_whole(found)
    }

    fn as_in_whole(&self, found: Tree) -> Outcome {
        let differs = |(path, entry): &(&PathBuf, &Entry)| self.whole.get(*path).is_some_and(|whole| whole != *entry);
        match found.iter().find(differs) {
            Some((path, _)) => Err(format!("{} is there and is not what it is to be", path.display())),
            None => Ok(()),
        }
    }
}

/// The folders with files of single images.
pub const PER_IMAGE: [&str; 5] = ["masks", "overlays", "saliency", "yolo/labels", "voc"];

/// Everything below a folder.
pub type Tree = BTreeMap<PathBuf, Entry>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    Folder,
    /// What it points at.
    Link(PathBuf),
    File(Vec<u8>),
    /// A pipe, a socket, a device.
    Special,
}

/// Everything below a folder, links not followed; none if it is not there.
pub fn tree(folder: &Path) -> Tree {
    let mut found = Tree::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(inner) = folders.pop() {
        let Ok(entries) = fs::read_dir(&inner) else { continue };
        for entry in entries.map(Result::unwrap) {
            let (path, kind) = (entry.path(), entry.file_type().unwrap());
            let content = if kind.is_symlink() {
                Entry::Link(fs::read_link(&path).unwrap())
            } else if kind.is_dir() {
                folders.push(path.clone());
                Entry::Folder
            } else if kind.is_file() {
                match fs::read(&path) {
                    Ok(bytes) => Entry::File(bytes),
                    // The folder may be a live run's, whose temporary files come and go.
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                    Err(error) => panic!("{}: {error}", path.display()),
                }
            } else {
                Entry::Special
            };
            found.insert(path.strip_prefix(folder).unwrap().to_path_buf(), content);
        }
    }
    found
}

/// When every file below a folder was last written, and the folders' too.
pub fn times(folder: &Path) -> BTreeMap<PathBuf, SystemTime> {
    let time = |path: &PathBuf| fs::symlink_metadata(folder.join(path)).unwrap().modified().unwrap();
    tree(folder).into_keys().map(|path| (path.clone(), time(&path))).collect()
}

/// The results in an output folder: neither the log, nor the cache, nor what the program keeps for itself, nor empty folders.
pub fn results(out: &Path) -> Tree {
    let own = |path: &Path| {
        let first = path.components().next().unwrap();
        let inner = ["cache", "train.jsonl"].iter().any(|name| first.as_os_str() == *name);
        // Shards have folders of their own.
        inner
            || path.components().any(|part| part.as_os_str() == ".deepcut")
            || path.file_name().unwrap().as_encoded_bytes().starts_with(b".")
    };
    let mut found = tree(out);
    found.retain(|path, entry| !own(path) && *entry != Entry::Folder && !is_state(path));
    found
}

/// Where a training run goes on.
fn is_state(path: &Path) -> bool {
    path.file_name().unwrap().as_encoded_bytes().starts_with(b"resume-")
}

/// Everything below a folder but for what the program keeps for itself, such as who runs there.
pub fn visible(folder: &Path) -> Tree {
    let mut found = tree(folder);
    found.retain(|path, _| !path.starts_with(".deepcut"));
    found
}

/// Whether two folders hold the same; names some of what differs.
pub fn same(expected: &Tree, found: &Tree) -> Outcome {
    let mut different = Vec::new();
    for (path, entry) in expected {
        match found.get(path) {
            None => different.push(format!("{} is missing", path.display())),
            Some(other) if other != entry => different.push(format!("{} differs", path.display())),
            Some(_) => {}
        }
    }
    let more = found.keys().filter(|path| !expected.contains_key(*path));
    different.extend(more.map(|path| format!("{} is there and should not be", path.display())));
    different.truncate(6);
    ensure(different.is_empty(), || different.join(", "))
}

/// Whether a finished run has left no temporary file and no state behind.
pub fn no_leftovers(out: &Path) -> Outcome {
    let is_leftover = |path: &&PathBuf| {
        let name = path.file_name().unwrap().as_encoded_bytes();
        // That images laid out by clusters are no input is said by a file of this name.
        let hidden = name.starts_with(b".") && name != b".deepcutignore";
        let inner = path.starts_with(".deepcut");
        (hidden && !inner) || is_state(path) || (path.starts_with(".deepcut/tmp") && path.components().count() > 2)
    };
    let found = tree(out);
    let left: Vec<String> = found.keys().filter(is_leftover).map(|path| path.display().to_string()).collect();
    ensure(left.is_empty(), || format!("left behind: {}", left.join(", ")))
}

/// An empty folder name for the next try: what was there is removed.
pub fn fresh(out: &Path) -> &Path {
    if out.exists() {
        fs::remove_dir_all(out).unwrap();
    }
    out
}

/// What `deepcut verify` says of a folder.
pub fn verify(out: &Path) -> Ended {
    run(program(&["verify"]).arg(out))
}
