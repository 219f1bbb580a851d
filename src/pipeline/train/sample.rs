//! Which images of a collection are trained on: all, or a random sample of fixed size.
//!
//! Reservoir sampling, so that a collection of any length is read once and as a stream; burn's samplers need to know the
//! length beforehand. The same seed chooses the same places of a stream and of a dataset of that length.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use crate::dataset::{DatasetError, Record};
use crate::event::{Event, Observer};
use crate::numerics::random;
use crate::pipeline::SkippedFile;

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

/// The records of a stream to train on, in order, and those that cannot be had.
pub(super) fn records(
    records: impl Iterator<Item = Result<Record, DatasetError>>,
    limit: usize,
    seed: u64,
    observer: &dyn Observer,
) -> (Vec<Record>, Vec<SkippedFile>) {
    let (mut reservoir, mut skipped) = (Reservoir::new(limit, seed), Vec::new());
    for record in records {
        match record {
            Ok(record) => reservoir.offer(record),
            Err(error) => {
                let skip = SkippedFile::from(error);
                skip.announce(observer);
                skipped.push(skip);
            }
        }
    }
    (reservoir.finish(observer), skipped)
}

/// The numbers of a dataset's items to train on, ascending.
pub(super) fn indices(count: usize, limit: usize, seed: u64, observer: &dyn Observer) -> Vec<usize> {
    let mut reservoir = Reservoir::new(limit, seed);
    (0..count).for_each(|index| reservoir.offer(index));
    reservoir.finish(observer)
}
