//! Where the time of an image goes, and its place among those who compute.

use std::time::Instant;

use serde::Serialize;

use crate::parallel::{Permit, Semaphore};

/// The time that one image takes, step by step.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct StepMilliseconds {
    /// Reading and decoding.
    pub decode: f64,
    /// On a GPU everything from the image to the network's answer, waiting for a batch included.
    pub features: f64,
    /// Affinities and propagation.
    pub graph: f64,
    /// The network, in per-image mode with all its epochs; the second stage, where there is one.
    pub network: f64,
    /// From clusters to a refined mask and its objects.
    pub refine: f64,
    /// Drawing, encoding and writing.
    pub write: f64,
}

impl StepMilliseconds {
    /// The steps with their names, in order.
    pub fn named(&self) -> [(&'static str, f64); 6] {
        [
            ("decode", self.decode),
            ("features", self.features),
            ("graph", self.graph),
            ("network", self.network),
            ("refine", self.refine),
            ("write", self.write),
        ]
    }

    /// Adds the times of another image.
    pub fn add(&mut self, other: &StepMilliseconds) {
        self.decode += other.decode;
        self.features += other.features;
        self.graph += other.graph;
        self.network += other.network;
        self.refine += other.refine;
        self.write += other.write;
    }

    /// All times divided by a number of images.
    pub fn divided_by(&self, images: f64) -> StepMilliseconds {
        StepMilliseconds {
            decode: self.decode / images,
            features: self.features / images,
            graph: self.graph / images,
            network: self.network / images,
            refine: self.refine / images,
            write: self.write / images,
        }
    }
}

/// A clock for the steps of one image that also holds the image's place among those who compute.
pub struct Timings<'a> {
    last: Instant,
    spent: StepMilliseconds,
    semaphore: Option<&'a Semaphore>,
    permit: Option<Permit<'a>>,
}

impl<'a> Timings<'a> {
    /// Starts the clock of an image that needs no place.
    pub fn start() -> Timings<'a> {
        Timings { last: Instant::now(), spent: StepMilliseconds::default(), semaphore: None, permit: None }
    }

    /// Adds the time since the last lap to `step`.
    pub fn lap(&mut self, step: impl FnOnce(&mut StepMilliseconds) -> &mut f64) {
        let now = Instant::now();
        *step(&mut self.spent) += 1e3 * (now - self.last).as_secs_f64();
        self.last = now;
    }

    /// Waits for a place among those who compute; the time of waiting counts as no step's.
    pub fn begin_computing(&mut self, semaphore: &'a Semaphore) {
        self.semaphore = Some(semaphore);
        self.permit = Some(semaphore.acquire());
        self.last = Instant::now();
    }

    /// Gives the place back.
    pub fn end_computing(&mut self) {
        self.permit = None;
    }

    /// Waits for a device; others compute meanwhile. The time counts as that of the features.
    pub fn wait<T>(&mut self, wait: impl FnOnce() -> T) -> T {
        self.permit = None;
        let found = wait();
        self.lap(|spent| &mut spent.features);
        if let Some(semaphore) = self.semaphore {
            self.begin_computing(semaphore);
        }
        found
    }

    /// What was measured.
    pub fn spent(&self) -> StepMilliseconds {
        self.spent
    }
}
