//! A segmenting run, image by image.

use std::path::{Path, PathBuf};
use std::time::Instant;

use super::report::Collected;
use super::{PredictRequest, PredictSummary};
use crate::config::Settings;
use crate::dataset::sample::MOST_NAMED;
use crate::dataset::shards::PlannedShard;
use crate::dataset::{Collection, DatasetError, Record, Sources};
use crate::event::{Event, Observer, Phase, Silent, counted};
use crate::method::{Method, StepMilliseconds, Timings};
use crate::output::{OutputError, OutputFolder};
use crate::parallel::{Semaphore, parallel_map, workers};
use crate::pipeline::images::{Remarks, remark};
use crate::pipeline::precision::Fixed;
use crate::pipeline::shards::{self, Began, MASKS, Made, MaskTotals, ShardRun, ShardSummary};
use crate::pipeline::{PipelineError, Run, SkippedFile, no_images, portable, stored_config, tell_of_passed_over};
use crate::pixels::ImageItem;
use crate::report::MaskReport;
use crate::results::{self, Earlier, Measures, Prediction, Results, ResultsFolder, SaveKinds, Status};

/// A few images of a collection may show nothing; where more of them end in one cluster, something is wrong.
const MOST_IN_ONE_CLUSTER: f64 = 0.1;

/// A segmenting run.
pub struct Predictor<'a> {
    pub request: &'a PredictRequest,
    pub settings: &'a Settings,
    /// The command that is run.
    pub command: &'static str,
    /// Of the trained network.
    pub checkpoint: Option<blake3::Hash>,
    /// How the images are segmented, for people.
    pub description: String,
    /// Everything that a result follows from besides the image and the settings of refinement and output.
    pub origin: serde_json::Value,
    /// 0 means one per processor.
    pub threads: usize,
    /// What was fixed for the output folder, where it was not by its settings.
    pub precision: Option<&'a Fixed>,
    /// What to do where nothing is told apart.
    pub remedy: &'static str,
}

