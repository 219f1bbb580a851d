//! `backbone compare`: several backbones on the same images, every way of dividing their graphs, held against ground truth:
//! the paper's Table 4.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{PipelineError, Run, SkippedFile, no_images, tell_of_passed_over};
use crate::config::{Settings, with_overrides};
use crate::dataset::truth::{self, TruthError, bare_key, image_key, plain_path};
use crate::dataset::{self, Record, Sources, sample};
use crate::evaluate::{
    EvaluateError, EvaluateRequest, EvaluateSide, EvaluateSummary, EvaluateTask, RegionOptions, evaluate,
};
use crate::event::{Event, Observer, Phase, Plan, Silent, counted};
use crate::features::BackboneChoice;
use crate::method::{Machine, MethodError, PerImage};
use crate::metrics::mean;
use crate::output::{OutputError, encode_indexed_png, write_atomically};
use crate::parallel::{parallel_map, workers};
use crate::pixels::ImageItem;
use crate::results::ResultsFolder;
use crate::tensor;

/// A way to divide an image's graph in the per-image mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Division {
    /// A network by the paper's normalised cut.
    Ncut,
    /// A network by correlation clustering.
    Cc,
    /// A network by normalised association.
    Association,
    /// The eigenvector of the normalised cut.
    Spectral,
}

impl Division {
    pub const ALL: [Division; 4] = [Division::Ncut, Division::Cc, Division::Association, Division::Spectral];

    pub fn name(self) -> &'static str {
        match self {
            Division::Ncut => "ncut",
            Division::Cc => "cc",
            Division::Association => "association",
            Division::Spectral => "spectral",
        }
    }

    /// The settings that it stands for.
    fn overrides(self) -> [String; 2] {
        let (method, objective) = match self {
            Division::Spectral => ("spectral", "ncut"),
            other => ("gnn", other.name()),
        };
        [format!("segment.method={method}"), format!("objective.kind={objective}")]
    }
}

/// What to compare.
#[derive(Debug, Clone)]
pub struct CompareRequest {
    /// Folders, lists of images, or images.
    pub data: Sources,
    /// Masks of their foreground: a folder of label maps, or a COCO JSON file.
    pub truth: PathBuf,
    /// The backbones: files or names of weights, or names of backbones that need none.
    pub backbones: Vec<String>,
    pub divisions: Vec<Division>,
    /// Most images, chosen at random among those with ground truth; 0 takes all.
    pub limit: usize,
    /// See [`EvaluateRequest`].
    pub void: Option<u32>,
    pub foreground_classes: Vec<u32>,
    /// Where the table goes as a CSV file.
    pub csv: Option<PathBuf>,
    pub machine: Machine,
}

