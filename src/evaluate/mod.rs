//! Results and ground truth → scores, with the definitions they follow.

mod boxes;
mod error;
mod instances;
mod maps;
mod matching;
mod notes;
mod objects;
mod parts;
mod predictions;
mod regions;
mod table;
mod video;

pub use error::{EvaluateError, EvaluateSide};
pub use regions::RegionOptions;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::{Serialize, Serializer};

use crate::dataset::truth::{Annotated, LeftOut, Truth};
use crate::event::{Event, Observer, Phase, counted};
use crate::output::write_atomically;
use crate::parallel::thread_pool;
use crate::pixels::QuarterTurn;
use crate::results::ResultsFolder;

use maps::{Frame, Size, in_size, read_map, read_mask};
use matching::Matches;
use notes::{Compared, NotedImages, Notes};
use table::some_of;

/// Images that are decoded and scored at a time; bounds the memory.
const CHUNK: usize = 32;

/// What to score, against what.
#[derive(Debug, Clone)]
pub struct EvaluateRequest {
    /// What `infer` or `segment` wrote, or a folder of masks.
    pub predictions: PathBuf,
    /// A folder or a JSON file; only videos can be scored without.
    pub truth: Option<PathBuf>,
    pub task: EvaluateTask,
    /// The value of undecided pixels in label maps.
    pub void: Option<u32>,
    /// The values of the foreground in label maps; empty: every value but 0 (and `void`).
    pub foreground_classes: Vec<u32>,
    /// For the task regions.
    pub regions: RegionOptions,
    /// Where a table with one line per image goes.
    pub csv: Option<PathBuf>,
    /// 0 means one per processor.
    pub threads: usize,
}

impl EvaluateRequest {
    /// Whether it says what the values of label maps mean.
    fn tells_values(&self) -> bool {
        self.void.is_some() || !self.foreground_classes.is_empty()
    }
}

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EvaluateTask {
    /// Foreground against background.
    Objects,
    /// One box per image.
    Boxes,
    /// Every object by itself, whatever its class.
    Instances,
    /// Parts, by pixels or by key-points.
    Parts,
    /// Whole segmentations against several people's.
    Regions,
    /// Foreground against background in sequences, and how steady the labels are.
    Video,
}

/// The outcome of an evaluation; all scores are fractions but those in bits.
#[derive(Debug, Clone, Serialize)]
pub struct EvaluateSummary {
    pub task: EvaluateTask,
    pub predictions: PathBuf,
    pub truth: Option<PathBuf>,
    /// Images that are scored.
    pub images: usize,
    /// By name, in the order of a report.
    #[serde(flatten, serialize_with = "by_name")]
    pub scores: Vec<(&'static str, f64)>,
    /// The names of the scores that are in bits.
    #[serde(skip)]
    pub in_bits: BTreeSet<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sequences: Vec<SequenceScores>,
    /// What the score of each name means here.
    pub definitions: BTreeMap<&'static str, String>,
    /// Predictions without ground truth: not scored.
    pub unmatched_predictions: Vec<String>,
    /// Ground truth without predictions: not scored.
    pub unmatched_truth: Vec<String>,
    /// Images whose ground truth is there and has nothing to compare with: not scored.
    pub without_annotation: Vec<String>,
    /// Scored images in which nothing was predicted but background.
    pub empty_predictions: Vec<String>,
    /// Scored images whose prediction was resized to the size of the ground truth.
    pub resized: Vec<String>,
    /// Scored images whose ground truth was drawn on the photograph as it lies in its file, and turned upright as that.
    pub turned: Vec<String>,
    /// Images that could not be scored, for a file of theirs cannot be read or does not fit; files of ground truth that
    /// cannot be read.
    pub skipped: Vec<SkippedImage>,
    /// Whatever else should be known before the scores are believed.
    pub remarks: Vec<String>,
}

/// An image or a file that could not be scored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SkippedImage {
    pub image: String,
    pub reason: String,
}