impl Predictor<'_> {
    /// Segments every image of `collection`; `waiting` further threads wait for a device.
    ///
    /// A shard that an earlier run has finished in the same way is left as it is.
    ///
    /// Writes what [`crate::results::SaveKinds`] says, `OUT/labels.json`, and, when all images are through,
    /// `OUT/predictions.jsonl`. A mask is written last and tells what it was made from, so a killed run goes on where it
    /// was.
    pub fn run(
        &self,
        collection: &Collection,
        method: &dyn Method,
        waiting: usize,
        observer: &dyn Observer,
    ) -> Result<PredictSummary, PipelineError> {
        let (started, workers) = (Instant::now(), workers(self.threads)?);
        let PredictRequest { out, save, overwrite, wait, .. } = self.request;
        let (data, shard) = (collection.sources(), collection.shard());
        // The page for people is of the whole: the merge makes it.
        let save = SaveKinds { report: save.report && shard.is_none(), ..*save };
        let Settings { pixels, refine, objects, output, .. } = self.settings;
        let origin = serde_json::json!([env!("CARGO_PKG_VERSION"), self.origin, pixels.fingerprint(), refine, objects]);
        let claims = ResultsFolder::claims(save);
        let root = shard.map_or_else(|| out.clone(), |shard| shards::folder(out, shard.index()));
        let out = OutputFolder::open(&root, self.command, &claims, *wait, observer)?;
        self.precision.map_or(Ok(()), |precision| precision.keep(&out))?;
        let results = Results::new(out, save, *overwrite, output.clone(), method.legend(), &origin);
        let shard_run = match shard {
            Some(shard) => match self.begin_shard(shard, &results, observer)? {
                Began::Finished(totals) => return Ok(of_finished(totals, root, ShardSummary::of(shard, true))),
                Began::Open(run) => Some(run),
            },
            None => None,
        };
        self.check_places(collection, &results, workers, observer)?;
        let report = save.report.then(|| MaskReport::new(&data.display().to_string(), &self.description));
        let report = if results.is_of_regions() { report.map(MaskReport::of_regions) } else { report };
        let mut collected = Collected::new(results.begin()?, report, &results, self.settings, observer);
        let (mut totals, mut remarks) = (Totals::default(), Remarks::new(observer));
        observer.observe(Event::PhaseStarted { phase: Phase::Inference, total: None });
        // As many again read the next images and write the last ones.
        let semaphore = Semaphore::new(workers);
        let process = |record| {
            if observer.interrupted() {
                return None;
            }
            self.process(record, data, method, &results, &semaphore, observer).transpose()
        };
        parallel_map(collection.records(), 2 * workers + waiting, process, |outcome| {
            let outcome = outcome.ok_or(PipelineError::Interrupted(Run::Segmenting))??;
            if let Kind::Skipped(skip) = &outcome.kind {
                skip.announce(observer);
            }
            totals.add(&outcome);
            remarks.add(Path::new(&outcome.prediction.path), outcome.prediction.warning.as_deref());
            collected.push(&outcome.prediction, outcome.record.as_ref(), shard.map(PlannedShard::index))?;
            observer.observe(Event::PhaseProgress { phase: Phase::Inference, done: totals.images() });
            Ok::<(), PipelineError>(())
        })?;
        observer.observe(Event::PhaseFinished { phase: Phase::Inference });
        remarks.finish(Some("predictions.jsonl"));
        tell_of_passed_over(collection, observer);
        if totals.images() == 0 {
            return Err(no_images(collection));
        }
        shard_run.as_ref().map_or(Ok(()), |run| run.count(totals.images()))?;
        let seconds = started.elapsed().as_secs_f64();
        collected.finish()?;
        self.warn_of_one_cluster(&totals, observer);
        let summary = totals.summary(root, seconds);
        let Some((shard, run)) = shard.zip(shard_run) else {
            self.settings.data.judge(totals.bad, totals.images(), &totals.first_skipped)?;
            return Ok(summary);
        };
        // Whether too many are bad is a question to all shards together.
        run.finish(results.out(), totals.of_shard(&summary, shards::table_hash(results.folder())?))?;
        Ok(PredictSummary { shard: Some(ShardSummary::of(shard, false)), ..summary })
    }

    /// Looks at what is in a shard's folder; see [`ShardRun::begin`].
    fn begin_shard<'a>(
        &self,
        shard: &'a PlannedShard,
        results: &Results,
        observer: &dyn Observer,
    ) -> Result<Began<'a, MaskTotals>, PipelineError> {
        let made = Made {
            version: env!("CARGO_PKG_VERSION").into(),
            command: self.command.into(),
            checkpoint: self.checkpoint.map(|hash| hash.to_hex().to_string()),
            file: None,
            save: self.request.save,
            description: self.description.clone(),
            settings: stored_config(self.settings),
            origin: results.origin().to_string(),
        };
        let is_whole = |_: &MaskTotals| {
            let found = results::verify(results.out().root(), &Silent)?;
            Ok(found.faults.is_empty() && !found.unfinished && !self.request.overwrite)
        };
        ShardRun::begin(shard, results.out(), MASKS, made, is_whole, observer)
            .map_err(|error| error.during(Run::Segmenting))
    }

    /// Warns if too many images have no object because nothing in them was told apart.
    fn warn_of_one_cluster(&self, totals: &Totals, observer: &dyn Observer) {
        let (images, of_one) = (totals.segmented + totals.already_done, totals.one_cluster);
        if of_one > 0 && of_one as f64 > MOST_IN_ONE_CLUSTER * images as f64 {
            observer.observe(Event::Warning(format!(
                "{of_one} of {} lie in one cluster as a whole, in which nothing is told apart; {}",
                counted(images, "image"),
                self.remedy
            )));
        }
    }

    /// Refuses to begin where a file that is from no run lies in the way.
    fn check_places(
        &self,
        collection: &Collection,
        results: &Results,
        workers: usize,
        observer: &dyn Observer,
    ) -> Result<(), PipelineError> {
        if !results.is_begun() {
            return Ok(());
        }
        let look = |record: Result<Record, DatasetError>| match record {
            _ if observer.interrupted() => Err(PipelineError::Interrupted(Run::Segmenting)),
            Ok(record) => Ok(results.foreign_in_the_way(&record)?),
            Err(_) => Ok(None),
        };
        parallel_map(collection.records(), workers, look, |found| match found? {
            Some(path) => Err(OutputError::Foreign { path }.into()),
            None => Ok(()),
        })
    }

    /// One image from file to results; none if the run is interrupted first. An unusable image is an outcome, an unwritable
    /// result an error.
    fn process(
        &self,
        record: Result<Record, DatasetError>,
        data: &Sources,
        method: &dyn Method,
        results: &Results,
        semaphore: &Semaphore,
        observer: &dyn Observer,
    ) -> Result<Option<Outcome>, PipelineError> {
        let mut timings = Timings::start();
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                // Where in the collection something is wrong.
                let place = data.place_of(error.path());
                return Ok(Some(skipped(portable(&place), error.path(), error.to_string())));
            }
        };
        let content = match record.content(&self.settings.pixels) {
            Ok(content) => content,
            Err(reason) => return Ok(Some(skipped_image(record, reason))),
        };
        let content_hash = content.hash.to_hex().to_string();
        let earlier = match results.earlier(&record, &content_hash)? {
            Earlier::Finished(prediction) => {
                return Ok(Some(Outcome {
                    record: Some(record),
                    prediction: *prediction,
                    is_bad: false,
                    kind: Kind::AlreadyDone,
                }));
            }
            Earlier::Changed(path) => {
                let mut outcome = skipped_image(record, OutputError::Changed { path }.to_string());
                outcome.is_bad = false;
                return Ok(Some(outcome));
            }
            earlier => earlier,
        };
        timings.lap(|spent| &mut spent.decode);
        timings.begin_computing(semaphore);
        if observer.interrupted() {
            return Ok(None);
        }
        let picture = match content.decode(&self.settings.pixels) {
            Ok(picture) => picture,
            Err(reason) => return Ok(Some(skipped_image(record, reason))),
        };
        timings.lap(|spent| &mut spent.decode);
        let list = self.request.save.annotations();
        let segmentation = method.segment_timed(&picture, picture.outside.as_ref(), list, &mut timings)?;
        let lists_objects = list || self.settings.objects.instances;
        let orientation = (picture.orientation != 1).then_some(picture.orientation);
        let prediction = Prediction {
            path: String::new(),
            output: None,
            status: if segmentation.clusters > 1 { Status::Done } else { Status::OneCluster },
            reason: None,
            warning: remark(&picture),
            content_hash: Some(content_hash),
            result: Some(Measures { orientation, ..Measures::new(&segmentation, lists_objects) }),
        }
        .of(&record);
        let drawn = results.draw(&record, &picture, &segmentation, &prediction, &earlier)?;
        timings.end_computing();
        match results.write(&record, &drawn) {
            Err(error) if error.is_of_name() => {
                return Ok(Some(skipped_image(record, format!("its name is too long for its results: {error}"))));
            }
            result => result?,
        }
        timings.lap(|spent| &mut spent.write);
        Ok(Some(Outcome { record: Some(record), prediction, is_bad: false, kind: Kind::Segmented(timings.spent()) }))
    }
}