/// One line of the table.
#[derive(Debug, Clone, Serialize)]
pub struct ComparedRow {
    /// As it was asked for.
    pub backbone: String,
    pub division: Division,
    /// Mean over images of the foreground's IoU, as `evaluate` has it.
    pub miou: Option<f64>,
    pub accuracy: Option<f64>,
    /// Correlation clustering only: mean over images of the share of affinities that are not positive.
    pub negative_share: Option<f64>,
    /// Images that are scored.
    pub images: usize,
    /// Why there are no scores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// The table.
#[derive(Debug, Serialize)]
pub struct CompareSummary {
    pub rows: Vec<ComparedRow>,
    /// What the scores mean.
    pub definition: String,
    pub seed: u64,
    pub skipped: Vec<SkippedFile>,
    /// Why the first backbone that failed did.
    #[serde(skip)]
    pub failure: Option<PipelineError>,
}

/// Segments the same images by every backbone and every division, each image by itself, and scores the masks.
///
/// A backbone or a division that cannot be used has rows without scores, and the others go on. `settings_of` gives the
/// settings for some weights, none for backbones without any.
///
/// # Errors
/// If there is nothing to compare with, no image can be used, or the run is interrupted.
pub fn compare(
    settings_of: &dyn Fn(Option<&Path>) -> Result<Settings, PipelineError>,
    request: &CompareRequest,
    observer: &dyn Observer,
) -> Result<CompareSummary, PipelineError> {
    let settings = &settings_of(None)?;
    let collection = dataset::open_sources(&request.data, &settings.data)?;
    let annotated = annotated_names(&request.truth)?;
    let name = |key: &str| key.rsplit('/').next().unwrap_or(key).to_string();
    let has_truth = |record: &Record| annotated.contains(&name(&image_key(&record.relative)));
    let seed = settings.segment.seed;
    let sample::Sample { records, skipped, seen, .. } =
        sample::records(collection.records(), has_truth, request.limit, seed, &Silent);
    skipped.iter().for_each(|skip| skip.announce(observer));
    tell_of_passed_over(&collection, observer);
    if records.is_empty() {
        return Err(match seen {
            0 => no_images(&collection),
            _ => EvaluateError::NoMatch {
                predictions: request.data.display().to_string().into(),
                truth: request.truth.clone(),
                prediction: "none of its images".into(),
                annotation: annotated.first().map_or("nothing".into(), |name| format!("{name:?}")),
            }
            .into(),
        });
    }
    let folder =
        tempfile::tempdir().map_err(|source| PipelineError::OutputFolder { path: std::env::temp_dir(), source })?;
    let mut run = Comparison {
        settings,
        settings_of,
        request,
        observer,
        records,
        folder: folder.path(),
        summary: CompareSummary { rows: Vec::new(), definition: String::new(), seed, skipped, failure: None },
        announced: false,
    };
    for backbone in &request.backbones {
        run.add(backbone)?;
    }
    let summary = run.summary;
    if let Some(path) = &request.csv {
        write_atomically(path, |writer| write_table(&summary.rows, writer))?;
    }
    Ok(summary)
}

/// The last parts of the names of all images with ground truth; read before anything is computed.
fn annotated_names(path: &Path) -> Result<BTreeSet<String>, PipelineError> {
    let missing = |source| EvaluateError::Missing { side: EvaluateSide::Truth, path: path.to_path_buf(), source };
    let is_folder = std::fs::metadata(path).map_err(missing)?.is_dir();
    let name = |key: &str| key.rsplit('/').next().unwrap_or(key).to_string();
    let names = |key: String| {
        let key = plain_path(&key);
        [name(&key), name(bare_key(&key).unwrap_or(&key))]
    };
    let keys = |truth: Result<Vec<String>, TruthError>| truth.map(|keys| keys.into_iter().flat_map(names).collect());
    if is_folder {
        let maps = truth::label_maps(path).map(|truth| truth.images.into_iter().map(|image| image.key).collect());
        return Ok(keys(maps)?);
    }
    let masks = truth::coco::masks(path).map(|truth| truth.images.into_iter().map(|image| image.key).collect());
    Ok(keys(masks)?)
}

fn write_table(rows: &[ComparedRow], writer: &mut dyn std::io::Write) -> std::io::Result<()> {
    let mut table = csv::Writer::from_writer(writer);
    table.write_record(["backbone", "division", "images", "miou", "accuracy", "negative_share", "failure"])?;
    for row in rows {
        let number = |number: Option<f64>| number.map_or(String::new(), |number| number.to_string());
        let numbers = [row.miou, row.accuracy, row.negative_share].map(number);
        let [miou, accuracy, negative_share] = &numbers;
        let (images, failure) = (row.images.to_string(), row.failure.as_deref().unwrap_or_default());
        let name = crate::names::in_sheet(&row.backbone);
        table.write_record([&*name, row.division.name(), &images, miou, accuracy, negative_share, failure])?;
    }
    table.flush()
}

/// A comparison under way.
struct Comparison<'a> {
    settings: &'a Settings,
    settings_of: &'a dyn Fn(Option<&Path>) -> Result<Settings, PipelineError>,
    request: &'a CompareRequest,
    observer: &'a dyn Observer,
    records: Vec<Record>,
    /// Where masks lie until they are scored.
    folder: &'a Path,
    summary: CompareSummary,
    /// Whether the bad images are known.
    announced: bool,
}