fn by_name<S: Serializer>(scores: &[(&'static str, f64)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(scores.iter().copied())
}

/// The scores of one sequence of frames.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SequenceScores {
    /// The folder of the frames within the collection, `.` for the collection's own.
    pub sequence: String,
    /// Predicted frames.
    pub frames: usize,
    /// Mean IoU over the frames with ground truth.
    pub miou: Option<f64>,
    /// Mean pixel accuracy over the frames with ground truth.
    pub accuracy: Option<f64>,
    /// Mean over consecutive frames of the share of pixels with the same label; none for a single frame.
    pub consistency: Option<f64>,
}

/// Scores results against ground truth.
///
/// Images are matched by their places within the two collections, without extensions, and where that gives no match by the
/// longest end of the path that is unique on both sides. What has no match is not scored; the summary lists it.
///
/// A file that cannot be read, or does not fit its image, is listed as skipped; only if all are, that is an error.
pub fn evaluate(request: &EvaluateRequest, observer: &dyn Observer) -> Result<EvaluateSummary, EvaluateError> {
    check(request)?;
    let folder = ResultsFolder::new(&request.predictions);
    let mut run = Run {
        request,
        observer,
        pool: thread_pool(request.threads)?,
        predicted_foreground: predictions::foreground_values(&folder)?,
        folder,
        files: BTreeMap::new(),
        orientations: BTreeMap::new(),
        summary: EvaluateSummary {
            task: request.task,
            predictions: request.predictions.clone(),
            truth: request.truth.clone(),
            images: 0,
            scores: Vec::new(),
            in_bits: BTreeSet::new(),
            sequences: Vec::new(),
            definitions: BTreeMap::new(),
            unmatched_predictions: Vec::new(),
            unmatched_truth: Vec::new(),
            without_annotation: Vec::new(),
            empty_predictions: Vec::new(),
            resized: Vec::new(),
            turned: Vec::new(),
            skipped: Vec::new(),
            remarks: Vec::new(),
        },
    };
    let table = match request.task {
        EvaluateTask::Objects => objects::evaluate(&mut run),
        EvaluateTask::Boxes => boxes::evaluate(&mut run),
        EvaluateTask::Instances => instances::evaluate(&mut run),
        EvaluateTask::Parts => parts::evaluate(&mut run),
        EvaluateTask::Regions => regions::evaluate(&mut run),
        EvaluateTask::Video => video::evaluate(&mut run),
    }?;
    let summary = run.summary;
    table::announce(&summary, observer);
    if let Some(path) = &request.csv {
        write_atomically(path, |writer| table.write(writer))?;
    }
    Ok(summary)
}

fn check(request: &EvaluateRequest) -> Result<(), EvaluateError> {
    let paths =
        [(EvaluateSide::Predictions, Some(&request.predictions)), (EvaluateSide::Truth, request.truth.as_ref())];
    for (side, path) in paths.into_iter().filter_map(|(side, path)| Some((side, path?))) {
        let missing = |source| EvaluateError::Missing { side, path: path.clone(), source };
        std::fs::metadata(path).map_err(missing)?;
    }
    if !request.predictions.is_dir() {
        return Err(EvaluateError::NoFolder { path: request.predictions.clone() });
    }
    if request.truth.is_none() && request.task != EvaluateTask::Video {
        return Err(EvaluateError::TruthNeeded);
    }
    let of_maps = matches!(request.task, EvaluateTask::Objects | EvaluateTask::Parts | EvaluateTask::Video);
    if !of_maps && request.tells_values() {
        return Err(EvaluateError::TaskWithoutMaps);
    }
    if request.task != EvaluateTask::Regions && request.regions != RegionOptions::default() {
        return Err(EvaluateError::TaskWithoutRegions);
    }
    if request.void.is_some_and(|void| request.foreground_classes.contains(&void)) {
        return Err(EvaluateError::VoidForeground);
    }
    Ok(())
}

/// An evaluation under way.
struct Run<'a> {
    request: &'a EvaluateRequest,
    observer: &'a dyn Observer,
    pool: rayon::ThreadPool,
    /// What is scored.
    folder: ResultsFolder,
    predicted_foreground: predictions::ForegroundValues,
    /// The keys of predictions by their images' files, where a table names these.
    files: BTreeMap<String, String>,
    /// The EXIF orientations of images that were turned upright, by their keys, where a table tells them.
    orientations: BTreeMap<String, u8>,
    summary: EvaluateSummary,
}