/// What is said of a shard that was finished before.
fn of_finished(totals: MaskTotals, out: PathBuf, shard: ShardSummary) -> PredictSummary {
    PredictSummary {
        out,
        segmented: 0,
        already_done: totals.images - totals.skipped,
        skipped: totals.skipped,
        without_object: totals.without_object,
        one_cluster: totals.one_cluster,
        mean_clusters: totals.mean_clusters,
        mean_negative_share: totals.mean_negative_share,
        seconds: 0.0,
        mean_milliseconds: None,
        shard: Some(shard),
    }
}

struct Outcome {
    /// None where there is no image.
    record: Option<Record>,
    prediction: Prediction,
    /// Whether the image is to blame for being skipped.
    is_bad: bool,
    kind: Kind,
}

enum Kind {
    Segmented(StepMilliseconds),
    AlreadyDone,
    Skipped(SkippedFile),
}

fn skipped_image(record: Record, reason: String) -> Outcome {
    let mut outcome = skipped(String::new(), &record.path, reason);
    outcome.prediction = outcome.prediction.of(&record);
    outcome
}

fn skipped(name: String, path: &Path, reason: String) -> Outcome {
    let prediction = Prediction {
        path: name,
        output: None,
        status: Status::Skipped,
        reason: Some(reason.clone()),
        warning: None,
        content_hash: None,
        result: None,
    };
    Outcome {
        record: None,
        prediction,
        is_bad: true,
        kind: Kind::Skipped(SkippedFile { path: path.to_path_buf(), reason }),
    }
}