/// A division with the backbone it shares with others.
struct Prepared {
    division: Division,
    method: PerImage,
    /// The first division with the same features.
    features_of: usize,
    masks: ResultsFolder,
}

/// What one image gave, division by division: its share of negative affinities; or why it was left out.
type OfImage = Result<Vec<Option<f32>>, String>;

impl Comparison<'_> {
    /// Adds the rows of a backbone.
    fn add(&mut self, backbone: &str) -> Result<(), PipelineError> {
        let mut prepared: Vec<Prepared> = Vec::new();
        let mut rows: Vec<ComparedRow> = Vec::new();
        for &division in &self.request.divisions {
            let mut row = ComparedRow {
                backbone: backbone.to_string(),
                division,
                miou: None,
                accuracy: None,
                negative_share: None,
                images: 0,
                failure: None,
            };
            match self.open(backbone, division) {
                Ok(mut method) => {
                    let place = prepared.iter().position(|other| method.share_backbone(&other.method));
                    let features_of = place.unwrap_or(prepared.len());
                    let masks = self.folder.join(format!("{}-{}", self.summary.rows.len(), division.name()));
                    prepared.push(Prepared { division, method, features_of, masks: ResultsFolder::new(masks) });
                }
                Err(error) => {
                    row.failure = Some(error.to_string());
                    self.summary.failure.get_or_insert(error);
                }
            }
            rows.push(row);
        }
        if let Some(Prepared { method, .. }) = prepared.first() {
            let divisions: Vec<&str> = prepared.iter().map(|prepared| prepared.division.name()).collect();
            self.observer.observe(Event::Plan(Plan {
                doing: format!(
                    "comparing on {} of {}",
                    counted(self.records.len() as u64, "image"),
                    self.request.data.display()
                ),
                backbone: method.backbone().description.clone(),
                could_be_deeper: false,
                how: format!("device {}, {}", tensor::name(method.device()), divisions.join(", ")),
            }));
            let shares = self.segment(&prepared)?;
            for (prepared, share) in prepared.iter().zip(shares) {
                let scores = self.score(&prepared.masks)?;
                let score =
                    |name: &str| scores.scores.iter().find(|(found, _)| *found == name).map(|(_, score)| *score);
                let row = rows.iter_mut().find(|row| row.division == prepared.division);
                if let Some(row) = row {
                    (row.miou, row.accuracy, row.images) = (score("miou"), score("accuracy"), scores.images);
                    row.negative_share = share;
                }
                self.summary.definition = scores.definitions.get("miou").cloned().unwrap_or_default();
            }
        }
        self.summary.rows.extend(rows);
        Ok(())
    }

    /// The method that segments images by a backbone and a division.
    fn open(&self, backbone: &str, division: Division) -> Result<PerImage, PipelineError> {
        let needs_none = |name: &&&str| **name == backbone && **name != "auto" && **name != "vit";
        let known = BackboneChoice::NAMES.iter().find(needs_none);
        let (name, weights) = known.map_or(("vit", Some(Path::new(backbone))), |name| (*name, None));
        let overrides = [&[format!("backbone={name}")][..], &division.overrides()].concat();
        let settings = with_overrides(&(self.settings_of)(weights)?, &overrides)?;
        // A precision is for those who have products.
        let precision = self.request.machine.precision.filter(|_| weights.is_some());
        Ok(PerImage::with_weights(settings, weights, &Machine { precision, ..self.request.machine })?)
    }

    /// Segments every image; gives the mean share of negative affinities of every division.
    fn segment(&mut self, prepared: &[Prepared]) -> Result<Vec<Option<f64>>, PipelineError> {
        let (observer, limits) = (self.observer, &self.settings.pixels);
        observer.observe(Event::PhaseStarted { phase: Phase::Inference, total: Some(self.records.len() as u64) });
        let process = |record: &Record| -> Result<OfImage, PipelineError> {
            if observer.interrupted() {
                return Err(PipelineError::Interrupted(Run::Comparing));
            }
            let picture = match record.content(limits).and_then(|content| content.decode(limits)) {
                Ok(picture) => picture,
                Err(reason) => return Ok(Err(reason)),
            };
            let mut nodes = Vec::new();
            let mut shares = Vec::new();
            for (place, Prepared { method, features_of, masks, .. }) in prepared.iter().enumerate() {
                nodes.push(if *features_of == place {
                    Some(method.backbone().extractor.extract_within(&picture, picture.outside.as_ref()))
                } else {
                    None
                });
                let Some(nodes) = &nodes[*features_of] else { continue };
                let found = method.segment_nodes(&picture, nodes.clone());
                let mut is_foreground = [0u8; 256];
                let labels = found.legend.iter().filter(|label| label.role.is_foreground());
                labels.for_each(|label| is_foreground[usize::from(label.value)] = 1);
                let mask = found.mask.map(|value| is_foreground[usize::from(value)]);
                let png = encode_indexed_png(&mask, &[]).map_err(|error| MethodError::Collection(error.to_string()))?;
                write_scratch(&masks.mask(&record.output), &png)?;
                shares.push(found.negative_share);
            }
            Ok(Ok(shares))
        };
        let (mut shares, mut done) = (vec![Vec::new(); prepared.len()], 0);
        let (announced, skipped) = (self.announced, &mut self.summary.skipped);
        let mut bad = Vec::new();
        let mut records = self.records.iter();
        parallel_map(self.records.iter(), workers(self.request.machine.threads)?, process, |outcome| {
            let record = records.next();
            match (outcome?, record) {
                (Ok(found), _) => {
                    shares.iter_mut().zip(found).for_each(|(all, share)| all.extend(share.map(f64::from)))
                }
                (Err(reason), Some(record)) => bad.push(SkippedFile { path: record.path.clone(), reason }),
                (Err(_), None) => {}
            }
            done += 1;
            observer.observe(Event::PhaseProgress { phase: Phase::Inference, done });
            Ok::<(), PipelineError>(())
        })?;
        observer.observe(Event::PhaseFinished { phase: Phase::Inference });
        if bad.len() == self.records.len() {
            return Err(PipelineError::NoUsableImage { data: self.request.data.clone(), skipped: bad });
        }
        if !announced {
            bad.iter().for_each(|skip| skip.announce(observer));
            let images = skipped.len() + self.records.len();
            skipped.extend(bad);
            self.settings.data.judge(skipped.len() as u64, images as u64, skipped)?;
            self.announced = true;
        }
        Ok(shares.into_iter().map(mean).collect())
    }

    /// Scores the masks of a division.
    fn score(&self, masks: &ResultsFolder) -> Result<EvaluateSummary, PipelineError> {
        let request = EvaluateRequest {
            predictions: masks.root().to_path_buf(),
            truth: Some(self.request.truth.clone()),
            task: EvaluateTask::Objects,
            void: self.request.void,
            foreground_classes: self.request.foreground_classes.clone(),
            regions: RegionOptions::default(),
            csv: None,
            threads: self.request.machine.threads,
        };
        // What has no partner is so by choice.
        let summary = evaluate(&request, &Quiet(self.observer))?;
        if self.summary.rows.iter().all(|row| row.miou.is_none()) {
            let skipped = summary.skipped.first().map(|first| {
                let count = counted(summary.skipped.len() as u64, "image");
                format!("{count} cannot be scored, such as {}: {}", first.image, first.reason)
            });
            summary.remarks.iter().cloned().chain(skipped).for_each(|told| self.observer.observe(Event::Warning(told)));
        }
        let _ = std::fs::remove_dir_all(masks.root());
        Ok(summary)
    }
}

/// Writes a file that vanishes with the run.
fn write_scratch(path: &Path, bytes: &[u8]) -> Result<(), OutputError> {
    let write = || {
        path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
        std::fs::write(path, bytes)
    };
    write().map_err(|source| OutputError::Write { path: path.to_path_buf(), source })
}

/// Passes on nothing but interruptions.
struct Quiet<'a>(&'a dyn Observer);

impl Observer for Quiet<'_> {
    fn observe(&self, _event: Event) {}

    fn interrupted(&self) -> bool {
        self.0.interrupted()
    }
}