impl<'a> Run<'a> {
    /// The ground truth's path; [`check`] has seen that it is there where a task needs it.
    fn truth(&self) -> &'a Path {
        self.request.truth.as_deref().unwrap_or(Path::new(""))
    }

    /// Joins predictions and ground truth, and notes what has no partner. Nothing at all to score is an error.
    fn matched<P, T>(
        &mut self,
        predictions: Vec<(String, P)>,
        truth: Vec<Annotated<T>>,
    ) -> Result<Vec<Pair<P, T>>, EvaluateError> {
        let example = |list: &[String]| list.first().map_or("nothing".to_string(), |key| format!("{key:?}"));
        let Matches { pairs, mut unmatched_predictions, unmatched_truth, by_name_only, by_suffix, ambiguous } =
            matching::match_up(predictions, matching::renamed(truth, &self.files));
        // An image without annotation has a ground truth; it is listed as what it is.
        let bare: BTreeSet<&String> = self.summary.without_annotation.iter().collect();
        unmatched_predictions.retain(|key| !bare.contains(key));
        if pairs.is_empty() {
            return Err(EvaluateError::NoMatch {
                predictions: self.request.predictions.clone(),
                truth: self.truth().to_path_buf(),
                prediction: example(&unmatched_predictions),
                annotation: example(&unmatched_truth),
            });
        }
        if by_name_only > 0 {
            self.summary.remarks.push(format!(
                "{by_name_only} of {} images lie in other folders than their ground truth and were matched by name",
                pairs.len()
            ));
        }
        if let Some((mask, image)) = by_suffix.first() {
            self.summary.remarks.push(format!(
                "{} matched without the suffix of the name, such as {mask} with {image}",
                counted(by_suffix.len() as u64, "image")
            ));
        }
        if !ambiguous.is_empty() {
            self.summary
                .remarks
                .push(format!("not matched, for the same name is there more than once: {}", some_of(&ambiguous)));
        }
        self.summary.unmatched_predictions = unmatched_predictions;
        self.summary.unmatched_truth = unmatched_truth;
        Ok(pairs)
    }

    /// Scores every item on all threads and collects the results in order.
    fn for_each<I: Sync, R: Send>(
        &self,
        items: &[I],
        score: impl Fn(&I) -> Result<R, EvaluateError> + Sync,
        mut collect: impl FnMut(&I, Result<R, EvaluateError>) -> Result<(), EvaluateError>,
    ) -> Result<(), EvaluateError> {
        let phase = Phase::Evaluation;
        self.observer.observe(Event::PhaseStarted { phase, total: Some(items.len() as u64) });
        let mut done = 0;
        for chunk in items.chunks(CHUNK) {
            if self.observer.interrupted() {
                return Err(EvaluateError::Interrupted);
            }
            let results = self.pool.install(|| chunk.par_iter().map(&score).collect::<Vec<_>>());
            for (item, result) in chunk.iter().zip(results) {
                collect(item, result)?;
                done += 1;
            }
            self.observer.observe(Event::PhaseProgress { phase, done });
        }
        self.observer.observe(Event::PhaseFinished { phase });
        Ok(())
    }

    /// Compares all pairs on all threads, collects the results in order, and notes what is to be known of every image. One
    /// that cannot be compared is skipped; it is an error if none can.
    fn compare<P: Sync, T: Sync, R: Send>(
        &mut self,
        pairs: &[Pair<P, T>],
        compare: impl Fn(&Pair<P, T>) -> Result<Compared<R>, EvaluateError> + Sync,
        mut collect: impl FnMut(&Pair<P, T>, R) -> Result<(), EvaluateError>,
    ) -> Result<(), EvaluateError> {
        let (mut noted, mut skipped, mut first_error) = (NotedImages::default(), Vec::new(), None);
        self.for_each(pairs, compare, |pair, compared| match compared {
            Ok(Compared { result, notes }) => {
                noted.add(&pair.key, notes);
                collect(pair, result)
            }
            Err(error) if error.is_of_one_image() => {
                skipped.push(SkippedImage { image: pair.key.clone(), reason: error.to_string() });
                first_error.get_or_insert(error);
                Ok(())
            }
            Err(error) => Err(error),
        })?;
        match first_error {
            Some(error) if skipped.len() == pairs.len() => return Err(error),
            _ => {}
        }
        self.summary.images = pairs.len() - skipped.len();
        self.summary.skipped.extend(skipped);
        noted.tell(&mut self.summary);
        let keeps_sides = |pair: &&Pair<P, T>| matches!(self.orientations.get(&pair.key), Some(2..=4));
        let doubtful = pairs.iter().filter(keeps_sides).count();
        if doubtful > 0 && !self.summary.turned.is_empty() {
            self.summary.remarks.push(format!(
                "{} mirrored or turned by half a turn as EXIF says, of which sizes tell nothing: the ground truth was taken \
                 as upright, though that of others was not",
                counted(doubtful as u64, "photograph")
            ));
        }
        Ok(())
    }

    /// The images of a ground truth that have something to compare with; notes the others, and its remarks.
    fn annotated<T>(&mut self, truth: Truth<T>, is_bare: impl Fn(&T) -> bool) -> Vec<Annotated<T>> {
        self.tell_of_truth(truth.remarks, truth.left_out);
        let (bare, annotated) = truth.images.into_iter().partition::<Vec<_>, _>(|image| is_bare(&image.content));
        self.summary.without_annotation = bare.into_iter().map(|image| image.key).collect();
        annotated
    }

    /// Notes what of a ground truth could not be used.
    fn tell_of_truth(&mut self, remarks: Vec<String>, left_out: Vec<LeftOut>) {
        self.summary.remarks.extend(remarks);
        let skipped = |LeftOut { path, reason }| SkippedImage { image: path.display().to_string(), reason };
        self.summary.skipped.extend(left_out.into_iter().map(skipped));
    }

    /// Tells of the image of a key how its truth lies to its prediction, both given by width and height.
    fn frames(&self) -> impl Fn(&str, Size, Size) -> Result<Frame, EvaluateError> + Sync + use<> {
        let orientations = self.orientations.clone();
        move |key, truth, prediction| Frame::of(truth, prediction, orientations.get(key).copied())
    }

    /// The same for those who need the turn, and can score nothing where it is not known.
    fn turns(&self) -> impl Fn(&str, Size, Size) -> Result<Option<QuarterTurn>, EvaluateError> + Sync + use<> {
        let frame = self.frames();
        move |key, truth, prediction| frame(key, truth, prediction)?.known(truth, prediction)
    }

    /// Notes a score, if there is one, and what it means here.
    fn score(&mut self, name: &'static str, score: Option<f64>, definition: impl Into<String>) {
        self.summary.scores.extend(score.map(|score| (name, score)));
        self.summary.definitions.insert(name, definition.into());
    }
}

/// One image's prediction and ground truth.
struct Pair<P, T> {
    /// The prediction's name.
    key: String,
    prediction: P,
    truth: Annotated<T>,
}

/// A ground truth of a kind that the task has no use for.
fn wrong_kind(path: &Path, expected: &'static str) -> EvaluateError {
    EvaluateError::WrongTruth { path: path.to_path_buf(), expected }
}

/// Whether the path is a file that should hold JSON.
fn is_json(path: &Path) -> bool {
    path.is_file() && path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"))
}