/// What a run has done so far.
#[derive(Default)]
struct Totals {
    segmented: u64,
    already_done: u64,
    skipped: u64,
    /// Those skipped for what the images are.
    bad: u64,
    first_skipped: Vec<SkippedFile>,
    without_object: u64,
    one_cluster: u64,
    clusters: u64,
    negative_share: f64,
    /// Images whose affinities can be negative.
    signed: u64,
    spent: StepMilliseconds,
}

impl Totals {
    fn add(&mut self, outcome: &Outcome) {
        match &outcome.kind {
            Kind::Segmented(spent) => {
                self.segmented += 1;
                self.spent.add(spent);
            }
            Kind::AlreadyDone => self.already_done += 1,
            Kind::Skipped(skip) => {
                self.skipped += 1;
                if outcome.is_bad {
                    self.bad += 1;
                }
                if outcome.is_bad && self.first_skipped.len() < MOST_NAMED {
                    self.first_skipped.push(skip.clone());
                }
            }
        }
        if let Some(measures) = &outcome.prediction.result {
            self.without_object += u64::from(measures.bounding_box.is_none());
            self.one_cluster += u64::from(outcome.prediction.status == Status::OneCluster);
            self.clusters += measures.clusters as u64;
            if let Some(share) = measures.negative_share {
                self.negative_share += f64::from(share);
                self.signed += 1;
            }
        }
    }

    fn images(&self) -> u64 {
        self.segmented + self.already_done + self.skipped
    }

    fn summary(&self, out: PathBuf, seconds: f64) -> PredictSummary {
        let mean = |total: f64, count: u64| (count > 0).then(|| total / count as f64);
        PredictSummary {
            out,
            segmented: self.segmented,
            already_done: self.already_done,
            skipped: self.skipped,
            without_object: self.without_object,
            one_cluster: self.one_cluster,
            mean_clusters: mean(self.clusters as f64, self.segmented + self.already_done),
            mean_negative_share: mean(self.negative_share, self.signed),
            seconds,
            mean_milliseconds: (self.segmented > 0).then(|| self.spent.divided_by(self.segmented as f64)),
            shard: None,
        }
    }

    /// What a shard keeps of this run, of which `summary` says the rest.
    fn of_shard(&self, summary: &PredictSummary, table: String) -> MaskTotals {
        MaskTotals {
            images: self.images(),
            skipped: self.skipped,
            without_object: self.without_object,
            one_cluster: self.one_cluster,
            mean_clusters: summary.mean_clusters,
            mean_negative_share: summary.mean_negative_share,
            table,
        }
    }
}
