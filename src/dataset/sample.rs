//! Which images of a collection are used: for training all, or a random sample of fixed size; and how many may be bad.
//!
//! Reservoir sampling, so that a collection of any length is read once and as a stream; burn's samplers need to know the
//! length beforehand. The same seed chooses the same places of a stream and of a dataset of that length.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DatasetError, Found, Record};
use crate::event::{Event, Observer, SkippedFile};
use crate::numerics::random;
use crate::numerics::range::{InvalidSetting, within};

/// Which images of a collection are used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SampleConfig {
    /// Most images a network is trained on; a larger collection is sampled at random. A few thousand images determine
    /// a network of this size. 0 takes all.
    pub max_images: usize,
    /// Share of the images that may be bad and skipped; with more of them the run ends as one whose input cannot be
    /// trusted. What it has finished stays.
    pub max_bad: f64,
    /// Leave out what `.gitignore` and `.ignore` files inside a folder exclude; `.deepcutignore` files always count.
    pub respect_ignore: bool,
    /// Which pictures are taken of a file with several: of an animation (GIF, WebP, PNG), of a TIFF with pages.
    pub frames: FrameUse,
}

/// Which pictures are taken of a file with several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FrameUse {
    /// The first frame or page, as that of one image
    First,
    /// Every frame and every page, each as an image of its own; frames as they are shown, over what earlier ones have left
    All,
}

impl FrameUse {
    /// The images of a file. One whose frames cannot be counted is an image, for whoever reads it to say why it is none.
    pub(super) fn of(self, found: Result<Found, DatasetError>) -> impl Iterator<Item = Result<Found, DatasetError>> {
        let count = match &found {
            Ok(found) if self == FrameUse::All => found.count_frames(),
            _ => 1,
        };
        let (file, frames) = match found {
            Ok(file) if count > 1 => (None, Some(file)),
            other => (Some(other), None),
        };
        let frames = frames.into_iter().flat_map(move |file| {
            (0..count).map(move |frame| {
                let relative = file.relative.join(format!("{:06}", frame + 1));
                Ok(Found { relative, frame: Some(frame), ..file.clone() })
            })
        });
        file.into_iter().chain(frames)
    }
}

impl Default for SampleConfig {
    fn default() -> Self {
        SampleConfig { max_images: 20_000, max_bad: 0.5, respect_ignore: false, frames: FrameUse::First }
    }
}

impl SampleConfig {
    /// Refuses settings outside their range.
    pub fn validate(&self) -> Result<(), InvalidSetting> {
        within("max_bad", self.max_bad, 0.0, 1.0)
    }

    /// Refuses `bad` of `images` if they are more than may be; `first` are the first of them.
    pub fn judge(&self, bad: u64, images: u64, first: &[SkippedFile]) -> Result<(), TooManyBad> {
        if bad as f64 <= self.max_bad * images as f64 {
            return Ok(());
        }
        let first: Vec<String> = first.iter().take(MOST_NAMED).map(ToString::to_string).collect();
        Err(TooManyBad { bad, images, most: self.max_bad, first: first.join("; ") })
    }

    /// How many of `images` may be bad.
    pub fn most_bad(&self, images: usize) -> usize {
        (self.max_bad * images as f64) as usize
    }
}

/// Bad images that an error names.
pub const MOST_NAMED: usize = 3;

/// A collection of which too many images are bad.
#[derive(Debug, thiserror::Error)]
#[error(
    "{bad} of {images} images cannot be used, more than the share of {most} that `data.max_bad` allows; mend or remove them, \
     or raise it; the first: {first}"
)]
pub struct TooManyBad {
    bad: u64,
    images: u64,
    most: f64,
    first: String,
}

/// What a stream of records gave.
#[derive(Debug, Default)]
pub struct Sample {
    /// Those to use, in order.
    pub records: Vec<Record>,
    /// Those that cannot be had.
    pub skipped: Vec<SkippedFile>,
    /// Records that there were in all.
    pub seen: usize,
    /// Records that were passed over.
    pub others: u64,
}

/// A random choice among items that come one after the other.
struct Reservoir<T> {
    limit: usize,
    seen: usize,
    kept: Vec<(usize, T)>,
    generator: ChaCha8Rng,
}

impl<T> Reservoir<T> {
    /// Keeps at most `limit` items, all where that is 0.
    fn new(limit: usize, seed: u64) -> Reservoir<T> {
        Reservoir { limit, seen: 0, kept: Vec::new(), generator: random::stream(seed, "sample", 0) }
    }

    fn offer(&mut self, item: T) {
        self.seen += 1;
        if self.limit == 0 || self.kept.len() < self.limit {
            self.kept.push((self.seen, item));
            return;
        }
        let place = self.generator.random_range(0..self.seen as u64) as usize;
        if place < self.limit {
            self.kept[place] = (self.seen, item);
        }
    }

    /// What was kept, in order; says so if that is not all.
    fn finish(mut self, observer: &dyn Observer) -> Vec<T> {
        if self.seen > self.kept.len() {
            observer.observe(Event::Note(format!(
                "training on a random {} of {} images; data.max_images changes that",
                self.kept.len(),
                self.seen
            )));
        }
        self.kept.sort_unstable_by_key(|(position, _)| *position);
        self.kept.into_iter().map(|(_, item)| item).collect()
    }
}

/// Chooses among the records of a stream for which `belongs` holds.
pub fn records(
    records: impl Iterator<Item = Result<Record, DatasetError>>,
    belongs: impl Fn(&Record) -> bool,
    limit: usize,
    seed: u64,
    observer: &dyn Observer,
) -> Sample {
    let (mut reservoir, mut sample) = (Reservoir::new(limit, seed), Sample::default());
    for record in records {
        sample.seen += usize::from(record.is_ok());
        match record {
            Ok(record) if belongs(&record) => reservoir.offer(record),
            Ok(_) => sample.others += 1,
            Err(error) => {
                let skip = SkippedFile::from(error);
                skip.announce(observer);
                sample.skipped.push(skip);
            }
        }
    }
    sample.records = reservoir.finish(observer);
    sample
}

/// The numbers of a dataset's items to train on, ascending.
pub fn indices(count: usize, limit: usize, seed: u64, observer: &dyn Observer) -> Vec<usize> {
    let mut reservoir = Reservoir::new(limit, seed);
    (0..count).for_each(|index| reservoir.offer(index));
    reservoir.finish(observer)
}
